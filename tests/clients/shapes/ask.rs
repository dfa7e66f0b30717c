//! One question that both daemons are asked, and how their answers are to be read.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hyper::Method;
use mica_tests::http::{Question, escaped};

/// The version of the API that questions are asked in unless they say otherwise: the highest of dockerd 20.10.
const VERSION: &str = "/v1.41";

/// Stands in a path for the first second that is yet to come: all that has happened lies before it.
pub(crate) const NOW: &str = "NOW";

/// How a body is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// As JSON where it says that it is, else as text.
    Plain,
    /// As a stream of messages.
    Stream,
    /// As an archive of images.
    Archive,
}

/// A question by name.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    /// Its name in the list of differences.
    pub(crate) name: String,
    /// How the answer is read.
    pub(crate) reading: Reading,
    /// Where in the answer only types are compared: paths as in the list of differences.
    pub(crate) loose: Vec<&'static str>,
    question: Question,
    version: String,
}

impl Ask {
    fn new(name: &str, method: Method, path: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            reading: Reading::Plain,
            loose: Vec::new(),
            question: Question::new(method, path),
            version: VERSION.to_owned(),
        }
    }

    /// `GET`
    pub(crate) fn get(name: &str, path: impl Into<String>) -> Self {
        Self::new(name, Method::GET, path)
    }

    /// `POST`
    pub(crate) fn post(name: &str, path: impl Into<String>) -> Self {
        Self::new(name, Method::POST, path)
    }

    /// `DELETE`
    pub(crate) fn delete(name: &str, path: impl Into<String>) -> Self {
        Self::new(name, Method::DELETE, path)
    }

    /// Any other method.
    pub(crate) fn other(name: &str, method: Method, path: impl Into<String>) -> Self {
        Self::new(name, method, path)
    }

    /// Asked in this version, written as it stands in the path; none if it is empty.
    pub(crate) fn version(mut self, version: &str) -> Self {
        self.version = match version {
            "" => String::new(),
            version => format!("/v{version}"),
        };
        self
    }

    /// With a parameter.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        let mark = if self.question.target.contains('?') {
            '&'
        } else {
            '?'
        };
        self.question.target += &format!("{mark}{name}={}", escaped(value));
        self
    }

    /// With a body.
    pub(crate) fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.question.body = body.into();
        self
    }

    /// With a header.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.question.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With a body in JSON.
    pub(crate) fn json(self, body: impl Into<Bytes>) -> Self {
        self.header("content-type", "application/json").body(body)
    }

    /// With a tar as body.
    pub(crate) fn tar(self, body: impl Into<Bytes>) -> Self {
        self.header("content-type", "application/x-tar").body(body)
    }

    /// Answered by a stream of messages.
    pub(crate) fn stream(mut self) -> Self {
        self.reading = Reading::Stream;
        self
    }

    /// Answered by an archive.
    pub(crate) fn archive(mut self) -> Self {
        self.reading = Reading::Archive;
        self
    }

    /// Only types are compared there.
    pub(crate) fn loose(mut self, paths: &[&'static str]) -> Self {
        self.loose.extend(paths);
        self
    }

    /// What is sent.
    pub(crate) fn question(&self) -> Question {
        let mut question = self.question.clone();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let target = question.target.replace(NOW, &(now.as_secs() + 1).to_string());
        question.target = format!("{}{target}", self.version);
        question
    }
}

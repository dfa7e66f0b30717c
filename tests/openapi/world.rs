//! A daemon whose every answer is held to its description.

use mica_tests::{Context, Daemon, run};
use serde_json::Value;

use crate::client::{Answer, ask};
use crate::schema::{Schemas, escape};

/// The headers of every answer.
const ALWAYS: [&str; 4] = ["api-version", "docker-experimental", "ostype", "server"];

pub(crate) struct World {
    pub(crate) daemon: Daemon,
    pub(crate) schemas: Schemas,
    asked: Vec<(String, u16)>,
}

impl World {
    pub(crate) fn start() -> Self {
        let daemon = Daemon::start();
        let description = ask(&daemon.socket(), "GET", "/mica/openapi.json", "", b"");
        let description = serde_json::from_slice(&description.body).unwrap();
        Self {
            daemon,
            schemas: Schemas::new(description),
            asked: Vec::new(),
        }
    }

    /// Asks `target` without a body. `route` is a method and a path as the description has it.
    #[track_caller]
    pub(crate) fn ask(&mut self, route: &str, target: &str) -> Answer {
        self.send(route, target, "", b"")
    }

    /// Asks with headers and a body, and holds the answer to the description.
    #[track_caller]
    pub(crate) fn send(&mut self, route: &str, target: &str, headers: &str, body: &[u8]) -> Answer {
        let (method, path) = route.split_once(' ').unwrap();
        let answer = ask(&self.daemon.socket(), method, target, headers, body);
        if let Err(message) = self.hold(method, path, &answer) {
            panic!("{method} {target} is not answered as described: {message}");
        }
        self.asked.push((route.to_owned(), answer.status));
        answer
    }

    /// What the description says of these that was never the answer: method, path and status.
    pub(crate) fn never(&self, statuses: &[u16]) -> Vec<String> {
        let mut out = Vec::new();
        let (_, paths) = self.schemas.at("/paths").unwrap();
        for path in paths.as_object().unwrap().keys() {
            let (_, item) = self.schemas.at(&format!("/paths/{}", escape(path))).unwrap();
            for (method, operation) in item.as_object().unwrap() {
                for status in statuses {
                    let described = operation["responses"].get(status.to_string()).is_some();
                    let operation = format!("{} {path}", method.to_uppercase());
                    if described && !self.asked.contains(&(operation.clone(), *status)) {
                        out.push(format!("{operation} {status}"));
                    }
                }
            }
        }
        out
    }

    /// Pointers to the schemas of all described answers.
    pub(crate) fn answered(&self) -> Vec<String> {
        let mut out = Vec::new();
        let (_, paths) = self.schemas.at("/paths").unwrap();
        for path in paths.as_object().unwrap().keys() {
            let (place, item) = self.schemas.at(&format!("/paths/{}", escape(path))).unwrap();
            for (method, operation) in item.as_object().unwrap() {
                for status in operation["responses"]
                    .as_object()
                    .into_iter()
                    .flatten()
                    .map(|(status, _)| status)
                {
                    let answer = format!("{place}/{method}/responses/{status}");
                    let (answer, described) = self.schemas.at(&answer).unwrap();
                    for kind in described["content"]
                        .as_object()
                        .into_iter()
                        .flatten()
                        .map(|(kind, _)| kind)
                    {
                        let content = format!("{answer}/content/{}", escape(kind));
                        out.extend(["schema", "x-itemSchema"].map(|schema| format!("{content}/{schema}")));
                    }
                }
            }
        }
        out
    }

    fn hold(&mut self, method: &str, path: &str, answer: &Answer) -> Result<(), String> {
        if let Some(missing) = ALWAYS.iter().find(|name| answer.header(name).is_none()) {
            return Err(format!("there is no header {missing}"));
        }
        let (item, _) = self
            .schemas
            .at(&format!("/paths/{}", escape(path)))
            .ok_or("there is no such path")?;
        let place = format!("{item}/{}/responses/{}", method.to_lowercase(), answer.status);
        let (place, described) = self
            .schemas
            .at(&place)
            .ok_or_else(|| format!("the status is {}: {}", answer.status, answer.text()))?;
        let names = described["headers"]
            .as_object()
            .map(|all| all.keys().cloned().collect::<Vec<_>>());
        for name in names.unwrap_or_default() {
            let value = answer
                .header(&name)
                .ok_or_else(|| format!("there is no header {name}"))?;
            let schema = format!("{place}/headers/{name}/schema");
            self.schemas.check(&schema, &Value::from(value), &name)?;
        }
        let kind = answer.header("content-type");
        let content = self.schemas.at(&format!("{place}/content"));
        let Some(kinds) = content.and_then(|(_, kinds)| kinds.as_object().cloned()) else {
            return match answer.body.is_empty() && kind.is_none_or(|_| method == "HEAD") {
                true => Ok(()),
                false => Err(format!("there is a body: {}", answer.text())),
            };
        };
        let kind = kind.ok_or("the answer has no type")?;
        let (name, content) = kinds
            .get_key_value(kind)
            .or_else(|| kinds.get_key_value("*/*"))
            .ok_or_else(|| format!("the type is {kind}"))?;
        let content_place = format!("{place}/content/{}", escape(name));
        let json = |text: &[u8]| -> Result<Value, String> {
            serde_json::from_slice(text)
                .map_err(|error| format!("{error}: {}", String::from_utf8_lossy(text)))
        };
        if content.get("x-itemSchema").is_some() {
            for line in answer
                .body
                .split(|byte| *byte == b'\n')
                .filter(|line| !line.is_empty())
            {
                let line = json(line)?;
                self.schemas
                    .check(&format!("{content_place}/x-itemSchema"), &line, "the line")?;
            }
        } else if kind == "application/json" {
            let body = json(&answer.body)?;
            self.schemas
                .check(&format!("{content_place}/schema"), &body, "the body")?;
        } else if content["schema"].get("const").is_some() {
            self.schemas.check(
                &format!("{content_place}/schema"),
                &answer.text().into(),
                "the body",
            )?;
        }
        Ok(())
    }
}

/// A folder as a tar.
pub(crate) fn tar(context: &Context) -> Vec<u8> {
    let archive = tempfile::NamedTempFile::new().unwrap();
    run(std::process::Command::new("tar")
        .arg("-C")
        .arg(context.path())
        .arg("-cf")
        .arg(archive.path())
        .arg("."))
    .ok();
    fs_err::read(archive.path()).unwrap()
}

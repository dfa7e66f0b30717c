//! Searching a registry for repositories (Docker Registry API v1, "Search"): Docker Hub does it, and few others.

use mica_oci::reference::DEFAULT_REGISTRY;
use reqwest::Method;
use serde::Deserialize;

use crate::answer::read_whole;
use crate::ask::{Ask, Target};
use crate::credential::Credential;
use crate::error::Error;
use crate::ports::Listener;
use crate::remote::Client;
use crate::scope::Scope;
use crate::site::Site;

/// The longest answer that is read, in bytes: a hundred repositories with long descriptions take a tenth.
const ANSWER_LIMIT: usize = 1 << 20;
/// The path of repositories without an owner, which nobody writes.
const LIBRARY: &str = "library/";

/// What is searched for, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// The registry.
    pub registry: String,
    /// What is searched for there.
    pub text: String,
}

impl Term {
    /// Reads what a user wrote: a text that begins with a registry is searched for there, any other at Docker Hub.
    pub fn of(written: &str) -> Self {
        let hub = |text: &str| Self {
            registry: DEFAULT_REGISTRY.to_owned(),
            text: text.strip_prefix(LIBRARY).unwrap_or(text).to_owned(),
        };
        let Some((first, rest)) = written.split_once('/') else {
            return hub(written);
        };
        match first {
            "docker.io" | "index.docker.io" => hub(rest),
            host if host == "localhost" || host.contains(['.', ':']) => Self {
                registry: host.to_owned(),
                text: rest.to_owned(),
            },
            _ => hub(written),
        }
    }
}

/// A repository that was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hit {
    /// Its name at the registry.
    pub name: String,
    /// What its owner says of it.
    pub description: String,
    /// How many users marked it.
    pub stars: i64,
    /// Whether the registry vouches for it.
    pub official: bool,
}

/// An answer as registries send it; much in it may be missing.
#[derive(Deserialize)]
struct Answer {
    results: Option<Vec<Entry>>,
}

#[derive(Deserialize)]
struct Entry {
    name: Option<String>,
    description: Option<String>,
    star_count: Option<i64>,
    is_official: Option<bool>,
}

impl Client {
    /// Searches for repositories; at most `limit` of them are given, in the registry's order.
    ///
    /// # Errors
    /// [`Error::Refused`] if the registry has no search, as most have none; [`Error::Protocol`] if its answer makes no sense.
    pub async fn search(
        &self,
        term: &Term,
        limit: u8,
        credential: &Credential,
        listener: &Listener,
    ) -> Result<Vec<Hit>, Error> {
        let site = self.search_site(term, credential, listener)?;
        let query = form(&[("q", &term.text), ("n", &limit.to_string())]);
        let ask = Ask::new(Method::GET, Target::Search(query), &site.scopes).following();
        let response = site.ask_for(&ask).await?;
        let body = read_whole(response, "the search result", ANSWER_LIMIT).await?;
        let answer: Answer = serde_json::from_slice(&body).map_err(|error| Error::Protocol {
            host: site.host(),
            reason: format!(
                "its search result is none: line {}, column {}",
                error.line(),
                error.column()
            ),
        })?;
        let hits = answer.results.unwrap_or_default().into_iter();
        Ok(hits.take(limit.into()).map(Hit::from).collect())
    }

    fn search_site(&self, term: &Term, credential: &Credential, listener: &Listener) -> Result<Site, Error> {
        let endpoint = self.hosts().search_endpoint(&term.registry)?;
        let site = Site {
            shared: self.shared().clone(),
            credential: credential.clone(),
            listener: listener.clone(),
            registry: term.registry.clone(),
            scopes: vec![Scope::search()],
            endpoint,
        };
        // the old API shows more to whom it knows, and asks nobody who they are
        if matches!(credential, Credential::Basic { .. }) {
            site.expect_basic();
        }
        Ok(site)
    }
}

impl From<Entry> for Hit {
    fn from(entry: Entry) -> Self {
        Self {
            name: entry.name.unwrap_or_default(),
            description: entry.description.unwrap_or_default(),
            stars: entry.star_count.unwrap_or_default(),
            official: entry.is_official.unwrap_or_default(),
        }
    }
}

/// Names and values as a query has them.
fn form(pairs: &[(&str, &str)]) -> String {
    let mut url = reqwest::Url::parse("http://localhost/").expect("this is an address");
    url.query_pairs_mut().extend_pairs(pairs);
    url.query().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_term_may_begin_with_its_registry() {
        for (written, registry, text) in [
            ("busybox", "docker.io", "busybox"),
            ("library/busybox", "docker.io", "busybox"),
            ("docker.io/library/busybox", "docker.io", "busybox"),
            ("index.docker.io/a/b", "docker.io", "a/b"),
            ("some/thing", "docker.io", "some/thing"),
            ("a b", "docker.io", "a b"),
            ("localhost/x", "localhost", "x"),
            ("localhost:5000/foo", "localhost:5000", "foo"),
            ("quay.io/library/x", "quay.io", "library/x"),
            ("quay.io", "docker.io", "quay.io"),
        ] {
            let term = Term::of(written);
            assert_eq!((term.registry.as_str(), term.text.as_str()), (registry, text));
        }
    }

    #[test]
    fn a_query_carries_any_text() {
        assert_eq!(form(&[("q", "a b&c=d"), ("n", "25")]), "q=a+b%26c%3Dd&n=25");
    }

    proptest! {
        #[test]
        fn any_term_is_taken(text in "\\PC{0,60}") {
            let term = Term::of(&text);
            let _ = form(&[("q", &term.text)]);
        }
    }
}

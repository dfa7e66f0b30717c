//! Searching a registry for repositories.

use mica_registry::{Credential, Hit, Listener, Term};

use crate::engine::Engine;
use crate::error::Error;

/// What is searched for, and what of it is wanted.
#[derive(Debug, Clone)]
pub struct SearchRequest {
    /// The text; it may begin with a registry.
    pub term: String,
    /// The most that is given.
    pub limit: u8,
    /// Whether the registry vouches for it.
    pub official: Option<bool>,
    /// The fewest users that marked it.
    pub stars: Option<i64>,
    /// Who asks.
    pub credential: Credential,
}

impl Engine {
    /// The repositories that a registry finds, in its order.
    pub async fn search(&self, request: &SearchRequest) -> Result<Vec<Hit>, Error> {
        if request.term.contains("://") {
            return Err(Error::SearchScheme {
                term: request.term.clone(),
            });
        }
        let term = Term::of(&request.term);
        let listener = Listener::deaf();
        let client = self.registries();
        let found = client.search(&term, request.limit, &request.credential, &listener);
        let mut hits = found.await.map_err(|error| refused(&term, error))?;
        hits.retain(|hit| {
            request.official.is_none_or(|official| official == hit.official)
                && request.stars.is_none_or(|stars| hit.stars >= stars)
        });
        Ok(hits)
    }
}

fn refused(term: &Term, error: mica_registry::Error) -> Error {
    let registry = term.registry.clone();
    match error.refusal() {
        Some(refusal) if refusal.status == 404 => Error::NoSearch {
            registry,
            said: refusal.to_string(),
        },
        _ => Error::Search {
            registry,
            source: Box::new(error),
        },
    }
}

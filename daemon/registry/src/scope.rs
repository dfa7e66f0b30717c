//! What a token allows: scopes as the token specification writes them (distribution, "Token Scope Documentation").

use std::fmt;

/// A part of a token: what may be done with one repository.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Scope(String);

impl Scope {
    /// Reading a repository.
    pub(crate) fn pull(path: &str) -> Self {
        Self(format!("repository:{path}:pull"))
    }

    /// Reading and writing a repository. Writing alone would not do: existence checks are reads.
    pub(crate) fn push(path: &str) -> Self {
        Self(format!("repository:{path}:pull,push"))
    }

    /// Searching the registry (as docker asks for it).
    pub(crate) fn search() -> Self {
        Self("registry:catalog:search".to_owned())
    }

    /// The scopes of a challenge, which are separated by spaces.
    pub(crate) fn of_challenge(text: &str) -> Vec<Self> {
        text.split_ascii_whitespace()
            .map(|scope| Self(scope.to_owned()))
            .collect()
    }

    /// Whether this scope allows all that `other` does.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        let split = |text: &str| {
            text.rsplit_once(':')
                .map(|(what, actions)| (what.to_owned(), actions.to_owned()))
        };
        match (split(&self.0), split(&other.0)) {
            (Some((mine, own)), Some((theirs, wanted))) => {
                mine == theirs
                    && wanted
                        .split(',')
                        .all(|action| own.split(',').any(|one| one == action))
            }
            _ => self == other,
        }
    }

    /// The text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_covers_less() {
        let of = |text: &str| Scope::of_challenge(text).remove(0);
        assert!(Scope::push("a/b").covers(&Scope::pull("a/b")));
        assert!(Scope::push("a/b").covers(&of("repository:a/b:push,pull")));
        assert!(!Scope::pull("a/b").covers(&Scope::push("a/b")));
        assert!(!Scope::push("a/b").covers(&Scope::pull("a/c")));
        assert!(!Scope::pull("a/b").covers(&of("registry:catalog:*")));
        assert!(of("odd").covers(&of("odd")));
    }
}

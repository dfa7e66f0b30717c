//! What a registry is started with: whose manners it has, who may do what, how it is spoken to.

/// Whose manners a registry has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Personality {
    /// As the specification says, with relative addresses.
    #[default]
    Plain,
    /// GitHub.
    Ghcr,
    /// Docker Hub.
    DockerHub,
    /// Amazon.
    Ecr,
    /// Google.
    Gar,
    /// Azure.
    Acr,
    /// GitLab.
    GitLab,
    /// Harbor.
    Harbor,
    /// Quay, and what Artifactory once did.
    Quay,
}

/// What may be done with a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Reading.
    Pull,
    /// Writing.
    Push,
}

impl Action {
    /// Its name in a scope.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
        }
    }
}

/// Somebody with a password.
#[derive(Debug, Clone)]
pub struct User {
    pub(crate) name: String,
    pub(crate) password: String,
    pub(crate) identity: Option<String>,
    pub(crate) rules: Vec<(String, Vec<Action>)>,
}

impl User {
    /// A user who may do nothing yet.
    pub fn new(name: &str, password: &str) -> Self {
        Self {
            name: name.to_owned(),
            password: password.to_owned(),
            identity: None,
            rules: Vec::new(),
        }
    }

    /// Allows something on all repositories that fit the pattern; `*` at its end stands for anything.
    #[must_use]
    pub fn may(mut self, pattern: &str, actions: &[Action]) -> Self {
        self.rules.push((pattern.to_owned(), actions.to_vec()));
        self
    }

    /// Gives the user a refresh token.
    #[must_use]
    pub fn identity(mut self, token: &str) -> Self {
        self.identity = Some(token.to_owned());
        self
    }

    pub(crate) fn is_allowed(&self, repository: &str, action: Action) -> bool {
        let fits = |(pattern, actions): &(String, Vec<Action>)| {
            actions.contains(&action) && matches(pattern, repository)
        };
        self.rules.iter().any(fits)
    }
}

/// How a registry wants to be shown who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// Not at all.
    Open,
    /// User and password with each request.
    Basic,
    /// A token from its own endpoint.
    Bearer,
}

/// What a registry is started with.
#[derive(Debug, Clone)]
pub struct Options {
    /// Whose manners it has.
    pub personality: Personality,
    /// How it wants to be shown who asks; by default as the personality does, and openly for a plain one without users.
    pub door: Option<Door>,
    /// Who may do what.
    pub users: Vec<User>,
    /// Patterns of repositories that everybody may read.
    pub public: Vec<String>,
    /// What a token endpoint answers to POST if it does not know it.
    pub refuses_post: Option<u16>,
    /// Where the challenge sends whoever wants a token, if not to this registry.
    pub realm: Option<String>,
    /// Whether it speaks TLS.
    pub tls: bool,
    /// How many uploads at once are too many.
    pub uploads_at_once: Option<usize>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            personality: Personality::Plain,
            door: None,
            users: Vec::new(),
            public: Vec::new(),
            refuses_post: None,
            realm: None,
            tls: false,
            uploads_at_once: None,
        }
    }
}

/// Whether a name fits a pattern.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => name == pattern,
    }
}

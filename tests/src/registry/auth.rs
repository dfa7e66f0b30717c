//! Who may do what: challenges, tokens, and the texts registries refuse with.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use base64::Engine as _;
use hyper::Method;
use hyper::header::AUTHORIZATION;
use hyper::http::request::Parts;
use serde_json::json;

use crate::registry::options::{Action, Door, Personality, User};
use crate::registry::quirks::Heard;
use crate::registry::reply::{Reply, header, json, refusal};
use crate::registry::route::{Route, parameter, parameters};
use crate::registry::state::State;

/// What a token is good for.
struct Grant {
    user: Option<String>,
    scopes: Vec<(String, Vec<Action>)>,
    until: Instant,
}

/// The tokens that were given.
#[derive(Default)]
pub(crate) struct Grants {
    all: HashMap<String, Grant>,
    count: u64,
}

impl Grants {
    pub(crate) fn forget(&mut self) {
        self.all.clear();
    }
}

/// Who asks.
#[derive(Clone)]
enum Who {
    Nobody,
    User(User),
}

impl State {
    /// Why a request may not go on, if it may not.
    pub(crate) fn check(&self, route: &Route, parts: &Parts) -> Option<Reply> {
        let action = match parts.method {
            Method::GET | Method::HEAD => Action::Pull,
            _ => Action::Push,
        };
        let wanted = route.repository().map(|name| (name.to_owned(), action));
        match (self.quirks.door, route) {
            (Door::Open, _) | (_, Route::Token | Route::Stored(_) | Route::Other) => None,
            (Door::Basic, _) => self.check_basic(parts, wanted),
            (Door::Bearer, _) => self.check_bearer(parts, wanted),
        }
    }

    fn check_basic(&self, parts: &Parts, wanted: Option<(String, Action)>) -> Option<Reply> {
        let Some(Ok(user)) = self.user_of(parts) else {
            let reply = refusal(401, "UNAUTHORIZED", "authentication required");
            return Some(header(
                reply,
                "www-authenticate",
                "Basic realm=\"mica\",service=\"mica\"",
            ));
        };
        let (repository, action) = wanted?;
        (!self.allows(&Who::User(user), &repository, action))
            .then(|| refusal(403, "DENIED", "requested access to the resource is denied"))
    }

    fn check_bearer(&self, parts: &Parts, wanted: Option<(String, Action)>) -> Option<Reply> {
        let scope = wanted.as_ref().map(|(repository, action)| match action {
            Action::Pull => format!("repository:{repository}:pull"),
            Action::Push => format!("repository:{repository}:pull,push"),
        });
        let shown = parts
            .headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        let Some(token) = shown.and_then(|text| text.strip_prefix("Bearer ")) else {
            return Some(self.challenge(parts, scope.as_deref(), None));
        };
        let inner = self.lock();
        let grant = inner
            .grants
            .all
            .get(token)
            .filter(|grant| grant.until > Instant::now());
        let Some(grant) = grant else {
            return Some(self.challenge(parts, scope.as_deref(), Some("invalid_token")));
        };
        let (repository, action) = wanted?;
        let covers = |repository: &str, action| {
            let covers =
                |(name, actions): &(String, Vec<Action>)| name == repository && actions.contains(&action);
            grant.scopes.iter().any(covers)
        };
        if !covers(&repository, action) {
            return Some(self.challenge(parts, scope.as_deref(), Some("insufficient_scope")));
        }
        let from = parameter(parts.uri.query().unwrap_or_default(), "from");
        if let Some(from) = from.filter(|_| self.quirks.mount_needs_source)
            && inner.content.repositories.contains_key(&from)
            && !covers(&from, Action::Pull)
        {
            let scope = format!("repository:{repository}:pull,push repository:{from}:pull");
            return Some(self.challenge(parts, Some(&scope), Some("insufficient_scope")));
        }
        let who = match &grant.user {
            Some(name) => self
                .options
                .users
                .iter()
                .find(|user| user.name == *name)
                .cloned()
                .map_or(Who::Nobody, Who::User),
            None => Who::Nobody,
        };
        drop(inner);
        if !self.allows(&who, &repository, action) {
            let message = match action {
                Action::Pull => "permission_denied: read_package",
                Action::Push => "permission_denied: write_package",
            };
            return Some(refusal(403, "DENIED", message));
        }
        None
    }

    fn challenge(&self, parts: &Parts, scope: Option<&str>, error: Option<&str>) -> Reply {
        let reply = refusal(401, "UNAUTHORIZED", "authentication required");
        if !self.quirks.challenges && parts.uri.path() != "/v2/" {
            return reply;
        }
        let realm = match &self.options.realm {
            Some(realm) => realm.clone(),
            None => format!("{}{}", self.root(parts), self.quirks.token_path),
        };
        let mut text = format!("Bearer realm=\"{realm}\",service=\"{}\"", self.service());
        for (name, value) in [("scope", scope), ("error", error)] {
            if let Some(value) = value {
                text.push_str(&format!(",{name}=\"{value}\""));
            }
        }
        header(reply, "www-authenticate", &text)
    }

    /// What the registry calls itself at its token endpoint.
    fn service(&self) -> &'static str {
        match self.options.personality {
            Personality::Ghcr => "ghcr.io",
            Personality::DockerHub => "registry.docker.io",
            Personality::GitLab => "container_registry",
            Personality::Harbor => "harbor-registry",
            _ => "mica-fake",
        }
    }

    /// The token endpoint (distribution, "Token Authentication Specification").
    pub(crate) fn token(&self, parts: &Parts, form: &str) -> Reply {
        if parts.method == Method::POST {
            return self.exchange(form);
        }
        let query = parts.uri.query().unwrap_or_default();
        let who = match self.user_of(parts) {
            None => Who::Nobody,
            Some(Ok(user)) => Who::User(user),
            Some(Err(())) => return self.bad_password(),
        };
        let wants_refresh = parameter(query, "offline_token").as_deref() == Some("true");
        self.grant(who, &parameters(query, "scope"), wants_refresh)
    }

    fn exchange(&self, form: &str) -> Reply {
        if let Some(code) = self.quirks.refuses_post {
            return refusal(code, "UNSUPPORTED", "the operation is unsupported");
        }
        if parameter(form, "grant_type").as_deref() != Some("refresh_token") {
            return json(400, &json!({"error": "unsupported_grant_type"}));
        }
        let shown = parameter(form, "refresh_token");
        let user = self
            .options
            .users
            .iter()
            .find(|user| user.identity.is_some() && user.identity == shown);
        let Some(user) = user else {
            return json(
                401,
                &json!({"error": "invalid_grant", "error_description": "the refresh token is not known"}),
            );
        };
        let scopes = parameter(form, "scope").unwrap_or_default();
        let scopes: Vec<String> = scopes.split_whitespace().map(str::to_owned).collect();
        self.grant(Who::User(user.clone()), &scopes, true)
    }

    fn bad_password(&self) -> Reply {
        match self.options.personality {
            Personality::Ghcr => refusal(403, "DENIED", "denied"),
            Personality::DockerHub => json(401, &json!({"details": "incorrect username or password"})),
            _ => refusal(401, "UNAUTHORIZED", "authentication required"),
        }
    }

    fn grant(&self, who: Who, scopes: &[String], wants_refresh: bool) -> Reply {
        let heard = match self.quirks.heard {
            Heard::All => scopes,
            Heard::Last => &scopes[scopes.len().saturating_sub(1)..],
        };
        let mut granted = Vec::new();
        for scope in heard {
            let Some((repository, actions)) = asked(scope) else {
                continue;
            };
            let allowed = |action: &Action| self.allows(&who, &repository, *action);
            if self.quirks.judges_at_token {
                if matches!(who, Who::Nobody) && !actions.iter().all(allowed) {
                    return refusal(401, "UNAUTHORIZED", "authentication required");
                }
                granted.push((repository, actions));
            } else {
                let actions = actions.into_iter().filter(allowed).collect();
                granted.push((repository, actions));
            }
        }
        let life = self.quirks.token_life;
        let mut inner = self.lock();
        inner.grants.count += 1;
        let token = format!("opaque.{}-{:08x}", inner.grants.count, self.port_of_storage);
        let (user, identity) = match who {
            Who::Nobody => (None, None),
            Who::User(user) => (Some(user.name), user.identity),
        };
        let grant = Grant {
            user,
            scopes: granted,
            until: Instant::now() + life,
        };
        inner.grants.all.insert(token.clone(), grant);
        let mut answer = json!({"token": token, "expires_in": life.max(Duration::from_secs(1)).as_secs()});
        if let Some(identity) = identity.filter(|_| wants_refresh) {
            answer["refresh_token"] = identity.into();
        }
        json(200, &answer)
    }

    fn allows(&self, who: &Who, repository: &str, action: Action) -> bool {
        if action == Action::Pull && self.lock().content.is_public(repository) {
            return true;
        }
        match who {
            Who::Nobody => false,
            Who::User(user) => user.is_allowed(repository, action),
        }
    }

    /// The user of a Basic authorization: none shown, known, or wrong.
    fn user_of(&self, parts: &Parts) -> Option<Result<User, ()>> {
        let text = parts.headers.get(AUTHORIZATION)?.to_str().ok()?;
        let pair = text.strip_prefix("Basic ")?;
        let pair = base64::engine::general_purpose::STANDARD.decode(pair).ok();
        let pair = pair
            .and_then(|pair| String::from_utf8(pair).ok())
            .unwrap_or_default();
        let (name, password) = pair.split_once(':').unwrap_or_default();
        let known = self.options.users.iter().find(|user| {
            // GitHub takes any name with a token
            let named = user.name == name || self.options.personality == Personality::Ghcr;
            named && (user.password == password || user.identity.as_deref() == Some(password))
        });
        Some(known.cloned().ok_or(()))
    }
}

/// A scope's repository and actions.
fn asked(scope: &str) -> Option<(String, Vec<Action>)> {
    let (repository, actions) = scope.strip_prefix("repository:")?.rsplit_once(':')?;
    let actions = actions.split(',').filter_map(|name| {
        [Action::Pull, Action::Push]
            .into_iter()
            .find(|action| action.name() == name)
    });
    Some((repository.to_owned(), actions.collect()))
}

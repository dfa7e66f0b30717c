//! A token service as registries send clients to, by the distribution specification of token authentication.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpStream;

use crate::servers::form;
use crate::servers::jwt::Signer;
use crate::servers::loopback::Loopback;

/// Who signs, as the registry has to know it.
pub(super) const ISSUER: &str = "a test's token service";
/// The registry's own name in tokens.
pub(super) const SERVICE: &str = "a test's registry";

/// Larger forms are refused.
const MAX_FORM: usize = 64 * 1024;

/// How often tokens were asked for, and how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TokenCounts {
    /// GET without credentials.
    pub anonymous: u64,
    /// GET with a name and a password.
    pub basic: u64,
    /// POST with a refresh token.
    pub refresh: u64,
    /// POST with a name and a password.
    pub password: u64,
    /// Those of all that were refused.
    pub refused: u64,
}

impl TokenCounts {
    /// All requests.
    pub fn all(&self) -> u64 {
        self.anonymous + self.basic + self.refresh + self.password
    }
}

/// A running token service; it ends when this is dropped.
pub struct TokenService {
    loopback: Loopback,
    state: Arc<Mutex<State>>,
    certificate: String,
}

/// What the service knows.
struct State {
    signer: Signer,
    /// User, password.
    accounts: HashMap<String, String>,
    /// User (empty: anybody), repository, and what may be done there.
    grants: Vec<(String, String, Vec<String>)>,
    /// Refresh tokens given out, and whose they are.
    refresh: HashMap<String, String>,
    life: Duration,
    counts: TokenCounts,
}

/// A request, as far as it matters.
struct Wish {
    user: String,
    scopes: Vec<String>,
    service: String,
    wants_refresh: bool,
}

impl TokenService {
    /// A service that knows nobody.
    pub fn start() -> Self {
        let signer = Signer::new();
        let certificate = signer.certificate().to_owned();
        let state = Arc::new(Mutex::new(State {
            signer,
            accounts: HashMap::new(),
            grants: Vec::new(),
            refresh: HashMap::new(),
            life: Duration::from_secs(300),
            counts: TokenCounts::default(),
        }));
        let shared = state.clone();
        let loopback = Loopback::serve(move |stream| serve(stream, shared.clone()));
        Self {
            loopback,
            state,
            certificate,
        }
    }

    /// Makes a user known, or changes the password.
    pub fn account(&self, user: &str, password: &str) {
        self.state().accounts.insert(user.to_owned(), password.to_owned());
    }

    /// Lets a user do these things (`pull`, `push`, `delete`) in a repository; `""` is everybody. A repository that ends
    /// in `*` stands for all that begin so.
    pub fn allow(&self, user: &str, repository: &str, actions: &[&str]) {
        let actions = actions.iter().map(|action| (*action).to_owned()).collect();
        self.state()
            .grants
            .push((user.to_owned(), repository.to_owned(), actions));
    }

    /// How long the next tokens live. A registry lets a token live a minute longer.
    pub fn set_life(&self, life: Duration) {
        self.state().life = life;
    }

    /// How often tokens were asked for so far.
    pub fn counts(&self) -> TokenCounts {
        self.state().counts
    }

    /// Where tokens are asked for.
    pub fn realm(&self) -> String {
        format!("http://{}/token", self.loopback.address())
    }

    /// The certificate that the registry checks tokens with, PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    fn state(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(stream: TcpStream, state: Arc<Mutex<State>>) {
    let service = service_fn(move |request| {
        let state = state.clone();
        async move { Ok::<_, std::convert::Infallible>(answer(request, &state).await) }
    });
    // a connection that breaks is its client's trouble
    let _broken = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn answer(request: Request<Incoming>, state: &Mutex<State>) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    if head.uri.path() != "/token" {
        return reply(StatusCode::NOT_FOUND, &json!({}));
    }
    let wish = match head.method {
        Method::GET => {
            let query = form::pairs(head.uri.query().unwrap_or_default());
            let header = head.headers.get(hyper::header::AUTHORIZATION);
            let header = header.and_then(|value| value.to_str().ok());
            locked(state).asked_by_get(&query, header)
        }
        Method::POST => match Limited::new(body, MAX_FORM).collect().await {
            Ok(body) => {
                let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
                locked(state).asked_by_post(&form::pairs(&text))
            }
            Err(_) => return reply(StatusCode::PAYLOAD_TOO_LARGE, &json!({})),
        },
        _ => return reply(StatusCode::METHOD_NOT_ALLOWED, &json!({})),
    };
    let mut state = locked(state);
    match wish {
        Some(wish) => reply(StatusCode::OK, &state.grant(&wish)),
        None => {
            state.counts.refused += 1;
            let error = json!({"code": "UNAUTHORIZED", "message": "incorrect username or password"});
            reply(StatusCode::UNAUTHORIZED, &json!({"errors": [error]}))
        }
    }
}

fn reply(status: StatusCode, body: &serde_json::Value) -> Response<Full<Bytes>> {
    Response::builder()
        .status(status)
        .header(hyper::header::CONTENT_TYPE, "application/json")
        .body(Full::new(body.to_string().into()))
        .expect("these headers are valid")
}

impl State {
    /// Who asks, and for what; `None` if the credentials are wrong.
    fn asked_by_get(&mut self, query: &[(String, String)], header: Option<&str>) -> Option<Wish> {
        let user = match header {
            None => {
                self.counts.anonymous += 1;
                String::new()
            }
            Some(header) => {
                self.counts.basic += 1;
                let encoded = header.strip_prefix("Basic ")?;
                let text = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
                let (user, password) = text.split_once(':')?;
                self.check(user, password)?
            }
        };
        Some(Wish {
            user,
            scopes: form::all(query, "scope"),
            service: form::first(query, "service"),
            wants_refresh: form::first(query, "offline_token") == "true",
        })
    }

    fn asked_by_post(&mut self, fields: &[(String, String)]) -> Option<Wish> {
        let user = if form::first(fields, "grant_type") == "refresh_token" {
            self.counts.refresh += 1;
            self.refresh.get(&form::first(fields, "refresh_token"))?.clone()
        } else {
            self.counts.password += 1;
            self.check(&form::first(fields, "username"), &form::first(fields, "password"))?
        };
        Some(Wish {
            user,
            scopes: form::all(fields, "scope"),
            service: form::first(fields, "service"),
            wants_refresh: form::first(fields, "access_type") == "offline",
        })
    }

    fn check(&self, user: &str, password: &str) -> Option<String> {
        (self.accounts.get(user)? == password).then(|| user.to_owned())
    }

    fn grant(&mut self, wish: &Wish) -> serde_json::Value {
        let access: Vec<_> = wish
            .scopes
            .iter()
            .flat_map(|scopes| scopes.split(' '))
            .filter_map(|scope| self.allowed(&wish.user, scope))
            .collect();
        let issued = SystemTime::now();
        let token = self
            .signer
            .sign(ISSUER, &wish.service, &wish.user, issued, self.life, &access);
        let mut reply = json!({
            "token": token,
            "access_token": token,
            "expires_in": self.life.as_secs(),
        });
        if wish.wants_refresh && !wish.user.is_empty() {
            let refresh = format!("refresh-{}-{}", wish.user, self.refresh.len());
            self.refresh.insert(refresh.clone(), wish.user.clone());
            reply["refresh_token"] = refresh.into();
        }
        reply
    }

    /// The part of a scope (`repository:NAME:ACTION,ACTION`) that the user has; no more is told of what is not there.
    fn allowed(&self, user: &str, scope: &str) -> Option<serde_json::Value> {
        let (name, actions) = scope.strip_prefix("repository:")?.rsplit_once(':')?;
        let actions: Vec<&str> = actions
            .split(',')
            .filter(|action| {
                self.grants.iter().any(|(who, repository, granted)| {
                    (who.is_empty() || who == user)
                        && matches(repository, name)
                        && granted.iter().any(|granted| granted == action)
                })
            })
            .collect();
        (!actions.is_empty()).then(|| json!({"type": "repository", "name": name, "actions": actions}))
    }
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => pattern == name,
    }
}

//! `mica login`: credentials for a registry, tried by the daemon and kept by this program.

use std::io::Read as _;

use clap::Args;
use hyper::Method;
use mica_api::{AuthConfig, AuthReply};

use crate::client::{Body, Client};
use crate::credentials::{Credentials, HUB, Target};
use crate::error::Error;
use crate::interrupt::or_interrupted;
use crate::secret::Secret;
use crate::{program, terminal, ui};

/// Longer passwords are no passwords.
const MAX_PASSWORD_BYTES: u64 = 64 * 1024;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Password or Personal Access Token (PAT)
    #[arg(short, long, value_name = "PASSWORD")]
    password: Option<Secret>,
    /// Take the Password or Personal Access Token (PAT) from stdin
    #[arg(long)]
    password_stdin: bool,
    /// Username
    #[arg(short, long, value_name = "USER")]
    username: Option<String>,
    /// The registry; Docker Hub if none is named
    #[arg(value_name = "SERVER")]
    server: Option<String>,
}

pub(super) async fn run(options: Options, client: &Client, credentials: &Credentials) -> Result<(), Error> {
    let username = options.username.as_deref().unwrap_or_default().trim().to_owned();
    let password = password(&options, &username)?;
    let target = Target::server(
        options
            .server
            .as_deref()
            .filter(|server| !server.is_empty())
            .unwrap_or(HUB),
    );
    credentials.check()?;
    or_interrupted(async {
        let mut known = String::new();
        if username.is_empty() && password.reveal().is_empty() {
            let stored = credentials.find(&target).await?;
            if let Some(status) = with_stored(&stored, client, credentials).await? {
                return ui::result(format!("{status}\n"));
            }
            known = stored.username;
        }
        let auth = complete(username, password, &known, &target).await?;
        let status = log_in(auth, client, credentials).await?;
        ui::result(format!("{status}\n"))
    })
    .await
}

/// The password of the command line or of standard input; empty if none is given.
fn password(options: &Options, username: &str) -> Result<Secret, Error> {
    let given = options
        .password
        .clone()
        .filter(|password| !password.reveal().is_empty());
    if given.is_some() {
        if options.password_stdin {
            return refuse("conflicting options: cannot specify both --password and --password-stdin");
        }
        ui::notice("WARNING! Using --password via the CLI is insecure. Use --password-stdin.");
    }
    if !options.password_stdin {
        return Ok(given.unwrap_or_else(|| String::new().into()));
    }
    if username.is_empty() {
        return refuse("the --password-stdin option requires --username to be set");
    }
    let mut bytes = Vec::new();
    ui::input()?
        .take(MAX_PASSWORD_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| Error::Input { source })?;
    if bytes.len() as u64 > MAX_PASSWORD_BYTES {
        return refuse("what came on standard input is too long for a password");
    }
    let Ok(text) = String::from_utf8(bytes) else {
        return refuse("the password on standard input is not UTF-8");
    };
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        return refuse("Error: Password Required: nothing came on standard input");
    }
    Ok(text.to_owned().into())
}

/// Tries what earlier logins have kept; `None` if there is nothing, or it is good no more.
async fn with_stored(
    stored: &AuthConfig,
    client: &Client,
    credentials: &Credentials,
) -> Result<Option<String>, Error> {
    if stored.username.is_empty() || stored.password.is_empty() {
        return Ok(None);
    }
    ui::notice(format!(
        "Authenticating with existing credentials... [Username: {}]\n\n Info -> To login with a different account, \
         run '{name} logout' followed by '{name} login'\n",
        stored.username,
        name = program::name(),
    ));
    match log_in(stored.clone(), client, credentials).await {
        Ok(status) => Ok(Some(status)),
        Err(Error::Daemon { status: 401, .. }) => {
            ui::notice("Stored credentials invalid or expired");
            Ok(None)
        }
        Err(error @ Error::Daemon { .. }) => {
            ui::notice(format!("Login did not succeed, error: {}", error.chain()));
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Asks for what is missing.
async fn complete(
    mut username: String,
    password: Secret,
    known: &str,
    target: &Target,
) -> Result<AuthConfig, Error> {
    let mut password = password.reveal().to_owned();
    if (username.is_empty() || password.is_empty()) && !ui::input_is_terminal() {
        return refuse("Error: Cannot perform an interactive login from a non TTY device");
    }
    if username.is_empty() {
        if target.key() == HUB {
            ui::notice(
                "Log in with your Docker ID or email address to push and pull images from Docker Hub.",
            );
        }
        username = match known {
            "" => terminal::ask("Username: ").await?,
            known => terminal::ask(&format!("Username ({known}): ")).await?,
        };
        if username.is_empty() {
            known.clone_into(&mut username);
        }
        if username.is_empty() {
            return refuse("Error: Non-null Username Required");
        }
    }
    if password.is_empty() {
        password = terminal::ask_unseen("Password: ").await?;
    }
    if password.is_empty() {
        return refuse("Error: Password Required");
    }
    Ok(AuthConfig {
        username,
        password,
        serveraddress: target.key().to_owned(),
        ..AuthConfig::default()
    })
}

/// Lets the daemon try the credentials and keeps them; a token the registry gives takes the password's place.
async fn log_in(mut auth: AuthConfig, client: &Client, credentials: &Credentials) -> Result<String, Error> {
    auth.identitytoken.clear();
    let json = serde_json::to_string(&auth).expect("an object of texts is JSON");
    let body = Body::Json(Some(json.into()));
    let reply: AuthReply = client.send(Method::POST, "/auth", body).await?.json().await?;
    if !reply.identity_token.is_empty() {
        auth.password.clear();
        auth.identitytoken = reply.identity_token;
    }
    credentials.store(&auth).await?;
    Ok(match reply.status.as_str() {
        "" => "Login Succeeded".to_owned(),
        status => status.to_owned(),
    })
}

fn refuse<T>(message: &str) -> Result<T, Error> {
    Err(Error::Refused {
        message: message.to_owned(),
    })
}

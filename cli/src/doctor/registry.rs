//! Whether a registry would take a push from this user: the daemon opens an upload there and gives it up.

use hyper::Method;
use mica_api::PushCheck;
use mica_oci::Repository;

use crate::client::{Body, Client, in_path};
use crate::credentials::{Credentials, Target, auth_header};
use crate::doctor::Finding;
use crate::error::Error;

/// Asks; what the registry said is told as it said it.
pub(crate) async fn registry(
    repository: &Repository,
    client: &Client,
    credentials: &Credentials,
) -> Vec<Finding> {
    let name = repository.to_string();
    let about = "push";
    match ask(repository, client, credentials).await {
        Ok(check) => {
            let who = if check.is_anonymous {
                "without a credential"
            } else {
                "with this user's credential"
            };
            vec![Finding::ok(
                about,
                format!(
                    "{name} may be pushed {who}: {} said {}",
                    check.host, check.answered
                ),
            )]
        }
        Err(Error::Daemon { message, .. }) => vec![Finding::fail(
            about,
            format!("{name} may not be pushed: {message}"),
            format!(
                "mica login {}, with a token that may write there",
                repository.registry()
            ),
        )],
        Err(error) => vec![Finding::fail(
            about,
            format!("{name} was not asked for: {}", error.chain()),
            "the daemon asks registries: it must be reachable",
        )],
    }
}

async fn ask(
    repository: &Repository,
    client: &Client,
    credentials: &Credentials,
) -> Result<PushCheck, Error> {
    let auth = credentials.find(&Target::repository(repository)).await?;
    let path = format!("/mica/push-check/{}", in_path(&repository.to_string()));
    let answer = client
        .send_with(Method::POST, &path, Some(auth_header(&auth)), Body::Empty)
        .await?;
    answer.json().await
}

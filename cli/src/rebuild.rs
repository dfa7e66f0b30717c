//! `mica system check --rebuild`: has `micad --rebuild` make the database again, as no daemon can do that beneath itself.

use std::process::{Command, Stdio};
use std::time::Duration;

use hyper::Method;
use tokio::net::UnixStream;

use crate::client::{Body, Client};
use crate::error::{Error, is_absent};
use crate::host::Host;
use crate::start;

/// How long a daemon may take to answer. One that cannot open its store never does, though systemd listens for it.
const PATIENCE: Duration = Duration::from_secs(3);

/// Runs it where no daemon answers, and ends as it ends.
///
/// # Errors
/// If a daemon answers, or there is no micad; the exit code of micad if it is not 0.
pub(crate) async fn run(host: &Host) -> Result<(), Error> {
    if answers(host).await? {
        return Err(Error::Refused {
            message: format!(
                "micad runs at {} and has its store open: stop it first (\"systemctl stop micad.socket micad\", or send TERM to it), \
                 then try again",
                host.address()
            ),
        });
    }
    let Some(program) = start::find() else {
        return Err(Error::Refused {
            message: "there is no micad beside mica or in PATH: run \"micad --rebuild\" where the store is"
                .to_owned(),
        });
    };
    let failed = |source| Error::File {
        action: "cannot run",
        path: program.clone(),
        source,
    };
    let mut command = Command::new(&program);
    command.arg("--rebuild").stdin(Stdio::null());
    if let Some(root) = start::data_root().map_err(failed)? {
        command.arg("--data-root").arg(root);
    }
    let status = command.status().map_err(failed)?;
    match status.code() {
        Some(0) => Ok(()),
        // it said why
        Some(code) => Err(Error::Ended { code }),
        None => Err(Error::Work {
            message: format!("{} ended with {status}; it may be done again", program.display()),
            code: None,
        }),
    }
}

/// Whether a daemon answers; none is started.
async fn answers(host: &Host) -> Result<bool, Error> {
    match UnixStream::connect(&host.socket).await {
        Ok(_) => {}
        Err(source) if is_absent(&source) => return Ok(false),
        Err(source) => {
            return Err(Error::Connect {
                socket: host.socket.clone(),
                source,
            });
        }
    }
    let client = Client::new(Host {
        may_start: false,
        ..host.clone()
    });
    let ping = client.send(Method::GET, "/_ping", Body::Empty);
    Ok(matches!(tokio::time::timeout(PATIENCE, ping).await, Ok(Ok(_))))
}

//! What registries refuse, in docker's words.

use mica_oci::Reference;
use mica_registry::{Listener, Notice};
use mica_task::TransferEvent;

use crate::error::Error;
use crate::transfer::sink::Sink;

/// The error of a pull: a name that is not there and one that may not be seen read the same (moby, `translatePullError`).
pub(crate) fn pull_error(reference: &Reference, error: mica_registry::Error) -> Error {
    let Some(refusal) = error.refusal() else {
        return Error::Registry(Box::new(error));
    };
    let said = refusal.to_string();
    if refusal.has_code("MANIFEST_UNKNOWN") || (refusal.status == 404 && !refusal.has_code("NAME_UNKNOWN")) {
        return Error::NoSuchManifest {
            reference: reference.familiar(),
            said,
        };
    }
    if refusal.is_about_rights() || refusal.has_code("NAME_UNKNOWN") {
        return Error::PullDenied {
            repository: reference.repository.familiar(),
            said,
        };
    }
    Error::Registry(Box::new(error))
}

/// The error of a push.
pub(crate) fn push_error(repository: &mica_oci::Repository, error: mica_registry::Error) -> Error {
    match error.refusal() {
        Some(refusal) if refusal.is_about_rights() => Error::PushDenied {
            repository: repository.familiar(),
            said: refusal.to_string(),
        },
        _ => Error::Registry(Box::new(error)),
    }
}

/// Passes what goes on between us and a registry on to whoever waits.
pub(crate) fn listener(sink: &Sink) -> Listener {
    // a download that others wait for too must not keep this one's stream open
    let sink = sink.faint();
    Listener::new(move |notice| {
        let text = match notice {
            Notice::Retry { what, reason, pause } => {
                format!("Retrying {what} in {:.1} s: {reason}", pause.as_secs_f64())
            }
            Notice::Warning(text) => format!("Warning from the registry: {text}"),
            Notice::Mirror { host } => format!("Answered by mirror {host}"),
            Notice::MirrorFailed { host, reason } => format!("Mirror {host} failed: {reason}"),
        };
        if let Some(sink) = sink.here() {
            sink.hint(TransferEvent::Note(text));
        }
    })
}

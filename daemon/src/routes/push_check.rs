//! `POST /mica/push-check/{name}`: whether a registry can be reached and would take a push.

use hyper::StatusCode;
use mica_api::{CheckAnswer, PushCheck, RegistryTrouble};
use mica_engine::Trouble;
use mica_oci::Reference;

use crate::routes::Call;
use crate::wire::credential;
use crate::wire::reply::{Failure, Reply, json};

/// Asks the registry. What it says is the answer, a refusal too; the status only tells whether it was asked.
pub(crate) async fn push_check(call: Call, name: String) -> Result<Reply, Failure> {
    let reference: Reference = name
        .parse()
        .map_err(|error| Failure::invalid(format!("{error}")))?;
    let credential = credential::of(&call.headers);
    let check = call
        .daemon
        .engine
        .check_push(&reference.repository, &credential)
        .await;
    let answer = PushCheck {
        host: check.host,
        is_anonymous: credential.is_anonymous(),
        registry: told(check.registry),
        push: check.push.map(told),
    };
    json(StatusCode::OK, &answer)
}

fn told(answer: mica_engine::CheckAnswer) -> CheckAnswer {
    CheckAnswer {
        said: answer.said,
        trouble: answer.trouble.map(|trouble| match trouble {
            Trouble::Refused => RegistryTrouble::Refused,
            Trouble::Name => RegistryTrouble::Name,
            Trouble::Connection => RegistryTrouble::Connection,
            Trouble::Proxy => RegistryTrouble::Proxy,
            Trouble::Certificate => RegistryTrouble::Certificate,
            Trouble::NoTls => RegistryTrouble::NoTls,
            Trouble::NeedsTls => RegistryTrouble::NeedsTls,
            Trouble::Silence => RegistryTrouble::Silence,
            Trouble::Settings => RegistryTrouble::Settings,
            Trouble::Other => RegistryTrouble::Other,
        }),
    }
}

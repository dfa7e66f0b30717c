//! Whether a registry can be reached, and whether it would take a push from this user: the daemon opens an upload there and gives
//! it up.

use hyper::Method;
use mica_api::{CheckAnswer, PushCheck, RegistryTrouble};
use mica_oci::Repository;

use crate::client::{Body, Client, in_path};
use crate::credentials::{Credentials, Target, auth_header};
use crate::doctor::{Finding, access};
use crate::error::Error;

/// Asks; what the registry said is told as it said it.
pub(crate) async fn registry(
    repository: &Repository,
    client: &Client,
    credentials: &Credentials,
) -> Vec<Finding> {
    match ask(repository, client, credentials).await {
        Ok(check) => findings(repository, &check),
        // what a registry says is in the answer: this is the daemon's own
        Err(Error::Daemon { status: 403, message }) => vec![access::denied(message)],
        Err(error) => vec![Finding::fail(
            "registry",
            format!("{repository} was not asked for: {}", error.chain()),
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

fn findings(repository: &Repository, check: &PushCheck) -> Vec<Finding> {
    let host = &check.host;
    let CheckAnswer { said, trouble } = &check.registry;
    let reached = match trouble {
        None => Finding::ok("registry", format!("{host} answers: {said}")),
        Some(trouble) => Finding::fail(
            "registry",
            format!("{host} cannot be asked: {said}"),
            remedy(*trouble, repository, host),
        ),
    };
    let push = check.push.as_ref().map(|CheckAnswer { said, trouble }| {
        let who = match check.is_anonymous {
            true => "without a credential",
            false => "with this user's credential",
        };
        match trouble {
            None => Finding::ok(
                "push",
                format!("{repository} may be pushed {who}: {host} said {said}"),
            ),
            Some(RegistryTrouble::Refused) => Finding::fail(
                "push",
                format!("{repository} may not be pushed {who}: {said}"),
                remedy(RegistryTrouble::Refused, repository, host),
            ),
            // the place where tokens come from is often another one
            Some(trouble) => Finding::fail(
                "push",
                format!("whether {repository} may be pushed is not known: {said}"),
                remedy(*trouble, repository, host),
            ),
        }
    });
    [Some(reached), push].into_iter().flatten().collect()
}

/// What to do, by what is in the way. The daemon asks, so its settings and its environment count, not this program's.
fn remedy(trouble: RegistryTrouble, repository: &Repository, host: &str) -> String {
    match trouble {
        RegistryTrouble::Refused => {
            format!(
                "mica login {}, with a token that may write there",
                repository.registry()
            )
        }
        RegistryTrouble::Name => format!(
            "look at how {host} is written, then at the name servers in /etc/resolv.conf; where only a proxy leads out, HTTPS_PROXY \
             of micad names it"
        ),
        RegistryTrouble::Connection => format!(
            "look at host and port of {host} and whether it runs, then at firewalls; where only a proxy leads out, HTTPS_PROXY of \
             micad names it"
        ),
        RegistryTrouble::Proxy => format!(
            "look at HTTPS_PROXY, HTTP_PROXY and ALL_PROXY of micad and what they name; NO_PROXY={host} goes past the proxy"
        ),
        RegistryTrouble::Certificate => format!(
            "put the certificate of its authority into /etc/docker/certs.d/{host}/ca.crt, and one it wants from clients beside it as \
             client.cert and client.key"
        ),
        RegistryTrouble::NoTls => format!(
            "it speaks plain http: if that is as it should be, name {host} in \"insecure-registries\" of daemon.json, then \
             systemctl reload micad, or a HUP signal to micad"
        ),
        RegistryTrouble::NeedsTls => {
            format!(
                "it does not speak plain http: say https:// where hosts.toml or registries.conf name {host}"
            )
        }
        RegistryTrouble::Silence => {
            "it takes connections and says nothing: try again later, and look at what is between".to_owned()
        }
        RegistryTrouble::Settings => {
            "mend the settings, certificates or files that it names; micad --check-config looks at them"
                .to_owned()
        }
        RegistryTrouble::Other => format!("see whether {host} is a registry, and try again later"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Grade;

    fn check(registry: Option<RegistryTrouble>, push: Option<Option<RegistryTrouble>>) -> Vec<Finding> {
        let answer = |trouble| CheckAnswer {
            said: "so".to_owned(),
            trouble,
        };
        let check = PushCheck {
            host: "r.example:5000".to_owned(),
            is_anonymous: true,
            registry: answer(registry),
            push: push.map(answer),
        };
        findings(&"r.example:5000/a/b".parse().unwrap(), &check)
    }

    #[test]
    fn what_is_in_the_way_decides_what_to_do() {
        use RegistryTrouble::{Certificate, Connection, Name, NeedsTls, NoTls, Proxy, Refused, Silence};
        for (trouble, part) in [
            (Name, "/etc/resolv.conf"),
            (Connection, "firewalls"),
            (Proxy, "NO_PROXY=r.example:5000"),
            (Certificate, "/etc/docker/certs.d/r.example:5000/ca.crt"),
            (NoTls, "insecure-registries"),
            (NeedsTls, "hosts.toml"),
            (Silence, "later"),
        ] {
            let found = check(Some(trouble), None);
            assert_eq!(found.len(), 1, "{found:?}");
            assert_eq!((found[0].about, found[0].grade), ("registry", Grade::Fail));
            let remedy = found[0].remedy.as_ref().unwrap();
            assert!(remedy.contains(part) && !remedy.contains("login"), "{remedy}");
            // the same behind a registry that can be reached, where tokens come from
            let found = check(None, Some(Some(trouble)));
            assert_eq!(found[0].grade, Grade::Ok);
            assert_eq!((found[1].about, found[1].grade), ("push", Grade::Fail));
            assert_eq!(found[1].remedy.as_ref(), Some(remedy));
        }
        let found = check(None, Some(Some(Refused)));
        assert_eq!(
            found[1].remedy.as_deref(),
            Some("mica login r.example:5000, with a token that may write there")
        );
        let found = check(None, Some(None));
        assert!(
            found.iter().all(|finding| finding.grade == Grade::Ok),
            "{found:?}"
        );
    }
}

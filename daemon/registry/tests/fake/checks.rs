//! Whether a registry can be reached and would take a push, and what is in the way where not.

use std::net::SocketAddr;

use mica_oci::Repository;
use mica_registry::{Client, Credential, Folders, Proxies, PushCheck, Trouble};
use mica_tests::FakeRegistry;
use mica_tests::registry::{Action, Options, Personality, User};
use mica_tests::servers::ConnectProxy;
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::setting::{basic, client, client_with, repository};

async fn check(client: &Client, repository: &str) -> PushCheck {
    let repository: Repository = repository.parse().unwrap();
    client.check_push(&repository, &Credential::Anonymous).await
}

fn in_the_way(check: &PushCheck) -> Trouble {
    assert_eq!(check.push, None, "{check:?}");
    check
        .registry
        .trouble
        .unwrap_or_else(|| panic!("nothing: {check:?}"))
}

fn of(registry: &FakeRegistry) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], registry.port()))
}

/// A client that goes through this proxy.
fn through(proxy: &str, folders: Folders) -> Client {
    let named = |name: &str| (name == "HTTPS_PROXY").then(|| proxy.to_owned());
    client_with(folders, Proxies::from_environment(named).unwrap())
}

async fn closed_port() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

#[tokio::test]
async fn a_registry_answers_and_takes_a_push_or_does_not() {
    let registry = FakeRegistry::with(Options {
        personality: Personality::Ghcr,
        users: vec![
            User::new("writer", "w").may("team/*", &[Action::Pull, Action::Push]),
            User::new("reader", "r").may("team/*", &[Action::Pull]),
        ],
        ..Options::default()
    });
    let app = repository(&registry, "team/app");
    for (user, password, trouble) in [
        ("writer", "w", None),
        ("reader", "r", Some(Trouble::Refused)),
        ("reader", "wrong", Some(Trouble::Refused)),
    ] {
        let check = client().check_push(&app, &basic(user, password)).await;
        assert_eq!(check.host, registry.host());
        assert_eq!(check.registry.trouble, None, "{user}: {check:?}");
        assert!(check.registry.said.contains("401"), "{user}: {check:?}");
        assert_eq!(check.push.unwrap().trouble, trouble, "{user} {password}");
    }
    assert_eq!(registry.open_uploads(), 0);
    // the knock is shown nothing
    let knocks = registry.requests_like("GET /v2/");
    assert!(
        knocks.iter().any(|knock| knock.header("authorization").is_none()),
        "{knocks:?}"
    );
}

#[tokio::test]
async fn names_and_ports_that_lead_nowhere() {
    let closed = closed_port().await;
    let refused = check(&client(), &format!("{closed}/team/app")).await;
    assert_eq!(in_the_way(&refused), Trouble::Connection, "{refused:?}");
    let unknown = check(&client(), "no-such-registry.invalid/team/app").await;
    assert_eq!(in_the_way(&unknown), Trouble::Name, "{unknown:?}");
    assert_eq!(unknown.host, "no-such-registry.invalid");
}

#[tokio::test]
async fn tls_that_is_wanted_and_not_there_or_not_vouched_for() {
    let plain = FakeRegistry::start();
    let tls = FakeRegistry::with(Options {
        tls: true,
        ..Options::default()
    });
    let ways = [("plain.example:443", of(&plain)), ("tls.example:443", of(&tls))];
    let proxy = ConnectProxy::start(&ways);
    let client = through(&proxy.url(), Folders::none());
    let answer = check(&client, "plain.example/team/app").await;
    assert_eq!(in_the_way(&answer), Trouble::NoTls, "{answer:?}");
    let answer = check(&client, "tls.example/team/app").await;
    assert_eq!(in_the_way(&answer), Trouble::Certificate, "{answer:?}");
}

#[tokio::test]
async fn plain_http_that_is_said_of_a_registry_with_tls() {
    let tls = FakeRegistry::with(Options {
        tls: true,
        ..Options::default()
    });
    let host = format!("127.0.0.1:{}", tls.port());
    let folder = TempDir::new().unwrap();
    let own = folder.path().join(&host);
    fs_err::create_dir(&own).unwrap();
    fs_err::write(own.join("hosts.toml"), format!("server = \"http://{host}\"\n")).unwrap();
    let folders = Folders {
        certificates: vec![folder.path().to_owned()],
        ..Folders::none()
    };
    let client = client_with(folders, Proxies::default());
    let answer = check(&client, &format!("{host}/team/app")).await;
    assert_eq!(in_the_way(&answer), Trouble::NeedsTls, "{answer:?}");
}

#[tokio::test]
async fn a_proxy_that_is_gone_or_leads_elsewhere() {
    let elsewhere = ConnectProxy::start(&[]);
    let gone = format!("http://{}", closed_port().await);
    let unknown = "http://no-such-proxy.invalid:3128".to_owned();
    for proxy in [elsewhere.url(), gone, unknown] {
        let answer = check(&through(&proxy, Folders::none()), "r.example/team/app").await;
        assert_eq!(in_the_way(&answer), Trouble::Proxy, "{proxy}: {answer:?}");
    }
}

#[tokio::test]
async fn settings_that_cannot_be_used() {
    let folder = TempDir::new().unwrap();
    let own = folder.path().join("r.example");
    fs_err::create_dir(&own).unwrap();
    fs_err::write(own.join("ca.crt"), "no certificate").unwrap();
    let folders = Folders {
        certificates: vec![folder.path().to_owned()],
        ..Folders::none()
    };
    let answer = check(&client_with(folders, Proxies::default()), "r.example/team/app").await;
    assert_eq!(in_the_way(&answer), Trouble::Settings, "{answer:?}");
    assert!(answer.registry.said.contains("ca.crt"), "{answer:?}");
}

//! Connections to real servers: whom they trust, what they show, and what is tried when TLS fails.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use mica_registry::hosts::{
    Endpoint, Folders, HostError, Hosts, Proxies, Purpose, Scheme, Security, Settings, is_wrong_scheme,
};
use tempfile::TempDir;

use crate::peers::{Authority, Pair, plain_server, proxy, silent_server, tls_server};

/// A folder certs.d.
struct Certificates(TempDir);

impl Certificates {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, text).unwrap();
        }
        Self(folder)
    }

    /// Hosts that all connections, but those to this machine, reach through a proxy.
    fn hosts(&self, proxy: Option<SocketAddr>, insecure: &[&str]) -> Hosts {
        let proxy = proxy.map(|address| format!("http://user:word@{address}"));
        Hosts::new(Settings {
            mirrors: Vec::new(),
            insecure: insecure.iter().map(ToString::to_string).collect(),
            proxies: Proxies::from_environment(|name| proxy.clone().filter(|_| name == "ALL_PROXY")).unwrap(),
            folders: Folders {
                certificates: vec![self.0.path().to_owned()],
                ..Folders::none()
            },
        })
        .unwrap()
    }
}

fn endpoint(hosts: &Hosts, name: &str) -> Endpoint {
    hosts
        .endpoints(&name.parse().unwrap(), Purpose::Pull)
        .unwrap()
        .pop()
        .unwrap()
}

/// Asks for the root of the API by the first scheme.
async fn ask(hosts: &Hosts, endpoint: &Endpoint) -> Result<String, reqwest::Error> {
    let scheme = hosts.attempts(endpoint)[0];
    let request = hosts.client(endpoint).unwrap().get(endpoint.root(scheme));
    request.send().await?.error_for_status()?.text().await
}

/// An error with all its causes.
fn chain(error: &dyn Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}

#[tokio::test]
async fn a_registry_is_trusted_by_the_authority_in_its_folder_and_no_other() {
    let (authority, other) = (Authority::new(), Authority::new());
    let server = tls_server(&authority.issue(&["r.example"]), &other).await;
    let (proxy, asked) = proxy(server).await;

    let unknown = Certificates::new(&[("r.example/ca.crt", &other.pem())]);
    let hosts = unknown.hosts(Some(proxy), &[]);
    let registry = endpoint(&hosts, "r.example/n");
    assert_eq!(registry.security(), Security::Verified);
    let error = ask(&hosts, &registry).await.unwrap_err();
    assert!(
        chain(&error).contains("invalid peer certificate: UnknownIssuer"),
        "{}",
        chain(&error)
    );
    assert_eq!(hosts.attempts(&registry), [Scheme::Https]);

    // the system's authorities do not know it either, if there are any
    let hosts = Certificates::new(&[]).hosts(Some(proxy), &[]);
    let registry = endpoint(&hosts, "r.example/n");
    match hosts.client(&registry) {
        Ok(_) => assert!(ask(&hosts, &registry).await.is_err()),
        Err(error) => assert!(matches!(error, HostError::Roots { .. }), "{error}"),
    }

    let known = Certificates::new(&[
        ("r.example/ca.crt", &authority.pem()),
        ("s.example/ca.crt", &authority.pem()),
    ]);
    let hosts = known.hosts(Some(proxy), &[]);
    let said = ask(&hosts, &endpoint(&hosts, "r.example/n")).await.unwrap();
    assert!(said.starts_with("client: no\nGET /v2/ HTTP/1.1\r\n"), "{said}");
    assert!(
        said.contains(&format!("user-agent: mica/{}\r\n", env!("CARGO_PKG_VERSION"))),
        "{said}"
    );
    assert!(!said.contains("accept-encoding"), "{said}");
    let error = ask(&hosts, &endpoint(&hosts, "s.example/n")).await.unwrap_err();
    assert!(
        chain(&error).contains("certificate not valid for name"),
        "{}",
        chain(&error)
    );

    let asked = asked.lock().unwrap().join("");
    assert!(asked.contains("CONNECT r.example:443 HTTP/1.1\r\n"), "{asked}");
    assert!(
        asked
            .to_lowercase()
            .contains("proxy-authorization: basic dxnlcjp3b3jk\r\n"),
        "{asked}"
    );
}

#[tokio::test]
async fn a_certificate_that_is_its_own_authority_is_trusted_where_it_was_put() {
    let clients = Authority::new();
    for (name, until, expected) in [
        ("r.example", 2100, None),
        ("s.example", 2100, Some("certificate not valid for name")),
        ("r.example", 2000, Some("certificate expired")),
    ] {
        let pair = Pair::own_authority(name, until);
        let (proxy, _) = proxy(tls_server(&pair, &clients).await).await;
        let folder = Certificates::new(&[("r.example/ca.crt", &pair.certificate)]);
        let hosts = folder.hosts(Some(proxy), &[]);
        let said = ask(&hosts, &endpoint(&hosts, "r.example/n")).await;
        match (said, expected) {
            (Ok(_), None) => {}
            (Err(error), Some(cause)) => assert!(chain(&error).contains(cause), "{}", chain(&error)),
            (said, expected) => panic!("{name} {until}: {said:?}, expected {expected:?}"),
        }
        let elsewhere =
            Certificates::new(&[("r.example/ca.crt", &Pair::own_authority(name, 2100).certificate)]);
        let hosts = elsewhere.hosts(Some(proxy), &[]);
        assert!(ask(&hosts, &endpoint(&hosts, "r.example/n")).await.is_err());
    }
}

#[tokio::test]
async fn a_client_certificate_is_shown_to_its_registry_only() {
    let authority = Authority::new();
    let client = authority.issue(&["client"]);
    let (proxy, _) =
        proxy(tls_server(&authority.issue(&["r.example", "auth.example"]), &authority).await).await;
    let folder = Certificates::new(&[
        ("r.example/ca.crt", &authority.pem()),
        ("r.example/client.cert", &client.certificate),
        ("r.example/client.key", &client.key),
    ]);
    let hosts = folder.hosts(Some(proxy), &[]);
    let registry = endpoint(&hosts, "r.example/n");
    assert!(ask(&hosts, &registry).await.unwrap().starts_with("client: yes\n"));

    // a token realm next to it is trusted by the same authority, as the registry answers for it
    for (url, shown) in [
        ("https://r.example:5001/token", "client: yes\n"),
        ("https://auth.example/token", "client: no\n"),
    ] {
        let url = url.parse().unwrap();
        let client = hosts.client_elsewhere(&registry, &url).unwrap();
        let said = client.get(url).send().await.unwrap().text().await.unwrap();
        assert!(said.starts_with(shown), "{said}");
    }
}

#[tokio::test]
async fn hosts_toml_brings_authorities_and_client_certificates() {
    let authority = Authority::new();
    let client = authority.issue(&["client"]);
    let server = tls_server(&authority.issue(&["localhost"]), &authority).await;
    let folder = Certificates::new(&[
        (
            "r.example/hosts.toml",
            &format!(
                "server = \"https://localhost:{}\"\nca = \"own/ca.pem\"\nclient = [[\"own/c.pem\", \"own/k.pem\"]]",
                server.port()
            ),
        ),
        ("r.example/own/ca.pem", &authority.pem()),
        ("r.example/own/c.pem", &client.certificate),
        ("r.example/own/k.pem", &client.key),
    ]);
    let hosts = folder.hosts(None, &[]);
    let registry = endpoint(&hosts, "r.example/n");
    assert_eq!(
        (registry.security(), registry.is_origin()),
        (Security::Verified, false)
    );
    assert!(ask(&hosts, &registry).await.unwrap().starts_with("client: yes\n"));
}

#[tokio::test]
async fn an_insecure_registry_needs_no_good_certificate() {
    let authority = Authority::new();
    let (proxy, _) = proxy(tls_server(&authority.issue(&["wrong.example"]), &authority).await).await;
    let hosts = Certificates::new(&[]).hosts(Some(proxy), &["r.example"]);
    let registry = endpoint(&hosts, "r.example/n");
    assert_eq!(hosts.attempts(&registry), [Scheme::Https, Scheme::Http]);
    assert!(ask(&hosts, &registry).await.unwrap().starts_with("client: no\n"));
    hosts.remember(&registry, Scheme::Https);
    assert_eq!(
        hosts.attempts(&registry),
        [Scheme::Https],
        "https is not given up for http"
    );

    // what such a registry leads to is another matter
    let url: reqwest::Url = "https://auth.example/".parse().unwrap();
    if let Ok(client) = hosts.client_elsewhere(&registry, &url) {
        let error = client.get(url).send().await.unwrap_err();
        assert!(
            chain(&error).contains("invalid peer certificate"),
            "{}",
            chain(&error)
        );
    }
}

#[tokio::test]
async fn a_registry_without_tls_is_found_by_the_second_attempt_and_remembered() {
    let server = plain_server().await;
    let hosts = Certificates::new(&[]).hosts(None, &[]);
    let name = format!("127.0.0.1:{}/n", server.port());
    let registry = endpoint(&hosts, &name);
    let client = hosts.client(&registry).unwrap();
    let mut said = Vec::new();
    for scheme in hosts.attempts(&registry) {
        match client.get(registry.root(*scheme)).send().await {
            Ok(response) => {
                hosts.remember(&registry, *scheme);
                said.push(response.text().await.unwrap());
            }
            Err(error) => {
                assert_eq!(*scheme, Scheme::Https);
                assert!(is_wrong_scheme(&error), "{}", chain(&error));
            }
        }
    }
    assert!(
        said.len() == 1 && said[0].starts_with("plain\nGET /v2/ "),
        "{said:?}"
    );
    // for every repository of the host
    let again = endpoint(&hosts, &name.replace("/n", "/other"));
    assert_eq!(hosts.attempts(&again), [Scheme::Http, Scheme::Https]);
    let elsewhere = endpoint(&hosts, "127.0.0.1:1/n");
    assert_eq!(hosts.attempts(&elsewhere), [Scheme::Https, Scheme::Http]);
    let refused = ask(&hosts, &elsewhere).await.unwrap_err();
    assert!(is_wrong_scheme(&refused), "{}", chain(&refused));
}

#[tokio::test]
async fn a_verified_registry_is_never_spoken_to_in_the_clear() {
    let (proxy, _) = proxy(plain_server().await).await;
    let other = Certificates::new(&[("r.example/ca.crt", &Authority::new().pem())]);
    let hosts = other.hosts(Some(proxy), &[]);
    let registry = endpoint(&hosts, "r.example/n");
    hosts.remember(&registry, Scheme::Http);
    assert_eq!(hosts.attempts(&registry), [Scheme::Https]);
    assert!(ask(&hosts, &registry).await.is_err());
}

#[tokio::test]
async fn redirects_are_for_the_caller_and_plain_requests_go_through_the_proxy_too() {
    let (proxy, asked) = proxy(plain_server().await).await;
    let folder = Certificates::new(&[("r.example/hosts.toml", "server = \"http://r.example\"")]);
    let hosts = folder.hosts(Some(proxy), &[]);
    let registry = endpoint(&hosts, "r.example/n");
    assert_eq!(registry.security(), Security::Plain);
    let url = registry.root(Scheme::Http).join("/x").unwrap();
    let response = hosts.client(&registry).unwrap().get(url).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(asked.lock().unwrap()[0].starts_with("GET http://r.example/x HTTP/1.1\r\n"));

    let server = plain_server().await;
    let local = endpoint(&hosts, &format!("localhost:{}/n", server.port()));
    let url = local.root(Scheme::Http).join("/redirect").unwrap();
    let response = hosts.client(&local).unwrap().get(url).send().await.unwrap();
    assert_eq!(response.status(), 307);
    assert_eq!(response.headers()["location"], "https://elsewhere.example/");
}

#[tokio::test]
async fn a_silent_registry_is_given_up_but_not_while_it_is_sent_something() {
    let (server, mut requests) = silent_server().await;
    let hosts = Certificates::new(&[]).hosts(None, &[]);
    let registry = endpoint(&hosts, &format!("127.0.0.1:{}/n", server.port()));
    let url = registry.url(Scheme::Http, "blobs/uploads/");

    let read = tokio::spawn(hosts.client(&registry).unwrap().get(url.clone()).send());
    requests.recv().await.unwrap();
    let sent = tokio::spawn(hosts.upload_client(&registry).unwrap().post(url).send());
    requests.recv().await.unwrap();
    // from here on only timers move
    tokio::time::pause();
    let error = tokio::time::timeout(Duration::from_secs(61), read)
        .await
        .expect("a minute is enough")
        .unwrap()
        .unwrap_err();
    assert!(error.is_timeout() && !is_wrong_scheme(&error));
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert!(!sent.is_finished());
    sent.abort();
}

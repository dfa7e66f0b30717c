//! GitHub's registry as it is known to behave, under its own name and with TLS.

use std::net::SocketAddr;

use mica_oci::{Digest, Repository};
use mica_registry::{Arrival, Credential, Folders, Intent, Proxies};
use mica_tests::FakeRegistry;
use mica_tests::registry::{Act, Action, Fault, Kind, Options, Personality, User};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::hurry::Hurry;
use crate::manifests::tag;
use crate::pieces::download;
use crate::setting::{Asker, basic, client_with, descriptor, noise, told};
use crate::source::Memory;

const OCI: &str = "application/vnd.oci.image.manifest.v1+json";

/// A registry that the client takes for ghcr.io, as a proxy leads there.
struct Ghcr {
    registry: FakeRegistry,
    folder: TempDir,
    proxy: SocketAddr,
}

impl Ghcr {
    async fn start() -> Self {
        let registry = FakeRegistry::with(Options {
            personality: Personality::Ghcr,
            users: vec![
                User::new("owner", "ghp_write").may("owner/*", &[Action::Pull, Action::Push]),
                User::new("reader", "ghp_read").may("owner/*", &[Action::Pull]),
            ],
            tls: true,
            ..Options::default()
        });
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("ghcr.io");
        fs_err::create_dir(&own).unwrap();
        fs_err::copy(registry.ca_path(), own.join("ca.crt")).unwrap();
        let proxy = proxy(registry.port()).await;
        Self {
            registry,
            folder,
            proxy,
        }
    }

    fn asker(&self, credential: Credential) -> Asker {
        let folders = Folders {
            certificates: vec![self.folder.path().to_owned()],
            ..Folders::none()
        };
        let proxy = format!("http://{}", self.proxy);
        let proxies =
            Proxies::from_environment(|name| (name == "HTTPS_PROXY").then(|| proxy.clone())).unwrap();
        Asker {
            client: client_with(folders, proxies),
            ..Asker::user(credential)
        }
    }
}

/// A proxy that takes every name for this machine, and the port of https for another one.
async fn proxy(https: u16) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(tunnel(stream, https));
        }
    });
    address
}

/// CONNECT (RFC 9110, section 9.3.6).
async fn tunnel(mut stream: TcpStream, https: u16) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    let target = head.strip_prefix("CONNECT ").unwrap().split(' ').next().unwrap();
    let port = match target.rsplit_once(':').unwrap().1.parse().unwrap() {
        443 => https,
        port => port,
    };
    let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    // either side may leave when it likes
    let _ = copy_bidirectional(&mut stream, &mut server).await;
}

fn app() -> Repository {
    "ghcr.io/owner/app".parse().unwrap()
}

#[tokio::test]
async fn an_image_goes_up_and_comes_down_again() {
    let ghcr = Ghcr::start().await;
    let layer = noise(300_000);
    let config = b"{\"os\":\"linux\",\"architecture\":\"amd64\"}".to_vec();
    let remote = ghcr
        .asker(basic("owner", "ghp_write"))
        .remote(&app(), Intent::Push);
    for (source, sent) in [
        (Memory::unknown(&layer), Arrival::Sent),
        (Memory::known(&config), Arrival::Sent),
        (Memory::known(&layer), Arrival::Present),
    ] {
        let uploaded = remote.upload(&source, &[], &|_| ()).await.unwrap();
        assert_eq!(uploaded.arrival, sent);
    }
    let manifest = format!(
        "{{\"schemaVersion\":2,\"mediaType\":\"{OCI}\",\"config\":{{\"mediaType\":\"application/vnd.oci.image.config.v1+json\",\
         \"digest\":\"{}\",\"size\":{}}},\"layers\":[{{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar+gzip\",\
         \"digest\":\"{}\",\"size\":{}}}]}}",
        Digest::of(&config),
        config.len(),
        Digest::of(&layer),
        layer.len()
    );
    let digest = remote
        .put_manifest(&tag("1"), OCI, manifest.into())
        .await
        .unwrap();
    ghcr.registry.whole("owner/app", "1").unwrap();
    // a new package is private
    let anybody = ghcr.asker(Credential::Anonymous).remote(&app(), Intent::Pull);
    let error = anybody.manifest(&tag("1")).await.unwrap_err();
    assert!(error.refusal().unwrap().is_about_rights(), "{error}");
    ghcr.registry.make_public("owner/app");
    let anybody = ghcr.asker(Credential::Anonymous).remote(&app(), Intent::Pull);
    assert_eq!(anybody.manifest(&tag("1")).await.unwrap().digest, digest);
    let got = download(&anybody, &descriptor(&layer)).await;
    got.result.unwrap();
    assert!(got.bytes == layer);
}

#[tokio::test]
async fn a_private_package_says_that_nobody_logged_in() {
    let ghcr = Ghcr::start().await;
    ghcr.registry.image("owner/app", Some("1"), &[noise(10)]);
    let remote = ghcr.asker(Credential::Anonymous).remote(&app(), Intent::Pull);
    let error = remote.manifest(&tag("1")).await.unwrap_err();
    let text = told(&error);
    for word in ["mica login ghcr.io", "repository:owner/app:pull", "private"] {
        assert!(text.contains(word), "{word}: {text}");
    }
}

#[tokio::test]
async fn a_wrong_token_is_told_with_the_scope_and_the_likely_causes() {
    let ghcr = Ghcr::start().await;
    let remote = ghcr
        .asker(basic("owner", "ghp_wrong"))
        .remote(&app(), Intent::Push);
    let error = remote
        .upload(&Memory::known(b"x"), &[], &|_| ())
        .await
        .unwrap_err();
    let text = told(&error);
    for word in [
        "denied: denied",
        "wanted scope repository:owner/app:pull,push",
        "write:packages",
        "SSO",
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
    assert!(!text.contains("ghp_wrong"), "{text}");
}

#[tokio::test]
async fn a_token_that_may_not_write_is_told_so() {
    let ghcr = Ghcr::start().await;
    let remote = ghcr
        .asker(basic("owner", "ghp_read"))
        .remote(&app(), Intent::Push);
    let error = remote
        .upload(&Memory::known(b"x"), &[], &|_| ())
        .await
        .unwrap_err();
    let text = told(&error);
    assert!(text.contains("permission_denied: write_package"), "{text}");
    assert!(text.contains("write:packages"), "{text}");
}

#[tokio::test]
async fn a_wait_in_the_text_is_heeded() {
    let hurry = Hurry::new();
    let ghcr = Ghcr::start().await;
    ghcr.registry.image("owner/app", Some("1"), &[noise(10)]);
    ghcr.registry.make_public("owner/app");
    let limited = Act::Answer {
        code: 429,
        headers: vec![],
        body: "{\"errors\":[{\"code\":\"TOOMANYREQUESTS\",\"message\":\"retry-after: 880.092µs, allowed: 44000/minute\"}]}".to_owned(),
    };
    ghcr.registry.script([Fault::new(Kind::Manifest, limited)]);
    let asker = ghcr.asker(Credential::Anonymous).telling(hurry.listener());
    asker
        .remote(&app(), Intent::Pull)
        .manifest(&tag("1"))
        .await
        .unwrap();
    assert_eq!(hurry.notices.retries(), 1);
}

#[tokio::test]
async fn many_uploads_at_once_all_arrive() {
    let hurry = Hurry::new();
    let registry = FakeRegistry::with(Options {
        personality: Personality::Ghcr,
        users: vec![User::new("owner", "ghp_write").may("team/*", &[Action::Pull, Action::Push])],
        uploads_at_once: Some(2),
        ..Options::default()
    });
    let remote = Asker::user(basic("owner", "ghp_write"))
        .telling(hurry.listener())
        .pushing(&registry);
    let sources: Vec<Memory> = (1..8).map(|n| Memory::known(&noise(400_000 + n))).collect();
    let uploads = sources.iter().map(|source| remote.upload(source, &[], &|_| ()));
    for uploaded in futures_util::future::join_all(uploads).await {
        uploaded.unwrap();
    }
}

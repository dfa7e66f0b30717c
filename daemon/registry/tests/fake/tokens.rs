//! Who asks, and how the registry is told.

use mica_registry::{Credential, Error, Folders, Intent, Proxies};
use mica_tests::FakeRegistry;
use mica_tests::registry::{Act, Action, Door, Fault, Kind, Options, User};
use reqwest::Method;

use crate::hurry::Hurry;
use crate::pieces::download;
use crate::setting::{Asker, basic, client_with, descriptor, noise, pulling, repository, told};
use crate::source::Memory;

const ALL: [Action; 2] = [Action::Pull, Action::Push];

fn users() -> Vec<User> {
    vec![
        User::new("me", "secret")
            .may("team/*", &ALL)
            .identity("refresh-me"),
        User::new("reader", "secret").may("team/*", &[Action::Pull]),
    ]
}

fn registry() -> FakeRegistry {
    FakeRegistry::with(Options {
        users: users(),
        ..Options::default()
    })
}

fn me() -> Asker {
    Asker::user(basic("me", "secret"))
}

/// How often a token was asked for.
fn asked(registry: &FakeRegistry) -> usize {
    registry.requests_like("GET /token").len() + registry.requests_like("POST /token").len()
}

#[tokio::test]
async fn what_is_public_is_read_with_a_token_for_nobody() {
    let registry = FakeRegistry::with(Options {
        users: users(),
        public: vec!["team/*".to_owned()],
        ..Options::default()
    });
    registry.image("team/app", Some("1"), &[noise(1000)]);
    pulling(&registry)
        .manifest(&crate::manifests::tag("1"))
        .await
        .unwrap();
    let requests = registry.requests();
    let lines: Vec<String> = requests
        .iter()
        .map(|one| format!("{} {}", one.line(), one.status))
        .collect();
    assert_eq!(
        lines,
        [
            "GET /v2/team/app/manifests/1 401",
            "GET /token 200",
            "GET /v2/team/app/manifests/1 200"
        ]
    );
    assert_eq!(requests[0].authorization, None);
    assert_eq!(requests[1].authorization, None);
    assert_eq!(
        requests[1].query,
        "service=mica-fake&scope=repository%3Ateam%2Fapp%3Apull"
    );
    assert_eq!(requests[2].authorization.as_deref(), Some("Bearer"));
}

#[tokio::test]
async fn a_user_is_named_to_the_token_endpoint_only() {
    let registry = registry();
    registry.image("team/app", Some("1"), &[noise(1000)]);
    me().pulling(&registry)
        .manifest(&crate::manifests::tag("1"))
        .await
        .unwrap();
    let token = &registry.requests_like("GET /token")[0];
    assert_eq!(token.authorization.as_deref(), Some("Basic"));
    assert_eq!(
        token.query,
        "service=mica-fake&scope=repository%3Ateam%2Fapp%3Apull&account=me"
    );
    let others = registry.requests_like("GET /v2/");
    assert!(
        others
            .iter()
            .all(|one| one.authorization.as_deref() != Some("Basic"))
    );
}

#[tokio::test]
async fn a_mount_asks_for_one_scope_each_its_target_first() {
    let registry = registry();
    let bytes = noise(1000);
    registry.put_blob("team/base", &bytes);
    let from = repository(&registry, "team/base");
    let remote = me().pushing(&registry);
    remote
        .upload(&Memory::known(&bytes), &[from], &|_| ())
        .await
        .unwrap();
    let last = registry.requests_like("GET /token").pop().unwrap();
    assert_eq!(
        last.query,
        "service=mica-fake&scope=repository%3Ateam%2Fapp%3Apull%2Cpush&scope=repository%3Ateam%2Fbase%3Apull&account=me"
    );
}

#[tokio::test]
async fn requests_side_by_side_share_one_token() {
    let registry = registry();
    let blobs: Vec<Vec<u8>> = (1..9).map(|n| noise(1000 * n)).collect();
    for blob in &blobs {
        registry.put_blob("team/app", blob);
    }
    let remote = me().pulling(&registry);
    let got = futures_util::future::join_all(blobs.iter().map(|blob| {
        let remote = &remote;
        async move { download(remote, &descriptor(blob)).await.result }
    }));
    for result in got.await {
        result.unwrap();
    }
    assert_eq!(asked(&registry), 1);
}

#[tokio::test]
async fn a_token_is_kept_from_one_remote_to_the_next() {
    let registry = registry();
    registry.image("team/app", Some("1"), &[noise(1000)]);
    let me = me();
    for _ in 0..3 {
        me.pulling(&registry)
            .manifest(&crate::manifests::tag("1"))
            .await
            .unwrap();
    }
    assert_eq!(asked(&registry), 1);
    // another user's is another
    let reader = Asker {
        credential: basic("reader", "secret"),
        ..me
    };
    reader
        .pulling(&registry)
        .manifest(&crate::manifests::tag("1"))
        .await
        .unwrap();
    assert_eq!(asked(&registry), 2);
}

#[tokio::test]
async fn a_token_that_was_taken_back_is_replaced_once() {
    let registry = registry();
    registry.image("team/app", Some("1"), &[noise(1000)]);
    let remote = me().pulling(&registry);
    remote.manifest(&crate::manifests::tag("1")).await.unwrap();
    registry.script([Fault::new(Kind::Manifest, Act::RevokeTokens)]);
    remote.manifest(&crate::manifests::tag("1")).await.unwrap();
    assert_eq!(asked(&registry), 2);
}

#[tokio::test]
async fn a_token_that_is_never_taken_is_no_reason_to_go_on_for_ever() {
    let registry = registry();
    registry.image("team/app", Some("1"), &[noise(1000)]);
    registry.script((0..20).map(|_| Fault::new(Kind::Manifest, Act::RevokeTokens)));
    let error = me()
        .pulling(&registry)
        .manifest(&crate::manifests::tag("1"))
        .await
        .unwrap_err();
    assert_eq!(error.refusal().unwrap().status, 401, "{error}");
    assert!(asked(&registry) <= 2);
}

#[tokio::test]
async fn rights_the_user_lacks_are_named_with_the_scope() {
    let registry = registry();
    registry.create("team/app");
    let reader = Asker::user(basic("reader", "secret"));
    let error = reader
        .pushing(&registry)
        .upload(&Memory::known(&noise(1000)), &[], &|_| ())
        .await
        .unwrap_err();
    let refusal = error.refusal().unwrap();
    assert_eq!(refusal.status, 401);
    assert_eq!(refusal.wanted.as_deref(), Some("repository:team/app:pull,push"));
    assert_eq!(refusal.given.as_deref(), Some("repository:team/app:pull,push"));
    assert!(refusal.is_about_rights());
    // for HEAD and POST there was one token, and no other was asked for that would be the same
    assert!(asked(&registry) <= 2, "{}", asked(&registry));
}

#[tokio::test]
async fn a_registry_with_basic_gets_user_and_password() {
    let registry = FakeRegistry::with(Options {
        users: users(),
        door: Some(Door::Basic),
        ..Options::default()
    });
    registry.image("team/app", Some("1"), &[noise(1000)]);
    let remote = me().pulling(&registry);
    for _ in 0..2 {
        remote.manifest(&crate::manifests::tag("1")).await.unwrap();
    }
    let statuses: Vec<u16> = registry.requests().iter().map(|one| one.status).collect();
    assert_eq!(statuses, [401, 200, 200]);
    let error = Asker::user(basic("me", "wrong"))
        .pulling(&registry)
        .manifest(&crate::manifests::tag("1"))
        .await
        .unwrap_err();
    assert_eq!(error.refusal().unwrap().status, 401);
}

#[tokio::test]
async fn an_identity_token_is_exchanged_by_post() {
    let registry = registry();
    registry.image("team/app", Some("1"), &[noise(1000)]);
    let asker = Asker::user(Credential::Identity {
        user: String::new(),
        token: "refresh-me".to_owned(),
    });
    asker
        .pulling(&registry)
        .manifest(&crate::manifests::tag("1"))
        .await
        .unwrap();
    let posted = registry.requests_like("POST /token");
    assert_eq!(posted.len(), 1);
    assert_eq!(posted[0].query, "");
    assert_eq!(
        posted[0].header("content-type"),
        Some("application/x-www-form-urlencoded")
    );
    assert_eq!(asked(&registry), 1);
}

#[tokio::test]
async fn an_endpoint_without_post_is_asked_by_get() {
    for code in [400, 401, 404, 405] {
        let registry = FakeRegistry::with(Options {
            users: users(),
            refuses_post: Some(code),
            ..Options::default()
        });
        registry.image("team/app", Some("1"), &[noise(1000)]);
        let asker = Asker::user(Credential::Identity {
            user: "me".to_owned(),
            token: "refresh-me".to_owned(),
        });
        asker
            .pulling(&registry)
            .manifest(&crate::manifests::tag("1"))
            .await
            .unwrap();
        assert_eq!(registry.requests_like("GET /token").len(), 1, "{code}");
    }
}

#[tokio::test]
async fn a_challenge_without_words_is_asked_for_at_the_root() {
    let registry = FakeRegistry::with(Options {
        personality: mica_tests::registry::Personality::Gar,
        users: users(),
        ..Options::default()
    });
    registry.image("team/app", Some("1"), &[noise(1000)]);
    me().pulling(&registry)
        .manifest(&crate::manifests::tag("1"))
        .await
        .unwrap();
    assert_eq!(
        registry
            .requests_like("GET /v2/")
            .iter()
            .filter(|one| one.path == "/v2/")
            .count(),
        1
    );
}

#[tokio::test]
async fn a_realm_on_a_private_address_is_not_asked() {
    for realm in [
        "http://10.0.0.1/token",
        "https://169.254.169.254/latest",
        "http://[fd00::1]/token",
        "ftp://127.0.0.1/token",
    ] {
        let registry = FakeRegistry::with(Options {
            users: users(),
            realm: Some(realm.to_owned()),
            ..Options::default()
        });
        let error = me()
            .pulling(&registry)
            .manifest(&crate::manifests::tag("1"))
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Host(_)), "{realm}: {error:?}");
    }
}

#[tokio::test]
async fn a_token_answer_without_a_token_names_the_endpoint() {
    let registry = registry();
    for body in ["{}", "{\"token\":\"\"}", "<html>", "{\"token\":\"a\\nb\"}"] {
        registry.script([Fault::new(
            Kind::Token,
            Act::Answer {
                code: 200,
                headers: vec![("content-type", "application/json".to_owned())],
                body: body.to_owned(),
            },
        )]);
        let error = me()
            .pulling(&registry)
            .manifest(&crate::manifests::tag("1"))
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Token { .. }), "{body}: {error:?}");
        assert!(told(&error).contains("/token"), "{error}");
    }
}

#[tokio::test]
async fn a_token_that_is_refused_is_asked_for_again() {
    let registry = FakeRegistry::with(Options {
        users: users(),
        ..Options::default()
    });
    registry.image("team/app", Some("1"), &[noise(1000)]);
    let remote = me().pulling(&registry);
    remote.manifest(&crate::manifests::tag("1")).await.unwrap();
    registry.revoke_tokens();
    remote.manifest(&crate::manifests::tag("1")).await.unwrap();
    assert_eq!(asked(&registry), 2);
}

#[tokio::test]
async fn a_login_shows_whether_the_password_is_right() {
    let registry = registry();
    let login = me().pushing(&registry).login().await.unwrap();
    assert_eq!(login.identity_token.as_deref(), Some("refresh-me"));
    let error = Asker::user(basic("me", "hunter2"))
        .remote(&repository(&registry, "team/app"), Intent::Push)
        .login()
        .await
        .err()
        .unwrap();
    assert_eq!(error.refusal().unwrap().status, 401);
    assert!(!told(&error).contains("hunter2"), "{error}");
}

#[tokio::test]
async fn a_head_that_is_refused_is_told_with_the_text_of_get() {
    let registry = FakeRegistry::start();
    let answer = |code| Act::Answer {
        code,
        headers: vec![],
        body: "{\"errors\":[{\"code\":\"DENIED\",\"message\":\"not for you\"}]}".to_owned(),
    };
    registry.script([
        Fault::new(Kind::Blob, answer(403)).only(Method::HEAD),
        Fault::new(Kind::Blob, answer(403)).only(Method::GET),
    ]);
    let error = Asker::anybody()
        .pushing(&registry)
        .upload(&Memory::known(&noise(10)), &[], &|_| ())
        .await
        .unwrap_err();
    assert!(told(&error).contains("not for you"), "{error}");
}

#[tokio::test]
async fn a_token_endpoint_that_is_tired_is_asked_again() {
    let hurry = Hurry::new();
    let registry = registry();
    registry.image("team/app", Some("1"), &[noise(1000)]);
    registry.script([
        Fault::new(
            Kind::Token,
            Act::Status {
                code: 503,
                retry_after: None,
            },
        ),
        Fault::new(Kind::Token, Act::LostReply),
    ]);
    let remote = me().telling(hurry.listener()).pulling(&registry);
    remote.manifest(&crate::manifests::tag("1")).await.unwrap();
    assert_eq!(asked(&registry), 3);
}

#[tokio::test]
async fn what_stands_in_a_registrys_place_sees_neither_its_credentials_nor_what_is_pushed_to_it() {
    let registry = FakeRegistry::with(Options {
        users: users(),
        public: vec!["team/*".to_owned()],
        ..Options::default()
    });
    registry.image("team/app", Some("1"), &[noise(1000)]);
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("named.example");
    fs_err::create_dir(&own).unwrap();
    let file = format!("server = \"http://{}\"", registry.host());
    fs_err::write(own.join("hosts.toml"), file).unwrap();
    let folders = Folders {
        certificates: vec![folder.path().to_owned()],
        ..Folders::none()
    };
    let asker = Asker {
        client: client_with(folders, Proxies::default()),
        ..me()
    };
    let named = "named.example/team/app".parse().unwrap();
    let remote = asker.remote(&named, Intent::Pull);
    remote.manifest(&crate::manifests::tag("1")).await.unwrap();
    let requests = registry.requests().len();
    let login = remote.login().await.err().expect("no login");
    let push = asker
        .remote(&named, Intent::Push)
        .has_blob(&descriptor(b"x").digest)
        .await
        .unwrap_err();
    for error in [login, push] {
        let text = told(&error);
        assert!(
            text.contains(&format!("put {} in its place", registry.host())),
            "{text}"
        );
    }
    assert_eq!(registry.requests().len(), requests);
    // nobody's token was asked for, not ours
    let tokens = registry.requests_like("GET /token");
    assert_eq!(tokens.len(), 1);
    assert_eq!(tokens[0].authorization, None);
}

//! Which credentials travel with a request: every place they may be in, and which wins.

use serde_json::{Value, json};

use crate::fake::{Fake, Outcome, outcome, reply};
use crate::home::Home;

/// `u:NAME` in base64.
fn auth(password: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(format!("u:{password}"))
}

fn auths(list: &[(&str, &str)]) -> String {
    let entries: Vec<String> = list
        .iter()
        .map(|(key, password)| format!(r#""{key}":{{"auth":"{}"}}"#, auth(password)))
        .collect();
    format!(r#"{{"auths":{{{}}}}}"#, entries.join(","))
}

/// Pulls an image with these variables; the password that went along.
fn password(home: &Home, image: &str, variables: &[(&str, String)]) -> (String, Outcome) {
    let fake = Fake::new([reply(200, "")]);
    let mut command = home.command(&fake, &["pull", "-q", image]);
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    let run = outcome(command);
    assert_eq!(run.code, Some(0), "{run:?}");
    let sent = fake.asked()[0].credentials("x-registry-auth");
    (sent["password"].as_str().unwrap_or("-").to_owned(), run)
}

#[test]
fn the_first_place_wins() {
    let home = Home::new(&[
        (".docker/config.json", &auths(&[("r.io", "docker")])),
        ("d/config.json", &auths(&[("r.io", "docker-config")])),
        ("podman.json", &auths(&[("r.io", "registry-auth-file")])),
        ("run/containers/auth.json", &auths(&[("r.io", "runtime")])),
        (".config/containers/auth.json", &auths(&[("r.io", "home")])),
    ]);
    let text = |path: &str| home.path(path).to_str().unwrap().to_owned();
    let all = [
        ("DOCKER_AUTH_CONFIG", auths(&[("r.io", "variable")])),
        ("DOCKER_CONFIG", text("d")),
        ("REGISTRY_AUTH_FILE", text("podman.json")),
        ("XDG_RUNTIME_DIR", text("run")),
    ];
    assert_eq!(password(&home, "r.io/x", &all).0, "variable");
    assert_eq!(password(&home, "r.io/x", &all[1..]).0, "docker-config");
    assert_eq!(password(&home, "r.io/x", &all[2..]).0, "docker");
    std::fs::remove_file(home.path(".docker/config.json")).unwrap();
    assert_eq!(password(&home, "r.io/x", &all[2..]).0, "registry-auth-file");
    assert_eq!(password(&home, "r.io/x", &all[3..]).0, "runtime");
    assert_eq!(password(&home, "r.io/x", &[]).0, "home");
    assert_eq!(password(&home, "other.io/x", &all).0, "-");

    let fake = Fake::new([reply(200, "")]);
    let folder = text("d");
    let mut command = home.command(&fake, &["--config", &folder, "pull", "-q", "r.io/x"]);
    command.env("DOCKER_CONFIG", "/nowhere");
    outcome(command);
    let sent = fake.asked()[0].credentials("x-registry-auth");
    assert_eq!(
        sent,
        json!({"username": "u", "password": "docker-config", "serveraddress": "r.io"})
    );
}

#[test]
fn podmans_most_specific_path_wins() {
    let parts = auths(&[("ghcr.io", "host"), ("ghcr.io/a", "org"), ("ghcr.io/a/x", "one")]);
    let home = Home::new(&[(".config/containers/auth.json", &parts)]);
    for (image, expected) in [
        ("ghcr.io/a/x", "one"),
        ("ghcr.io/a/x/y", "one"),
        ("ghcr.io/a/z:1", "org"),
        ("ghcr.io/b/x", "host"),
        ("quay.io/a/x", "-"),
    ] {
        assert_eq!(password(&home, image, &[]).0, expected, "{image}");
    }
}

#[test]
fn helpers_come_before_the_file_and_the_file_after_them() {
    let config = format!(
        r#"{{"auths":{{"a.io":{{"auth":"{0}"}},"b.io":{{"auth":"{0}"}},"c.io":{{"auth":"{0}"}},"d.io":{{}}}},
            "credsStore":"all","credHelpers":{{"b.io":"own","d.io":"broken","e.io":"gone","c.io":"gone"}}}}"#,
        auth("file")
    );
    let home = Home::new(&[(".docker/config.json", &config)]);
    home.keeper(
        "all",
        &[
            ("https://index.docker.io/v1/", "hub"),
            ("z.io", "store"),
            ("b.io", "wrong"),
        ],
    );
    home.keeper("own", &[("b.io", "own")]);
    home.helper("broken", "#!/bin/sh\necho it broke; exit 1\n");
    for (image, expected, told) in [
        ("busybox", "hub", ""),
        ("z.io/x", "store", ""),
        ("b.io/x", "own", ""),
        // The helper has nothing: what the file has from before it.
        ("a.io/x", "file", ""),
        // No helper, but the login without it went into the file.
        ("c.io/x", "file", ""),
        ("d.io/x", "-", "docker-credential-broken get: it broke"),
        (
            "e.io/x",
            "-",
            "the credential helper docker-credential-gone is not in PATH",
        ),
    ] {
        let (found, run) = password(&home, image, &[]);
        assert_eq!(found, expected, "{image}");
        let warning = match told {
            "" => String::new(),
            told => format!(
                "WARNING: {told} (named in {})\n",
                home.path(".docker/config.json").display()
            ),
        };
        assert_eq!(run.stderr, warning, "{image}");
    }
    assert_eq!(
        home.asked("all"),
        ["get https://index.docker.io/v1/", "get z.io", "get a.io"]
    );
    assert_eq!(home.asked("own"), ["get b.io"]);
}

#[test]
fn tokens_travel_as_tokens() {
    let config = r#"{"auths":{"i.io":{"auth":"dTo=","identitytoken":"i"},"r.io":{"registrytoken":"r"}},
                     "credHelpers":{"h.io":"h"}}"#;
    let home = Home::new(&[(".docker/config.json", config)]);
    home.helper(
        "h",
        "#!/bin/sh\necho '{\"Username\":\"<token>\",\"Secret\":\"t\"}'\n",
    );
    for (image, expected) in [
        (
            "i.io/x",
            json!({"username": "u", "serveraddress": "i.io", "identitytoken": "i"}),
        ),
        ("r.io/x", json!({"serveraddress": "r.io", "registrytoken": "r"})),
        ("h.io/x", json!({"serveraddress": "h.io", "identitytoken": "t"})),
    ] {
        let fake = Fake::new([reply(200, "")]);
        home.run(&fake, &["push", "-q", image]);
        assert_eq!(fake.asked()[0].credentials("x-registry-auth"), expected);
    }
}

#[test]
fn what_cannot_be_read_is_not_nobody() {
    let fake = Fake::new([reply(200, "")]);
    let home = Home::new(&[(".docker/config.json", "{\"auths\": {},\n}")]);
    for arguments in [
        &["pull", "-q", "x"][..],
        &["push", "-q", "x"],
        &["login", "-u", "u", "--password-stdin"],
        &["logout"],
        &["manifest", "inspect", "x"],
    ] {
        let run = home.run_with(&fake, arguments, b"p");
        assert_eq!(run.code, Some(1), "{arguments:?} {run:?}");
        let place = home.path(".docker/config.json");
        let told = format!("{}: line 2, column 1: ", place.display());
        assert!(run.stderr.starts_with(&told), "{run:?}");
    }
    let home = Home::new(&[]);
    let mut command = home.command(&fake, &["pull", "-q", "x"]);
    command.env("DOCKER_AUTH_CONFIG", "s3cret");
    let run = outcome(command);
    assert_eq!(
        run.stderr,
        "DOCKER_AUTH_CONFIG: line 1, column 1: expected value\n"
    );
}

/// Builds; what went along.
fn sent(home: &Home, variables: &[(&str, String)]) -> (Value, String) {
    let fake = Fake::new([reply(200, "")]);
    let context = home.path("c");
    let mut command = home.command(&fake, &["build", context.to_str().unwrap()]);
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    let run = outcome(command);
    assert_eq!(run.code, Some(0), "{run:?}");
    (fake.asked()[0].credentials("x-registry-config"), run.stderr)
}

#[test]
fn builds_are_given_all_there_is() {
    let config = format!(
        r#"{{"auths":{{"a.io":{{"auth":"{0}"}},"https://a.io/v2/":{{"auth":"{1}"}},"h.io":{{}},"bad.io":{{"auth":"!"}}}},
            "credsStore":"all","credHelpers":{{"own.io":"own","gone.io":"gone"}}}}"#,
        auth("file"),
        auth("old")
    );
    let podman = auths(&[
        ("a.io", "podman"),
        ("a.io/part", "part"),
        ("q.io/part", "part"),
        ("docker.io", "podman"),
    ]);
    let home = Home::new(&[
        ("c/Dockerfile", "FROM x"),
        (".docker/config.json", &config),
        (".config/containers/auth.json", &podman),
    ]);
    home.keeper(
        "all",
        &[("https://index.docker.io/v1/", "hub"), ("own.io", "wrong")],
    );
    home.keeper("own", &[("own.io", "own")]);
    let variable = [("DOCKER_AUTH_CONFIG", auths(&[("v.io", "variable")]))];
    let (sent, told) = sent(&home, &variable);
    let passwords: Vec<(&str, &str)> = sent
        .as_object()
        .unwrap()
        .iter()
        .map(|(key, auth)| (key.as_str(), auth["password"].as_str().unwrap()))
        .collect();
    assert_eq!(
        passwords,
        [
            ("a.io", "file"),
            ("https://index.docker.io/v1/", "hub"),
            ("own.io", "own"),
            ("q.io/part", "part"),
            ("v.io", "variable"),
        ]
    );
    assert_eq!(
        home.asked("all"),
        ["list ", "get https://index.docker.io/v1/", "get own.io"]
    );
    let warnings: Vec<&str> = told.lines().collect();
    assert_eq!(warnings.len(), 2, "{told}");
    assert!(warnings[0].ends_with("the credentials of bad.io cannot be used: its auth is not base64"));
    assert_eq!(
        warnings[1],
        "WARNING: the credential helper docker-credential-gone is not in PATH"
    );
}

#[test]
fn builds_of_nobody_say_so() {
    let home = Home::new(&[("c/Dockerfile", "FROM x")]);
    assert_eq!(sent(&home, &[]), (json!({}), String::new()));
    let home = Home::new(&[
        ("c/Dockerfile", "FROM x"),
        (".docker/config.json", r#"{"credsStore":"broken"}"#),
    ]);
    home.helper("broken", "#!/bin/sh\nexit 4\n");
    let told = "WARNING: docker-credential-broken list: exit status: 4\n";
    assert_eq!(sent(&home, &[]), (json!({}), told.to_owned()));
    // a file nobody can read is of no use to a build that may need none of it
    let home = Home::new(&[
        ("c/Dockerfile", "FROM x"),
        (".docker/config.json", "{\"auths\": {},\n}"),
    ]);
    let (sent, told) = sent(&home, &[]);
    assert_eq!(sent, json!({}));
    assert!(
        told.starts_with("WARNING: ") && told.contains("config.json") && told.lines().count() == 1,
        "{told}"
    );
}

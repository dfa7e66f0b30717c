//! `mica login` and `logout`: what is asked, what is kept where, what is said.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use crate::fake::{Fake, outcome, reply};
use crate::home::Home;

const SUCCEEDED: &str = r#"{"Status":"Login Succeeded","IdentityToken":""}"#;
const INSECURE: &str = "WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n";

fn unencrypted(home: &Home) -> String {
    format!(
        "\nWARNING! Your credentials are stored unencrypted in '{}'.\nConfigure a credential helper to remove this \
         warning. See\nhttps://docs.docker.com/go/credential-store/\n\n",
        home.path(".docker/config.json").display()
    )
}

#[test]
fn a_token_on_standard_input_logs_in() {
    for (input, password) in [
        (&b"ghp_token\n"[..], "ghp_token"),
        (b"ghp_token", "ghp_token"),
        (b"ghp_token\r\n", "ghp_token"),
        (b" two words \n\n", " two words \n"),
    ] {
        let (fake, home) = (Fake::new([reply(200, SUCCEEDED)]), Home::new(&[]));
        let run = home.run_with(
            &fake,
            &["login", "ghcr.io", "-u", "me", "--password-stdin"],
            input,
        );
        assert_eq!((run.code, run.stdout.as_str()), (Some(0), "Login Succeeded\n"));
        assert_eq!(run.stderr, unencrypted(&home));
        let asked = fake.asked();
        assert_eq!((asked[0].line.as_str(), asked.len()), ("POST /v1.51/auth", 1));
        assert_eq!(asked[0].header("content-type"), "application/json");
        let body: serde_json::Value = serde_json::from_slice(asked[0].body.as_ref().unwrap()).unwrap();
        assert_eq!(
            body,
            json!({"username": "me", "password": password, "serveraddress": "ghcr.io"})
        );
        let mode = std::fs::metadata(home.path(".docker/config.json"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        home.run(&fake, &["push", "-q", "ghcr.io/o/n"]);
        assert_eq!(
            fake.asked()[1].credentials("x-registry-auth"),
            body,
            "what was kept is used"
        );
    }
}

#[test]
fn every_spelling_of_a_server_is_one() {
    for (server, key) in [
        (None, "https://index.docker.io/v1/"),
        (Some("docker.io"), "https://index.docker.io/v1/"),
        (Some("https://index.docker.io/v1/"), "https://index.docker.io/v1/"),
        (Some("https://x.io:5000/v2/"), "x.io:5000"),
    ] {
        let (fake, home) = (Fake::new([reply(200, SUCCEEDED)]), Home::new(&[]));
        let mut arguments = vec!["login", "--username=u", "--password=p"];
        arguments.extend(server);
        let run = home.run(&fake, &arguments);
        assert_eq!(run.code, Some(0), "{run:?}");
        assert_eq!(run.stderr, format!("{INSECURE}{}", unencrypted(&home)));
        assert_eq!(home.config(), json!({"auths": {key: {"auth": "dTpw"}}}));
        let run = home.run(&fake, &[vec!["logout"], Vec::from_iter(server)].concat());
        assert_eq!(run.stdout, format!("Removing login credentials for {key}\n"));
        assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
        assert_eq!(home.config(), json!({"auths": {}}));
    }
}

#[test]
fn a_login_keeps_what_else_is_in_the_file() {
    let text = "{\n\t\"HttpHeaders\": {\n\t\t\"A\": \"\\u003c\"\n\t},\n\t\"auths\": {\n\t\t\"old\": {\n\t\t\t\"auth\": \"dTpw\"\n\t\t}\n\t},\n\t\"proxies\": {\n\t\t\"n\": 1.0\n\t}\n}";
    let (fake, home) = (
        Fake::new([reply(200, SUCCEEDED)]),
        Home::new(&[(".docker/config.json", text)]),
    );
    home.run(&fake, &["login", "-u", "u", "-p", "p", "new"]);
    let new = "\t\t},\n\t\t\"new\": {\n\t\t\t\"auth\": \"dTpw\"\n\t\t}\n\t},\n\t\"proxies\"";
    assert_eq!(
        home.read(".docker/config.json"),
        text.replace("\t\t}\n\t},\n\t\"proxies\"", new)
    );
    home.run(&fake, &["logout", "new"]);
    assert_eq!(home.read(".docker/config.json"), text);
}

#[test]
fn a_registrys_token_takes_the_passwords_place() {
    let answer = r#"{"Status":"Login Succeeded","IdentityToken":"idtoken"}"#;
    let (fake, home) = (Fake::new([reply(200, answer)]), Home::new(&[]));
    let run = home.run_with(&fake, &["login", "-u", "u", "--password-stdin", "r.io"], b"p");
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
    assert_eq!(
        home.config(),
        json!({"auths": {"r.io": {"auth": "dTo=", "identitytoken": "idtoken"}}})
    );
}

#[test]
fn wrong_passwords_are_told_whole_and_not_kept() {
    let answer =
        r#"{"message":"Get \"https://ghcr.io/v2/\": denied: denied\n\nHints:\n  the token is no good"}"#;
    let (fake, home) = (Fake::new([reply(401, answer)]), Home::new(&[]));
    let run = home.run_with(&fake, &["login", "ghcr.io", "-u", "u", "--password-stdin"], b"p");
    assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""));
    assert_eq!(
        run.stderr,
        "Error response from daemon: Get \"https://ghcr.io/v2/\": denied: denied\n\nHints:\n  the token is no good\n"
    );
    assert!(!home.path(".docker").exists());
}

#[test]
fn flags_that_make_no_sense_are_told() {
    let (fake, home) = (Fake::new([reply(200, SUCCEEDED)]), Home::new(&[]));
    let tty = "Error: Cannot perform an interactive login from a non TTY device\n";
    for (arguments, text) in [
        (&["login"][..], tty),
        (&["login", "-u", "u", "r.io"], tty),
        (
            &["login", "-u", "u", "-p", "p", "--password-stdin"],
            "conflicting options: cannot specify both --password and --password-stdin\n",
        ),
        (
            &["login", "--password-stdin"],
            "the --password-stdin option requires --username to be set\n",
        ),
        (
            &["login", "-u", "u", "--password-stdin"],
            "Error: Password Required: nothing came on standard input\n",
        ),
    ] {
        let run = home.run(&fake, arguments);
        assert_eq!(
            (run.code, run.stdout.as_str(), run.stderr.as_str()),
            (Some(1), "", text),
            "{arguments:?}"
        );
    }
    assert!(fake.asked().is_empty());
    let run = home.run_with(&fake, &["login", "-u", "u", "--password-stdin"], &[b'x'; 70_000]);
    assert_eq!(
        run.stderr,
        "what came on standard input is too long for a password\n"
    );
    let mut command = home.command(&fake, &["login", "-u", "u", "-p", "p"]);
    command.env_remove("HOME");
    let run = outcome(command);
    assert_eq!(run.code, Some(1));
    assert!(
        run.stderr
            .ends_with("set HOME, or DOCKER_CONFIG=/path/of/folder\n"),
        "{run:?}"
    );
}

#[test]
fn stored_credentials_are_tried_first() {
    let config = r#"{"auths":{"r.io":{"auth":"dTpw"}}}"#;
    let told = "Authenticating with existing credentials... [Username: u]\n\n Info -> To login with a different \
                account, run 'mica logout' followed by 'mica login'\n\n";
    for (status, body, code, after) in [
        (200, SUCCEEDED, 0, String::new()),
        (
            401,
            r#"{"message":"no"}"#,
            1,
            "Stored credentials invalid or expired\nError: Cannot perform an interactive login from a non TTY device\n"
                .to_owned(),
        ),
        (
            500,
            r#"{"message":"no"}"#,
            1,
            "Login did not succeed, error: Error response from daemon: no\n\
             Error: Cannot perform an interactive login from a non TTY device\n"
                .to_owned(),
        ),
    ] {
        let home = Home::new(&[(".docker/config.json", config)]);
        let fake = Fake::new([reply(status, body)]);
        let run = home.run(&fake, &["login", "r.io"]);
        let after = if code == 0 { unencrypted(&home) } else { after };
        assert_eq!((run.code, run.stderr), (Some(code), format!("{told}{after}")));
        let body: serde_json::Value = serde_json::from_slice(fake.asked()[0].body.as_ref().unwrap()).unwrap();
        assert_eq!(body, json!({"username": "u", "password": "p", "serveraddress": "r.io"}));
        assert_eq!(home.config(), json!({"auths": {"r.io": {"auth": "dTpw"}}}));
    }
}

#[test]
fn helpers_keep_and_forget() {
    let config = r#"{"auths":{"r.io":{"auth":"b2xkOm9sZA=="}},"credsStore":"k"}"#;
    let (fake, home) = (
        Fake::new([reply(200, SUCCEEDED)]),
        Home::new(&[(".docker/config.json", config)]),
    );
    home.keeper("k", &[]);
    let run = home.run_with(
        &fake,
        &["login", "-u", "u", "--password-stdin", "r.io"],
        b"s3cret",
    );
    assert_eq!(
        (run.code, run.stdout.as_str(), run.stderr.as_str()),
        (Some(0), "Login Succeeded\n", "")
    );
    assert_eq!(home.config(), json!({"auths": {"r.io": {}}, "credsStore": "k"}));
    home.run(&fake, &["pull", "-q", "r.io/x"]);
    let sent = fake.asked()[1].credentials("x-registry-auth");
    assert_eq!(sent["password"], "s3cret");
    let run = home.run(&fake, &["logout", "https://r.io/"]);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
    assert_eq!(home.config(), json!({"auths": {}, "credsStore": "k"}));
    assert_eq!(
        home.asked("k"),
        [
            "store r.io",
            "get r.io",
            "erase r.io",
            "erase http://r.io",
            "erase https://r.io"
        ]
    );
}

#[test]
fn a_login_never_fails_for_want_of_a_helper() {
    for (script, words) in [
        (None, "the credential helper docker-credential-k is not in PATH"),
        (
            Some("#!/bin/sh\necho Cannot autolaunch D-Bus without X11; exit 1\n"),
            "docker-credential-k store: Cannot autolaunch D-Bus without X11",
        ),
    ] {
        let (fake, home) = (
            Fake::new([reply(200, SUCCEEDED)]),
            Home::new(&[(".docker/config.json", r#"{"credsStore":"k"}"#)]),
        );
        if let Some(script) = script {
            home.helper("k", script);
        }
        let run = home.run_with(&fake, &["login", "-u", "u", "--password-stdin", "r.io"], b"p");
        let told = format!(
            "WARNING: {words}; keeping the credentials in a file instead\n{}",
            unencrypted(&home)
        );
        assert_eq!((run.code, run.stderr), (Some(0), told));
        assert_eq!(
            home.config(),
            json!({"credsStore": "k", "auths": {"r.io": {"auth": "dTpw"}}})
        );
        let run = home.run(&fake, &["pull", "-q", "r.io/x"]);
        assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
        assert_eq!(fake.asked()[1].credentials("x-registry-auth")["password"], "p");
        let run = home.run(&fake, &["logout", "r.io"]);
        assert_eq!(run.code, Some(if script.is_some() { 1 } else { 0 }), "{run:?}");
        assert_eq!(home.config(), json!({"credsStore": "k", "auths": {}}));
    }
}

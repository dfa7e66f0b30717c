//! The walk through GitHub's documentation of its Container registry ("Working with the Container registry"), by its real
//! name: a proxy leads `ghcr.io` to a registry of this machine that behaves and speaks like it.

use std::net::{Ipv4Addr, SocketAddr};

use mica_tests::registry::{Action, Options as RegistryOptions, Personality, User};
use mica_tests::servers::ConnectProxy;
use mica_tests::{Context, Daemon, FakeRegistry, Options, Ran};

const TOKEN: &str = "ghp_writes";
const READER: &str = "ghp_reads";

struct Ghcr {
    registry: FakeRegistry,
    proxy: ConnectProxy,
}

impl Ghcr {
    fn start() -> Self {
        let both = [Action::Pull, Action::Push];
        let registry = FakeRegistry::with(RegistryOptions {
            personality: Personality::Ghcr,
            tls: true,
            users: vec![
                User::new("octocat", TOKEN).may("octo-org/*", &both),
                User::new("reader", READER).may("octo-org/*", &[Action::Pull]),
            ],
            public: vec!["public/*".to_owned()],
            ..RegistryOptions::default()
        });
        let there = SocketAddr::from((Ipv4Addr::LOCALHOST, registry.port()));
        let storage = registry.storage_host();
        let elsewhere = SocketAddr::from((
            Ipv4Addr::LOCALHOST,
            storage
                .rsplit_once(':')
                .expect("a port")
                .1
                .parse()
                .expect("a number"),
        ));
        // signed addresses are on another port of the host that was asked
        let signed = format!("ghcr.io:{}", elsewhere.port());
        let proxy = ConnectProxy::start(&[("ghcr.io:443", there), (&signed, elsewhere)]);
        Self { registry, proxy }
    }

    fn daemon(&self) -> Daemon {
        let ca = self.registry.ca_path();
        let options = Options::default()
            .env("HTTPS_PROXY", self.proxy.url())
            .env("SSL_CERT_FILE", ca.to_str().expect("a plain path"));
        Daemon::with(options)
    }
}

/// The program that is walked with.
#[derive(Clone, Copy)]
enum Program {
    Mica,
    Docker,
}

impl Program {
    #[track_caller]
    fn run<const N: usize>(self, daemon: &Daemon, args: [&str; N]) -> Ran {
        match self {
            Self::Mica => daemon.mica(args),
            Self::Docker => daemon.docker(args),
        }
    }

    #[track_caller]
    fn login(self, daemon: &Daemon, user: &str, token: &str) -> Ran {
        let args = ["login", "ghcr.io", "-u", user, "--password-stdin"];
        let input = format!("{token}\n");
        match self {
            Self::Mica => daemon.mica_fed(args, &input),
            Self::Docker => daemon.docker_fed(args, &input),
        }
    }
}

/// What a program said on either stream: the two differ in where they say what.
fn said(ran: &Ran) -> String {
    format!("{}{}", ran.stdout, ran.stderr)
}

fn walk(program: Program) {
    let ghcr = Ghcr::start();
    let daemon = ghcr.daemon();
    let run = |args: &[&str]| match program {
        Program::Mica => daemon.mica(args),
        Program::Docker => daemon.docker(args),
    };
    let image = "ghcr.io/octo-org/image-name";

    // Authenticating with a personal access token (classic)
    let wrong = program.login(&daemon, "octocat", "ghp_wrong");
    assert_eq!(wrong.code, 1);
    assert!(
        said(&wrong).contains("denied") && said(&wrong).contains("personal access token"),
        "{}",
        said(&wrong)
    );
    let right = program.login(&daemon, "octocat", TOKEN).ok();
    assert!(said(&right).contains("Login Succeeded"), "{}", said(&right));

    // Pushing container images: latest, and a version
    let context = Context::with_shell("FROM base\nRUN echo hello > /hello\nCMD [\"cat\", \"/hello\"]\n");
    run(&["build", "-t", &format!("{image}:latest"), context.arg()]).ok();
    let id = run(&["inspect", "-f", "{{.Id}}", image]).ok().text().to_owned();
    let pushed = run(&["push", &format!("{image}:latest")]).ok();
    assert!(
        said(&pushed).contains("latest: digest: sha256:"),
        "{}",
        said(&pushed)
    );
    run(&["tag", image, &format!("{image}:2.5")]).ok();
    run(&["push", &format!("{image}:2.5")]).ok();
    ghcr.registry
        .whole("octo-org/image-name", "latest")
        .expect("all blobs are there");
    ghcr.registry
        .whole("octo-org/image-name", "2.5")
        .expect("all blobs are there");

    // Pulling container images: inspect for the digest, remove, pull by digest
    let digest = run(&["inspect", "-f", "{{index .RepoDigests 0}}", image])
        .ok()
        .text()
        .to_owned();
    assert!(digest.starts_with(&format!("{image}@sha256:")), "{digest}");
    run(&["rmi", &format!("{image}:latest"), &format!("{image}:2.5")]).ok();
    daemon.mica(["builder", "prune", "-af"]).ok();
    run(&["pull", &digest]).ok();
    assert_eq!(run(&["inspect", "-f", "{{.Id}}", &digest]).ok().text(), id);
    // by name, by name and version, by name and latest
    let pulled = run(&["pull", image]).ok();
    assert!(
        said(&pulled).contains("Using default tag: latest"),
        "{}",
        said(&pulled)
    );
    run(&["pull", &format!("{image}:2.5")]).ok();
    run(&["pull", &format!("{image}:latest")]).ok();
    assert_eq!(
        run(&["inspect", "-f", "{{.Id}}", &format!("{image}:2.5")])
            .ok()
            .text(),
        id
    );

    // Tagging container images: by ID
    let short = &run(&["images", "-q", image]).ok().text()[..12].to_owned();
    let other = "ghcr.io/octo-org/other-image:latest";
    run(&["tag", short, other]).ok();
    let pushed = run(&["push", other]).ok();
    assert!(
        said(&pushed).contains("Mounted from octo-org/image-name"),
        "{}",
        said(&pushed)
    );

    // what is built from it runs, so its layers are what they should be
    let on_top = Context::new(&format!("FROM {image}\nRUN cat /hello > /again\n"));
    run(&["build", "-t", "on-top", on_top.arg()]).ok();

    // new packages are private: somebody else may not see them, and hears why
    let stranger = ghcr.daemon();
    let denied = program.run(&stranger, ["pull", image]);
    assert_eq!(denied.code, 1);
    assert!(
        said(&denied).contains("pull access denied for ghcr.io/octo-org/image-name"),
        "{}",
        said(&denied)
    );
    assert!(
        said(&denied).contains("read:packages") && said(&denied).contains("mica login ghcr.io"),
        "{}",
        said(&denied)
    );
    // public ones are for all
    ghcr.registry.make_public("octo-org/image-name");
    program.run(&stranger, ["pull", image]).ok();
    assert_eq!(
        program
            .run(&stranger, ["inspect", "-f", "{{.Id}}", image])
            .ok()
            .text(),
        id
    );
    // and whoever may only read is told what is missing
    program.login(&stranger, "reader", READER).ok();
    program
        .run(&stranger, ["tag", image, "ghcr.io/octo-org/image-name:3"])
        .ok();
    let denied = program.run(&stranger, ["push", "ghcr.io/octo-org/image-name:3"]);
    assert_eq!(denied.code, 1);
    let text = said(&denied);
    for part in [
        "push access denied",
        "permission_denied: write_package",
        "write:packages",
        "packages: write",
        "Manage Actions access",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(ghcr.proxy.asked().iter().any(|host| host == "ghcr.io:443"));
}

#[test]
fn the_walk_with_mica() {
    walk(Program::Mica);
}

#[test]
fn the_walk_with_docker() {
    walk(Program::Docker);
}

/// Before a long build: may this user push where it is to go? What GitHub answers is told, and nothing is left there.
#[test]
fn a_doctor_says_beforehand_whether_a_push_will_be_taken() {
    let ghcr = Ghcr::start();
    let daemon = ghcr.daemon();
    let image = "ghcr.io/octo-org/image-name";
    let asked = || daemon.mica(["doctor", image]);
    let line = |ran: &Ran| {
        let reached = ran.stdout.lines().find(|line| line.contains("  registry  "));
        let reached = reached.unwrap_or_else(|| panic!("{ran:?}"));
        assert!(
            reached.starts_with("ok") && reached.contains("ghcr.io answers"),
            "{reached}"
        );
        let found = ran.stdout.lines().find(|line| line.contains("  push  "));
        found.unwrap_or_else(|| panic!("{ran:?}")).to_owned()
    };

    Program::Mica.login(&daemon, "reader", READER).ok();
    let refused = asked();
    assert_eq!(refused.code, 1, "{}", refused.stdout);
    let told = line(&refused);
    assert!(told.starts_with("fail") && told.contains(image), "{told}");
    for part in ["denied", "write:packages"] {
        assert!(refused.stdout.contains(part), "{part}: {}", refused.stdout);
    }
    assert!(
        refused.stdout.contains("→ mica login ghcr.io"),
        "{}",
        refused.stdout
    );

    Program::Mica.login(&daemon, "octocat", TOKEN).ok();
    let allowed = asked();
    let told = line(&allowed);
    assert!(told.starts_with("ok") && told.contains("202 Accepted"), "{told}");
    assert_eq!(ghcr.registry.open_uploads(), 0, "the upload was given up");
    assert!(ghcr.registry.manifest("octo-org/image-name", "latest").is_none());
    for ran in [&refused, &allowed] {
        assert!(!said(ran).contains("ghp_"), "no token is told");
    }
}

//! RUN: what a process sees, and what identifies the step.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use mica_dockerfile::{NetworkMode, Run, RunScript, SecurityMode};
use mica_layer::ImagePath;
use mica_oci::Platform;
use mica_store::CacheRecord;
use mica_task::{Event, Stream};

use crate::environment::Environment;
use crate::error::StepError;
use crate::key::KeyWriter;
use crate::ops::config::with_shell;
use crate::ops::mount::{Mounts, OriginOf};
use crate::options::Options;
use crate::ports::{Mount, MountSource, Network, Process, Runs, Security};
use crate::site::{Outcome, Place, Site};
use crate::state::State;

/// What a RUN without a hostname of its own is told the machine is called (BuildKit's choice).
pub(crate) const HOSTNAME: &str = "buildkitsandbox";

/// What allows `--security=insecure`.
const INSECURE: &str = "set builder.entitlements.security-insecure to true in daemon.json, and build with --allow security.insecure";
/// What allows `--network=host`.
const HOST_NETWORK: &str = "build with --allow network.host or --network host";

/// Build arguments that reach every RUN without being declared, and never reach image, history or key.
const PROXIES: [&str; 5] = ["http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy"];

/// A RUN with everything it depends on known.
#[derive(Debug)]
pub(crate) struct Invocation {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// The script a `#!` here-document becomes: its name in /dev/pipes and its text.
    pub script: Option<(String, String)>,
    /// What the host is called.
    pub hostname: String,
    /// Which network is seen.
    pub network: Network,
    /// How much it may do.
    pub security: Security,
    env: Environment,
    proxies: Environment,
}

impl Invocation {
    /// Works out what `run` means on top of `state`.
    pub(crate) fn new(run: &Run, state: &State, options: &Options) -> Result<Self, StepError> {
        let security = match run.security {
            None | Some(SecurityMode::Sandbox) => Security::Sandbox,
            Some(SecurityMode::Insecure) if options.insecure_allowed => Security::Insecure,
            Some(SecurityMode::Insecure) => {
                return Err(StepError::NotAllowed {
                    right: "security.insecure",
                    remedy: INSECURE,
                });
            }
        };
        let network = match run.network {
            None | Some(NetworkMode::Default) => options.network,
            Some(NetworkMode::None) => Network::None,
            Some(NetworkMode::Host) if options.host_network_allowed => Network::Host,
            Some(NetworkMode::Host) => {
                return Err(StepError::NotAllowed {
                    right: "network.host",
                    remedy: HOST_NETWORK,
                });
            }
        };
        let mut script = None;
        let argv = match &run.script {
            None => with_shell(&run.command, state),
            Some(RunScript::Body(text) | RunScript::Inline(text)) => on_shell(state, text.clone()),
            Some(RunScript::File { name, body }) => {
                script = Some((name.clone(), body.clone()));
                on_shell(state, format!("/dev/pipes/{name}"))
            }
        };
        if argv.is_empty() {
            return Err(StepError::Invalid(
                "RUN needs a command, the list is empty".into(),
            ));
        }
        let hostname = options
            .build_arg("BUILDKIT_SANDBOX_HOSTNAME")
            .unwrap_or(HOSTNAME)
            .to_owned();
        Ok(Self {
            argv,
            script,
            hostname,
            network,
            security,
            env: state.env.clone(),
            proxies: proxies(options, &state.env),
        })
    }

    /// `NAME=value` for the process.
    pub(crate) fn env(&self) -> Vec<String> {
        self.env.texts().into_iter().chain(self.proxies.texts()).collect()
    }

    /// The step's key, its mounts aside. Proxies, addresses of extra hosts and the content of resolv.conf are no part of it.
    pub(crate) fn key(
        &self,
        state: &State,
        options: &Options,
        platform: &Platform,
        epoch: Option<i64>,
    ) -> KeyWriter {
        let hosts = options.extra_hosts.iter().map(|(name, _)| name);
        let ulimits = options
            .ulimits
            .iter()
            .map(|u| format!("{}={}:{}", u.name, u.soft, u.hard));
        let (script_name, script_body) = self.script.clone().unzip();
        let key = KeyWriter::new("run", &state.chain())
            .named("command")
            .list(self.argv.iter())
            .named("environment")
            .list(self.env.texts().iter())
            .named("working directory")
            .field(state.cwd())
            .named("user")
            .field(&state.image.config.user)
            .named("host names")
            .field(&self.hostname)
            .list(hosts)
            .named("network")
            .field(format!("{:?}", self.network))
            .named("platform")
            .field(platform.to_string())
            .named("limits")
            .list(ulimits)
            .option(options.shm_size.map(u64::to_le_bytes))
            .named("script")
            .option(script_name)
            .option(script_body)
            .named("SOURCE_DATE_EPOCH")
            .option(epoch.map(i64::to_le_bytes))
            .named("mounts and rights");
        match self.security {
            Security::Sandbox => key,
            Security::Insecure => key.field("insecure"),
        }
    }

    /// The history line: `RUN [|N a=1 b=2 ]ARGV # buildkit`.
    pub(crate) fn created_by(&self, state: &State) -> String {
        let mut args = Environment::default();
        for (name, value) in &state.args {
            let value = state.env.get(name).or(value.as_deref()).unwrap_or_default();
            args.set(name, value);
        }
        let args = args.texts();
        let count = (!args.is_empty()).then(|| format!("|{}", args.len()));
        let words: Vec<_> = count
            .into_iter()
            .chain(args)
            .chain(self.argv.iter().cloned())
            .collect();
        format!("RUN {} # buildkit", words.join(" "))
    }
}

fn on_shell(state: &State, text: String) -> Vec<String> {
    state.shell().into_iter().chain([text]).collect()
}

/// Whether a build argument is one of those that reach every RUN.
pub(crate) fn is_proxy(name: &str) -> bool {
    PROXIES.contains(&name.to_ascii_lowercase().as_str())
}

/// Proxy build arguments in upper and in lower case, where the stage does not set them itself.
fn proxies(options: &Options, env: &Environment) -> Environment {
    let mut found = Environment::default();
    for (name, value) in &options.build_args {
        let Some(value) = value else { continue };
        if is_proxy(name) {
            for name in [name.to_ascii_uppercase(), name.to_ascii_lowercase()] {
                if env.get(&name).is_none() {
                    found.set(&name, value);
                }
            }
        }
    }
    found
}

/// Carries out a RUN. Gives the layer and the history line.
pub(crate) fn step(
    run: &Run,
    origin: &OriginOf<'_, '_>,
    state: &State,
    site: &Site<'_>,
    place: Place,
) -> Result<(Outcome, String), StepError> {
    let layers = site.layers;
    let invocation = Invocation::new(run, state, site.scope.options)?;
    let mounts = Mounts::read(run, origin, state, site)?;
    let platform = site.plan.platform_of(place.stage);
    let key = || invocation.key(state, site.scope.options, platform, layers.epoch);
    let created_by = invocation.created_by(state);
    // mounts from the very same layers need no look at their files
    let fresh = site.fresh(place);
    let by_layers = mounts.key_by_layers(key(), site)?;
    if let (Some(key), false) = (&by_layers, fresh)
        && let Some(record) = site.find(key, place)?
    {
        return Ok((Outcome::of(key, &record, true), created_by));
    }
    let by_content = mounts.key_by_content(key(), site)?;
    let outcome = site.layer(&by_content, by_layers.as_slice(), fresh, place, || {
        site.executing(place, true);
        execute(&invocation, &mounts, state, site, place, &created_by)
    })?;
    Ok((outcome, created_by))
}

fn execute(
    invocation: &Invocation,
    mounts: &Mounts<'_>,
    state: &State,
    site: &Site<'_>,
    place: Place,
    about: &str,
) -> Result<CacheRecord, StepError> {
    let layers = site.layers;
    runnable(state, site)?;
    let work = layers.work()?;
    let [upper, overlay] = ["upper", "work"].map(|name| work.path().join(name));
    fs_err::create_dir(&upper)?;
    fs_err::create_dir(&overlay)?;
    let lowers = layers.trees(&state.layers)?;
    let mut lent = mounts.lend(site, place, work.path())?;
    let mut env = invocation.env();
    lent.complete(&mut env);
    if let Some((name, body)) = &invocation.script {
        let path = write_script(work.path(), name, body)?;
        let source = MountSource::Host {
            path,
            read_only: true,
        };
        let target = "/dev/pipes".into();
        lent.mounts.insert(0, Mount { target, source });
    }
    let process = Process {
        lowers,
        upper: upper.clone(),
        work: overlay,
        argv: invocation.argv.clone(),
        env,
        secret_env: std::mem::take(&mut lent.secret_env),
        security: invocation.security,
        cwd: state.cwd().to_owned(),
        user: state.image.config.user.clone(),
        hostname: invocation.hostname.clone(),
        network: invocation.network,
        extra_hosts: site.scope.options.extra_hosts.clone(),
        ulimits: site.scope.options.ulimits.clone(),
        limits: site.scope.options.limits.clone(),
        shm_size: site.scope.options.shm_size,
        mounts: std::mem::take(&mut lent.mounts),
    };
    let mut output = |stream: Stream, bytes: &[u8]| {
        site.reporter.report(Event::Log {
            step: place.step,
            stream,
            bytes: bytes.to_vec(),
        });
    };
    let ended = site.executor.run(&process, &mut output, layers.cancel);
    // caches are free for others while the layer is made
    drop(lent);
    layers.cancel.check()?;
    let ended = ended.map_err(StepError::Execute)?;
    if ended.code != 0 {
        // what filled the disk is not kept
        if !ended.disk_full {
            let shell = state.shell().swap_remove(0);
            site.workshop
                .failed
                .keep(site.build, process, shell, work, layers.lease);
        }
        return Err(StepError::Exit {
            command: invocation.argv.join(" "),
            ended,
        });
    }
    let order = site.order(state, place, about);
    layers.take_upper(order, &upper, &layers.stack(&state.layers)?)
}

/// Fails if this machine cannot run programs of the image that the step works on.
fn runnable(state: &State, site: &Site<'_>) -> Result<(), StepError> {
    let own = |own: &str, planned: &str| match own.is_empty() {
        true => planned.to_owned(),
        false => own.to_owned(),
    };
    let planned = &site.plan.platform;
    let platform = Platform {
        os: own(&state.image.os, &planned.os),
        architecture: own(&state.image.architecture, &planned.architecture),
        variant: state.image.variant.clone(),
        os_version: String::new(),
    };
    let has = |path: &str| {
        let path = ImagePath::clamped(path.as_bytes());
        let stack = site.layers.stack(&state.layers)?;
        Ok::<_, StepError>(stack.lookup(&stack.resolve(&path, true)?)?.is_some())
    };
    match site.executor.runs(&platform.normal()) {
        Runs::Always => Ok(()),
        Runs::With { interpreter, .. } if has(&interpreter)? => Ok(()),
        Runs::With { reason, .. } | Runs::Not { reason } => Err(StepError::Execute(reason.into())),
    }
}

/// Writes the script of a `#!` here-document into a folder of its own.
fn write_script(work: &Path, name: &str, body: &str) -> Result<PathBuf, StepError> {
    let folder = work.join("pipes");
    fs_err::create_dir(&folder)?;
    fs_err::set_permissions(&folder, Permissions::from_mode(0o755))?;
    let file = folder.join(name);
    fs_err::write(&file, body)?;
    fs_err::set_permissions(&file, Permissions::from_mode(0o755))?;
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mica_dockerfile::Command;

    fn run(command: Command) -> Run {
        Run {
            command,
            heredocs: Vec::new(),
            script: None,
            mounts: Vec::new(),
            network: None,
            security: None,
            devices: Vec::new(),
        }
    }

    fn state() -> State {
        State::scratch(&Platform::host())
    }

    #[test]
    fn history_lists_declared_args_before_the_command() {
        let mut state = state();
        let invocation = |state: &State| {
            Invocation::new(&run(Command::Shell("true".into())), state, &Options::default()).unwrap()
        };
        assert_eq!(
            invocation(&state).created_by(&state),
            "RUN /bin/sh -c true # buildkit"
        );
        state.env.set("A", "now");
        state.args = vec![("A".into(), Some("then".into())), ("B".into(), None)];
        assert_eq!(
            invocation(&state).created_by(&state),
            "RUN |2 A=now B= /bin/sh -c true # buildkit"
        );
    }

    #[test]
    fn proxies_come_in_both_cases_and_do_not_change_the_key() {
        let state = state();
        let with = Options {
            build_args: vec![("HTTP_proxy".into(), Some("p".into()))],
            ..Options::default()
        };
        let of = |options: &Options| {
            Invocation::new(&run(Command::Exec(vec!["a".into()])), &state, options).unwrap()
        };
        let env = of(&with).env();
        assert!(
            env.contains(&"http_proxy=p".into()) && env.contains(&"HTTP_PROXY=p".into()),
            "{env:?}"
        );
        let key = |options: &Options| {
            let key = of(options).key(&state, options, &Platform::host(), None);
            key.finish().key
        };
        assert_eq!(key(&with), key(&Options::default()));
    }

    #[test]
    fn rights_that_were_not_given_are_refused() {
        let state = state();
        let asked = Run {
            network: Some(NetworkMode::Host),
            ..run(Command::Shell(String::new()))
        };
        assert!(Invocation::new(&asked, &state, &Options::default()).is_err());
        let allowed = Options {
            host_network_allowed: true,
            ..Options::default()
        };
        assert!(Invocation::new(&asked, &state, &allowed).is_ok());
        assert!(Invocation::new(&run(Command::Exec(Vec::new())), &state, &allowed).is_err());
    }
}

//! Runs the processes of RUN in the sandbox.

use std::collections::HashSet;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use mica_builder::ports::{Ended, Executor, Limits, Network, PortError, Process, Runs, Security, Ulimit};
use mica_oci::Platform;
use mica_sandbox::{
    Hidden, MountSpec, Resource, Rlimit, Spec, render_hosts, render_resolv_conf, resolv_conf_path,
};
use mica_task::{Cancel, Stream};

use crate::adapters::mounts;
use crate::machine;

/// Size of /dev/shm unless the build says otherwise (docker's default).
const SHM_SIZE: u64 = 64 << 20;
/// How many processes and threads a RUN may have at once, where control groups can be written: many times what builds
/// have, and little enough that a fork bomb leaves the host numbers.
const PROCESSES: u64 = 16_384;
/// With less of its disk free than this in bytes, a RUN that failed is taken to have failed for that.
const FULL: u64 = 1 << 20;
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Runs processes with this program's own sandbox helper.
pub(crate) struct SandboxExecutor<'a> {
    /// The program that is the helper when told so by its first argument.
    pub(crate) helper: &'a Path,
}

impl Executor for SandboxExecutor<'_> {
    fn ready(&self) -> Result<(), PortError> {
        match rustix::process::geteuid().is_root() {
            true => Ok(()),
            false => Err("RUN needs rights that micad does not have: start it as root".into()),
        }
    }

    fn runs(&self, platform: &Platform) -> Runs {
        machine::runs(platform)
    }

    fn run(
        &self,
        process: &Process,
        output: &mut dyn FnMut(Stream, &[u8]),
        cancel: &Cancel,
    ) -> Result<Ended, PortError> {
        // beside the overlay's own folders, in the step's scratch space
        let folder = process.work.parent().unwrap_or(&process.work);
        let mounted = mounts::prepare(&process.mounts, folder)?;
        let spec = spec(process, folder, mounted.specs)?;
        let mut disk_full = false;
        let mut forward = |stream, bytes: &[u8]| {
            // what a program says of it while it still has what it wrote
            disk_full = disk_full || (says_full(bytes) && is_full(folder));
            match stream {
                mica_sandbox::Stream::Stdout => output(Stream::Stdout, bytes),
                mica_sandbox::Stream::Stderr => output(Stream::Stderr, bytes),
            }
        };
        let outcome = mica_sandbox::run(&spec, self.helper, &mut forward, &|| cancel.is_cancelled())?;
        drop(mounted.agents);
        let code = outcome.exit.code();
        Ok(Ended {
            code,
            out_of_memory: outcome.out_of_memory,
            disk_full: code != 0 && (disk_full || is_full(folder)),
        })
    }
}

impl SandboxExecutor<'_> {
    /// Runs a process on a terminal to its end, or kills all of it once `cancel` says so. Gives the exit code.
    pub(crate) fn run_on(
        &self,
        process: &Process,
        terminal: OwnedFd,
        cancel: &Cancel,
    ) -> Result<i32, PortError> {
        let folder = process.work.parent().unwrap_or(&process.work);
        let mounted = mounts::prepare(&process.mounts, folder)?;
        let spec = spec(process, folder, mounted.specs)?;
        let outcome = mica_sandbox::run_on(&spec, self.helper, terminal, &|| cancel.is_cancelled())?;
        drop(mounted.agents);
        Ok(outcome.exit.code())
    }
}

/// Whether a program's output has the system's words for a full disk in it.
fn says_full(output: &[u8]) -> bool {
    const WORDS: [&[u8]; 2] = [b"No space left on device", b"Disk quota exceeded"];
    WORDS
        .iter()
        .any(|words| output.windows(words.len()).any(|piece| piece == *words))
}

/// Whether next to nothing is free where a program writes to.
fn is_full(folder: &Path) -> bool {
    rustix::fs::statvfs(folder).is_ok_and(|disk| {
        let no_files = disk.f_files > 0 && disk.f_favail == 0;
        no_files || disk.f_bavail.saturating_mul(disk.f_frsize) < FULL
    })
}

fn spec(process: &Process, folder: &Path, mounts: Vec<MountSpec>) -> Result<Spec, PortError> {
    let host_network = process.network == Network::Host;
    let resolv_conf = folder.join("resolv.conf");
    fs_err::write(
        &resolv_conf,
        render_resolv_conf(&host_resolv_conf(), host_network),
    )?;
    let hosts = folder.join("hosts");
    fs_err::write(
        &hosts,
        render_hosts(&process.hostname, &addresses(&process.extra_hosts)?),
    )?;
    let hidden_env = process.secret_env.iter();
    let hidden_env = hidden_env.map(|(name, secret)| (name.clone(), Hidden::from(secret.value.to_vec())));
    Ok(Spec {
        lowers: lowers(&process.lowers),
        upper: process.upper.clone(),
        work: process.work.clone(),
        argv: process.argv.clone(),
        env: process.env.clone(),
        hidden_env: hidden_env.collect(),
        cwd: PathBuf::from(&process.cwd),
        user: process.user.clone(),
        hostname: process.hostname.clone(),
        network: if host_network {
            mica_sandbox::Network::Host
        } else {
            mica_sandbox::Network::None
        },
        resolv_conf: Some(resolv_conf),
        hosts: Some(hosts),
        mounts,
        rlimits: process.ulimits.iter().map(rlimit).collect::<Result<_, _>>()?,
        limits: limits(&process.limits),
        processes: Some(PROCESSES),
        shm_size: process.shm_size.unwrap_or(SHM_SIZE),
        security: match process.security {
            Security::Sandbox => mica_sandbox::Security::Sandbox,
            Security::Insecure => mica_sandbox::Security::Insecure,
        },
        terminal: false,
    })
}

/// The trees from the top down, each once: overlayfs refuses a directory it has already. What an equal layer further down
/// gives or hides, the upper one does too.
pub(super) fn lowers(trees: &[PathBuf]) -> Vec<PathBuf> {
    let mut seen = HashSet::new();
    trees
        .iter()
        .rev()
        .filter(|tree| seen.insert(*tree))
        .cloned()
        .collect()
}

/// The host's list of name servers; behind systemd's stub the real one. None at all where the host has none.
fn host_resolv_conf() -> String {
    let text = std::fs::read_to_string(RESOLV_CONF).unwrap_or_default();
    std::fs::read_to_string(resolv_conf_path(&text)).unwrap_or(text)
}

fn addresses(hosts: &[(String, String)]) -> Result<Vec<(IpAddr, &str)>, PortError> {
    let parse = |(name, address): &'_ (String, String)| match address.trim_matches(['[', ']']).parse() {
        Ok(address) => Ok(address),
        Err(_) => Err(format!("invalid IP address {address:?} for the extra host {name:?}").into()),
    };
    hosts
        .iter()
        .map(|host| parse(host).map(|address| (address, host.0.as_str())))
        .collect()
}

fn limits(limits: &Limits) -> mica_sandbox::Limits {
    mica_sandbox::Limits {
        memory: limits.memory,
        memory_and_swap: limits.memory_and_swap,
        cpu_shares: limits.cpu_shares,
        cpu_period: limits.cpu_period,
        cpu_quota: limits.cpu_quota,
        cpuset_cpus: limits.cpuset_cpus.clone(),
        cpuset_mems: limits.cpuset_mems.clone(),
        parent: limits.parent.clone(),
    }
}

fn rlimit(limit: &Ulimit) -> Result<Rlimit, PortError> {
    let resource =
        Resource::from_name(&limit.name).ok_or_else(|| format!("invalid ulimit type: {}", limit.name))?;
    let bound = |value: i64| u64::try_from(value).ok();
    Ok(Rlimit {
        resource,
        soft: bound(limit.soft),
        hard: bound(limit.hard),
    })
}

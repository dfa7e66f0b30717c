//! What this machine and this program are.

use mica_oci::{Digest, ImageId, Platform};

use crate::engine::Engine;
use crate::error::Error;

/// What this program is.
#[derive(Debug, Clone)]
pub struct Version {
    /// Its version.
    pub version: &'static str,
    /// The compiler it was made with, at least.
    pub compiler: &'static str,
    /// What it builds for unless asked otherwise.
    pub platform: Platform,
    /// The kernel's release.
    pub kernel: String,
}

/// What this machine is and what the store holds.
#[derive(Debug, Clone)]
pub struct Info {
    /// Names this daemon: the same for the same machine and store.
    pub id: String,
    /// How many images there are, tagged or not.
    pub images: u64,
    /// How many layers.
    pub layers: u64,
    /// Their bytes.
    pub layer_bytes: u64,
    /// What went wrong in the store's background work and has not gone right since.
    pub troubles: Vec<String>,
    /// How many records the build cache has.
    pub cache_records: u64,
    /// The machine's name.
    pub host: String,
    /// The kernel's release.
    pub kernel: String,
    /// The kernel's name of the architecture.
    pub machine: String,
    /// The distribution's name for people.
    pub system: String,
    /// Its version.
    pub system_version: String,
    /// Processors this program may use.
    pub processors: u64,
    /// Bytes of memory.
    pub memory: u64,
    /// 1 or 2.
    pub cgroup_version: u8,
    /// Open file descriptors of this program.
    pub open_files: u64,
    /// Threads of this program.
    pub threads: u64,
}

/// What this program is.
pub fn version() -> Version {
    Version {
        version: env!("CARGO_PKG_VERSION"),
        compiler: concat!("rust", env!("CARGO_PKG_RUST_VERSION")),
        platform: Platform::host(),
        kernel: text(rustix::system::uname().release()),
    }
}

impl Engine {
    /// What this machine is and what the store holds.
    pub fn info(&self) -> Result<Info, Error> {
        let usage = self.store().usage()?;
        let uname = rustix::system::uname();
        let release = fs_err::read_to_string("/etc/os-release").unwrap_or_default();
        Ok(Info {
            id: self.id(),
            images: usage.images,
            layers: usage.layers,
            layer_bytes: usage.layer_bytes,
            troubles: self.store().troubles(),
            cache_records: usage.cache_records,
            host: text(uname.nodename()),
            kernel: text(uname.release()),
            machine: text(uname.machine()),
            system: release_field(&release, "PRETTY_NAME").unwrap_or_else(|| "Linux".to_owned()),
            system_version: release_field(&release, "VERSION_ID").unwrap_or_default(),
            processors: std::thread::available_parallelism().map_or(1, |n| n.get() as u64),
            memory: total_memory(),
            cgroup_version: if std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
                2
            } else {
                1
            },
            open_files: entries("/proc/self/fd"),
            threads: entries("/proc/self/task"),
        })
    }

    /// Images whose config was found damaged or gone since this was asked last, and how; each is told of once.
    pub fn new_damage(&self) -> Vec<(ImageId, String)> {
        self.store().new_damage()
    }

    fn id(&self) -> String {
        let machine = fs_err::read_to_string("/etc/machine-id").unwrap_or_default();
        let root = self.root().display();
        let hex = Digest::of(format!("{} {root}", machine.trim()).as_bytes()).hex();
        let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..32]];
        parts.join("-")
    }
}

fn text(name: &std::ffi::CStr) -> String {
    name.to_string_lossy().into_owned()
}

fn entries(directory: &str) -> u64 {
    fs_err::read_dir(directory).map_or(0, |entries| entries.count() as u64)
}

/// A value of os-release(5), quotes taken off.
fn release_field(file: &str, key: &str) -> Option<String> {
    let value = file
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
    Some(value.trim().trim_matches(['"', '\'']).to_owned())
}

/// `MemTotal` of proc_meminfo(5), which counts in KiB; 0 where it cannot be read.
fn total_memory() -> u64 {
    let file = fs_err::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = file.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok())
        .map_or(0, |kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn os_release_is_read() {
        let file = "NAME=Debian\nPRETTY_NAME=\"Debian GNU/Linux 12\"\nVERSION_ID='12'\n";
        assert_eq!(
            release_field(file, "PRETTY_NAME").as_deref(),
            Some("Debian GNU/Linux 12")
        );
        assert_eq!(release_field(file, "VERSION_ID").as_deref(), Some("12"));
        assert_eq!(release_field(file, "NOPE"), None);
    }

    #[test]
    fn this_machine_has_memory() {
        assert!(total_memory() > 1 << 20);
        assert!(entries("/proc/self/fd") > 2);
    }
}

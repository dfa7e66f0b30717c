//! For which platforms this machine runs programs: its own, and those that the kernel has an emulator for (binfmt_misc).

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use mica_builder::ports::Runs;
use mica_oci::Platform;
use rustix::fs::{MemfdFlags, memfd_create};

/// Where the kernel lists its handlers, once somebody mounted it (kernel documentation, "binfmt-misc").
const HANDLERS: &str = "/proc/sys/fs/binfmt_misc";
/// The longest description of a handler that is read, in bytes: the kernel's are under a page.
const HANDLER_LIMIT: u64 = 8 << 10;

/// How programs of an architecture begin: class, byte order and machine of their ELF header.
struct Programs {
    architecture: &'static str,
    is_64: bool,
    is_big_endian: bool,
    machine: u16,
}

/// The architectures whose programs are known (ELF machine numbers of the kernel's `elf-em.h`).
const PROGRAMS: [Programs; 12] = [
    programs("386", false, false, 3),
    programs("amd64", true, false, 62),
    programs("arm", false, false, 40),
    programs("arm64", true, false, 183),
    programs("loong64", true, false, 258),
    programs("mips", false, true, 8),
    programs("mipsle", false, false, 8),
    programs("mips64", true, true, 8),
    programs("mips64le", true, false, 8),
    programs("ppc64le", true, false, 21),
    programs("riscv64", true, false, 243),
    programs("s390x", true, true, 22),
];

const fn programs(architecture: &'static str, is_64: bool, is_big_endian: bool, machine: u16) -> Programs {
    Programs {
        architecture,
        is_64,
        is_big_endian,
        machine,
    }
}

/// What the kernel does with programs of some kind.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Handler {
    interpreter: String,
    /// Whether the interpreter was opened when it was registered, and need not be in the image (flag F).
    is_fixed: bool,
    offset: usize,
    magic: Vec<u8>,
    mask: Vec<u8>,
}

/// All platforms that programs run for without anything in their image, this machine's first.
pub fn platforms() -> Vec<Platform> {
    let host = Platform::host();
    let mut found = vec![host.clone()];
    for level in 2..=4 {
        let variant = Platform {
            variant: format!("v{level}"),
            ..host.clone()
        };
        if level <= host_level() {
            found.push(variant);
        }
    }
    let handlers = handlers(Path::new(HANDLERS));
    for programs in &PROGRAMS {
        let platform = Platform {
            architecture: programs.architecture.to_owned(),
            variant: String::new(),
            ..host.clone()
        };
        let platforms = match programs.architecture {
            // an emulator runs what is older too
            "arm" => ["v7", "v6"].map(|variant| variant.to_owned()).to_vec(),
            _ => vec![String::new()],
        };
        let platforms = platforms.into_iter().map(|variant| Platform {
            variant,
            ..platform.clone()
        });
        for platform in platforms {
            if !found.contains(&platform) && runs_among(&platform, handlers.as_deref()) == Runs::Always {
                found.push(platform);
            }
        }
    }
    found
}

/// Whether programs for this platform run.
pub(crate) fn runs(platform: &Platform) -> Runs {
    runs_among(platform, handlers(Path::new(HANDLERS)).as_deref())
}

fn runs_among(platform: &Platform, handlers: Option<&[Handler]>) -> Runs {
    if runs_itself(platform) {
        return Runs::Always;
    }
    let fitting = handlers.unwrap_or_default();
    let fitting = fitting.iter().find(|handler| handler.takes(platform));
    match fitting {
        Some(handler) if handler.is_fixed => Runs::Always,
        Some(handler) => Runs::With {
            interpreter: handler.interpreter.clone(),
            reason: format!(
                "this machine runs programs for {platform} with {}, which is not in the image: register it with the flag F \
                 (binfmt_misc), then none is needed there",
                handler.interpreter
            ),
        },
        None => Runs::Not {
            reason: reason(platform, handlers.is_some()),
        },
    }
}

fn reason(platform: &Platform, is_mounted: bool) -> String {
    let host = Platform::host();
    let how = match is_mounted {
        true => "install an emulator (Debian's qemu-user-static and binfmt-support)".to_owned(),
        false => format!(
            "mount binfmt_misc at {HANDLERS} and install an emulator (Debian's qemu-user-static and binfmt-support)"
        ),
    };
    format!(
        "no program for {platform} runs on this machine, which is {host}: {how}, or run it in a stage \
         FROM --platform=$BUILDPLATFORM and copy what it made"
    )
}

/// Whether the processor itself runs programs for this platform.
fn runs_itself(platform: &Platform) -> bool {
    let host = Platform::host();
    if platform.os != host.os {
        return false;
    }
    match (host.architecture.as_str(), platform.architecture.as_str()) {
        ("amd64", "amd64") => level(&platform.variant).is_some_and(|level| level <= host_level()),
        ("amd64", "386") => runs_386(),
        (own, other) => own == other,
    }
}

fn level(variant: &str) -> Option<u32> {
    match variant {
        "" => Some(1),
        variant => variant.strip_prefix('v')?.parse().ok(),
    }
}

/// The level of x86-64 that this processor is of (x86-64 psABI, "Micro-Architecture Levels"); 1 for other processors.
#[cfg(target_arch = "x86_64")]
fn host_level() -> u32 {
    use std::arch::is_x86_feature_detected as has;
    let second = has!("cmpxchg16b")
        && has!("popcnt")
        && has!("sse3")
        && has!("ssse3")
        && has!("sse4.1")
        && has!("sse4.2");
    let third = has!("avx")
        && has!("avx2")
        && has!("bmi1")
        && has!("bmi2")
        && has!("f16c")
        && has!("fma")
        && has!("lzcnt");
    let fourth =
        has!("avx512f") && has!("avx512bw") && has!("avx512cd") && has!("avx512dq") && has!("avx512vl");
    match (second, third, fourth) {
        (true, true, true) => 4,
        (true, true, false) => 3,
        (true, false, _) => 2,
        (false, ..) => 1,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn host_level() -> u32 {
    1
}

/// Whether this kernel runs 32-bit programs, which not all do: one that does nothing but end is tried, once.
fn runs_386() -> bool {
    static RUNS: OnceLock<bool> = OnceLock::new();
    *RUNS.get_or_init(|| try_386().unwrap_or(false))
}

fn try_386() -> std::io::Result<bool> {
    let mut program = File::from(memfd_create("try-386", MemfdFlags::CLOEXEC)?);
    program.write_all(&nothing_386())?;
    // a number, not a name: the file has none, and stays open until it runs
    let path = format!("/proc/{}/fd/{}", std::process::id(), program.as_raw_fd());
    // a file that is open for writing cannot be run
    let reader = File::open(&path)?;
    drop(program);
    let path = format!("/proc/{}/fd/{}", std::process::id(), reader.as_raw_fd());
    let mut command = Command::new(path);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Ok(command.status()?.code() == Some(7))
}

/// A program for 386 that ends with code 7.
fn nothing_386() -> Vec<u8> {
    const BASE: u32 = 0x0804_8000;
    const HEADERS: u32 = 52 + 32;
    // mov eax, 1 (exit); mov ebx, 7; int 0x80
    const CODE: [u8; 12] = [0xb8, 1, 0, 0, 0, 0xbb, 7, 0, 0, 0, 0xcd, 0x80];
    let size = HEADERS + 12;
    let mut file = vec![0x7f, b'E', b'L', b'F', 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    file.extend([2, 0, 3, 0]);
    for word in [1, BASE + HEADERS, 52, 0, 0] {
        file.extend(u32::to_le_bytes(word));
    }
    for half in [52_u16, 32, 1, 0, 0, 0] {
        file.extend(half.to_le_bytes());
    }
    // one segment, read and executed
    for word in [1, 0, BASE, BASE, size, size, 5, 0x1000] {
        file.extend(u32::to_le_bytes(word));
    }
    file.extend(CODE);
    file
}

impl Handler {
    /// Reads what the kernel tells of a handler; `None` for one that is switched off or goes by a file's name.
    fn read(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        if lines.next()? != "enabled" {
            return None;
        }
        let mut handler = Self {
            interpreter: String::new(),
            is_fixed: false,
            offset: 0,
            magic: Vec::new(),
            mask: Vec::new(),
        };
        for line in lines {
            let (key, value) = line.split_once(' ').unwrap_or((line, ""));
            match key {
                "interpreter" => handler.interpreter = value.to_owned(),
                "flags:" => handler.is_fixed = value.contains('F'),
                "offset" => handler.offset = value.parse().ok()?,
                "magic" => handler.magic = bytes(value)?,
                "mask" => handler.mask = bytes(value)?,
                _ => {}
            }
        }
        (!handler.magic.is_empty()).then_some(handler)
    }

    /// Whether it takes programs for this platform.
    fn takes(&self, platform: &Platform) -> bool {
        let known = PROGRAMS
            .iter()
            .find(|known| known.architecture == platform.architecture);
        known.is_some_and(|known| platform.os == "linux" && self.matches(&known.header()))
    }

    fn matches(&self, header: &[u8]) -> bool {
        let own = header.get(self.offset..).unwrap_or_default();
        own.len() >= self.magic.len()
            && self.magic.iter().zip(own).enumerate().all(|(at, (magic, own))| {
                let mask = self.mask.get(at).copied().unwrap_or(0xff);
                magic & mask == own & mask
            })
    }
}

impl Programs {
    /// How a program begins.
    fn header(&self) -> Vec<u8> {
        let half = |number: u16| match self.is_big_endian {
            true => number.to_be_bytes(),
            false => number.to_le_bytes(),
        };
        let mut header = vec![0x7f, b'E', b'L', b'F'];
        header.extend([1 + u8::from(self.is_64), 1 + u8::from(self.is_big_endian), 1]);
        header.resize(16, 0);
        header.extend(half(2));
        header.extend(half(self.machine));
        header
    }
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let pairs = hex.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

/// All handlers that are on; `None` if nobody mounted their list.
fn handlers(folder: &Path) -> Option<Vec<Handler>> {
    let is_on = |text: String| text.trim() == "enabled";
    if !is_on(read(&folder.join("status"))?) {
        return Some(Vec::new());
    }
    let entries = std::fs::read_dir(folder).ok()?.filter_map(Result::ok);
    let handlers = entries.filter_map(|entry| match entry.file_name().to_str() {
        Some("status" | "register") => None,
        _ => Handler::read(&read(&entry.path())?),
    });
    Some(handlers.collect())
}

fn read(file: &Path) -> Option<String> {
    let mut text = String::new();
    let file = File::open(file).ok()?;
    file.take(HANDLER_LIMIT).read_to_string(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the kernel tells of Debian's emulator for arm64.
    const ARM64: &str = "enabled\ninterpreter /usr/libexec/qemu-binfmt/aarch64-binfmt-P\nflags: POCF\noffset 0\n\
        magic 7f454c460201010000000000000000000200b700\nmask ffffffffffffff00fffffffffffffffffeffffff\n";

    fn platform(text: &str) -> Platform {
        text.parse().unwrap()
    }

    #[test]
    fn handlers_are_known_by_what_they_take() {
        let handler = Handler::read(ARM64).unwrap();
        assert!(handler.is_fixed && handler.takes(&platform("linux/arm64")));
        for other in ["linux/arm/v7", "linux/riscv64", "linux/s390x", "windows/arm64"] {
            assert!(!handler.takes(&platform(other)), "{other}");
        }
        for none in [
            ARM64.replacen("enabled", "disabled", 1),
            "enabled\ninterpreter /bin/x\nflags: \nextension .py\n".to_owned(),
            ARM64.replacen("magic 7f", "magic 7x", 1),
            String::new(),
        ] {
            assert_eq!(Handler::read(&none), None, "{none}");
        }
        // one that looks behind all there is
        let far = ARM64.replacen("offset 0", "offset 99999999999", 1);
        assert!(!Handler::read(&far).unwrap().takes(&platform("linux/arm64")));
    }

    #[test]
    fn what_runs_needs_a_handler_that_is_there() {
        let foreign = ["linux/arm64", "linux/amd64"].map(platform);
        let foreign = foreign.iter().find(|other| **other != Platform::host()).unwrap();
        assert_eq!(runs_among(&Platform::host(), None), Runs::Always);
        let told = |handlers: Option<&[Handler]>| match runs_among(foreign, handlers) {
            Runs::Not { reason } | Runs::With { reason, .. } => reason,
            Runs::Always => String::new(),
        };
        assert!(told(None).contains("mount binfmt_misc"), "{}", told(None));
        assert!(told(Some(&[])).contains(&format!("no program for {foreign}")));
        let mut handler = Handler::read(ARM64).unwrap();
        handler.magic.truncate(4);
        assert_eq!(told(Some(&[handler.clone()])), "");
        handler.is_fixed = false;
        assert!(told(Some(&[handler])).contains("which is not in the image"));
    }

    #[test]
    fn lists_are_read_as_the_kernel_writes_them() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(handlers(folder.path()), None);
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("status", "enabled\n");
        write("register", "");
        write("qemu-aarch64", ARM64);
        write("python", "enabled\ninterpreter /x\nflags: \nextension .py\n");
        assert_eq!(handlers(folder.path()), Some(vec![Handler::read(ARM64).unwrap()]));
        write("status", "disabled\n");
        assert_eq!(handlers(folder.path()), Some(Vec::new()));
    }

    #[test]
    fn this_machine_comes_first() {
        assert_eq!(platforms().first(), Some(&Platform::host()));
    }
}

//! A store on an ext4 of its own, on a loop device: the power is cut at moments of chance while another process works on it.
//!
//! The cut is the file system's own `EXT4_IOC_SHUTDOWN` without flushing its log, as file system developers use it: from that
//! moment on nothing reaches the device, and what was not written yet is lost. Then it is mounted again, which replays the log.
//! What the device itself may lose or reorder is not in it; `replay.rs` is about that.
#![allow(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::ioctl::{Setter, ioctl, opcode};

use crate::check::whole;
use crate::journal::Journal;
use crate::life::{Life, STEPS};
use crate::mounts::{hide_mounts, run_tool};
use crate::promise::{Promise, Promised};
use crate::random::Random;
use crate::replay::look;

const ROOT: &str = "POWERCUT_ROOT";
const LOG: &str = "POWERCUT_LOG";
const ROUND: &str = "POWERCUT_ROUND";
/// The length of the device in bytes.
const DEVICE: u64 = 256 << 20;
/// The longest that the other process works, in milliseconds.
const LONGEST: u64 = 1500;

/// What was done; or why nothing was.
pub(crate) struct Counts {
    pub(crate) cuts: usize,
    /// How often the other process was told of something that is kept.
    pub(crate) promises: usize,
    pub(crate) wrong: Vec<String>,
    pub(crate) skipped: Option<String>,
}

/// In the other process: works until the disk fails. Gives whether this is that process.
pub(crate) fn work() -> bool {
    let (Ok(root), Ok(log), Ok(round)) = (std::env::var(ROOT), std::env::var(LOG), std::env::var(ROUND))
    else {
        return false;
    };
    let log = OpenOptions::new().append(true).create(true).open(log).unwrap();
    let Ok(mut life) = Life::begin(Path::new(&root), Journal::promises_to(log)) else {
        return true;
    };
    for round in round.parse().unwrap().. {
        life.enter(round);
        for (name, step) in STEPS {
            if let Err(error) = step(&mut life) {
                println!("cannot {name}: {}", whole(&error));
                return true;
            }
        }
    }
    true
}

/// Cuts the power so many times, each time going on with the same store.
pub(crate) fn run(cuts: usize) -> Counts {
    let mut counts = Counts {
        cuts: 0,
        promises: 0,
        wrong: Vec::new(),
        skipped: None,
    };
    let folder = tempfile::tempdir().unwrap();
    // a process that copies this one's mounts would keep the file system that was shut down, and it would be mounted again instead
    // of what is on the device
    let made = hide_mounts().and_then(|()| Device::make(folder.path()));
    let mut device = match made {
        Ok(device) => device,
        Err(reason) => {
            counts.skipped = Some(reason);
            return counts;
        }
    };
    let log = folder.path().join("log");
    let mut told = Told::default();
    let mut random = Random::new(7);
    for cut in 0..cuts {
        let root = device.place.join("store");
        let mut child = start(&root, &log, cut * 1000);
        std::thread::sleep(Duration::from_millis(random.below(LONGEST)));
        told.read(&log, true);
        device.cut();
        end(&mut child);
        told.read(&log, false);
        if let Err(reason) = device.mount_again() {
            counts.wrong.push(format!("cut {cut}: {reason}"));
            return counts;
        }
        let mut promised = Promised::default();
        told.promises.iter().for_each(|promise| promised.add(promise));
        counts.promises = told.kept;
        // another boot each time: the other process may not even have come to open the store since the last look
        if let Err(wrong) = look(&root, &format!("boot {cut}"), &promised) {
            counts.wrong.push(format!("cut {cut}: {wrong}"));
        }
        counts.cuts += 1;
    }
    counts
}

/// What the other process was told, as far as it holds.
#[derive(Default)]
struct Told {
    /// How much of the log was read.
    read: usize,
    promises: Vec<Promise>,
    /// How many of them are of something that is kept.
    kept: usize,
}

impl Told {
    /// Reads on. Only what was told before the cut is held to: a sync that is at work while a journal is aborted may find nothing left
    /// to wait for, and succeed. What was begun may have been done all the same.
    fn read(&mut self, log: &Path, is_before: bool) {
        let text = std::fs::read_to_string(log).unwrap_or_default();
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        for line in text[self.read..whole].lines() {
            let begins = line.contains("ing ");
            if is_before || begins {
                self.promises.push(Promise::of(line));
                self.kept += usize::from(!begins);
            }
        }
        self.read = whole;
    }
}

fn start(root: &Path, log: &Path, round: usize) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .env(ROOT, root)
        .env(LOG, log)
        .env(ROUND, round.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn end(child: &mut Child) {
    let _ = child.kill();
    child.wait().unwrap();
}

/// A mounted loop device; gone when dropped.
struct Device {
    image: PathBuf,
    place: PathBuf,
    mounted: bool,
}

impl Device {
    fn make(folder: &Path) -> Result<Self, String> {
        let (image, place) = (folder.join("image"), folder.join("place"));
        File::create(&image).unwrap().set_len(DEVICE).unwrap();
        std::fs::create_dir(&place).unwrap();
        run_tool(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image))?;
        let mut device = Self {
            image,
            place,
            mounted: false,
        };
        device.mount()?;
        Ok(device)
    }

    fn mount(&mut self) -> Result<(), String> {
        run_tool(
            Command::new("mount")
                .args(["-o", "loop"])
                .arg(&self.image)
                .arg(&self.place),
        )?;
        self.mounted = true;
        Ok(())
    }

    /// Cuts the power.
    fn cut(&self) {
        const NO_LOG_FLUSH: u32 = 2;
        let root = File::open(&self.place).unwrap();
        // SAFETY: the call reads one number from where the pointer leads.
        let call = unsafe { Setter::<{ opcode::read::<u32>(b'X', 125) }, u32>::new(NO_LOG_FLUSH) };
        // SAFETY: as above.
        unsafe { ioctl(&root, call) }.unwrap();
    }

    fn mount_again(&mut self) -> Result<(), String> {
        self.unmount();
        self.mount()
    }

    fn unmount(&mut self) {
        if std::mem::take(&mut self.mounted) {
            run_tool(Command::new("umount").arg(&self.place)).unwrap();
        }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.unmount();
    }
}

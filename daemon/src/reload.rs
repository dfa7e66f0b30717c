//! The settings that are in force, and how others take their place while the daemon runs (`SIGHUP`).

use std::sync::{Arc, PoisonError, RwLock};

use rustix::time::{ClockId, clock_gettime};

use crate::config::{Arguments, Settings};
use crate::daemon::Daemon;
use crate::error::Error;
use crate::listen::{self, Listener};
use crate::log::{self, Level};
use crate::notify::notify;

/// The settings in force.
pub(crate) struct Current(RwLock<Arc<Settings>>);

impl Current {
    /// These, until others come.
    pub(crate) fn new(settings: Settings) -> Self {
        Self(RwLock::new(Arc::new(settings)))
    }

    /// What they are now.
    pub(crate) fn get(&self) -> Arc<Settings> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, settings: Settings) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
    }
}

/// The files of the sockets, whose modes follow the rights.
pub(crate) struct Doors(Vec<listen::Door>);

impl Doors {
    /// Those of sockets that are listened on.
    pub(crate) fn of(listeners: &[Listener]) -> Self {
        Self(listeners.iter().filter_map(Listener::door).collect())
    }

    /// Opens them to all users, or closes them, as the settings need it.
    pub(crate) fn follow(&self, settings: &Settings) {
        for door in &self.0 {
            if let Err(error) = door.set(settings.rights.lets_others_in()) {
                log::say(
                    Level::Warn,
                    &format!("the socket's mode cannot be changed: {error}"),
                    &[],
                );
            }
        }
    }
}

/// Reads the settings anew. Those that are wrong change nothing, and the log says why.
pub(crate) fn reload(daemon: &Daemon, arguments: &Arguments, doors: &Doors) {
    let now = clock_gettime(ClockId::Monotonic);
    // sd_notify(3): the service manager waits until this is over
    notify(&format!(
        "RELOADING=1\nMONOTONIC_USEC={}",
        now.tv_sec * 1_000_000 + now.tv_nsec / 1000
    ));
    let taken = take_over(daemon, arguments, doors);
    daemon.metrics.reloaded(taken.is_ok());
    match taken {
        Ok(left) if left.is_empty() => log::say(Level::Info, "the settings were read anew", &[]),
        Ok(left) => {
            let text = format!(
                "the settings were read anew; {} will change when micad is started again",
                left.join(" and ")
            );
            log::say(Level::Warn, &text, &[]);
        }
        Err(error) => {
            let text = format!("the settings stay as they were: {}", error.describe());
            log::say(Level::Error, &text, &[]);
        }
    }
    notify("READY=1");
}

/// Takes new settings over; gives the keys of those that wait for a restart.
fn take_over(daemon: &Daemon, arguments: &Arguments, doors: &Doors) -> Result<Vec<&'static str>, Error> {
    let old = daemon.settings.get();
    let mut new = Settings::read(arguments.clone())?;
    let left = old.needs_restart(&new);
    let registries = new.registries.clone().into_settings()?;
    daemon
        .engine
        .reconfigure(registries, new.insecure_allowed)
        .map_err(Error::Engine)?;
    // what is in force is what is told
    (new.addresses, new.root) = (old.addresses.clone(), old.root.clone());
    log::set(new.log_level, new.log_format);
    doors.follow(&new);
    daemon.settings.set(new);
    daemon.upkeep.changed();
    Ok(left)
}

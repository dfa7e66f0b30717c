//! The sockets the daemon listens on: its own, or those the service manager hands over (sd_listen_fds(3)).

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use listenfd::ListenFd;
use rustix::fs::Mode;

use crate::accounts::{self, Kind};
use crate::config::{Address, Settings};
use crate::error::Error;
use crate::log::{self, Level};
use crate::rights::GROUP;

/// Owner and group may connect.
const SOCKET_MODE: u32 = 0o660;
/// All may connect, and hear what they may do.
const OPEN_MODE: u32 = 0o666;

/// A socket that is listened on.
#[derive(Debug)]
pub(crate) struct Listener {
    /// The socket.
    pub(crate) socket: UnixListener,
    own: Option<OwnSocket>,
}

/// The file of a socket, as far as it has one.
#[derive(Debug)]
pub(crate) struct Door {
    path: PathBuf,
    identity: (u64, u64),
    /// The mode it had when nobody but owner and group was to connect.
    closed: u32,
}

impl Door {
    /// Lets all users connect, or only those of before.
    pub(crate) fn set(&self, is_open: bool) -> io::Result<()> {
        let metadata = fs_err::symlink_metadata(&self.path)?;
        if (metadata.dev(), metadata.ino()) != self.identity {
            return Err(io::Error::other(format!(
                "{} is another file now",
                self.path.display()
            )));
        }
        let mode = if is_open { OPEN_MODE } else { self.closed };
        if metadata.mode() & 0o777 == mode {
            return Ok(());
        }
        fs_err::set_permissions(&self.path, Permissions::from_mode(mode))
    }
}

/// A socket file the daemon made and takes away again.
#[derive(Debug)]
struct OwnSocket {
    path: PathBuf,
    identity: (u64, u64),
}

impl Listener {
    /// The file of the socket. One of a service manager's was made with the mode that its unit says, which is the one to go back
    /// to, unless it is already open to all.
    pub(crate) fn door(&self) -> Option<Door> {
        let address = self.socket.local_addr().ok()?;
        let path = address.as_pathname()?.to_owned();
        let metadata = fs_err::symlink_metadata(&path).ok()?;
        Some(Door {
            identity: (metadata.dev(), metadata.ino()),
            closed: match metadata.mode() & 0o777 {
                OPEN_MODE => SOCKET_MODE,
                mode => mode,
            },
            path,
        })
    }

    /// Takes the socket file away, if it is still this daemon's.
    pub(crate) fn close(&mut self) {
        let Some(own) = self.own.take() else { return };
        let still_own = fs_err::symlink_metadata(&own.path)
            .is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == own.identity);
        if still_own && let Err(error) = fs_err::remove_file(&own.path) {
            log::say(Level::Warn, &error.to_string(), &[]);
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.close();
    }
}

/// Takes over what the service manager has opened. To be called before any thread starts: it changes the environment.
pub(crate) fn take_handed_over() -> ListenFd {
    ListenFd::from_env()
}

/// Opens all sockets the settings ask for.
pub(crate) fn open(settings: &Settings, mut handed_over: ListenFd) -> Result<Vec<Listener>, Error> {
    let mut listeners = Vec::new();
    for at in 0..handed_over.len() {
        let socket = handed_over
            .take_unix_listener(at)
            .map_err(|source| Error::System {
                action: "use a socket of the service manager",
                source,
            })?;
        listeners.extend(socket.map(|socket| Listener { socket, own: None }));
    }
    let mut paths = Vec::new();
    for address in &settings.addresses {
        match address {
            Address::Unix(path) => paths.push(path.clone()),
            Address::Activation if listeners.is_empty() => {
                return Err(Error::Setting {
                    reason: "fd:// was asked for, but no service manager handed over a socket".to_owned(),
                });
            }
            Address::Activation => {}
        }
    }
    if listeners.is_empty() && paths.is_empty() {
        paths.push(settings.default_address.clone().ok_or_else(|| Error::Setting {
            reason: "XDG_RUNTIME_DIR is not set: say --host unix://PATH".to_owned(),
        })?);
    }
    for path in paths {
        listeners.push(bind(&path)?);
    }
    Ok(listeners)
}

fn bind(path: &Path) -> Result<Listener, Error> {
    let failed = |action| {
        move |source| Error::Socket {
            action,
            path: path.to_owned(),
            source,
        }
    };
    if let Some(folder) = path.parent() {
        let mut builder = std::fs::DirBuilder::new();
        let made = builder.recursive(true).mode(0o755).create(folder);
        made.map_err(failed("make the folder of"))?;
    }
    clear(path)?;
    // the socket must at no moment be open to everybody
    let before = rustix::process::umask(Mode::from_raw_mode(0o777 & !SOCKET_MODE));
    let bound = UnixListener::bind(path);
    rustix::process::umask(before);
    let socket = bound.map_err(failed("listen on"))?;
    let metadata = fs_err::symlink_metadata(path).map_err(failed("look at"))?;
    let listener = Listener {
        socket,
        own: Some(OwnSocket {
            path: path.to_owned(),
            identity: (metadata.dev(), metadata.ino()),
        }),
    };
    if let Some(group) = accounts::local(Kind::Group, GROUP) {
        // someone who is not root and not in the group keeps the socket to himself
        match chown(path, None, Some(group)) {
            Err(error) if error.kind() != io::ErrorKind::PermissionDenied => {
                return Err(failed("give to its group")(error));
            }
            _ => {}
        }
    }
    fs_err::set_permissions(path, Permissions::from_mode(SOCKET_MODE)).map_err(failed("set the mode of"))?;
    Ok(listener)
}

/// Takes away the socket of a daemon that is no more; refuses if somebody answers.
fn clear(path: &Path) -> Result<(), Error> {
    match fs_err::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(Error::NoSocket {
                path: path.to_owned(),
            });
        }
        // what cannot be looked at cannot be listened on: binding says why
        _ => {}
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(Error::Occupied {
            path: path.to_owned(),
        }),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs_err::remove_file(path).map_err(|source| Error::Socket {
                action: "replace",
                path: path.to_owned(),
                source,
            })
        }
        Err(source) => Err(Error::Socket {
            action: "see whether somebody answers at",
            path: path.to_owned(),
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_respected() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/er/x.sock");
        let first = bind(&path).unwrap();
        assert_eq!(
            fs_err::metadata(&path).unwrap().permissions().mode() & 0o777,
            SOCKET_MODE
        );
        assert!(matches!(bind(&path), Err(Error::Occupied { .. })));
        let mode = || fs_err::metadata(&path).unwrap().permissions().mode() & 0o777;
        let door = first.door().unwrap();
        door.set(true).unwrap();
        assert_eq!(mode(), OPEN_MODE);
        first.door().unwrap().set(false).unwrap();
        assert_eq!(mode(), SOCKET_MODE);
        door.set(true).unwrap();
        door.set(false).unwrap();
        assert_eq!(mode(), SOCKET_MODE);
        drop(first);
        assert!(door.set(true).is_err(), "it is gone");
        assert!(!path.exists());
        // a daemon that was killed leaves its file
        drop(UnixListener::bind(&path).unwrap());
        let second = bind(&path).unwrap();
        fs_err::remove_file(&path).unwrap();
        let third = bind(&path).unwrap();
        drop(second);
        assert!(path.exists(), "only its own file is taken away");
        drop(third);
        fs_err::write(&path, "x").unwrap();
        assert!(matches!(bind(&path), Err(Error::NoSocket { .. })));
    }
}

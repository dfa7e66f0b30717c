//! `--secret` and `--ssh`: values and agents that reach single RUN steps.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{MemfdFlags, Mode, OFlags};

use crate::error::Error;
use crate::fields;

/// The longest secret, in bytes; as BuildKit's.
const MAX_SECRET_BYTES: u64 = 500 * 1024;

/// Where the value of a secret is.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    File(PathBuf),
    Variable(String),
}

/// What `--secret` says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Secret {
    /// What the Dockerfile calls it.
    pub(super) id: String,
    place: Place,
}

impl Secret {
    /// Reads `id=ID[,src=FILE|,env=NAME][,type=file|env]`; with an ID alone it is the variable of that name, or the file.
    pub(super) fn parse(text: &str, has_variable: impl Fn(&str) -> bool) -> Result<Self, Error> {
        let invalid = |why: String| {
            usage(format!(
                "invalid argument \"{text}\" for \"--secret\" flag: {why}"
            ))
        };
        let (mut id, mut source, mut variable, mut kind) = (None, None, None, None);
        for field in fields::split(text) {
            let (key, value) = field
                .split_once('=')
                .ok_or_else(|| invalid(format!("invalid field '{field}' must be a key=value pair")))?;
            match key.to_ascii_lowercase().as_str() {
                "type" if matches!(value, "file" | "env") => kind = Some(value.to_owned()),
                "type" => return Err(invalid(format!("unsupported secret type \"{value}\""))),
                "id" => id = Some(value.to_owned()),
                "source" | "src" => source = Some(value.to_owned()),
                "env" => variable = Some(value.to_owned()),
                key => return Err(invalid(format!("unexpected key '{key}' in '{field}'"))),
            }
        }
        let id = id
            .filter(|id| !id.is_empty())
            .ok_or_else(|| invalid("secret missing ID".to_owned()))?;
        if kind.as_deref() == Some("env") && variable.is_none() {
            variable = source.take();
        }
        let place = match (variable.filter(|name| !name.is_empty()), source) {
            (Some(name), _) => Place::Variable(name),
            (None, Some(path)) if !path.is_empty() => Place::File(path.into()),
            _ if kind.as_deref() != Some("file") && has_variable(&id) => Place::Variable(id.clone()),
            _ => Place::File(PathBuf::from(&id)),
        };
        Ok(Self { id, place })
    }

    /// The value, in memory that is handed over as a file.
    pub(super) fn open(&self) -> Result<OwnedFd, Error> {
        let value = match &self.place {
            Place::Variable(name) => {
                use std::os::unix::ffi::OsStringExt as _;
                std::env::var_os(name).unwrap_or_default().into_vec()
            }
            Place::File(path) => {
                let failed = |source| Error::File {
                    action: "cannot read the secret",
                    path: path.clone(),
                    source,
                };
                let mut value = Vec::new();
                let file = File::open(path).map_err(failed)?;
                file.take(MAX_SECRET_BYTES + 1)
                    .read_to_end(&mut value)
                    .map_err(failed)?;
                value
            }
        };
        if value.len() as u64 > MAX_SECRET_BYTES {
            return Err(Error::Refused {
                message: format!("secret {} too big. max size 500KB", self.id),
            });
        }
        in_memory("secret", &value)
    }
}

/// What `--ssh` says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Agent {
    /// What the Dockerfile calls it.
    pub(super) id: String,
    socket: PathBuf,
}

impl Agent {
    /// Reads `default`, `ID` or `ID=SOCKET`; `own` is the agent of the environment.
    pub(super) fn parse(text: &str, own: Option<PathBuf>) -> Result<Self, Error> {
        let (id, path) = text.split_once('=').unwrap_or((text, ""));
        if id.is_empty() {
            return Err(usage(format!(
                "invalid argument \"{text}\" for \"--ssh\" flag: an ID is missing"
            )));
        }
        let socket = match path {
            "" => own
                .filter(|path| !path.as_os_str().is_empty())
                .ok_or_else(|| Error::Refused {
                    message: "invalid empty ssh agent socket: make sure SSH_AUTH_SOCK is set".to_owned(),
                })?,
            path => PathBuf::from(path),
        };
        Ok(Self {
            id: id.to_owned(),
            socket,
        })
    }

    /// The agent's socket, open as a path.
    pub(super) fn open(&self) -> Result<OwnedFd, Error> {
        let failed = |source| Error::File {
            action: "cannot use the SSH agent",
            path: self.socket.clone(),
            source,
        };
        let meta = std::fs::metadata(&self.socket).map_err(failed)?;
        if !meta.file_type().is_socket() {
            return Err(key_file(&self.socket));
        }
        rustix::fs::open(&self.socket, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| failed(errno.into()))
    }
}

fn key_file(path: &Path) -> Error {
    let path = path.display();
    Error::Refused {
        message: format!(
            "--ssh: {path} is no socket of an SSH agent. Key files are not handed over: run `ssh-add {path}` and say \
             --ssh default"
        ),
    }
}

/// Bytes as a file in memory, to be read from its start.
pub(super) fn in_memory(name: &str, bytes: &[u8]) -> Result<OwnedFd, Error> {
    let failed = |source: io::Error| Error::Transport {
        action: "keeping what is handed over in memory",
        source: source.into(),
    };
    let memory = rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC).map_err(|errno| failed(errno.into()))?;
    let mut file = File::from(memory);
    file.write_all(bytes).map_err(failed)?;
    Ok(file.into())
}

fn usage(message: String) -> Error {
    Error::Usage { message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_files_or_variables() {
        let file = |path: &str| Place::File(path.into());
        let variable = |name: &str| Place::Variable(name.to_owned());
        for (text, id, place) in [
            ("id=a,src=/f", "a", file("/f")),
            ("id=a,source=f", "a", file("f")),
            ("ID=a,SRC=f", "a", file("f")),
            ("id=a,env=E", "a", variable("E")),
            ("id=a,type=env,src=E", "a", variable("E")),
            ("type=file,id=a,src=f", "a", file("f")),
            ("id=SET", "SET", variable("SET")),
            ("id=SET,type=file", "SET", file("SET")),
            ("id=a", "a", file("a")),
            ("\"id=a,b\",src=f", "a,b", file("f")),
        ] {
            let secret = Secret::parse(text, |name| name == "SET").unwrap();
            assert_eq!((secret.id.as_str(), secret.place), (id, place), "{text}");
        }
        for (text, why) in [
            ("", "must be a key=value pair"),
            ("a", "must be a key=value pair"),
            ("src=f", "missing ID"),
            ("id=a,type=x", "unsupported secret type"),
            ("id=a,what=x", "unexpected key 'what'"),
        ] {
            let error = Secret::parse(text, |_| false).unwrap_err();
            assert!(error.to_string().contains(why), "{error}");
            assert_eq!(error.exit_code(), 125);
        }
    }

    #[test]
    fn agents_have_a_socket() {
        let own = || Some(PathBuf::from("/own"));
        for (text, id, socket) in [
            ("default", "default", "/own"),
            ("x", "x", "/own"),
            ("x=/s", "x", "/s"),
        ] {
            let agent = Agent::parse(text, own()).unwrap();
            assert_eq!((agent.id.as_str(), agent.socket), (id, socket.into()));
        }
        assert!(
            Agent::parse("default", None)
                .unwrap_err()
                .to_string()
                .contains("SSH_AUTH_SOCK")
        );
        assert!(Agent::parse("=x", own()).is_err());
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("key");
        std::fs::write(&key, "secret").unwrap();
        let agent = Agent::parse(&format!("x={}", key.display()), None).unwrap();
        assert!(agent.open().unwrap_err().to_string().contains("ssh-add"));
    }

    #[test]
    fn values_are_read_by_the_client() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        std::fs::write(&path, "value").unwrap();
        let secret = Secret::parse(&format!("id=a,src={}", path.display()), |_| false).unwrap();
        let mut text = String::new();
        let mut file = File::from(secret.open().unwrap());
        io::Seek::rewind(&mut file).unwrap();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "value");
        std::fs::write(&path, vec![0; 500 * 1024 + 1]).unwrap();
        assert!(secret.open().unwrap_err().to_string().contains("too big"));
    }
}

//! Where the context of `mica build` and those of `--build-context` are.

use std::io::{self, Read};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use crate::error::Error;

/// What addresses begin with, unless there is a file of that name.
const ADDRESSES: [&str; 6] = ["http://", "https://", "git://", "git@", "ssh://", "github.com/"];

/// The first bytes of what an archive may be compressed with.
const COMPRESSIONS: [&[u8]; 4] = [b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"];

/// A block of a tar, in bytes.
const BLOCK: usize = 512;

/// Where the context is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Standard input.
    Input,
    /// An address the daemon fetches from.
    Address(String),
    /// A folder.
    Folder(String),
}

impl Place {
    /// Reads the argument of `mica build`.
    pub(super) fn of(text: &str) -> Self {
        if text == "-" {
            Self::Input
        } else if is_address(text) {
            Self::Address(text.to_owned())
        } else {
            Self::Folder(text.to_owned())
        }
    }
}

/// What `--build-context NAME=…` says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Named {
    Address(String),
    Image(String),
    Layout { folder: String, image: Option<String> },
    Folder(String),
}

impl Named {
    /// Reads the flag; gives the name too.
    pub(super) fn parse(text: &str) -> Result<(String, Self), Error> {
        let usage = |message: String| Error::Usage { message };
        let (name, value) = text
            .split_once('=')
            .filter(|(name, value)| !name.is_empty() && !value.is_empty())
            .ok_or_else(|| usage(format!("invalid context value: {text}, expected key=value")))?;
        let named = if let Some(image) = value.strip_prefix("docker-image://") {
            Self::Image(image.to_owned())
        } else if let Some(layout) = value.strip_prefix("oci-layout://") {
            let (folder, image) = layout_image(layout);
            Self::Layout { folder, image }
        } else if is_address(value) {
            Self::Address(value.to_owned())
        } else {
            Self::Folder(value.to_owned())
        };
        Ok((name.to_owned(), named))
    }
}

/// `PATH[:tag|@digest]`
fn layout_image(text: &str) -> (String, Option<String>) {
    if let Some((folder, digest)) = text.split_once('@') {
        return (folder.to_owned(), Some(digest.to_owned()));
    }
    match text.rsplit_once(':') {
        Some((folder, tag)) if !tag.contains('/') && !tag.is_empty() => {
            (folder.to_owned(), Some(tag.to_owned()))
        }
        _ => (text.to_owned(), None),
    }
}

fn is_address(text: &str) -> bool {
    ADDRESSES.iter().any(|start| text.starts_with(start)) && !Path::new(text).exists()
}

/// Opens a folder to be handed over; `what` begins the error.
pub(super) fn open_folder(path: &Path, what: &str) -> Result<OwnedFd, Error> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| Error::Prepare {
        message: format!("{what}: {}: {}", path.display(), io::Error::from(errno)),
    })
}

/// What standard input is.
pub(super) enum Input {
    /// An archive, with all that was read of it in front.
    Archive(Box<dyn Read + Send>),
    /// A Dockerfile.
    Dockerfile(Vec<u8>),
}

/// Looks at standard input, of which at most `limit` bytes are taken for a Dockerfile.
pub(super) fn standard_input(limit: u64) -> Result<Input, Error> {
    let failed = |source| Error::Input { source };
    let owned = io::stdin().as_fd().try_clone_to_owned().map_err(failed)?;
    look(std::fs::File::from(owned), limit)
}

/// Reads a Dockerfile from standard input.
pub(super) fn standard_dockerfile(limit: u64) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    io::stdin()
        .take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| Error::Input { source })?;
    check(bytes, limit)
}

fn look(mut input: impl Read + Send + 'static, limit: u64) -> Result<Input, Error> {
    let failed = |source| Error::Input { source };
    let mut head = Vec::new();
    (&mut input)
        .take(BLOCK as u64)
        .read_to_end(&mut head)
        .map_err(failed)?;
    let is_archive = COMPRESSIONS.iter().any(|magic| head.starts_with(magic)) || is_tar(&head);
    let mut rest = io::Cursor::new(head).chain(input);
    if is_archive {
        return Ok(Input::Archive(Box::new(rest)));
    }
    let mut bytes = Vec::new();
    (&mut rest)
        .take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    check(bytes, limit).map(Input::Dockerfile)
}

fn check(bytes: Vec<u8>, limit: u64) -> Result<Vec<u8>, Error> {
    if bytes.len() as u64 > limit {
        return Err(Error::Prepare {
            message: format!("the Dockerfile on standard input is longer than {limit} bytes"),
        });
    }
    Ok(bytes)
}

/// Whether a block is the header of a tar: its checksum is right (POSIX, ustar).
fn is_tar(head: &[u8]) -> bool {
    let Ok(block) = <&[u8; BLOCK]>::try_from(head) else {
        return false;
    };
    let sum: u64 = block
        .iter()
        .enumerate()
        .map(|(at, byte)| if (148..156).contains(&at) { b' ' } else { *byte })
        .map(u64::from)
        .sum();
    let digits = block[148..156].trim_ascii();
    let digits = digits
        .split(|byte| matches!(byte, 0 | b' '))
        .next()
        .unwrap_or_default();
    let told = std::str::from_utf8(digits)
        .ok()
        .and_then(|text| u64::from_str_radix(text, 8).ok());
    // an empty archive is blocks of zeros
    told == Some(sum) || block.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_is_told_by_its_spelling() {
        for text in [
            "https://x/y.tar",
            "git@github.com:a/b",
            "github.com/a/b#c:d",
            "ssh://git@h/x.git",
        ] {
            assert_eq!(Place::of(text), Place::Address(text.into()));
        }
        assert_eq!(Place::of("-"), Place::Input);
        for text in [".", "/x", "x.tar", "githubxcom/a"] {
            assert_eq!(Place::of(text), Place::Folder(text.into()));
        }
    }

    #[test]
    fn named_contexts_are_folders_images_layouts_and_addresses() {
        let layout = |folder: &str, image: Option<&str>| Named::Layout {
            folder: folder.into(),
            image: image.map(str::to_owned),
        };
        for (text, named) in [
            ("a=docker-image://b:1", Named::Image("b:1".into())),
            ("a=oci-layout:///d", layout("/d", None)),
            ("a=oci-layout://d:x", layout("d", Some("x"))),
            ("a=oci-layout://d:1/e", layout("d:1/e", None)),
            ("a=oci-layout://d@sha256:00", layout("d", Some("sha256:00"))),
            ("a=https://x.git#y", Named::Address("https://x.git#y".into())),
            ("a=../d=e", Named::Folder("../d=e".into())),
        ] {
            assert_eq!(Named::parse(text).unwrap(), ("a".to_owned(), named), "{text}");
        }
        for text in ["a", "=b", "a="] {
            assert!(
                Named::parse(text)
                    .unwrap_err()
                    .to_string()
                    .contains("expected key=value")
            );
        }
    }

    #[test]
    fn archives_are_told_from_dockerfiles() {
        let mut tar = [0; BLOCK];
        tar[..4].copy_from_slice(b"name");
        let sum: u32 = tar.iter().map(|byte| u32::from(*byte)).sum::<u32>() + 8 * 32;
        tar[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let archive = |bytes: &[u8]| {
            matches!(
                look(io::Cursor::new(bytes.to_vec()), 1000).unwrap(),
                Input::Archive(_)
            )
        };
        assert!(archive(&tar) && archive(&[0; 1024]) && archive(b"\x1f\x8brest"));
        tar[0] = b'x';
        assert!(!archive(&tar) && !archive(b"FROM scratch\n") && !archive(b""));
        assert!(look(io::Cursor::new(vec![b'#'; 1001]), 1000).is_err());
        let Input::Archive(mut all) = look(io::Cursor::new(vec![0; 2000]), 10).unwrap() else {
            panic!("an archive");
        };
        assert_eq!(io::copy(&mut all, &mut io::sink()).unwrap(), 2000);
    }
}

//! What a client of this machine hands over with a build, as descriptors.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use hyper::StatusCode;
use mica_api::{BuildInput, ContextInput, FOLDER_REFUSED};
use mica_engine::{
    Agent, BadCacheExport, BuildRequest, CacheExport, Handed, Input, NetworkMode, Secret, Source,
};
use rustix::fs::{FileType, Stat};

use crate::descriptors::Descriptors;
use crate::rights::Peer;
use crate::wire::reply::Failure;

/// The longest secret, in bytes; as BuildKit's.
const SECRET_LIMIT: u64 = 500 << 10;

/// The longest Dockerfile, in bytes.
const DOCKERFILE_LIMIT: u64 = 4 << 20;

/// The right to `RUN --network=host`.
const HOST_NETWORK: &str = "network.host";

/// The right to `RUN --security=insecure`.
const INSECURE: &str = "security.insecure";

/// Fills in what the query of `/build` has no place for.
pub(crate) fn adopt(wire: &mut BuildInput, request: &mut BuildRequest) -> Result<(), Failure> {
    for attributes in &wire.cache_to {
        let attribute = |name: &str| attributes.get(name).map(String::as_str);
        let kind = attribute("type").unwrap_or_default();
        let export = CacheExport::read(kind, attribute);
        request.cache_to.push(export.map_err(|error| match error {
            BadCacheExport::Unsupported(_) => Failure::unsupported(error.to_string()),
            BadCacheExport::Attribute { .. } => Failure::invalid(error.to_string()),
        })?);
    }
    request.no_cache_filter = std::mem::take(&mut wire.no_cache_filter);
    request.explain = wire.explain;
    request.verify = wire.verify;
    for asked in &wire.attest {
        request.attesting.take_typed(asked).map_err(Failure::invalid)?;
    }
    for right in &wire.allow {
        match right.as_str() {
            // without a network of the build's own the default is the host's
            HOST_NETWORK if request.network == NetworkMode::Default => request.network = NetworkMode::Host,
            HOST_NETWORK => {}
            INSECURE => request.insecure_allowed = true,
            other => return Err(Failure::invalid(format!("invalid entitlement \"{other}\""))),
        }
    }
    Ok(())
}

/// Turns descriptors into what the engine takes. `body` is what the request's body is read from. May wait for a disk.
pub(crate) fn take(
    wire: BuildInput,
    mut descriptors: Descriptors,
    peer: Peer,
    body: impl Read + Send + 'static,
) -> Result<Input, Failure> {
    let mut hands = Hands {
        descriptors: &mut descriptors,
        peer,
        body: Some(Box::new(body)),
    };
    let mut input = Input::of(hands.source(wire.context)?);
    for (name, context) in wire.contexts {
        input.named.push((name, hands.source(context)?));
    }
    if let Some(number) = wire.dockerfile {
        let bytes = hands.bytes(number, DOCKERFILE_LIMIT, "the Dockerfile")?;
        input.dockerfile = Some(bytes);
    }
    let mut handed = Handed::default();
    for (id, number) in wire.secrets {
        let value = hands.bytes(number, SECRET_LIMIT, &format!("secret {id}"))?;
        handed.secrets.push(Secret {
            id,
            value: value.into(),
        });
    }
    for (id, number) in wire.agents {
        let socket = Arc::new(hands.agent(number)?);
        handed.agents.push(Agent { id, socket });
    }
    input.lender = Box::new(handed);
    Ok(input)
}

struct Hands<'a> {
    descriptors: &'a mut Descriptors,
    peer: Peer,
    body: Option<Box<dyn Read + Send>>,
}

impl Hands<'_> {
    fn source(&mut self, wire: ContextInput) -> Result<Source, Failure> {
        Ok(match wire {
            ContextInput::Body => {
                let body = self.body.take();
                Source::Tar(body.ok_or_else(|| Failure::invalid("only one context can be the body"))?)
            }
            ContextInput::Empty => Source::Empty,
            ContextInput::Folder(number) => Source::Folder(self.folder(number)?),
            ContextInput::Address(address) => Source::Address(address),
            ContextInput::Image(name) => Source::Image(name),
            ContextInput::Layout { folder, image } => Source::Layout {
                folder: self.folder(folder)?,
                image,
            },
        })
    }

    /// A folder is read with this program's rights: only who has them may hand one over.
    fn folder(&mut self, number: usize) -> Result<OwnedFd, Failure> {
        if !self.peer.is_owner {
            return Err(Failure::new(StatusCode::FORBIDDEN, FOLDER_REFUSED));
        }
        let folder = self.descriptors.take(number)?;
        match file_type(&stat(&folder)?) {
            FileType::Directory => Ok(folder),
            _ => Err(Failure::invalid(format!("descriptor {number} is no folder"))),
        }
    }

    /// The whole of a small file. That the client could open it for reading shows that it may read it.
    fn bytes(&mut self, number: usize, limit: u64, what: &str) -> Result<Vec<u8>, Failure> {
        let file = self.descriptors.take(number)?;
        let stat = stat(&file)?;
        if file_type(&stat) != FileType::RegularFile {
            return Err(Failure::invalid(format!("{what} is no regular file")));
        }
        let too_large = || Failure::invalid(format!("{what} is larger than {limit} bytes"));
        if u64::try_from(stat.st_size).unwrap_or(u64::MAX) > limit {
            return Err(too_large());
        }
        let mut bytes = Vec::new();
        // from the start, wherever the client's own reading ended
        let failed = |error| Failure::invalid(format!("cannot read {what}: {error}"));
        rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0)).map_err(|errno| failed(errno.into()))?;
        File::from(file)
            .take(limit + 1)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        match bytes.len() as u64 > limit {
            true => Err(too_large()),
            false => Ok(bytes),
        }
    }

    /// An agent is connected to with this program's rights, and anyone can open any socket as a path: what the client may
    /// not write to itself is refused.
    fn agent(&mut self, number: usize) -> Result<OwnedFd, Failure> {
        let socket = self.descriptors.take(number)?;
        let stat = stat(&socket)?;
        if file_type(&stat) != FileType::Socket {
            return Err(Failure::invalid(format!("descriptor {number} is no socket")));
        }
        match self.peer.may_write(&stat) {
            true => Ok(socket),
            false => Err(Failure::new(
                StatusCode::BAD_REQUEST,
                "the SSH agent's socket is not yours to use",
            )),
        }
    }
}

fn stat(file: impl AsFd) -> Result<Stat, Failure> {
    rustix::fs::fstat(file).map_err(|errno| Failure::invalid(format!("cannot look at a descriptor: {errno}")))
}

fn file_type(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_granted_by_name() {
        let mut request = BuildRequest::default();
        let mut wire = BuildInput {
            allow: vec![HOST_NETWORK.into(), INSECURE.into()],
            no_cache_filter: vec!["a".into()],
            ..BuildInput::default()
        };
        adopt(&mut wire, &mut request).unwrap();
        assert!(request.insecure_allowed && request.network == NetworkMode::Host);
        assert_eq!(request.no_cache_filter, ["a"]);
        wire.allow = Vec::new();
        let pairs = |list: &[(&str, &str)]| {
            let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            list.iter().map(pair).collect()
        };
        wire.cache_to = vec![pairs(&[("type", "registry"), ("ref", "r/a"), ("mode", "max")])];
        adopt(&mut wire, &mut request).unwrap();
        assert!(request.cache_to[0].all);
        wire.cache_to = vec![pairs(&[("type", "gha")])];
        assert!(adopt(&mut wire, &mut request).is_err());
        wire.cache_to = Vec::new();
        wire.allow = vec!["everything".into()];
        assert!(adopt(&mut wire, &mut request).is_err());
    }
}

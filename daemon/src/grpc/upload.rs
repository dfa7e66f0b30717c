//! What a client uploads by its session: a Dockerfile from its standard input, or a context that is an archive.

use bytes::Bytes;
use mica_buildkit::message::control::BytesMessage;
use mica_buildkit::{Answers, SessionError};
use mica_engine::{BodyReader, body};
use tonic::Status;

use crate::grpc::sessions::Named;

/// What the addresses of such uploads begin with.
const ADDRESS: &str = "http://buildkit-session";
/// The first bytes that tell an archive from a text: where the magic of a tar ends.
const HEAD: usize = 262;
/// The longest Dockerfile, in bytes.
const TEXT_LIMIT: usize = 4 << 20;

/// Something that was uploaded.
pub(super) enum Upload {
    /// An archive.
    Archive(BodyReader),
    /// A Dockerfile.
    Text(Vec<u8>),
}

/// The path in an address that means an upload, with its slash: some clients look for nothing else.
pub(super) fn path(address: &str) -> Option<&str> {
    address.strip_prefix(ADDRESS).filter(|path| path.starts_with('/'))
}

/// Receives an upload: an archive as it comes, a text whole.
pub(super) async fn receive(session: &Named, path: &str) -> Result<Upload, Status> {
    let mut pieces = session.session.upload(path).await.map_err(refused)?;
    let mut head: Vec<u8> = Vec::new();
    let mut ended = false;
    while head.len() < HEAD && !ended {
        match pieces.next().await.map_err(refused)? {
            Some(BytesMessage { data }) => head.extend_from_slice(&data),
            None => ended = true,
        }
    }
    if is_archive(&head) {
        let (sender, reader) = body();
        tokio::spawn(async move {
            // nobody reads any more: then nobody needs the rest
            if sender.send(Bytes::from(head)).await.is_err() {
                return;
            }
            loop {
                match pieces.next().await {
                    Ok(Some(message)) => {
                        if sender.send(message.data).await.is_err() {
                            return;
                        }
                    }
                    Ok(None) => return sender.finish().await,
                    Err(error) => return sender.fail(std::io::Error::other(error)).await,
                }
            }
        });
        return Ok(Upload::Archive(reader));
    }
    if !ended {
        return text(head, pieces).await.map(Upload::Text);
    }
    Ok(Upload::Text(head))
}

async fn text(mut text: Vec<u8>, mut pieces: Answers<BytesMessage>) -> Result<Vec<u8>, Status> {
    while let Some(message) = pieces.next().await.map_err(refused)? {
        text.extend_from_slice(&message.data);
        if text.len() > TEXT_LIMIT {
            return Err(Status::invalid_argument(format!(
                "what was uploaded is no archive, and longer than the {TEXT_LIMIT} bytes a Dockerfile may have"
            )));
        }
    }
    Ok(text)
}

fn refused(error: SessionError) -> Status {
    Status::unavailable(error.to_string())
}

/// Whether bytes begin a tar, in any compression.
fn is_archive(head: &[u8]) -> bool {
    const COMPRESSED: [&[u8]; 4] = [b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"];
    COMPRESSED.iter().any(|magic| head.starts_with(magic)) || head.get(257..262) == Some(b"ustar")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_begins_with_its_slash() {
        for (address, expected) in [
            ("http://buildkit-session/abc", Some("/abc")),
            ("http://buildkit-session", None),
            ("http://buildkit-session.example/abc", None),
            ("https://github.com/x/y.git", None),
        ] {
            assert_eq!(path(address), expected, "{address}");
        }
    }
}

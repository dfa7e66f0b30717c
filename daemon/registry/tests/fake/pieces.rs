//! Takes the pieces of a download and puts them together.

use std::ops::Range;

use mica_oci::Descriptor;
use mica_registry::{Error, Piece, Remote};
use tokio::sync::mpsc;

/// What a download gave: its bytes as far as they came, how many came, and how many of them came twice.
pub(crate) struct Got {
    pub(crate) result: Result<(), Error>,
    pub(crate) bytes: Vec<u8>,
    pub(crate) came: u64,
    pub(crate) twice: u64,
}

pub(crate) async fn download(remote: &Remote, blob: &Descriptor) -> Got {
    download_from(remote, blob, 0).await
}

/// Downloads from a byte on; those before it stay zero.
pub(crate) async fn download_from(remote: &Remote, blob: &Descriptor, from: u64) -> Got {
    download_missing(remote, blob, std::slice::from_ref(&(from..blob.size))).await
}

/// Downloads what is missing; the rest stays zero.
pub(crate) async fn download_missing(remote: &Remote, blob: &Descriptor, missing: &[Range<u64>]) -> Got {
    let (sender, mut pieces) = mpsc::channel::<Piece>(4);
    let mut bytes = vec![0; blob.size as usize];
    let mut came: u64 = 0;
    let from = missing.first().map_or(0, |range| range.start);
    let mut end = from as usize;
    let gathering = async {
        while let Some(piece) = pieces.recv().await {
            let start = piece.offset as usize;
            bytes[start..start + piece.bytes.len()].copy_from_slice(&piece.bytes);
            came += piece.bytes.len() as u64;
            end = end.max(start + piece.bytes.len());
        }
    };
    let downloading = async {
        let result = remote.download(blob, missing, &sender).await;
        drop(sender);
        result
    };
    let (result, ()) = tokio::join!(downloading, gathering);
    bytes.truncate(end);
    Got {
        result,
        bytes,
        came,
        twice: came.saturating_sub(end as u64 - from),
    }
}

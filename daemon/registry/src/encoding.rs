//! Undoes what a proxy between us and a registry may put around a blob (RFC 9110, section 8.4).

use std::io::{self, Write as _};

use bytes::Bytes;
use flate2::write::MultiGzDecoder;

/// How much is unpacked at once, in bytes; what comes out is at most about a thousand times as much.
const SLICE: usize = 4 << 10;

/// How a body is encoded on its way.
pub(crate) enum Encoding {
    /// Not at all.
    Identity,
    /// RFC 1952.
    Gzip(Box<MultiGzDecoder<Vec<u8>>>),
}

impl Encoding {
    /// The encoding with this name, if it is one that is known.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "" | "identity" => Some(Self::Identity),
            "gzip" | "x-gzip" => Some(Self::Gzip(Box::new(MultiGzDecoder::new(Vec::new())))),
            _ => None,
        }
    }

    pub(crate) fn is_identity(&self) -> bool {
        matches!(self, Self::Identity)
    }

    /// Cuts a piece of the body into what may be decoded at once.
    pub(crate) fn slices(&self, piece: Bytes) -> impl Iterator<Item = Bytes> + use<> {
        let step = match self {
            Self::Identity => piece.len().max(1),
            Self::Gzip(_) => SLICE,
        };
        (0..piece.len())
            .step_by(step)
            .map(move |start| piece.slice(start..piece.len().min(start + step)))
    }

    /// What a slice holds.
    pub(crate) fn decode(&mut self, slice: Bytes) -> io::Result<Bytes> {
        match self {
            Self::Identity => Ok(slice),
            Self::Gzip(decoder) => {
                decoder.write_all(&slice)?;
                Ok(std::mem::take(decoder.get_mut()).into())
            }
        }
    }

    /// What the end of the body gives.
    pub(crate) fn finish(&mut self) -> io::Result<Bytes> {
        match self {
            Self::Identity => Ok(Bytes::new()),
            Self::Gzip(decoder) => {
                decoder.try_finish()?;
                Ok(std::mem::take(decoder.get_mut()).into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_undone_piece_by_piece() {
        let text: Vec<u8> = (0..100_000_u32).map(|n| (n % 251) as u8).collect();
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&text).unwrap();
        let packed = encoder.finish().unwrap();
        let mut encoding = Encoding::named("GZIP").unwrap();
        let mut out = Vec::new();
        for piece in packed.chunks(1000) {
            for slice in encoding.slices(Bytes::copy_from_slice(piece)) {
                out.extend_from_slice(&encoding.decode(slice).unwrap());
            }
        }
        out.extend_from_slice(&encoding.finish().unwrap());
        assert_eq!(out, text);
        let mut broken = Encoding::named("gzip").unwrap();
        assert!(broken.decode(Bytes::from_static(b"not gzip at all")).is_err());
        assert!(Encoding::named("br").is_none() && Encoding::named("identity").unwrap().is_identity());
    }
}

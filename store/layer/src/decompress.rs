//! Undoes compression, told apart by content and never by name.

use std::io::{self, BufRead, BufReader, Cursor, Read};

use crate::error::Error;
use crate::gunzip::Gunzip;

/// The largest zstd window that is accepted, as a power of two in bytes (128 MiB, what `zstd -d` accepts too).
const ZSTD_WINDOW_LOG: u32 = 27;

/// The memory in KiB that one xz decoder may take, more than `xz -9` makes it take (65 MiB).
const XZ_MEMORY_KIB: u32 = 160 << 10;

/// How much compressed data is read at once, in bytes.
const BUFFER: usize = 128 << 10;

/// As many bytes as the longest of the magic numbers.
const MAGIC: usize = 6;

/// How a stream of bytes is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Not at all, or in a way that is not known.
    None,
    /// RFC 1952.
    Gzip,
    /// As `bzip2` does.
    Bzip2,
    /// The .xz file format, version 1.2.
    Xz,
    /// RFC 8878.
    Zstd,
}

impl Format {
    /// The format of a stream that begins with `prefix`, of which the first 6 bytes count.
    pub fn of(prefix: &[u8]) -> Self {
        match prefix {
            [0x1f, 0x8b, 0x08, ..] => Self::Gzip,
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Self::Bzip2,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            // a frame, or one that is to be skipped in front of it
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            _ => Self::None,
        }
    }
}

/// Reads `reader` uncompressed, however it is compressed. Streams of several members are read as one; what follows
/// the last gzip member and is none is ignored, as by `gunzip`. Damage shows as an error when it is reached.
pub fn decompress<'a, R: Read + 'a>(mut reader: R) -> Result<(Box<dyn Read + 'a>, Format), Error> {
    let mut prefix = Vec::with_capacity(MAGIC);
    let read = (&mut reader).take(MAGIC as u64).read_to_end(&mut prefix);
    read.map_err(Error::io("reading the beginning of the data"))?;
    let format = Format::of(&prefix);
    let input = Cursor::new(prefix).chain(reader);
    let buffered = |input| BufReader::with_capacity(BUFFER, input);
    let output: Box<dyn Read + 'a> = match format {
        Format::None => Box::new(input),
        Format::Gzip => Box::new(Gunzip::new(buffered(input))),
        Format::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(buffered(input))),
        Format::Xz => Box::new(lzma_rust2::XzReader::new_mem_limit(
            buffered(input),
            true,
            XZ_MEMORY_KIB,
        )),
        Format::Zstd => Box::new(zstd_decoder(buffered(input))?),
    };
    Ok((output, format))
}

fn zstd_decoder<'a, R: BufRead + 'a>(input: R) -> Result<zstd::Decoder<'a, R>, Error> {
    let failed = |error: io::Error| Error::Compression(error.to_string());
    let mut decoder = zstd::Decoder::with_buffer(input).map_err(failed)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(failed)?;
    Ok(decoder)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const TEXT: &[u8] = b"some text, some text, some text";

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn bzip2(data: &[u8]) -> Vec<u8> {
        let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn xz(data: &[u8], dictionary: u32) -> Vec<u8> {
        let mut options = lzma_rust2::XzOptions::with_preset(1);
        options.lzma_options.dict_size = dictionary;
        let mut encoder = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(data: &[u8], window: u32) -> Vec<u8> {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(window).unwrap();
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    /// Gives a byte at a time.
    struct Drip<'a>(&'a [u8]);

    impl Read for Drip<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let most = buf.len().min(1);
            self.0.read(&mut buf[..most])
        }
    }

    fn undo(data: &[u8]) -> (io::Result<Vec<u8>>, Format) {
        let (mut reader, format) = decompress(Drip(data)).unwrap();
        let mut text = Vec::new();
        (reader.read_to_end(&mut text).map(|_| text), format)
    }

    #[test]
    fn every_format_is_undone_and_cut_off_data_is_an_error() {
        for (data, format) in [
            (gzip(TEXT), Format::Gzip),
            (bzip2(TEXT), Format::Bzip2),
            (xz(TEXT, 1 << 20), Format::Xz),
            (zstd(TEXT, 17), Format::Zstd),
        ] {
            let (text, told) = undo(&data);
            assert_eq!((text.unwrap().as_slice(), told), (TEXT, format));
            let (twice, _) = undo(&[data.clone(), data.clone()].concat());
            assert_eq!(twice.unwrap(), [TEXT, TEXT].concat(), "{format:?}");
            assert!(undo(&data[..data.len() - 5]).0.is_err(), "{format:?}");
        }
        for plain in [&b""[..], b"B", b"BZh0", b"plain text", &[0; 20]] {
            let (text, format) = undo(plain);
            assert_eq!((text.unwrap().as_slice(), format), (plain, Format::None));
        }
    }

    #[test]
    fn what_follows_gzip_is_ignored() {
        let (data, zeros) = (gzip(TEXT), vec![0; 700]);
        for (data, times) in [
            ([&data[..], &zeros].concat(), 1),
            ([&data[..], b"garbage\x1f"].concat(), 1),
            ([&data[..], &zeros, &data].concat(), 2),
            ([&gzip(b"")[..], &data, &gzip(b"")].concat(), 1),
        ] {
            assert_eq!(undo(&data).0.unwrap(), TEXT.repeat(times));
        }
        let mut damaged = data;
        let end = damaged.len();
        damaged[end - 8] ^= 1;
        assert!(undo(&damaged).0.is_err());
    }

    #[test]
    fn memory_is_bounded() {
        assert!(undo(&zstd(&vec![7; 4 << 20], 27)).0.is_ok());
        assert!(undo(&xz(TEXT, 64 << 20)).0.is_ok());
        assert!(undo(&xz(TEXT, 512 << 20)).0.is_err());
        // a frame header that asks for a window of 2 GiB, with an empty last block
        assert!(undo(&[0x28, 0xb5, 0x2f, 0xfd, 0, 21 << 3, 1, 0, 0]).0.is_err());
        assert!(undo(&[0x28, 0xb5, 0x2f, 0xfd, 0, 17 << 3, 1, 0, 0]).0.is_ok());
    }
}

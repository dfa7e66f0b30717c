//! Tars written header by header, so that they can say what no program would.

use std::io::{self, Write};

/// A tar as anybody may write it, into anything.
pub(crate) struct RawTar<W = Vec<u8>>(pub(crate) W);

/// What of a header may be set; the rest is harmless.
#[derive(Clone, Copy)]
pub(crate) struct Header<'a> {
    pub(crate) kind: u8,
    pub(crate) name: &'a [u8],
    pub(crate) link: &'a [u8],
    pub(crate) mode: u32,
    /// The twelve bytes of the size, as they are.
    pub(crate) size: [u8; 12],
    pub(crate) device: (u32, u32),
    pub(crate) sum_is_right: bool,
}

impl Default for Header<'_> {
    fn default() -> Self {
        Self {
            kind: b'0',
            name: b"f",
            link: b"",
            mode: 0o644,
            size: octal(0),
            device: (5, 6),
            sum_is_right: true,
        }
    }
}

/// A number as most tars have it.
pub(crate) fn octal(number: u64) -> [u8; 12] {
    let mut field = [0; 12];
    field[..11].copy_from_slice(format!("{number:011o}").as_bytes());
    field
}

/// A number in base 256, as GNU tar writes what octal cannot hold.
pub(crate) fn base256(number: i128) -> [u8; 12] {
    let bytes = number.to_be_bytes();
    let mut field = [0; 12];
    field.copy_from_slice(&bytes[4..]);
    field[0] = if number < 0 { 0xff } else { field[0] | 0x80 };
    field
}

impl Header<'_> {
    /// The block.
    pub(crate) fn block(&self) -> [u8; 512] {
        let mut block = [0; 512];
        let mut put = |at: usize, text: &[u8]| block[at..at + text.len()].copy_from_slice(text);
        put(0, &self.name[..self.name.len().min(100)]);
        put(100, format!("{:07o}\0", self.mode).as_bytes());
        put(108, b"0000000\x000000000\0");
        put(124, &self.size);
        put(136, b"00000001750\0");
        put(148, b"        ");
        put(156, &[self.kind]);
        put(157, &self.link[..self.link.len().min(100)]);
        put(257, b"ustar\x0000");
        put(
            329,
            format!("{:07o}\0{:07o}\0", self.device.0, self.device.1).as_bytes(),
        );
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        let sum = if self.sum_is_right { sum } else { sum + 1 };
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        block
    }
}

impl<W: Write> RawTar<W> {
    /// A header and what follows it, padded.
    pub(crate) fn raw(mut self, header: Header<'_>, data: &[u8]) -> Self {
        self.put(header, data)
            .expect("memory and files of this test take everything");
        self
    }

    /// The same, told whether it worked.
    pub(crate) fn put(&mut self, header: Header<'_>, data: &[u8]) -> io::Result<()> {
        self.0.write_all(&header.block())?;
        self.0.write_all(data)?;
        self.0
            .write_all(&[0; 512][..data.len().next_multiple_of(512) - data.len()])
    }

    pub(crate) fn file(self, name: impl AsRef<[u8]>, text: impl AsRef<[u8]>) -> Self {
        let (name, text) = (name.as_ref(), text.as_ref());
        let size = octal(text.len() as u64);
        self.raw(
            Header {
                name,
                size,
                ..Header::default()
            },
            text,
        )
    }

    pub(crate) fn kind(self, kind: u8, name: &str, link: &str, mode: u32) -> Self {
        let (name, link) = (name.as_bytes(), link.as_bytes());
        self.raw(
            Header {
                kind,
                name,
                link,
                mode,
                ..Header::default()
            },
            b"",
        )
    }

    pub(crate) fn dir(self, name: &str) -> Self {
        self.kind(b'5', name, "", 0o755)
    }

    pub(crate) fn link(self, name: &str, target: &str) -> Self {
        self.kind(b'2', name, target, 0o777)
    }

    pub(crate) fn hard(self, name: &str, target: &str) -> Self {
        self.kind(b'1', name, target, 0o644)
    }

    /// PAX records for the entry that follows.
    pub(crate) fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let data: Vec<u8> = records
            .iter()
            .flat_map(|(key, value)| record(key, value))
            .collect();
        let size = octal(data.len() as u64);
        self.raw(
            Header {
                kind: b'x',
                name: b"pax",
                size,
                ..Header::default()
            },
            &data,
        )
    }

    /// A GNU long name or, with `K`, a long target for the entry that follows.
    pub(crate) fn long(self, kind: u8, name: &[u8]) -> Self {
        let size = octal(name.len() as u64);
        self.raw(
            Header {
                kind,
                name: b"././@LongLink",
                size,
                ..Header::default()
            },
            name,
        )
    }

    /// The two blocks at the end.
    pub(crate) fn end(mut self) -> W {
        self.0
            .write_all(&[0; 1024])
            .expect("memory and files of this test take everything");
        self.0
    }
}

/// A PAX record, with its own length before it.
pub(crate) fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
}

//! One header block of a tar: its checksum, its numbers and its names.

use super::BLOCK;

/// What a header block says, before extended headers correct it.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) typeflag: u8,
    pub(super) name: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) mode: i64,
    pub(super) uid: i64,
    pub(super) gid: i64,
    pub(super) size: i64,
    pub(super) mtime: i64,
    pub(super) major: i64,
    pub(super) minor: i64,
    /// Whether it is of GNU's own format, where the place of the name's prefix holds other things.
    pub(super) gnu: bool,
}

/// Whether `prefix`, the beginning of some data, makes it a tar: its first block is a header with a right checksum.
/// An archive without entries is none, as it could be any run of zeros.
pub fn is_tar(prefix: &[u8]) -> bool {
    prefix
        .first_chunk::<BLOCK>()
        .is_some_and(|block| Header::parse(block).is_ok())
}

impl Header {
    /// Reads a block that is not all zeros.
    pub(super) fn parse(block: &[u8; BLOCK]) -> Result<Self, &'static str> {
        let stored = number(&block[148..156]).ok_or("the checksum is not a number")?;
        let (unsigned, signed) = checksums(block);
        if stored != unsigned && stored != signed {
            return Err("the checksum is wrong");
        }
        let posix = &block[257..263] == b"ustar\0";
        let gnu = &block[257..265] == b"ustar  \0";
        let star = posix && &block[508..512] == b"tar\0";
        let mut header = Self {
            typeflag: block[156],
            name: text(&block[..100]).to_vec(),
            link: text(&block[157..257]).to_vec(),
            mode: number(&block[100..108]).ok_or("the mode is not a number")?,
            uid: number(&block[108..116]).ok_or("the owner is not a number")?,
            gid: number(&block[116..124]).ok_or("the group is not a number")?,
            size: number(&block[124..136]).ok_or("the size is not a number")?,
            mtime: number(&block[136..148]).ok_or("the modification time is not a number")?,
            major: 0,
            minor: 0,
            gnu,
        };
        if posix || gnu {
            header.major = number(&block[329..337]).ok_or("the major device number is not a number")?;
            header.minor = number(&block[337..345]).ok_or("the minor device number is not a number")?;
        }
        if posix {
            let prefix = text(&block[345..if star { 476 } else { 500 }]);
            if !prefix.is_empty() {
                header.name = [prefix, header.name.as_slice()].join(&b'/');
            }
        }
        Ok(header)
    }
}

/// The sum of all bytes with blanks in the place of the checksum, and the same of signed bytes as old programs made it.
pub(super) fn checksums(block: &[u8; BLOCK]) -> (i64, i64) {
    let sum = |value: fn(u8) -> i64| -> i64 {
        let around = block[..148].iter().chain(&block[156..]);
        around.map(|b| value(*b)).sum::<i64>() + 8 * i64::from(b' ')
    };
    (sum(i64::from), sum(|b| i64::from(b.cast_signed())))
}

/// The bytes of a field before the first NUL.
pub(super) fn text(field: &[u8]) -> &[u8] {
    field.split(|b| *b == 0).next().unwrap_or_default()
}

/// The number in a field: octal digits amid blanks and NULs, or with the top bit set a big-endian two's complement
/// number (GNU tar manual, "Basic Tar Format"). `None` if it is neither or does not fit.
pub(super) fn number(field: &[u8]) -> Option<i64> {
    if field.first().is_some_and(|b| b & 0x80 != 0) {
        return binary(field);
    }
    let blank = |b: &u8| *b == b' ' || *b == 0;
    let start = field.iter().position(|b| !blank(b)).unwrap_or(field.len());
    let end = field.iter().rposition(|b| !blank(b)).map_or(start, |at| at + 1);
    text(&field[start..end])
        .iter()
        .try_fold(0i64, |value, b| match b {
            b'0'..=b'7' => value.checked_mul(8)?.checked_add(i64::from(b - b'0')),
            _ => None,
        })
}

fn binary(field: &[u8]) -> Option<i64> {
    let flip = if field[0] & 0x40 == 0 { 0 } else { 0xff };
    let mut value = 0u64;
    for (at, b) in field.iter().enumerate() {
        let b = if at == 0 { (b ^ flip) & 0x7f } else { b ^ flip };
        if value >> 56 != 0 {
            return None;
        }
        value = value << 8 | u64::from(b);
    }
    let value = i64::try_from(value).ok()?;
    Some(if flip == 0 { value } else { !value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_binary() {
        for (field, value) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"    755 ", Some(0o755)),
            (b"\0\0\0\0", Some(0)),
            (b"        ", Some(0)),
            (b"12\0 7 ", Some(0o12)),
            (b"8", None),
            (b"-1", None),
            (b"1 2", None),
            (b"777777777777777777777777", None),
            (b"\x80\0\0\0\0\0\0\x01\0\0\0\0", Some(1 << 32)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff", Some(-1)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe", Some(-2)),
            (b"\x80\0\0\0\x80\0\0\0\0\0\0\0", None),
            (b"\x80\x01\0\0\0\0\0\0\0\0\0\0", None),
            (b"\xc0\0\0\0\0\0\0\0\0\0\0\0", None),
        ] {
            assert_eq!(number(field), value, "{field:?}");
        }
    }

    #[test]
    fn zeros_and_text_are_no_tar() {
        assert!(!is_tar(&[0; 1024]));
        assert!(!is_tar(&[b'a'; 1024]));
        assert!(!is_tar(b"short"));
    }
}

//! Tar headers: POSIX ustar with PAX records in front where the header's fields are too small.

/// The unit of a tar archive.
pub(super) const BLOCK: usize = 512;

/// The length of the name fields.
const NAME_BYTES: usize = 100;

/// The last second an octal field of eleven digits can hold.
const MAX_OCTAL_11: i64 = 0o777_7777_7777;

/// An extended attribute's name and value.
pub(super) type Xattr = (Vec<u8>, Vec<u8>);

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    HardLink,
    Symlink,
    Char,
    Block,
    Folder,
    Fifo,
}

/// What a header says. Owner and group are always 0.
#[derive(Debug, Clone)]
pub(super) struct Header<'a> {
    /// Relative, `/` at the end of folders.
    pub(super) path: &'a [u8],
    pub(super) kind: Kind,
    /// The lower twelve bits.
    pub(super) mode: u32,
    pub(super) size: u64,
    /// Seconds and nanoseconds.
    pub(super) mtime: (i64, u32),
    /// The target of links.
    pub(super) target: &'a [u8],
    /// Major and minor number of devices.
    pub(super) device: (u32, u32),
    /// Extended attributes, names whole.
    pub(super) xattrs: &'a [Xattr],
}

impl Header<'_> {
    /// The blocks that stand before the entry's data.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(3 * BLOCK);
        // Long names that are not UTF-8 may not stand in PAX records; GNU's long name blocks take any bytes.
        let mut records = Vec::new();
        for (kind, key, name) in [(b'L', "path", self.path), (b'K', "linkpath", self.target)] {
            if name.len() <= NAME_BYTES {
                continue;
            }
            if std::str::from_utf8(name).is_ok() {
                record(&mut records, key.as_bytes(), name);
            } else {
                long_name(&mut out, kind, name);
            }
        }
        let (seconds, nanos) = self.mtime;
        if nanos != 0 || !(0..=MAX_OCTAL_11).contains(&seconds) {
            record(&mut records, b"mtime", pax_time(seconds, nanos).as_bytes());
        }
        for (name, value) in self.xattrs {
            record(&mut records, &[b"SCHILY.xattr.", name.as_slice()].concat(), value);
        }
        if !records.is_empty() {
            let mut head = block(b"PaxHeaders.0", 0o644, records.len() as u64, 0, b'x');
            checksum(&mut head);
            out.extend_from_slice(&head);
            padded(&mut out, &records);
        }
        out.extend_from_slice(&self.block());
        out
    }

    fn block(&self) -> [u8; BLOCK] {
        let kind = match self.kind {
            Kind::File => b'0',
            Kind::HardLink => b'1',
            Kind::Symlink => b'2',
            Kind::Char => b'3',
            Kind::Block => b'4',
            Kind::Folder => b'5',
            Kind::Fifo => b'6',
        };
        let seconds = self.mtime.0.clamp(0, MAX_OCTAL_11);
        let mut block = block(self.path, self.mode, self.size, seconds.unsigned_abs(), kind);
        let target = self.target.len().min(NAME_BYTES);
        block[157..157 + target].copy_from_slice(&self.target[..target]);
        if matches!(self.kind, Kind::Char | Kind::Block) {
            octal(&mut block[329..337], u64::from(self.device.0));
            octal(&mut block[337..345], u64::from(self.device.1));
        }
        checksum(&mut block);
        block
    }
}

fn block(name: &[u8], mode: u32, size: u64, mtime: u64, kind: u8) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let name = &name[..name.len().min(NAME_BYTES)];
    block[..name.len()].copy_from_slice(name);
    octal(&mut block[100..108], u64::from(mode & 0o7777));
    octal(&mut block[108..116], 0);
    octal(&mut block[116..124], 0);
    octal(&mut block[124..136], size);
    octal(&mut block[136..148], mtime);
    block[156] = kind;
    block[257..265].copy_from_slice(b"ustar\x0000");
    block
}

/// Writes a number in octal, or as big-endian bytes behind 0x80 where it does not fit (GNU's base 256).
fn octal(field: &mut [u8], number: u64) {
    let digits = field.len() - 1;
    if digits >= 22 || number >> (3 * digits) == 0 {
        let text = format!("{number:0digits$o}");
        field[..digits].copy_from_slice(text.as_bytes());
        field[digits] = 0;
        return;
    }
    field.fill(0);
    let bytes = number.to_be_bytes();
    let at = field.len().saturating_sub(bytes.len());
    let skipped = bytes.len().saturating_sub(field.len());
    field[at..].copy_from_slice(&bytes[skipped..]);
    field[0] |= 0x80;
}

fn checksum(block: &mut [u8; BLOCK]) {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

fn padded(out: &mut Vec<u8>, data: &[u8]) {
    out.extend_from_slice(data);
    out.resize(out.len().next_multiple_of(BLOCK), 0);
}

fn long_name(out: &mut Vec<u8>, kind: u8, name: &[u8]) {
    let mut head = block(b"././@LongLink", 0o644, name.len() as u64 + 1, 0, kind);
    head[257..265].copy_from_slice(b"ustar  \0");
    checksum(&mut head);
    out.extend_from_slice(&head);
    padded(out, &[name, b"\0"].concat());
}

/// Adds `LENGTH KEY=VALUE\n`, the length counting itself (POSIX, pax, "Extended Header").
fn record(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() > length {
        length = rest + length.to_string().len();
    }
    out.extend_from_slice(length.to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

/// A time as PAX writes it; before 1970 nanoseconds count away from zero.
fn pax_time(seconds: i64, nanos: u32) -> String {
    let text = match (seconds, nanos) {
        (seconds, 0) => return seconds.to_string(),
        (0.., nanos) => format!("{seconds}.{nanos:09}"),
        (-1, nanos) => format!("-0.{:09}", 1_000_000_000 - nanos),
        (seconds, nanos) => format!("{}.{:09}", seconds + 1, 1_000_000_000 - nanos),
    };
    text.trim_end_matches('0').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_count_their_own_length() {
        for length in 0..1200 {
            let mut out = Vec::new();
            record(&mut out, b"path", &vec![b'a'; length]);
            let text = String::from_utf8(out).unwrap();
            let (count, _) = text.split_once(' ').unwrap();
            assert_eq!(count.parse::<usize>().unwrap(), text.len());
        }
    }

    #[test]
    fn times_are_decimal_fractions() {
        for (time, text) in [
            ((5, 0), "5"),
            ((5, 500_000_000), "5.5"),
            ((0, 1), "0.000000001"),
            ((-1, 750_000_000), "-0.25"),
            ((-3, 500_000_000), "-2.5"),
            ((-3, 0), "-3"),
        ] {
            assert_eq!(pax_time(time.0, time.1), text);
        }
    }

    #[test]
    fn numbers_that_do_not_fit_are_binary() {
        let mut field = [0; 12];
        octal(&mut field, 0o777_7777_7777);
        assert_eq!(&field, b"77777777777\0");
        octal(&mut field, 1 << 33);
        assert_eq!(field, [0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0]);
        let mut field = [0; 8];
        octal(&mut field, 1 << 31);
        assert_eq!(field, [0x80, 0, 0, 0, 0x80, 0, 0, 0]);
    }
}

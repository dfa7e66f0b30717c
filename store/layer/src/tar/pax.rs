//! Extended headers: records of the form `LENGTH KEY=VALUE\n`, where the value may hold any byte
//! (POSIX.1-2024 pax, "pax Extended Header").

use crate::entry::{Mtime, Xattrs};

const XATTR: &[u8] = b"SCHILY.xattr.";

/// What the extended header before an entry says of it.
#[derive(Debug, Default)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) linkpath: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) mtime: Option<Mtime>,
    pub(super) xattrs: Xattrs,
    pub(super) sparse: SparseRecords,
}

/// The `GNU.sparse.*` records of all three versions (GNU tar manual, "Storing Sparse Files").
#[derive(Debug, Default)]
pub(super) struct SparseRecords {
    pub(super) major: Option<Vec<u8>>,
    pub(super) minor: Option<Vec<u8>>,
    pub(super) name: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) realsize: Option<u64>,
    /// Offset, length, offset, length…
    pub(super) map: Vec<u64>,
    /// Whether there is a map at all, which may be empty.
    pub(super) mapped: bool,
}

impl Pax {
    /// Reads all records. An empty value leaves what the header block says, but an empty attribute is one.
    pub(super) fn parse(mut bytes: &[u8]) -> Result<Self, &'static str> {
        let mut pax = Self::default();
        while !bytes.is_empty() {
            let (key, value, rest) = split_record(bytes)?;
            pax.take(key, value)?;
            bytes = rest;
        }
        Ok(pax)
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
        if let Some(name) = key.strip_prefix(XATTR) {
            if name.is_empty() {
                return Err("an extended attribute has no name");
            }
            self.xattrs.insert(decode_xattr_name(name), value.to_vec());
            return Ok(());
        }
        match key {
            b"GNU.sparse.map" => return self.take_map(value),
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => return self.take_pair(key, value),
            _ if value.is_empty() => return Ok(()),
            b"path" => self.path = Some(name(value)?),
            b"linkpath" => self.linkpath = Some(name(value)?),
            b"GNU.sparse.name" => self.sparse.name = Some(name(value)?),
            b"size" => self.size = Some(decimal(value)?),
            b"uid" => self.uid = Some(decimal(value)?),
            b"gid" => self.gid = Some(decimal(value)?),
            b"mtime" => self.mtime = Some(time(value).ok_or("the modification time is malformed")?),
            b"GNU.sparse.major" => self.sparse.major = Some(value.to_vec()),
            b"GNU.sparse.minor" => self.sparse.minor = Some(value.to_vec()),
            b"GNU.sparse.size" => self.sparse.size = Some(decimal(value)?),
            b"GNU.sparse.realsize" => self.sparse.realsize = Some(decimal(value)?),
            _ => {}
        }
        Ok(())
    }

    fn take_map(&mut self, value: &[u8]) -> Result<(), &'static str> {
        self.sparse.mapped = true;
        self.sparse.map.clear();
        if !value.is_empty() {
            for part in value.split(|b| *b == b',') {
                self.sparse.map.push(decimal(part)?);
            }
        }
        Ok(())
    }

    fn take_pair(&mut self, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
        self.sparse.mapped = true;
        if (key == b"GNU.sparse.offset") != self.sparse.map.len().is_multiple_of(2) {
            return Err("the sparse map is out of order");
        }
        self.sparse.map.push(decimal(value)?);
        Ok(())
    }
}

type Record<'a> = (&'a [u8], &'a [u8], &'a [u8]);

/// Takes the first record off: its key, its value, and what follows.
fn split_record(bytes: &[u8]) -> Result<Record<'_>, &'static str> {
    const MALFORMED: &str = "an extended header is malformed";
    let blank = bytes.iter().take(20).position(|b| *b == b' ').ok_or(MALFORMED)?;
    let len = usize::try_from(decimal(&bytes[..blank])?).map_err(|_| MALFORMED)?;
    let record = bytes.get(blank + 1..len).ok_or(MALFORMED)?;
    let record = record.strip_suffix(b"\n").ok_or(MALFORMED)?;
    let equals = record.iter().position(|b| *b == b'=').ok_or(MALFORMED)?;
    let (key, value) = (&record[..equals], &record[equals + 1..]);
    if key.is_empty() || key.contains(&0) {
        return Err(MALFORMED);
    }
    Ok((key, value, &bytes[len..]))
}

fn name(value: &[u8]) -> Result<Vec<u8>, &'static str> {
    if value.contains(&0) {
        return Err("a name has a NUL in it");
    }
    Ok(value.to_vec())
}

/// A number of plain decimal digits below 2^63.
pub(super) fn decimal(text: &[u8]) -> Result<u64, &'static str> {
    let value = magnitude(text).filter(|value| i64::try_from(*value).is_ok());
    value.ok_or("a number is malformed")
}

fn magnitude(text: &[u8]) -> Option<u64> {
    let value = text.iter().try_fold(0u64, |value, b| match b {
        b'0'..=b'9' => value.checked_mul(10)?.checked_add(u64::from(b - b'0')),
        _ => None,
    });
    value.filter(|_| !text.is_empty())
}

/// `[-]SECONDS[.FRACTION]`; digits beyond nanoseconds are cut off.
fn time(text: &[u8]) -> Option<Mtime> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut parts = text.splitn(2, |b| *b == b'.');
    let seconds = i128::from(magnitude(parts.next()?)?);
    let fraction = parts.next().unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = fraction.iter().copied().chain(std::iter::repeat(b'0')).take(9);
    let nanoseconds = digits.fold(0, |value, b| value * 10 + u32::from(b - b'0'));
    let (seconds, nanoseconds) = match (negative, nanoseconds) {
        (false, nanoseconds) => (seconds, nanoseconds),
        (true, 0) => (-seconds, 0),
        (true, nanoseconds) => (-seconds - 1, 1_000_000_000 - nanoseconds),
    };
    let seconds = i64::try_from(seconds).ok()?;
    Some(Mtime { seconds, nanoseconds })
}

/// The value of an `mtime` record, which [`time`] reads back.
pub(super) fn time_text(time: Mtime) -> String {
    let (sign, seconds, nanoseconds) = match (time.seconds < 0, time.nanoseconds) {
        (true, 0) => ("-", time.seconds.unsigned_abs(), 0),
        (true, nanoseconds) => ("-", time.seconds.unsigned_abs() - 1, 1_000_000_000 - nanoseconds),
        (false, nanoseconds) => ("", time.seconds.unsigned_abs(), nanoseconds),
    };
    if nanoseconds == 0 {
        return format!("{sign}{seconds}");
    }
    let text = format!("{sign}{seconds}.{nanoseconds:09}");
    text.trim_end_matches('0').to_owned()
}

/// The key of an extended attribute; `=` ends a key, so it is written as GNU tar (1.33) does.
pub(super) fn xattr_key(name: &[u8]) -> Vec<u8> {
    let mut key = XATTR.to_vec();
    for b in name {
        match b {
            b'%' => key.extend_from_slice(b"%25"),
            b'=' => key.extend_from_slice(b"%3D"),
            b => key.push(*b),
        }
    }
    key
}

fn decode_xattr_name(mut name: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(name.len());
    while let Some((first, rest)) = name.split_first() {
        let (b, rest) = match name {
            [b'%', b'2', b'5', rest @ ..] => (b'%', rest),
            [b'%', b'3', b'D', rest @ ..] => (b'=', rest),
            _ => (*first, rest),
        };
        decoded.push(b);
        name = rest;
    }
    decoded
}

/// Appends one record; its length counts its own digits.
pub(super) fn append_record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut len = rest;
    while len != rest + decimal_digits(len) {
        len = rest + decimal_digits(len);
    }
    records.extend_from_slice(len.to_string().as_bytes());
    records.push(b' ');
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

fn decimal_digits(number: usize) -> usize {
    number.checked_ilog10().unwrap_or(0) as usize + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_may_hold_anything() {
        let mut records = Vec::new();
        append_record(&mut records, &xattr_key(b"user.a=b%c"), b"x\n12 path=evil\n=\0");
        append_record(&mut records, b"path", "p\u{e4}th".as_bytes());
        let pax = Pax::parse(&records).unwrap();
        assert_eq!(pax.path.unwrap(), "p\u{e4}th".as_bytes());
        assert_eq!(
            pax.xattrs.into_iter().collect::<Vec<_>>(),
            [(b"user.a=b%c".to_vec(), b"x\n12 path=evil\n=\0".to_vec())]
        );
    }

    #[test]
    fn a_record_counts_its_own_length() {
        for len in 0..1100 {
            let mut records = Vec::new();
            append_record(&mut records, b"path", &vec![b'v'; len]);
            let digits = records.iter().position(|b| *b == b' ').unwrap();
            let told: usize = std::str::from_utf8(&records[..digits]).unwrap().parse().unwrap();
            assert_eq!(told, records.len());
        }
    }

    #[test]
    fn damaged_records_are_errors() {
        for records in [
            &b"x"[..],
            b"5 a=b\n",
            b"7 a=b\n",
            b"0 a=b\n",
            b"3 a=b\n",
            b" a=b\n",
            b"-6 a=b\n",
            b"+6 a=b\n",
            b"6 a=bc",
            b"6 abc\n",
            b"6 =bc\n",
            b"99999999999999999999 a=b\n",
            b"9223372036854775807 a=b\n",
            b"12 path=a\0b\n",
            b"11 size=-1\n",
            b"10 size=z\n",
            b"13 mtime=1,5\n",
            b"22 GNU.sparse.map=1,,2\n",
            b"25 GNU.sparse.numbytes=1\n",
            b"16 SCHILY.xattr.=\n",
        ] {
            assert!(Pax::parse(records).is_err(), "{}", records.escape_ascii());
        }
    }

    #[test]
    fn times_survive() {
        for (seconds, nanoseconds, text) in [
            (0, 0, "0"),
            (1, 500_000_000, "1.5"),
            (-1, 0, "-1"),
            (-1, 999_999_999, "-0.000000001"),
            (-5, 500_000_000, "-4.5"),
            (i64::MAX, 1, "9223372036854775807.000000001"),
            (i64::MIN, 0, "-9223372036854775808"),
            (i64::MIN, 1, "-9223372036854775807.999999999"),
        ] {
            let mtime = Mtime { seconds, nanoseconds };
            assert_eq!(time_text(mtime), text);
            assert_eq!(time(text.as_bytes()), Some(mtime), "{text}");
        }
        assert_eq!(time(b"1.1234567899").unwrap().nanoseconds, 123_456_789);
        assert_eq!(
            time(b"1."),
            Some(Mtime {
                seconds: 1,
                nanoseconds: 0
            })
        );
        for bad in [
            "",
            "-",
            ".5",
            "1.5x",
            "--1",
            "1e3",
            "9223372036854775808",
            "-9223372036854775808.1",
        ] {
            assert_eq!(time(bad.as_bytes()), None, "{bad}");
        }
    }
}

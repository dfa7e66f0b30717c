//! Reads tars: what engines save images as, and the layers in them.

use std::collections::BTreeMap;

const BLOCK: usize = 512;

/// One entry of a tar.
#[derive(Debug, Clone, Default)]
pub(crate) struct Member<'a> {
    /// Its name as written.
    pub(crate) name: String,
    /// tar's letter for what it is.
    pub(crate) letter: u8,
    /// Permission bits.
    pub(crate) mode: u32,
    /// Owner and group.
    pub(crate) owner: (u32, u32),
    /// Seconds since 1970.
    pub(crate) time: i64,
    /// Where a link leads.
    pub(crate) link: String,
    /// Major and minor number of a device.
    pub(crate) device: (u32, u32),
    /// Extended attributes.
    pub(crate) xattrs: BTreeMap<String, Vec<u8>>,
    /// Content.
    pub(crate) body: &'a [u8],
}

/// The entries of a tar.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn members(bytes: &[u8]) -> Result<Vec<Member<'_>>, String> {
    let mut members = Vec::new();
    let mut at = 0;
    let mut extra: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    while let Some(block) = bytes.get(at..at + BLOCK) {
        at += BLOCK;
        if block.iter().all(|byte| *byte == 0) {
            break;
        }
        let size = match extra.get("size") {
            Some(size) => String::from_utf8_lossy(size)
                .parse()
                .map_err(|e| format!("size: {e}"))?,
            None => number(&block[124..136])?,
        };
        let size = usize::try_from(size).map_err(|e| format!("size: {e}"))?;
        let body = bytes
            .get(at..at + size)
            .ok_or("the tar ends in the middle of a file")?;
        at += size.next_multiple_of(BLOCK);
        match block[156] {
            b'x' => extra.extend(records(body)?),
            b'L' => drop(extra.insert("path".to_owned(), trimmed(body))),
            b'K' => drop(extra.insert("linkpath".to_owned(), trimmed(body))),
            b'g' => {}
            letter => members.push(member(block, letter, body, std::mem::take(&mut extra))?),
        }
    }
    Ok(members)
}

/// The files of a tar by name; where a name comes twice the last one counts.
///
/// # Errors
/// What is wrong with it.
pub fn files_of(bytes: &[u8]) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let files = members(bytes)?.into_iter().filter(|member| member.letter == b'0');
    Ok(files.map(|member| (member.name, member.body.to_vec())).collect())
}

fn member<'a>(
    block: &[u8],
    letter: u8,
    body: &'a [u8],
    mut extra: BTreeMap<String, Vec<u8>>,
) -> Result<Member<'a>, String> {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let mut name = text(trimmed(&block[..100]));
    let prefix = text(trimmed(&block[345..500]));
    if &block[257..263] == b"ustar\0" && !prefix.is_empty() {
        name = format!("{prefix}/{name}");
    }
    let small = |number: u64| u32::try_from(number).map_err(|e| e.to_string());
    let mut member = Member {
        name: extra.remove("path").map_or(name, text),
        letter: if letter == 0 { b'0' } else { letter },
        mode: small(number(&block[100..108])?)? & 0o7777,
        owner: (
            small(number(&block[108..116])?)?,
            small(number(&block[116..124])?)?,
        ),
        time: i64::try_from(number(&block[136..148])?).map_err(|e| e.to_string())?,
        link: extra
            .remove("linkpath")
            .map_or_else(|| text(trimmed(&block[157..257])), text),
        device: (
            small(number(&block[329..337])?)?,
            small(number(&block[337..345])?)?,
        ),
        xattrs: BTreeMap::new(),
        body,
    };
    for (key, value) in extra {
        let number = || {
            String::from_utf8_lossy(&value)
                .split('.')
                .next()
                .and_then(|n| n.parse::<i64>().ok())
        };
        match (key.as_str(), number()) {
            ("uid", Some(uid)) => member.owner.0 = u32::try_from(uid).map_err(|e| e.to_string())?,
            ("gid", Some(gid)) => member.owner.1 = u32::try_from(gid).map_err(|e| e.to_string())?,
            ("mtime", Some(time)) => member.time = time,
            _ => {
                if let Some(name) = key.strip_prefix("SCHILY.xattr.") {
                    member.xattrs.insert(name.to_owned(), value);
                }
            }
        }
    }
    Ok(member)
}

fn trimmed(bytes: &[u8]) -> Vec<u8> {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default().to_vec()
}

/// An octal number, or a big one in base 256.
fn number(field: &[u8]) -> Result<u64, String> {
    if field[0] & 0x80 != 0 {
        let start = u64::from(field[0] & 0x7f);
        return Ok(field[1..]
            .iter()
            .fold(start, |sum, byte| sum << 8 | u64::from(*byte)));
    }
    let text = String::from_utf8_lossy(&trimmed(field)).trim().to_owned();
    if text.is_empty() {
        return Ok(0);
    }
    u64::from_str_radix(&text, 8).map_err(|e| format!("{text:?} in a header: {e}"))
}

fn records(mut body: &[u8]) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let mut records = BTreeMap::new();
    while !body.is_empty() {
        let blank = body
            .iter()
            .position(|byte| *byte == b' ')
            .ok_or("a broken extended header")?;
        let length: usize = String::from_utf8_lossy(&body[..blank])
            .parse()
            .map_err(|e| format!("{e}"))?;
        let record = body
            .get(blank + 1..length - 1)
            .ok_or("a broken extended header")?;
        let equals = record
            .iter()
            .position(|byte| *byte == b'=')
            .ok_or("a broken extended header")?;
        let name = String::from_utf8_lossy(&record[..equals]).into_owned();
        records.insert(name, record[equals + 1..].to_vec());
        body = &body[length..];
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::archive::{Format, tar};
    use crate::conformance::entry::Entry;

    #[test]
    fn what_was_written_is_read_in_every_dialect() {
        let long = format!("{}/{}", "d".repeat(90), "f".repeat(95));
        let lines = [
            format!("f 4755 3:4 {long} \"text\" @5"),
            format!("l 0:0 l -> {long} @6"),
            "c 666 0:0 null 1,3 @7".to_owned(),
        ];
        let entries: Vec<Entry> = lines.iter().map(|line| Entry::parse(line).unwrap()).collect();
        for format in [Format::Pax, Format::Gnu] {
            let bytes = tar(&entries, format);
            let read = members(&bytes).unwrap();
            assert_eq!(read.len(), 3);
            assert_eq!(
                (read[0].name.as_str(), read[0].body, read[0].time),
                (long.as_str(), &b"text"[..], 5)
            );
            assert_eq!((read[0].mode, read[0].owner), (0o4755, (3, 4)));
            assert_eq!(read[1].link, long);
            assert_eq!(read[2].device, (1, 3));
        }
        let bytes = tar(&entries[..1], Format::Ustar);
        assert_eq!(members(&bytes).unwrap()[0].name, long);
    }
}

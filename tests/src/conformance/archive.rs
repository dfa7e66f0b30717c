//! Tars as other programs write them, odd ones included; every header is made by hand.

use crate::conformance::entry::{Content, Entry, Kind};

const BLOCK: usize = 512;

/// Which of tar's dialects is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// POSIX.1-2001: what does not fit goes into an extended header.
    Pax,
    /// GNU tar: long names go into entries of types L and K.
    Gnu,
    /// The first POSIX format: long names are parted into a prefix and a name.
    Ustar,
}

/// Time of entries that say none.
const TIME: i64 = 1_000_000_000;

/// A tar of these entries, in this order and with the names as they are.
pub fn tar(entries: &[Entry], format: Format) -> Vec<u8> {
    let mut out = Vec::new();
    for entry in entries {
        // a hard link's header repeats what its file's says
        let file = match &entry.kind {
            Kind::Hard(target) => entries.iter().find(|other| other.path == *target),
            _ => None,
        };
        let mut entry = entry.clone();
        if let Some(file) = file {
            (entry.mode, entry.owner, entry.time) = (file.mode, file.owner, file.time);
        }
        add(&mut out, &entry, format);
    }
    out.extend([0; BLOCK * 2]);
    out
}

/// A tar of regular files, for everybody to read and to run.
pub fn folder(files: &[(&str, &[u8])]) -> Vec<u8> {
    let files = files.iter().map(|(path, bytes)| Entry {
        path: (*path).to_owned(),
        kind: Kind::File(Content::Bytes(bytes.to_vec())),
        mode: 0o755,
        owner: (0, 0),
        time: None,
        xattrs: std::collections::BTreeMap::new(),
    });
    tar(&files.collect::<Vec<_>>(), Format::Pax)
}

fn add(out: &mut Vec<u8>, entry: &Entry, format: Format) {
    let (letter, link, body): (u8, &str, &[u8]) = match &entry.kind {
        Kind::File(Content::Bytes(bytes)) => (b'0', "", bytes),
        Kind::Folder => (b'5', "", &[]),
        Kind::Link(target) => (b'2', target, &[]),
        Kind::Hard(target) => (b'1', target, &[]),
        Kind::Device('c', ..) => (b'3', "", &[]),
        Kind::Device(..) => (b'4', "", &[]),
        Kind::Pipe => (b'6', "", &[]),
        Kind::File(Content::Hashed(..)) | Kind::Socket | Kind::Gone => panic!("{entry} cannot be in a tar"),
    };
    match format {
        Format::Pax => extended(out, entry, link),
        Format::Gnu => {
            for (kind, text) in [(b'L', entry.path.as_str()), (b'K', link)] {
                if text.len() > 100 {
                    let long = format!("{text}\0");
                    header(
                        out,
                        "././@LongLink",
                        "",
                        kind,
                        long.len(),
                        &Entry::parse("d 644 0:0 x").expect("it is one"),
                    );
                    data(out, long.as_bytes());
                }
            }
        }
        Format::Ustar => {}
    }
    header(out, &entry.path, link, letter, body.len(), entry);
    data(out, body);
}

/// The extended header, if anything needs one.
fn extended(out: &mut Vec<u8>, entry: &Entry, link: &str) {
    let mut records = Vec::new();
    let odd = |text: &str| text.len() > 100 || !text.is_ascii();
    if odd(&entry.path) {
        records.extend(record("path", entry.path.as_bytes()));
    }
    if odd(link) {
        records.extend(record("linkpath", link.as_bytes()));
    }
    for (name, number) in [("uid", entry.owner.0), ("gid", entry.owner.1)] {
        if number > 0o7_777_777 {
            records.extend(record(name, number.to_string().as_bytes()));
        }
    }
    for (name, value) in &entry.xattrs {
        records.extend(record(&format!("SCHILY.xattr.{name}"), value));
    }
    if !records.is_empty() {
        let plain = Entry::parse("f 644 0:0 x \"\"").expect("it is one");
        header(out, "PaxHeaders/x", "", b'x', records.len(), &plain);
        data(out, &records);
    }
}

/// `LENGTH NAME=VALUE` and a line end; the length counts itself.
fn record(name: &str, value: &[u8]) -> Vec<u8> {
    let rest = name.len() + value.len() + 3;
    let mut length = rest + rest.to_string().len();
    if length.to_string().len() > rest.to_string().len() {
        length += 1;
    }
    let mut record = format!("{length} {name}=").into_bytes();
    record.extend_from_slice(value);
    record.push(b'\n');
    record
}

fn header(out: &mut Vec<u8>, path: &str, link: &str, letter: u8, size: usize, entry: &Entry) {
    let mut block = [0; BLOCK];
    let (prefix, name) = parted(path);
    let mut put = |at: usize, length: usize, bytes: &[u8]| {
        let length = length.min(bytes.len());
        block[at..at + length].copy_from_slice(&bytes[..length]);
    };
    let octal = |number: u64, digits: usize| format!("{number:0digits$o}\0").into_bytes();
    let fit = |number: u32| u64::from(if number > 0o7_777_777 { 0 } else { number });
    put(0, 100, name.as_bytes());
    put(100, 8, &octal(u64::from(entry.mode), 7));
    put(108, 8, &octal(fit(entry.owner.0), 7));
    put(116, 8, &octal(fit(entry.owner.1), 7));
    put(124, 12, &octal(size as u64, 11));
    let time = entry.time.unwrap_or(TIME);
    put(
        136,
        12,
        &octal(u64::try_from(time).expect("times of archives are after 1970"), 11),
    );
    put(148, 8, b"        ");
    put(156, 1, &[letter]);
    put(157, 100, link.as_bytes());
    put(257, 8, b"ustar\x0000");
    if let Kind::Device(_, major, minor) = entry.kind {
        put(329, 8, &octal(u64::from(major), 7));
        put(337, 8, &octal(u64::from(minor), 7));
    }
    put(345, 155, prefix.as_bytes());
    let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    out.extend(block);
}

/// Prefix and name of a path that does not fit into a name; the name alone if it cannot be parted.
fn parted(path: &str) -> (&str, &str) {
    if path.len() <= 100 {
        return ("", path);
    }
    let at = path
        .char_indices()
        .find(|(at, c)| *c == '/' && path.len() - at - 1 <= 100 && *at <= 155);
    at.map_or(("", path), |(at, _)| (&path[..at], &path[at + 1..]))
}

fn data(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(bytes);
    out.resize(out.len().next_multiple_of(BLOCK), 0);
}

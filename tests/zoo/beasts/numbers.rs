//! Sizes, owners and times that are none, or none that anybody has.

use super::{Beast, tar, whole};
use crate::raw_tar::{Header, RawTar, base256, octal};

/// An entry that says it has this many bytes, and has three.
fn saying(kind: u8, name: &'static str, size: [u8; 12]) -> RawTar {
    let header = Header {
        kind,
        name: name.as_bytes(),
        link: if kind == b'2' { b"f" } else { b"" },
        size,
        ..Header::default()
    };
    tar().raw(header, b"few")
}

pub(super) fn all() -> Vec<Beast> {
    let sized = |size: [u8; 12]| saying(b'0', "f", size);
    let pax = |records: &[(&str, &str)]| {
        let records: Vec<_> = records
            .iter()
            .map(|(key, value)| (*key, value.as_bytes()))
            .collect();
        tar().pax(&records).file("f", "few")
    };
    let records = |data: &[u8]| {
        let size = octal(data.len() as u64);
        let header = Header {
            kind: b'x',
            name: b"pax",
            size,
            ..Header::default()
        };
        tar().raw(header, data).file("f", "x")
    };
    whole([
        ("a size of 8 GiB that is not there", sized(octal(0o77777777777))),
        ("a negative size in base 256", sized(base256(-512))),
        ("a size of 2^63 in base 256", sized(base256(1 << 63))),
        ("a size of 2^94 in base 256", sized(base256(1 << 94))),
        ("a size of letters", sized(*b"zzzzzzzzzzz\0")),
        ("a size of spaces", sized(*b"            ")),
        ("a negative size in PAX", pax(&[("size", "-1")])),
        ("a size of 2^64 in PAX", pax(&[("size", "18446744073709551616")])),
        ("a size of 2^63 in PAX", pax(&[("size", "9223372036854775807")])),
        (
            "a PAX header of 8 GiB announced",
            saying(b'x', "f", octal(0o77777777777)),
        ),
        (
            "a PAX header of 2^60 bytes announced",
            saying(b'x', "f", base256(1 << 60)),
        ),
        (
            "a global header of 4 GiB announced",
            saying(b'g', "f", octal(4 << 30)),
        ),
        (
            "a long name of 1 GiB announced",
            saying(b'L', "f", octal(1 << 30)),
        ),
        ("an owner of 2^32", pax(&[("uid", "4294967296")])),
        ("an owner of -1", pax(&[("uid", "-1"), ("gid", "-1")])),
        ("a time of 2^70", pax(&[("mtime", "1180591620717411303424")])),
        (
            "a time before all times",
            pax(&[("mtime", "-99999999999999.999999999999")]),
        ),
        ("a PAX record longer than its header", records(b"999 path=x\n")),
        ("a PAX record of no length", records(b"0 path=x\n")),
        (
            "a directory with content",
            saying(b'5', "d/", octal(3)).file("f", "x"),
        ),
        ("a link with content", saying(b'2', "l", octal(3)).file("f", "x")),
    ])
}

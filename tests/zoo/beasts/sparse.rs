//! Files with holes: more of them than any disk has, and maps that lie.

use super::{Beast, plain, tar};
use crate::raw_tar::{Header, base256, octal};

/// A GNU sparse header: stretches of data as offset and length, and the size of the whole.
fn gnu(pairs: &[(u64, u64)], size: i128, data: &[u8]) -> Vec<u8> {
    let mut block = Header {
        kind: b'S',
        name: b"s",
        size: octal(data.len() as u64),
        ..Header::default()
    }
    .block();
    block[257..265].copy_from_slice(b"ustar  \0");
    block[329..345].fill(0);
    for (at, (offset, length)) in pairs.iter().take(4).enumerate() {
        for (place, number) in [(386, *offset), (398, *length)] {
            block[place + at * 24..][..12].copy_from_slice(&base256(i128::from(number)));
        }
    }
    block[483..495].copy_from_slice(&base256(size));
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut tar = [&block[..], data].concat();
    tar.resize(tar.len().next_multiple_of(512) + 1024, 0);
    tar
}

/// The same as PAX has it in version 1.0: the map as text before the data.
fn pax(size: &str, map: &str, data: &[u8]) -> Vec<u8> {
    let mut body = map.as_bytes().to_vec();
    body.resize(body.len().next_multiple_of(512), 0);
    body.extend_from_slice(data);
    let records: [(&str, &[u8]); 4] = [
        ("GNU.sparse.major", b"1"),
        ("GNU.sparse.minor", b"0"),
        ("GNU.sparse.name", b"s"),
        ("GNU.sparse.realsize", size.as_bytes()),
    ];
    tar().pax(&records).file("GNUSparseFile.0/s", body).end()
}

pub(super) fn all() -> Vec<Beast> {
    const FEW: &[u8] = b"few";
    let huge = (1 << 63) - 4;
    [
        (
            "GNU sparse, a hole of 4 TiB",
            gnu(&[(4 << 40, 3)], (4 << 40) + 3, FEW),
        ),
        (
            "GNU sparse, a hole of 8 EiB",
            gnu(&[(huge, 3)], i128::from(huge) + 3, FEW),
        ),
        ("GNU sparse, a negative size", gnu(&[(0, 3)], -1, FEW)),
        (
            "GNU sparse, stretches that overlap",
            gnu(&[(0, 2), (1, 1)], 8, FEW),
        ),
        (
            "GNU sparse, stretches that go backwards",
            gnu(&[(4, 1), (0, 2)], 8, FEW),
        ),
        ("GNU sparse, a stretch behind the end", gnu(&[(100, 3)], 8, FEW)),
        ("GNU sparse, an overflow", gnu(&[(u64::MAX - 1, 3)], 1 << 63, FEW)),
        (
            "GNU sparse, a harmless hole",
            gnu(&[(1 << 20, 3)], (1 << 20) + 3, FEW),
        ),
        (
            "PAX sparse, a hole of 4 TiB",
            pax("4398046511107", "1\n4398046511104\n3\n", FEW),
        ),
        (
            "PAX sparse, a hole of 8 EiB",
            pax("9223372036854775807", "1\n9223372036854775804\n3\n", FEW),
        ),
        (
            "PAX sparse, a map of 2^40 stretches",
            pax("100", "1099511627776\n0\n3\n", FEW),
        ),
        (
            "PAX sparse, a map that never ends",
            pax("100", &"1".repeat(4000), b""),
        ),
        ("PAX sparse, a map of letters", pax("100", "x\ny\n", FEW)),
    ]
    .map(|(name, bytes)| plain(name, bytes))
    .into()
}

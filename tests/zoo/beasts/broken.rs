//! What is cut off, damaged, followed by something else, or no archive.

use super::bombs::gzip;
use super::{Beast, plain, sha256, tar};
use crate::raw_tar::Header;

pub(super) fn all() -> Vec<Beast> {
    let sound = || tar().dir("d/").file("d/f", "text ".repeat(300)).link("l", "d/f");
    let whole = sound().end();
    let zipped = gzip(&whole);
    let wrong = Header {
        name: b"wrong",
        sum_is_right: false,
        ..Header::default()
    };
    let plains = [
        ("cut in the first header", whole[..100].to_vec()),
        ("cut in the second header", whole[..700].to_vec()),
        ("cut before content", whole[..1024].to_vec()),
        ("cut in content", whole[..1500].to_vec()),
        ("cut in padding", whole[..1024 + 1500 + 4].to_vec()),
        ("a wrong checksum first", tar().raw(wrong, b"").end()),
        ("a wrong checksum later", sound().raw(wrong, b"").end()),
        (
            "garbage behind the end",
            [whole.clone(), b"garbage ".repeat(1000)].concat(),
        ),
        (
            "another tar behind the end",
            [whole.clone(), tar().file("../canary", "x").end()].concat(),
        ),
        ("no end", sound().0),
        ("zeros only", vec![0; 10_240]),
        ("nothing", Vec::new()),
        ("noise", b"\x93\x17 no tar at all \xff".repeat(100)),
    ];
    let mut wrong_sum = zipped.clone();
    let at = wrong_sum.len() - 6;
    wrong_sum[at] ^= 1;
    let packed = [
        ("gzip, cut", zipped[..zipped.len() / 2].to_vec()),
        ("gzip, a wrong sum", wrong_sum),
        ("gzip, garbage behind it", [&zipped[..], b"garbage"].concat()),
        ("gzip in gzip in gzip", gzip(&gzip(&zipped))),
    ];
    let plains = plains.map(|(name, bytes)| plain(name, bytes));
    let diff = sha256(&whole);
    let packed = packed.map(|(name, bytes)| Beast {
        name,
        bytes,
        diff: diff.clone(),
    });
    plains.into_iter().chain(packed).collect()
}

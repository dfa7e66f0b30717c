//! Devices, pipes, attributes that mean something, and types that mean nothing.

use super::{Beast, tar, whole};
use crate::raw_tar::{Header, RawTar, octal, record};

pub(super) fn all() -> Vec<Beast> {
    let device = |kind: u8, name: &'static [u8], device: (u32, u32)| Header {
        kind,
        name,
        mode: 0o666,
        device,
        ..Header::default()
    };
    let disk = device(b'4', b"sda", (8, 0));
    let memory = device(b'3', b"mem", (1, 1));
    let pipe = |tar: RawTar, name: &str| tar.kind(b'6', name, "", 0o666);
    let attribute = |key: &str, value: &[u8]| tar().pax(&[(&format!("SCHILY.xattr.{key}"), value)]);
    // on a directory with something in it, or one of its own, and on a file
    let xattr = |key: &str, value: &[u8], name: &str| {
        let key = format!("SCHILY.xattr.{key}");
        let tar = tar().dir("d/").file("d/f", "x").pax(&[(&key, value)]).dir(name);
        tar.pax(&[(&key, value)]).file("g", "x")
    };
    let all_of_them = [&[1, 0, 0, 2][..], &[0xff; 16]].concat();
    let many: Vec<u8> = (0..4000)
        .flat_map(|at| record(&format!("SCHILY.xattr.user.a{at}"), &[b'x'; 200]))
        .collect();
    let many_header = Header {
        kind: b'x',
        name: b"pax",
        size: octal(many.len() as u64),
        ..Header::default()
    };
    let changing = tar()
        .file("x", "1")
        .dir("x/")
        .file("x/in", "2")
        .link("x", "..")
        .file("x/in", "3");
    let changing = pipe(changing, "x").hard("y", "x").file("x", "4").dir("x/");
    whole([
        ("devices", tar().raw(disk, b"").raw(memory, b"")),
        (
            "a device that means whiteout",
            tar().raw(device(b'3', b"zero", (0, 0)), b""),
        ),
        (
            "a device with numbers too large",
            tar().raw(device(b'3', b"huge", (0o7777777, 0o7777777)), b""),
        ),
        ("a file below a device", tar().raw(disk, b"").file("sda/f", "x")),
        (
            "a FIFO and a file through it",
            pipe(pipe(tar(), "pipe").file("pipe", "x"), "pipe"),
        ),
        (
            "a FIFO in the way of a directory",
            pipe(tar(), "d").file("d/f", "x"),
        ),
        (
            "setuid and setgid for all",
            tar()
                .kind(b'0', "suid", "", 0o6777)
                .kind(b'5', "sgid/", "", 0o7777),
        ),
        (
            "all capabilities",
            attribute("security.capability", &all_of_them).kind(b'0', "all", "", 0o755),
        ),
        (
            "a capability of no shape",
            attribute("security.capability", b"x").kind(b'0', "none", "", 0o755),
        ),
        (
            "trusted.overlay.opaque",
            xattr("trusted.overlay.opaque", b"y", "d/"),
        ),
        (
            "trusted.overlay.redirect",
            xattr("trusted.overlay.redirect", b"/../../etc", "e/"),
        ),
        (
            "trusted.overlay.metacopy",
            xattr("trusted.overlay.metacopy", b"", "e/"),
        ),
        ("user.overlay.opaque", xattr("user.overlay.opaque", b"y", "d/")),
        (
            "user.overlay.redirect",
            xattr("user.overlay.redirect", b"/../../etc", "e/"),
        ),
        ("an attribute of no namespace", xattr("nonsense", b"x", "d/")),
        (
            "system.posix_acl_access of no shape",
            xattr("system.posix_acl_access", b"xxxx", "d/"),
        ),
        (
            "an attribute of 100 KiB",
            xattr("user.big", &[b'x'; 100 << 10], "d/"),
        ),
        (
            "four thousand attributes",
            tar().raw(many_header, &many).file("f", "x"),
        ),
        ("entries that change their type", changing),
        (
            "a type that nobody knows",
            tar().kind(b'Z', "what", "", 0o644).kind(0x80, "else", "", 0o644),
        ),
        (
            "a contiguous file and a volume",
            tar()
                .kind(b'7', "c", "", 0o644)
                .kind(b'V', "volume", "", 0o644)
                .kind(b'M', "part", "", 0o644),
        ),
    ])
}

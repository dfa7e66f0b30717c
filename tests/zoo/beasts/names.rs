//! Names that are too long, too deep, or no names.

use super::{Beast, tar, whole};

pub(super) fn all() -> Vec<Beast> {
    let deep = "e/".repeat(1900);
    let deeper = "e/".repeat(30_000);
    let wide = "w".repeat(64 << 10);
    let named = |name: &[u8]| tar().long(b'L', name);
    let upon = named(b"one").long(b'L', b"two").pax(&[("path", b"three")]);
    let many = (0..5000).fold(tar(), |tar, _| tar.pax(&[("comment", &[b'x'; 300])]));
    whole([
        ("a name of 256 bytes", named(&[b'n'; 256]).file("f", "x")),
        ("a name of 64 KiB", named(wide.as_bytes()).file("f", "x")),
        ("a name of 1 MiB", named(&vec![b'n'; 1 << 20]).file("f", "x")),
        (
            "a PAX name of 900 KiB",
            tar().pax(&[("path", &vec![b'n'; 900 << 10])]).file("f", "x"),
        ),
        (
            "a target of 64 KiB",
            tar().long(b'K', wide.as_bytes()).link("l", "x"),
        ),
        (
            "1900 levels",
            named(deep.as_bytes())
                .dir("e")
                .long(b'L', format!("{deep}f").as_bytes())
                .file("f", "x"),
        ),
        ("30000 levels", named(deeper.as_bytes()).dir("e")),
        (
            "1900 levels, then a file in their place",
            named(deep.as_bytes()).dir("e").file("e", "x"),
        ),
        (
            "NUL in a PAX name",
            tar().pax(&[("path", b"a\0b")]).file("f", "x"),
        ),
        (
            "NUL in a PAX target",
            tar().pax(&[("linkpath", b"a\0b")]).link("l", "x"),
        ),
        ("a name that is no UTF-8", tar().file(b"\xff\xfe\x80", "x")),
        (
            "a PAX name that is no UTF-8",
            tar().pax(&[("path", b"\xff\xc0\xaf")]).file("f", "x"),
        ),
        (
            "a name of escapes and line ends",
            tar().file("a\x1b[2J\nb\r\x07", "x"),
        ),
        ("no name at all", tar().file("", "x")),
        ("a name of slashes", tar().file("////", "x")),
        ("a target of no name", tar().link("l", "")),
        ("name upon name", upon.file("f", "x")),
        ("many headers for nothing", many.file("f", "x")),
    ])
}

//! The tars of the zoo: what escapes, what bursts, what contradicts itself.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

use crate::raw_tar::{Header, RawTar, base256, octal, record};

/// One tar.
pub(crate) struct Beast {
    pub(crate) name: &'static str,
    /// As it travels, compressed or not.
    pub(crate) bytes: Vec<u8>,
    /// The sha256 of the tar itself, in hex.
    pub(crate) diff: String,
}

/// The sha256 of bytes, in hex.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn plain(name: &'static str, bytes: Vec<u8>) -> Beast {
    Beast {
        name,
        diff: sha256(&bytes),
        bytes,
    }
}

fn tar() -> RawTar {
    RawTar(Vec::new())
}

/// All of them.
pub(crate) fn all() -> Vec<Beast> {
    let mut all = escapes();
    all.extend(odd_files());
    all.extend(wrong_numbers());
    all.extend(names());
    all.extend(sparse());
    all.extend(broken());
    all.extend(bombs());
    all
}

fn escapes() -> Vec<Beast> {
    let deep_up = "../".repeat(30) + "tmp/mica-zoo-was-here";
    [
        ("a name with ..", tar().file("../canary", "x")),
        ("a name with many ..", tar().file(deep_up, "x")),
        ("an absolute name", tar().file("/mica-zoo-was-here", "x")),
        (
            "a file through a link out",
            tar().link("l", "../canary").file("l", "x"),
        ),
        (
            "a file below a link out",
            tar().link("l", "../..").file("l/canary", "x"),
        ),
        (
            "a file below an absolute link",
            tar().link("l", "/").file("l/mica-zoo-was-here", "x"),
        ),
        (
            "a file below a chain of links",
            tar()
                .link("a", "..")
                .link("b", "a/..")
                .link("c", "b/..")
                .file("c/canary", "x"),
        ),
        (
            "a link put for a directory in use",
            tar()
                .dir("d/")
                .file("d/a", "x")
                .link("d", "..")
                .file("d/canary", "x"),
        ),
        ("a hard link out", tar().hard("h", "../canary").file("h", "x")),
        (
            "a hard link to an absolute name",
            tar().hard("h", "/etc/passwd").file("h", "x"),
        ),
        (
            "a hard link through a link",
            tar().link("l", "/etc").hard("h", "l/passwd").file("h", "x"),
        ),
        (
            "a hard link to a link out",
            tar().link("l", "../canary").hard("h", "l").file("h", "x"),
        ),
        ("a hard link to a directory", tar().dir("d/").hard("d/e", "d")),
        (
            "a loop of directories by hard links",
            tar()
                .dir("a/")
                .dir("a/b/")
                .hard("a/b/c", "a")
                .file("a/b/c/b/c/f", "x"),
        ),
        ("a hard link to itself", tar().hard("h", "h")),
        (
            "a loop of links",
            tar().link("a", "b").link("b", "a").file("a/f", "x"),
        ),
        ("whiteout of ..", tar().file(".wh...", "")),
        ("whiteout of .", tar().file(".wh..", "")),
        ("whiteout of no name", tar().file("d/.wh.", "")),
        (
            "whiteout below a link out",
            tar().link("l", "..").file("l/.wh.canary", ""),
        ),
        (
            "opaque below a link out",
            tar().link("l", "..").file("l/.wh..wh..opq", ""),
        ),
        ("opaque as the root", tar().file(".wh..wh..opq", "")),
        ("a link as the root", tar().link("./", "/etc").file("f", "x")),
        ("a file as the root", tar().file("./", "x")),
        (
            "names that differ in case",
            tar()
                .link("Dir", "..")
                .dir("dir/")
                .file("dir/f", "x")
                .file("DIR/f", "y"),
        ),
        (
            "names that differ in form",
            tar()
                .file("e\u{301}", "x")
                .file("\u{e9}", "y")
                .link("\u{e9}/", ".."),
        ),
    ]
    .into_iter()
    .map(|(name, tar)| plain(name, tar.end()))
    .collect()
}

fn odd_files() -> Vec<Beast> {
    let capability: &[u8] = b"\x01\0\0\x02\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff";
    let xattr = |key: &str, value: &[u8], name: &str| {
        let key = format!("SCHILY.xattr.{key}");
        tar()
            .dir("d/")
            .file("d/f", "x")
            .pax(&[(&key, value)])
            .dir(name)
            .pax(&[(&key, value)])
            .file("g", "x")
    };
    let disk = Header {
        kind: b'4',
        name: b"sda",
        mode: 0o666,
        device: (8, 0),
        ..Header::default()
    };
    let memory = Header {
        kind: b'3',
        name: b"mem",
        mode: 0o666,
        device: (1, 1),
        ..Header::default()
    };
    let zero = Header {
        kind: b'3',
        name: b"zero",
        device: (0, 0),
        ..Header::default()
    };
    let huge = Header {
        kind: b'3',
        name: b"huge",
        device: (0o7777777, 0o7777777),
        ..Header::default()
    };
    let many: Vec<u8> = (0..4000)
        .flat_map(|at| record(&format!("SCHILY.xattr.user.a{at}"), &[b'x'; 200]))
        .collect();
    let many_header = Header {
        kind: b'x',
        name: b"pax",
        size: octal(many.len() as u64),
        ..Header::default()
    };
    [
        ("devices", tar().raw(disk, b"").raw(memory, b"")),
        ("a device that means whiteout", tar().raw(zero, b"")),
        ("a device with numbers too large", tar().raw(huge, b"")),
        ("a file below a device", tar().raw(disk, b"").file("sda/f", "x")),
        (
            "a FIFO and a file through it",
            tar()
                .kind(b'6', "pipe", "", 0o666)
                .file("pipe", "x")
                .kind(b'6', "pipe", "", 0o666),
        ),
        (
            "a FIFO in the way of a directory",
            tar().kind(b'6', "d", "", 0o666).file("d/f", "x"),
        ),
        (
            "setuid and setgid for all",
            tar()
                .kind(b'0', "suid", "", 0o6777)
                .kind(b'5', "sgid/", "", 0o7777),
        ),
        (
            "all capabilities",
            tar()
                .pax(&[("SCHILY.xattr.security.capability", capability)])
                .kind(b'0', "all", "", 0o755),
        ),
        (
            "a capability of no shape",
            tar()
                .pax(&[("SCHILY.xattr.security.capability", b"x")])
                .kind(b'0', "none", "", 0o755),
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
        ("entries that change their type", {
            tar()
                .file("x", "1")
                .dir("x/")
                .file("x/in", "2")
                .link("x", "..")
                .file("x/in", "3")
                .kind(b'6', "x", "", 0o644)
                .hard("y", "x")
                .file("x", "4")
                .dir("x/")
        }),
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
    ]
    .into_iter()
    .map(|(name, tar)| plain(name, tar.end()))
    .collect()
}

fn wrong_numbers() -> Vec<Beast> {
    let sized = |size: [u8; 12]| {
        tar().raw(
            Header {
                size,
                ..Header::default()
            },
            b"few",
        )
    };
    let pax_sized = |text: &str| tar().pax(&[("size", text.as_bytes())]).file("f", "few");
    let announced = |kind: u8, size: [u8; 12]| {
        tar().raw(
            Header {
                kind,
                size,
                ..Header::default()
            },
            b"few",
        )
    };
    [
        ("a size of 8 GiB that is not there", sized(octal(0o77777777777))),
        ("a negative size in base 256", sized(base256(-512))),
        ("a size of 2^63 in base 256", sized(base256(1 << 63))),
        ("a size of 2^94 in base 256", sized(base256(1 << 94))),
        ("a size of letters", sized(*b"zzzzzzzzzzz\0")),
        ("a size of spaces", sized(*b"            ")),
        ("a negative size in PAX", pax_sized("-1")),
        ("a size of 2^64 in PAX", pax_sized("18446744073709551616")),
        ("a size of 2^63 in PAX", pax_sized("9223372036854775807")),
        (
            "a PAX header of 8 GiB announced",
            announced(b'x', octal(0o77777777777)),
        ),
        (
            "a PAX header of 2^60 bytes announced",
            announced(b'x', base256(1 << 60)),
        ),
        (
            "a global header of 4 GiB announced",
            announced(b'g', octal(4 << 30)),
        ),
        ("a long name of 1 GiB announced", announced(b'L', octal(1 << 30))),
        (
            "an owner of 2^32",
            tar().pax(&[("uid", b"4294967296")]).file("f", "x"),
        ),
        (
            "an owner of -1",
            tar().pax(&[("uid", b"-1"), ("gid", b"-1")]).file("f", "x"),
        ),
        (
            "a time of 2^70",
            tar().pax(&[("mtime", b"1180591620717411303424")]).file("f", "x"),
        ),
        (
            "a time before all times",
            tar()
                .pax(&[("mtime", b"-99999999999999.999999999999")])
                .file("f", "x"),
        ),
        ("a PAX record longer than its header", {
            let data = b"999 path=x\n";
            let header = Header {
                kind: b'x',
                name: b"pax",
                size: octal(data.len() as u64),
                ..Header::default()
            };
            tar().raw(header, data).file("f", "x")
        }),
        ("a PAX record of no length", {
            let data = b"0 path=x\n";
            let header = Header {
                kind: b'x',
                name: b"pax",
                size: octal(data.len() as u64),
                ..Header::default()
            };
            tar().raw(header, data).file("f", "x")
        }),
        ("a directory with content", {
            tar()
                .raw(
                    Header {
                        kind: b'5',
                        name: b"d/",
                        size: octal(3),
                        ..Header::default()
                    },
                    b"few",
                )
                .file("f", "x")
        }),
        ("a link with content", {
            tar()
                .raw(
                    Header {
                        kind: b'2',
                        name: b"l",
                        link: b"f",
                        size: octal(3),
                        ..Header::default()
                    },
                    b"few",
                )
                .file("f", "x")
        }),
    ]
    .into_iter()
    .map(|(name, tar)| plain(name, tar.end()))
    .collect()
}

fn names() -> Vec<Beast> {
    let deep = "d/".repeat(1900);
    let deeper = "d/".repeat(30_000);
    let wide = "w".repeat(64 << 10);
    [
        (
            "a name of 256 bytes",
            tar().long(b'L', "n".repeat(256).as_bytes()).file("f", "x"),
        ),
        (
            "a name of 64 KiB",
            tar().long(b'L', wide.as_bytes()).file("f", "x"),
        ),
        (
            "a name of 1 MiB",
            tar().long(b'L', &vec![b'n'; 1 << 20]).file("f", "x"),
        ),
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
            tar()
                .long(b'L', deep.as_bytes())
                .dir("d")
                .long(b'L', format!("{deep}f").as_bytes())
                .file("f", "x"),
        ),
        ("30000 levels", tar().long(b'L', deeper.as_bytes()).dir("d")),
        (
            "1900 levels, then a file in their place",
            tar().long(b'L', deep.as_bytes()).dir("d").file("d", "x"),
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
        (
            "name upon name",
            tar()
                .long(b'L', b"one")
                .long(b'L', b"two")
                .pax(&[("path", b"three")])
                .file("f", "x"),
        ),
        ("many headers for nothing", {
            (0..5000)
                .fold(tar(), |tar, _| tar.pax(&[("comment", &[b'x'; 300])]))
                .file("f", "x")
        }),
    ]
    .into_iter()
    .map(|(name, tar)| plain(name, tar.end()))
    .collect()
}

/// A GNU sparse header: stretches of data as offset and length, and the size of the whole.
fn gnu_sparse(pairs: &[(u64, u64)], size: [u8; 12], data: &[u8]) -> Vec<u8> {
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
        block[386 + at * 24..398 + at * 24].copy_from_slice(&base256(i128::from(*offset)));
        block[398 + at * 24..410 + at * 24].copy_from_slice(&base256(i128::from(*length)));
    }
    block[483..495].copy_from_slice(&size);
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut tar = [&block[..], data].concat();
    tar.resize(tar.len().next_multiple_of(512) + 1024, 0);
    tar
}

fn sparse() -> Vec<Beast> {
    let pax_1_0 = |real: &str, map: &str, data: &[u8]| {
        let mut body = map.as_bytes().to_vec();
        body.resize(body.len().next_multiple_of(512), 0);
        body.extend_from_slice(data);
        let records: [(&str, &[u8]); 4] = [
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.name", b"s"),
            ("GNU.sparse.realsize", real.as_bytes()),
        ];
        tar().pax(&records).file("GNUSparseFile.0/s", body).end()
    };
    vec![
        plain(
            "GNU sparse, a hole of 4 TiB",
            gnu_sparse(&[(4 << 40, 3)], base256((4 << 40) + 3), b"few"),
        ),
        plain(
            "GNU sparse, a negative size",
            gnu_sparse(&[(0, 3)], base256(-1), b"few"),
        ),
        plain(
            "GNU sparse, stretches that overlap",
            gnu_sparse(&[(0, 2), (1, 1)], base256(8), b"few"),
        ),
        plain(
            "GNU sparse, stretches that go backwards",
            gnu_sparse(&[(4, 1), (0, 2)], base256(8), b"few"),
        ),
        plain(
            "GNU sparse, a stretch behind the end",
            gnu_sparse(&[(100, 3)], base256(8), b"few"),
        ),
        plain(
            "GNU sparse, an overflow",
            gnu_sparse(&[(u64::MAX - 1, 3)], base256(1 << 63), b"few"),
        ),
        plain(
            "GNU sparse, a harmless hole",
            gnu_sparse(&[(1 << 20, 3)], base256((1 << 20) + 3), b"few"),
        ),
        plain(
            "PAX sparse, a hole of 4 TiB",
            pax_1_0("4398046511107", "1\n4398046511104\n3\n", b"few"),
        ),
        plain(
            "PAX sparse, a map of 2^40 stretches",
            pax_1_0("100", "1099511627776\n0\n3\n", b"few"),
        ),
        plain(
            "PAX sparse, a map that never ends",
            pax_1_0("100", &"1".repeat(4000), b""),
        ),
        plain("PAX sparse, a map of letters", pax_1_0("100", "x\ny\n", b"few")),
    ]
}

fn broken() -> Vec<Beast> {
    let sound = || tar().dir("d/").file("d/f", "text ".repeat(300)).link("l", "d/f");
    let whole = sound().end();
    let mut cut: Vec<Beast> = [
        ("cut in the first header", 100),
        ("cut in the second header", 700),
        ("cut before content", 1024),
        ("cut in content", 1500),
        ("cut in padding", 1024 + 1500 + 4),
    ]
    .into_iter()
    .map(|(name, at)| plain(name, whole[..at].to_vec()))
    .collect();
    let wrong_sum = Header {
        name: b"wrong",
        sum_is_right: false,
        ..Header::default()
    };
    cut.extend([
        plain("a wrong checksum first", tar().raw(wrong_sum, b"").end()),
        plain("a wrong checksum later", sound().raw(wrong_sum, b"").end()),
        plain(
            "garbage behind the end",
            [whole.clone(), b"garbage ".repeat(1000)].concat(),
        ),
        plain(
            "another tar behind the end",
            [whole.clone(), tar().file("../canary", "x").end()].concat(),
        ),
        plain("no end", sound().0),
        plain("zeros only", vec![0; 10_240]),
        plain("nothing", Vec::new()),
        plain("noise", b"\x93\x17 no tar at all \xff".repeat(100)),
    ]);
    let zipped = gzip(&whole);
    let with = |name, bytes: Vec<u8>| Beast {
        name,
        bytes,
        diff: sha256(&whole),
    };
    cut.extend([
        with("gzip, cut", zipped[..zipped.len() / 2].to_vec()),
        with("gzip, a wrong sum", {
            let mut bytes = zipped.clone();
            let at = bytes.len() - 6;
            bytes[at] ^= 1;
            bytes
        }),
        with(
            "gzip, garbage behind it",
            [zipped.clone(), b"garbage".to_vec()].concat(),
        ),
        Beast {
            name: "gzip in gzip in gzip",
            bytes: gzip(&gzip(&zipped)),
            diff: sha256(&whole),
        },
    ]);
    cut
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::best());
    out.write_all(bytes).expect("memory takes everything");
    out.finish().expect("memory takes everything")
}

/// Hashes what it passes on.
struct Hashed<W> {
    out: W,
    hash: Sha256,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.hash.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

/// How much a bomb becomes, in bytes.
pub(crate) const BURST: u64 = 96 << 20;
/// How many entries the swarm has.
const SWARM: u32 = 60_000;

fn bombs() -> Vec<Beast> {
    let zeros = |fill: u8| {
        let mut tar = RawTar(Hashed {
            out: GzEncoder::new(Vec::new(), Compression::best()),
            hash: Sha256::new(),
        });
        let header = Header {
            name: b"zeros",
            size: octal(BURST),
            ..Header::default()
        };
        tar.put(header, b"").expect("memory takes everything");
        let block = vec![fill; 1 << 20];
        for _ in 0..BURST >> 20 {
            tar.0.write_all(&block).expect("memory takes everything");
        }
        done(tar)
    };
    let mut swarm = RawTar(Hashed {
        out: GzEncoder::new(Vec::new(), Compression::fast()),
        hash: Sha256::new(),
    });
    for at in 0..SWARM {
        let name = format!("s{}/{at}", at >> 10);
        swarm
            .put(
                Header {
                    name: name.as_bytes(),
                    ..Header::default()
                },
                b"",
            )
            .expect("memory takes everything");
    }
    let named = |name, (bytes, diff)| Beast { name, bytes, diff };
    let mut bombs = vec![
        named("gzip, 96 MiB of zeros", zeros(0)),
        named("sixty thousand entries", done(swarm)),
    ];
    for (name, program) in [
        ("bzip2, 48 MiB of zeros", "bzip2"),
        ("xz, 48 MiB of zeros", "xz"),
        ("zstd, 48 MiB of zeros", "zstd"),
    ] {
        bombs.extend(packed_by(program).map(|bytes| named(name, bytes)));
    }
    bombs
}

fn done(tar: RawTar<Hashed<GzEncoder<Vec<u8>>>>) -> (Vec<u8>, String) {
    let out = tar.end();
    let diff = out
        .hash
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    (out.out.finish().expect("memory takes everything"), diff)
}

/// A file of zeros, packed by a program of this machine; nothing if it is not there.
fn packed_by(program: &str) -> Option<(Vec<u8>, String)> {
    let size = BURST / 2;
    let header = Header {
        name: b"zeros",
        size: octal(size),
        ..Header::default()
    };
    let mut child = std::process::Command::new(program)
        .args(["-c", "-1"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .ok()?;
    let mut tar = RawTar(Hashed {
        out: child.stdin.take()?,
        hash: Sha256::new(),
    });
    let feeding = std::thread::spawn(move || {
        tar.put(header, b"").ok()?;
        let block = vec![0; 1 << 20];
        for _ in 0..size >> 20 {
            tar.0.write_all(&block).ok()?;
        }
        let out = tar.end();
        Some(
            out.hash
                .finalize()
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>(),
        )
    });
    let out = child.wait_with_output().ok()?;
    let diff = feeding.join().ok()??;
    Some((out.stdout, diff))
}

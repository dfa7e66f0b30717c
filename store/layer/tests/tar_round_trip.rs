//! What the tar writer writes, the tar reader, GNU tar and every run read the same.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::process::{Command, Stdio};

use mica_layer::{ImagePath, Kind, Meta, Mtime, TarReader, TarWriter};
use proptest::prelude::*;

fn path(text: &[u8]) -> ImagePath {
    ImagePath::clamped(text)
}

fn file(content: &[u8]) -> Meta {
    Meta {
        kind: Kind::File {
            size: content.len() as u64,
        },
        ..Meta::directory(0o644, Mtime::default())
    }
}

fn write(entries: &[(ImagePath, Meta, Vec<u8>)]) -> Vec<u8> {
    let mut tar = TarWriter::new(Vec::new());
    for (path, meta, content) in entries {
        tar.append(path, meta).unwrap();
        tar.write_all(content).unwrap();
    }
    tar.finish().unwrap()
}

fn read(tar: &[u8]) -> Vec<(Vec<u8>, Meta, Vec<u8>)> {
    let mut reader = TarReader::new(tar);
    let mut entries = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        let mut content = Vec::new();
        reader.read_to_end(&mut content).unwrap();
        let at = usize::try_from(entry.data_offset).unwrap();
        assert_eq!(
            &tar[at..at + content.len()],
            content,
            "the offset leads elsewhere"
        );
        entries.push((entry.path, entry.meta, content));
    }
    assert!(reader.drain().unwrap().is_empty());
    entries
}

fn kinds() -> impl Strategy<Value = (Kind, Vec<u8>)> {
    let target = proptest::collection::vec(1..=255u8, 1..300);
    let device = (0..0x1000u32, 0..0x10_0000u32);
    prop_oneof![
        4 => proptest::collection::vec(any::<u8>(), 0..1500)
            .prop_map(|content| (Kind::File { size: content.len() as u64 }, content)),
        2 => Just((Kind::Directory, vec![])),
        2 => target.prop_map(|target| (Kind::Symlink { target }, vec![])),
        1 => device.clone().prop_map(|(major, minor)| (Kind::CharDevice { major, minor }, vec![])),
        1 => device.prop_map(|(major, minor)| (Kind::BlockDevice { major, minor }, vec![])),
        1 => Just((Kind::Fifo, vec![])),
    ]
}

fn names() -> impl Strategy<Value = ImagePath> {
    let byte = prop_oneof![8 => 33..=126u8, 1 => 1..=255u8, 1 => Just(b'/')];
    let text = prop_oneof![
        proptest::collection::vec(byte.clone(), 1..60),
        proptest::collection::vec(byte, 90..300)
    ];
    text.prop_map(|text| path(&text))
        .prop_filter("the root is a directory", |path| !path.is_root())
}

prop_compose! {
    fn entries()(
        path in names(),
        (kind, content) in kinds(),
        mode in 0..0o10000u32,
        (uid, gid) in (any::<u32>(), 0..3_000_000u32),
        seconds in prop_oneof![0..1i64 << 34, -1000..1000i64, any::<i64>().prop_filter("fits", |s| *s > i64::MIN)],
        nanoseconds in prop_oneof![Just(0), 0..1_000_000_000u32],
        xattrs in proptest::collection::btree_map(
            proptest::collection::vec(1..=255u8, 1..30),
            proptest::collection::vec(any::<u8>(), 0..60),
            0..3,
        ),
    ) -> (ImagePath, Meta, Vec<u8>) {
        let mtime = Mtime { seconds, nanoseconds };
        (path, Meta { kind, mode, uid, gid, mtime, xattrs }, content)
    }
}

proptest! {
    #[test]
    fn what_was_written_is_read(entries in proptest::collection::vec(entries(), 0..12)) {
        let tar = write(&entries);
        prop_assert_eq!(tar.len() % 512, 0);
        prop_assert_eq!(&tar, &write(&entries));
        let read = read(&tar);
        prop_assert_eq!(read.len(), entries.len());
        for ((path, meta, content), (read_path, read_meta, read_content)) in entries.iter().zip(&read) {
            let mut written = path.as_bytes().to_vec();
            if meta.is_directory() {
                written.push(b'/');
            }
            prop_assert_eq!(read_path, &written);
            prop_assert_eq!(read_meta, meta);
            prop_assert_eq!(read_content, content);
        }
    }

    #[test]
    fn damage_never_gives_more_than_an_error(
        entries in proptest::collection::vec(entries(), 1..6),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        end in any::<prop::sample::Index>(),
    ) {
        let mut tar = write(&entries);
        for (at, byte) in damage {
            let at = at.index(tar.len());
            tar[at] = byte;
        }
        tar.truncate(end.index(tar.len() + 1));
        let mut reader = TarReader::new(tar.as_slice());
        let mut last = 0;
        while let Ok(Some(entry)) = reader.next_entry() {
            prop_assert!(entry.header_offset >= last && entry.data_offset > entry.header_offset);
            last = entry.data_offset;
            if std::io::copy(&mut reader, &mut std::io::sink()).is_err() {
                prop_assert!(reader.next_entry().is_err());
                break;
            }
        }
    }
}

#[test]
fn an_attribute_with_newlines_survives() {
    let mut meta = file(b"x");
    meta.xattrs = BTreeMap::from([(b"user.k".to_vec(), b"a\nb=c\n20 path=evil\0\n".to_vec())]);
    let entries = [
        (path(b"f"), meta.clone(), b"x".to_vec()),
        (path(b"g"), file(b""), vec![]),
    ];
    let read = read(&write(&entries));
    assert_eq!(read[0].1, meta);
    assert_eq!(read[1].0, b"g");
}

#[test]
fn what_fits_needs_no_extended_header() {
    let long = [b"d".repeat(100), b"e".repeat(60)].join(&b'/');
    let mut meta = file(b"");
    (meta.uid, meta.gid, meta.mtime.seconds) = (2_097_151, 2_097_151, (1 << 33) - 1);
    let tar = write(&[(path(&long), meta.clone(), vec![])]);
    assert_eq!(tar.len(), 512 + 1024);
    meta.uid += 1;
    let tar = write(&[(path(&long), meta, vec![])]);
    assert_eq!(tar.len(), 3 * 512 + 1024);
    assert_eq!(tar[156], b'x');
    assert!(tar[512..].starts_with(b"15 uid=2097152\n\0"));
}

#[test]
fn the_length_of_content_is_kept_to() {
    let mut tar = TarWriter::new(Vec::new());
    tar.append(&path(b"f"), &file(b"abc")).unwrap();
    assert!(tar.write_all(b"abcd").is_err());
    tar.write_all(b"ab").unwrap();
    assert!(tar.append(&path(b"g"), &file(b"")).is_err());
    tar.write_all(b"c").unwrap();
    tar.append(&path(b"g"), &file(b"")).unwrap();
    tar.finish().unwrap();
}

/// `tar --list --verbose` of the archive.
fn gnu_list(tar: &[u8]) -> String {
    let mut child = Command::new("tar")
        .args([
            "--list",
            "--verbose",
            "--verbose",
            "--numeric-owner",
            "--utc",
            "--full-time",
            "--xattrs",
        ])
        .args(["--quoting-style=literal", "--file=-"])
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(tar).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn gnu_tar_reads_it_without_complaint() {
    let long = [b"n".repeat(200), b"m".repeat(200)].join(&b'/');
    let mut big = file(b"");
    (big.uid, big.gid, big.mode) = (u32::MAX - 1, 5, 0o4755);
    big.mtime.seconds = -2;
    let mut capable = file(b"hello");
    capable.xattrs = BTreeMap::from([(b"user.k".to_vec(), b"1\n2".to_vec())]);
    capable.mtime.nanoseconds = 250_000_000;
    let link = Meta {
        kind: Kind::Symlink {
            target: b"t".repeat(150),
        },
        ..file(b"")
    };
    let device = Meta {
        kind: Kind::CharDevice { major: 1, minor: 3 },
        ..file(b"")
    };
    let mut tar = TarWriter::new(Vec::new());
    let directory = Meta::directory(0o1777, Mtime::default());
    tar.append(&path(b"d"), &directory).unwrap();
    tar.append(&path(b"d/big"), &big).unwrap();
    tar.append(&path(b"d/cap"), &capable).unwrap();
    tar.write_all(b"hello").unwrap();
    tar.append(&path(b"d/dev"), &device).unwrap();
    tar.append(&path(&long), &link).unwrap();
    tar.append_hardlink(&path(b"e"), &capable, &path(b"d/cap"))
        .unwrap();
    tar.append_whiteout(&path(b"f/g")).unwrap();
    tar.append_opaque(&path(b"h")).unwrap();
    let listing = gnu_list(&tar.finish().unwrap());
    for line in [
        "drwxrwxrwt 0/0               0 1970-01-01 00:00:00 d/".to_owned(),
        "-rwsr-xr-x 4294967294/5       0 1969-12-31 23:59:58 d/big".to_owned(),
        "crw-r--r-- 0/0             1,3 1970-01-01 00:00:00 d/dev".to_owned(),
        "-rw-r--r--* 0/0 5 1970-01-01 00:00:00.25 d/cap".to_owned(),
        format!(" {} -> {}", String::from_utf8_lossy(&long), "t".repeat(150)),
        " e link to d/cap".to_owned(),
        "---------- 0/0               0 1970-01-01 00:00:00 f/.wh.g".to_owned(),
        " h/.wh..wh..opq".to_owned(),
    ] {
        let squeeze = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            listing
                .lines()
                .any(|told| squeeze(told).contains(&squeeze(&line))),
            "{line:?} is not in\n{listing}"
        );
    }
}

//! Tars that others write, well or badly: the reader keeps its place or says what is wrong.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use mica_layer::{Error, ImagePath, IndexOptions, Kind, LayerView, TarIndex, TarReader, TarView};
use mica_oci::Digest;

/// A header block of the old kind with the fields that matter.
fn block(name: &[u8], typeflag: u8, size: &[u8], link: &[u8]) -> Vec<u8> {
    let mut block = vec![0; 512];
    block[..name.len()].copy_from_slice(name);
    block[100..107].copy_from_slice(b"0000644");
    block[124..124 + size.len()].copy_from_slice(size);
    block[156] = typeflag;
    block[157..157 + link.len()].copy_from_slice(link);
    block[257..265].copy_from_slice(b"ustar\x0000");
    seal(block)
}

fn seal(mut block: Vec<u8>) -> Vec<u8> {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    block
}

fn file(name: &str, content: &[u8]) -> Vec<u8> {
    let size = format!("{:011o}", content.len());
    [
        block(name.as_bytes(), b'0', size.as_bytes(), b""),
        padded(content),
    ]
    .concat()
}

fn padded(content: &[u8]) -> Vec<u8> {
    let mut padded = content.to_vec();
    padded.resize(content.len().next_multiple_of(512), 0);
    padded
}

fn special(typeflag: u8, content: &[u8]) -> Vec<u8> {
    let size = format!("{:011o}", content.len());
    [block(b"special", typeflag, size.as_bytes(), b""), padded(content)].concat()
}

/// The entries as `NAME=CONTENT`.
fn read(tar: &[u8]) -> Result<Vec<String>, Error> {
    let mut reader = TarReader::new(tar);
    let mut entries = Vec::new();
    while let Some(entry) = reader.next_entry()? {
        let mut content = String::new();
        reader
            .read_to_string(&mut content)
            .map_err(Error::io("reading"))?;
        entries.push(format!("{}={content}", String::from_utf8_lossy(&entry.path)));
    }
    Ok(entries)
}

#[test]
fn sizes_that_do_not_count_are_not_skipped() {
    for typeflag in *b"123456" {
        let tar = [block(b"odd", typeflag, b"00000001000", b"t"), file("next", b"x")].concat();
        assert_eq!(
            read(&tar).unwrap(),
            ["odd=", "next=x"],
            "type {}",
            typeflag as char
        );
    }
    let tar = [block(b"old/", 0, b"00000001000", b""), file("next", b"x")].concat();
    assert_eq!(read(&tar).unwrap(), ["old/=", "next=x"]);
    let tar = [block(b"old", 0, b"1", b""), padded(b"y"), file("next", b"x")].concat();
    assert_eq!(read(&tar).unwrap(), ["old=y", "next=x"]);
}

#[test]
fn an_extended_size_counts_for_the_next_file_alone() {
    let inner = file("hidden", b"evil");
    let pax = special(b'x', format!("13 size={}\n", inner.len()).as_bytes());
    let outer = block(b"outer", b'0', b"00000000000", b"");
    let tar = [&pax[..], &outer, &inner, &file("next", b"x")].concat();
    let entries = read(&tar).unwrap();
    assert_eq!(entries.len(), 2);
    assert!(entries[0].starts_with("outer=hidden") && entries[1] == "next=x");
    // a long name between the two has a size of its own
    let tar = [
        &pax[..],
        &special(b'L', b"long\0"),
        &outer,
        &inner,
        &file("next", b"x"),
    ]
    .concat();
    let entries = read(&tar).unwrap();
    assert!(entries[0].starts_with("long=hidden") && entries[1] == "next=x");
}

#[test]
fn global_headers_change_nothing() {
    let tar = [special(b'g', b"13 path=evil\n"), file("f", b"x"), file("g", b"")].concat();
    assert_eq!(read(&tar).unwrap(), ["f=x", "g="]);
}

#[test]
fn what_is_wrong_is_an_error() {
    let fine = file("f", b"x");
    let mut zeros = vec![0; 512];
    zeros.extend(&fine);
    let mut sum = fine.clone();
    sum[0] ^= 1;
    let long = vec![b'n'; (64 << 10) + 1];
    let mut path = format!("{} path=", long.len() + 12).into_bytes();
    path.extend(&long);
    path.push(b'\n');
    for (what, tar) in [
        ("a negative size", block(b"f", b'0', &[0xff; 12], b"")),
        ("a size that is no number", block(b"f", b'0', b"zzz", b"")),
        (
            "a huge size",
            block(b"f", b'0', b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", b""),
        ),
        ("an unknown type", block(b"f", b'D', b"", b"")),
        ("no target", block(b"f", b'2', b"", b"")),
        ("zeros amid entries", zeros),
        ("a wrong checksum", sum),
        ("a huge extended header", block(b"f", b'x', b"77777777777", b"")),
        (
            "a damaged extended header",
            [special(b'x', b"99 path=x\n"), fine.clone()].concat(),
        ),
        ("a long path", [special(b'x', &path), fine.clone()].concat()),
        (
            "a long name",
            [special(b'L', &[&long[..], b"n\0"].concat()), fine.clone()].concat(),
        ),
        (
            "an owner out of range",
            [special(b'x', b"18 uid=4294967296\n"), fine.clone()].concat(),
        ),
    ] {
        let error = read(&tar).expect_err(what);
        assert!(
            matches!(error, Error::Tar { .. } | Error::Limit { .. } | Error::Io { .. }),
            "{what}"
        );
        let mut reader = TarReader::new(tar.as_slice());
        while let Ok(Some(_)) = reader.next_entry() {}
        assert!(reader.next_entry().is_err(), "{what}");
    }
}

#[test]
fn a_tar_may_be_cut_off_between_entries_only() {
    let tar = [special(b'L', b"long\0"), file("f", &[b'x'; 700]), vec![0; 1024]].concat();
    for end in 0..tar.len() {
        // nothing at all, after the file's data, and from there on
        let whole = end == 0 || (1024 + 512 + 700..=2560).contains(&end) || end == 3072;
        assert_eq!(read(&tar[..end]).is_ok(), whole, "cut off at {end}");
    }
}

#[test]
fn sparse_maps_must_fit_their_data() {
    let sparse = |records: &str, data: &[u8]| {
        let size = format!("{:011o}", data.len());
        let header = block(b"s", b'0', size.as_bytes(), b"");
        [special(b'x', records.as_bytes()), header, padded(data)].concat()
    };
    let map = |map: &str, size: &str| {
        let record = |key: &str, value: &str| {
            let rest = key.len() + value.len() + 3;
            let len = (rest + 1..)
                .find(|len| rest + len.to_string().len() == *len)
                .unwrap();
            format!("{len} {key}={value}\n")
        };
        record("GNU.sparse.map", map)
            + &record("GNU.sparse.size", size)
            + &record("GNU.sparse.numblocks", "2")
    };
    assert_eq!(
        read(&sparse(&map("1,2,5,1", "8"), b"abc")).unwrap(),
        ["s=\0ab\0\0c\0\0"]
    );
    assert_eq!(
        read(&sparse(&map("0,0,8,0", "8"), b"")).unwrap(),
        ["s=\0\0\0\0\0\0\0\0"]
    );
    for (entries, size) in [
        ("1,2,5", "8"),
        ("1,2,5,2", "8"),
        ("1,2,5,0", "8"),
        ("5,1,1,2", "8"),
        ("1,2,2,1", "8"),
        ("1,2,7,1", "7"),
        ("1,9223372036854775807,2,1", "8"),
        ("0,3", "9223372036854775807"),
    ] {
        assert!(
            read(&sparse(&map(entries, size), b"abc")).is_err(),
            "{entries} of {size}"
        );
    }
}

fn gnu_tar(directory: &Path, options: &[&str]) -> File {
    let archive = directory.join("out.tar");
    let status = Command::new("tar")
        .args(["--create", "--sort=name", "--file"])
        .arg(&archive)
        .args(options)
        .arg("tree")
        .current_dir(directory)
        .env("LC_ALL", "C")
        .status()
        .unwrap();
    assert!(status.success(), "{options:?}");
    File::open(archive).unwrap()
}

#[test]
fn what_gnu_tar_writes_is_read() {
    let scratch = tempfile::tempdir().unwrap();
    let tree = scratch.path().join("tree");
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(200));
    fs::create_dir_all(tree.join("d".repeat(120))).unwrap();
    fs::write(tree.join(&long), b"long").unwrap();
    symlink("t".repeat(180), tree.join("link")).unwrap();
    fs::hard_link(tree.join(&long), tree.join("z")).unwrap();
    let mut sparse = File::create(tree.join("sparse")).unwrap();
    for at in 0..60u64 {
        sparse
            .seek(SeekFrom::Start(at * 65536 + 4096 * (at % 3)))
            .unwrap();
        sparse.write_all(&vec![b'a' + at as u8 % 26; 5000]).unwrap();
    }
    sparse.set_len(60 * 65536).unwrap();
    let expected = fs::read(tree.join("sparse")).unwrap();

    for options in [
        &["--format=gnu"][..],
        &["--format=pax"],
        &["--format=gnu", "--sparse"],
        &["--format=pax", "--sparse", "--sparse-version=0.0"],
        &["--format=pax", "--sparse", "--sparse-version=0.1"],
        &["--format=pax", "--sparse", "--sparse-version=1.0"],
    ] {
        let mut archive = gnu_tar(scratch.path(), options);
        let hashed = IndexOptions {
            hash_contents: true,
            whiteouts: false,
        };
        let index = TarIndex::scan(&archive, hashed).unwrap();
        archive.rewind().unwrap();
        let sought = TarIndex::scan_seekable(&archive, IndexOptions::default()).unwrap();
        assert_eq!(index.len(), 7, "{options:?}");
        assert_eq!(sought.len(), 7, "{options:?}");
        let at = |name: &str| ImagePath::clamped(format!("tree/{name}").as_bytes());
        let get = |name: &str| index.get(&at(name)).unwrap();
        assert_eq!(get("sparse").content, Some(Digest::of(&expected)), "{options:?}");
        assert_eq!(get("z").link, get(&long).link);
        assert_eq!(
            get("link").meta.kind,
            Kind::Symlink {
                target: b"t".repeat(180)
            }
        );
        let view = TarView::new(
            Arc::new(fs_err::File::from_parts(archive, "out.tar")),
            Arc::new(sought),
            0,
        );
        for (name, expected) in [("sparse", &expected[..]), ("z", b"long")] {
            let mut content = Vec::new();
            view.open(&at(name))
                .unwrap()
                .reader()
                .read_to_end(&mut content)
                .unwrap();
            assert!(content == expected, "{name} {options:?}");
        }
    }
}

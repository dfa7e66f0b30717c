//! What the tests of trees share: tars written byte by byte, trees written down, and chance that can be repeated.
#![allow(dead_code, reason = "no test uses all of it")]

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::path::Path;
use std::sync::Arc;

use mica_layer::{
    Applied, DirView, Error, ImagePath, IndexOptions, Kind, LayerView, LinkKey, Root, Stack, Step, TarIndex,
    TarView, TreeWriter, apply,
};

/// A tar as anybody may write it.
#[derive(Clone, Default)]
pub(crate) struct RawTar(pub(crate) Vec<u8>);

impl RawTar {
    /// A header and its data; `size` may lie about the latter.
    pub(crate) fn raw(mut self, kind: u8, name: &str, link: &str, mode: u32, size: u64, data: &[u8]) -> Self {
        let mut header = [0; 512];
        let mut put = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
        put(0, name.as_bytes());
        put(100, format!("{mode:07o}\0").as_bytes());
        put(108, b"0000012\x000000013\0");
        put(124, format!("{size:011o}\0").as_bytes());
        put(136, b"00000001750\0");
        put(148, b"        ");
        put(156, &[kind]);
        put(157, link.as_bytes());
        put(257, b"ustar\x0000");
        put(329, b"0000005\x000000006\0");
        let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend_from_slice(&header);
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn file(self, name: &str, text: &str) -> Self {
        self.raw(b'0', name, "", 0o644, text.len() as u64, text.as_bytes())
    }

    pub(crate) fn dir(self, name: &str, mode: u32) -> Self {
        self.raw(b'5', name, "", mode, 0, b"")
    }

    pub(crate) fn link(self, name: &str, target: &str) -> Self {
        self.raw(b'2', name, target, 0o777, 0, b"")
    }

    pub(crate) fn hard(self, name: &str, target: &str) -> Self {
        self.raw(b'1', name, target, 0o644, 0, b"")
    }

    /// PAX records for the entry that follows.
    pub(crate) fn pax(self, records: &[(&str, &str)]) -> Self {
        let text: String = records.iter().map(|(key, value)| record(key, value)).collect();
        self.raw(b'x', "pax", "", 0o644, text.len() as u64, text.as_bytes())
    }

    /// A GNU long name for the entry that follows.
    pub(crate) fn long_name(self, name: &str) -> Self {
        self.raw(
            b'L',
            "././@LongLink",
            "",
            0o644,
            name.len() as u64,
            name.as_bytes(),
        )
    }

    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.extend([0; 1024]);
        self.0
    }
}

fn record(key: &str, value: &str) -> String {
    let rest = key.len() + value.len() + 3;
    let mut len = rest;
    while len != rest + len.to_string().len() {
        len = rest + len.to_string().len();
    }
    format!("{len} {key}={value}\n")
}

/// Unpacks into the empty directory `place`, which is made.
pub(crate) fn unpack(tar: &[u8], place: &Path) -> Result<Applied, Error> {
    std::fs::create_dir_all(place).unwrap();
    apply(tar, TreeWriter::new(Root::open(place).unwrap()))
}

pub(crate) fn dir_view(place: &Path) -> Arc<dyn LayerView> {
    Arc::new(DirView::open(place).unwrap())
}

/// The layer in `tar`, read in place; `scratch` is a file name to be used for it.
pub(crate) fn tar_view(tar: &[u8], scratch: &Path) -> Result<Arc<dyn LayerView>, Error> {
    let options = IndexOptions {
        hash_contents: false,
        whiteouts: true,
    };
    let index = TarIndex::scan(Cursor::new(tar), options)?;
    fs_err::write(scratch, tar).unwrap();
    let file = fs_err::File::open(scratch).unwrap();
    Ok(Arc::new(TarView::new(Arc::new(file), Arc::new(index), 0)))
}

/// All files of a stack in words, the root left out.
pub(crate) fn listing(stack: &Stack) -> BTreeMap<String, String> {
    let mut list = BTreeMap::new();
    let mut names: BTreeMap<(u32, LinkKey), String> = BTreeMap::new();
    stack
        .walk(&ImagePath::root(), &mut |path, found| {
            if path.is_root() {
                return Ok(Step::Into);
            }
            let meta = &found.node.meta;
            let mut text = format!("{:?} {}:{} {}", meta.kind, meta.uid, meta.gid, meta.mtime.seconds);
            if !matches!(meta.kind, Kind::Symlink { .. }) {
                text += &format!(" {:o}", meta.mode);
            }
            if let Kind::File { .. } = meta.kind {
                let mut bytes = Vec::new();
                stack.open(path)?.reader().read_to_end(&mut bytes).unwrap();
                text += &format!(" {:?}", String::from_utf8_lossy(&bytes));
            }
            if let Some(link) = found.link() {
                let first = names.entry(link).or_insert_with(|| path.to_string());
                if *first != path.to_string() {
                    text += &format!(" = {first}");
                }
            }
            list.insert(path.to_string(), text);
            Ok(Step::Into)
        })
        .unwrap();
    list
}

/// Numbers that look like chance and are the same for the same seed (xorshift64*).
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        ((self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize) % limit
    }

    pub(crate) fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }

    /// A path of one to three short names.
    pub(crate) fn path(&mut self) -> String {
        let names = ["a", "b", "c", "d"];
        let mut path = self.pick(&names).to_owned();
        for _ in 0..self.below(3) {
            path = format!("{path}/{}", self.pick(&names));
        }
        path
    }

    /// A layer of some entries that contradict each other often.
    pub(crate) fn layer(&mut self, entries: usize) -> RawTar {
        let mut tar = RawTar::default();
        for at in 0..entries {
            let path = self.path();
            let (dir, name) = path.rsplit_once('/').unwrap_or((".", &path));
            tar = match self.below(16) {
                0..=3 => tar.file(&path, &format!("text {at}")),
                4..=7 => tar.dir(&format!("{path}/"), [0o755, 0o700, 0o1777][self.below(3)]),
                8 | 9 => {
                    let target = self.path();
                    let target = match self.below(4) {
                        0 => format!("/{target}"),
                        1 => format!("../{target}"),
                        2 => format!("../../../{target}"),
                        _ => target,
                    };
                    tar.link(&path, &target)
                }
                10 => tar.hard(&path, &self.path()),
                11..=13 => tar.file(&format!("{dir}/.wh.{name}"), ""),
                14 => tar.file(&format!("{path}/.wh..wh..opq"), ""),
                _ => tar.raw(b'6', &path, "", 0o600, 0, b""),
            };
        }
        tar
    }
}

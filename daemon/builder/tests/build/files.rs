//! Files to be sent as a context, or to be put into a base image.

use std::sync::Arc;

use mica_layer::{
    Change, Changes, Content, ImagePath, Kind, LinkKey, Meta, Mtime, Policy, Source, TimePolicy, XattrPolicy,
    Xattrs, pack,
};

/// When the files of tests were made, in seconds since 1970.
pub(crate) const LONG_AGO: i64 = 1_000_000_000;

/// Files by path; directories above them come by themselves.
#[derive(Clone, Default)]
pub(crate) struct Files(Changes);

pub(crate) fn path(text: &str) -> ImagePath {
    ImagePath::clamped(text.as_bytes())
}

fn meta(kind: Kind, mode: u32) -> Meta {
    Meta {
        kind,
        mode,
        uid: 0,
        gid: 0,
        mtime: Mtime {
            seconds: LONG_AGO,
            nanoseconds: 0,
        },
        xattrs: Xattrs::new(),
    }
}

impl Files {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    fn put(mut self, name: &str, meta: Meta, source: Source, link: Option<(u32, LinkKey)>) -> Self {
        let name = path(name);
        for above in name.ancestors() {
            self.0.entry(above).or_insert_with(|| Change::Node {
                meta: crate::files::meta(Kind::Directory, 0o755),
                source: Source::Empty,
                content: None,
                link: None,
                opaque: false,
            });
        }
        let node = Change::Node {
            meta,
            source,
            content: None,
            link,
            opaque: false,
        };
        self.0.insert(name, node);
        self
    }

    pub(crate) fn file(self, name: &str, text: impl AsRef<[u8]>) -> Self {
        self.linked(name, text, None)
    }

    /// A file that shares its bytes and its number with all others of the same `group`.
    pub(crate) fn hard(self, name: &str, text: &str, group: u64) -> Self {
        self.linked(name, text, Some((0, LinkKey::Offset(group))))
    }

    fn linked(self, name: &str, text: impl AsRef<[u8]>, link: Option<(u32, LinkKey)>) -> Self {
        let text = text.as_ref();
        let kind = Kind::File {
            size: text.len() as u64,
        };
        self.put(
            name,
            meta(kind, 0o644),
            Source::Content(Content::Bytes(Arc::from(text))),
            link,
        )
    }

    pub(crate) fn dir(self, name: &str) -> Self {
        self.put(name, meta(Kind::Directory, 0o755), Source::Empty, None)
    }

    pub(crate) fn link(self, name: &str, target: &str) -> Self {
        let target = target.as_bytes().to_vec();
        self.put(name, meta(Kind::Symlink { target }, 0o777), Source::Empty, None)
    }

    pub(crate) fn node(self, name: &str, kind: Kind) -> Self {
        self.put(name, meta(kind, 0o644), Source::Empty, None)
    }

    /// Changes what is known of a file.
    pub(crate) fn with(mut self, name: &str, change: impl FnOnce(&mut Meta)) -> Self {
        match self.0.get_mut(&path(name)) {
            Some(Change::Node { meta, .. }) => change(meta),
            _ => panic!("no {name}"),
        }
        self
    }

    pub(crate) fn mode(self, name: &str, mode: u32) -> Self {
        self.with(name, |meta| meta.mode = mode)
    }

    pub(crate) fn owner(self, name: &str, uid: u32, gid: u32) -> Self {
        self.with(name, |meta| (meta.uid, meta.gid) = (uid, gid))
    }

    pub(crate) fn time(self, name: &str, seconds: i64) -> Self {
        self.with(name, |meta| meta.mtime.seconds = seconds)
    }

    pub(crate) fn xattr(self, name: &str, key: &str, value: &str) -> Self {
        self.with(name, |meta| {
            meta.xattrs.insert(key.into(), value.into());
        })
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        let name = path(name);
        self.0.retain(|path, _| !path.starts_with(&name));
        self
    }

    pub(crate) fn changes(&self) -> &Changes {
        &self.0
    }

    /// As a tar with everything in it.
    pub(crate) fn tar(&self) -> Vec<u8> {
        let policy = Policy {
            xattrs: XattrPolicy::All,
            times: TimePolicy::Nanoseconds,
            clamp: None,
        };
        let mut tar = Vec::new();
        pack(&self.0, &policy, &mut tar, None).unwrap();
        tar
    }
}

/// A tar put together by hand, honest or not.
#[derive(Default)]
pub(crate) struct RawTar(Vec<u8>);

impl RawTar {
    /// One entry; `kind` is the type flag of ustar.
    pub(crate) fn entry(mut self, name: &str, kind: u8, link: &str, data: &[u8]) -> Self {
        let mut header = [0; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        let mode = if kind == b'5' { "0000755" } else { "0000644" };
        header[100..107].copy_from_slice(mode.as_bytes());
        header[108..115].copy_from_slice(b"0000007");
        header[116..123].copy_from_slice(b"0000010");
        header[124..135].copy_from_slice(format!("{:011o}", data.len()).as_bytes());
        header[136..147].copy_from_slice(format!("{LONG_AGO:011o}").as_bytes());
        header[156] = kind;
        header[157..157 + link.len()].copy_from_slice(link.as_bytes());
        header[257..265].copy_from_slice(b"ustar\x0000");
        if matches!(kind, b'3' | b'4') {
            header[329..336].copy_from_slice(b"0000001");
            header[337..344].copy_from_slice(b"0000003");
        }
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend_from_slice(&header);
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn dir(self, name: &str) -> Self {
        self.entry(name, b'5', "", b"")
    }

    pub(crate) fn file(self, name: &str, text: &str) -> Self {
        self.entry(name, b'0', "", text.as_bytes())
    }

    pub(crate) fn symlink(self, name: &str, target: &str) -> Self {
        self.entry(name, b'2', target, b"")
    }

    pub(crate) fn hardlink(self, name: &str, target: &str) -> Self {
        self.entry(name, b'1', target, b"")
    }

    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

//! Any bytes as a tar, compressed or not: all ways of reading see the same entries, and what is indexed can be packed so that it is indexed the same.
#![no_main]

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read, Write};
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use mica_layer::{
    Change, Changes, Finding, ImagePath, IndexOptions, LayerView, LinkKey, Meta, Policy, Source, TarEntry,
    TarIndex, TarReader, TarView, TimePolicy, XattrPolicy, decompress, pack,
};

/// More content of a file is not read.
const CONTENT: u64 = 1 << 20;

fuzz_target!(|data: &[u8]| {
    let Ok((reader, _)) = decompress(data) else { return };
    let mut tar = Vec::new();
    if reader.take(CONTENT).read_to_end(&mut tar).is_err() {
        return;
    }
    read_all_ways(&tar);
    repair_checksums(&mut tar);
    read_all_ways(&tar);
    for whiteouts in [false, true] {
        pack_again(&tar, whiteouts);
    }
});

/// Makes headers of all blocks, or hardly any change would come through.
fn repair_checksums(tar: &mut [u8]) {
    for block in tar.chunks_exact_mut(512) {
        if block.iter().any(|b| *b != 0) {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
            block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        }
    }
}

/// Gives few bytes at a time.
struct Drip<'a>(&'a [u8]);

impl Read for Drip<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let most = buf.len().min(7);
        self.0.read(&mut buf[..most])
    }
}

fn read_all_ways(tar: &[u8]) {
    let (read, read_ended) = entries(TarReader::new(tar), true);
    let (skipped, skipped_ended) = entries(TarReader::new(tar), false);
    let (sought, sought_ended) = entries(TarReader::seekable(Cursor::new(tar)), false);
    let (dripped, dripped_ended) = entries(TarReader::new(Drip(tar)), true);
    assert_eq!(format!("{read:?}"), format!("{skipped:?}"));
    assert_eq!(format!("{read:?}"), format!("{sought:?}"));
    assert_eq!(format!("{read:?}"), format!("{dripped:?}"));
    assert_eq!([skipped_ended, sought_ended, dripped_ended], [read_ended; 3]);
}

/// All entries, and whether they ended without an error.
fn entries<R: Read>(mut reader: TarReader<R>, read: bool) -> (Vec<TarEntry>, bool) {
    let mut entries = Vec::new();
    let mut last = 0;
    loop {
        let entry = match reader.next_entry() {
            Ok(Some(entry)) => entry,
            ended => return (entries, ended.is_ok()),
        };
        assert!(entry.header_offset >= last && entry.data_offset > entry.header_offset);
        last = entry.data_offset;
        let size = entry.meta.size();
        entries.push(entry);
        if read {
            match io::copy(&mut (&mut reader).take(CONTENT), &mut io::sink()) {
                Ok(n) => assert_eq!(n, size.min(CONTENT)),
                Err(_) => return (entries, false),
            }
        }
    }
}

fn index(tar: &[u8], whiteouts: bool) -> Option<TarView> {
    let options = IndexOptions {
        hash_contents: false,
        whiteouts,
    };
    let index = TarIndex::scan(tar, options).ok()?;
    let mut file = tempfile::tempfile().expect("a temporary file can be made");
    file.write_all(tar).expect("a temporary file can be written");
    let file = fs_err::File::from_parts(file, "tar");
    Some(TarView::new(Arc::new(file), Arc::new(index), 0))
}

fn pack_again(tar: &[u8], whiteouts: bool) {
    let Some(view) = index(tar, whiteouts) else { return };
    let told = tree(&view);
    let device = |meta: &Meta| {
        matches!(
            meta.kind,
            mica_layer::Kind::CharDevice { .. } | mica_layer::Kind::BlockDevice { .. }
        )
    };
    let mut devices = false;
    let mut changes = Changes::new();
    for (path, (finding, _)) in &told {
        let change = match finding {
            Finding::Silent => continue,
            Finding::Whiteout => Change::Whiteout,
            Finding::Node { node, .. } if node.meta.size() > CONTENT => return,
            Finding::Node { node, opaque } => {
                devices |= device(&node.meta);
                Change::Node {
                    meta: node.meta.clone(),
                    source: Source::Layer(Arc::new(view.clone()), path.clone()),
                    content: None,
                    link: node.link.clone().map(|key| (0, key)),
                    opaque: *opaque,
                }
            }
        };
        changes.insert(path.clone(), change);
    }
    let policy = Policy {
        xattrs: XattrPolicy::All,
        times: TimePolicy::Nanoseconds,
        clamp: None,
    };
    let mut out = Vec::new();
    if let Err(error) = pack(&changes, &policy, &mut out, None) {
        // numbers of devices go further in a header than on any system
        assert!(devices, "{error}");
        return;
    }
    let again = index(&out, true).expect("what was packed can be read");
    assert_eq!(normal(told), normal(tree(&again)));
}

type Tree = BTreeMap<ImagePath, (Finding, Vec<u8>)>;

/// What a view shows, walked by its directories; the root and what cannot be packed left out.
fn tree(view: &TarView) -> Tree {
    let mut tree = Tree::new();
    let mut ahead = vec![ImagePath::root()];
    while let Some(directory) = ahead.pop() {
        for name in view.names(&directory).expect("an index answers") {
            let path = directory.join(&name.name);
            if name.name.starts_with(b".wh.") {
                continue;
            }
            let mut finding = view.find(&path).expect("an index answers");
            if let Finding::Node { node, .. } = &finding
                && node.meta.kind == (mica_layer::Kind::CharDevice { major: 0, minor: 0 })
            {
                // how overlayfs keeps a whiteout, so that a layer cannot hold one as a device
                finding = Finding::Whiteout;
            }
            let mut content = Vec::new();
            match &finding {
                Finding::Silent => panic!("{path} is named and not there"),
                Finding::Whiteout => {}
                Finding::Node { node, .. } if node.meta.is_directory() => ahead.push(path.clone()),
                Finding::Node { node, .. } if matches!(node.meta.kind, mica_layer::Kind::File { .. }) => {
                    let reader = view.open(&path).expect("a file can be opened").reader();
                    reader
                        .take(CONTENT)
                        .read_to_end(&mut content)
                        .expect("a file can be read");
                    assert_eq!(content.len() as u64, node.meta.size().min(CONTENT));
                }
                Finding::Node { .. } => {}
            }
            tree.insert(path, (finding, content));
        }
    }
    tree
}

/// The same with links named by the first path of each file, if there is a second.
fn normal(mut tree: Tree) -> Tree {
    let mut groups: BTreeMap<LinkKey, Vec<ImagePath>> = BTreeMap::new();
    for (path, (finding, _)) in &tree {
        if let Finding::Node { node, .. } = finding {
            node.link
                .iter()
                .for_each(|key| groups.entry(key.clone()).or_default().push(path.clone()));
        }
    }
    let places: Vec<_> = tree.keys().cloned().collect();
    for (finding, _) in tree.values_mut() {
        if let Finding::Node { node, .. } = finding {
            let group = node
                .link
                .take()
                .map(|key| &groups[&key])
                .filter(|group| group.len() > 1);
            node.link = group.map(|group| {
                let place = places.binary_search(&group[0]).expect("it came from there");
                LinkKey::Offset(place as u64)
            });
        }
    }
    tree
}

//! Any bytes as the tar of a layer, unpacked as root: nothing beside the tree changes, and what was unpacked is what reading the tar in place shows.
#![no_main]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use libfuzzer_sys::fuzz_target;
use mica_layer::{
    DirView, ImagePath, IndexOptions, Kind, LayerView, Root, Stack, Step, TarIndex, TarView, TreeWriter,
    apply, decompress,
};

/// More of a tar is not read.
const LENGTH: u64 = 1 << 20;
/// What lies beside the tree.
const CANARY: &str = "sings";

fuzz_target!(|data: &[u8]| {
    let Ok((reader, _)) = decompress(data) else { return };
    let mut tar = Vec::new();
    if reader.take(LENGTH).read_to_end(&mut tar).is_err() {
        return;
    }
    unpack(&tar);
    repair_checksums(&mut tar);
    unpack(&tar);
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

/// A yard of this process; the tree in it is made anew each time.
fn yard() -> &'static Path {
    static YARD: OnceLock<tempfile::TempDir> = OnceLock::new();
    let yard = YARD.get_or_init(|| {
        let yard = tempfile::tempdir().expect("a temporary folder can be made");
        std::fs::write(yard.path().join("canary"), CANARY).expect("a file can be written");
        std::fs::create_dir(yard.path().join("beside")).expect("a folder can be made");
        yard
    });
    yard.path()
}

/// All of what lies beside the tree, times included.
fn beside() -> Vec<String> {
    let mut all = Vec::new();
    for name in ["canary", "beside", "."] {
        let path = yard().join(name);
        let meta = std::fs::symlink_metadata(&path).expect("it is there");
        // the yard itself changes when the tree comes and goes
        let changed = (name != ".").then(|| (meta.ctime(), meta.ctime_nsec()));
        all.push(format!("{name} {:o} {} {changed:?}", meta.mode(), meta.uid()));
    }
    let mut names: Vec<_> = std::fs::read_dir(yard())
        .expect("it is there")
        .map(|entry| format!("{:?}", entry.expect("it can be read").file_name()))
        .collect();
    names.sort();
    names.retain(|name| name != "\"tree\"" && name != "\"tar\"");
    all.extend(names);
    all.push(std::fs::read_to_string(yard().join("canary")).expect("it is there"));
    all
}

fn unpack(tar: &[u8]) {
    let tree = yard().join("tree");
    let before = beside();
    std::fs::create_dir(&tree).expect("a folder can be made");
    let root = Root::open(&tree).expect("a tree can be opened");
    let applied = apply(tar, TreeWriter::new(root));
    assert_eq!(before, beside(), "something beside the tree changed");
    if let Ok(applied) = &applied {
        assert_eq!(applied.size, tar.len() as u64);
        compare(tar, &tree);
    }
    drop(applied);
    mica_layer::remove_tree(&tree).expect("what was unpacked can be removed");
    assert_eq!(before, beside(), "removing the tree removed more");
}

fn compare(tar: &[u8], tree: &Path) {
    let options = IndexOptions {
        hash_contents: false,
        whiteouts: true,
    };
    let index = TarIndex::scan(tar, options).expect("what was unpacked can be indexed");
    let mut file = tempfile::tempfile().expect("a temporary file can be made");
    file.write_all(tar).expect("a temporary file can be written");
    let file = fs_err::File::from_parts(file, "tar");
    let read = TarView::new(Arc::new(file), Arc::new(index), 0);
    let unpacked = DirView::open(tree).expect("what was unpacked can be read");
    assert_eq!(listing(Arc::new(read)), listing(Arc::new(unpacked)));
}

/// All files in words, the root left out.
fn listing(view: Arc<dyn LayerView>) -> BTreeMap<String, String> {
    let stack = Stack::new(vec![view]);
    let mut list = BTreeMap::new();
    let walked = stack.walk(&ImagePath::root(), &mut |path, found| {
        if path.is_root() {
            return Ok(Step::Into);
        }
        let meta = &found.node.meta;
        let mut text = format!("{:?} {}:{}", meta.kind, meta.uid, meta.gid);
        if !matches!(meta.kind, Kind::Symlink { .. }) {
            text += &format!(" {:o}", meta.mode);
        }
        if let Kind::File { size } = meta.kind
            && size <= LENGTH
        {
            let mut bytes = Vec::new();
            stack
                .open(path)?
                .reader()
                .read_to_end(&mut bytes)
                .expect("it can be read");
            text += &format!(" {bytes:?}");
        }
        list.insert(path.to_string(), text);
        Ok(Step::Into)
    });
    walked.expect("a view can be walked");
    list
}

//! Every change that the store makes to the disk goes through one place, where tests can watch it and let it fail.

use std::path::{Path, PathBuf};

/// Where the changes are made.
const THE_PLACE: [&str; 2] = ["store/layer/src/disk.rs", "store/layer/src/disk/recorded.rs"];

/// Words that change a disk, or open a file so that it can be changed.
const CHANGES: [&str; 30] = [
    "File::create",
    "File::options",
    "OpenOptions",
    "DirBuilder",
    "OFlags::CREATE",
    "OFlags::RDWR",
    "OFlags::TRUNC",
    "OFlags::WRONLY",
    "OFlags::APPEND",
    "OFlags::TMPFILE",
    "fs::write(",
    "fs::copy(",
    "fs::rename(",
    "fs::create_dir",
    "fs::remove_",
    "fs::hard_link(",
    "fs::soft_link(",
    "fs::symlink(",
    "fs::set_permissions(",
    "fs::chown",
    "fs::lchown",
    ".set_len(",
    ".set_permissions(",
    ".set_modified(",
    ".set_times(",
    ".sync_all(",
    ".sync_data(",
    "::write_at(",
    "Command::new",
    "libc::",
];

/// Calls of rustix that change nothing.
const LOOKS: [&str; 21] = [
    "fadvise",
    "fgetxattr",
    "flock",
    "fstat",
    "fstatfs",
    "fstatvfs",
    "getxattr",
    "getxattr_query",
    "lgetxattr",
    "listxattr",
    "listxattr_query",
    "llistxattr",
    "makedev",
    "open",
    "openat",
    "openat2",
    "readlinkat",
    "seek",
    "stat",
    "statat",
    "statx",
];

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

/// What of a line changes a disk.
fn change(line: &str) -> Option<String> {
    let code = line.split("//").next().unwrap_or_default();
    // it has the names of std::fs
    let code = &code.replace("fs_err::", "fs::");
    if let Some(word) = CHANGES.iter().find(|word| code.contains(**word)) {
        // our own is called like rustix' and leads to the place
        let ours = code.contains("disk::write_at(");
        return (!ours).then(|| (*word).to_owned());
    }
    for module in ["rustix::fs::", "rustix::io::"] {
        for (at, _) in code.match_indices(module) {
            let rest = &code[at + module.len()..];
            // several at once, as an import has them
            let names = rest.strip_prefix('{').unwrap_or(rest);
            let names = names.split(['}', ';']).next().unwrap_or_default().split(',');
            for name in names.take(if rest.starts_with('{') { usize::MAX } else { 1 }) {
                let end = name
                    .trim()
                    .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                    .unwrap_or(name.trim().len());
                let name = &name.trim()[..end];
                if name.starts_with(|c: char| c.is_ascii_lowercase()) && !LOOKS.contains(&name) {
                    return Some(format!("{module}{name}"));
                }
            }
        }
    }
    None
}

#[test]
fn the_store_changes_the_disk_in_one_place() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = Vec::new();
    for folder in ["store/src", "store/layer/src"] {
        sources(&top.join(folder), &mut files);
    }
    let mut found = Vec::new();
    for file in &files {
        let name = file.strip_prefix(&top).unwrap();
        if THE_PLACE.iter().any(|place| name == Path::new(place)) {
            continue;
        }
        let text = std::fs::read_to_string(file).unwrap();
        // tests of a file stand at its end
        let lines = text.lines().take_while(|line| line.trim() != "#[cfg(test)]");
        for (number, line) in lines.enumerate() {
            if let Some(word) = change(line) {
                found.push(format!(
                    "{}:{}: {word}: {}",
                    name.display(),
                    number + 1,
                    line.trim()
                ));
            }
        }
    }
    assert!(files.len() > 80, "where are the sources?");
    assert!(
        found.is_empty(),
        "call store/layer/src/disk.rs instead:\n{}",
        found.join("\n")
    );
}

#[test]
fn a_change_is_known_when_it_is_seen() {
    for line in [
        "let file = File::create(&next)?;",
        "        rustix::fs::fchmod(fd.as_fd(), Mode::RWXU)",
        "    done += rustix::io::pwrite(file, &buffer[done..n], at)?;",
        "use rustix::fs::{AtFlags, renameat};",
        "std::fs::remove_dir_all(place)?;",
        "file.sync_all()?;",
        "fs_err::rename(from, to)?;",
        "    fs_err::write(&path, bytes)?;",
        "fs_err::create_dir_all(folder)?;",
        "fs_err::remove_file(&path)?;",
    ] {
        assert!(change(line).is_some(), "{line}");
    }
    for line in [
        "// fs::rename(from, to)",
        "let stat = rustix::fs::fstat(fd)?.st_mode;",
        "use rustix::fs::{FileType, Gid, Mode, OFlags, Uid};",
        "fn names(dir: OwnedFd) -> rustix::io::Result<Vec<u8>> {",
        "disk::rename(from, to)?;",
        "let bytes = fs_err::read(&path)?;",
        "fs_err::symlink_metadata(&path)?;",
    ] {
        assert!(change(line).is_none(), "{line}");
    }
}

//! Where results go: into the store, or to the client as files and tars.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use mica_tests::{Context, run};

use crate::client::Client;

fn context() -> Context {
    let context = Context::with_shell(
        "FROM base\nCOPY f /a/f\nRUN chown 12:34 /a/f; chmod 4751 /a/f; touch -d @1000 /a/f; ln -s f /a/link; ln /a/f /a/hard; mkfifo /a/pipe\n",
    );
    context.file("f", "x")
}

/// What there is below a folder: kind and permission bits, owner, target or text, for each path.
fn tree(folder: &Path) -> BTreeMap<String, (u32, u32, u32, String)> {
    let listed = run(Command::new("find")
        .arg(folder)
        .args(["-mindepth", "1", "-printf", "%P\n"]))
    .ok();
    let mut tree = BTreeMap::new();
    for name in listed.stdout.lines() {
        let path = folder.join(name);
        let meta = path.symlink_metadata().unwrap();
        let content = match meta.file_type() {
            kind if kind.is_symlink() => fs_err::read_link(&path).unwrap().to_str().unwrap().to_owned(),
            kind if kind.is_file() && meta.len() < 100 => fs_err::read_to_string(&path).unwrap(),
            _ => String::new(),
        };
        tree.insert(name.to_owned(), (meta.mode(), meta.uid(), meta.gid(), content));
    }
    tree
}

/// Unpacks a tar as it is.
fn unpack(tar: &Path, to: &Path) {
    fs_err::create_dir_all(to).unwrap();
    run(Command::new("tar").arg("-C").arg(to).args(["-xpf"]).arg(tar)).ok();
}

#[test]
fn files_and_tars_are_what_the_image_holds() {
    let Some(client) = Client::start() else { return };
    let (context, folder) = (context(), client.daemon.folder());
    client.build(["-t", "x", "--load", context.arg()]).ok();
    let saved = folder.join("saved.tar");
    run(&mut client.docker(["save", "-o", "saved.tar", "x"])).ok();
    let image = folder.join("image");
    unpack(&saved, &folder.join("archive"));
    let manifest = client.json("archive/manifest.json");
    for layer in manifest[0]["Layers"].as_array().unwrap() {
        unpack(&folder.join("archive").join(layer.as_str().unwrap()), &image);
    }
    let expected = tree(&image);
    assert_eq!(expected["a/f"], (0o104_751, 12, 34, "x".to_owned()));

    client.build(["-o", "short", context.arg()]).ok();
    client.build(["-o", "type=local,dest=long", context.arg()]).ok();
    client.build(["-o", "type=tar,dest=out.tar", context.arg()]).ok();
    unpack(&folder.join("out.tar"), &folder.join("tar"));
    for (name, option) in [("dash", "-"), ("stdout", "type=tar,dest=-")] {
        let file = fs_err::File::create(folder.join("stdout.tar")).unwrap();
        let mut build = client.buildx(["build", "-o", option, context.arg()]);
        assert!(build.stdout(file.into_file()).status().unwrap().success());
        unpack(&folder.join("stdout.tar"), &folder.join(name));
    }
    let (uid, gid) = (
        rustix::process::getuid().as_raw(),
        rustix::process::getgid().as_raw(),
    );
    for name in ["short", "long", "tar", "dash", "stdout"] {
        let mut expected = expected.clone();
        if matches!(name, "short" | "long") {
            // the client makes the files its own
            for file in expected.values_mut() {
                (file.1, file.2) = (uid, gid);
            }
        }
        assert_eq!(tree(&folder.join(name)), expected, "{name}");
        let meta = folder.join(name).join("a/f").symlink_metadata().unwrap();
        assert_eq!(meta.mtime(), 1000, "{name}");
        assert_eq!(meta.nlink(), 2, "{name}");
    }
}

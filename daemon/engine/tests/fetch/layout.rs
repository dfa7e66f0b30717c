//! Images of OCI layouts as named contexts.

use std::io::Cursor;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use mica_engine::{Input, Source};
use mica_layer::{Kind, TarReader};
use mica_task::Cancel;

use crate::world::{World, tar};

/// Builds an image elsewhere and puts it into a folder as an OCI layout.
fn layout(world: &World, tag: Option<&str>) -> PathBuf {
    let other = World::new();
    let context = tar(&[("Dockerfile", "FROM scratch\nCOPY f /\nENV A=b\n"), ("f", "laid")]);
    let request = mica_engine::BuildRequest {
        tags: tag.map(|tag| tag.parse().unwrap()).into_iter().collect(),
        ..Default::default()
    };
    let input = Input::of(Source::Tar(Box::new(Cursor::new(context))));
    let silent = mica_task::Reporter::new(|_| {});
    let built = other.engine.build(request, input, silent, Cancel::new()).unwrap();
    let name = tag.map_or_else(|| built.image.to_string(), str::to_owned);
    let saving = other.engine.prepare_save(&[name], None).unwrap();
    let mut archive = Vec::new();
    other.engine.save(&saving, &mut archive).unwrap();
    let folder = world.folder.path().join("layout");
    unpack(archive, &folder);
    folder
}

fn unpack(archive: Vec<u8>, folder: &Path) {
    let mut tar = TarReader::new(Cursor::new(archive));
    while let Some(entry) = tar.next_entry().unwrap() {
        let path = folder.join(String::from_utf8(entry.path.clone()).unwrap());
        match entry.meta.kind {
            Kind::Directory => fs_err::create_dir_all(path).unwrap(),
            _ => {
                fs_err::create_dir_all(path.parent().unwrap()).unwrap();
                std::io::copy(&mut tar, &mut fs_err::File::create(path).unwrap()).unwrap();
            }
        }
    }
}

fn build(world: &World, folder: &Path, image: Option<&str>) -> Result<crate::world::Files, String> {
    let source = Source::Layout {
        folder: OwnedFd::from(std::fs::File::open(folder).unwrap()),
        image: image.map(str::to_owned),
    };
    let context = tar(&[("Dockerfile", "FROM lay\nCOPY --from=lay f /copy\n")]);
    world.build_input(Input {
        named: vec![("lay".to_owned(), source)],
        ..Input::of(Source::Tar(Box::new(Cursor::new(context))))
    })
}

#[test]
fn an_image_is_taken_in_without_its_name() {
    let world = World::new();
    let folder = layout(&world, Some("laid:v1"));
    let files = build(&world, &folder, Some("v1")).unwrap();
    assert_eq!(
        (files["f"].2.as_str(), files["copy"].2.as_str()),
        ("laid", "laid")
    );
    assert!(world.engine.prepare_save(&["laid:v1".to_owned()], None).is_err());
    assert_eq!(build(&world, &folder, None).unwrap(), files);
    let error = build(&world, &folder, Some("v2")).unwrap_err();
    assert!(error.contains("it has no image v2"), "{error}");
}

#[test]
fn what_is_not_what_it_says_is_refused() {
    let world = World::new();
    let folder = layout(&world, None);
    let blobs = folder.join("blobs/sha256");
    for entry in fs_err::read_dir(&blobs).unwrap() {
        let path = entry.unwrap().path();
        let before = fs_err::read(&path).unwrap();
        let mut bytes = before.clone();
        *bytes.last_mut().unwrap() ^= 1;
        fs_err::write(&path, bytes).unwrap();
        let error = build(&world, &folder, None).unwrap_err();
        assert!(error.contains("--build-context lay"), "{error}");
        fs_err::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
        build(&world, &folder, None).unwrap_err();
        fs_err::remove_file(&path).unwrap();
        fs_err::write(&path, before).unwrap();
    }
    build(&world, &folder, None).unwrap();
    let empty = world.folder.path().join("empty");
    fs_err::create_dir(&empty).unwrap();
    let error = build(&world, &empty, None).unwrap_err();
    assert!(error.contains("cannot use the OCI layout: index.json"), "{error}");
}

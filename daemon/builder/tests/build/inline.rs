//! The cache inside an image.

use mica_builder::Options;
use mica_builder::ports::BaseImage;
use mica_oci::{ImageConfig, ImageId};

use crate::files::Files;
use crate::world::{World, args, options};

const DOCKERFILE: &str = "FROM base\nRUN [\"write a a\"]\nCOPY f /f\nENV X=1\nRUN [\"write b b\"]\n";

fn forget_all(world: &World) {
    world.store.prune_cache(&mut |_| true).unwrap();
}

/// Builds with a cache inside, gives the image a name and forgets how it was made.
fn world() -> (World, ImageConfig) {
    let world = World::with_base(Files::new());
    let inline = args(&[("BUILDKIT_INLINE_CACHE", "1")]);
    let image = world.make_with(&inline, DOCKERFILE, &files());
    let base = BaseImage {
        manifest: None,
        id: ImageId(mica_oci::Digest::of(b"earlier")),
        config: image.config.clone(),
        layers: image.layers.clone(),
    };
    world.images.lock().unwrap().insert("earlier".into(), base);
    forget_all(&world);
    (world, image.config)
}

fn files() -> Files {
    Files::new().file("f", "f")
}

fn from(names: &[&str]) -> Options {
    Options {
        cache_from: names.iter().map(|name| (*name).to_owned()).collect(),
        ..options()
    }
}

#[test]
fn an_image_brings_the_steps_it_was_made_by() {
    let (world, config) = world();
    let image = world.make_with(&from(&["missing", "earlier"]), DOCKERFILE, &files());
    assert!(world.ran.lock().unwrap().is_empty());
    assert_eq!(image.layers, config.rootfs.diff_ids);
    // what is not the same is done
    forget_all(&world);
    world.make_with(&from(&["earlier"]), DOCKERFILE, &Files::new().file("f", "other"));
    assert_eq!(world.commands(), ["write b b"]);
}

#[test]
fn it_is_written_only_if_it_is_asked_for_and_not_inherited() {
    let (world, config) = world();
    assert_eq!(config.extra["mica.cache.v1"].as_array().unwrap().len(), 3);
    let on_top = world.make("FROM earlier\nENV Y=1\n", &Files::new());
    assert!(on_top.config.extra.is_empty(), "{:?}", on_top.config.extra);
}

#[test]
fn nonsense_inside_an_image_is_left_aside() {
    let (world, config) = world();
    let mut lying = config;
    let list = lying
        .extra
        .get_mut("mica.cache.v1")
        .unwrap()
        .as_array_mut()
        .unwrap();
    list.insert(0, serde_json::json!([1_u64 << 40, "sha256:x", "y"]));
    list.insert(0, serde_json::json!("z"));
    list[2][0] = serde_json::json!(99);
    let layers = lying.rootfs.diff_ids.clone();
    let image = BaseImage {
        manifest: None,
        id: ImageId(mica_oci::Digest::of(b"l")),
        config: lying,
        layers,
    };
    world.images.lock().unwrap().insert("lying".into(), image);
    world.make_with(&from(&["lying"]), DOCKERFILE, &files());
    // what follows is found only if the file was written in the same second
    assert_eq!(world.commands()[0], "write a a");
}

//! Registries that lie: refused in one clear line, with nothing left in the store.

use mica_tests::registry::{Act, Fault, Kind, Options as RegistryOptions};
use mica_tests::servers::SlowProxy;
use mica_tests::{Context, Daemon, FakeRegistry, Options, Ran};

/// A registry with one image that was pushed to it, and the image's name.
fn with_image(registry: &FakeRegistry) -> String {
    let name = format!("{}/victim:1", registry.host());
    let daemon = Daemon::start();
    let context = Context::new("FROM scratch\nCOPY f /f\n").file("f", &"some text ".repeat(10_000));
    daemon.mica(["build", "-q", "-t", &name, context.arg()]).ok();
    daemon.mica(["push", "-q", &name]).ok();
    name
}

/// Something goes wrong with the first layer; the config comes before it.
fn layer(act: Act) -> [Fault; 2] {
    let nothing = Act::Header("x-config", "as it is".to_owned());
    [Fault::new(Kind::Blob, nothing), Fault::new(Kind::Blob, act)]
}

/// A pull that is refused with `words`, after which the store is as empty as before.
#[track_caller]
fn refused(daemon: &Daemon, args: &[&str], words: &[&str]) -> Ran {
    let pulled = daemon.mica(args);
    assert_eq!(pulled.code, 1, "{}{}", pulled.stdout, pulled.stderr);
    let last = pulled
        .stderr
        .lines()
        .rev()
        .find(|line| !line.starts_with("  - "))
        .unwrap_or_default()
        .to_owned();
    for word in words {
        assert!(last.contains(word), "{word}: {}", pulled.stderr);
    }
    assert!(daemon.mica(["images", "-aq"]).ok().stdout.is_empty());
    let partial = daemon.root().join("mica/partial");
    let left: Vec<_> = fs_err::read_dir(partial).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    pulled
}

#[test]
fn a_layer_with_another_digest() {
    let registry = FakeRegistry::start();
    let name = with_image(&registry);
    let daemon = Daemon::start();
    registry.script(layer(Act::WrongBody));
    refused(
        &daemon,
        &["pull", &name],
        &["is not what it should be", "digest", "expected"],
    );
    daemon.mica(["pull", "-q", &name]).ok();
}

#[test]
fn a_layer_that_is_longer_than_it_should_be() {
    let registry = FakeRegistry::start();
    let name = with_image(&registry);
    let daemon = Daemon::start();
    registry.script(layer(Act::LongBody));
    refused(
        &daemon,
        &["pull", &name],
        &["not of the promised size", "more came"],
    );
    daemon.mica(["pull", "-q", &name]).ok();
}

#[test]
fn a_manifest_of_five_mib() {
    let registry = FakeRegistry::start();
    let name = with_image(&registry);
    let daemon = Daemon::start();
    registry.script([Fault::new(Kind::Manifest, Act::HugeManifest)]);
    refused(
        &daemon,
        &["pull", &name],
        &["larger than the limit of 4194304 bytes"],
    );
}

#[test]
fn a_redirect_into_somebody_s_network() {
    let registry = FakeRegistry::start();
    let name = with_image(&registry);
    let daemon = Daemon::start();
    for address in ["http://169.254.169.254/latest/meta-data", "http://10.0.0.7/x"] {
        registry.script([Fault::new(Kind::Manifest, Act::Redirect(address.to_owned()))]);
        let host = address.split('/').nth(2).unwrap();
        refused(&daemon, &["pull", &name], &["redirect", host, "refused"]);
    }
}

#[test]
fn a_token_realm_on_a_private_address() {
    let registry = FakeRegistry::with(RegistryOptions {
        door: Some(mica_tests::registry::Door::Bearer),
        realm: Some("https://192.168.1.1/token".to_owned()),
        ..RegistryOptions::default()
    });
    let daemon = Daemon::start();
    let name = format!("{}/victim:1", registry.host());
    refused(
        &daemon,
        &["pull", &name],
        &["token realm", "192.168.1.1", "refused"],
    );
}

#[test]
fn a_config_that_claims_other_layers() {
    let registry = FakeRegistry::start();
    let name = with_image(&registry);
    let (media_type, manifest) = registry.manifest("victim", "1").unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let config = registry
        .blob("victim", manifest["config"]["digest"].as_str().unwrap())
        .unwrap();
    let mut config: serde_json::Value = serde_json::from_slice(&config).unwrap();
    config["rootfs"]["diff_ids"][0] = serde_json::json!(format!("sha256:{}", "ab".repeat(32)));
    let config = serde_json::to_vec(&config).unwrap();
    let mut lying = manifest.clone();
    lying["config"]["digest"] = registry.put_blob("liar", &config).into();
    lying["config"]["size"] = config.len().into();
    let layer = manifest["layers"][0]["digest"].as_str().unwrap();
    registry.put_blob("liar", &registry.blob("victim", layer).unwrap());
    registry.put_manifest(
        "liar",
        Some("1"),
        &media_type,
        &serde_json::to_vec(&lying).unwrap(),
    );

    // what it holds is only claimed until somebody looks, and then it is refused
    let daemon = Daemon::start();
    let liar = format!("{}/liar:1", registry.host());
    daemon.mica(["pull", "-q", &liar]).ok();
    let context = Context::new(&format!("FROM {liar}\nRUN [\"/f\"]\n"));
    let built = daemon.mica(["build", "-t", "x", context.arg()]);
    assert_ne!(built.code, 0);
    assert!(built.stderr.contains(&"ab".repeat(32)), "{}", built.stderr);
    // and the honest image with the same blob is none the worse
    daemon.mica(["pull", "-q", &name]).ok();
    let archive = daemon.folder().join("x.tar");
    daemon.mica(["save", "-o", archive.to_str().unwrap(), &name]).ok();
}

/// A blob that is here is no shorter way to have a layer of any length read as a config.
#[test]
fn a_layer_that_is_here_named_as_the_config() {
    let registry = FakeRegistry::start();
    let name = with_image(&registry);
    let (media_type, manifest) = registry.manifest("victim", "1").unwrap();
    let honest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let daemon = Daemon::start();
    daemon.mica(["pull", "-q", &name]).ok();
    let length = honest["layers"][0]["size"].as_u64().unwrap();
    for (tag, size, words) in [
        ("short", 10, format!("has {length} bytes, expected 10")),
        ("huge", 1_u64 << 40, "larger than the limit".to_owned()),
    ] {
        let mut lying = honest.clone();
        lying["config"]["digest"] = honest["layers"][0]["digest"].clone();
        lying["config"]["size"] = size.into();
        let bytes = serde_json::to_vec(&lying).unwrap();
        registry.put_manifest("victim", Some(tag), &media_type, &bytes);
        let liar = format!("{}/victim:{tag}", registry.host());
        let pulled = daemon.mica(["pull", &liar]);
        assert_eq!(pulled.code, 1);
        assert!(pulled.stderr.contains(&words), "{}", pulled.stderr);
    }
    assert_eq!(daemon.mica(["images", "-aq"]).ok().text().lines().count(), 1);
}

#[test]
fn a_pull_that_is_killed_goes_on_where_it_was() {
    let registry = FakeRegistry::start();
    let size: usize = 256 << 20;
    // so far away that the last tenth takes longer than it takes to see that it is missing
    let way = SlowProxy::start(&registry.host());
    let name = format!("{}/big:1", way.address());
    let mut daemon = Daemon::with(Options::default());
    let context = Context::new("FROM scratch\nCOPY big /big\n");
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let bytes: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    })
    .take(size / 8)
    .flatten()
    .collect();
    fs_err::write(context.path().join("big"), &bytes).unwrap();
    daemon.mica(["build", "-q", "-t", &name, context.arg()]).ok();
    daemon.mica(["push", "-q", &name]).ok();
    daemon.mica(["rmi", &name]).ok();
    daemon.mica(["builder", "prune", "-af"]).ok();

    // killed once nine tenths of it are on the disk
    let blocks = |daemon: &Daemon| -> u64 {
        use std::os::unix::fs::MetadataExt;
        let entries = fs_err::read_dir(daemon.root().join("mica/partial")).unwrap();
        entries
            .flatten()
            .filter_map(|entry| entry.metadata().ok())
            .map(|meta| meta.blocks() * 512)
            .max()
            .unwrap_or(0)
    };
    let mut pulling = daemon.command(["pull", "-q", &name]).spawn().unwrap();
    let began = std::time::Instant::now();
    while blocks(&daemon) < size as u64 * 9 / 10 {
        assert!(
            began.elapsed() < std::time::Duration::from_secs(180),
            "the pull does not get on"
        );
        assert!(
            pulling.try_wait().unwrap().is_none(),
            "the pull ended before it could be killed"
        );
        std::thread::sleep(std::time::Duration::from_micros(200));
    }
    daemon.kill();
    pulling.wait().unwrap();
    daemon.spawn();

    let before = registry.requests().len();
    daemon.mica(["pull", "-q", &name]).ok();
    let again: u64 = registry.requests()[before..]
        .iter()
        .map(|request| request.bytes_out)
        .sum();
    println!("fetched again: {again} of {size} bytes");
    assert!(
        again <= size as u64 * 15 / 100,
        "{again} bytes of {size} were fetched again"
    );
}

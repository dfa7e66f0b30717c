//! The images of the zoo: manifests, lists and configs that contradict themselves or are too much.

use mica_tests::FakeRegistry;
use serde_json::{Value, json};

use crate::beasts::sha256;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// One image: its media type and its manifest's bytes.
pub(crate) type Document = (&'static str, &'static str, Vec<u8>);

/// Puts blobs into a repository and gives the manifests that name them.
pub(crate) fn all(registry: &FakeRegistry, repository: &str) -> Vec<Document> {
    let tar = vec![0; 1024];
    let diff = format!("sha256:{}", sha256(&tar));
    let blob = |bytes: &[u8]| json!({"digest": registry.put_blob(repository, bytes), "size": bytes.len()});
    let described = |kind: &str, mut blob: Value| {
        blob["mediaType"] = kind.into();
        blob
    };
    let layer = described(LAYER, blob(&tar));
    let config_of = |diffs: &[&str]| json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diffs}});
    let config = |value: &Value| described(CONFIG, blob(value.to_string().as_bytes()));
    let sound = config(&config_of(&[&diff]));
    let manifest = |config: &Value, layers: Vec<Value>| json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers});
    let with = |value: &Value, key: &str, new: Value| {
        let mut changed = value.clone();
        changed[key] = new;
        changed
    };
    let honest = manifest(&sound, vec![layer.clone()]);
    let many: Vec<&str> = vec![&diff; 5000];
    let mut all = vec![
        ("an honest one", honest.clone()),
        ("a layer of another size", manifest(&sound, vec![with(&layer, "size", 1000.into())])),
        ("a layer of size 0", manifest(&sound, vec![with(&layer, "size", 0.into())])),
        ("a layer of 2^63 bytes", manifest(&sound, vec![with(&layer, "size", json!(1_u64 << 63))])),
        ("a layer of -1 bytes", manifest(&sound, vec![with(&layer, "size", json!(-1))])),
        ("a layer of 1e300 bytes", manifest(&sound, vec![with(&layer, "size", json!(1e300))])),
        ("the same layer in two sizes", manifest(&config(&config_of(&[&diff, &diff])), vec![layer.clone(), with(&layer, "size", 512.into())])),
        ("a config of another size", manifest(&with(&sound, "size", 3.into()), vec![layer.clone()])),
        ("a config of 1 TiB", manifest(&with(&sound, "size", json!(1_u64 << 40)), vec![layer.clone()])),
        ("a layer as the config", manifest(&with(&layer, "mediaType", CONFIG.into()), vec![layer.clone()])),
        ("more layers than the config has", manifest(&sound, vec![layer.clone(), layer.clone()])),
        ("fewer layers than the config has", manifest(&sound, vec![])),
        ("five thousand layers", manifest(&config(&config_of(&many)), vec![layer.clone(); 5000])),
        ("a digest of sha512", manifest(&sound, vec![with(&layer, "digest", format!("sha512:{}", "ab".repeat(64)).into())])),
        ("a digest of md5", manifest(&sound, vec![with(&layer, "digest", format!("md5:{}", "ab".repeat(16)).into())])),
        ("a digest that is a path", manifest(&sound, vec![with(&layer, "digest", "sha256:../../../../etc/passwd".into())])),
        ("a digest in capitals", manifest(&sound, vec![with(&layer, "digest", format!("sha256:{}", "AB".repeat(32)).into())])),
        ("a layer of an unknown type", manifest(&sound, vec![with(&layer, "mediaType", "application/x-else".into())])),
        ("a layer that lies elsewhere", manifest(&sound, vec![with(&with(&layer, "urls", json!(["http://169.254.169.254/x"])), "digest", format!("sha256:{}", "ab".repeat(32)).into())])),
        ("schema 1", json!({"schemaVersion": 1, "name": "a", "tag": "b", "fsLayers": [], "history": []})),
        ("manifests and layers", with(&honest, "manifests", json!([]))),
        ("a config of no system", manifest(&config(&json!({})), vec![layer.clone()])),
        ("a config that is a list", manifest(&config(&json!([1, 2])), vec![layer.clone()])),
        ("a config of wrong types", manifest(&config(&json!({"architecture": 1, "os": {}, "config": [], "rootfs": "x"})), vec![layer.clone()])),
        ("a user and folder of escapes", manifest(&config(&with(&config_of(&[&diff]), "config", json!({"User": "a\u{1b}[2J\n", "WorkingDir": "../../..", "Env": ["A", "=", "B=\0"], "Volumes": {"../..": {}}}))), vec![layer.clone()])),
        ("a hundred thousand labels", {
            let labels: serde_json::Map<String, Value> = (0..100_000).map(|at| (format!("l{at}"), "x".into())).collect();
            manifest(&config(&with(&config_of(&[&diff]), "config", json!({"Labels": labels}))), vec![layer.clone()])
        }),
        ("a config of 20 MiB", {
            let text = "x".repeat(20 << 20);
            manifest(&config(&with(&config_of(&[&diff]), "config", json!({"Labels": {"a": text}}))), vec![layer.clone()])
        }),
        ("a manifest of 3 MiB of annotations", with(&honest, "annotations", json!({"a": "x".repeat(3 << 20)}))),
        ("a manifest of 5 MiB", with(&honest, "annotations", json!({"a": "x".repeat(5 << 20)}))),
    ]
    .into_iter()
    .map(|(name, value)| (name, MANIFEST, value.to_string().into_bytes()))
    .collect::<Vec<Document>>();
    all.extend(lists(registry, repository, &honest));
    let text = honest.to_string();
    all.extend([
        (
            "a manifest cut in the middle",
            MANIFEST,
            text.as_bytes()[..text.len() / 2].to_vec(),
        ),
        (
            "a manifest that is a list to its header",
            INDEX,
            text.clone().into_bytes(),
        ),
        (
            "a hundred thousand brackets",
            MANIFEST,
            [b"[".repeat(100_000), b"]".repeat(100_000)].concat(),
        ),
        (
            "a key twice",
            MANIFEST,
            text.replacen('{', "{\"config\":{},", 1).into_bytes(),
        ),
        ("no JSON", MANIFEST, b"\xff\xfe\0".to_vec()),
        ("nothing", MANIFEST, Vec::new()),
    ]);
    all
}

/// Lists of manifests that lead to themselves, to nothing or to too much.
fn lists(registry: &FakeRegistry, repository: &str, honest: &Value) -> Vec<Document> {
    let platform = json!({"architecture": "amd64", "os": "linux"});
    let list =
        |manifests: Vec<Value>| json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests});
    let put = |kind: &str, value: &Value| {
        let bytes = value.to_string().into_bytes();
        let digest = registry.put_manifest(repository, None, kind, &bytes);
        json!({"mediaType": kind, "digest": digest, "size": bytes.len(), "platform": platform})
    };
    let one = put(MANIFEST, honest);
    let mut nested = list(vec![one.clone()]);
    for _ in 0..50 {
        nested = list(vec![put(INDEX, &nested)]);
    }
    let mut wrong_size = one.clone();
    wrong_size["size"] = 7.into();
    let mut wrong_type = one.clone();
    wrong_type["mediaType"] = INDEX.into();
    let mut nowhere = one.clone();
    nowhere["digest"] = format!("sha256:{}", "cd".repeat(32)).into();
    let mut other = one.clone();
    other["platform"] = json!({"architecture": "../../x", "os": "plan9\u{1b}"});
    [
        ("a list in a list, fifty deep", nested),
        ("a list whose manifest has another size", list(vec![wrong_size])),
        ("a list whose manifest is called a list", list(vec![wrong_type])),
        ("a list that leads nowhere", list(vec![nowhere])),
        ("a list for odd platforms", list(vec![other])),
        ("a list of nothing", list(vec![])),
        ("a list of ten thousand", list(vec![one; 10_000])),
    ]
    .into_iter()
    .map(|(name, value)| (name, INDEX, value.to_string().into_bytes()))
    .collect()
}

//! Which crate may name which: arrows run down only (README, "The parts").

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use mica_tests::run;

/// Crate, and the crates of ours that it may name.
const ALLOWED: [(&str, &[&str]); 14] = [
    ("mica-oci", &[]),
    ("mica-dockerfile", &[]),
    ("mica-sandbox", &[]),
    ("mica-api", &[]),
    ("mica-buildkit", &[]),
    ("mica-layer", &["mica-oci"]),
    ("mica-registry", &["mica-oci"]),
    ("mica-task", &["mica-oci"]),
    ("mica-store", &["mica-layer", "mica-oci"]),
    (
        "mica-builder",
        &[
            "mica-dockerfile",
            "mica-layer",
            "mica-oci",
            "mica-store",
            "mica-task",
        ],
    ),
    (
        "mica-engine",
        &[
            "mica-builder",
            "mica-dockerfile",
            "mica-layer",
            "mica-oci",
            "mica-registry",
            "mica-sandbox",
            "mica-store",
            "mica-task",
        ],
    ),
    (
        "micad",
        &[
            "mica-api",
            "mica-buildkit",
            "mica-engine",
            "mica-oci",
            "mica-sandbox",
            "mica-task",
        ],
    ),
    ("mica", &["mica-api", "mica-dockerfile", "mica-oci"]),
    ("mica-tests", &[]),
];

/// The only crates that may be asynchronous; the tests are, for the servers they play.
const ASYNC: [&str; 6] = [
    "mica-buildkit",
    "mica-registry",
    "mica-engine",
    "micad",
    "mica",
    "mica-tests",
];

fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let metadata =
        run(Command::new(cargo).args(["metadata", "--no-deps", "--format-version=1", "--offline"])).ok();
    let metadata: serde_json::Value = serde_json::from_str(&metadata.stdout).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let packages = metadata["packages"].as_array().unwrap().iter();
    packages
        .map(|package| {
            let dependencies = package["dependencies"].as_array().unwrap().iter();
            let normal = dependencies
                .filter(|d| d["kind"].is_null())
                .map(|d| text(&d["name"]));
            (text(&package["name"]), normal.collect())
        })
        .collect()
}

#[test]
fn arrows_run_down_only() {
    let allowed: BTreeMap<_, _> = ALLOWED.into_iter().collect();
    let found = dependencies();
    assert_eq!(
        found.keys().map(String::as_str).collect::<BTreeSet<_>>(),
        allowed.keys().copied().collect()
    );
    for (name, dependencies) in &found {
        let ours = dependencies.iter().filter(|d| allowed.contains_key(d.as_str()));
        for dependency in ours {
            assert!(
                allowed[name.as_str()].contains(&dependency.as_str()),
                "{name} must not name {dependency}"
            );
        }
    }
}

#[test]
fn async_ends_at_the_engine() {
    for (name, dependencies) in dependencies() {
        let is_async = ["tokio", "hyper"].iter().any(|d| dependencies.contains(*d));
        assert!(
            !is_async || ASYNC.contains(&name.as_str()),
            "{name} must not be asynchronous"
        );
    }
}

//! How much of the disk is used by what.

use serde_json::{Value, json};

use crate::archive::{image, small_image, tar};
use crate::micad::Micad;

fn build(micad: &Micad, tag: &str, dockerfile: &str) {
    let context = tar(&[("Dockerfile", dockerfile.as_bytes()), ("file", b"content")]);
    let answer = micad.post(&format!("/build?t={tag}"), &context);
    assert!(
        answer.stream().contains("Successfully built"),
        "{}",
        answer.text()
    );
}

#[test]
fn an_empty_store_takes_nothing() {
    let micad = Micad::start();
    let nothing = json!({
        "LayersSize": 0, "Images": [], "Containers": [], "Volumes": [], "BuildCache": [],
    });
    assert_eq!(micad.get("/v1.50/system/df").json(), nothing);
    let sum = json!({"ActiveCount": 0, "TotalCount": 0, "Reclaimable": 0, "TotalSize": 0});
    let newest = micad.get("/system/df").json();
    for key in ["ImageUsage", "ContainerUsage", "VolumeUsage", "BuildCacheUsage"] {
        assert_eq!(newest[key], sum, "{key}");
    }
    let some = micad.get("/system/df?type=volume&verbose=1").json();
    assert_eq!(some["VolumeUsage"]["Items"], json!([]));
    assert!(some.get("ImageUsage").is_none(), "{some}");
    assert_eq!(some["Images"], json!([]));
    assert_eq!(micad.get("/v1.41/system/df").json()["BuilderSize"], 0);
    micad
        .get("/system/df?type=image&type=network")
        .expect_error(400, "unknown object type: network");
}

#[test]
fn images_are_told_with_what_they_share() {
    let micad = Micad::start();
    let created = "2026-01-02T03:04:05Z";
    let below: &[(&str, &[u8])] = &[("a", b"1")];
    micad.load(&image(&["one:1"], created, &json!({}), &[below, &[("b", b"2")]]));
    micad.load(&image(&["two:1"], created, &json!({"k": "v"}), &[below]));
    let usage = micad.get("/system/df").json();
    // a layer's tar has 2048 bytes, which take a block, and one of the three layers is there once
    assert_eq!(usage["LayersSize"], 8192);
    let images = usage["Images"].as_array().unwrap();
    assert_eq!(images.len(), 2);
    for image in images {
        assert_eq!(
            (&image["SharedSize"], &image["Containers"]),
            (&json!(2048), &json!(0))
        );
        assert!(image.get("VirtualSize").is_none());
    }
    assert_eq!(usage["ImageUsage"]["Reclaimable"], 8192);
    assert_eq!(
        micad.get("/v1.43/system/df").json()["Images"][0]["VirtualSize"],
        images[0]["Size"]
    );
    let verbose = micad.get("/system/df?type=image&verbose=1").json();
    assert_eq!(verbose["ImageUsage"]["Items"], usage["Images"]);
    assert_eq!(verbose["BuildCache"], json!([]));
}

#[test]
fn the_cache_is_told_as_a_prune_frees_it() {
    let micad = Micad::start();
    micad.load(&small_image(&["base:1"]));
    build(&micad, "kept", "FROM base:1\nCOPY file /kept\n");
    build(&micad, "gone", "FROM base:1\nCOPY file /one\nCOPY file /two\n");
    build(
        &micad,
        "gone",
        "FROM base:1\nCOPY file /one\nCOPY file /two\nLABEL a=b\n",
    );
    let records = |usage: &Value| usage["BuildCache"].as_array().unwrap().clone();
    let all = records(&micad.get("/system/df").json());
    assert_eq!(all.len(), 3, "{all:?}");
    assert!(
        all.iter()
            .all(|record| record["Shared"] == true && record["InUse"] == false)
    );
    let of = |part: &str| {
        let found = all
            .iter()
            .find(|record| record["Description"].as_str().unwrap().contains(part));
        found.unwrap()
    };
    assert_eq!(
        (&of("kept")["LastUsedAt"], &of("kept")["UsageCount"]),
        (&json!(null), &json!(0))
    );
    assert_eq!(of("/one")["UsageCount"], 1);
    assert!(of("/one")["LastUsedAt"].as_str().unwrap() > of("/one")["CreatedAt"].as_str().unwrap());
    assert_eq!(of("/two")["Parents"], json!([of("/one")["ID"]]));
    let older = records(&micad.get("/v1.41/system/df").json());
    assert!(older.iter().all(|record| record.get("Parents").is_none()));
    assert!(older.iter().any(|record| record["Parent"] == of("/one")["ID"]));

    micad.delete("/images/gone");
    micad.post("/images/prune", b"");
    let usage = micad.get("/system/df").json();
    let own: u64 = records(&usage)
        .iter()
        .filter(|record| record["Shared"] == false)
        .map(|record| record["Size"].as_u64().unwrap())
        .sum();
    assert!(own > 0);
    assert_eq!(usage["BuildCacheUsage"]["Reclaimable"], own);
    assert_eq!(micad.get("/v1.41/system/df").json()["BuilderSize"], own);
    for query in [
        "keep-storage=x",
        "reserved-space=1.5",
        "max-used-space=-",
        "min-free-space=1k",
    ] {
        let name = query.split('=').next().unwrap();
        micad
            .post(&format!("/build/prune?{query}"), b"")
            .expect_error(400, &format!("{name} is in bytes and expects an integer, got "));
    }
    let kept = |version: &str, query: &str| {
        let pruned = micad.post(&format!("{version}/build/prune?{query}"), b"").json();
        pruned["SpaceReclaimed"] == 0
    };
    assert!(kept("", &format!("max-used-space={own}")));
    assert!(kept("", &format!("max-used-space=1&reserved-space={own}")));
    assert!(kept("", &format!("keep-storage={own}")));
    assert!(
        kept("/v1.47", &format!("keep-storage={own}&max-used-space=1")),
        "of 1.48"
    );
    assert!(kept("", "min-free-space=1"));
    let pruned = micad.post("/build/prune", b"").json();
    assert_eq!(pruned["SpaceReclaimed"], own);
    let left = micad.get("/system/df").json();
    assert_eq!(records(&left).len(), 1, "what an image has too stays");
    assert_eq!(left["BuildCacheUsage"]["TotalSize"], 0);
}

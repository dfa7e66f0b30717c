//! Archives of images in and out, and file systems made images.

use std::io::Write as _;

use crate::ask::Ask;
use crate::fixture::{Fixture, folder};

/// The archive every other question needs, and archives that are none.
pub(crate) fn load(fixture: &Fixture) -> Vec<Ask> {
    let load = |name: &str| Ask::post(&format!("load/{name}"), "/images/load").stream();
    let archive = || fixture.archive.clone();
    vec![
        load("all").tar(archive()),
        load("again").tar(archive()),
        load("not-quiet").with("quiet", "0").tar(archive()),
        load("quiet").with("quiet", "1").tar(archive()),
        load("gzip").tar(gzip(&archive())),
        load("no-type").body(archive()),
        load("garbage").tar("this is no archive"),
        load("empty"),
        load("empty-tar").tar(vec![0; 1024]),
        load("no-manifest").tar(folder(&[("x", "y")])),
        load("bad-manifest").tar(folder(&[("manifest.json", "{")])),
        load("no-config").tar(folder(&[(
            "manifest.json",
            r#"[{"Config":"x.json","RepoTags":null,"Layers":[]}]"#,
        )])),
        load("outside").tar(folder(&[(
            "manifest.json",
            r#"[{"Config":"../x.json","RepoTags":null,"Layers":[]}]"#,
        )])),
        load("cut-off").tar(archive()[..archive().len() / 2].to_vec()),
    ]
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    writer.write_all(bytes).expect("memory takes it");
    writer.finish().expect("memory takes it")
}

/// Archives out.
pub(crate) fn save(fixture: &Fixture) -> Vec<Ask> {
    let [_, one, ..] = &fixture.ids;
    let several = |names: &[&str]| {
        names
            .iter()
            .fold(
                Ask::get(&format!("save/{}", names.join("+")), "/images/get"),
                |ask, name| ask.with("names", name),
            )
            .archive()
    };
    vec![
        Ask::get("save/one", "/images/shapes/one:1/get").archive(),
        Ask::get("save/by-id", format!("/images/{one}/get")).archive(),
        Ask::get("save/by-short", format!("/images/{}/get", &one[7..19])).archive(),
        Ask::get("save/all-tags", "/images/shapes/one/get").archive(),
        Ask::get("save/missing", "/images/nope/get").archive(),
        Ask::get("save/upper-case", "/images/Nope/get").archive(),
        several(&["shapes/one:1", "shapes/two:1"]),
        several(&["shapes/one:1", "shapes/one:2"]),
        several(&["shapes/one:1", "nope"]),
        several(&["shapes/one:nope"]),
        several(&["nope@sha256:00"]),
        several(&[""]),
        Ask::get("save/none", "/images/get").archive(),
    ]
}

/// Images made of file systems.
pub(crate) fn import() -> Vec<Ask> {
    let import = |name: &str, source: &str| {
        Ask::post(&format!("import/{name}"), "/images/create")
            .with("fromSrc", source)
            .stream()
    };
    let files = || folder(&[("a", "b")]);
    vec![
        import("named", "-")
            .with("repo", "shapes/import")
            .with("tag", "1")
            .tar(files()),
        Ask::get("inspect/import", "/images/shapes/import:1/json").loose(&["body.Size"]),
        Ask::get("history/import", "/images/shapes/import:1/history"),
        import("nameless", "-").tar(files()),
        import("message", "-")
            .with("repo", "shapes/import")
            .with("tag", "2")
            .with("message", "by hand")
            .tar(files()),
        Ask::get("history/import-message", "/images/shapes/import:2/history"),
        import("changes", "-")
            .with("repo", "shapes/import")
            .with("tag", "3")
            .with("changes", "ENV A=b")
            .with("changes", "CMD [\"x\"]")
            .with("changes", "LABEL l=m")
            .tar(files()),
        Ask::get("inspect/import-changes", "/images/shapes/import:3/json").loose(&["body.Size"]),
        import("latest", "-").with("repo", "shapes/import").tar(files()),
        import("tag-in-repo", "-")
            .with("repo", "shapes/import:4")
            .tar(files()),
        import("platform", "-")
            .with("repo", "shapes/import")
            .with("tag", "5")
            .with("platform", "linux/arm64")
            .tar(files()),
        Ask::get("inspect/import-platform", "/images/shapes/import:5/json").loose(&["body.Size"]),
        import("gzip", "-")
            .with("repo", "shapes/import")
            .with("tag", "6")
            .tar(gzip(&files())),
        import("bad-change", "-").with("changes", "RUN x").tar(files()),
        import("bad-instruction", "-")
            .with("changes", "NONSENSE x")
            .tar(files()),
        import("bad-platform", "-")
            .with("platform", "nonsense")
            .tar(files()),
        import("bad-repo", "-").with("repo", "Upper").tar(files()),
        import("bad-tag", "-")
            .with("repo", "shapes/import")
            .with("tag", "-x")
            .tar(files()),
        import("digest", "-")
            .with("repo", &format!("shapes/import@sha256:{}", "0".repeat(64)))
            .tar(files()),
        import("bad-address", "ftp://127.0.0.1:1/x"),
        import("nobody-there", "http://127.0.0.1:1/x.tar"),
        import("garbage", "-").tar("this is no tar"),
        import("empty", "-")
            .with("repo", "shapes/import")
            .with("tag", "7")
            .tar(""),
        Ask::post("create/neither", "/images/create").stream(),
    ]
}

//! What would leave its place: by its name, through a link, as a hard link, by hiding what is outside.

use super::{Beast, tar, whole};

pub(super) fn all() -> Vec<Beast> {
    let far_up = "../".repeat(30) + "tmp/mica-zoo-was-here";
    let chain = tar().link("a", "..").link("b", "a/..").link("c", "b/..");
    let in_use = tar().dir("d/").file("d/a", "x").link("d", "..");
    let linked = |target: &str| tar().link("l", target);
    whole([
        ("a name with ..", tar().file("../canary", "x")),
        ("a name with many ..", tar().file(far_up, "x")),
        ("an absolute name", tar().file("/mica-zoo-was-here", "x")),
        ("a file through a link out", linked("../canary").file("l", "x")),
        ("a file below a link out", linked("../..").file("l/canary", "x")),
        (
            "a file below an absolute link",
            linked("/").file("l/mica-zoo-was-here", "x"),
        ),
        ("a file below a chain of links", chain.file("c/canary", "x")),
        ("a link put for a directory in use", in_use.file("d/canary", "x")),
        ("a hard link out", tar().hard("h", "../canary").file("h", "x")),
        (
            "a hard link to an absolute name",
            tar().hard("h", "/etc/passwd").file("h", "x"),
        ),
        (
            "a hard link through a link",
            linked("/etc").hard("h", "l/passwd").file("h", "x"),
        ),
        (
            "a hard link to a link out",
            linked("../canary").hard("h", "l").file("h", "x"),
        ),
        ("a hard link to a directory", tar().dir("d/").hard("d/e", "d")),
        (
            "a loop of directories by hard links",
            tar()
                .dir("a/")
                .dir("a/b/")
                .hard("a/b/c", "a")
                .file("a/b/c/b/c/f", "x"),
        ),
        ("a hard link to itself", tar().hard("h", "h")),
        (
            "a file that is then a hard link to itself",
            tar().file("h", "x").hard("h", "h"),
        ),
        (
            "a loop of links",
            tar().link("a", "b").link("b", "a").file("a/f", "x"),
        ),
        ("whiteout of ..", tar().file(".wh...", "")),
        ("whiteout of .", tar().file(".wh..", "")),
        ("whiteout of no name", tar().file("d/.wh.", "")),
        ("whiteout below a link out", linked("..").file("l/.wh.canary", "")),
        ("opaque below a link out", linked("..").file("l/.wh..wh..opq", "")),
        ("opaque as the root", tar().file(".wh..wh..opq", "")),
        ("a link as the root", tar().link("./", "/etc").file("f", "x")),
        ("a file as the root", tar().file("./", "x")),
        (
            "names that differ in case",
            tar()
                .link("Dir", "..")
                .dir("dir/")
                .file("dir/f", "x")
                .file("DIR/f", "y"),
        ),
        (
            "names that differ in form",
            tar()
                .file("e\u{301}", "x")
                .file("\u{e9}", "y")
                .link("\u{e9}/", ".."),
        ),
    ])
}

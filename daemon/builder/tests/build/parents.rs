//! `COPY --parents`.

use crate::files::Files;
use crate::world::World;

fn context() -> Files {
    Files::new()
        .file("a/b/c/one.txt", "1")
        .file("a/b/c/two.md", "2")
        .file("a/b/three.txt", "3")
        .file("a/d/four.txt", "4")
        .file("top.txt", "5")
        .link("a/way", "b")
        .mode("a", 0o700)
        .mode("a/b", 0o711)
        .time("a/b", 1_111_111_111)
}

fn copied(flags: &str) -> Vec<String> {
    let world = World::new();
    let image = world.make(&format!("FROM scratch\nCOPY --parents {flags}\n"), &context());
    image.files()
}

#[test]
fn a_path_keeps_what_is_above_it() {
    assert_eq!(
        copied("a/b/c/one.txt top.txt /d/"),
        [
            "/d/",
            "/d/a/ 700",
            "/d/a/b/ 711",
            "/d/a/b/c/",
            "/d/a/b/c/one.txt \"1\"",
            "/d/top.txt \"5\""
        ]
    );
    assert_eq!(
        copied("a/d /d"),
        ["/d/", "/d/a/ 700", "/d/a/d/", "/d/a/d/four.txt \"4\""]
    );
}

#[test]
fn a_dot_cuts_what_is_above_it() {
    assert_eq!(
        copied("a/./b/three.txt /d"),
        ["/d/", "/d/b/ 711", "/d/b/three.txt \"3\""]
    );
    assert_eq!(
        copied("./a/./d/*.txt /d"),
        ["/d/", "/d/d/", "/d/d/four.txt \"4\""]
    );
    // what is in front of the cut may lead through links
    assert_eq!(copied("a/way/./three.txt /d"), ["/d/", "/d/three.txt \"3\""]);
    assert_eq!(copied("./a/d/./ /d"), ["/d/", "/d/four.txt \"4\""]);
    assert_eq!(copied("./ /d").len(), 12);
}

#[test]
fn two_stars_reach_all_depths() {
    assert_eq!(
        copied("**/*.txt /"),
        [
            "/a/ 700",
            "/a/b/ 711",
            "/a/b/c/",
            "/a/b/c/one.txt \"1\"",
            "/a/b/three.txt \"3\"",
            "/a/d/",
            "/a/d/four.txt \"4\"",
            "/top.txt \"5\""
        ]
    );
    assert_eq!(copied("a/*/*.md /"), Vec::<String>::new());
    assert_eq!(
        copied("a/**/*.md /"),
        ["/a/ 700", "/a/b/ 711", "/a/b/c/", "/a/b/c/two.md \"2\""]
    );
    assert_eq!(
        copied("--exclude=a/b a/**/*.txt /"),
        ["/a/ 700", "/a/d/", "/a/d/four.txt \"4\""]
    );
}

#[test]
fn what_is_no_pattern_must_be_there() {
    let world = World::new();
    for source in ["gone", "a/gone/f", "a/way/three.txt", "top.txt/x"] {
        let error = world.refuse(&format!("FROM scratch\nCOPY --parents {source} /\n"), &context());
        assert!(
            error.contains(&format!("stat {source}: file does not exist")),
            "{error}"
        );
    }
}

#[test]
fn owners_modes_times_and_links_are_as_with_any_copy() {
    let world = World::new();
    let dockerfile = "FROM scratch\nCOPY --parents --chown=1:2 --chmod=0750 a/./b/three.txt a/way /d/\n";
    let image = world.make(dockerfile, &context());
    assert_eq!(
        image.files(),
        [
            "/d/ 750 1:2",
            "/d/a/ 750 1:2",
            "/d/a/way -> b 1:2",
            "/d/b/ 750 1:2",
            "/d/b/three.txt \"3\" 750 1:2"
        ]
    );
    let found = image.stack.lookup(&crate::files::path("d/b")).unwrap().unwrap();
    assert_eq!(found.node.meta.mtime.seconds, 1_111_111_111);
    assert_eq!(
        image.history(),
        ["COPY --parents --chown=1:2 --chmod=0750 a/./b/three.txt a/way /d/ # buildkit"]
    );
}

#[test]
fn it_works_from_stages_and_has_a_key_of_its_own() {
    let world = World::new();
    let dockerfile = |flags: &str| {
        format!("FROM scratch AS s\nCOPY a /a\nFROM scratch\nCOPY --from=s {flags} /a/b/c /d/\n")
    };
    let image = world.make(&dockerfile("--parents"), &context());
    assert_eq!(
        image.files(),
        [
            "/d/",
            "/d/a/",
            "/d/a/b/ 711",
            "/d/a/b/c/",
            "/d/a/b/c/one.txt \"1\"",
            "/d/a/b/c/two.md \"2\""
        ]
    );
    let image = world.make(&dockerfile(""), &context());
    assert_eq!(image.files(), ["/d/", "/d/one.txt \"1\"", "/d/two.md \"2\""]);
    world.make(&dockerfile("--parents"), &context());
    assert!(world.executed().is_empty());
    // another path above is another copy, though the bytes are the same
    world.make(
        &dockerfile("--parents").replace("COPY a /a", "COPY a /x/../a"),
        &context(),
    );
    world.make("FROM scratch\nCOPY --parents a/b/c /d/\n", &context());
    assert_eq!(world.executed().len(), 1);
}

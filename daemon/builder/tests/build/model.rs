//! Random contexts and random COPYs, held against a simple model of what they should give.

use std::collections::BTreeMap;

use proptest::prelude::{Just, Strategy, any, prop};
use proptest::prop_oneof;
use proptest::test_runner::{Config, TestRunner};

use crate::files::Files;
use crate::world::World;

/// Text of a file, or `None` for a directory.
type Tree = BTreeMap<String, Option<String>>;

/// One COPY: sources, destination, whether the destination is spelled as a directory.
#[derive(Debug, Clone)]
struct Copy {
    sources: Vec<String>,
    dest: String,
    slash: bool,
}

const NAMES: [&str; 3] = ["a", "b", "c"];

fn name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&NAMES[..])
}

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec(name(), 1..4).prop_map(|names| names.join("/"))
}

/// Files that do not stand in each other's way: what is below a file is left out.
fn tree() -> impl Strategy<Value = Tree> {
    let entry = (
        path(),
        prop_oneof![3 => any::<u8>().prop_map(|n| Some(n.to_string())), 1 => Just(None)],
    );
    prop::collection::vec(entry, 1..12).prop_map(|entries| {
        let mut tree = Tree::new();
        for (path, text) in entries {
            let blocked = parents(&path).any(|above| matches!(tree.get(&above), Some(Some(_))));
            if !blocked && !tree.contains_key(&path) {
                parents(&path).for_each(|above| drop(tree.insert(above, None)));
                tree.insert(path, text);
            }
        }
        tree
    })
}

fn copy() -> impl Strategy<Value = Copy> {
    let sources = prop::collection::vec(prop_oneof![1 => Just(String::new()), 6 => path()], 1..3);
    (sources, path(), any::<bool>()).prop_map(|(sources, dest, slash)| Copy { sources, dest, slash })
}

/// The directories above a path, the outermost first.
fn parents(path: &str) -> impl Iterator<Item = String> + '_ {
    path.match_indices('/').map(|(at, _)| path[..at].to_owned())
}

fn make_directory(image: &mut Tree, path: &str) -> Option<()> {
    for directory in parents(path)
        .chain([path.to_owned()])
        .filter(|path| !path.is_empty())
    {
        match image.get(&directory) {
            Some(Some(_)) => return None,
            _ => image.insert(directory, None),
        };
    }
    Some(())
}

fn put_file(image: &mut Tree, path: &str, text: &str) -> Option<()> {
    if let Some(None) = image.get(path) {
        return None;
    }
    image.insert(path.to_owned(), Some(text.to_owned()));
    Some(())
}

/// What the image is after a COPY (dockerfile contract 7.2 to 7.5); `None` if it must fail.
fn apply(context: &Tree, image: &mut Tree, copy: &Copy) -> Option<()> {
    for source in &copy.sources {
        let text = if source.is_empty() {
            &None
        } else {
            context.get(source)?
        };
        let above = copy.dest.rsplit_once('/').map_or("", |(above, _)| above);
        make_directory(image, if copy.slash { &copy.dest } else { above })?;
        if let Some(text) = text {
            let base = source.rsplit('/').next()?;
            let inside = format!("{}/{base}", copy.dest);
            let target = if image.get(&copy.dest) == Some(&None) {
                &inside
            } else {
                &copy.dest
            };
            put_file(image, target, text)?;
            continue;
        }
        make_directory(image, &copy.dest)?;
        let prefix = if source.is_empty() {
            String::new()
        } else {
            format!("{source}/")
        };
        for (path, text) in context {
            let Some(below) = path.strip_prefix(&prefix) else {
                continue;
            };
            let target = format!("{}/{below}", copy.dest);
            match text {
                Some(text) => put_file(image, &target, text)?,
                None => make_directory(image, &target)?,
            }
        }
    }
    Some(())
}

fn files(tree: &Tree) -> Files {
    tree.iter().fold(Files::new(), |files, (path, text)| match text {
        Some(text) => files.file(path, text),
        None => files.dir(path),
    })
}

fn lines(tree: &Tree) -> Vec<String> {
    let line = |(path, text): (&String, &Option<String>)| match text {
        Some(text) => format!("/{path} {text:?}"),
        None => format!("/{path}/"),
    };
    let mut lines: Vec<_> = tree.iter().map(line).collect();
    lines.sort();
    lines
}

/// Builds in one world: its store is slow to make.
#[test]
fn copies_give_what_the_model_says() {
    let world = World::new();
    let mut runner = TestRunner::new(Config {
        cases: 150,
        failure_persistence: None,
        ..Config::default()
    });
    let input = (tree(), tree(), prop::collection::vec(copy(), 1..5), any::<bool>());
    let outcome = runner.run(&input, |(context, base, copies, runs)| {
        world.image("base", &files(&base), mica_oci::ImageConfig::default());
        let mut dockerfile = String::from("FROM base\n");
        let mut image = base.clone();
        let mut fits = true;
        for copy in &copies {
            let slash = if copy.slash { "/" } else { "" };
            let sources: Vec<_> = copy.sources.iter().map(|source| format!("/{source}")).collect();
            dockerfile.push_str(&format!("COPY {} /{}{slash}\n", sources.join(" "), copy.dest));
            fits = fits && apply(&context, &mut image, copy).is_some();
        }
        if runs {
            dockerfile.push_str("RUN x\n");
        }
        let mut ignored = files(&context).file(".dockerignore", "Dockerfile\n.dockerignore\n");
        ignored = ignored.file("Dockerfile", &dockerfile);
        match world.build(&crate::world::options(), &ignored) {
            Ok(built) => {
                assert!(fits, "this should fail\n{dockerfile}");
                let mut found = world.look(&built).files();
                found.sort();
                assert_eq!(found, lines(&image), "{dockerfile}");
            }
            Err(error) => assert!(!fits, "{}\n{dockerfile}", crate::world::told(&error)),
        }
        Ok(())
    });
    outcome.unwrap();
}

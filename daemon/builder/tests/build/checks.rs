//! What the checks of a Dockerfile tell while it is built, and when they stop the build.

use mica_oci::ImageConfig;

use crate::files::Files;
use crate::world::{World, args, options};

/// The rules told so far.
fn rules(world: &World) -> Vec<String> {
    let warnings = world.warnings();
    let names = warnings
        .iter()
        .filter_map(|text| Some(text.split_once(": ")?.0.to_owned()));
    names.collect()
}

#[test]
fn findings_are_told_with_their_rule_and_line() {
    let world = World::new();
    world.make(
        "FROM scratch AS B\nCMD x\n",
        &Files::new().file(".dockerignore", "tmp\n"),
    );
    assert_eq!(
        world.warnings(),
        [
            "StageNameCasing: Stage name 'B' should be lowercase (line 1)",
            "JSONArgsRecommended: JSON arguments recommended for CMD to prevent unintended behavior related to OS \
             signals (line 2)",
        ]
    );
}

#[test]
fn build_arguments_and_the_ignore_file_count() {
    let world = World::with_base(Files::new());
    let files = Files::new()
        .file(".dockerignore", "tmp\n")
        .file("tmp/x", "x")
        .file("a", "a");
    let text = "ARG T\nFROM base$T\nARG X=$Y\nCOPY a /a\nFROM scratch AS other\nCOPY $Z /\n";
    world.make_with(
        &args(&[("X", "1")]),
        &format!("{text}FROM base\nCOPY a* /\n"),
        &files,
    );
    assert_eq!(rules(&world), [""; 0], "stages that are not built are left alone");
    let world = World::new();
    world.refuse("FROM scratch\nCOPY tmp/x /\n", &files);
    assert_eq!(rules(&world), ["CopyIgnoredFile"]);
}

#[test]
fn variables_of_images_that_are_here_are_known() {
    let world = World::new();
    let config = ImageConfig {
        config: mica_oci::ContainerConfig {
            env: Some(vec!["KNOWN=1".to_owned()]),
            ..Default::default()
        },
        ..Default::default()
    };
    world.image("here", &Files::new(), config);
    let files = Files::new().file("a1", "a");
    let text = "FROM here\nCOPY a$KNOWN$KNOWM /\n";
    world.make(text, &files);
    assert_eq!(
        rules(&world),
        [""; 0],
        "nothing is known before the image is here"
    );
    let same = Files::new().file("Dockerfile", "FROM scratch\nENV KNOWN=1\n");
    let built = world.build(&options(), &same).unwrap();
    world.store.tag(&"here".parse().unwrap(), &built.image).unwrap();
    world.make(text, &files);
    assert_eq!(
        world.warnings(),
        ["UndefinedVar: Usage of undefined variable '$KNOWM' (did you mean $KNOWN?) (line 2)"]
    );
}

#[test]
fn findings_are_errors_if_the_file_or_a_build_argument_says_so() {
    let world = World::new();
    let text = "FROM scratch AS B\nCMD x\nENTRYPOINT x\n";
    let none = Files::new();
    let violation = "lint violation found for rules: JSONArgsRecommended, StageNameCasing";
    let told = world.refuse(&format!("# check=error=true\n{text}"), &none);
    assert!(told.ends_with(violation), "{told}");
    let check = |value| args(&[("BUILDKIT_DOCKERFILE_CHECK", value)]);
    let told = world.refuse_with(&check("error=true"), text, &none);
    assert!(told.ends_with(violation), "{told}");
    let lenient = check("skip=JSONArgsRecommended,StageNameCasing;error=true");
    world.make_with(&lenient, &format!("# check=error=true\n{text}"), &none);
    let told = world.refuse_with(&check("nonsense"), text, &none);
    assert!(
        told.contains("invalid check configuration \"nonsense\""),
        "{told}"
    );
}

//! A client in another language: its packages are fetched once, pinned, into the target folder; a program of ours drives it.

use std::path::{Path, PathBuf};
use std::process::Command;

use mica_tests::run;

use crate::cell::{Cells, PROGRAM};
use crate::world::World;

/// A folder of this folder.
pub(crate) fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(name)
}

/// A folder for what a client needs, kept between runs. It is made by `fetch`, which runs in it, unless it was made with the same stamp.
///
/// # Errors
/// Why it could not be made.
pub(crate) fn kept(
    name: &str,
    stamp: &str,
    fetch: impl FnOnce(&Path) -> Result<Command, String>,
) -> Result<PathBuf, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let target = own.ancestors().nth(3).ok_or("tests lie in target/PROFILE/deps")?;
    let folder = target.join("clients").join(name);
    let file = folder.join("stamp");
    if fs_err::read_to_string(&file).is_ok_and(|written| written == stamp) {
        return Ok(folder);
    }
    if folder.exists() {
        fs_err::remove_dir_all(&folder).map_err(|error| error.to_string())?;
    }
    fs_err::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let fetching = fetch(&folder)?;
    let mut command = Command::new("timeout");
    // a network that answers nothing must not hold up the other clients
    command
        .arg("300")
        .arg(fetching.get_program())
        .args(fetching.get_args());
    let fetched = succeed(command.current_dir(&folder));
    fetched.map_err(|error| format!("what it needs cannot be fetched: {error}"))?;
    fs_err::write(&file, stamp).map_err(|error| error.to_string())?;
    Ok(folder)
}

/// What a command that must succeed printed.
///
/// # Errors
/// That it is not there, or the end of what it said.
pub(crate) fn succeed(command: &mut Command) -> Result<String, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .map_err(|error| format!("{program} cannot be run: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let told = String::from_utf8_lossy(&output.stderr);
    let last = told.lines().rev().find(|line| !line.trim().is_empty());
    let words = command
        .get_args()
        .map(|arg| arg.to_string_lossy())
        .collect::<Vec<_>>();
    Err(format!(
        "{program} {} ended with {}: {}",
        words.join(" "),
        output.status,
        last.unwrap_or("it said nothing")
    ))
}

/// Has a program do all verbs; it gets what it finds in the world as its last argument.
pub(crate) fn driven(mut command: Command, world: &World) -> Cells {
    let ran = run(command.arg(world.facts().to_string()));
    let mut cells = Cells::default();
    // the cells it did not come to are missing, which is told of; so is what it said
    let told = cells.told(&ran.stdout);
    cells.check(PROGRAM, || {
        assert!(
            ran.code == 0 && told.is_ok(),
            "{told:?}, exit code {}: {}",
            ran.code,
            ran.stderr
        );
    });
    cells
}

/// A program that is ended when it takes too long.
pub(crate) fn limited(program: &Path) -> Command {
    let mut command = Command::new("timeout");
    command.arg("120").arg(program);
    command
}

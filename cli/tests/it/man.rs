//! `mica man`: the manual as packages want it.

use std::process::Command;

use crate::fake::{mica, outcome};

#[test]
fn the_manual_is_written_for_packages() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("share/man/man1");
    let run = outcome(mica(&["man", target.to_str().unwrap()]));
    assert_eq!(
        (run.code, run.stdout.as_str(), run.stderr.as_str()),
        (Some(0), "", "")
    );
    for page in [
        "mica.1",
        "mica-build.1",
        "mica-system-df.1",
        "mica-buildx-imagetools-inspect.1",
    ] {
        assert!(target.join(page).is_file(), "{page}");
    }
    assert!(!target.join("mica-man.1").exists(), "what is hidden has no page");
    let exists = |program: &str| {
        Command::new("which")
            .arg(program)
            .output()
            .is_ok_and(|output| output.status.success())
    };
    if !exists("man") {
        println!("skipped: man is not there to read man pages");
        return;
    }
    let shown = Command::new("man")
        .arg("-l")
        .arg(target.join("mica-system-df.1"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&shown.stdout);
    assert!(
        shown.status.success() && text.contains("mica-system-df"),
        "{shown:?}"
    );
}

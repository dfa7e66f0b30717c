//! dockerode, the JavaScript library of the Engine API.

use std::path::Path;
use std::process::Command;

use crate::cell::Cells;
use crate::script::{driven, kept, limited, source, succeed};
use crate::world::World;

pub(crate) fn all(world: &World) -> Result<Cells, String> {
    let node = succeed(Command::new("node").arg("--version"))?;
    let pinned = |name: &str| fs_err::read(source("dockerode").join(name)).map_err(|error| error.to_string());
    let (package, lock) = (pinned("package.json")?, pinned("package-lock.json")?);
    let stamp = format!("{node}{}", String::from_utf8_lossy(&lock));
    let packages = kept("dockerode", &stamp, |folder| {
        fs_err::write(folder.join("package.json"), package).map_err(|error| error.to_string())?;
        fs_err::write(folder.join("package-lock.json"), lock).map_err(|error| error.to_string())?;
        let mut npm = Command::new("npm");
        npm.args([
            "ci",
            "--ignore-scripts",
            "--omit=optional",
            "--no-audit",
            "--no-fund",
        ]);
        Ok(npm)
    })?;
    let mut node = limited(Path::new("node"));
    node.arg(source("dockerode/check.cjs"))
        .env("NODE_PATH", packages.join("node_modules"));
    Ok(driven(node, world))
}

//! docker-py, the Python library of the Engine API.

use std::path::Path;
use std::process::Command;

use crate::cell::Cells;
use crate::script::{driven, kept, limited, source, succeed};
use crate::world::World;

pub(crate) fn all(world: &World) -> Result<Cells, String> {
    let requirements = source("docker_py/requirements.txt");
    let pinned = fs_err::read_to_string(&requirements).map_err(|error| error.to_string())?;
    let python = succeed(Command::new("python3").arg("--version"))?;
    let packages = kept("docker-py", &format!("{python}{pinned}"), |folder| {
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--target"])
            .arg(folder)
            .arg("-r")
            .arg(&requirements);
        Ok(pip)
    })?;
    let mut python = limited(Path::new("python3"));
    python.arg("-B").arg(source("docker_py/check.py"));
    // no account of this machine's user
    python
        .env("PYTHONPATH", packages)
        .env("DOCKER_CONFIG", world.scratch("docker-config"));
    Ok(driven(python, world))
}

//! go-containerregistry, the Go library behind crane and ko: its access to a daemon.

use std::process::Command;

use crate::cell::Cells;
use crate::script::{driven, kept, limited, source, succeed};
use crate::verbs::ENGINE;
use crate::world::World;

pub(crate) fn all(world: &World) -> Result<Cells, String> {
    let version = succeed(Command::new("go").arg("version"))?;
    let files = ["main.go", "go.mod", "go.sum"].map(|name| fs_err::read_to_string(source("ggcr").join(name)));
    let mut stamp = version;
    for file in files {
        stamp += &file.map_err(|error| error.to_string())?;
    }
    let built = kept("ggcr", &stamp, |folder| {
        let mut go = Command::new("go");
        go.arg("-C").arg(source("ggcr"));
        go.args(["build", "-mod=readonly", "-o"]).arg(folder.join("ggcr"));
        Ok(go)
    })?;
    let mut program = limited(&built.join("ggcr"));
    // an account of this machine's user is none of these
    program.env("DOCKER_CONFIG", world.scratch("docker-config"));
    let mut cells = driven(program, world);
    cells.cannot("it asks a daemon for nothing but images", &ENGINE);
    cells.cannot(
        "it knows one image at a time, and none to delete",
        &[
            "save several",
            "load what is no image",
            "remove",
            "remove by ID, several and forced",
            "remove what has two names",
        ],
    );
    Ok(cells)
}

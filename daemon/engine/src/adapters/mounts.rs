//! Tells the sandbox what a step's mounts are.

use std::path::Path;

use mica_builder::ports::{Mount, MountSource, PortError};
use mica_sandbox::{Hidden, MountSpec, Scratch};

use crate::adapters::agent::Forwarding;
use crate::adapters::exec::lowers;

/// A step's mounts for as long as it runs.
pub(super) struct Mounted {
    /// What the sandbox is told.
    pub(super) specs: Vec<MountSpec>,
    /// Who answers at the sockets among them.
    pub(super) agents: Vec<Forwarding>,
}

/// Makes what has to be made in `folder`, the step's own.
pub(super) fn prepare(mounts: &[Mount], folder: &Path) -> Result<Mounted, PortError> {
    let mut mounted = Mounted {
        specs: Vec::new(),
        agents: Vec::new(),
    };
    for Mount { target, source } in mounts {
        let target = target.clone();
        mounted.specs.push(match source {
            MountSource::Host { path, read_only } => MountSpec::Bind {
                source: path.clone(),
                target,
                read_only: *read_only,
                inert: false,
            },
            MountSource::Layers {
                lowers: trees,
                path,
                scratch,
            } => MountSpec::Layers {
                lowers: lowers(trees),
                path: path.clone(),
                target,
                scratch: scratch.as_ref().map(|scratch| Scratch {
                    upper: scratch.upper.clone(),
                    work: scratch.work.clone(),
                }),
            },
            MountSource::Memory { size, mode } => MountSpec::Tmpfs {
                target,
                size: *size,
                mode: *mode,
            },
            MountSource::Secret { secret, access } => MountSpec::File {
                content: Hidden::from(secret.value.to_vec()),
                target,
                mode: access.mode,
                uid: access.uid,
                gid: access.gid,
            },
            MountSource::Agent { agent, access } => {
                let name = format!("agent-{}", mounted.agents.len());
                let forwarding = Forwarding::start(agent, *access, folder, &name)?;
                mounted.agents.push(forwarding);
                MountSpec::Bind {
                    source: folder.join(name),
                    target,
                    read_only: true,
                    inert: true,
                }
            }
        });
    }
    Ok(mounted)
}

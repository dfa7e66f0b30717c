//! Where the result of a build goes, as its client says it.

use mica_buildkit::message::control::{Exporter, SolveRequest};
use mica_oci::Reference;
use tonic::Status;

/// Among the attributes of an exporter: the names an image gets.
pub(super) const NAME: &str = "name";

/// Where a result goes.
pub(super) enum Target {
    /// Into the store, under these names; `push` says whether to their registries too.
    Store {
        /// The names.
        names: Vec<Reference>,
        /// Whether they are pushed here.
        push: bool,
    },
    /// To the client's output of this number, as a tar of the image's files.
    Tar {
        /// The number.
        number: u32,
        /// Whether every platform has a folder of its own, where the result is by platform.
        is_split: bool,
    },
    /// To the client's output of this number, as an archive of the image under these names: docker's and OCI's in one.
    Archive {
        /// The number.
        number: u32,
        /// The names.
        names: Vec<Reference>,
        /// Whether docker's is what is asked for.
        is_docker: bool,
    },
    /// To the client's store of blobs; it writes down the names itself.
    Blobs {
        /// The names.
        names: Vec<Reference>,
        /// Whether docker's is what is asked for.
        is_docker: bool,
    },
    /// To the client's output of this number, file by file.
    Files {
        /// The number.
        number: u32,
        /// As for a tar.
        is_split: bool,
    },
}

impl Target {
    /// Whether what is said of an image stays behind.
    pub(super) fn leaves_out(&self) -> bool {
        matches!(
            self,
            Self::Store { push: false, .. }
                | Self::Archive { is_docker: true, .. }
                | Self::Blobs { is_docker: true, .. }
        )
    }
}

/// All places a result goes to.
pub(super) fn targets(request: &SolveRequest) -> Result<Vec<Target>, Status> {
    let old = Exporter {
        kind: request.exporter.clone(),
        attrs: request.exporter_attrs.clone(),
    };
    let exporters = match request.exporters.is_empty() && !old.kind.is_empty() {
        // as older clients say it
        true => std::slice::from_ref(&old),
        false => &request.exporters[..],
    };
    let numbered = exporters.iter().zip(0..);
    numbered
        .map(|(exporter, number)| target(exporter, number))
        .collect()
}

/// The place that an exporter means; `number` is that of the client's output.
pub(super) fn target(exporter: &Exporter, number: u32) -> Result<Target, Status> {
    let split = exporter.attrs.get("platform-split").map(String::as_str);
    let is_split = !matches!(split, Some("false" | "0"));
    match exporter.kind.as_str() {
        "moby" | "image" => {
            let push = exporter.attrs.get("push").map(String::as_str);
            let push = matches!(push, Some("true" | "1"));
            Ok(Target::Store {
                names: names(exporter)?,
                push,
            })
        }
        "tar" => Ok(Target::Tar { number, is_split }),
        kind @ ("oci" | "docker") => {
            let names = names(exporter)?;
            let is_docker = kind == "docker";
            match exporter.attrs.get("tar").map(String::as_str) {
                // all that Go takes for false
                Some("false" | "FALSE" | "False" | "f" | "F" | "0") => Ok(Target::Blobs { names, is_docker }),
                _ => Ok(Target::Archive {
                    number,
                    names,
                    is_docker,
                }),
            }
        }
        "local" => Ok(Target::Files { number, is_split }),
        other => Err(Status::unimplemented(format!(
            "exporter {other:?} is not supported by micad: use moby, image, tar, local, oci or docker"
        ))),
    }
}

/// The names an exporter gives.
fn names(exporter: &Exporter) -> Result<Vec<Reference>, Status> {
    let list = exporter.attrs.get(NAME).map_or("", String::as_str);
    let names = list.split(',').filter(|name| !name.is_empty());
    let name = |name: &str| {
        let bad = |error| Status::invalid_argument(format!("invalid name {name:?}: {error}"));
        Ok(name.parse::<Reference>().map_err(bad)?.or_latest())
    };
    names.map(name).collect()
}

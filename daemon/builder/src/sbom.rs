//! Lists what is in an image: runs a generator over its files, and takes in what that writes (BuildKit's documentation, "SBOM
//! scanning protocol"). The generator is an image of somebody's, and trusted no more than a RUN.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use mica_layer::{DirView, Finding, ImagePath, Kind, LayerView as _};
use mica_oci::{Attestation, DiffId};
use mica_task::Stream;

use crate::attesting::Sbom;
use crate::chore::chain;
use crate::error::StepError;
use crate::ops::run::HOSTNAME;
use crate::ports::{BaseImage, Mount, MountSource, Process, Security};
use crate::site::Site;
use crate::state::State;

/// What a list says, as an address.
const SPDX: &str = "https://spdx.dev/Document";
/// The name of the image's own files, and of their list.
const CORE: &str = "sbom";
/// Where the generator finds the image's files.
const SOURCE: &str = "/run/src/core/sbom";
/// Where it finds what else it is to look at.
const EXTRAS: &str = "/run/src/extras";
/// Where it writes to.
const DESTINATION: &str = "/run/out";
/// How the names of lists end.
const SUFFIX: &str = ".spdx.json";

/// The most lists that are taken.
const MAX_LISTS: usize = 64;
/// The most files that are looked at.
const MAX_FILES: usize = 1024;
/// The longest list, in bytes.
const MAX_LIST: u64 = 16 << 20;
/// The most bytes of all lists.
const MAX_BYTES: u64 = 32 << 20;
/// How many bytes of its output are shown of a generator that failed.
const SHOWN: usize = 4 << 10;

/// What is looked at: layers, lowest first.
pub(crate) struct Scanned {
    /// The image's.
    pub core: Vec<DiffId>,
    /// Those of stages and contexts, by name.
    pub extras: Vec<(String, Vec<DiffId>)>,
}

/// Has `generator` list what is in `scanned`.
pub(crate) fn scan(
    asked: &Sbom,
    generator: BaseImage,
    scanned: &Scanned,
    site: &Site<'_>,
) -> Result<Vec<Attestation>, StepError> {
    let layers = site.layers;
    let work = layers.work()?;
    let folder = |name: &str| -> Result<PathBuf, StepError> {
        let path = work.path().join(name);
        fs_err::create_dir(&path)?;
        Ok(path)
    };
    let (upper, overlay, out) = (folder("upper")?, folder("work")?, folder("out")?);
    let mut mounts = vec![
        Mount {
            target: "/tmp".into(),
            source: MountSource::Memory {
                size: None,
                mode: 0o1777,
            },
        },
        Mount {
            target: DESTINATION.into(),
            source: MountSource::Host {
                path: out.clone(),
                read_only: false,
            },
        },
    ];
    let named = scanned.extras.iter();
    let named = named.map(|(name, layers)| (format!("{EXTRAS}/{CORE}-{name}"), layers));
    for (target, shown) in [(SOURCE.to_owned(), &scanned.core)].into_iter().chain(named) {
        let lowers = layers.trees(shown)?;
        let source = match lowers.is_empty() {
            true => MountSource::Host {
                path: folder("empty").or_else(|_| Ok::<_, StepError>(work.path().join("empty")))?,
                read_only: true,
            },
            false => MountSource::Layers {
                lowers,
                path: "/".into(),
                scratch: None,
            },
        };
        let target = target.into();
        mounts.push(Mount { target, source });
    }
    let process = process(
        asked,
        generator,
        (upper, overlay),
        mounts,
        !scanned.extras.is_empty(),
        site,
    )?;
    run(&process, site)?;
    read(&out)
}

fn process(
    asked: &Sbom,
    generator: BaseImage,
    (upper, work): (PathBuf, PathBuf),
    mounts: Vec<Mount>,
    has_extras: bool,
    site: &Site<'_>,
) -> Result<Process, StepError> {
    let state = State::of(generator);
    let config = &state.image.config;
    let words = [&config.entrypoint, &config.cmd].into_iter().flatten().flatten();
    let argv: Vec<String> = words.cloned().collect();
    if argv.is_empty() {
        return Err(StepError::Invalid(
            "the image has neither entrypoint nor command".to_owned(),
        ));
    }
    let mut env = state.env.clone();
    env.set("BUILDKIT_SCAN_DESTINATION", DESTINATION);
    env.set("BUILDKIT_SCAN_SOURCE", SOURCE);
    if has_extras {
        env.set("BUILDKIT_SCAN_SOURCE_EXTRAS", EXTRAS);
    }
    for (name, value) in &asked.parameters {
        env.set(&format!("BUILDKIT_SCAN_{name}"), value);
    }
    let options = site.scope.options;
    Ok(Process {
        lowers: site.layers.trees(&state.layers)?,
        upper,
        work,
        argv,
        env: env.texts(),
        cwd: state.cwd().to_owned(),
        user: config.user.clone(),
        hostname: HOSTNAME.to_owned(),
        network: options.network,
        extra_hosts: options.extra_hosts.clone(),
        ulimits: options.ulimits.clone(),
        limits: options.limits.clone(),
        shm_size: options.shm_size,
        secret_env: Vec::new(),
        security: Security::Sandbox,
        mounts,
    })
}

fn run(process: &Process, site: &Site<'_>) -> Result<(), StepError> {
    let mut last = Vec::new();
    let mut output = |_: Stream, bytes: &[u8]| {
        last.extend_from_slice(bytes);
        let surplus = last.len().saturating_sub(SHOWN);
        last.drain(..surplus);
    };
    let cancel = site.layers.cancel;
    let ended = {
        let _place = site.workshop.place(cancel)?;
        site.executor.run(process, &mut output, cancel)
    };
    cancel.check()?;
    let ended = ended.map_err(StepError::Execute)?;
    match ended.code {
        0 => Ok(()),
        code => {
            let said = String::from_utf8_lossy(&last);
            let said = said.trim();
            let memory = match ended.out_of_memory {
                true => ", out of the memory that a RUN may use",
                false => "",
            };
            let colon = if said.is_empty() { "" } else { ": " };
            Err(StepError::Invalid(format!(
                "it ended with code {code}{memory}{colon}{said}"
            )))
        }
    }
}

/// Takes in the lists that lie in `folder`, that of the image itself first. Whoever wrote them has ended, and may have
/// written anything.
fn read(folder: &Path) -> Result<Vec<Attestation>, StepError> {
    let view = DirView::open(folder)?;
    let found = view.names(&ImagePath::root())?;
    if found.len() > MAX_FILES {
        return Err(StepError::Invalid(format!(
            "it wrote {} files, and at most {MAX_FILES} are looked at",
            found.len()
        )));
    }
    let mut names: Vec<String> = Vec::new();
    for name in found
        .into_iter()
        .filter(|name| name.name.ends_with(SUFFIX.as_bytes()))
    {
        names.push(String::from_utf8(name.name).map_err(|error| {
            StepError::Invalid(format!("it wrote a file whose name is no text: {error}"))
        })?);
    }
    let own = format!("{CORE}{SUFFIX}");
    names.sort_by_key(|name| (*name != own, name.clone()));
    match names.len() {
        0 => return Err(StepError::Invalid(format!("it wrote no {own}"))),
        count if count > MAX_LISTS => {
            return Err(StepError::Invalid(format!(
                "it wrote {count} lists, and at most {MAX_LISTS} are taken"
            )));
        }
        _ => {}
    }
    let mut left = MAX_BYTES;
    let mut lists = Vec::new();
    for name in names {
        let bytes = contents(&view, &name, MAX_LIST.min(left))?;
        left -= bytes.len() as u64;
        let bad = |reason: String| {
            StepError::Invalid(format!("{name} is no list of what is in the image: {reason}"))
        };
        let list = Attestation::of_statement(&name, &bytes).map_err(|error| bad(chain(&error)))?;
        if list.predicate_type != SPDX {
            return Err(bad(format!(
                "its type is {:?} and not {SPDX}",
                list.predicate_type
            )));
        }
        if !list.predicate().starts_with('{') {
            return Err(bad("it is no object".to_owned()));
        }
        lists.push(list);
    }
    Ok(lists)
}

fn contents(view: &DirView, name: &str, limit: u64) -> Result<Vec<u8>, StepError> {
    let path = ImagePath::root().join(name.as_bytes());
    let size = match view.find(&path)? {
        Finding::Node { node, .. } => match node.meta.kind {
            Kind::File { size } => Some(size),
            _ => None,
        },
        _ => None,
    };
    let size = size.ok_or_else(|| StepError::Invalid(format!("{name} is no regular file")))?;
    if size > limit {
        return Err(StepError::Invalid(format!(
            "{name} has {size} bytes, and at most {MAX_LIST} are taken of one list and {MAX_BYTES} of all"
        )));
    }
    let mut bytes = Vec::new();
    view.open(&path)?.reader().take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    const LIST: &str = r#"{"_type":"t","predicateType":"https://spdx.dev/Document","subject":[],"predicate":{"spdxVersion":"SPDX-2.3"}}"#;

    /// What is made of the files that `write` puts into a folder.
    fn taken(write: impl FnOnce(&Path)) -> Result<Vec<Attestation>, String> {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path());
        read(folder.path()).map_err(|error| error.to_string())
    }

    #[test]
    fn lists_are_taken_and_nothing_else() {
        let lists = taken(|folder| {
            fs_err::write(folder.join("sbom.spdx.json"), LIST).unwrap();
            fs_err::write(folder.join("a.spdx.json"), LIST).unwrap();
            fs_err::write(folder.join("notes.txt"), "x").unwrap();
        });
        let lists = lists.unwrap();
        let names: Vec<&str> = lists.iter().map(|list| list.file.as_str()).collect();
        assert_eq!(names, ["sbom.spdx.json", "a.spdx.json"]);
        assert_eq!(lists[0].predicate(), r#"{"spdxVersion":"SPDX-2.3"}"#);
    }

    #[test]
    fn whatever_else_a_generator_leaves_is_refused() {
        let file = |text: &'static str| {
            move |folder: &Path| fs_err::write(folder.join("sbom.spdx.json"), text).unwrap()
        };
        assert!(taken(|_| {}).unwrap_err().contains("wrote no sbom.spdx.json"));
        assert!(taken(file("no json")).unwrap_err().contains("is no list"));
        assert!(taken(file("{}")).unwrap_err().contains("predicateType"));
        let provenance = r#"{"predicateType":"https://slsa.dev/provenance/v0.2","predicate":{}}"#;
        assert!(taken(file(provenance)).unwrap_err().contains("slsa.dev"));
        let text = r#"{"predicateType":"https://spdx.dev/Document","predicate":"x"}"#;
        assert!(taken(file(text)).unwrap_err().contains("no object"));
        let told = taken(|folder| symlink("/etc/passwd", folder.join("sbom.spdx.json")).unwrap());
        assert!(told.unwrap_err().contains("no regular file"));
        let told = taken(|folder| fs_err::create_dir(folder.join("sbom.spdx.json")).unwrap());
        assert!(told.unwrap_err().contains("no regular file"));
        let told = taken(|folder| {
            let file = fs_err::File::create(folder.join("sbom.spdx.json")).unwrap();
            file.set_len(1 << 40).unwrap();
        });
        assert!(told.unwrap_err().contains("1099511627776 bytes"));
        let told = taken(|folder| {
            for number in 0..=MAX_LISTS {
                fs_err::write(folder.join(format!("{number}.spdx.json")), LIST).unwrap();
            }
        });
        assert!(told.unwrap_err().contains("at most 64"));
    }
}

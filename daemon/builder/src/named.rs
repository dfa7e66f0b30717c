//! Named contexts (`--build-context`): which names they take, and what they are once a stage needs them (dockerfile contract 5.8).

use std::collections::HashMap;
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};

use mica_layer::{Content, decompress, is_tar};
use mica_oci::{Platform, Reference, Tag};

use crate::address::{Address, shown};
use crate::context::Context;
use crate::error::{Error, StepError};
use crate::input::Source;
use crate::materials::Found;
use crate::once::Once;
use crate::ops::remote::Remotes;
use crate::options::Options;
use crate::ports::{BaseImage, Images};
use crate::selection::Tree;

/// How much of a file tells whether it is a tar: one header block.
const HEADER: u64 = 512;
/// The longest Dockerfile that is taken from an address, in bytes.
const DOCKERFILE_LIMIT: u64 = 4 << 20;
/// The build argument that keeps `.git` in contexts.
const KEEP_GIT_DIR: &str = "BUILDKIT_CONTEXT_KEEP_GIT_DIR";

/// The names of contexts, as FROM and `--from` are held against them.
#[derive(Debug, Default)]
pub(crate) struct Names(Vec<(String, Option<Platform>)>);

impl Names {
    fn read(names: &[String]) -> Result<Self, Error> {
        let read = |name: &String| {
            let bad = |problem: String| Error::NamedContext {
                name: name.clone(),
                problem: StepError::Invalid(problem),
            };
            let (plain, platform) = match name.split_once("::") {
                Some((plain, platform)) => (plain, Some(platform)),
                None => (name.as_str(), None),
            };
            let platform = platform.map(str::parse::<Platform>).transpose();
            Ok((
                normal(plain).ok_or_else(|| bad("no stage or image can have that name".to_owned()))?,
                platform.map_err(|error| bad(error.to_string()))?,
            ))
        };
        Ok(Self(names.iter().map(read).collect::<Result<_, Error>>()?))
    }

    /// The context that takes the place of what `name` means on a platform; one for just that platform goes first, and of
    /// several the last.
    pub(crate) fn find(&self, name: &str, platform: &Platform) -> Option<usize> {
        let name = normal(name)?;
        let of = |wanted: Option<&Platform>| {
            self.0
                .iter()
                .rposition(|(own, platform)| *own == name && platform.as_ref() == wanted)
        };
        of(Some(platform)).or_else(|| of(None))
    }
}

/// The name of a stage or image as all its spellings have it: `alpine`, `alpine:latest` and
/// `docker.io/library/alpine` are one.
fn normal(name: &str) -> Option<String> {
    let name = name.to_ascii_lowercase();
    let reference: Reference = name.parse().ok()?;
    let mut normal = reference.repository.familiar();
    if let Some(tag) = reference.tag.as_ref().filter(|tag| **tag != Tag::latest()) {
        normal.push_str(&format!(":{}", tag.as_str()));
    }
    if let Some(digest) = &reference.digest {
        normal.push_str(&format!("@{digest}"));
    }
    Some(normal)
}

/// What a context turned out to be.
pub(crate) enum Opened {
    /// Files.
    Files {
        /// As they can be copied.
        tree: Tree,
        /// Where they lie.
        _context: Box<Context>,
    },
    /// An image.
    Image(Box<BaseImage>),
}

/// The named contexts of a build. Each is opened when something needs it first.
pub(crate) struct Named {
    pub(crate) names: Names,
    contexts: Vec<Entry>,
}

struct Entry {
    name: String,
    source: Mutex<Option<Source>>,
    /// What was opened, of images by platform.
    opened: Mutex<HashMap<Option<Platform>, Arc<Once<Opened>>>>,
    is_image: bool,
}

impl Named {
    /// Reads the names; nothing is opened.
    pub(crate) fn new(named: Vec<(String, Source)>) -> Result<Self, Error> {
        let names: Vec<String> = named.iter().map(|(name, _)| name.clone()).collect();
        let contexts = named.into_iter().map(|(name, source)| Entry {
            name,
            is_image: matches!(source, Source::Image(_) | Source::Layout { .. }),
            source: Mutex::new(Some(source)),
            opened: Mutex::default(),
        });
        Ok(Self {
            names: Names::read(&names)?,
            contexts: contexts.collect(),
        })
    }

    /// A context by its number, opened unless it is already.
    pub(crate) fn get(
        &self,
        number: usize,
        opener: &Opener<'_>,
        platform: &Platform,
    ) -> Result<Arc<Opened>, StepError> {
        let entry = &self.contexts[number];
        let opened = {
            let mut opened = entry.opened.lock().unwrap_or_else(PoisonError::into_inner);
            let key = entry.is_image.then(|| platform.clone());
            opened.entry(key).or_default().clone()
        };
        opened.get(opener.remotes.cancel, || {
            let source = entry.source()?;
            opener
                .named(source, &entry.name, platform)
                .map_err(|problem| match problem {
                    Error::Cancelled => StepError::Cancelled(mica_task::Cancelled),
                    named @ Error::NamedContext { .. } => StepError::Stage(Box::new(named)),
                    problem => StepError::Stage(Box::new(Error::NamedContext {
                        name: entry.name.clone(),
                        problem: StepError::Stage(Box::new(problem)),
                    })),
                })
        })
    }
}

impl Entry {
    /// Where the context is. What can be opened only once is taken away.
    fn source(&self) -> Result<Source, StepError> {
        let mut source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(match &*source {
            Some(Source::Image(image)) => Source::Image(image.clone()),
            Some(Source::Layout { folder, image }) => Source::Layout {
                folder: folder.try_clone()?,
                image: image.clone(),
            },
            _ => source.take().unwrap_or(Source::Empty),
        })
    }
}

/// Opens contexts.
pub(crate) struct Opener<'a> {
    /// Who fetches those that lie elsewhere.
    pub remotes: Remotes<'a>,
    /// Who finds images.
    pub images: &'a dyn Images,
    /// Whether repositories keep `.git` even if their address does not say so.
    pub keep_git_dir: bool,
}

impl<'a> Opener<'a> {
    /// Whatever the options say of contexts.
    pub(crate) fn new(remotes: Remotes<'a>, images: &'a dyn Images, options: &Options) -> Self {
        let keep = options.build_arg(KEEP_GIT_DIR).unwrap_or_default();
        Self {
            remotes,
            images,
            keep_git_dir: matches!(keep.to_ascii_lowercase().as_str(), "1" | "t" | "true"),
        }
    }

    /// The build has failed: what is being opened is not wanted any more.
    pub(crate) fn stop(&self) {
        self.remotes.cancel.cancel();
    }

    /// Opens the build context. `dockerfile` is the Dockerfile where it comes apart from it.
    pub(crate) fn main(&self, source: Source, dockerfile: Option<Vec<u8>>) -> Result<Context, Error> {
        let Remotes {
            store, lease, cancel, ..
        } = self.remotes;
        match source {
            Source::Address(address) => self.remote(&address)?.with_dockerfile(dockerfile),
            source => Context::open(source, dockerfile, store, lease, cancel),
        }
    }

    /// What lies at an address: a repository, an archive, or a Dockerfile without a context.
    fn remote(&self, text: &str) -> Result<Context, Error> {
        let Remotes {
            store, lease, cancel, ..
        } = self.remotes;
        let failed = |problem: StepError| match problem {
            StepError::Cancelled(_) => Error::Cancelled,
            problem => Error::RemoteContext {
                address: shown(text),
                problem,
            },
        };
        let url = match Address::of_context(text)? {
            Address::Repository(mut git) => {
                git.keep_git_dir |= self.keep_git_dir;
                let commit = self.remotes.commit(&git).map_err(failed)?;
                let view = self.remotes.checkout_view(&git, &commit).map_err(failed)?;
                return Ok(Context::of_view(view));
            }
            Address::File(url) => url,
        };
        let file = self.remotes.file(&url, None).map_err(failed)?;
        let content = self.remotes.content_of(&file).map_err(failed)?;
        if is_archive(&content) {
            let context = Context::receive(content.reader(), store, lease, cancel)?;
            return Ok(context.without_ignore_file());
        }
        if content.len() > DOCKERFILE_LIMIT {
            return Err(failed(StepError::Invalid(format!(
                "it is no archive, and larger than the {DOCKERFILE_LIMIT} bytes a Dockerfile may have"
            ))));
        }
        let mut bytes = Vec::new();
        content
            .reader()
            .read_to_end(&mut bytes)
            .map_err(Error::ContextIo)?;
        Ok(Context::of_dockerfile(bytes))
    }

    fn named(&self, source: Source, name: &str, platform: &Platform) -> Result<Opened, Error> {
        let plain = |problem| Error::NamedContext {
            name: name.to_owned(),
            problem,
        };
        match source {
            Source::Image(image) => {
                let Remotes { lease, cancel, .. } = self.remotes;
                let found = self
                    .images
                    .resolve(&image, Some(platform), lease, cancel)
                    .map_err(StepError::Image)
                    .map_err(plain)?;
                let materials = self.remotes.materials;
                materials.image(&image, platform, &found, Found::Named);
                Ok(Opened::Image(Box::new(found)))
            }
            Source::Layout { folder, image } => {
                let image = self
                    .remotes
                    .layout(&folder, image.as_deref(), platform)
                    .map_err(plain)?;
                let materials = self.remotes.materials;
                materials.image(name, platform, &image, Found::Layout);
                Ok(Opened::Image(Box::new(image)))
            }
            Source::Blobs { blobs, image } => {
                let image = self.remotes.image(&*blobs, &image, platform).map_err(plain)?;
                let materials = self.remotes.materials;
                materials.image(name, platform, &image, Found::Layout);
                Ok(Opened::Image(Box::new(image)))
            }
            source => {
                let is_ours = matches!(source, Source::Folder(_));
                let context = self.main(source, None)?;
                if context.is_dockerfile() {
                    return Err(plain(StepError::Invalid("it is no archive".to_owned())));
                }
                // only a folder of the client's own has an ignore file that counts
                let context = match is_ours {
                    true => context,
                    false => context.without_ignore_file(),
                };
                let tree = Tree {
                    place: format!("build context {name:?}"),
                    ..context.tree("", true)?
                };
                Ok(Opened::Files {
                    tree,
                    _context: Box::new(context),
                })
            }
        }
    }
}

/// Whether a file is a tar, in any compression.
fn is_archive(content: &Content) -> bool {
    let Ok((reader, _)) = decompress(content.reader()) else {
        return false;
    };
    let mut prefix = Vec::new();
    reader.take(HEADER).read_to_end(&mut prefix).is_ok() && is_tar(&prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Names {
        Names::read(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn all_spellings_of_an_image_are_one_name() {
        let platform: Platform = "linux/amd64".parse().unwrap();
        let named = names(&["docker.io/library/alpine:latest", "ghcr.io/a/b:1", "builder"]);
        for (name, found) in [
            ("alpine", Some(0)),
            ("alpine:latest", Some(0)),
            ("library/alpine", Some(0)),
            ("alpine:3", None),
            ("ghcr.io/a/b:1", Some(1)),
            ("ghcr.io/a/b", None),
            ("Builder", Some(2)),
            ("nothing at all", None),
        ] {
            assert_eq!(named.find(name, &platform), found, "{name}");
        }
    }

    #[test]
    fn a_name_for_a_platform_goes_first() {
        let named = names(&["a::linux/arm64", "a"]);
        let find = |platform: &str| named.find("a", &platform.parse().unwrap());
        assert_eq!((find("linux/arm64"), find("linux/amd64")), (Some(0), Some(1)));
        assert_eq!(
            names(&["a::linux/arm64"]).find("a", &"linux/amd64".parse().unwrap()),
            None
        );
    }

    #[test]
    fn what_nothing_can_be_called_is_refused() {
        for name in ["", "a b", "a::b::c", "a::"] {
            assert!(Names::read(&[name.to_owned()]).is_err(), "{name:?}");
        }
    }
}

//! The files a bind mount shows or a new cache begins with: a path of the context, a stage or an image.

use std::cell::OnceCell;
use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use mica_dockerfile::MountOptions;
use mica_layer::{Changes, ImagePath, Root, Stack, TreeWriter};
use mica_oci::{ChainId, DiffId, Digest};

use crate::draft::Draft;
use crate::error::StepError;
use crate::key::KeyWriter;
use crate::layers::{Form, Order};
use crate::ops::copy::{Copier, Placement};
use crate::ops::mount::OriginOf;
use crate::ops::transfer::Origin;
use crate::selection::{Excludes, Selected, Tree};
use crate::site::{Place, Site};

/// The name of an image without files.
const SCRATCH: &str = "scratch";

/// Where a part of a context lies in the layer that is made of it: attributes of a layer's root get lost.
const PLACE: &str = "/part";

/// A path of a context, a stage or an image.
pub(crate) struct Part<'a> {
    origin: Origin<'a>,
    source: String,
    opened: OnceCell<(Tree, Selected)>,
}

/// The trees a part is seen through.
pub(crate) struct Trees {
    /// Lowest first; at least one.
    pub lowers: Vec<PathBuf>,
    /// The path in them.
    pub path: PathBuf,
}

impl<'a> Part<'a> {
    /// Finds out where the files come from; whether they are there shows when they are looked at.
    pub(crate) fn find(options: &MountOptions, origin: &OriginOf<'_, 'a>) -> Result<Self, StepError> {
        let origin = match options.from.as_deref() {
            Some(SCRATCH) => Origin::Layers {
                layers: Vec::new(),
                place: SCRATCH.to_owned(),
            },
            from => origin(from)?,
        };
        Ok(Self {
            origin,
            source: options.source.clone().unwrap_or_default(),
            opened: OnceCell::new(),
        })
    }

    /// Whether its files are those of layers, and can be told apart without a look at them.
    pub(crate) fn is_of_layers(&self) -> bool {
        matches!(self.origin, Origin::Layers { .. })
    }

    /// Identifies the part by the layers it is in; that of a context by its content.
    pub(crate) fn by_layers(&self, site: &Site<'_>) -> Result<[u8; 32], StepError> {
        let Some(chain) = self.origin.chain() else {
            return self.by_content(site);
        };
        let path = ImagePath::clamped(self.source.as_bytes());
        let key = KeyWriter::new("part", &chain).field(path.as_bytes()).finish();
        Ok(*key.key.digest().as_raw())
    }

    /// Identifies the part by its content, times aside.
    pub(crate) fn by_content(&self, site: &Site<'_>) -> Result<[u8; 32], StepError> {
        Ok(*self.digest(site)?.as_raw())
    }

    /// The trees that show it, made if they are not there yet. `empty` is an empty folder.
    pub(crate) fn trees(&self, site: &Site<'_>, place: Place, empty: &Path) -> Result<Trees, StepError> {
        match &self.origin {
            Origin::Context(_) | Origin::Files(_) => {
                let layer = self.layer(site, place)?;
                Ok(Trees {
                    lowers: site.layers.trees(&[layer])?,
                    path: PLACE.into(),
                })
            }
            Origin::Layers { layers, .. } => {
                let (_, selected) = self.opened(site)?;
                // a single tree would be shown as it is, with marks for what it hides of others
                let mut lowers = vec![empty.to_owned()];
                lowers.extend(site.layers.trees(layers)?);
                Ok(Trees {
                    lowers,
                    path: Path::new("/").join(selected.path.as_path()),
                })
            }
        }
    }

    /// Copies the files of the directory into `place`.
    pub(crate) fn copy_to(&self, place: &Path, site: &Site<'_>) -> Result<(), StepError> {
        let (tree, selected) = self.opened(site)?;
        let meta = &selected.found.node.meta;
        if !meta.is_directory() {
            return Err(StepError::Invalid(format!(
                "invalid cache mount: source {} is not a directory",
                self.source
            )));
        }
        let changes = self.changes("/", site)?;
        let mut writer = TreeWriter::new(Root::open(place)?);
        site.layers.unpack(&changes, &mut writer)?;
        writer.finish()?;
        if !tree.is_context {
            chown(place, Some(meta.uid), Some(meta.gid))?;
        }
        fs_err::set_permissions(place, Permissions::from_mode(meta.mode))?;
        Ok(())
    }

    /// The layer that holds a part of a context, found again by its content.
    fn layer(&self, site: &Site<'_>, place: Place) -> Result<DiffId, StepError> {
        let key = KeyWriter::new("part of a context", &ChainId::empty())
            .field(self.digest(site)?.as_raw())
            .option(site.layers.epoch.map(i64::to_le_bytes))
            .finish();
        let about = format!(
            "mounted from the context: /{}",
            self.source.trim_start_matches('/')
        );
        let record = site.part(&key.key, place, || {
            let changes = self.changes(PLACE, site)?;
            let order = Order {
                parent: ChainId::empty(),
                about: &about,
                fresh: false,
            };
            site.layers.make(order, &changes, Form::Tree)
        })?;
        Ok(record.layer)
    }

    fn changes(&self, dest: &str, site: &Site<'_>) -> Result<Changes, StepError> {
        let (tree, selected) = self.opened(site)?;
        let nothing = Stack::default();
        let mut draft = Draft::new(&nothing, site.now());
        let placement = Placement::new(dest, "/", None, None, site.now());
        let mut copier = Copier {
            draft: &mut draft,
            placement: &placement,
            cancel: site.layers.cancel,
            links: 0,
        };
        copier.copy(tree, selected, &Excludes::parse(&[])?)?;
        let meta = &selected.found.node.meta;
        if meta.is_directory() {
            // COPY makes a directory of its own; this is the one in the source
            draft.amend(&ImagePath::clamped(dest.as_bytes()), |copy| copy.mode = meta.mode);
        }
        Ok(draft.into_changes())
    }

    fn digest(&self, site: &Site<'_>) -> Result<Digest, StepError> {
        let (tree, selected) = self.opened(site)?;
        let selected = std::slice::from_ref(selected);
        tree.digest(selected, &Excludes::parse(&[])?, site.layers.cancel)
    }

    fn opened(&self, site: &Site<'_>) -> Result<&(Tree, Selected), StepError> {
        if let Some(opened) = self.opened.get() {
            return Ok(opened);
        }
        let tree = self.origin.open(site.layers)?;
        let written = ImagePath::clamped(self.source.as_bytes());
        let path = tree.stack.resolve(&written, true)?;
        let found = tree
            .stack
            .lookup(&path)?
            .ok_or_else(|| tree.missing(&self.source, "RUN --mount"))?;
        // what is mounted is called what its target is called
        let name = Vec::new();
        Ok(self.opened.get_or_init(|| (tree, Selected { name, path, found })))
    }
}

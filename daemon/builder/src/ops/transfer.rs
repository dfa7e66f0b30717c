//! COPY and ADD: their words, their key, and the layer they make.

use fs_err::OpenOptions;
use mica_dockerfile::{Add, Copy, Heredoc, expand_heredoc};
use mica_layer::{Kind, Stack};
use mica_oci::{CacheKey, ChainId, DiffId, Digest};
use mica_store::WorkDir;
use mica_task::Event;

use crate::draft::Draft;
use crate::error::StepError;
use crate::key::KeyWriter;
use crate::layers::Layers;
use crate::mode::Mode;
use crate::ops::add::Archive;
use crate::ops::config::Scope;
use crate::ops::copy::{Copier, Placement};
use crate::owner::{Names, parse_owner};
use crate::selection::{Excludes, Selected, Tree};
use crate::site::{Outcome, Place, Site};
use crate::state::State;

/// A tree of an image or stage with the layers it is made of.
pub(crate) struct SourceTree {
    /// Its files.
    pub tree: Tree,
    /// Its layers, lowest first.
    pub layers: Vec<DiffId>,
}

/// What COPY and ADD have in common.
pub(crate) struct Transfer<'a> {
    verb: &'static str,
    sources: &'a [String],
    heredocs: &'a [Heredoc],
    dest: &'a str,
    /// `--from`
    pub from: Option<&'a str>,
    chown: Option<&'a str>,
    chmod: Option<&'a str>,
    excludes: &'a [String],
    link: bool,
    /// Whether archives are unpacked; `None` for COPY.
    unpack: Option<bool>,
}

/// The words of a COPY or ADD with variables in.
struct Words {
    sources: Vec<String>,
    heredocs: Vec<(String, String)>,
    dest: String,
    chown: Option<String>,
    chmod: Option<String>,
}

impl<'a> Transfer<'a> {
    /// What a COPY says.
    pub(crate) fn of_copy(copy: &'a Copy) -> Self {
        Self {
            verb: "COPY",
            sources: &copy.sources,
            heredocs: &copy.heredocs,
            dest: &copy.dest,
            from: copy.from.as_deref(),
            chown: copy.chown.as_deref(),
            chmod: copy.chmod.as_deref(),
            excludes: &copy.excludes,
            link: copy.link && copy.chmod.is_none(),
            unpack: None,
        }
    }

    /// What an ADD says.
    pub(crate) fn of_add(add: &'a Add) -> Self {
        Self {
            verb: "ADD",
            sources: &add.sources,
            heredocs: &add.heredocs,
            dest: &add.dest,
            from: None,
            chown: add.chown.as_deref(),
            chmod: add.chmod.as_deref(),
            excludes: &add.excludes,
            link: add.link && add.chmod.is_none(),
            unpack: Some(add.unpack.unwrap_or(true)),
        }
    }

    fn expand(&self, state: &State, scope: &Scope<'_>) -> Result<Words, StepError> {
        let word = |text: &str| scope.word(state, text);
        let heredoc = |heredoc: &Heredoc| {
            let body = match heredoc.expand {
                true => expand_heredoc(&heredoc.body, &state.env.lookup())?,
                false => heredoc.body.clone(),
            };
            Ok::<_, StepError>((heredoc.name.clone(), body))
        };
        Ok(Words {
            sources: self
                .sources
                .iter()
                .map(|source| word(source))
                .collect::<Result<_, _>>()?,
            heredocs: self.heredocs.iter().map(heredoc).collect::<Result<_, _>>()?,
            dest: word(self.dest)?,
            chown: self.chown.map(word).transpose()?,
            chmod: self.chmod.map(word).transpose()?,
        })
    }
}

impl Words {
    fn created_by(&self, transfer: &Transfer<'_>) -> String {
        let mut text = transfer.verb.to_owned();
        for (flag, value) in [("chown", &self.chown), ("chmod", &self.chmod)] {
            if let Some(value) = value {
                text.push_str(&format!(" --{flag}={value}"));
            }
        }
        for source in &self.sources {
            text.push_str(&format!(" {source}"));
        }
        for (name, _) in &self.heredocs {
            text.push_str(&format!(" <<{name}"));
        }
        format!("{text} {} # buildkit", self.dest)
    }

    /// All inputs but the sources' contents.
    fn key(&self, kind: &str, transfer: &Transfer<'_>, state: &State, epoch: Option<i64>) -> KeyWriter {
        KeyWriter::new(kind, &state.chain())
            .field(transfer.verb)
            .field(&self.dest)
            .field(state.cwd())
            .option(self.chown.as_ref())
            .option(self.chmod.as_ref())
            .list(transfer.excludes.iter())
            .field(format!("{} {:?}", transfer.link, transfer.unpack))
            .list(self.heredocs.iter().map(|(name, _)| name))
            .list(self.heredocs.iter().map(|(_, body)| body))
            .option(epoch.map(i64::to_le_bytes))
    }
}

/// Carries out a COPY or ADD from `source`, or from `context` where there is none. Gives the layer and the history line.
pub(crate) fn step(
    transfer: &Transfer<'_>,
    source: Option<&SourceTree>,
    context: &Tree,
    state: &State,
    site: &Site<'_>,
    place: Place,
) -> Result<(Outcome, String), StepError> {
    let words = transfer.expand(state, &site.scope)?;
    let layers = site.layers;
    let mode = words.chmod.as_deref().map(Mode::parse).transpose()?;
    let excludes = Excludes::parse(transfer.excludes)?;
    let tree = source.map_or(context, |source| &source.tree);
    let key = |kind: &str| words.key(kind, transfer, state, layers.epoch);

    // a stage with the very same layers needs no look at its files
    let mut keys: Vec<CacheKey> = Vec::new();
    if let Some(source) = source {
        let chain = ChainId::of(&source.layers);
        keys.push(
            key("copy-chain")
                .field(chain.digest().as_raw())
                .list(words.sources.iter())
                .finish(),
        );
    }
    let known = if layers.no_cache {
        None
    } else {
        layers.find(&keys)?
    };
    let mut selections = Vec::new();
    if known.is_none() {
        for argument in &words.sources {
            selections.push(tree.select(argument, transfer.verb)?);
        }
        if selections.iter().all(Vec::is_empty) && words.heredocs.is_empty() {
            let text = format!(
                "{} {}: nothing matches, nothing is copied",
                transfer.verb,
                words.sources.join(" ")
            );
            site.reporter.report(Event::Warning { text, line: None });
        }
        let digests = selections
            .iter()
            .map(|selection| tree.digest(selection, &excludes, layers.cancel))
            .collect::<Result<Vec<Digest>, _>>()?;
        keys.push(key("copy").list(digests.iter().map(Digest::as_raw)).finish());
    }
    let created_by = words.created_by(transfer);
    let outcome = site.layer(&keys, layers.no_cache, || {
        site.executing(place, false);
        let below = layers.stack(&state.layers)?;
        // a linked layer is made as if there was nothing below it
        let nothing = Stack::new(Vec::new());
        let names = if state.layers.is_empty() || transfer.link {
            Names::Nowhere
        } else {
            Names::In
        };
        let owner = words
            .chown
            .as_deref()
            .map(|text| parse_owner(text, &below, names))
            .transpose()?;
        let placement = Placement::new(&words.dest, state.cwd(), owner, mode, site.now());
        let mut draft = Draft::new(if transfer.link { &nothing } else { &below }, site.now());
        let mut copier = Copier {
            draft: &mut draft,
            placement: &placement,
            cancel: layers.cancel,
            links: 0,
        };
        // archives are read from here until the layer is written
        let mut spools = Vec::new();
        for selected in selections.iter().flatten() {
            match find_archive(transfer, tree, selected, layers, &mut spools)? {
                Some(archive) => archive.unpack(&mut copier)?,
                None => copier.copy(tree, selected, &excludes)?,
            }
        }
        for (name, body) in &words.heredocs {
            copier.write(name, body.as_bytes())?;
        }
        layers.make(
            &state.chain(),
            &draft.into_changes(),
            site.form(place),
            &created_by,
        )
    })?;
    Ok((outcome, created_by))
}

/// The archive that ADD unpacks instead of copying it.
fn find_archive(
    transfer: &Transfer<'_>,
    tree: &Tree,
    selected: &Selected,
    layers: &Layers<'_>,
    spools: &mut Vec<WorkDir>,
) -> Result<Option<Archive>, StepError> {
    if transfer.unpack != Some(true) || !matches!(selected.found.node.meta.kind, Kind::File { .. }) {
        return Ok(None);
    }
    let spool = || {
        let work = layers.work()?;
        let path = work.path().join("archive.tar");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(path)?;
        spools.push(work);
        Ok(file)
    };
    let content = tree.stack.open(&selected.path)?;
    let cancel = layers.cancel.clone();
    Archive::find(&content, spool, |reader| Box::new(cancel.guard(reader)))
}

//! COPY and ADD: their words, their keys, and the layer they make.

use mica_dockerfile::{Add, Copy, Heredoc, expand_heredoc};
use mica_layer::{Changes, Holes, Kind, Stack, disk};
use mica_oci::{ChainId, DiffId, Digest};
use mica_store::WorkDir;
use mica_task::Event;

use crate::draft::Draft;
use crate::error::StepError;
use crate::key::KeyWriter;
use crate::layers::{Form, Layers};
use crate::mode::Mode;
use crate::ops::add::Archive;
use crate::ops::config::Scope;
use crate::ops::copy::{Copier, Placement};
use crate::ops::remote::Remotes;
use crate::ops::sources::{Addresses, Flags, Part};
use crate::owner::{Names, parse_owner};
use crate::selection::{Excludes, Selected, Tree};
use crate::site::{Outcome, Place, Site};
use crate::state::State;

/// Where a COPY or ADD takes its sources from.
pub(crate) enum Origin<'a> {
    /// The build context.
    Context(&'a Tree),
    /// A named context.
    Files(Tree),
    /// An image or stage, opened only if its files have to be looked at.
    Layers {
        /// Its layers, lowest first.
        layers: Vec<DiffId>,
        /// How errors call it.
        place: String,
    },
}

impl Origin<'_> {
    /// Its files.
    pub(crate) fn open(&self, layers: &Layers<'_>) -> Result<Tree, StepError> {
        Ok(match self {
            Self::Context(tree) => (*tree).clone(),
            Self::Files(tree) => tree.clone(),
            Self::Layers { layers: own, place } => Tree {
                stack: layers.stack(own)?,
                place: place.clone(),
                is_context: false,
                ignore: None,
            },
        })
    }

    /// Identifies all that is in it without a look at its files.
    pub(crate) fn chain(&self) -> Option<ChainId> {
        match self {
            Self::Context(_) | Self::Files(_) => None,
            Self::Layers { layers, .. } => Some(ChainId::of(layers)),
        }
    }
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
    parents: bool,
    checksum: Option<&'a str>,
    keep_git_dir: Option<bool>,
    unpack: Unpack,
}

/// Which archives are unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unpack {
    /// None: COPY, and ADD that says so.
    Nothing,
    /// Those that do not come from the web: ADD that says nothing.
    Local,
    /// All: ADD that says so.
    All,
}

/// The words of a COPY or ADD with variables in.
struct Words {
    sources: Vec<String>,
    heredocs: Vec<(String, String)>,
    dest: String,
    chown: Option<String>,
    chmod: Option<String>,
    checksum: Option<String>,
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
            parents: copy.parents,
            checksum: None,
            keep_git_dir: None,
            unpack: Unpack::Nothing,
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
            parents: false,
            checksum: add.checksum.as_deref(),
            keep_git_dir: add.keep_git_dir,
            unpack: match add.unpack {
                Some(false) => Unpack::Nothing,
                None => Unpack::Local,
                Some(true) => Unpack::All,
            },
        }
    }

    /// All of a tree, as a COPY to the root takes it.
    pub(crate) fn of_all(sources: &'a [String]) -> Self {
        Self {
            verb: "COPY",
            sources,
            heredocs: &[],
            dest: "/",
            from: None,
            chown: None,
            chmod: None,
            excludes: &[],
            link: false,
            parents: false,
            checksum: None,
            keep_git_dir: None,
            unpack: Unpack::Nothing,
        }
    }

    fn adds(&self) -> bool {
        self.verb == "ADD"
    }

    /// How keys call what archives become; records of before must still be found.
    fn unpacks(&self) -> &'static str {
        match (self.adds(), self.unpack) {
            (false, _) => "None",
            (true, Unpack::Nothing) => "Some(false)",
            (true, Unpack::Local) => "Some(true)",
            (true, Unpack::All) => "All",
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
            // what expands to nothing was not said
            chown: self
                .chown
                .map(word)
                .transpose()?
                .filter(|owner| !owner.is_empty()),
            chmod: self.chmod.map(word).transpose()?.filter(|mode| !mode.is_empty()),
            checksum: self
                .checksum
                .map(word)
                .transpose()?
                .filter(|checksum| !checksum.is_empty()),
        })
    }
}

impl Words {
    fn created_by(&self, transfer: &Transfer<'_>) -> String {
        let mut text = transfer.verb.to_owned();
        if transfer.parents {
            text.push_str(" --parents");
        }
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
            .named("destination")
            .field(transfer.verb)
            .field(&self.dest)
            .field(state.cwd())
            .named("options")
            .option(self.chown.as_ref())
            .option(self.chmod.as_ref())
            .list(transfer.excludes.iter())
            .field(format!("{} {}", transfer.link, transfer.unpacks()))
            .named("here-documents")
            .list(self.heredocs.iter().map(|(name, _)| name))
            .list(self.heredocs.iter().map(|(_, body)| body))
            .named("SOURCE_DATE_EPOCH")
            .option(epoch.map(i64::to_le_bytes))
    }
}

/// Carries out a COPY or ADD from `origin`. Gives the layer and the history line.
pub(crate) fn step(
    transfer: &Transfer<'_>,
    origin: &Origin<'_>,
    state: &State,
    site: &Site<'_>,
    place: Place,
) -> Result<(Outcome, String), StepError> {
    let words = transfer.expand(state, &site.scope)?;
    let addresses = Addresses::read(&words.sources, transfer.adds())?;
    addresses.check_checksum(words.checksum.as_deref())?;
    let layers = site.layers;
    let mode = words.chmod.as_deref().map(Mode::parse).transpose()?;
    let excludes = Excludes::parse(transfer.excludes)?;
    let key = |kind: &str| match transfer.parents {
        true => words.key(&format!("{kind} --parents"), transfer, state, layers.epoch),
        false => words.key(kind, transfer, state, layers.epoch),
    };
    let created_by = words.created_by(transfer);

    // a stage with the very same layers needs no look at its files
    let by_chain = origin.chain().map(|chain| {
        key("copy-chain")
            .field(chain.digest().as_raw())
            .list(words.sources.iter())
            .finish()
            .key
    });
    let fresh = site.fresh(place);
    if let (Some(key), false) = (&by_chain, fresh)
        && let Some(record) = site.find(key, place)?
    {
        return Ok((Outcome::of(key, &record, true), created_by));
    }
    let remotes = site.remotes(place);
    let sources = Sources {
        parts: find_parts(transfer, &words, addresses, (origin, &excludes), site, &remotes)?,
        excludes,
        remotes,
    };
    for part in &sources.parts {
        part.prepare(&sources.excludes)?;
    }
    // what nobody has read yet is hashed while it is copied: should the layer turn out to be there, only the copy was in
    // vain
    let mut ahead = None;
    if !transfer.adds() && sources.parts.iter().any(Part::is_unread) && site.form(place) == Form::Tar {
        let _place = site.workshop.place(layers.cancel)?;
        let changes = changes(transfer, &words, mode.clone(), &sources, state, site)?;
        ahead = Some(layers.pack_tar(&changes.of)?);
    }
    let digests = sources
        .parts
        .iter()
        .map(|part| part.digest(&sources.excludes, layers.cancel))
        .collect::<Result<Vec<Digest>, _>>()?;
    let contents = words.sources.iter().zip(&digests);
    let by_content = key("copy")
        .named_list(contents.map(|(source, digest)| (format!("content of {source}"), digest.as_raw())))
        .finish();
    if sources.parts.iter().all(Part::is_empty) && words.heredocs.is_empty() {
        let text = format!("{created_by}: nothing matches, nothing is copied");
        site.reporter.report(Event::Warning {
            text,
            line: None,
            finding: None,
        });
    }
    let outcome = site.layer(&by_content, by_chain.as_slice(), fresh, place, || {
        site.executing(place, false);
        let order = site.order(state, place, &created_by);
        if let Some(ahead) = ahead {
            return layers.keep(order, ahead);
        }
        let changes = changes(transfer, &words, mode, &sources, state, site)?;
        layers.make(order, &changes.of, site.form(place))
    })?;
    Ok((outcome, created_by))
}

/// What is copied.
struct Sources<'a> {
    parts: Vec<Part>,
    excludes: Excludes,
    remotes: Remotes<'a>,
}

/// Finds out what the sources name. Files at addresses are fetched, repositories are only asked for their commit.
fn find_parts(
    transfer: &Transfer<'_>,
    words: &Words,
    addresses: Addresses,
    (origin, excludes): (&Origin<'_>, &Excludes),
    site: &Site<'_>,
    remotes: &Remotes<'_>,
) -> Result<Vec<Part>, StepError> {
    let tree = match addresses.are_all() {
        true => None,
        false => Some(origin.open(site.layers)?),
    };
    let flags = Flags {
        checksum: words.checksum.as_deref(),
        keep_git_dir: transfer.keep_git_dir,
    };
    addresses.resolve(flags, remotes, |at| {
        let tree = tree
            .clone()
            .expect("a source that is no address is a path of the tree");
        let (argument, verb) = (&words.sources[at], transfer.verb);
        if transfer.parents {
            let entries = tree.select_with_parents(argument, verb, excludes, site.layers.cancel)?;
            return Ok(Part::Entries(tree, entries));
        }
        let selected = tree.select(argument, verb)?;
        Ok(Part::Paths(tree, selected))
    })
}

/// What a COPY or ADD changes.
struct Changed {
    of: Changes,
    /// Archives are read from here until the layer is written.
    _spools: Vec<WorkDir>,
}

fn changes(
    transfer: &Transfer<'_>,
    words: &Words,
    mode: Option<Mode>,
    sources: &Sources<'_>,
    state: &State,
    site: &Site<'_>,
) -> Result<Changed, StepError> {
    let layers = site.layers;
    // a linked layer is made as if there was nothing below it
    let below = match transfer.link {
        true => Stack::default(),
        false => layers.stack(&state.layers)?,
    };
    let names = if below.layers().is_empty() {
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
    let mut draft = Draft::new(&below, site.now());
    let mut copier = Copier {
        draft: &mut draft,
        placement: &placement,
        cancel: layers.cancel,
        links: 0,
    };
    let mut spools = Vec::new();
    for part in &sources.parts {
        copy_part(part, transfer, sources, &mut copier, layers, &mut spools)?;
    }
    for (name, body) in &words.heredocs {
        copier.write(name, body.as_bytes())?;
    }
    Ok(Changed {
        of: draft.into_changes(),
        _spools: spools,
    })
}

/// Copies or unpacks what one source names.
fn copy_part(
    part: &Part,
    transfer: &Transfer<'_>,
    sources: &Sources<'_>,
    copier: &mut Copier<'_, '_>,
    layers: &Layers<'_>,
    spools: &mut Vec<WorkDir>,
) -> Result<(), StepError> {
    let (tree, selected, unpacks) = match part {
        Part::Entries(tree, entries) => return copier.copy_entries(tree, entries),
        Part::Repository(git, commit) => {
            let tree = sources.remotes.checkout(git, commit)?;
            let all = tree.select("/", transfer.verb)?;
            return all
                .iter()
                .try_for_each(|all| copier.copy(&tree, all, &sources.excludes));
        }
        Part::Paths(tree, selected) => (tree, selected.as_slice(), transfer.unpack != Unpack::Nothing),
        Part::File(tree, selected) => (
            tree,
            std::slice::from_ref(selected),
            transfer.unpack == Unpack::All,
        ),
    };
    for selected in selected {
        let failed = |source: StepError| StepError::Archive {
            path: String::from_utf8_lossy(selected.path.as_bytes()).into_owned(),
            source: Box::new(source),
        };
        let archive = match unpacks {
            true => find_archive(tree, selected, layers, spools).map_err(failed)?,
            false => None,
        };
        match archive {
            Some(archive) => {
                archive.unpack(copier).map_err(failed)?;
                tree.stack.was_read(&selected.path, None)?;
            }
            None => copier.copy(tree, selected, &sources.excludes)?,
        }
    }
    Ok(())
}

/// The archive that ADD unpacks instead of copying it.
fn find_archive(
    tree: &Tree,
    selected: &Selected,
    layers: &Layers<'_>,
    spools: &mut Vec<WorkDir>,
) -> Result<Option<Archive>, StepError> {
    if !matches!(selected.found.node.meta.kind, Kind::File { .. }) {
        return Ok(None);
    }
    let spool = || {
        let work = layers.work()?;
        let path = work.path().join("archive.tar");
        let file = Holes::new(disk::create(&path)?);
        spools.push(work);
        Ok(file)
    };
    let content = tree.stack.open(&selected.path)?;
    let cancel = layers.cancel.clone();
    Archive::find(&content, spool, |reader| Box::new(cancel.guard(reader)))
}

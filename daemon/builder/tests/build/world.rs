//! A store in a folder of its own, images to build on, and someone who plays at running processes.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use mica_builder::ports::{
    BaseImage, Caches, Ended, Executor, Images, KnownStep, MadeStep, MountSource, PortError, Process, Runs,
};
use mica_builder::{Agent, Builder, Built, Error, Handed, Input, Options, Secret, Source};
use mica_layer::{Kind, Policy, Stack, Step, pack};
use mica_oci::{BuildId, DiffId, Digest, History, ImageConfig, ImageId, Platform, Raw};
use mica_store::{Lease, Store};
use mica_task::{Cancel, Event, Reporter, Stream};
use tempfile::TempDir;

use crate::files::Files;
use crate::remotes::Remotes;

/// Everything a build needs, and what it told.
pub(crate) struct World {
    pub(crate) folder: Arc<TempDir>,
    pub(crate) store: Store,
    /// Images as the fake knows them: by name, and by `name platform` where that is asked for.
    pub(crate) images: Mutex<BTreeMap<String, BaseImage>>,
    /// The names and platforms that were looked up.
    pub(crate) looked_up: Mutex<Vec<String>>,
    /// What lies at addresses.
    pub(crate) remotes: Remotes,
    /// All processes that ran.
    pub(crate) ran: Mutex<Vec<Process>>,
    pub(crate) events: Arc<Mutex<Vec<Event>>>,
    pub(crate) cancel: Cancel,
    /// What clients hand over.
    pub(crate) secrets: Vec<Secret>,
    pub(crate) agents: Vec<Agent>,
    /// How many processes came to a meeting.
    pub(crate) meeting: AtomicUsize,
    pub(crate) workshop: mica_builder::Workshop,
    /// Caches elsewhere.
    pub(crate) elsewhere: Elsewhere,
    /// The name of the last build.
    pub(crate) build_id: Mutex<BuildId>,
    watcher: Arc<dyn Fn(&Event) + Send + Sync>,
    /// Keeps base images.
    lease: Lease,
}

/// Caches that lie elsewhere.
#[derive(Default)]
pub(crate) struct Elsewhere {
    /// What each knows.
    pub(crate) known: Mutex<BTreeMap<String, Vec<KnownStep>>>,
    /// Where their layers are.
    pub(crate) layers: Mutex<Option<Store>>,
    /// The layers that were fetched, and those that cannot be.
    pub(crate) brought: Mutex<Vec<DiffId>>,
    pub(crate) missing: Mutex<Vec<DiffId>>,
    /// What the last build did.
    pub(crate) made: Mutex<Vec<MadeStep>>,
}

/// What a world's builds know of caches.
struct Here<'a>(&'a World);

impl Caches for Here<'_> {
    fn known(&self, name: &str, _: &Lease, _: &Cancel) -> Result<Option<Vec<KnownStep>>, PortError> {
        Ok(self.0.elsewhere.known.lock().unwrap().get(name).cloned())
    }

    fn bring(&self, _: &str, layers: &[DiffId], lease: &Lease, _: &Cancel) -> Result<(), PortError> {
        let elsewhere = &self.0.elsewhere;
        let from = elsewhere.layers.lock().unwrap().clone().unwrap();
        for layer in layers {
            if elsewhere.missing.lock().unwrap().contains(layer) {
                return Err(format!("no {layer}").into());
            }
            let tar = from.tar(&from.lease(), layer)?;
            let mut ingest = self.0.store.ingest(lease)?;
            std::io::copy(&mut tar.open()?, &mut ingest)?;
            let blob = ingest.commit(Some(*layer.digest()))?;
            self.0
                .store
                .add_layer_blob(lease, &blob, mica_oci::Compression::None, layer)?;
            elsewhere.brought.lock().unwrap().push(*layer);
        }
        Ok(())
    }

    fn keep(&self, made: Vec<MadeStep>, _: &Lease) {
        *self.0.elsewhere.made.lock().unwrap() = made;
    }
}

/// A failed build as its user sees it.
pub(crate) fn told(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let part = error.to_string();
        if !text.ends_with(&part) {
            text = format!("{text}: {part}");
        }
        cause = error.source();
    }
    text
}

pub(crate) fn options() -> Options {
    Options {
        filter_context: true,
        ..Options::default()
    }
}

pub(crate) fn args(pairs: &[(&str, &str)]) -> Options {
    let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), Some((*value).to_owned()));
    Options {
        build_args: pairs.iter().map(pair).collect(),
        ..options()
    }
}

impl World {
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let lease = store.lease();
        Self {
            folder: Arc::new(folder),
            remotes: Remotes::new(&store),
            lease,
            store,
            images: Mutex::default(),
            looked_up: Mutex::default(),
            ran: Mutex::default(),
            events: Arc::default(),
            cancel: Cancel::new(),
            secrets: Vec::new(),
            agents: Vec::new(),
            meeting: AtomicUsize::new(0),
            workshop: mica_builder::Workshop::default(),
            elsewhere: Elsewhere::default(),
            build_id: Mutex::new(BuildId::fresh()),
            watcher: Arc::new(|_| {}),
        }
    }

    /// Shows all events to `watcher` from now on.
    pub(crate) fn watch(&mut self, watcher: impl Fn(&Event) + Send + Sync + 'static) {
        self.watcher = Arc::new(watcher);
    }

    /// A world with an image `base` of one layer.
    pub(crate) fn with_base(files: Files) -> Self {
        let world = Self::new();
        world.image("base", &files, ImageConfig::default());
        world
    }

    /// Makes an image that can be built on.
    pub(crate) fn image(&self, name: &str, files: &Files, mut config: ImageConfig) {
        let layer = self.layer(files);
        config.rootfs.diff_ids = vec![layer];
        config.created = Some(Timestamp::from_second(1_500_000_000).unwrap());
        if config.history.is_empty() {
            config.history.push(History {
                created: config.created,
                created_by: format!("made {name}"),
                ..History::default()
            });
        }
        let image = BaseImage {
            manifest: None,
            id: ImageId(Digest::of(name.as_bytes())),
            config,
            layers: vec![layer],
        };
        self.images.lock().unwrap().insert(name.to_owned(), image);
    }

    pub(crate) fn layer(&self, files: &Files) -> DiffId {
        let mut ingest = self.store.ingest(&self.lease).unwrap();
        let packed = pack(files.changes(), &Policy::default(), &mut ingest, None).unwrap();
        self.store
            .add_layer_tar(&self.lease, ingest, &packed)
            .unwrap()
            .diff_id
    }

    pub(crate) fn build(&self, options: &Options, files: &Files) -> Result<Built, Error> {
        self.build_from(options, Cursor::new(files.tar()))
    }

    pub(crate) fn build_from(
        &self,
        options: &Options,
        context: impl std::io::Read + Send + 'static,
    ) -> Result<Built, Error> {
        let input = Input {
            lender: Box::new(Handed {
                secrets: self.secrets.clone(),
                agents: self.agents.clone(),
            }),
            ..Input::of(Source::Tar(Box::new(context)))
        };
        self.build_input(options, input)
    }

    pub(crate) fn build_input(&self, options: &Options, input: Input) -> Result<Built, Error> {
        self.events.lock().unwrap().clear();
        self.ran.lock().unwrap().clear();
        let events = self.events.clone();
        let watcher = self.watcher.clone();
        let reporter = Reporter::new(move |event| {
            watcher(&event);
            events.lock().unwrap().push(event);
        });
        let build = BuildId::fresh();
        *self.build_id.lock().unwrap() = build;
        let builder = Builder {
            store: &self.store,
            images: self,
            executor: self,
            fetch: &self.remotes,
            reporter: &reporter,
            cancel: &self.cancel,
            build,
            caches: &Here(self),
            workshop: &self.workshop,
        };
        builder.build(options, &[], input)
    }

    /// Builds `dockerfile` with `files` beside it.
    pub(crate) fn make(&self, dockerfile: &str, files: &Files) -> Image {
        self.make_with(&options(), dockerfile, files)
    }

    pub(crate) fn make_with(&self, options: &Options, dockerfile: &str, files: &Files) -> Image {
        match self.build(options, &files.clone().file("Dockerfile", dockerfile)) {
            Ok(built) => self.look(&built),
            Err(error) => panic!("{}\n{dockerfile}", told(&error)),
        }
    }

    /// Why `dockerfile` cannot be built.
    pub(crate) fn refuse(&self, dockerfile: &str, files: &Files) -> String {
        self.refuse_with(&options(), dockerfile, files)
    }

    pub(crate) fn refuse_with(&self, options: &Options, dockerfile: &str, files: &Files) -> String {
        match self.build(options, &files.clone().file("Dockerfile", dockerfile)) {
            Ok(_) => panic!("this can be built:\n{dockerfile}"),
            Err(error) => told(&error),
        }
    }

    pub(crate) fn look(&self, built: &Built) -> Image {
        let image = self.store.image(&built.image).unwrap().unwrap();
        let config: &Raw<ImageConfig> = &image.config;
        let layers = config.value().rootfs.diff_ids.clone();
        Image {
            config: config.value().clone(),
            stack: self.stack(&layers),
            layers,
            unused_args: built.unused_args.clone(),
            _folder: self.folder.clone(),
        }
    }

    pub(crate) fn stack(&self, layers: &[DiffId]) -> Stack {
        let view = |layer| self.store.view(&self.lease, layer).unwrap();
        Stack::new(layers.iter().map(view).collect())
    }

    /// The steps that make layers, each with whether an earlier result was taken.
    pub(crate) fn steps(&self) -> Vec<(String, bool)> {
        let events = self.events.lock().unwrap();
        let name_of = |wanted| {
            events.iter().find_map(|event| match event {
                Event::Started { step, name, .. } if *step == wanted => Some(name.clone()),
                _ => None,
            })
        };
        let makes_layer = |name: &String| {
            ["RUN", "COPY", "ADD", "WORKDIR"]
                .iter()
                .any(|word| name.starts_with(word))
        };
        let done = events.iter().filter_map(|event| match event {
            Event::Done { step, cached, .. } => Some((name_of(*step).unwrap(), *cached)),
            _ => None,
        });
        done.filter(|(name, _)| makes_layer(name)).collect()
    }

    /// The steps that were carried out.
    pub(crate) fn executed(&self) -> Vec<String> {
        let steps = self.steps().into_iter();
        steps
            .filter(|(_, cached)| !cached)
            .map(|(name, _)| name)
            .collect()
    }

    pub(crate) fn warnings(&self) -> Vec<String> {
        let events = self.events.lock().unwrap();
        let warning = |event: &Event| match event {
            Event::Warning { text, .. } => Some(text.clone()),
            _ => None,
        };
        events.iter().filter_map(warning).collect()
    }

    /// The commands that ran, shell words joined.
    pub(crate) fn commands(&self) -> Vec<String> {
        let ran = self.ran.lock().unwrap();
        ran.iter().map(|process| process.argv.join(" ")).collect()
    }

    /// What processes wrote to their standard output or error.
    pub(crate) fn logged(&self) -> String {
        let events = self.events.lock().unwrap();
        let bytes = events.iter().filter_map(|event| match event {
            Event::Log { bytes, .. } => Some(bytes.as_slice()),
            _ => None,
        });
        String::from_utf8(bytes.collect::<Vec<_>>().concat()).unwrap()
    }

    /// What is in a folder of the store.
    pub(crate) fn in_folder(&self, name: &str) -> Vec<String> {
        let mut names: Vec<_> = fs_err::read_dir(self.folder.path().join(name))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// Whether a layer lies there as a tree.
    pub(crate) fn has_tree(&self, layer: &DiffId) -> bool {
        self.in_folder("mica/trees").contains(&layer.digest().hex())
    }

    /// Whether a layer lies there as a tar.
    pub(crate) fn has_tar(&self, layer: &DiffId) -> bool {
        self.in_folder("blobs/sha256").contains(&layer.digest().hex())
    }
}

impl Images for World {
    fn resolve(
        &self,
        name: &str,
        platform: Option<&Platform>,
        _lease: &Lease,
        _cancel: &Cancel,
    ) -> Result<BaseImage, PortError> {
        let exact = platform.map_or(name.to_owned(), |platform| format!("{name} {platform}"));
        self.looked_up.lock().unwrap().push(exact.clone());
        let images = self.images.lock().unwrap();
        let image = images.get(&exact).or_else(|| images.get(name));
        image
            .cloned()
            .ok_or_else(|| PortError::from(format!("No such image: {name}")))
    }
}

/// What a fake process does is written in its last argument, a line each: `write PATH TEXT` (relative to the root),
/// `keep PATH TEXT` (in a mount), `read PATH` (in a mount; says what is there),
/// `count PATH` (write how often that was done before), `say TEXT`, `exit CODE`, `starve` (killed for want of memory), `die` (cannot be run at all), `cancel`,
/// `meet COUNT` (wait until as many have begun to wait), `hang` (until it is stopped). Nothing runs for s390x, and for
/// riscv64 only where `/emulator` is in the image.
impl Executor for World {
    fn ready(&self) -> Result<(), PortError> {
        Ok(())
    }

    fn runs(&self, platform: &Platform) -> Runs {
        let reason = format!("nothing runs for {platform}");
        match platform.architecture.as_str() {
            "s390x" => Runs::Not { reason },
            "riscv64" => Runs::With {
                interpreter: "/emulator".to_owned(),
                reason,
            },
            _ => Runs::Always,
        }
    }

    fn run(
        &self,
        process: &Process,
        output: &mut dyn FnMut(Stream, &[u8]),
        cancel: &Cancel,
    ) -> Result<Ended, PortError> {
        let ended = |code| Ended {
            code,
            out_of_memory: false,
            disk_full: false,
        };
        for folder in process.lowers.iter().chain([&process.upper, &process.work]) {
            assert!(folder.is_dir(), "{}", folder.display());
        }
        assert!(fs_err::read_dir(&process.upper).unwrap().next().is_none());
        self.ran.lock().unwrap().push(process.clone());
        for line in process.argv.last().unwrap().lines() {
            let words: Vec<_> = line.splitn(3, ' ').collect();
            match words.as_slice() {
                ["write", path, text] => write(&process.upper, path, text),
                ["keep", path, text] => fs_err::write(host_path(process, path).unwrap(), text).unwrap(),
                ["read", path] => {
                    let found = host_path(process, path);
                    let text = found.map_or("nothing".into(), |path| show(&path));
                    output(Stream::Stdout, format!("{path}: {text}\n").as_bytes());
                }
                ["say", ..] => output(Stream::Stdout, &line.as_bytes()[4..]),
                ["exit", code] => return Ok(ended(code.parse().unwrap())),
                ["starve"] => {
                    return Ok(Ended {
                        code: 137,
                        out_of_memory: true,
                        disk_full: false,
                    });
                }
                ["die"] => return Err("no such device".into()),
                ["meet", count] => {
                    let met = self.meeting.fetch_add(1, Ordering::SeqCst);
                    let all: usize = count.parse().unwrap();
                    let end = Instant::now() + Duration::from_secs(60);
                    while self.meeting.load(Ordering::SeqCst) < all {
                        assert!(Instant::now() < end, "only {met} came");
                        std::thread::sleep(Duration::from_millis(2));
                    }
                }
                ["count", path] => {
                    let number = self.meeting.fetch_add(1, Ordering::SeqCst);
                    write(&process.upper, path, &number.to_string());
                }
                ["hang"] => {
                    let end = Instant::now() + Duration::from_secs(60);
                    while !cancel.is_cancelled() {
                        assert!(Instant::now() < end, "nobody stopped it");
                        std::thread::sleep(Duration::from_millis(2));
                    }
                    return Ok(ended(137));
                }
                ["cancel"] => {
                    cancel.cancel();
                    return Ok(ended(137));
                }
                _ => {}
            }
        }
        Ok(ended(0))
    }
}

/// Where on the host a path is that lies in a mount of a process; the directory it is in has to be there.
fn host_path(process: &Process, path: &str) -> Option<PathBuf> {
    let path = Path::new(path);
    let mount = process
        .mounts
        .iter()
        .rev()
        .find(|mount| path.starts_with(&mount.target))?;
    let rest = path.strip_prefix(&mount.target).unwrap();
    let inside = |start: &Path| match rest.as_os_str().is_empty() {
        true => start.to_owned(),
        false => start.join(rest),
    };
    match &mount.source {
        MountSource::Host { path, .. } => Some(inside(path)),
        MountSource::Layers { lowers, path, .. } => {
            let path = path.strip_prefix("/").unwrap();
            let trees = lowers.iter().rev().map(|lower| inside(&lower.join(path)));
            trees.into_iter().find(|path| path.exists())
        }
        _ => None,
    }
}

/// What a file holds, or a directory's names.
fn show(path: &Path) -> String {
    if !path.is_dir() {
        return fs_err::read_to_string(path).unwrap_or("nothing".into());
    }
    let names = fs_err::read_dir(path).unwrap();
    let mut names: Vec<_> = names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names.join(" ")
}

fn write(upper: &Path, path: &str, text: &str) {
    let file = upper.join(path.trim_start_matches('/'));
    fs_err::create_dir_all(file.parent().unwrap()).unwrap();
    fs_err::write(file, text).unwrap();
}

/// An image that was built.
pub(crate) struct Image {
    pub(crate) config: ImageConfig,
    pub(crate) layers: Vec<DiffId>,
    pub(crate) stack: Stack,
    pub(crate) unused_args: Vec<String>,
    /// Trees are read where they lie.
    _folder: Arc<TempDir>,
}

impl Image {
    /// Its files, each described in a line: path, then type, mode, owner, and what is in it.
    pub(crate) fn files(&self) -> Vec<String> {
        describe(&self.stack)
    }

    /// What made each step, oldest first.
    pub(crate) fn history(&self) -> Vec<String> {
        let lines = self.config.history.iter();
        lines.map(|entry| entry.created_by.clone()).collect()
    }

    pub(crate) fn text(&self, path: &str) -> String {
        let content = self.stack.open(&crate::files::path(path)).unwrap();
        std::io::read_to_string(content.reader()).unwrap()
    }

    pub(crate) fn last(&self) -> &DiffId {
        self.layers.last().unwrap()
    }
}

/// All files of a tree: `a/b 644 0:0 "text"`, `d/ 755 0:0`, `l -> target`; ordinary owners and modes are left out.
pub(crate) fn describe(stack: &Stack) -> Vec<String> {
    let mut lines = Vec::new();
    let mut first_names = BTreeMap::new();
    stack
        .walk(&crate::files::path("/"), &mut |path, found| {
            if path.is_root() {
                return Ok(Step::Into);
            }
            let meta = &found.node.meta;
            let name = path.to_string();
            let mut line = name.clone();
            match &meta.kind {
                Kind::Directory => line.push('/'),
                Kind::Symlink { target } => {
                    line = format!("{line} -> {}", String::from_utf8_lossy(target));
                }
                Kind::File { .. } => {
                    let text = std::io::read_to_string(stack.open(path)?.reader()).unwrap();
                    line = format!("{line} {text:?}");
                    if let Some(key) = found.link() {
                        let first = first_names.entry(key).or_insert_with(|| name.clone());
                        if *first != name {
                            line = format!("{line} = {first}");
                        }
                    }
                }
                other => line = format!("{line} {other:?}"),
            }
            let usual = match meta.kind {
                Kind::Directory => 0o755,
                Kind::Symlink { .. } => meta.mode,
                _ => 0o644,
            };
            if meta.mode != usual {
                line = format!("{line} {:o}", meta.mode);
            }
            if (meta.uid, meta.gid) != (0, 0) {
                line = format!("{line} {}:{}", meta.uid, meta.gid);
            }
            lines.push(line);
            Ok(Step::Into)
        })
        .unwrap();
    lines
}

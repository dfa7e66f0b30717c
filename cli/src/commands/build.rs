//! `mica build`: a folder and its Dockerfile become an image.

use std::fs;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::Path;

use hyper::Method;
use mica_api::{BuiltImage, ContextInput, FOLDER_REFUSED, Message};
use serde_json::Value;

use crate::archive;
use crate::client::{Answer, Body, Client, Query};
use crate::commands::build_after::{self, Built};
use crate::commands::build_context::{Input, Place, open_folder, standard_dockerfile, standard_input};
use crate::commands::build_input::Handed;
use crate::commands::build_options::{Options, build_args, extra_host, labels, ulimits};
use crate::commands::{build_cache, build_check};
use crate::context::{self, InPlace, MAX_FILE_BYTES, Source, Wanted};
use crate::credentials::{Credentials, config_header};
use crate::error::Error;
use crate::interrupt::or_interrupted;
use crate::progress::{End, Kind, View, is_status};
use crate::secret::Secret;
use crate::stream::{Progress, plain};
use crate::{platform, ui};

/// The build argument that makes builds reproducible; taken from the environment if it is set there.
const SOURCE_DATE_EPOCH: &str = "SOURCE_DATE_EPOCH";

/// Where micad is asked for builds.
const HERE: &str = "/mica/build";

pub(super) async fn run(
    options: Options,
    client: impl FnOnce() -> Result<Client, Error>,
    credentials: &Credentials,
) -> Result<(), Error> {
    options.check()?;
    let kind = options.kind()?;
    if let Some(call) = options.call()? {
        return build_check::run(&options, call);
    }
    for name in options.idle() {
        ui::warn(format!("{name} has no effect"));
    }
    for flag in build_cache::unread(&options.cache_from) {
        ui::warn(format!(
            "--cache-from {flag} has no effect: only caches of registries are read (type=registry,ref=NAME)"
        ));
    }
    let destination = options.destination()?;
    let names = build_after::names(&options.tag, &destination)?;
    for file in options.iidfile.iter().chain(&options.metadata_file) {
        remove_old(file)?;
    }
    let mut handed = Handed::of(&options)?;
    let context = Context::prepare(&options, &mut handed)?;
    let client = client()?;
    let mut view = View::new(kind);
    let told = or_interrupted(async {
        let header = config_header(credentials.all().await);
        let job = Job {
            client: &client,
            options: &options,
            kind,
            handed: &handed,
            credentials: header,
        };
        job.build(context, &mut view).await
    })
    .await;
    view.finish(match &told {
        Err(Error::Interrupted { .. }) => End::Interrupted,
        _ => End::Told,
    });
    let told = told?;
    let missing = || Error::Work {
        message: "the daemon did not say which image it built".to_owned(),
        code: None,
    };
    let is_quiet = kind == Kind::Quiet;
    let is_asked_for = options.iidfile.is_some() || options.metadata_file.is_some();
    let is_attested = !options.attestations().is_empty();
    let (id, images) = match told {
        None if is_quiet || is_asked_for || (destination.push && is_attested) => return Err(missing()),
        told => told.unwrap_or_default(),
    };
    if is_attested && !destination.push {
        ui::warn("attestations travel only with --push: the image is kept alone");
    }
    let mut built = Built {
        id,
        images,
        names,
        is_attested,
        digest: None,
    };
    if !destination.push {
        built.tell_others();
    }
    if destination.push {
        let pushing = built.push(&destination, is_quiet, &client, credentials);
        or_interrupted(pushing).await?;
    }
    if is_quiet {
        ui::result(format!("{}\n", built.whole()))?;
    }
    if let Some(file) = &options.metadata_file {
        built.write(file)?;
    }
    match &options.iidfile {
        Some(file) => fs::write(file, built.whole()).map_err(|source| Error::File {
            action: "cannot write",
            path: file.clone(),
            source,
        }),
        None => Ok(()),
    }
}

/// An ID from an earlier build must not be taken for this one's.
fn remove_old(file: &Path) -> Result<(), Error> {
    match fs::remove_file(file) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(Error::File {
            action: "cannot remove",
            path: file.to_owned(),
            source,
        }),
        _ => Ok(()),
    }
}

fn query(options: &Options, dockerfile: &str, is_quiet: bool) -> Result<Query, Error> {
    let variable = |name: &str| std::env::var(name).ok();
    let mut query = Query::default();
    query.push("dockerfile", dockerfile);
    for tag in options.tag.iter().chain(&options.destination()?.names) {
        query.push("t", tag);
    }
    query.flag("q", is_quiet);
    query.flag("nocache", options.no_cache);
    query.flag("pull", options.pull);
    query.push("rm", "1");
    if let Some(target) = &options.target {
        query.push("target", target);
    }
    let mut args = build_args(&options.build_arg, variable)?;
    let timestamp = options.timestamp.map(|seconds| seconds.to_string());
    let variable_epoch = || variable(SOURCE_DATE_EPOCH).filter(|epoch| !epoch.is_empty());
    if let Some(epoch) = timestamp.or_else(variable_epoch) {
        args.entry(SOURCE_DATE_EPOCH).or_insert(Value::String(epoch));
    }
    if options.cache_targets()?.inline {
        args.entry(build_cache::INLINE).or_insert("1".into());
    }
    if !args.is_empty() {
        query.push("buildargs", Value::Object(args).to_string());
    }
    if !options.label.is_empty() {
        query.push("labels", Value::Object(labels(&options.label)).to_string());
    }
    let platforms = options.platforms();
    let platform = (!platforms.is_empty()).then(|| platforms.join(","));
    if let Some(platform) = platform::or_default(platform) {
        query.push("platform", platform);
    }
    if let Some(network) = &options.network {
        query.push("networkmode", network);
    }
    for host in &options.add_host {
        query.push("extrahosts", extra_host(host)?);
    }
    if !options.ulimit.is_empty() {
        query.push("ulimits", ulimits(&options.ulimit)?.to_string());
    }
    let cache = build_cache::images(&options.cache_from);
    if !cache.is_empty() {
        query.push("cachefrom", Value::from(cache).to_string());
    }
    if let Some(size) = options.shm_size {
        query.push("shmsize", size.to_string());
    }
    options.limits.push(&mut query);
    Ok(query)
}

/// Where the context is, looked at.
enum Context {
    Folder(Source),
    Archive(Box<dyn Read + Send>),
    /// None, and a Dockerfile.
    Empty(Source),
    Address(String),
}

impl Context {
    /// Looks at the context. A Dockerfile on standard input is handed over.
    fn prepare(options: &Options, handed: &mut Handed) -> Result<Self, Error> {
        let from_input = options.file.as_deref() == Some(Path::new("-"));
        let place = Place::of(&options.context);
        if from_input && place == Place::Input {
            return Err(Error::Usage {
                message: "invalid argument: can't use stdin for both build context and dockerfile".to_owned(),
            });
        }
        let given = match from_input {
            true => Some(standard_dockerfile(MAX_FILE_BYTES)?),
            false => None,
        };
        Ok(match place {
            Place::Address(address) => {
                if let Some(bytes) = given {
                    handed.dockerfile(&bytes)?;
                }
                Self::Address(address)
            }
            Place::Folder(folder) => {
                let wanted = match (given, options.file.as_deref()) {
                    (Some(bytes), _) => Wanted::Bytes(bytes),
                    (None, Some(file)) => Wanted::File(file),
                    (None, None) => Wanted::Default,
                };
                let source = Source::prepare(&folder, wanted)?;
                if let Some(InPlace::Apart(bytes)) = source.in_place() {
                    handed.dockerfile(bytes)?;
                }
                Self::Folder(source)
            }
            Place::Input => match standard_input(MAX_FILE_BYTES)? {
                Input::Archive(archive) => Self::Archive(archive),
                Input::Dockerfile(_) if options.file.is_some() => {
                    return Err(Error::Usage {
                        message: "ambiguous Dockerfile source: both stdin and flag correspond to Dockerfiles"
                            .to_owned(),
                    });
                }
                Input::Dockerfile(bytes) => {
                    handed.dockerfile(&bytes)?;
                    Self::Empty(Source::empty(bytes))
                }
            },
        })
    }
}

/// Why a daemon does not take what is handed over.
enum Refusal {
    /// It knows no such request.
    Unknown,
    /// What forwards the connection drops them.
    Descriptors,
    /// It reads no folder for this user.
    Folder,
}

impl Refusal {
    fn of(error: &Error) -> Option<Self> {
        match error {
            Error::Daemon { status: 404, message } if message == "page not found" => Some(Self::Unknown),
            Error::Daemon { status: 421, .. } => Some(Self::Descriptors),
            Error::Daemon { status: 403, message } if message == FOLDER_REFUSED => Some(Self::Folder),
            _ => None,
        }
    }
}

/// A build that is asked for.
struct Job<'a> {
    client: &'a Client,
    options: &'a Options,
    kind: Kind,
    handed: &'a Handed,
    credentials: (&'static str, Secret),
}

impl Job<'_> {
    /// Asks for the build and shows what comes back; the image's ID if it was told. What a daemon does not take as
    /// descriptors is sent as a tar.
    async fn build(&self, context: Context, view: &mut View) -> Result<Option<Named>, Error> {
        let file = || self.options.file.as_deref().and_then(Path::to_str).unwrap_or("");
        match context {
            Context::Archive(archive) => {
                let here = self.sends_here().await?;
                let body = Body::Pieces(archive::pieces(archive)?);
                let answer = match here {
                    false => self.send("/build", file(), None, body, Vec::new()).await?,
                    true => self.send_here(ContextInput::Body, None, file(), body).await?,
                };
                follow(answer, view).await
            }
            Context::Address(address) => {
                let here = ContextInput::Address(address.clone());
                let answer = match self.send_here(here, None, file(), Body::Empty).await {
                    Err(error) if Refusal::of(&error).is_some() && self.handed.input.dockerfile.is_none() => {
                        self.refuse_more(error)?;
                        let remote = Some(("remote", address));
                        self.send("/build", file(), remote, Body::Empty, Vec::new())
                            .await?
                    }
                    answer => answer?,
                };
                follow(answer, view).await
            }
            Context::Empty(source) => {
                match self.send_here(ContextInput::Empty, None, "", Body::Empty).await {
                    Err(error) if Refusal::of(&error).is_some() => {
                        let here = self.may_send_here(&error);
                        self.refuse_more(error)?;
                        self.send_tar(source, here, view).await
                    }
                    answer => follow(answer?, view).await,
                }
            }
            Context::Folder(source) => self.build_folder(source, view).await,
        }
    }

    async fn build_folder(&self, source: Source, view: &mut View) -> Result<Option<Named>, Error> {
        let name = match source.in_place() {
            Some(InPlace::Inside(name)) => name.as_str(),
            Some(InPlace::Apart(_)) => "",
            None => {
                let here = self.sends_here().await?;
                return self.send_tar(source, here, view).await;
            }
        };
        let folder = open_folder(source.folder(), "cannot open the context")?;
        let here = ContextInput::Folder(self.handed.next());
        let error = match self.send_here(here, Some(folder), name, Body::Empty).await {
            Ok(answer) => return follow(answer, view).await,
            Err(error) => error,
        };
        match Refusal::of(&error) {
            None => Err(error),
            Some(Refusal::Folder) if self.handed.has_named_folder() => Err(Error::Refused {
                message: format!("--build-context with a folder: {FOLDER_REFUSED}"),
            }),
            Some(Refusal::Folder) => {
                let here = self.handed.needs().is_some() || self.may_send_here(&error);
                self.send_tar(source, here, view).await
            }
            Some(Refusal::Unknown | Refusal::Descriptors) => {
                let here = self.may_send_here(&error);
                self.refuse_more(error)?;
                self.send_tar(source, here, view).await
            }
        }
    }

    /// Whether what is not sent in descriptors goes where they would have gone too: it must where others go with it, and
    /// should where the build is told as statuses, which other daemons do not know.
    async fn sends_here(&self) -> Result<bool, Error> {
        if self.handed.needs().is_some() || !self.kind.wants_status() {
            return Ok(self.handed.needs().is_some());
        }
        match self.client.send(Method::HEAD, HERE, Body::Empty).await {
            Ok(_) => Ok(true),
            Err(Error::Daemon { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The same of a daemon that refused descriptors in this way.
    fn may_send_here(&self, refused: &Error) -> bool {
        self.kind.wants_status() && !matches!(Refusal::of(refused), Some(Refusal::Unknown))
    }

    /// Fails if the daemon that gave this answer would have to take more than a context.
    fn refuse_more(&self, error: Error) -> Result<(), Error> {
        match (self.handed.needs(), Refusal::of(&error)) {
            (None, _) => Ok(()),
            (Some(flag), Some(Refusal::Unknown | Refusal::Descriptors)) => Err(Error::Refused {
                message: format!(
                    "{flag} needs a micad of this version on this machine: {} takes no descriptors",
                    self.client.place()
                ),
            }),
            (Some(_), _) => Err(error),
        }
    }

    /// Sends the context as a tar, `here` if more is handed over with it.
    async fn send_tar(&self, source: Source, here: bool, view: &mut View) -> Result<Option<Named>, Error> {
        let name = source.dockerfile().to_owned();
        let (sending, pieces) = context::send(source, ui::warn)?;
        let body = Body::Pieces(pieces);
        let answer = match here {
            true => self.send_here(ContextInput::Body, None, &name, body).await,
            false => self.send("/build", &name, None, body, Vec::new()).await,
        };
        let result = match answer {
            Ok(answer) => follow(answer, view).await,
            Err(error) => Err(error),
        };
        // If the context failed, all else failed because of it.
        match sending.failure() {
            Some(failure) => Err(failure),
            None => result,
        }
    }

    /// Asks for a build of what is handed over.
    async fn send_here(
        &self,
        context: ContextInput,
        folder: Option<OwnedFd>,
        dockerfile: &str,
        body: Body,
    ) -> Result<Answer, Error> {
        // the tar has the Dockerfile that is handed over in it
        let (words, descriptors) = self.handed.request(context, folder)?;
        self.send(HERE, dockerfile, Some(("input", words)), body, descriptors)
            .await
    }

    async fn send(
        &self,
        door: &str,
        dockerfile: &str,
        more: Option<(&str, String)>,
        body: Body,
        descriptors: Vec<OwnedFd>,
    ) -> Result<Answer, Error> {
        let mut query = query(self.options, dockerfile, self.kind == Kind::Quiet)?;
        if door == HERE && self.kind.wants_status() {
            query.push("progress", "status");
        }
        if let Some((name, value)) = more {
            query.push(name, value);
        }
        let path = format!("{door}{}", query.as_str());
        let credentials = Some(self.credentials.clone());
        self.client
            .send_handing(Method::POST, &path, credentials, body, descriptors)
            .await
    }
}

/// The ID of what was built, and all images of a build for several platforms.
type Named = (String, Vec<BuiltImage>);

async fn follow(answer: Answer, view: &mut View) -> Result<Option<Named>, Error> {
    let mut progress = Progress::of(answer);
    let mut named: Option<Named> = None;
    let mut held = String::new();
    loop {
        match next_on(&mut progress, view).await {
            Ok(Some(message)) => {
                let is_quiet = view.is_quiet();
                if !is_status(&message)
                    && let Some(own) = message.aux_id()
                {
                    named = Some((own, message.aux_images()));
                }
                let text = plain(&message).filter(|_| is_quiet).unwrap_or_default();
                view.show(message)?;
                if let Some(told) = image_id(text.trim()) {
                    named.get_or_insert_default().0 = told.to_owned();
                } else {
                    held.push_str(&text);
                }
            }
            Ok(None) => return Ok(named),
            Err(error) => {
                // What a quiet build kept to itself says why it failed.
                ui::progress(held);
                return Err(error);
            }
        }
    }
}

/// The next line of the stream; while it is awaited, what is due is drawn.
async fn next_on(progress: &mut Progress, view: &mut View) -> Result<Option<Message>, Error> {
    while let Some(due) = view.due() {
        match tokio::time::timeout_at(due.into(), progress.next()).await {
            Ok(next) => return next,
            Err(_) => view.draw(),
        }
    }
    progress.next().await
}

/// The text if it is an image's ID and nothing else.
fn image_id(text: &str) -> Option<&str> {
    let digits = text.strip_prefix("sha256:")?;
    (digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(text)
}

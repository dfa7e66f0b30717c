//! What the Dockerfile's frontend is told, as a request to the engine.

use std::collections::HashMap;
use std::io::Read;

use mica_buildkit::SyncRequest;
use mica_buildkit::message::control::CacheOptionsEntry;
use mica_buildkit::message::solver::Definition;
use mica_engine::{BuildRequest, Examined, IgnorePatterns, Input, NetworkMode, Question, Source, answer};
use serde::Deserialize;
use tonic::Status;

use crate::grpc::content;
use crate::grpc::folder;
use crate::grpc::job::Job;
use crate::grpc::lender::{self, SessionLender};
use crate::grpc::plan;
use crate::grpc::sessions::Named;
use crate::grpc::upload::{self, Upload};
use crate::routes::build_query::{extra_host, platforms, ulimit};

/// What clients call the folder with the build context, if they say nothing else.
const CONTEXT: &str = "context";
/// What clients call the folder with the Dockerfile, if they say nothing else.
const DOCKERFILE: &str = "dockerfile";
/// The build argument that asks for an image that holds its cache.
const INLINE_CACHE: &str = "BUILDKIT_INLINE_CACHE";
/// The build argument that asks for a result by platform, though there is only one.
const MULTI_PLATFORM: &str = "BUILDKIT_MULTI_PLATFORM";
/// The ignore file.
const IGNORE_FILE: &str = ".dockerignore";

/// What is asked.
pub(super) struct Asked {
    request: BuildRequest,
    /// Where the context is from.
    origin: Origin,
    /// What the client calls the folder with it.
    context: String,
    dockerfile: String,
    has_own_dockerfile: bool,
    /// Whether the context is none of the client's folders.
    is_elsewhere: bool,
    named: Vec<(String, String)>,
    /// What is asked of the Dockerfile instead of building it.
    question: Option<Question>,
    /// Plans that stand for named contexts.
    inputs: HashMap<String, Definition>,
    /// Whether the result is by platform, though there is only one.
    is_multi_platform: bool,
}

/// Where a build's context is from.
#[derive(Default)]
pub(crate) enum Origin {
    /// A folder of the client's.
    #[default]
    Folder,
    /// This address; it may mean an upload by the session.
    Address(String),
    /// This tar.
    Tar(Tar),
    /// A tar that comes with a request of its own.
    Upload,
}

/// A tar, as it comes.
pub(crate) type Tar = Box<dyn Read + Send + Sync>;

/// A cache, as it stands in an attribute.
#[derive(Deserialize)]
struct Import {
    #[serde(rename = "Type", default)]
    kind: String,
    #[serde(rename = "Attrs", default)]
    attrs: HashMap<String, String>,
}

impl Asked {
    /// Reads the attributes. Those that nobody knows are passed over, as BuildKit does.
    pub(super) fn read(
        attrs: HashMap<String, String>,
        job: &Job,
        imports: &[CacheOptionsEntry],
    ) -> Result<Self, Status> {
        let request = BuildRequest {
            dockerfile: "Dockerfile".to_owned(),
            ..BuildRequest::default()
        };
        let mut asked = Self::of(request, Origin::Folder);
        let mut attrs: Vec<(String, String)> = attrs.into_iter().collect();
        attrs.sort();
        for (key, value) in attrs {
            asked.take(&key, value)?;
        }
        for right in &job.entitlements {
            match right.as_str() {
                "network.host" if asked.request.network == NetworkMode::Default => {
                    asked.request.network = NetworkMode::Host;
                }
                "security.insecure" => asked.request.insecure_allowed = true,
                _ => {}
            }
        }
        asked.request.cache_to.clone_from(&job.caching.exports);
        if job.caching.inline {
            asked
                .request
                .build_args
                .push((INLINE_CACHE.to_owned(), Some("1".to_owned())));
        }
        for import in imports {
            asked.import(import)?;
        }
        Ok(asked)
    }

    /// What another way in has read already. Its names are not the build's to give: a result is named where it goes to.
    pub(super) fn of(request: BuildRequest, origin: Origin) -> Self {
        Self {
            request: BuildRequest {
                tags: Vec::new(),
                filter_context: true,
                ..request
            },
            origin,
            context: CONTEXT.to_owned(),
            dockerfile: DOCKERFILE.to_owned(),
            has_own_dockerfile: false,
            is_elsewhere: false,
            named: Vec::new(),
            question: None,
            inputs: HashMap::new(),
            is_multi_platform: false,
        }
    }

    /// With plans that stand for named contexts.
    #[must_use]
    pub(super) fn with_inputs(self, inputs: HashMap<String, Definition>) -> Self {
        Self { inputs, ..self }
    }

    /// Whether the result is by platform.
    pub(super) fn is_by_platform(&self) -> bool {
        self.is_multi_platform || self.request.platforms.len() > 1
    }

    fn take(&mut self, key: &str, value: String) -> Result<(), Status> {
        let request = &mut self.request;
        let invalid = |text: String| Status::invalid_argument(text);
        if let Some(name) = key.strip_prefix("build-arg:") {
            self.is_multi_platform |= name == MULTI_PLATFORM && matches!(value.as_str(), "true" | "1");
            request.build_args.push((name.to_owned(), Some(value)));
            return Ok(());
        }
        if let Some(name) = key.strip_prefix("label:") {
            request.labels.push((name.to_owned(), value));
            return Ok(());
        }
        if let Some(name) = key.strip_prefix("context:") {
            self.named.push((name.to_owned(), value));
            return Ok(());
        }
        if let Some(kind) = key.strip_prefix("attest:") {
            return request.attesting.take(kind, &value).map_err(invalid);
        }
        if let Some(name) = key.strip_prefix("vcs:") {
            request.attesting.vcs.insert(name.to_owned(), value);
            return Ok(());
        }
        match key {
            "filename" if !value.is_empty() => request.dockerfile = value,
            "target" if !value.is_empty() => request.target = Some(value),
            "no-cache" => {
                let stages: Vec<String> = list(&value);
                request.no_cache = stages.is_empty();
                request.no_cache_filter = stages;
            }
            "platform" => {
                request.platforms = platforms(&value).map_err(invalid)?;
            }
            "multi-platform" => self.is_multi_platform |= matches!(value.as_str(), "true" | "1"),
            "add-hosts" => {
                for host in list(&value) {
                    let host = extra_host(&host).map_err(|failure| invalid(failure.message().to_owned()))?;
                    request.extra_hosts.push(host);
                }
            }
            "ulimit" => {
                for limit in list(&value) {
                    let limit = ulimit(&limit).ok_or_else(|| invalid(format!("invalid ulimit {limit:?}")))?;
                    request.ulimits.push(limit);
                }
            }
            "cgroup-parent" if !value.is_empty() => {
                request.limits.parent = Some(value);
                request.limits.check().map_err(invalid)?;
            }
            "shm-size" if !value.is_empty() => {
                let size = value
                    .parse()
                    .map_err(|_| invalid(format!("invalid shm-size {value:?}")))?;
                request.shm_size = Some(size);
            }
            "force-network-mode" => {
                request.network = match value.as_str() {
                    "" | "sandbox" | "default" => NetworkMode::Default,
                    "host" => NetworkMode::Host,
                    "none" => NetworkMode::None,
                    other => return Err(invalid(format!("invalid network mode {other:?}"))),
                };
            }
            "image-resolve-mode" => request.pull = value == "pull",
            "context" if !value.is_empty() => self.origin = Origin::Address(value),
            "cache-imports" if !value.is_empty() => {
                let imports: Vec<Import> = serde_json::from_str(&value)
                    .map_err(|error| invalid(format!("invalid cache-imports: {error}")))?;
                for Import { kind, attrs } in imports {
                    self.import(&CacheOptionsEntry { kind, attrs })?;
                }
            }
            "contextkey" if !value.is_empty() => self.context = value,
            "dockerfilekey" if !value.is_empty() => {
                self.dockerfile = value;
                // with a context that is no folder, it is how a client says that the Dockerfile is in one
                self.has_own_dockerfile = true;
            }
            "requestid" if !value.is_empty() => {
                self.question = Some(match value.as_str() {
                    "frontend.lint" => Question::Check,
                    "frontend.outline" => Question::Outline,
                    "frontend.targets" => Question::Targets,
                    other => {
                        return Err(Status::unimplemented(format!(
                            "{other} is not answered by micad: it knows frontend.lint, frontend.outline and frontend.targets"
                        )));
                    }
                });
            }
            "source" | "cmdline" => {}
            _ => {}
        }
        Ok(())
    }

    fn import(&mut self, import: &CacheOptionsEntry) -> Result<(), Status> {
        match (import.kind.as_str(), import.attrs.get("ref")) {
            ("registry", Some(name)) => {
                // clients say it twice
                if !self.request.cache_from.contains(name) {
                    self.request.cache_from.push(name.clone());
                }
                Ok(())
            }
            (kind, _) => Err(Status::unimplemented(format!(
                "a cache of type {kind:?} is not supported by micad: use type=registry,ref=IMAGE"
            ))),
        }
    }

    /// The answer to what is asked of the Dockerfile, as the metadata of a result; `None` if it is to be built.
    pub(super) async fn answer(&self, job: &Job) -> Option<Result<HashMap<String, Vec<u8>>, Status>> {
        let question = self.question?;
        Some(self.tell(job, question).await)
    }

    async fn tell(&self, job: &Job, question: Question) -> Result<HashMap<String, Vec<u8>>, Status> {
        if !matches!(self.origin, Origin::Folder) {
            return Err(Status::unimplemented(
                "what a Dockerfile takes is not told by micad for a context that is no folder",
            ));
        }
        let found = self.definition(session(job)?).await?;
        let ignore = found
            .ignore
            .map(|(_, bytes)| IgnorePatterns::parse(&bytes))
            .transpose();
        let ignore = ignore.map_err(|error| Status::invalid_argument(format!("{error}")))?;
        let host = mica_engine::version().platform.to_string();
        let platform = self
            .request
            .platforms
            .first()
            .map_or_else(|| host.clone(), ToString::to_string);
        let bytes = found.dockerfile.unwrap_or_default();
        let subject = Examined {
            name: &self.request.dockerfile,
            bytes: &bytes,
            build_args: &self.request.build_args,
            target: self.request.target.as_deref(),
            target_platform: &platform,
            build_platform: &host,
            ignore: ignore.as_ref(),
        };
        let (json, text, is_clean) = match answer(&subject, question) {
            Ok(answer) => (answer.json, answer.text, answer.is_clean),
            Err(unanswered) => match unanswered.json {
                Some(json) => (json, unanswered.message, false),
                None => return Err(Status::invalid_argument(unanswered.message)),
            },
        };
        let mut metadata = HashMap::from([
            ("result.json".to_owned(), format!("{json:#}").into_bytes()),
            ("result.txt".to_owned(), text.into_bytes()),
            ("version".to_owned(), b"1.0.0".to_vec()),
        ]);
        if question == Question::Check {
            let code = if is_clean { "0" } else { "1" };
            metadata.insert("result.statuscode".to_owned(), code.into());
        }
        Ok(metadata)
    }

    /// Asks the client for all that the build needs from the start.
    pub(super) async fn gather(mut self, job: &Job) -> Result<(BuildRequest, Input), Status> {
        let mut input = Input::of(Source::Empty);
        if let Some(named) = &job.session {
            input.lender = Box::new(SessionLender::new(named.session.clone(), job.cancel.clone()));
            self.request.credentials = lender::keyring(named.session.clone(), job.cancel.clone());
        }
        let origin = std::mem::take(&mut self.origin);
        self.is_elsewhere = !matches!(origin, Origin::Folder);
        let tar = |tar| Source::Tar(Box::new(job.cancel.guard(tar)));
        match origin {
            Origin::Address(address) => match upload::path(&address) {
                Some(path) => match upload::receive(session(job)?, path).await? {
                    Upload::Archive(archive) => input.context = tar(Box::new(archive) as Tar),
                    Upload::Text(dockerfile) => input.dockerfile = Some(dockerfile),
                },
                None => input.context = Source::Address(address),
            },
            Origin::Tar(body) => input.context = tar(body),
            Origin::Upload => input.context = tar(job.uploaded().await?),
            Origin::Folder => {
                let session = session(job)?;
                let found = self.definition(session).await?;
                input.dockerfile = found.dockerfile;
                let folder = folder::open(session, &self.context, found.ignore, &job.cancel).await?;
                input.context = Source::Synced(folder);
            }
        }
        if self.has_own_dockerfile && input.dockerfile.is_none() {
            input.dockerfile = self.definition(session(job)?).await?.dockerfile;
        }
        for (name, value) in std::mem::take(&mut self.named) {
            // a name may say for which platform it is, which tells nothing where there is only one
            let name = match self.request.platforms.len() {
                0 | 1 => name.split("::").next().unwrap_or_default().to_owned(),
                _ => name,
            };
            let source = self.context_of(job, &value).await?;
            input.named.push((name, source));
        }
        if let Some(text) = &input.dockerfile {
            job.remember(self.request.dockerfile.clone(), text.clone());
        }
        Ok((self.request, input))
    }

    /// What a named context is.
    async fn context_of(&self, job: &Job, value: &str) -> Result<Source, Status> {
        if let Some(name) = value.strip_prefix("input:") {
            let definition = self
                .inputs
                .get(name)
                .ok_or_else(|| Status::invalid_argument(format!("the build has no input {name:?}")))?;
            return Ok(Source::Image(plan::image(definition)?.to_string()));
        }
        if let Some(image) = value.strip_prefix("docker-image://") {
            return Ok(Source::Image(image.to_owned()));
        }
        if let Some(name) = value.strip_prefix("local:") {
            let session = session(job)?;
            let mut files = folder::read(session, name, vec![IGNORE_FILE.to_owned()]).await?;
            let ignore = files
                .remove(IGNORE_FILE)
                .map(|bytes| (IGNORE_FILE.to_owned(), bytes));
            return Ok(Source::Synced(
                folder::open(session, name, ignore, &job.cancel).await?,
            ));
        }
        if let Some(place) = value.strip_prefix("oci-layout://") {
            let session = session(job)?.session.clone();
            return content::layout(session, place, &job.cancel);
        }
        if value.starts_with("target:") {
            return Err(Status::unimplemented(format!(
                "a named context {value:?} is not supported by micad over gRPC yet"
            )));
        }
        Ok(Source::Address(value.to_owned()))
    }

    /// The Dockerfile and the ignore file.
    async fn definition(&self, session: &Named) -> Result<Found, Status> {
        let name = self.request.dockerfile.clone();
        let own = format!("{name}{IGNORE_FILE}");
        let mut wanted = vec![name.clone(), own.clone()];
        if name == "Dockerfile" {
            wanted.push("dockerfile".to_owned());
        }
        let mut files = folder::read(session, &self.dockerfile, wanted).await?;
        let dockerfile = files.remove(&name).or_else(|| files.remove("dockerfile"));
        let ignore = match files.remove(&own) {
            Some(bytes) => Some((own, bytes)),
            // a context that is none of the client's folders brings its own
            None if self.is_elsewhere => None,
            None => {
                let wanted = vec![IGNORE_FILE.to_owned()];
                let mut files = folder::read(session, &self.context, wanted).await?;
                files
                    .remove(IGNORE_FILE)
                    .map(|bytes| (IGNORE_FILE.to_owned(), bytes))
            }
        };
        if dockerfile.is_none() {
            return Err(Status::not_found(format!(
                "failed to read dockerfile: open {name}: no such file or directory"
            )));
        }
        Ok(Found { dockerfile, ignore })
    }
}

struct Found {
    dockerfile: Option<Vec<u8>>,
    ignore: Option<(String, Vec<u8>)>,
}

fn session(job: &Job) -> Result<&Named, Status> {
    job.session
        .as_ref()
        .ok_or_else(|| Status::invalid_argument("the build names no session that could send its files"))
}

fn list(value: &str) -> Vec<String> {
    value
        .split(',')
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect()
}

/// What is asked of a folder by name.
pub(super) fn all_of(folder: &str, exclude: Vec<String>) -> SyncRequest {
    SyncRequest {
        folder: folder.to_owned(),
        exclude,
        ..SyncRequest::default()
    }
}

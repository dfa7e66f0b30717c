//! A build as a client asks for it, by one of both ways, and what is told of it.

use std::collections::{BTreeMap, HashMap};

use mica_buildkit::Method;
use mica_buildkit::message::control::{
    CacheOptions, CacheOptionsEntry, Exporter, SolveRequest, SolveResponse, StatusRequest, StatusResponse,
    Vertex, VertexStatus, VertexWarning,
};
use mica_buildkit::message::gateway::{self, BuildResult, PingRequest, PongResponse, Ref, ResultRef};
use mica_buildkit::message::gateway::{ReturnRequest, ReturnResponse};
use mica_buildkit::message::solver;
use prost::Message;
use tonic::{Code, Status};

use crate::client::Client;
use crate::fresh;

pub(crate) const SOLVE: Method = "/moby.buildkit.v1.Control/Solve";
pub(crate) const STATUS: Method = "/moby.buildkit.v1.Control/Status";
pub(crate) const PING: Method = "/moby.buildkit.v1.frontend.LLBBridge/Ping";
pub(crate) const BRIDGE_SOLVE: Method = "/moby.buildkit.v1.frontend.LLBBridge/Solve";
pub(crate) const EVALUATE: Method = "/moby.buildkit.v1.frontend.LLBBridge/Evaluate";
pub(crate) const RETURN: Method = "/moby.buildkit.v1.frontend.LLBBridge/Return";

const DOCKERFILE: &str = "dockerfile.v0";

/// How the Dockerfile gets read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// The client asks for it while its build goes on, as buildx does.
    Gateway,
    /// The build itself names the frontend, as smaller clients do.
    Direct,
}

pub(crate) const WAYS: [Way; 2] = [Way::Gateway, Way::Direct];

/// What is asked for.
#[derive(Clone)]
pub(crate) struct Build {
    pub(crate) request: SolveRequest,
    pub(crate) attrs: HashMap<String, String>,
    imports: Vec<CacheOptionsEntry>,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) answer: Result<HashMap<String, String>, Status>,
    pub(crate) told: Told,
}

/// What was told of a build.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) vertices: BTreeMap<String, Vertex>,
    pub(crate) parts: Vec<VertexStatus>,
    pub(crate) warnings: Vec<VertexWarning>,
    pub(crate) output: Vec<u8>,
    /// Whether the stream came to its own end.
    pub(crate) ended: bool,
}

impl Build {
    /// A build whose client answers in this session, into the store.
    pub(crate) fn new(session: &str) -> Self {
        Self {
            request: SolveRequest {
                reference: fresh(),
                session: session.to_owned(),
                exporters: vec![Exporter {
                    kind: "moby".to_owned(),
                    attrs: HashMap::new(),
                }],
                ..SolveRequest::default()
            },
            attrs: HashMap::new(),
            imports: Vec::new(),
        }
    }

    /// Under this name.
    pub(crate) fn name(mut self, name: &str) -> Self {
        let attrs = &mut self.request.exporters[0].attrs;
        attrs.insert("name".to_owned(), name.to_owned());
        self
    }

    /// To another place.
    pub(crate) fn to(mut self, kind: &str) -> Self {
        self.request.exporters = vec![Exporter {
            kind: kind.to_owned(),
            attrs: HashMap::new(),
        }];
        self
    }

    /// Tells the frontend something.
    pub(crate) fn attr(mut self, key: &str, value: &str) -> Self {
        self.attrs.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Uses the cache of an image.
    pub(crate) fn cache_from(mut self, kind: &str, name: &str) -> Self {
        self.imports.push(CacheOptionsEntry {
            kind: kind.to_owned(),
            attrs: HashMap::from([("ref".to_owned(), name.to_owned())]),
        });
        self
    }

    /// Writes its cache into the image.
    pub(crate) fn cache_to_inline(self) -> Self {
        self.cache_to("inline", &[])
    }

    /// Writes its cache.
    pub(crate) fn cache_to(mut self, kind: &str, attrs: &[(&str, &str)]) -> Self {
        let attr = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let entry = CacheOptionsEntry {
            kind: kind.to_owned(),
            attrs: attrs.iter().map(attr).collect(),
        };
        self.request.cache.get_or_insert_default().exports.push(entry);
        self
    }

    /// The request of the direct way.
    pub(crate) fn direct(&self) -> SolveRequest {
        SolveRequest {
            frontend: DOCKERFILE.to_owned(),
            frontend_attrs: self.attrs.clone(),
            cache: Some(CacheOptions {
                exports: self.request.cache.clone().unwrap_or_default().exports,
                imports: self.imports.clone(),
            }),
            ..self.request.clone()
        }
    }

    /// The request on the bridge.
    pub(crate) fn bridged(&self) -> gateway::SolveRequest {
        gateway::SolveRequest {
            frontend: DOCKERFILE.to_owned(),
            frontend_opt: self.attrs.clone(),
            allow_result_return: true,
            allow_result_array_ref: true,
            last: true,
            cache_imports: self.imports.clone(),
            ..gateway::SolveRequest::default()
        }
    }

    /// Builds to the end.
    pub(crate) async fn run(self, client: &Client, way: Way) -> Built {
        let name = self.request.reference.clone();
        let telling = tokio::spawn(listen(client.clone(), name.clone()));
        let answer = match way {
            Way::Direct => client.ask::<_, SolveResponse>(SOLVE, self.direct()).await,
            Way::Gateway => {
                let solving = client.ask::<_, SolveResponse>(SOLVE, self.request.clone());
                let bridging = async {
                    let returned = self.bridge(client).await;
                    // a build that is over already says so by its own answer
                    let _ = client.bridge::<_, ReturnResponse>(RETURN, &name, returned).await;
                };
                tokio::pin!(bridging, solving);
                tokio::select! {
                    answer = &mut solving => answer,
                    () = &mut bridging => solving.await,
                }
            }
        };
        let told = telling.await.unwrap();
        if told.ended {
            told.check();
        }
        Built {
            answer: answer.map(|answer| answer.exporter_response),
            told,
        }
    }

    async fn bridge(&self, client: &Client) -> ReturnRequest {
        let name = &self.request.reference;
        let solved = async {
            let pong: PongResponse = client.bridge(PING, name, PingRequest {}).await?;
            assert!(
                pong.frontend_api_caps
                    .iter()
                    .any(|cap| cap.id == "return" && cap.enabled)
            );
            client
                .bridge::<_, gateway::SolveResponse>(BRIDGE_SOLVE, name, self.bridged())
                .await
        };
        match solved.await {
            Ok(answer) => ReturnRequest {
                result: answer.result,
                error: None,
            },
            Err(status) => ReturnRequest {
                result: None,
                error: Some(told_status(&status)),
            },
        }
    }
}

/// A failure as it is returned.
pub(crate) fn told_status(status: &Status) -> solver::Status {
    match status.details() {
        [] => solver::Status {
            code: status.code().into(),
            message: status.message().to_owned(),
            details: Vec::new(),
        },
        details => solver::Status::decode(details).unwrap(),
    }
}

/// A result of one name.
pub(crate) fn result_of(name: &str) -> ReturnRequest {
    ReturnRequest {
        result: Some(BuildResult {
            result: Some(ResultRef::Ref(Ref {
                id: name.to_owned(),
                def: None,
            })),
            metadata: HashMap::new(),
        }),
        error: None,
    }
}

/// When a step began.
fn seconds(vertex: &Vertex) -> (i64, i32) {
    let started = vertex.started.unwrap_or_default();
    (started.seconds, started.nanos)
}

/// The name in an answer of the bridge.
pub(crate) fn name_of(answer: gateway::SolveResponse) -> String {
    match answer.result.and_then(|result| result.result) {
        Some(ResultRef::Ref(reference)) => reference.id,
        other => panic!("no name in {other:?}"),
    }
}

/// Hears all that is told of a build.
pub(crate) async fn listen(client: Client, name: String) -> Told {
    let mut told = Told::default();
    let request = StatusRequest { reference: name };
    let Ok(mut messages) = client.stream::<_, StatusResponse>(STATUS, request).await else {
        return told;
    };
    loop {
        match messages.message().await {
            Ok(Some(message)) => told.take(message),
            Ok(None) => {
                told.ended = true;
                return told;
            }
            Err(_) => return told,
        }
    }
}

impl Told {
    fn take(&mut self, message: StatusResponse) {
        for vertex in message.vertexes {
            let known = self.vertices.entry(vertex.digest.clone()).or_default();
            let ended = known.completed.is_some() && vertex.completed.is_none();
            // a step may begin again, but not lose its end by being told of late
            assert!(
                !ended || seconds(&vertex) > seconds(known),
                "{} ended before: {vertex:?}",
                vertex.name
            );
            *known = vertex;
        }
        self.parts.extend(message.statuses);
        self.warnings.extend(message.warnings);
        for log in message.logs {
            self.output.extend_from_slice(&log.msg);
        }
    }

    /// Everything that began has ended: clients count on for ever otherwise.
    #[track_caller]
    fn check(&self) {
        for vertex in self.vertices.values() {
            assert!(
                vertex.started.is_none() || vertex.completed.is_some(),
                "{} has no end",
                vertex.name
            );
            for input in &vertex.inputs {
                assert!(
                    self.vertices.contains_key(input),
                    "{} stands on nothing",
                    vertex.name
                );
            }
        }
        for part in self.parts.iter().filter(|part| part.started.is_some()) {
            let ends = self.parts.iter().any(|other| {
                (&other.id, &other.vertex) == (&part.id, &part.vertex) && other.completed.is_some()
            });
            let failed = !self.vertices[&part.vertex].error.is_empty();
            assert!(ends || failed, "{} of {} has no end", part.id, part.vertex);
        }
    }

    /// The step whose name has this in it.
    #[track_caller]
    pub(crate) fn step(&self, text: &str) -> &Vertex {
        let found = self.vertices.values().find(|vertex| vertex.name.contains(text));
        found.unwrap_or_else(|| panic!("no {text:?} in {:?}", self.names()))
    }

    pub(crate) fn names(&self) -> Vec<&str> {
        self.vertices
            .values()
            .map(|vertex| vertex.name.as_str())
            .collect()
    }

    /// All steps, and whether they are cached.
    pub(crate) fn cached(&self) -> Vec<(&str, bool)> {
        let steps = self.vertices.values();
        steps
            .map(|vertex| (vertex.name.as_str(), vertex.cached))
            .collect()
    }

    /// What the steps said.
    pub(crate) fn output(&self) -> String {
        String::from_utf8_lossy(&self.output).into_owned()
    }
}

impl Built {
    /// This result, which must be a success.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        if let Err(status) = &self.answer {
            panic!("{status:?}\n{}", self.told.output());
        }
        assert!(self.told.ended, "the end was not told");
        self
    }

    /// How it failed.
    #[track_caller]
    pub(crate) fn failure(&self, code: Code) -> &Status {
        match &self.answer {
            Ok(answer) => panic!("it should have failed: {answer:?}"),
            Err(status) => {
                assert_eq!(status.code(), code, "{status:?}");
                status
            }
        }
    }

    /// The image it came to.
    #[track_caller]
    pub(crate) fn image(&self) -> &str {
        &self.answer.as_ref().unwrap()["containerimage.config.digest"]
    }
}

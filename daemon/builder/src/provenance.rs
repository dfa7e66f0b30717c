//! Says how an image was made: an in-toto predicate in the SLSA forms that BuildKit writes (BuildKit's documentation, "SLSA
//! definitions").

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use mica_dockerfile::{Dockerfile, Span};
use mica_oci::{Attestation, BuildId, DocumentError, Platform};
use serde_json::{Map, Value, json};

use crate::address::without_password;
use crate::attesting::{Mode, Provenance, Version};
use crate::materials::{Origins, Taken};
use crate::options::Options;
use crate::plan::Plan;
use crate::ports::Network;

/// How the parameters are to be understood: as BuildKit's of its Dockerfile frontend.
const BUILD_TYPE_02: &str = "https://mobyproject.org/buildkit@v1";
const BUILD_TYPE_1: &str =
    "https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md";
const PREDICATE_02: &str = "https://slsa.dev/provenance/v0.2";
const PREDICATE_1: &str = "https://slsa.dev/provenance/v1";
/// Where BuildKit keeps what SLSA v0.2 has no place for.
const METADATA_02: &str = "https://mobyproject.org/buildkit@v1#metadata";
/// The frontend that reads Dockerfiles.
const FRONTEND: &str = "dockerfile.v0";
/// What it is called as a file.
const FILE: &str = "provenance.json";
/// Arguments that are told only where everything is.
const BUILD_ARG: &str = "build-arg:";
const LABEL: &str = "label:";

/// A build that is over.
pub(crate) struct Finished<'a> {
    /// Its name.
    pub build: BuildId,
    /// When it began.
    pub began: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// What was asked.
    pub options: &'a Options,
    /// Where the client's part of it was from.
    pub origins: &'a Origins,
    /// What it took in.
    pub taken: &'a Taken,
    /// Name and text of the Dockerfile.
    pub file: (&'a str, &'a [u8]),
    /// What it says.
    pub dockerfile: &'a Dockerfile,
    /// What of it was carried out.
    pub plan: &'a Plan<'a>,
}

/// Says how the image was made.
pub(crate) fn provenance(asked: &Provenance, build: &Finished<'_>) -> Result<Attestation, DocumentError> {
    let parts = Parts::of(asked, build);
    let (kind, predicate) = match asked.version {
        Version::Slsa02 => (PREDICATE_02, parts.slsa_02()),
        Version::Slsa1 => (PREDICATE_1, parts.slsa_1()),
    };
    let file = asked.file.as_deref().unwrap_or(FILE);
    Attestation::new(kind, file, &predicate)
}

/// What both forms say.
struct Parts {
    builder: String,
    /// `uri`, `digest` and the Dockerfile's path.
    source: (Option<String>, Option<Value>, String),
    parameters: Value,
    platform: String,
    materials: Vec<Value>,
    steps: Option<Value>,
    build: String,
    began: String,
    ended: String,
    /// Whether nothing that was asked is left out.
    has_all_parameters: bool,
    /// Whether nothing came from the client itself.
    has_all_materials: bool,
    is_reproducible: bool,
    more: Value,
}

impl Parts {
    fn of(asked: &Provenance, build: &Finished<'_>) -> Self {
        let is_max = asked.mode == Mode::Max;
        let all = arguments(build.options, build.origins);
        let args: Map<String, Value> = all
            .iter()
            .filter(|(key, _)| is_max || !(key.starts_with(BUILD_ARG) || key.starts_with(LABEL)))
            .map(|(key, value)| (key.clone(), value.as_str().into()))
            .collect();
        let has_all_parameters = args.len() == all.len();
        let (uri, digest) = match &build.origins.address {
            Some(address) => {
                let (uri, digest) = build.taken.of_context(address);
                (Some(uri), digest)
            }
            None => (None, None),
        };
        let (name, text) = build.file;
        let mut more = Map::new();
        if !build.options.attesting.vcs.is_empty() {
            let vcs = build.options.attesting.vcs.iter();
            let vcs: Map<String, Value> = vcs
                .map(|(key, value)| (key.clone(), without_password(value).into()))
                .collect();
            more.insert("vcs".to_owned(), Value::Object(vcs));
        }
        let steps = steps(build.dockerfile, build.plan);
        if is_max {
            let locations: Map<String, Value> = steps.iter().map(Step::location).collect();
            let info = json!({
                "filename": name,
                "language": "Dockerfile",
                "data": BASE64_STANDARD.encode(text),
            });
            more.insert(
                "source".to_owned(),
                json!({"locations": locations, "infos": [info]}),
            );
        }
        Self {
            builder: asked.builder_id.clone(),
            source: (uri, digest, name.to_owned()),
            parameters: parameters(args, build, is_max),
            platform: Platform::host().to_string(),
            materials: build.taken.list(),
            steps: is_max.then(|| json!({"steps": steps.iter().map(Step::value).collect::<Vec<_>>()})),
            build: build.build.to_string(),
            began: build.began.to_string(),
            ended: build.ended.to_string(),
            has_all_parameters,
            has_all_materials: build.origins.locals.is_empty(),
            is_reproducible: asked.reproducible,
            more: Value::Object(more),
        }
    }

    fn slsa_02(self) -> Value {
        let (uri, digest, path) = self.source;
        let mut predicate = json!({
            "builder": {"id": self.builder},
            "buildType": BUILD_TYPE_02,
            "materials": self.materials,
            "invocation": {
                "configSource": filled([
                    ("uri", uri.map(Value::from)),
                    ("digest", digest),
                    ("entryPoint", Some(path.into())),
                ]),
                "parameters": self.parameters,
                "environment": {"platform": self.platform},
            },
            "metadata": {
                "buildInvocationID": self.build,
                "buildStartedOn": self.began,
                "buildFinishedOn": self.ended,
                "completeness": {
                    "parameters": self.has_all_parameters,
                    "environment": true,
                    "materials": self.has_all_materials,
                },
                "reproducible": self.is_reproducible,
                METADATA_02: self.more,
            },
        });
        if let Some(steps) = self.steps {
            predicate["buildConfig"] = steps;
        }
        predicate
    }

    fn slsa_1(self) -> Value {
        let (uri, digest, path) = self.source;
        json!({
            "buildDefinition": {
                "buildType": BUILD_TYPE_1,
                "externalParameters": {
                    "configSource": filled([
                        ("uri", uri.map(Value::from)),
                        ("digest", digest),
                        ("path", Some(path.into())),
                    ]),
                    "request": self.parameters,
                },
                "internalParameters": filled([
                    ("buildConfig", self.steps),
                    ("builderPlatform", Some(self.platform.into())),
                ]),
                "resolvedDependencies": self.materials,
            },
            "runDetails": {
                "builder": {"id": self.builder},
                "metadata": {
                    "invocationID": self.build,
                    "startedOn": self.began,
                    "finishedOn": self.ended,
                    "buildkit_metadata": self.more,
                    "buildkit_completeness": {
                        "request": self.has_all_parameters,
                        "resolvedDependencies": self.has_all_materials,
                    },
                    "buildkit_reproducible": self.is_reproducible,
                },
            },
        })
    }
}

/// An object of what there is.
fn filled<const N: usize>(pairs: [(&str, Option<Value>); N]) -> Value {
    let there = pairs
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?)));
    Value::Object(there.collect())
}

/// What the frontend was asked, with the IDs of secrets and agents, never with what is in them.
fn parameters(args: Map<String, Value>, build: &Finished<'_>, is_max: bool) -> Value {
    let lent = |ids: &std::collections::BTreeMap<String, bool>| {
        let one = |(id, optional): (&String, &bool)| match optional {
            true => json!({"id": id, "optional": true}),
            false => json!({"id": id}),
        };
        let list: Vec<Value> = ids.iter().map(one).collect();
        (is_max && !list.is_empty()).then_some(Value::Array(list))
    };
    let locals = build.origins.locals.iter().map(|name| json!({"name": name}));
    let locals: Vec<Value> = locals.collect();
    filled([
        ("frontend", Some(FRONTEND.into())),
        ("args", (!args.is_empty()).then_some(Value::Object(args))),
        ("secrets", lent(&build.taken.secrets)),
        ("ssh", lent(&build.taken.agents)),
        ("locals", (!locals.is_empty()).then_some(Value::Array(locals))),
    ])
}

/// What was asked, as BuildKit's frontend is asked it. What depends on this machine alone is left out.
fn arguments(options: &Options, origins: &Origins) -> Vec<(String, String)> {
    let mut args = Vec::new();
    let mut add = |key: String, value: String| args.push((key, value));
    for (name, value) in &options.build_args {
        if let Some(value) = value {
            add(format!("{BUILD_ARG}{name}"), value.clone());
        }
    }
    for (name, value) in &options.labels {
        add(format!("{LABEL}{name}"), value.clone());
    }
    for (name, value) in &origins.named {
        add(format!("context:{name}"), value.clone());
    }
    if let Some(target) = &options.target {
        add("target".to_owned(), target.clone());
    }
    if options.no_cache || !options.no_cache_filter.is_empty() {
        add("no-cache".to_owned(), options.no_cache_filter.join(","));
    }
    if !options.extra_hosts.is_empty() {
        let hosts = options
            .extra_hosts
            .iter()
            .map(|(name, address)| format!("{name}={address}"));
        add("add-hosts".to_owned(), hosts.collect::<Vec<_>>().join(","));
    }
    if !options.ulimits.is_empty() {
        let limits = options.ulimits.iter();
        let limits = limits.map(|limit| format!("{}={}:{}", limit.name, limit.soft, limit.hard));
        add("ulimit".to_owned(), limits.collect::<Vec<_>>().join(","));
    }
    if let Some(size) = options.shm_size {
        add("shm-size".to_owned(), size.to_string());
    }
    match options.network {
        Network::None => add("force-network-mode".to_owned(), "none".to_owned()),
        Network::Host if options.host_network_allowed => {
            add("force-network-mode".to_owned(), "host".to_owned());
        }
        Network::Host => {}
    }
    // given twice, the last counts
    let mut distinct: Vec<(String, String)> = Vec::new();
    for (key, value) in args {
        distinct.retain(|(known, _)| *known != key);
        distinct.push((key, value));
    }
    distinct
}

/// An instruction that was carried out.
struct Step<'a> {
    number: usize,
    stage: String,
    source: &'a str,
    span: Span,
}

/// The instructions that were carried out, in their order.
fn steps<'a>(dockerfile: &'a Dockerfile, plan: &Plan<'_>) -> Vec<Step<'a>> {
    let mut steps = Vec::new();
    for stage in &plan.order {
        let name = plan
            .name(*stage)
            .map_or_else(|| format!("stage-{stage}"), str::to_owned);
        let from = &dockerfile.stages[*stage];
        let rest = plan.instructions(dockerfile, *stage).iter();
        let rest = rest.map(|located| (located.source.as_str(), located.span));
        for (source, span) in [(from.source.as_str(), from.span)].into_iter().chain(rest) {
            steps.push(Step {
                number: steps.len(),
                stage: name.clone(),
                source,
                span,
            });
        }
    }
    steps
}

impl Step<'_> {
    fn id(&self) -> String {
        format!("step{}", self.number)
    }

    fn value(&self) -> Value {
        json!({"id": self.id(), "stage": self.stage, "instruction": self.source})
    }

    fn location(&self) -> (String, Value) {
        let range = json!({"start": {"line": self.span.start}, "end": {"line": self.span.end}});
        (self.id(), json!({"locations": [{"ranges": [range]}]}))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::materials::Materials;
    use crate::named::Names;
    use mica_oci::Digest;

    const TEXT: &str = "FROM scratch AS a\nCOPY a /\nFROM scratch AS unused\nCOPY b /\nFROM a\nLABEL x=1\n";

    fn predicate(asked: Provenance, edit: impl FnOnce(&mut Options, &mut Origins)) -> Value {
        let mut options = Options {
            build_args: vec![("TOKEN".into(), Some("hidden".into())), ("NONE".into(), None)],
            labels: vec![("l".into(), "v".into())],
            target: None,
            ..Options::default()
        };
        options.attesting.vcs.insert("revision".into(), "abc".into());
        let mut origins = Origins {
            locals: vec!["context".into()],
            ..Origins::default()
        };
        edit(&mut options, &mut origins);
        let dockerfile = Dockerfile::parse(TEXT.as_bytes()).unwrap();
        let names = Names::default();
        let plans = Plan::all(&dockerfile, &options, &names).unwrap();
        let materials = Materials::default();
        materials.secret("key", false);
        materials.file("https://h/context.tar", Digest::of(b"tar"));
        let said = provenance(
            &asked,
            &Finished {
                build: BuildId::fresh(),
                began: Timestamp::UNIX_EPOCH,
                ended: Timestamp::UNIX_EPOCH,
                options: &options,
                origins: &origins,
                taken: &materials.taken(),
                file: ("Dockerfile", TEXT.as_bytes()),
                dockerfile: &dockerfile,
                plan: &plans[0],
            },
        );
        serde_json::from_str(said.unwrap().predicate()).unwrap()
    }

    #[test]
    fn all_is_told_and_what_was_not_carried_out_is_not() {
        let told = predicate(Provenance::default(), |_, _| {});
        assert_eq!(told["buildType"], BUILD_TYPE_02);
        let parameters = &told["invocation"]["parameters"];
        assert_eq!(parameters["frontend"], "dockerfile.v0");
        assert_eq!(parameters["args"]["build-arg:TOKEN"], "hidden");
        assert_eq!(parameters["args"]["label:l"], "v");
        assert!(parameters["args"].get("build-arg:NONE").is_none());
        assert_eq!(parameters["secrets"], json!([{"id": "key"}]));
        assert_eq!(parameters["locals"], json!([{"name": "context"}]));
        assert_eq!(
            told["invocation"]["configSource"],
            json!({"entryPoint": "Dockerfile"})
        );
        assert_eq!(
            told["metadata"]["completeness"],
            json!({"parameters": true, "environment": true, "materials": false})
        );
        assert_eq!(told["metadata"]["buildStartedOn"], "1970-01-01T00:00:00Z");
        let steps = told["buildConfig"]["steps"].as_array().unwrap();
        let sources: Vec<_> = steps
            .iter()
            .map(|step| step["instruction"].as_str().unwrap())
            .collect();
        assert_eq!(sources, ["FROM scratch AS a", "COPY a /", "FROM a", "LABEL x=1"]);
        let more = &told["metadata"][METADATA_02];
        assert_eq!(more["vcs"], json!({"revision": "abc"}));
        assert_eq!(
            more["source"]["locations"]["step2"]["locations"][0]["ranges"][0]["start"]["line"],
            5
        );
        let data = more["source"]["infos"][0]["data"].as_str().unwrap();
        assert_eq!(BASE64_STANDARD.decode(data).unwrap(), TEXT.as_bytes());
    }

    #[test]
    fn the_least_says_nothing_that_may_be_private() {
        let least = Provenance {
            mode: Mode::Min,
            ..Provenance::default()
        };
        let told = predicate(least, |_, _| {});
        let text = told.to_string();
        for private in [
            "hidden",
            "TOKEN",
            "label:l",
            "\"key\"",
            "COPY a",
            "buildConfig",
            "infos",
        ] {
            assert!(!text.contains(private), "{private}: {text}");
        }
        assert_eq!(told["metadata"]["completeness"]["parameters"], false);
        assert_eq!(told["metadata"][METADATA_02]["vcs"]["revision"], "abc");
    }

    #[test]
    fn the_other_form_says_the_same() {
        let one = Provenance {
            version: Version::Slsa1,
            ..Provenance::default()
        };
        let told = predicate(one, |_, origins| {
            *origins = Origins {
                address: Some("https://u:p@h/context.tar".into()),
                ..Origins::default()
            };
        });
        let definition = &told["buildDefinition"];
        assert_eq!(definition["buildType"], BUILD_TYPE_1);
        let digest = json!({"sha256": Digest::of(b"tar").hex()});
        assert_eq!(
            definition["externalParameters"]["configSource"],
            json!({"uri": "https://h/context.tar", "digest": digest, "path": "Dockerfile"})
        );
        assert_eq!(definition["resolvedDependencies"][0]["digest"], digest);
        assert_eq!(
            definition["internalParameters"]["buildConfig"]["steps"][0]["id"],
            "step0"
        );
        assert_eq!(
            told["runDetails"]["metadata"]["buildkit_completeness"],
            json!({"request": true, "resolvedDependencies": true})
        );
    }
}

//! Looking at one image, and at how it was made.

use hyper::StatusCode;
use mica_api::{
    GraphDriver, HistoryItem, ImageInspect, InspectConfig, InspectHealthcheck, LegacyConfig, Metadata,
    RootFs, ZERO_TIME,
};
use mica_engine::{Image, Step, blocking};
use mica_oci::{ContainerConfig, Healthcheck, Reference};
use serde_json::Value;

use crate::routes::Call;
use crate::routes::images::signed;
use crate::wire::platform;
use crate::wire::reply::{Failure, Reply, json};
use crate::wire::version::ApiVersion;

/// `GET /images/{name}/json`
pub(crate) async fn inspect(call: Call, name: String) -> Result<Reply, Failure> {
    let wanted = platform::since(49, call.version, &call.query)?;
    if wanted.is_some() && call.query.flag("manifests", false) {
        return Err(Failure::invalid(
            "conflicting options: manifests and platform options cannot both be set",
        ));
    }
    let engine = call.daemon.engine.clone();
    let image = blocking(move || engine.image_for(&name, wanted.as_ref())).await?;
    json(StatusCode::OK, &describe(&image, call.version))
}

/// `GET /images/{name}/history`
pub(crate) async fn history(call: Call, name: String) -> Result<Reply, Failure> {
    let wanted = platform::since(48, call.version, &call.query)?;
    let engine = call.daemon.engine.clone();
    let steps = blocking(move || engine.history(&name, wanted.as_ref())).await?;
    let items: Vec<HistoryItem> = steps.iter().map(history_item).collect();
    json(StatusCode::OK, &items)
}

fn history_item(step: &Step) -> HistoryItem {
    let tags: Vec<String> = step
        .references
        .iter()
        .filter(|reference| reference.digest.is_none())
        .map(Reference::familiar)
        .collect();
    HistoryItem {
        id: step
            .image
            .map_or_else(|| "<missing>".to_owned(), |id| id.to_string()),
        created: step.created.map_or(0, |time| time.as_second()),
        created_by: step.created_by.clone(),
        tags: Some(tags).filter(|tags| !tags.is_empty()),
        size: signed(step.size),
        comment: step.comment.clone(),
    }
}

fn describe(image: &Image, version: ApiVersion) -> ImageInspect {
    let config = image.config.value();
    let (digests, tags): (Vec<&Reference>, Vec<&Reference>) = image
        .references
        .iter()
        .partition(|reference| reference.digest.is_some());
    let familiar = |references: Vec<&Reference>| references.into_iter().map(Reference::familiar).collect();
    let text = |key: &str| {
        config
            .extra
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let layers = &config.rootfs.diff_ids;
    ImageInspect {
        id: image.id.to_string(),
        repo_tags: familiar(tags),
        repo_digests: familiar(digests),
        parent: image.parent.map(|parent| parent.to_string()).unwrap_or_default(),
        comment: config
            .history
            .last()
            .map(|step| step.comment.clone())
            .unwrap_or_default(),
        created: image
            .created
            .map_or_else(|| ZERO_TIME.to_owned(), |time| time.to_string()),
        container: (version < ApiVersion::v1(45)).then(|| text("container")),
        container_config: (version < ApiVersion::v1(45)).then(|| {
            config
                .extra
                .get("container_config")
                .cloned()
                .unwrap_or_else(no_container)
        }),
        docker_version: text("docker_version"),
        author: config.author.clone(),
        config: describe_config(&config.config, version),
        architecture: config.architecture.clone(),
        variant: config.variant.clone(),
        os: config.os.clone(),
        os_version: config.os_version.clone(),
        size: signed(image.size),
        virtual_size: (version < ApiVersion::v1(44)).then(|| signed(image.size)),
        graph_driver: GraphDriver {
            name: "overlay".to_owned(),
            data: None,
        },
        root_fs: RootFs {
            kind: "layers".to_owned(),
            layers: layers.iter().map(ToString::to_string).collect(),
        },
        metadata: Metadata {
            last_tag_time: image
                .tagged_at
                .map_or_else(|| ZERO_TIME.to_owned(), |time| time.to_string()),
        },
    }
}

/// The config of a container where there was none: clients of these versions expect one.
fn no_container() -> Value {
    let config = InspectConfig {
        legacy: Some(LegacyConfig::default()),
        ..InspectConfig::default()
    };
    serde_json::to_value(config).unwrap_or_default()
}

fn describe_config(config: &ContainerConfig, version: ApiVersion) -> InspectConfig {
    // a set is an object with empty values in both worlds
    let set = |keys: &Option<mica_oci::config::KeySet>| {
        keys.as_ref().map(|keys| {
            let entries = keys
                .keys()
                .map(|key| (key.clone(), Value::Object(serde_json::Map::new())));
            Value::Object(entries.collect())
        })
    };
    InspectConfig {
        legacy: (version < ApiVersion::v1(50)).then(LegacyConfig::default),
        user: config.user.clone(),
        exposed_ports: set(&config.exposed_ports),
        env: config.env.clone(),
        cmd: config.cmd.clone(),
        healthcheck: config.healthcheck.as_ref().map(describe_healthcheck),
        args_escaped: config.args_escaped,
        volumes: set(&config.volumes),
        working_dir: config.working_dir.clone(),
        entrypoint: config.entrypoint.clone(),
        on_build: config.on_build.clone(),
        labels: config.labels.clone(),
        stop_signal: config.stop_signal.clone(),
        shell: config.shell.clone(),
    }
}

fn describe_healthcheck(check: &Healthcheck) -> InspectHealthcheck {
    InspectHealthcheck {
        test: check.test.clone(),
        interval: check.interval,
        timeout: check.timeout,
        start_period: check.start_period,
        start_interval: check.start_interval,
        retries: check.retries,
    }
}

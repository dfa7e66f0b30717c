//! `/_ping`, `/version` and `/info`.

use std::collections::BTreeMap;

use hyper::header::{CACHE_CONTROL, CONTENT_LENGTH, HeaderName, HeaderValue, PRAGMA};
use hyper::{Method, StatusCode};
use jiff::Timestamp;
use mica_api::{
    API_VERSION, Component, IndexConfig, Info, MIN_API_VERSION, Platform, Plugins, RegistryConfig, Runtime,
    Version,
};
use mica_engine::blocking;

use crate::config::Registries;
use crate::routes::Call;
use crate::wire::reply::{Failure, Reply, TEXT, json, whole};

/// The registry of names that name none, as clients key credentials.
const INDEX_SERVER: &str = "https://index.docker.io/v1/";
/// Registries on this machine need no TLS.
const LOCAL: [&str; 2] = ["::1/128", "127.0.0.0/8"];

/// Whether the daemon is there, and what it speaks.
pub(crate) fn ping(call: &Call) -> Reply {
    let head = call.method == Method::HEAD;
    let mut reply = whole(StatusCode::OK, TEXT, if head { "" } else { "OK" });
    let headers = reply.headers_mut();
    if head {
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    // docker 20.10 and before go by this if nobody told them otherwise; 2, as dockerd says since 23, is BuildKit over a session,
    // in which tests/clients has 20.10 build in every way it can. With it come secrets, agents, outputs and contexts of which only
    // what changed is sent. Other clients choose for themselves, and 1 is served to whoever asks for it.
    headers.insert(
        HeaderName::from_static("builder-version"),
        HeaderValue::from_static("2"),
    );
    headers.insert(
        HeaderName::from_static("swarm"),
        HeaderValue::from_static("inactive"),
    );
    headers.insert(
        CACHE_CONTROL,
        HeaderValue::from_static("no-cache, no-store, must-revalidate"),
    );
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    reply
}

/// What the daemon is.
pub(crate) fn version(_: &Call) -> Result<Reply, Failure> {
    let own = mica_engine::version();
    let details = [
        ("ApiVersion", API_VERSION),
        ("MinAPIVersion", MIN_API_VERSION),
        ("GitCommit", ""),
        ("GoVersion", own.compiler),
        ("Os", &own.platform.os),
        ("Arch", &own.platform.architecture),
        ("BuildTime", ""),
        ("KernelVersion", &own.kernel),
        ("Experimental", "false"),
    ];
    let component = |name: &str, details| Component {
        name: name.to_owned(),
        version: own.version.to_owned(),
        details,
    };
    let details: BTreeMap<String, String> = details
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    let version = Version {
        platform: Platform {
            name: "mica".to_owned(),
        },
        components: vec![component("Engine", details), component("mica", BTreeMap::new())],
        version: own.version.to_owned(),
        api_version: API_VERSION.to_owned(),
        min_api_version: MIN_API_VERSION.to_owned(),
        git_commit: String::new(),
        go_version: own.compiler.to_owned(),
        os: own.platform.os.clone(),
        arch: own.platform.architecture.clone(),
        kernel_version: own.kernel.clone(),
        experimental: false,
        build_time: String::new(),
    };
    json(StatusCode::OK, &version)
}

/// What the machine is, and what the store holds.
pub(crate) async fn info(call: Call) -> Result<Reply, Failure> {
    let engine = call.daemon.engine.clone();
    let root = engine.root().display().to_string();
    let listeners = engine.feed().followers() as u64;
    let info = blocking(move || engine.info()).await?;
    let registries = registries(&call.daemon.settings.get().registries);
    let names = |names: &[&str]| names.iter().map(|name| name.to_string()).collect();
    let status = [
        ("Layers", info.layers.to_string()),
        ("Layer Bytes", info.layer_bytes.to_string()),
        ("Build Cache Records", info.cache_records.to_string()),
    ];
    let answer = Info {
        id: info.id,
        images: info.images,
        driver: "overlay".to_owned(),
        driver_status: status
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect(),
        plugins: Plugins {
            volume: Vec::new(),
            network: names(&["host", "none"]),
            authorization: None,
            log: Vec::new(),
        },
        n_fd: info.open_files,
        n_goroutines: info.threads,
        n_events_listener: listeners,
        system_time: Timestamp::now().to_string(),
        cgroup_driver: "none".to_owned(),
        cgroup_version: info.cgroup_version.to_string(),
        kernel_version: info.kernel,
        operating_system: info.system,
        os_version: info.system_version,
        os_type: "linux".to_owned(),
        architecture: info.machine,
        index_server_address: INDEX_SERVER.to_owned(),
        registry_config: registries,
        n_cpu: info.processors,
        mem_total: info.memory,
        docker_root_dir: root,
        name: info.host,
        server_version: mica_engine::version().version.to_owned(),
        warnings: Some(info.troubles).filter(|troubles| !troubles.is_empty()),
        runtimes: BTreeMap::from([("mica".to_owned(), Runtime::default())]),
        default_runtime: "mica".to_owned(),
        ..Info::default()
    };
    json(StatusCode::OK, &answer)
}

fn registries(known: &Registries) -> RegistryConfig {
    let network = |text: &&String| {
        text.split_once('/')
            .is_some_and(|(_, bits)| bits.parse::<u8>().is_ok())
    };
    let hub = IndexConfig {
        name: "docker.io".to_owned(),
        mirrors: known.mirrors.clone(),
        secure: true,
        official: true,
    };
    let insecure = known.insecure.iter().filter(|text| !network(text)).map(|host| {
        let config = IndexConfig {
            name: host.clone(),
            ..IndexConfig::default()
        };
        (host.clone(), config)
    });
    let mut cidrs: Vec<String> = LOCAL.iter().map(|text| text.to_string()).collect();
    cidrs.extend(known.insecure.iter().filter(network).cloned());
    RegistryConfig {
        insecure_registry_cidrs: cidrs,
        index_configs: insecure.chain([("docker.io".to_owned(), hub)]).collect(),
        mirrors: known.mirrors.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registries_are_told_as_docker_tells_them() {
        let config = registries(&Registries {
            mirrors: vec!["https://m".into()],
            insecure: vec!["10.0.0.0/8".into(), "host:5000".into()],
        });
        assert_eq!(
            config.insecure_registry_cidrs,
            ["::1/128", "127.0.0.0/8", "10.0.0.0/8"]
        );
        assert!(!config.index_configs["host:5000"].secure);
        assert!(config.index_configs["docker.io"].official);
    }
}

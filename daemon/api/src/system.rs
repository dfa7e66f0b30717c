//! What the daemon says of itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::null;

/// `GET /version`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Version {
    /// What this is a version of.
    #[serde(deserialize_with = "null::as_default")]
    pub platform: Platform,
    /// The parts and their versions.
    #[serde(deserialize_with = "null::as_default")]
    pub components: Vec<Component>,
    /// The daemon's version.
    pub version: String,
    /// The highest version of the API.
    pub api_version: String,
    /// The lowest version of the API.
    #[serde(rename = "MinAPIVersion")]
    pub min_api_version: String,
    /// The commit it was built from.
    pub git_commit: String,
    /// The compiler; the key's name is what clients expect.
    pub go_version: String,
    /// The operating system.
    pub os: String,
    /// Go's name of the architecture.
    pub arch: String,
    /// The kernel's release.
    pub kernel_version: String,
    /// Whether experimental parts are switched on.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub experimental: bool,
    /// When it was built, RFC 3339.
    pub build_time: String,
}

/// The product.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Platform {
    /// Its name.
    pub name: String,
}

/// A part of the daemon.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Component {
    /// Its name; docker's command line looks for `Engine`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Anything else, as texts.
    #[serde(deserialize_with = "null::as_default")]
    pub details: BTreeMap<String, String>,
}

/// `GET /info`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Info {
    /// Names this daemon.
    #[serde(rename = "ID")]
    pub id: String,
    /// Always 0: the daemon runs none.
    pub containers: u64,
    /// Always 0.
    pub containers_running: u64,
    /// Always 0.
    pub containers_paused: u64,
    /// Always 0.
    pub containers_stopped: u64,
    /// Images, tagged or not.
    pub images: u64,
    /// What keeps the layers.
    pub driver: String,
    /// Pairs of key and value.
    #[serde(deserialize_with = "null::as_default")]
    pub driver_status: Vec<(String, String)>,
    /// Parts that can be exchanged.
    #[serde(deserialize_with = "null::as_default")]
    pub plugins: Plugins,
    /// Whether memory can be limited.
    pub memory_limit: bool,
    /// Whether swap can be limited.
    pub swap_limit: bool,
    /// Whether the number of processes can be limited.
    pub pids_limit: bool,
    /// Whether packets are forwarded.
    #[serde(rename = "IPv4Forwarding")]
    pub ipv4_forwarding: bool,
    /// Whether more is logged.
    pub debug: bool,
    /// Open file descriptors.
    #[serde(rename = "NFd")]
    pub n_fd: u64,
    /// Threads.
    #[serde(rename = "NGoroutines")]
    pub n_goroutines: u64,
    /// RFC 3339.
    pub system_time: String,
    /// Where containers' output goes.
    pub logging_driver: String,
    /// Who manages control groups.
    pub cgroup_driver: String,
    /// `1` or `2`.
    pub cgroup_version: String,
    /// Listeners to `/events`.
    #[serde(rename = "NEventsListener")]
    pub n_events_listener: u64,
    /// The kernel's release.
    pub kernel_version: String,
    /// The distribution.
    pub operating_system: String,
    /// Its version.
    #[serde(rename = "OSVersion")]
    pub os_version: String,
    /// `linux`
    #[serde(rename = "OSType")]
    pub os_type: String,
    /// The kernel's name of the architecture.
    pub architecture: String,
    /// The registry of names that name none.
    pub index_server_address: String,
    /// How registries are spoken to.
    #[serde(deserialize_with = "null::as_default")]
    pub registry_config: RegistryConfig,
    /// Processors.
    #[serde(rename = "NCPU")]
    pub n_cpu: u64,
    /// Bytes of memory.
    pub mem_total: u64,
    /// Always empty.
    #[serde(deserialize_with = "null::as_default")]
    pub generic_resources: Vec<Value>,
    /// Where the store is.
    pub docker_root_dir: String,
    /// Proxy, credentials left out.
    pub http_proxy: String,
    /// Proxy, credentials left out.
    pub https_proxy: String,
    /// Hosts that need no proxy.
    pub no_proxy: String,
    /// The machine's name.
    pub name: String,
    /// Labels of the daemon.
    #[serde(deserialize_with = "null::as_default")]
    pub labels: Vec<String>,
    /// Whether experimental parts are switched on.
    pub experimental_build: bool,
    /// The daemon's version.
    pub server_version: String,
    /// What runs processes, by name.
    #[serde(deserialize_with = "null::as_default")]
    pub runtimes: BTreeMap<String, Runtime>,
    /// The one taken if none is named.
    pub default_runtime: String,
    /// Always inactive.
    #[serde(deserialize_with = "null::as_default")]
    pub swarm: Swarm,
    /// Always false.
    pub live_restore_enabled: bool,
    /// Always empty on Linux.
    pub isolation: String,
    /// The first process of a container.
    pub init_binary: String,
    /// Always empty.
    #[serde(deserialize_with = "null::as_default")]
    pub containerd_commit: Commit,
    /// Always empty.
    #[serde(deserialize_with = "null::as_default")]
    pub runc_commit: Commit,
    /// Always empty.
    #[serde(deserialize_with = "null::as_default")]
    pub init_commit: Commit,
    /// What fences processes in.
    #[serde(deserialize_with = "null::as_default")]
    pub security_options: Vec<String>,
    /// What users should know.
    pub warnings: Option<Vec<String>>,
}

/// Names of parts that can be exchanged.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Plugins {
    /// Volumes.
    #[serde(deserialize_with = "null::as_default")]
    pub volume: Vec<String>,
    /// Networks.
    #[serde(deserialize_with = "null::as_default")]
    pub network: Vec<String>,
    /// Who decides what is allowed.
    pub authorization: Option<Vec<String>>,
    /// Where output goes.
    #[serde(deserialize_with = "null::as_default")]
    pub log: Vec<String>,
}

/// How registries are spoken to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RegistryConfig {
    /// Networks whose registries need no TLS.
    #[serde(rename = "InsecureRegistryCIDRs", deserialize_with = "null::as_default")]
    pub insecure_registry_cidrs: Vec<String>,
    /// What is special, by registry.
    #[serde(deserialize_with = "null::as_default")]
    pub index_configs: BTreeMap<String, IndexConfig>,
    /// Where Docker Hub's images may come from too.
    #[serde(deserialize_with = "null::as_default")]
    pub mirrors: Vec<String>,
}

/// What is special about a registry.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct IndexConfig {
    /// Its host.
    pub name: String,
    /// Where its images may come from too.
    #[serde(deserialize_with = "null::as_default")]
    pub mirrors: Vec<String>,
    /// Whether TLS is insisted on.
    pub secure: bool,
    /// Whether it is Docker Hub.
    pub official: bool,
}

/// Something that runs processes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Runtime {
    /// The program.
    pub path: String,
}

/// The state of a cluster; here always `inactive`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Swarm {
    /// Always empty.
    #[serde(rename = "NodeID")]
    pub node_id: String,
    /// Always empty.
    pub node_addr: String,
    /// Always `inactive`: any other state makes clients print a cluster.
    pub local_node_state: String,
    /// Always false.
    pub control_available: bool,
    /// Always empty.
    pub error: String,
    /// Always `null`.
    pub remote_managers: Option<Vec<Value>>,
}

impl Default for Swarm {
    fn default() -> Self {
        Self {
            node_id: String::new(),
            node_addr: String::new(),
            local_node_state: "inactive".to_owned(),
            control_available: false,
            error: String::new(),
            remote_managers: None,
        }
    }
}

/// The commit of a program.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Commit {
    /// The commit.
    #[serde(rename = "ID")]
    pub id: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_spelled_as_docker_spells_them() {
        let text = serde_json::to_string(&Info::default()).unwrap();
        for key in [
            "ID",
            "NFd",
            "NGoroutines",
            "NEventsListener",
            "NCPU",
            "OSType",
            "OSVersion",
            "IPv4Forwarding",
            "MemTotal",
            "DockerRootDir",
            "HttpProxy",
            "HttpsProxy",
            "NoProxy",
            "RegistryConfig",
            "Swarm",
            "CgroupVersion",
            "SecurityOptions",
            "DriverStatus",
        ] {
            assert!(text.contains(&format!("\"{key}\":")), "{key} in {text}");
        }
        assert!(
            text.contains(r#""LocalNodeState":"inactive","ControlAvailable":false"#),
            "{text}"
        );
        let version = serde_json::to_string(&Version::default()).unwrap();
        for key in [
            "ApiVersion",
            "MinAPIVersion",
            "GoVersion",
            "KernelVersion",
            "BuildTime",
        ] {
            assert!(version.contains(&format!("\"{key}\":")), "{key} in {version}");
        }
    }

    #[test]
    fn another_daemons_nulls_are_read() {
        let info: Info = serde_json::from_str(
            r#"{"DriverStatus":null,"Plugins":{"Authorization":null,"Volume":null},"Labels":null,"Swarm":null,
                "RegistryConfig":{"Mirrors":null,"IndexConfigs":{"docker.io":{"Mirrors":null}}},"Warnings":null}"#,
        )
        .unwrap();
        assert_eq!(info.swarm.local_node_state, "inactive");
    }
}

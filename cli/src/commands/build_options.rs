//! The flags of `mica build`, and how their values are read.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Map, Value, json};

use crate::commands::build_attest::attestations;
use crate::commands::build_call::Call;
use crate::commands::build_idle::Idle;
use crate::commands::build_limits::Limits;
use crate::commands::build_output::Destination;
use crate::commands::{build_cache, only_builder};
use crate::error::Error;
use crate::progress::Kind;
use crate::{size, terminal};

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Name and optionally a tag in the "name:tag" format
    #[arg(short, long, value_name = "NAME")]
    pub(super) tag: Vec<String>,
    /// Name of the Dockerfile (default is "PATH/Dockerfile")
    #[arg(short, long, value_name = "FILE")]
    pub(super) file: Option<PathBuf>,
    /// Set the target build stage to build
    #[arg(long, value_name = "STAGE")]
    pub(super) target: Option<String>,
    /// Set build-time variables
    #[arg(long, value_name = "KEY[=VALUE]")]
    pub(super) build_arg: Vec<String>,
    /// Set metadata for an image
    #[arg(long, value_name = "KEY=VALUE")]
    pub(super) label: Vec<String>,
    /// Do not use cache when building the image
    #[arg(long)]
    pub(super) no_cache: bool,
    /// Always attempt to pull a newer version of the image
    #[arg(long)]
    pub(super) pull: bool,
    /// Set platform if server is multi-platform capable
    #[arg(long, value_name = "PLATFORM")]
    pub(super) platform: Vec<String>,
    /// Set the networking mode for the RUN instructions during build
    #[arg(long, value_name = "MODE")]
    pub(super) network: Option<String>,
    /// Add a custom host-to-IP mapping ("host:ip")
    #[arg(long, value_name = "HOST:IP")]
    pub(super) add_host: Vec<String>,
    /// Ulimit options
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    pub(super) ulimit: Vec<String>,
    /// Size of "/dev/shm"
    #[arg(long, value_name = "BYTES", value_parser = size_value)]
    pub(super) shm_size: Option<i64>,
    /// Caches that --cache-to wrote to a registry, and images that carry their own ("NAME", "type=registry,ref=NAME")
    #[arg(long, value_name = "NAME")]
    pub(super) cache_from: Vec<String>,
    /// Say of every step that runs which of its inputs changed
    #[arg(long)]
    pub(super) explain: bool,
    /// Build everything twice and fail if the images differ
    #[arg(long)]
    pub(super) verify: bool,
    /// Say something of the image where it is pushed to ("type=provenance,mode=max", "type=sbom,generator=IMAGE")
    #[arg(long, value_name = "TYPE")]
    attest: Vec<String>,
    /// Say how the image was made: shorthand for "--attest=type=provenance"
    #[arg(long, value_name = "ATTRIBUTES", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    provenance: Option<String>,
    /// Say what is in the image: shorthand for "--attest=type=sbom"
    #[arg(long, value_name = "ATTRIBUTES", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    sbom: Option<String>,
    /// Write the image ID to the file
    #[arg(long, value_name = "FILE")]
    pub(super) iidfile: Option<PathBuf>,
    /// Write what was built to the file, as JSON
    #[arg(long, value_name = "FILE")]
    pub(super) metadata_file: Option<PathBuf>,
    /// Push every name of the image once it is built
    #[arg(long)]
    push: bool,
    /// Where the image goes: "type=docker", "type=image,name=NAME,push=true", "type=registry"
    #[arg(short, long, value_name = "DEST")]
    output: Vec<String>,
    /// Where the cache goes: "type=registry,ref=NAME[,mode=max]", or "type=inline" for into the image
    #[arg(long, value_name = "DEST")]
    cache_to: Vec<String>,
    /// Suppress the build output and print image ID on success
    #[arg(short, long)]
    pub(super) quiet: bool,
    /// Set type of progress output: auto, tty, plain, rawjson, quiet, none or classic
    #[arg(long, value_name = "TYPE")]
    pub(super) progress: Option<String>,
    /// Shorthand for "--call=check"
    #[arg(long)]
    check: bool,
    /// Set method for evaluating build: build, check, outline or targets, and format=json
    #[arg(long, value_name = "METHOD")]
    call: Option<String>,
    /// Secret to expose to the build ("id=mysecret[,src=/local/secret]", "id=mysecret,env=NAME")
    #[arg(long, value_name = "SECRET")]
    pub(super) secret: Vec<String>,
    /// SSH agent socket to expose to the build ("default|ID[=SOCKET]")
    #[arg(long, value_name = "AGENT")]
    pub(super) ssh: Vec<String>,
    /// Additional build contexts ("name=path", "name=docker-image://image", "name=oci-layout://path", "name=URL")
    #[arg(long, value_name = "NAME=VALUE")]
    pub(super) build_context: Vec<String>,
    /// Do not cache specified stages
    #[arg(long, value_name = "STAGE")]
    pub(super) no_cache_filter: Vec<String>,
    /// Allow extra privileged entitlement ("network.host", "security.insecure")
    #[arg(long, value_name = "RIGHT")]
    pub(super) allow: Vec<String>,
    /// Accepted for docker's sake: the only builder is the daemon
    #[arg(long, hide = true, value_name = "NAME")]
    builder: Vec<String>,
    /// podman's: what SOURCE_DATE_EPOCH is otherwise
    #[arg(long, hide = true, value_name = "SECONDS")]
    pub(super) timestamp: Option<u64>,
    /// podman's: the only file that credentials are taken from
    #[arg(long, hide = true, value_name = "FILE")]
    pub(super) authfile: Option<PathBuf>,
    #[command(flatten)]
    pub(super) limits: Limits,
    #[command(flatten)]
    idle: Idle,
    #[command(flatten)]
    later: Later,
    /// The build context: a folder, a repository, an archive, or "-" for standard input
    #[arg(value_name = "PATH | URL | -")]
    pub(super) context: String,
}

/// Flags that would change the result and cannot yet.
#[derive(Debug, Args)]
struct Later {
    #[arg(long, hide = true, value_name = "KEY=VALUE")]
    annotation: Vec<String>,
}

impl Options {
    /// Refuses, by name, what is not done yet and another builder.
    pub(super) fn check(&self) -> Result<(), Error> {
        for name in &self.builder {
            only_builder::check(name)?;
        }
        let later = &self.later;
        let named = [("--annotation", !later.annotation.is_empty())];
        if let Some((name, _)) = named.iter().find(|(_, is_set)| *is_set) {
            return Err(Error::Unsupported {
                what: (*name).to_owned(),
            });
        }
        Ok(())
    }

    /// What is asked of the Dockerfile instead of a build.
    pub(super) fn call(&self) -> Result<Option<Call>, Error> {
        Call::parse(self.check, self.call.as_deref())
    }

    /// The names of given flags that mean nothing here.
    pub(super) fn idle(&self) -> Vec<&'static str> {
        self.idle.names()
    }

    /// Where the image goes besides the store.
    pub(super) fn destination(&self) -> Result<Destination, Error> {
        Destination::parse(&self.output, self.push)
    }

    /// Where the cache goes.
    pub(super) fn cache_targets(&self) -> Result<build_cache::Targets, Error> {
        build_cache::Targets::of(&self.cache_to)
    }

    /// The platforms of all `--platform` flags.
    pub(super) fn platforms(&self) -> Vec<&str> {
        let all = self.platform.iter().flat_map(|list| list.split(','));
        all.map(str::trim)
            .filter(|platform| !platform.is_empty())
            .collect()
    }

    /// What is to be said of the image, `type=KIND,…` each.
    pub(super) fn attestations(&self) -> Vec<String> {
        attestations(&self.attest, self.provenance.as_deref(), self.sbom.as_deref())
    }

    /// How the build is shown.
    pub(super) fn kind(&self) -> Result<Kind, Error> {
        if self.quiet {
            return Ok(Kind::Quiet);
        }
        let variable = |name: &str| std::env::var(name).unwrap_or_default();
        Kind::choose(self.progress.as_deref(), variable, terminal::can_draw())
    }
}

/// A size of a flag, in bytes.
pub(super) fn size_value(text: &str) -> Result<i64, String> {
    size::parse_binary(text)
}

/// `KEY=VALUE` and `KEY` as a JSON object; `KEY` alone takes its value from `variable` or is null.
pub(super) fn build_args(
    list: &[String],
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Map<String, Value>, Error> {
    let mut map = Map::new();
    for item in list {
        let (key, value) = match item.split_once('=') {
            Some((key, value)) => (key, Some(value.to_owned())),
            None => (item.as_str(), variable(item)),
        };
        if key.is_empty() {
            return Err(Error::Usage {
                message: format!(
                    "invalid argument \"{item}\" for \"--build-arg\" flag: invalid environment variable: {item}"
                ),
            });
        }
        map.insert(key.to_owned(), value.map_or(Value::Null, Value::String));
    }
    Ok(map)
}

/// Labels as a JSON object; `KEY` alone has an empty value.
pub(super) fn labels(list: &[String]) -> Map<String, Value> {
    let pairs = list.iter().map(|item| item.split_once('=').unwrap_or((item, "")));
    pairs
        .map(|(key, value)| (key.to_owned(), Value::from(value)))
        .collect()
}

/// `HOST:IP` as the daemon wants it; `HOST=IP` and bracketed IPv6 addresses are read too.
pub(super) fn extra_host(text: &str) -> Result<String, Error> {
    let split = text.split_once('=').or_else(|| text.split_once(':'));
    let invalid = |what: &str| Error::Usage {
        message: format!("invalid argument \"{text}\" for \"--add-host\" flag: {what}"),
    };
    let (host, address) = split
        .filter(|(host, _)| !host.is_empty())
        .ok_or_else(|| invalid("bad format for add-host"))?;
    let bare = address
        .strip_prefix('[')
        .and_then(|inner| inner.strip_suffix(']'))
        .unwrap_or(address);
    if bare != "host-gateway" && bare.parse::<std::net::IpAddr>().is_err() {
        return Err(invalid(&format!("invalid IP address in add-host: \"{bare}\"")));
    }
    Ok(format!("{host}:{bare}"))
}

/// `NAME=SOFT[:HARD]` flags as a JSON list.
pub(super) fn ulimits(list: &[String]) -> Result<Value, Error> {
    const NAMES: [&str; 16] = [
        "as",
        "core",
        "cpu",
        "data",
        "fsize",
        "locks",
        "memlock",
        "msgqueue",
        "nice",
        "nofile",
        "nproc",
        "rss",
        "rtprio",
        "rttime",
        "sigpending",
        "stack",
    ];
    let mut limits = Vec::new();
    for text in list {
        let invalid = |what: String| Error::Usage {
            message: format!("invalid argument \"{text}\" for \"--ulimit\" flag: {what}"),
        };
        let (name, values) = text
            .split_once('=')
            .ok_or_else(|| invalid(format!("invalid ulimit argument: {text}")))?;
        if !NAMES.contains(&name) {
            return Err(invalid(format!("invalid ulimit type: {name}")));
        }
        let number = |text: &str| {
            text.parse::<i64>()
                .map_err(|error| invalid(format!("{text:?}: {error}")))
        };
        let (soft, hard) = match values.split_once(':') {
            Some((soft, hard)) => (number(soft)?, number(hard)?),
            None => (number(values)?, number(values)?),
        };
        if hard != -1 && (soft == -1 || soft > hard) {
            return Err(invalid(format!(
                "ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"
            )));
        }
        limits.push(json!({"Name": name, "Soft": soft, "Hard": hard}));
    }
    Ok(Value::Array(limits))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(items: &[&str]) -> Vec<String> {
        items.iter().map(|item| (*item).to_owned()).collect()
    }

    #[test]
    fn build_args_take_values_from_the_environment() {
        let variable = |name: &str| (name == "HERE").then(|| "there".to_owned());
        let map = build_args(&list(&["A=1", "B=", "HERE", "GONE", "C=a=b"]), variable).unwrap();
        assert_eq!(
            Value::Object(map).to_string(),
            r#"{"A":"1","B":"","HERE":"there","GONE":null,"C":"a=b"}"#
        );
        assert!(build_args(&list(&["=x"]), variable).is_err());
    }

    #[test]
    fn hosts_and_limits_are_read() {
        for (text, expected) in [
            ("a:1.2.3.4", "a:1.2.3.4"),
            ("a=1.2.3.4", "a:1.2.3.4"),
            ("a:::1", "a:::1"),
            ("a=[::1]", "a:::1"),
            ("a:host-gateway", "a:host-gateway"),
        ] {
            assert_eq!(extra_host(text).unwrap(), expected);
        }
        for text in ["a", ":1.2.3.4", "a:b", ""] {
            assert!(extra_host(text).is_err(), "{text}");
        }
        let limits = ulimits(&list(&["nofile=1024:2048", "core=-1"])).unwrap();
        assert_eq!(
            limits.to_string(),
            r#"[{"Name":"nofile","Soft":1024,"Hard":2048},{"Name":"core","Soft":-1,"Hard":-1}]"#
        );
        for text in ["nofile", "x=1", "nofile=a", "nofile=2:1", "nofile=1:2:3"] {
            assert!(ulimits(&list(&[text])).is_err(), "{text}");
        }
    }
}

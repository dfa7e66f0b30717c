//! The query of `POST /build` as a request to the engine.

use std::collections::HashMap;
use std::net::IpAddr;

use mica_engine::{Attesting, BuildRequest, Keyring, Limits, NetworkMode, Ulimit};
use mica_oci::{Platform, PlatformError, Reference};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::wire::query::Query;
use crate::wire::reply::Failure;
use crate::wire::stream::Style;

/// The most platforms one build is for.
pub(crate) const MOST_PLATFORMS: usize = 32;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WireUlimit {
    name: String,
    #[serde(default)]
    soft: i64,
    #[serde(default)]
    hard: i64,
}

/// What is to be built.
pub(crate) fn request(query: &Query) -> Result<BuildRequest, Failure> {
    refuse_unsupported(query)?;
    let shm_size = query.number("shmsize")?.filter(|size| *size != 0);
    let shm_size = shm_size
        .map(|size| u64::try_from(size).map_err(|_| Failure::invalid("SHM size can not be less than 0")))
        .transpose()?;
    let platforms = platforms(query.filled("platform").unwrap_or_default()).map_err(Failure::invalid)?;
    Ok(BuildRequest {
        dockerfile: query.filled("dockerfile").unwrap_or("Dockerfile").to_owned(),
        tags: tags(query)?,
        target: query.filled("target").map(str::to_owned),
        build_args: build_args(query)?,
        labels: labels(query)?,
        no_cache: query.flag("nocache", false),
        no_cache_filter: Vec::new(),
        cache_from: cache_from(query)?,
        // and these in no query at all
        cache_to: Vec::new(),
        insecure_allowed: false,
        explain: false,
        verify: false,
        pull: query.flag("pull", false),
        // these come in a header
        credentials: Keyring::default(),
        network: network(query.get("networkmode").unwrap_or_default())?,
        extra_hosts: query
            .all("extrahosts")
            .filter(|host| !host.is_empty())
            .map(extra_host)
            .collect::<Result<_, _>>()?,
        ulimits: ulimits(query)?,
        limits: limits(query)?,
        shm_size,
        platforms,
        // clients of this API have left out what is to be ignored
        filter_context: false,
        attesting: Attesting::default(),
    })
}

/// The platforms of a list with commas, each once.
pub(crate) fn platforms(list: &str) -> Result<Vec<Platform>, String> {
    let mut platforms = Vec::new();
    for text in list.split(',').filter(|text| !text.trim().is_empty()) {
        let platform = text.parse().map_err(|error: PlatformError| error.to_string())?;
        if !platforms.contains(&platform) {
            platforms.push(platform);
        }
        if platforms.len() > MOST_PLATFORMS {
            return Err(format!("a build is for at most {MOST_PLATFORMS} platforms"));
        }
    }
    Ok(platforms)
}

/// How the build is told.
pub(crate) fn style(query: &Query) -> Style {
    Style {
        quiet: query.flag("q", false),
        remove: query.flag("rm", true),
        force_remove: query.flag("forcerm", false),
    }
}

/// Which builder's manners a client expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Builder {
    /// The classic one's.
    Classic,
    /// BuildKit's.
    BuildKit,
}

/// Whose manners are asked for.
pub(crate) fn builder(query: &Query) -> Result<Builder, Failure> {
    match query.get("version").unwrap_or_default() {
        "" | "1" => Ok(Builder::Classic),
        "2" => Ok(Builder::BuildKit),
        other => Err(Failure::invalid(format!(
            "invalid version {other:?} of the build API: use 1 or 2"
        ))),
    }
}

/// Where a result goes that is not to be an image of the daemon's.
#[derive(Debug, Deserialize)]
pub(crate) struct WireOutput {
    /// What it is to be. bollard writes small letters, which Go takes too.
    #[serde(rename = "Type", alias = "type", default)]
    pub(crate) kind: String,
    /// How.
    #[serde(rename = "Attrs", alias = "attrs", default)]
    pub(crate) attrs: Option<HashMap<String, String>>,
}

/// The one place a result is to go to, if one is named.
pub(crate) fn output(query: &Query) -> Result<Option<WireOutput>, Failure> {
    let mut outputs: Vec<WireOutput> = query.json("outputs")?;
    match outputs.len() {
        0 | 1 => Ok(outputs.pop()),
        _ => Err(Failure::invalid("multiple outputs not supported: name one")),
    }
}

fn refuse_unsupported(query: &Query) -> Result<(), Failure> {
    // read whoever's manners are asked for, as dockerd does
    output(query)?;
    if query
        .all("securityopt")
        .any(|option| !matches!(option, "" | "null" | "[]"))
    {
        return Err(Failure::invalid(
            "the daemon does not support setting security options on build",
        ));
    }
    if query.flag("squash", false) {
        return Err(Failure::invalid(
            "squash is only supported with experimental mode",
        ));
    }
    match query.get("isolation").unwrap_or_default() {
        "" | "default" => Ok(()),
        other => Err(Failure::invalid(format!("unsupported isolation: {other:?}"))),
    }
}

fn tags(query: &Query) -> Result<Vec<Reference>, Failure> {
    let mut tags: Vec<Reference> = Vec::new();
    for text in query.all("t").filter(|text| !text.is_empty()) {
        let tag: Reference = text
            .parse()
            .map_err(|error| Failure::invalid(format!("{error}")))?;
        if tag.digest.is_some() {
            return Err(Failure::invalid("build tag cannot contain a digest"));
        }
        let tag = tag.or_latest();
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    Ok(tags)
}

fn build_args(query: &Query) -> Result<Vec<(String, Option<String>)>, Failure> {
    let map: Map<String, Value> = query.json("buildargs")?;
    let pair = |(name, value)| match value {
        Value::String(value) => Ok((name, Some(value))),
        Value::Null => Ok((name, None)),
        _ => Err(Failure::invalid(format!(
            "invalid value for buildargs: {name} is no text"
        ))),
    };
    map.into_iter().map(pair).collect()
}

/// Images by name; of `type=registry,ref=NAME` the name. Other kinds of caches are refused.
fn cache_from(query: &Query) -> Result<Vec<String>, Failure> {
    let list: Option<Vec<String>> = query.json("cachefrom")?;
    let name = |text: String| {
        let Some((_, rest)) = text.split_once("type=") else {
            return Ok(text);
        };
        let value = |key: &str| {
            text.split(',')
                .find_map(|field| field.strip_prefix(key)?.strip_prefix('='))
        };
        match (rest.split(',').next(), value("ref")) {
            (Some("registry"), Some(name)) => Ok(name.to_owned()),
            _ => Err(Failure::unsupported(format!(
                "a cache from {text:?} is not supported: name an image, or type=registry,ref=IMAGE"
            ))),
        }
    };
    list.unwrap_or_default()
        .into_iter()
        .filter(|text| !text.is_empty())
        .map(name)
        .collect()
}

fn labels(query: &Query) -> Result<Vec<(String, String)>, Failure> {
    let map: Map<String, Value> = query.json("labels")?;
    let pair = |(name, value)| match value {
        Value::String(value) => Ok((name, value)),
        _ => Err(Failure::invalid(format!(
            "invalid value for labels: {name} is no text"
        ))),
    };
    map.into_iter().map(pair).collect()
}

fn network(mode: &str) -> Result<NetworkMode, Failure> {
    match mode {
        "" | "default" | "bridge" => Ok(NetworkMode::Default),
        "host" => Ok(NetworkMode::Host),
        "none" => Ok(NetworkMode::None),
        other => Err(Failure::invalid(format!(
            "network mode {other:?} is not supported: use default, host or none"
        ))),
    }
}

pub(crate) fn extra_host(text: &str) -> Result<(String, String), Failure> {
    let bad = |reason: &str| Failure::invalid(format!("bad format for add-host: {text:?}: {reason}"));
    let (host, address) = text.split_once([':', '=']).ok_or_else(|| bad("say HOST:IP"))?;
    if host.is_empty() || host.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(bad("the host is no name"));
    }
    let bare = address
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(address);
    match bare.parse::<IpAddr>() {
        Ok(address) => Ok((host.to_owned(), address.to_string())),
        Err(_) if address == "host-gateway" => Err(bad("host-gateway is not supported here")),
        Err(_) => Err(bad("invalid IP address")),
    }
}

/// A limit as `NAME=SOFT:HARD` or `NAME=BOTH`.
pub(crate) fn ulimit(text: &str) -> Option<Ulimit> {
    let (name, values) = text.split_once('=')?;
    let (soft, hard) = values.split_once(':').unwrap_or((values, values));
    Some(Ulimit {
        name: Some(name).filter(|name| !name.is_empty())?.to_owned(),
        soft: soft.parse().ok()?,
        hard: hard.parse().ok()?,
    })
}

fn ulimits(query: &Query) -> Result<Vec<Ulimit>, Failure> {
    let wire: Vec<WireUlimit> = query.json("ulimits")?;
    let limit = |wire: WireUlimit| match wire.name.is_empty() {
        true => Err(Failure::invalid(
            "invalid value for ulimits: a limit without a name",
        )),
        false => Ok(Ulimit {
            name: wire.name,
            soft: wire.soft,
            hard: wire.hard,
        }),
    };
    wire.into_iter().map(limit).collect()
}

/// Limits as dockerd reads them: 0 and the empty text are none, and so is -1 where no limit can be asked for. Without a limit
/// of memory and swap together it is twice that of memory.
fn limits(query: &Query) -> Result<Limits, Failure> {
    let number = |name: &str| Ok::<_, Failure>(query.number(name)?.filter(|value| *value != 0));
    let above = |name: &str, value: Option<i64>| {
        let wrong = |_| Failure::invalid(format!("invalid value for {name}: it cannot be less than 0"));
        value.map(|value| u64::try_from(value).map_err(wrong)).transpose()
    };
    let plain = |name: &str| above(name, number(name)?);
    let text = |name: &str| query.filled(name).map(str::to_owned);
    let memory = plain("memory")?;
    let memory_and_swap = match number("memswap")? {
        Some(-1) => None,
        None => memory.map(|memory| memory.saturating_mul(2)),
        both => above("memswap", both)?,
    };
    let limits = Limits {
        memory,
        memory_and_swap,
        cpu_shares: plain("cpushares")?,
        cpu_period: plain("cpuperiod")?,
        cpu_quota: above("cpuquota", number("cpuquota")?.filter(|quota| *quota != -1))?,
        cpuset_cpus: text("cpusetcpus"),
        cpuset_mems: text("cpusetmems"),
        parent: text("cgroupparent"),
    };
    limits.check().map_err(Failure::invalid)?;
    Ok(limits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<BuildRequest, Failure> {
        request(&Query::parse(text).unwrap())
    }

    #[test]
    fn what_docker_sends_by_default_is_the_default() {
        let text = "buildargs=%7B%7D&cachefrom=%5B%5D&cgroupparent=&cpuperiod=0&cpuquota=0&cpusetcpus=&cpusetmems=\
                    &cpushares=0&dockerfile=Dockerfile&labels=%7B%7D&memory=0&memswap=0&networkmode=default&rm=1\
                    &shmsize=0&t=a&t=a%3Alatest&t=b%2Fc%3A1&target=&ulimits=%5B%5D&version=1";
        let request = read(text).unwrap();
        let tags: Vec<String> = request.tags.iter().map(Reference::familiar).collect();
        assert_eq!(tags, ["a:latest", "b/c:1"]);
        assert!(request.build_args.is_empty() && request.target.is_none() && !request.no_cache);
        let style = style(&Query::parse(text).unwrap());
        assert!(style.remove && !style.quiet, "{style:?}");
        assert_eq!(request.limits, Limits::default());
    }

    #[test]
    fn everything_set_arrives() {
        let request = read(
            "dockerfile=a%2Fb&buildargs=%7B%22A%22%3A%22b%22%2C%22C%22%3Anull%7D&labels=%7B%22l%22%3A%22v%22%7D\
             &nocache=true&pull=1&networkmode=none&extrahosts=h%3A1.2.3.4&extrahosts=i%3A%3A%3A1&shmsize=1024\
             &ulimits=%5B%7B%22Name%22%3A%22nofile%22%2C%22Soft%22%3A1%2C%22Hard%22%3A-1%7D%5D&platform=linux%2Farm64&target=x",
        )
        .unwrap();
        assert_eq!(request.dockerfile, "a/b");
        assert_eq!(
            request.build_args,
            [("A".into(), Some("b".into())), ("C".into(), None)]
        );
        assert_eq!(request.labels, [("l".into(), "v".into())]);
        assert!(request.no_cache && request.pull && request.network == NetworkMode::None);
        assert_eq!(
            request.extra_hosts,
            [("h".into(), "1.2.3.4".into()), ("i".into(), "::1".into())]
        );
        assert_eq!((request.ulimits[0].soft, request.ulimits[0].hard), (1, -1));
        assert_eq!(request.shm_size, Some(1024));
        assert_eq!(request.platforms[0].to_string(), "linux/arm64");
        let several = platforms("linux/arm64,, linux/amd64,arm64").unwrap();
        let several: Vec<String> = several.iter().map(ToString::to_string).collect();
        assert_eq!(several, ["linux/arm64", "linux/amd64"]);
        let many: Vec<String> = (0..=MOST_PLATFORMS)
            .map(|n| format!("linux/amd64/v{n}x"))
            .collect();
        assert!(platforms(&many.join(",")).is_err() && platforms("linux/amd64,x/y").is_err());
        assert_eq!(request.target.as_deref(), Some("x"));
    }

    #[test]
    fn what_cannot_be_done_is_said() {
        for (text, part) in [
            ("securityopt=seccomp", "security options"),
            ("squash=1", "squash"),
            ("isolation=hyperv", "isolation"),
            ("networkmode=container%3Ax", "network mode"),
            ("t=A", "must be lowercase"),
            (
                "t=a%40sha256%3Ae3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
                "cannot contain a digest",
            ),
            ("platform=plan9", "unknown operating system or architecture"),
            ("extrahosts=h", "HOST:IP"),
            ("extrahosts=h%3Ax", "invalid IP"),
            ("extrahosts=a%0Ab%3A1.2.3.4", "no name"),
            ("buildargs=x", "buildargs"),
            ("buildargs=%7B%22a%22%3A1%7D", "buildargs"),
            ("labels=%5B%5D", "labels"),
            ("ulimits=%5B%7B%7D%5D", "ulimits"),
            ("shmsize=-1", "SHM"),
            ("shmsize=x", "shmsize"),
            ("memory=x", "memory"),
            ("memory=1000", "Minimum memory limit"),
            ("memory=-1", "memory"),
            ("memswap=8000000", "always set the Memory limit"),
            ("memory=8000000&memswap=7000000", "larger than memory limit"),
            ("memory=8000000&memswap=-2", "memswap"),
            ("cpushares=-2", "cpushares"),
            ("cpuperiod=1", "cfs period"),
            ("cpuquota=1", "cfs quota"),
            ("cpusetcpus=a", "for cpuset cpus"),
            ("cgroupparent=a%2F..", "cgroup parent"),
        ] {
            let failure = read(text).unwrap_err();
            assert!(failure.message().contains(part), "{text}: {}", failure.message());
        }
    }

    #[test]
    fn a_builder_and_one_output_are_named() {
        let query = |text: &str| Query::parse(text).unwrap();
        assert_eq!(builder(&query("")).unwrap(), Builder::Classic);
        assert_eq!(builder(&query("version=2")).unwrap(), Builder::BuildKit);
        assert!(builder(&query("version=3")).is_err());
        assert!(output(&query("outputs=%5B%5D")).unwrap().is_none());
        for text in [
            r#"[{"Type":"tar","Attrs":{"a":"b"}}]"#,
            r#"[{"type":"tar","attrs":{"a":"b"}}]"#,
        ] {
            let output = output(&query(&format!("outputs={text}"))).unwrap().unwrap();
            assert_eq!(
                (output.kind.as_str(), &output.attrs.unwrap()["a"][..]),
                ("tar", "b")
            );
        }
        let nothing = output(&query(r#"outputs=[{"Type":"local","Attrs":null}]"#))
            .unwrap()
            .unwrap();
        assert!(nothing.attrs.is_none());
        for wrong in [
            r#"[{"Type":"tar"},{"Type":"local"}]"#,
            "{}",
            r#"[{"Type":1}]"#,
            "[",
        ] {
            assert!(output(&query(&format!("outputs={wrong}"))).is_err(), "{wrong}");
        }
    }

    #[test]
    fn limits_arrive() {
        let limits = |text: &str| read(text).unwrap().limits;
        let both = |text: &str| (limits(text).memory, limits(text).memory_and_swap);
        assert_eq!(both("memory=8000000"), (Some(8_000_000), Some(16_000_000)));
        assert_eq!(both("memory=8000000&memswap=-1"), (Some(8_000_000), None));
        assert_eq!(
            both("memory=8000000&memswap=9000000"),
            (Some(8_000_000), Some(9_000_000))
        );
        let all =
            "cpushares=5&cpuperiod=50000&cpuquota=20000&cpusetcpus=0-1&cpusetmems=0&cgroupparent=%2Fa%2Fb";
        let expected = Limits {
            cpu_shares: Some(5),
            cpu_period: Some(50_000),
            cpu_quota: Some(20_000),
            cpuset_cpus: Some("0-1".into()),
            cpuset_mems: Some("0".into()),
            parent: Some("/a/b".into()),
            ..Limits::default()
        };
        assert_eq!(limits(all), expected);
        assert_eq!(limits("cpuquota=-1"), Limits::default());
    }

    #[test]
    fn how_it_is_told() {
        let style = style(&Query::parse("q=1&rm=0&forcerm=1").unwrap());
        assert!(style.quiet && !style.remove && style.force_remove);
    }

    #[test]
    fn caches_come_from_images() {
        let list = r#"["a/b:1","type=registry,ref=c"]"#;
        assert_eq!(
            read(&format!("cachefrom={list}")).unwrap().cache_from,
            ["a/b:1", "c"]
        );
        assert!(read("cachefrom=[\"type=local,src=x\"]").is_err());
    }
}

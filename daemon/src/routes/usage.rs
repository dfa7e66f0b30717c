//! `GET /system/df` and `GET /mica/cache`: how much of the disk is used by what.

use hyper::StatusCode;
use mica_api::{CacheRecord, DiskUsage, ImageSummary, OnDisk, UsageSum};
use mica_engine::{CacheItem, ImageUsage, LayerUsage, blocking};
use serde::Serialize;
use serde_json::Value;

use crate::routes::Call;
use crate::routes::images::{signed, summary};
use crate::wire::query::Query;
use crate::wire::reply::{Failure, JSON, Reply, json, json_bytes, whole};
use crate::wire::version::ApiVersion;

/// What is asked for.
struct Wanted {
    images: bool,
    containers: bool,
    volumes: bool,
    cache: bool,
}

impl Wanted {
    /// Everything, or from version 1.42 on what `type` names.
    fn of(query: &Query, version: ApiVersion) -> Result<Self, Failure> {
        let kinds: Vec<&str> = query.all("type").collect();
        let all = kinds.is_empty() || version < ApiVersion::v1(42);
        let mut wanted = Self {
            images: all,
            containers: all,
            volumes: all,
            cache: all,
        };
        for kind in kinds.into_iter().filter(|_| !all) {
            match kind {
                "image" => wanted.images = true,
                "container" => wanted.containers = true,
                "volume" => wanted.volumes = true,
                "build-cache" => wanted.cache = true,
                _ => return Err(Failure::invalid(format!("unknown object type: {kind}"))),
            }
        }
        Ok(wanted)
    }
}

/// `GET /system/df`
pub(crate) async fn usage(call: Call) -> Result<Reply, Failure> {
    let wanted = Wanted::of(&call.query, call.version)?;
    let (engine, version) = (call.daemon.engine.clone(), call.version);
    let verbose = call.query.flag("verbose", false);
    let with_disk = call.query.flag("on-disk", false);
    let bytes = blocking(move || {
        let images = wanted.images.then(|| engine.image_usage()).transpose()?;
        let cache = wanted.cache.then(|| engine.cache()).transpose()?;
        let mut usage = DiskUsage::default();
        let mut layers = None;
        if let Some(images) = images {
            usage.layers_size = signed(images.layers.bytes);
            layers = Some(images.layers);
            usage.images = summaries(images, version);
        }
        if let Some(cache) = &cache {
            usage.build_cache = cache.iter().map(|item| record(item, version)).collect();
            if version < ApiVersion::v1(42) {
                usage.builder_size = Some(own_bytes(cache));
            }
        }
        if with_disk {
            usage.on_disk = Some(on_disk(engine.disk_usage()?));
        }
        if version == ApiVersion::highest() {
            add_sums(&mut usage, &wanted, layers, cache.as_deref(), verbose);
        }
        Ok(json_bytes(&usage))
    })
    .await?;
    Ok(whole(StatusCode::OK, JSON, bytes?))
}

fn on_disk(usage: mica_engine::DiskUsage) -> OnDisk {
    OnDisk {
        total: usage.total(),
        images: usage.images,
        build_cache: usage.cache,
        cache_mounts: usage.mounts,
        unfinished: usage.unfinished,
        logs: usage.notes,
        store: usage.own,
    }
}

/// Clients of newer versions read the sums and nothing else; docker leaves the things out of them unless asked.
fn add_sums(
    usage: &mut DiskUsage,
    wanted: &Wanted,
    layers: Option<LayerUsage>,
    cache: Option<&[CacheItem]>,
    verbose: bool,
) {
    usage.image_usage = layers.map(|layers| UsageSum {
        active_count: 0,
        total_count: count(usage.images.len()),
        reclaimable: signed(layers.only_images),
        total_size: signed(layers.bytes),
        items: items(verbose, &usage.images),
    });
    usage.build_cache_usage = cache.map(|cache| cache_sum(cache, items(verbose, &usage.build_cache)));
    let none = |wanted: bool| {
        wanted.then(|| UsageSum {
            items: items(verbose, &[] as &[Value]),
            ..UsageSum::default()
        })
    };
    usage.container_usage = none(wanted.containers);
    usage.volume_usage = none(wanted.volumes);
}

fn summaries(usage: ImageUsage, version: ApiVersion) -> Vec<ImageSummary> {
    usage
        .images
        .into_iter()
        .zip(usage.shared)
        .map(|(listed, shared)| ImageSummary {
            shared_size: signed(shared),
            // no container runs here, so none uses it
            containers: 0,
            ..summary(listed, version)
        })
        .collect()
}

fn items(verbose: bool, things: &[impl Serialize]) -> Option<Value> {
    verbose.then(|| serde_json::to_value(things).unwrap_or_default())
}

fn cache_sum(cache: &[CacheItem], items: Option<Value>) -> UsageSum {
    let in_use = cache.iter().filter(|item| item.in_use);
    let used: u64 = in_use.clone().map(CacheItem::own_bytes).sum();
    let all = own_bytes(cache);
    UsageSum {
        active_count: count(in_use.count()),
        total_count: count(cache.len()),
        reclaimable: all - signed(used),
        total_size: all,
        items,
    }
}

fn own_bytes(cache: &[CacheItem]) -> i64 {
    signed(cache.iter().map(CacheItem::own_bytes).sum())
}

fn count(things: usize) -> i64 {
    i64::try_from(things).unwrap_or(i64::MAX)
}

/// `GET /mica/cache`: all records of the build cache, the least recently used first.
pub(crate) async fn cache(call: Call) -> Result<Reply, Failure> {
    let engine = call.daemon.engine.clone();
    let items = blocking(move || engine.cache()).await?;
    let records: Vec<CacheRecord> = items.iter().map(|item| record(item, call.version)).collect();
    json(StatusCode::OK, &records)
}

fn record(item: &CacheItem, version: ApiVersion) -> CacheRecord {
    let parent = item.parent.map(|parent| parent.digest().hex());
    let (parent, parents) = match version < ApiVersion::v1(42) {
        true => (parent.unwrap_or_default(), None),
        false => (String::new(), Some(parent.into_iter().collect())),
    };
    CacheRecord {
        id: item.id.digest().hex(),
        parent,
        parents,
        kind: item.kind.as_str().to_owned(),
        description: item.description.clone(),
        in_use: item.in_use,
        shared: item.shared,
        size: item.size,
        created_at: item.created.to_string(),
        last_used_at: match item.use_count {
            0 => String::new(),
            _ => item.last_used.to_string(),
        },
        usage_count: item.use_count,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_what_docker_calls_them() {
        let wanted = |text: &str, minor: u32| Wanted::of(&Query::parse(text).unwrap(), ApiVersion::v1(minor));
        let all = wanted("", 51).unwrap();
        assert!(all.images && all.containers && all.volumes && all.cache);
        let some = wanted("type=image&type=build-cache", 42).unwrap();
        assert!(some.images && some.cache && !some.containers && !some.volumes);
        assert!(
            wanted("type=image", 41).unwrap().cache,
            "older versions have no types"
        );
        for (text, message) in [
            ("type=images", "unknown object type: images"),
            ("type=image&type=", "unknown object type: "),
        ] {
            assert_eq!(wanted(text, 51).err().unwrap().message(), message);
        }
    }
}

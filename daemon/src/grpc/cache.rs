//! The build cache over gRPC: what it holds, and what of it goes.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use mica_buildkit::message::control::{DiskUsageRequest, DiskUsageResponse, PruneRequest, UsageRecord};
use mica_buildkit::{Messages, Methods};
use mica_engine::{Budget, CacheItem, CacheKind, CacheSelection, Engine, PruneWatch, blocking};
use tonic::{Request, Status};

use crate::daemon::Daemon;
use crate::grpc::refused;
use crate::grpc::status::time;
use crate::pruning::Pruning;

/// Adds the methods.
pub(super) fn methods(methods: Methods, daemon: &Arc<Daemon>) -> Methods {
    let (usage, pruner) = (daemon.clone(), daemon.clone());
    methods
        .unary(
            "/moby.buildkit.v1.Control/DiskUsage",
            move |request: Request<DiskUsageRequest>| disk_usage(usage.clone(), request.into_inner()),
        )
        .stream(
            "/moby.buildkit.v1.Control/Prune",
            move |request: Request<PruneRequest>| prune(pruner.clone(), request.into_inner()),
        )
}

async fn disk_usage(daemon: Arc<Daemon>, request: DiskUsageRequest) -> Result<DiskUsageResponse, Status> {
    let filters = Filters::read(&request.filter)?;
    let unused_since = unused_since(request.age_limit);
    let items = cache(&daemon).await?;
    let wanted = items
        .iter()
        .filter(|item| filters.admit(item) && unused_since.is_none_or(|limit| item.last_used < limit));
    Ok(DiskUsageResponse {
        record: wanted.map(record).collect(),
    })
}

async fn prune(daemon: Arc<Daemon>, request: PruneRequest) -> Result<Messages<UsageRecord>, Status> {
    let filters = Filters::read(&request.filter)?;
    let bytes = |number: i64| u64::try_from(number).ok().filter(|bytes| *bytes > 0);
    let items = cache(&daemon).await?;
    let narrowed = !filters.0.is_empty();
    let named: Vec<String> = items
        .iter()
        .filter(|item| narrowed && filters.admit(item))
        .map(|item| item.id.digest().hex())
        .collect();
    if narrowed && named.is_empty() {
        return Ok(Box::pin(tokio_stream::empty()));
    }
    let selection = CacheSelection {
        all: request.all,
        unused_since: unused_since(request.keep_duration),
        ids: named,
        budget: Budget {
            reserved: bytes(request.reserved_space),
            most: bytes(request.max_used_space),
            free: bytes(request.min_free_space),
        },
        ..CacheSelection::default()
    };
    let prune = move |engine: &Engine, watch: &mut PruneWatch<'_>| engine.prune_cache(&selection, watch);
    // there is no message that could tell how far it has got
    let pruning = Pruning::begin(&daemon, daemon.activity.begin(), "build cache", prune);
    let pruned = pruning.done().await.map_err(|error| refused(&error, None))?;
    let gone: Vec<Result<UsageRecord, Status>> = items
        .iter()
        .filter(|item| pruned.keys.contains(&item.id))
        .map(|item| Ok(record(item)))
        .collect();
    Ok(Box::pin(tokio_stream::iter(gone)))
}

async fn cache(daemon: &Daemon) -> Result<Vec<CacheItem>, Status> {
    let engine = daemon.engine.clone();
    blocking(move || engine.cache())
        .await
        .map_err(|error| refused(&error, None))
}

/// The time before which a record must have been used last to have been idle so long.
fn unused_since(nanoseconds: i64) -> Option<Timestamp> {
    let idle = u64::try_from(nanoseconds).ok().filter(|idle| *idle > 0)?;
    let idle = jiff::SignedDuration::try_from(Duration::from_nanos(idle)).ok()?;
    Timestamp::now().checked_sub(idle).ok()
}

fn record(item: &CacheItem) -> UsageRecord {
    UsageRecord {
        id: item.id.digest().hex(),
        mutable: item.kind == CacheKind::Mount,
        in_use: item.in_use,
        size: i64::try_from(item.size).unwrap_or(i64::MAX),
        created_at: Some(time(item.created)),
        last_used_at: Some(time(item.last_used)),
        usage_count: i64::try_from(item.use_count).unwrap_or(i64::MAX),
        description: item.description.clone(),
        record_type: item.kind.as_str().to_owned(),
        shared: item.shared,
    }
}

/// Filters as containerd writes them: `field==value,field~=text`, those of one text all at once, of several texts any.
#[derive(Debug)]
struct Filters(Vec<Vec<Term>>);

#[derive(Debug)]
struct Term {
    field: Field,
    test: Test,
    value: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Id,
    Description,
    InUse,
    Mutable,
    Immutable,
    Kind,
    Shared,
    Private,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Test {
    Is,
    IsNot,
    Has,
    /// A field that is yes or no stands alone.
    Holds,
}

impl Filters {
    fn read(texts: &[String]) -> Result<Self, Status> {
        let terms = |text: &String| {
            let parts = text.split(',').filter(|part| !part.trim().is_empty());
            parts.map(|part| Term::read(part.trim())).collect()
        };
        texts.iter().map(terms).collect::<Result<_, _>>().map(Self)
    }

    fn admit(&self, item: &CacheItem) -> bool {
        self.0.is_empty()
            || self
                .0
                .iter()
                .any(|terms| terms.iter().all(|term| term.holds(item)))
    }
}

impl Term {
    fn read(text: &str) -> Result<Self, Status> {
        let bad = || Status::invalid_argument(format!("invalid filter {text:?}"));
        let tests = [("==", Test::Is), ("!=", Test::IsNot), ("~=", Test::Has)];
        let found = tests.iter().find_map(|(sign, test)| {
            let (field, value) = text.split_once(sign)?;
            Some((field, *test, value.trim_matches('"').to_owned()))
        });
        let (field, test, value) = found.unwrap_or((text, Test::Holds, String::new()));
        let field = match field {
            "id" => Field::Id,
            "description" => Field::Description,
            "inuse" => Field::InUse,
            "mutable" => Field::Mutable,
            "immutable" => Field::Immutable,
            "type" => Field::Kind,
            "shared" => Field::Shared,
            "private" => Field::Private,
            _ => return Err(bad()),
        };
        Ok(Self { field, test, value })
    }

    fn holds(&self, item: &CacheItem) -> bool {
        let truth = |yes: bool| if yes { "true" } else { "" }.to_owned();
        let own = match self.field {
            Field::Id => item.id.digest().hex(),
            Field::Description => item.description.clone(),
            Field::Kind => item.kind.as_str().to_owned(),
            Field::InUse => truth(item.in_use),
            Field::Mutable => truth(item.kind == CacheKind::Mount),
            Field::Immutable => truth(item.kind != CacheKind::Mount),
            Field::Shared => truth(item.shared),
            Field::Private => truth(!item.shared),
        };
        match self.test {
            Test::Is if own.is_empty() => self.value == "false" || self.value.is_empty(),
            Test::Is => own == self.value,
            Test::IsNot => own != self.value,
            Test::Has => own.contains(&self.value),
            Test::Holds => !own.is_empty(),
        }
    }
}

#[cfg(test)]
mod tests {
    use mica_oci::{CacheKey, Digest};

    use super::*;

    fn item(kind: CacheKind, shared: bool) -> CacheItem {
        CacheItem {
            id: CacheKey(Digest::of(b"x")),
            kind,
            description: "RUN make".into(),
            size: 1,
            parent: None,
            created: Timestamp::UNIX_EPOCH,
            last_used: Timestamp::UNIX_EPOCH,
            use_count: 0,
            in_use: false,
            shared,
        }
    }

    #[test]
    fn filters_are_containerd_s() {
        let hex = Digest::of(b"x").hex();
        let table = [
            (vec![], true),
            (vec!["type==regular"], true),
            (vec!["type==exec.cachemount"], false),
            (vec!["type==exec.cachemount", "description~=make"], true),
            (vec!["type==regular,description~=cmake"], false),
            (vec!["shared"], false),
            (vec!["private"], true),
            (vec!["inuse==false"], true),
            (vec!["immutable,id!=x"], true),
        ];
        let own = format!("id==\"{hex}\"");
        for (texts, admitted) in table.into_iter().chain([(vec![own.as_str()], true)]) {
            let texts: Vec<String> = texts.into_iter().map(str::to_owned).collect();
            let filters = Filters::read(&texts).unwrap();
            assert_eq!(
                filters.admit(&item(CacheKind::Regular, false)),
                admitted,
                "{texts:?}"
            );
        }
        assert!(Filters::read(&["color==red".to_owned()]).is_err());
    }
}

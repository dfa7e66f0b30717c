//! Listing, naming, removing and pruning images.

use hyper::StatusCode;
use jiff::Timestamp;
use mica_api::{DeleteItem, ImageSummary, PruneReport};
use mica_engine::{Engine, Listed, PruneWatch, Removal, RemoveOptions, Selection, blocking};
use mica_oci::{Reference, Tag};

use crate::rights::Right;
use crate::routes::{Call, prune};
use crate::wire::filter::Filters;
use crate::wire::platform;
use crate::wire::reply::{Failure, JSON, Reply, empty, json, json_bytes, whole};
use crate::wire::version::ApiVersion;

const LIST_FILTERS: [&str; 7] = [
    "dangling",
    "label",
    "label!",
    "before",
    "since",
    "until",
    "reference",
];
const PRUNE_FILTERS: [&str; 4] = ["dangling", "label", "label!", "until"];

/// `GET /images/json`
pub(crate) async fn list(call: Call) -> Result<Reply, Failure> {
    let selection = list_selection(&call)?;
    let engine = call.daemon.engine.clone();
    let shared = call.query.flag("shared-size", false) && call.version >= ApiVersion::v1(42);
    let version = call.version;
    let bytes = blocking(move || {
        let listed = engine.list(&selection)?;
        let sizes = match shared {
            true => engine.shared_sizes(&listed)?,
            false => Vec::new(),
        };
        let mut summaries: Vec<ImageSummary> = listed.into_iter().map(|one| summary(one, version)).collect();
        for (summary, size) in summaries.iter_mut().zip(sizes) {
            summary.shared_size = signed(size);
        }
        Ok(json_bytes(&summaries))
    })
    .await?;
    Ok(whole(StatusCode::OK, JSON, bytes?))
}

fn list_selection(call: &Call) -> Result<Selection, Failure> {
    let mut filters = Filters::of(&call.query, &LIST_FILTERS)?;
    if call.version < ApiVersion::v1(41)
        && filters.values("reference").is_empty()
        && let Some(reference) = call.query.filled("filter")
    {
        filters.add("reference", reference);
    }
    Ok(Selection {
        all: call.query.flag("all", false),
        dangling: filters.truth("dangling")?,
        before: filters.values("before").to_vec(),
        since: filters.values("since").to_vec(),
        references: filters.values("reference").to_vec(),
        ..common_selection(&filters)?
    })
}

/// What lists and prunes can both be asked for.
fn common_selection(filters: &Filters) -> Result<Selection, Failure> {
    Ok(Selection {
        labels: filters.labels("label"),
        without_labels: filters.labels("label!"),
        until: filters.time("until", Timestamp::now())?,
        ..Selection::default()
    })
}

/// An image as lists show it to clients of a version.
pub(crate) fn summary(listed: Listed, version: ApiVersion) -> ImageSummary {
    let image = listed.image;
    let familiar = |references: &[Reference]| references.iter().map(Reference::familiar).collect();
    let mut tags: Vec<String> = familiar(&listed.tags);
    let mut digests: Vec<String> = familiar(&listed.digests);
    if version < ApiVersion::v1(43) && tags.is_empty() && digests.is_empty() {
        tags.push("<none>:<none>".to_owned());
        digests.push("<none>@<none>".to_owned());
    }
    ImageSummary {
        id: image.id.to_string(),
        parent_id: image.parent.map(|parent| parent.to_string()).unwrap_or_default(),
        repo_tags: tags,
        repo_digests: digests,
        created: image.created.map_or(0, |time| time.as_second()),
        size: signed(image.size),
        shared_size: -1,
        labels: image.labels,
        containers: if version >= ApiVersion::v1(51) { 0 } else { -1 },
        virtual_size: (version < ApiVersion::v1(44)).then(|| signed(image.size)),
    }
}

/// `POST /images/{name}/tag`
pub(crate) async fn tag(call: Call, name: String) -> Result<Reply, Failure> {
    let engine = call.daemon.engine.clone();
    let repository = call.query.get("repo").unwrap_or_default().to_owned();
    let tag = call.query.get("tag").map(str::to_owned);
    let given = mica_engine::tag_target(&repository, tag.as_deref());
    blocking(move || engine.tag(&name, &repository, tag.as_deref())).await?;
    if let Ok(given) = given {
        call.daemon.names.given(call.peer.user, &given);
    }
    Ok(empty(StatusCode::CREATED))
}

/// `DELETE /images/{name}`
pub(crate) async fn remove(call: Call, name: String) -> Result<Reply, Failure> {
    if !is_own(&call, &name) {
        call.may(
            Right::Full,
            "removing what one did not name oneself, or by its ID, or by force,",
        )?;
    }
    let engine = call.daemon.engine.clone();
    let options = RemoveOptions {
        force: call.query.flag("force", false),
        keep_parents: call.query.flag("noprune", false),
    };
    let platforms = platform::all(&call.query, call.version)?;
    let busy = call.busy.clone();
    let removals = blocking(move || {
        let removals = engine.remove(name.trim(), &platforms, options);
        drop(busy);
        removals
    })
    .await?;
    json(StatusCode::OK, &items(&removals))
}

/// Whether what is to be removed is a name that the user gave himself, as long as this daemon runs; the image goes with its last
/// name, as ever.
fn is_own(call: &Call, name: &str) -> bool {
    let is_forced = call.query.flag("force", false);
    let name: Option<Reference> = name.trim().parse().ok();
    let is_own = |name: &Reference| name.digest.is_none() && call.daemon.names.is_of(call.peer.user, name);
    !is_forced && name.map(or_latest).is_some_and(|name| is_own(&name))
}

/// A name with the tag that it means.
pub(crate) fn or_latest(name: Reference) -> Reference {
    match (&name.tag, &name.digest) {
        (None, None) => Reference::tagged(name.repository, Tag::latest()),
        _ => name,
    }
}

/// `POST /images/prune`
pub(crate) async fn prune(call: Call) -> Result<Reply, Failure> {
    let filters = Filters::of(&call.query, &PRUNE_FILTERS)?;
    let selection = Selection {
        dangling: filters.truth("dangling")?,
        ..common_selection(&filters)?
    };
    let prune = move |engine: &Engine, watch: &mut PruneWatch<'_>| engine.prune_images(&selection, watch);
    prune::answer(call, "images", prune, |pruned| PruneReport {
        images_deleted: Some(items(&pruned.removals)).filter(|items| !items.is_empty()),
        space_reclaimed: pruned.bytes,
    })
    .await
}

fn items(removals: &[Removal]) -> Vec<DeleteItem> {
    let item = |removal: &Removal| match removal {
        Removal::Untagged(reference) => DeleteItem::untagged(reference.familiar()),
        Removal::Image(id) => DeleteItem::deleted(id.to_string()),
        Removal::Layer(chain) => DeleteItem::deleted(chain.to_string()),
    };
    removals.iter().map(item).collect()
}

/// A size as Go's signed numbers take it.
pub(crate) fn signed(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

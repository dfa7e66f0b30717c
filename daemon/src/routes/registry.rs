//! Pulling and pushing images, and asking registries.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use mica_api::{AuthConfig, AuthReply, BuiltImage, DistributionInspect, DistributionPlatform, Message};
use mica_engine::{CancelOnDrop, Error, IndexRequest, PullRequest, PushRequest, Sink, TransferEvents, sink};
use mica_oci::{Attested, Compression, Digest, ImageId, Platform, PlatformImage, Reference, Repository, Tag};
use mica_task::{Cancel, TransferEvent};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::daemon::Daemon;
use crate::routes::Call;
use crate::routes::build_query::MOST_PLATFORMS;
use crate::routes::images::or_latest;
use crate::wire::credential;
use crate::wire::platform;
use crate::wire::query::Query;
use crate::wire::reply::{Failure, JSON, Pieces, Reply, json, pieces, whole};
use crate::wire::stream::line;
use crate::wire::transfer::messages;
use crate::work::{Task, Work as Told};

/// How many lines wait for a slow client.
const WAITING: usize = 64;
/// The longest body of `/auth`, in bytes.
const AUTH_LIMIT: usize = 64 << 10;
/// The most images of an index that is pushed.
const MOST_IMAGES: usize = MOST_PLATFORMS;
/// The type of a manifest that does not say what it is.
const UNKNOWN: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// `POST /images/create` with `fromImage`
pub(crate) async fn pull(call: Call) -> Result<Reply, Failure> {
    let request = PullRequest {
        is_unnamed: false,
        reference: wanted(&call.query)?,
        platform: text_platform(&call.query)?,
        credential: credential::of(&call.headers),
    };
    let (engine, busy) = (call.daemon.engine.clone(), call.busy.clone());
    let (sink, mut events) = sink();
    let told = call.daemon.work(Task::Pull, [request.reference.familiar()]);
    let (daemon, user) = (call.daemon.clone(), call.peer.user);
    let mut work = start(&call.daemon, told, sink.clone(), async move {
        let pulled = engine.pull(&request, &sink).await;
        if pulled.is_ok() && request.reference.digest.is_none() {
            daemon.names.given(user, &or_latest(request.reference));
        }
        drop(busy);
        pulled.map(drop)
    });
    // what fails before the image is found is answered with a status
    let mut first = Vec::new();
    while let Some(event) = events.recv().await {
        let is_note = matches!(event, TransferEvent::Note(_));
        first.push(event);
        if !is_note {
            return Ok(stream(first, events, work));
        }
    }
    match (&mut work).await {
        Ok(Err(error)) => Err(error.into()),
        // no tag at all: nothing was found, and nothing failed
        Ok(Ok(())) => Ok(stream(first, events, tokio::spawn(async { Ok(()) }))),
        Err(_) => Err(Error::Worker.into()),
    }
}

/// What `fromImage` and `tag` name together.
fn wanted(query: &Query) -> Result<Reference, Failure> {
    let invalid = |error: &dyn std::fmt::Display| Failure::invalid(error.to_string());
    let name = query.filled("fromImage").unwrap_or_default();
    let name = name.strip_suffix(':').unwrap_or(name);
    let reference: Reference = name.parse().map_err(|error| invalid(&error))?;
    let Some(tag) = query.filled("tag") else {
        return Ok(reference);
    };
    if tag.contains(':') {
        let digest = tag.parse().map_err(|error| invalid(&error))?;
        return Ok(Reference {
            digest: Some(digest),
            ..reference
        });
    }
    let tag = Tag::new(tag).map_err(|error| invalid(&error))?;
    Ok(Reference::tagged(reference.repository, tag))
}

/// A `platform` written as text.
pub(crate) fn text_platform(query: &Query) -> Result<Option<Platform>, Failure> {
    query
        .filled("platform")
        .map(|text| text.parse().map_err(|error| Failure::invalid(format!("{error}"))))
        .transpose()
}

/// `POST /images/{name}/push`
pub(crate) async fn push(call: Call, name: String) -> Result<Reply, Failure> {
    let reference: Reference = name
        .parse()
        .map_err(|error| Failure::invalid(format!("{error}")))?;
    if reference.digest.is_some() {
        return Err(Failure::invalid("cannot push a digest reference"));
    }
    let tag = match call.query.filled("tag") {
        Some(tag) => Some(Tag::new(tag).map_err(|error| Failure::invalid(format!("{error}")))?),
        None => reference.tag,
    };
    if let Some(images) = images(&call.query)? {
        return push_images(call, reference.repository, tag, images);
    }
    let request = PushRequest {
        tag,
        platform: platform::since(46, call.version, &call.query)?,
        credential: credential::of(&call.headers),
        compression: compression(&call.query)?,
        attested: attested(&call)?,
        repository: reference.repository,
    };
    let first = Message::status(format!("The push refers to repository [{}]", request.repository));
    let (engine, busy) = (call.daemon.engine.clone(), call.busy.clone());
    let (sink, events) = sink();
    let name = match &request.tag {
        Some(tag) => Reference::tagged(request.repository.clone(), tag.clone()).familiar(),
        None => request.repository.familiar(),
    };
    let told = call.daemon.work(Task::Push, [name]);
    let work = start(&call.daemon, told, sink.clone(), async move {
        let pushed = engine.push(&request, &sink).await;
        drop(busy);
        pushed.map(drop)
    });
    Ok(stream_after(vec![first], events, work))
}

/// Pushes images of a build for several platforms, and an index of them under the tag.
fn push_images(
    call: Call,
    repository: Repository,
    tag: Option<Tag>,
    images: Vec<PlatformImage>,
) -> Result<Reply, Failure> {
    let request = IndexRequest {
        tags: vec![tag.ok_or_else(|| Failure::invalid("an index is pushed under a tag: name one"))?],
        credential: credential::of(&call.headers),
        compression: compression(&call.query)?,
        attested: attested_of(&call, &images)?,
        images,
        repository,
    };
    let first = Message::status(format!("The push refers to repository [{}]", request.repository));
    let (engine, busy) = (call.daemon.engine.clone(), call.busy.clone());
    let (sink, events) = sink();
    let names = request.tags.iter().cloned();
    let names = names.map(|tag| Reference::tagged(request.repository.clone(), tag).familiar());
    let told = call.daemon.work(Task::Push, names);
    let work = start(&call.daemon, told, sink.clone(), async move {
        let pushed = engine.push_index(&request, &sink).await;
        drop(busy);
        pushed.map(drop)
    });
    Ok(stream_after(vec![first], events, work))
}

/// Ours beside docker's parameters: the images of a build for several platforms, which need no name here.
fn images(query: &Query) -> Result<Option<Vec<PlatformImage>>, Failure> {
    if query.filled("images").is_none() {
        return Ok(None);
    }
    let listed: Vec<BuiltImage> = query.json("images")?;
    if listed.is_empty() || listed.len() > MOST_IMAGES {
        return Err(Failure::invalid(format!(
            "{} images, not 1 to {MOST_IMAGES}",
            listed.len()
        )));
    }
    let mut images: Vec<PlatformImage> = Vec::new();
    for BuiltImage { platform, id } in listed {
        let platform: Platform = platform
            .parse()
            .map_err(|error| Failure::invalid(format!("{error}")))?;
        let image: Digest = id
            .parse()
            .map_err(|error| Failure::invalid(format!("image {id:?}: {error}")))?;
        if images.iter().any(|known| known.platform == platform) {
            return Err(Failure::invalid(format!("two images for {platform}")));
        }
        let image = ImageId(image);
        images.push(PlatformImage { platform, image });
    }
    Ok(Some(images))
}

/// Ours beside docker's parameters: how layers are compressed that were made here.
fn compression(query: &Query) -> Result<Option<Compression>, Failure> {
    match query.filled("compression") {
        None => Ok(None),
        Some("gzip") => Ok(Some(Compression::Gzip)),
        Some("zstd") => Ok(Some(Compression::Zstd)),
        Some(other) => Err(Failure::invalid(format!(
            "unknown compression {other:?}: say gzip or zstd"
        ))),
    }
}

/// Ours beside docker's parameters: the image that goes with what was said of it when it was built.
fn attested(call: &Call) -> Result<Attested, Failure> {
    let Some(text) = call.query.filled("attestations") else {
        return Ok(Attested::new());
    };
    let digest: Digest = text
        .parse()
        .map_err(|error| Failure::invalid(format!("invalid attestations {text:?}: {error}")))?;
    let image = ImageId(digest);
    let said = call.daemon.engine.attestations(&image)?;
    Ok(Attested::from([(image, said)]))
}

/// The same of the images of a build for several platforms, of which any is named.
fn attested_of(call: &Call, images: &[PlatformImage]) -> Result<Attested, Failure> {
    let mut attested = attested(call)?;
    if attested
        .keys()
        .any(|named| images.iter().all(|known| known.image != *named))
    {
        return Err(Failure::invalid("attestations names none of the images"));
    }
    if !attested.is_empty() {
        for PlatformImage { image, .. } in images {
            attested.insert(*image, call.daemon.engine.attestations(image)?);
        }
    }
    Ok(attested)
}

type Work = JoinHandle<Result<(), Error>>;

/// Does the work until it is done, nobody listens any more, or the daemon has no more patience.
fn start(
    daemon: &Arc<Daemon>,
    told: Told,
    sink: Sink,
    work: impl Future<Output = Result<(), Error>> + Send + 'static,
) -> Work {
    let daemon = daemon.clone();
    tokio::spawn(async move {
        let result = tokio::select! {
            result = work => result,
            () = sink.closed() => Err(Error::Cancelled),
            () = daemon.ended() => Err(Error::Cancelled),
        };
        told.end(&result);
        result
    })
}

fn stream(first: Vec<TransferEvent>, events: TransferEvents, work: Work) -> Reply {
    // what was said while it was looked for comes after the line that clients expect first
    let (notes, found): (Vec<_>, Vec<_>) = first
        .into_iter()
        .partition(|event| matches!(event, TransferEvent::Note(_)));
    let lines = found.iter().chain(&notes).flat_map(messages).collect();
    stream_after(lines, events, work)
}

/// A stream of lines that ends with the work.
fn stream_after(first: Vec<Message>, mut events: TransferEvents, work: Work) -> Reply {
    let (sender, receiver) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        for message in first {
            if send(&sender, &message).await.is_err() {
                return;
            }
        }
        while let Some(event) = events.recv().await {
            for message in messages(&event) {
                if send(&sender, &message).await.is_err() {
                    return;
                }
            }
        }
        let failure = match work.await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => Message::failure(error.describe(), None),
            Err(_) => Message::failure(Error::Worker.describe(), None),
        };
        // a client that is gone does not wait for the end
        let _ = send(&sender, &failure).await;
    });
    // dropping the receiver stops the work: its sink closes
    pieces(JSON, Pieces::new(receiver, CancelOnDrop::new(Cancel::new())))
}

async fn send(sender: &mpsc::Sender<io::Result<Bytes>>, message: &Message) -> Result<(), ()> {
    sender.send(Ok(line(message))).await.map_err(drop)
}

/// `GET /distribution/{name}/json`
pub(crate) async fn distribution(call: Call, name: String) -> Result<Reply, Failure> {
    let reference = named(&name)?;
    let found = call
        .daemon
        .engine
        .distribution(&reference, &credential::of(&call.headers))
        .await?;
    let platform = |platform: &Platform| DistributionPlatform {
        architecture: platform.architecture.clone(),
        os: platform.os.clone(),
        os_version: platform.os_version.clone(),
        variant: platform.variant.clone(),
    };
    let answer = DistributionInspect {
        descriptor: mica_api::Descriptor {
            media_type: found.descriptor.media_type.to_string(),
            digest: found.descriptor.digest.to_string(),
            size: found.descriptor.size,
        },
        platforms: found.platforms.iter().map(platform).collect(),
    };
    json(StatusCode::OK, &answer)
}

/// `GET /mica/manifest/{name}`: the bytes of a manifest or index as the registry has them.
pub(crate) async fn manifest(call: Call, name: String) -> Result<Reply, Failure> {
    let reference = named(&name)?;
    let found = call
        .daemon
        .engine
        .remote_manifest(&reference, &credential::of(&call.headers))
        .await?;
    let kind = found
        .content_type
        .as_deref()
        .map_or(Ok(UNKNOWN), HeaderValue::from_str);
    let mut reply = whole(StatusCode::OK, kind.unwrap_or(UNKNOWN), found.bytes);
    if let Ok(digest) = HeaderValue::from_str(&found.digest.to_string()) {
        reply
            .headers_mut()
            .insert(HeaderName::from_static("docker-content-digest"), digest);
    }
    debug_assert!(reply.headers().contains_key(CONTENT_TYPE));
    Ok(reply)
}

fn named(name: &str) -> Result<Reference, Failure> {
    name.parse().map_err(|error| Failure::invalid(format!("{error}")))
}

/// `POST /auth`
pub(crate) async fn auth(call: Call) -> Result<Reply, Failure> {
    let engine = call.daemon.engine.clone();
    let body = call.upload.read(AUTH_LIMIT).await?;
    // serde's own text can quote a password
    let config: AuthConfig = serde_json::from_slice(&body).map_err(|error| {
        Failure::invalid(format!(
            "line {}, column {} of the body is no such JSON",
            error.line(),
            error.column()
        ))
    })?;
    let server = match config.serveraddress.is_empty() {
        true => "docker.io".to_owned(),
        false => config.serveraddress.clone(),
    };
    let credential = credential::credential(config);
    let identity_token = engine.login(&server, &credential).await?;
    let answer = AuthReply {
        status: "Login Succeeded".to_owned(),
        identity_token: identity_token.unwrap_or_default(),
    };
    json(StatusCode::OK, &answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Query {
        Query::parse(text).unwrap()
    }

    #[test]
    fn names_and_tags_are_put_together() {
        let digest = mica_oci::Digest::of(b"");
        for (text, familiar) in [
            (
                "fromImage=busybox&tag=latest".to_owned(),
                "busybox:latest".to_owned(),
            ),
            (
                "fromImage=docker.io/library/busybox".to_owned(),
                "busybox".to_owned(),
            ),
            ("fromImage=busybox:".to_owned(), "busybox".to_owned()),
            ("fromImage=busybox:1&tag=2".to_owned(), "busybox:2".to_owned()),
            (
                format!("fromImage=ghcr.io/o/n&tag={digest}"),
                format!("ghcr.io/o/n@{digest}"),
            ),
            (
                format!("fromImage=ghcr.io/o/n@{digest}"),
                format!("ghcr.io/o/n@{digest}"),
            ),
        ] {
            assert_eq!(wanted(&query(&text)).unwrap().familiar(), familiar, "{text}");
        }
        for bad in [
            "fromImage=Busybox",
            "fromImage=",
            "fromImage=a&tag=b%20c",
            "fromImage=a&tag=sha256:00",
        ] {
            assert!(wanted(&query(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_what_is_known_is_a_compression() {
        assert_eq!(compression(&query("")).unwrap(), None);
        assert_eq!(
            compression(&query("compression=zstd")).unwrap(),
            Some(Compression::Zstd)
        );
        assert!(compression(&query("compression=lz4")).is_err());
    }
}

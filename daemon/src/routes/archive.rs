//! Images into a tar for the client, and out of the client's tar.

use std::io::{self, Write};

use bytes::Bytes;
use mica_api::{Message, ProgressDetail};
use mica_engine::{CancelOnDrop, Error, LoadEvent, Loaded, blocking, chunks};
use mica_task::Cancel;
use tokio::sync::mpsc;

use crate::routes::Call;
use crate::routes::images::signed;
use crate::wire::platform;
use crate::wire::reply::{Failure, JSON, Pieces, Reply, TAR, pieces};
use crate::wire::stream::line;
use crate::wire::upload::look_for_room;
use crate::work::Task;

/// How many lines or chunks wait for a slow client.
const WAITING: usize = 8;

/// `GET /images/get` and `GET /images/{name}/get`
pub(crate) async fn save(call: Call, names: Vec<String>) -> Result<Reply, Failure> {
    if names.is_empty() {
        return Err(Failure::invalid("no image names given"));
    }
    let wanted = platform::since(48, call.version, &call.query)?;
    let engine = call.daemon.engine.clone();
    let told = call.daemon.work(Task::Save, names.clone());
    let saving = blocking({
        let engine = engine.clone();
        move || engine.prepare_save(&names, wanted.as_ref())
    })
    .await?;
    let cancel = Cancel::new();
    let (sender, receiver) = mpsc::channel(WAITING);
    let (mut writer, mut written) = chunks();
    let (busy, stop) = (call.busy.clone(), cancel.clone());
    let work = blocking(move || {
        let saved = engine.save(&saving, &mut stop.guard(&mut writer));
        let flushed = writer.flush();
        drop(busy);
        saved.and(flushed.map_err(|source| Error::Io {
            action: "send the archive",
            source,
        }))
    });
    tokio::spawn(async move {
        let to_client = sender.clone();
        // when the client is gone this ends and takes the receiver with it, so that the writer fails instead of waiting
        let forward = async move {
            while let Some(chunk) = written.recv().await {
                if to_client.send(Ok(chunk)).await.is_err() {
                    return;
                }
            }
        };
        let (ended, ()) = tokio::join!(work, forward);
        match &ended {
            // what the client no longer takes did not fail
            Err(error) if cancelled_by_client(error, &sender) => drop(told),
            ended => told.end(ended),
        }
        if let Err(error) = ended {
            // the client must not take the part it has for the whole
            let _ = sender.send(Err(io::Error::other(error.describe()))).await;
        }
    });
    Ok(pieces(TAR, Pieces::new(receiver, CancelOnDrop::new(cancel))))
}

fn cancelled_by_client(error: &Error, sender: &mpsc::Sender<io::Result<Bytes>>) -> bool {
    sender.is_closed() || error.kind() == mica_engine::Kind::Cancelled
}

/// `POST /images/load`
pub(crate) async fn load(call: Call) -> Result<Reply, Failure> {
    let quiet = call.query.flag("quiet", true);
    // an archive is loaded whole; the parameter is only checked
    platform::since(48, call.version, &call.query)?;
    let engine = call.daemon.engine.clone();
    look_for_room(&engine, &call.headers, "the archive").await?;
    let cancel = Cancel::new();
    let (sender, receiver) = mpsc::channel(WAITING);
    let (progress, busy) = (sender.clone(), call.busy.clone());
    let input = cancel.guard(call.upload.wanted(&call.headers).await.into_reader());
    let (daemon, user) = (call.daemon.clone(), call.peer.user);
    let mut told = daemon.work(Task::Load, []);
    let work = blocking(move || {
        let mut moved = Vec::new();
        let loaded = engine.load(Box::new(input), &mut |event| match event {
            LoadEvent::Layer {
                diff_id,
                current,
                total,
            } if !quiet => {
                let message = layer_progress(diff_id.digest().short(), current, total);
                // a client that reads nothing until all is sent must not hold its own sending up
                let _ = progress.try_send(Ok(line(&message)));
            }
            LoadEvent::Layer { .. } | LoadEvent::Image(_) => {}
            LoadEvent::Moved { reference, previous } => moved.push(format!(
                "The image {} already exists, renaming the old one with ID {previous} to empty string\n",
                reference.familiar()
            )),
        });
        drop((progress, busy));
        loaded.map(|loaded| (loaded, moved))
    });
    tokio::spawn(async move {
        let ended = work.await;
        if let Ok((loaded, _)) = &ended {
            for name in loaded.iter().flat_map(|image| &image.references) {
                daemon.names.given(user, name);
                told.about([name.familiar()]);
            }
        }
        told.end(&ended);
        let lines = match ended {
            Ok((loaded, moved)) => moved
                .into_iter()
                .chain(loaded.iter().flat_map(names))
                .map(Message::stream)
                .collect(),
            Err(error) => vec![Message::failure(error.describe(), None)],
        };
        for message in lines {
            if sender.send(Ok(line(&message))).await.is_err() {
                return;
            }
        }
    });
    let body = Pieces::begun(receiver, CancelOnDrop::new(cancel)).await;
    Ok(pieces(JSON, body))
}

fn layer_progress(id: String, current: u64, total: u64) -> Message {
    Message {
        status: Some("Loading layer".to_owned()),
        id: Some(id),
        progress_detail: Some(ProgressDetail {
            current: Some(signed(current)),
            total: Some(signed(total)),
            ..ProgressDetail::default()
        }),
        ..Message::default()
    }
}

fn names(loaded: &Loaded) -> Vec<String> {
    if loaded.references.is_empty() {
        return vec![format!("Loaded image ID: {}\n", loaded.image)];
    }
    let name = |reference: &mica_oci::Reference| format!("Loaded image: {}\n", reference.familiar());
    loaded.references.iter().map(name).collect()
}

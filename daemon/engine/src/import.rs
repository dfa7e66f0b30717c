//! The verb import: a tar of a file system becomes an image of one layer.

use std::io::{self, Read};

use jiff::Timestamp;
use mica_layer::{IndexOptions, TarWriter, decompress, spool};
use mica_oci::config::ImageConfig;
use mica_oci::{Compression, DiffId, History, ImageId, Platform, Raw, Reference, RootFs};

use crate::bridge::{BodyReader, body};
use crate::engine::Engine;
use crate::error::Error;
use crate::feed::Action;

/// What a client asks to be imported.
#[derive(Debug, Clone)]
pub struct ImportRequest {
    /// What the image is to be called.
    pub reference: Option<Reference>,
    /// The comment of its only step.
    pub message: String,
    /// Instructions that change its config.
    pub changes: Vec<String>,
    /// What it is for; this machine's platform if `None`.
    pub platform: Option<Platform>,
}

impl Engine {
    /// What lies at an address, to be read on a thread.
    pub async fn open_address(&self, address: &str) -> Result<BodyReader, Error> {
        let opened = self.registries().open(address).await;
        let mut pieces = opened.map_err(|error| Error::Registry(Box::new(error)))?;
        let (sender, reader) = body();
        tokio::spawn(async move {
            while let Some(piece) = pieces.recv().await {
                let bytes = match piece {
                    Ok(bytes) => bytes,
                    Err(error) => return sender.fail(io::Error::other(error)).await,
                };
                // nobody reads any more
                if sender.send(bytes).await.is_err() {
                    return;
                }
            }
            sender.finish().await;
        });
        Ok(reader)
    }

    /// Makes an image of a tar, in any compression; of nothing at all, an image of an empty layer.
    pub fn import(&self, request: &ImportRequest, input: Box<dyn Read + Send>) -> Result<ImageId, Error> {
        self.told(self.import_from(request, input))
    }

    fn import_from(&self, request: &ImportRequest, input: Box<dyn Read + Send>) -> Result<ImageId, Error> {
        let lease = self.store().lease();
        let mut ingest = self.store().ingest(&lease)?;
        let mut input = input;
        let mut first = Vec::new();
        (&mut input).take(1).read_to_end(&mut first).map_err(read)?;
        if first.is_empty() {
            TarWriter::new(&mut ingest).finish().map_err(Error::Import)?;
        } else {
            let (plain, _) = decompress(io::Cursor::new(first).chain(input)).map_err(Error::Import)?;
            spool(plain, &mut ingest, IndexOptions::default()).map_err(Error::Import)?;
        }
        let blob = ingest.commit(None)?;
        let diff_id = DiffId(blob.digest);
        self.store()
            .add_layer_blob(&lease, &blob, Compression::None, &diff_id)?;
        let config = mica_builder::apply_changes(config(request, diff_id), &request.changes)?;
        let config = Raw::of(config).map_err(|source| Error::Config {
            reference: "the imported image".to_owned(),
            source,
        })?;
        let names: Vec<Reference> = request.reference.iter().cloned().collect();
        let image = self.store().commit_image(&lease, &config, None, &names)?.image;
        for name in &names {
            self.feed().image(Action::Tag, &image, name.familiar());
        }
        self.feed().image(Action::Import, &image, image.id.to_string());
        Ok(image.id)
    }
}

fn read(source: io::Error) -> Error {
    Error::Io {
        action: "read the archive",
        source,
    }
}

fn config(request: &ImportRequest, diff_id: DiffId) -> ImageConfig {
    let platform = request.platform.clone().unwrap_or_else(Platform::host);
    let now = Timestamp::now();
    ImageConfig {
        created: Some(now),
        architecture: platform.architecture,
        variant: platform.variant,
        os: platform.os,
        os_version: platform.os_version,
        rootfs: RootFs {
            diff_ids: vec![diff_id],
            ..RootFs::default()
        },
        history: vec![History {
            created: Some(now),
            comment: request.message.clone(),
            ..History::default()
        }],
        ..ImageConfig::default()
    }
}

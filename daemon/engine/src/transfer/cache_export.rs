//! Build caches in registries, written: the layers of steps, only what the registry lacks, and the document that says which
//! step made which.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mica_builder::ports::MadeStep;
use mica_oci::cache::CACHE_CONFIG;
use mica_oci::document::DOCUMENT_LIMIT;
use mica_oci::media::{
    DOCKER_LAYER, DOCKER_LAYER_GZIP, DOCKER_LAYER_ZSTD, DOCKER_LIST, OCI_INDEX, OCI_MANIFEST,
};
use mica_oci::{
    Attested, CacheConfig, CachedStep, Compression, Descriptor, DiffId, Index, Manifest, MediaType, Raw, Tag,
};
use mica_registry::{Credential, Intent, Remote, Which};
use mica_store::Lease;
use mica_task::{LayerState, TransferEvent};

use crate::bridge::blocking;
use crate::engine::Engine;
use crate::error::Error;
use crate::transfer::cache_target::{CacheExport, CacheForm};
use crate::transfer::layer_source::BytesSource;
use crate::transfer::parcel::{Parcel, parcel};
use crate::transfer::push::{Push, PushRequest, lacks_a_blob};
use crate::transfer::sink::Sink;
use crate::transfer::words::push_error;

/// How often a manifest is put while the registry says that it lacks a blob of it.
const TRIES: u32 = 5;
/// How long after such a refusal.
const PAUSE: Duration = Duration::from_millis(300);

/// Layers that are not here, and where they are.
pub(crate) type Elsewhere = HashMap<DiffId, (Arc<Remote>, Descriptor)>;

/// What a build did, and where its layers are.
pub(crate) struct Made<'a> {
    pub(crate) steps: &'a [MadeStep],
    pub(crate) elsewhere: &'a Elsewhere,
    pub(crate) lease: &'a Lease,
}

impl Engine {
    /// Writes the cache that `export` asks for. Nothing is written where nothing was made.
    pub(crate) async fn write_cache(
        &self,
        export: &CacheExport,
        credential: &Credential,
        made: &Made<'_>,
        sink: &Sink,
    ) -> Result<(), Error> {
        let steps = made.steps.iter().filter(|step| export.all || step.in_image);
        let steps: Vec<&MadeStep> = steps.collect();
        let Some(tag) = export.reference.tag.clone() else {
            return Ok(());
        };
        if steps.is_empty() {
            let nothing = "no step made a layer: no cache is written".to_owned();
            sink.tell(TransferEvent::Note(nothing)).await;
            return Ok(());
        }
        let remote = self.remote(&export.reference, Intent::Push, credential, sink)?;
        let request = PushRequest {
            repository: export.reference.repository.clone(),
            tag: None,
            platform: None,
            credential: credential.clone(),
            compression: export.compression,
            attested: Attested::new(),
        };
        let writing = Writing {
            engine: self,
            export,
            made,
            remote: &remote,
            sink,
            push: Push {
                engine: self,
                remote: &remote,
                request: &request,
                sink,
                lease: made.lease.clone(),
            },
        };
        writing.run(&steps, &tag).await
    }
}

struct Writing<'a> {
    engine: &'a Engine,
    export: &'a CacheExport,
    made: &'a Made<'a>,
    remote: &'a Arc<Remote>,
    sink: &'a Sink,
    push: Push<'a>,
}

impl Writing<'_> {
    async fn run(&self, steps: &[&MadeStep], tag: &Tag) -> Result<(), Error> {
        let mut tries = 0;
        loop {
            let blobs = self.send_layers(steps).await?;
            match self.send_documents(steps, &blobs, tag).await {
                Err(error) if tries < TRIES && is_lacking(&error) => {
                    tries += 1;
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => return Err(error),
                Ok(()) => return self.remember(&blobs).await,
            }
        }
    }

    /// Sees to it that the registry has the layers; gives the blobs they are in.
    async fn send_layers(&self, steps: &[&MadeStep]) -> Result<HashMap<DiffId, Descriptor>, Error> {
        let mut layers: Vec<DiffId> = steps.iter().map(|step| step.record.layer).collect();
        layers.sort();
        layers.dedup();
        let mut parcels = Vec::new();
        for layer in layers {
            self.sink.layer(layer.digest(), LayerState::Prepared).await;
            parcels.push((layer, self.parcel(layer).await?));
        }
        let sent = self.push.send_layers(&parcels).await?;
        let blobs = parcels.iter().map(|(layer, _)| *layer).zip(sent);
        Ok(blobs.map(|(layer, blob)| (layer, self.spelled(blob))).collect())
    }

    /// How a layer gets there. One that a cache promised and nobody needed is fetched only if it is not there already.
    async fn parcel(&self, layer: DiffId) -> Result<Parcel, Error> {
        let (store, lease, wanted) = (
            self.engine.store().clone(),
            self.made.lease.clone(),
            self.export.compression,
        );
        if let Some((from, blob)) = self.made.elsewhere.get(&layer) {
            let (store, lease) = (store.clone(), lease.clone());
            let is_here = blocking(move || Ok(store.layer(&lease, &layer)?.is_some())).await?;
            if !is_here {
                let has = self.remote.has_blob(&blob.digest).await;
                if has.map_err(|error| self.failed(error))? {
                    return Ok(Parcel::Left(blob.clone()));
                }
                let one = [(layer, blob.clone())];
                self.engine
                    .fetch_cached(from, &one, self.made.lease, self.sink)
                    .await?;
            }
        }
        blocking(move || parcel(&store, &lease, &layer, None, wanted)).await
    }

    /// A blob's descriptor in the spelling that is asked for.
    fn spelled(&self, blob: Descriptor) -> Descriptor {
        let compression = blob.media_type.layer_compression().unwrap_or(Compression::Gzip);
        let media_type = match (self.export.form, compression) {
            (CacheForm::DockerList, Compression::None) => MediaType::new(DOCKER_LAYER),
            (CacheForm::DockerList, Compression::Gzip) => MediaType::new(DOCKER_LAYER_GZIP),
            (CacheForm::DockerList, Compression::Zstd) => MediaType::new(DOCKER_LAYER_ZSTD),
            (_, compression) => compression.layer_media_type(),
        };
        Descriptor::new(media_type, blob.digest, blob.size)
    }

    async fn send_documents(
        &self,
        steps: &[&MadeStep],
        blobs: &HashMap<DiffId, Descriptor>,
        tag: &Tag,
    ) -> Result<(), Error> {
        let config = self.config(steps, blobs)?;
        let bytes = Bytes::copy_from_slice(config.bytes());
        let own = Descriptor::new(CACHE_CONFIG, config.digest(), bytes.len() as u64);
        let source = BytesSource::new(bytes);
        let uploaded = self.remote.upload(&source, &[], &|_| {}).await;
        uploaded.map_err(|error| self.failed(error))?;
        let (media_type, bytes) = self.manifest(own, blobs)?;
        let put = self
            .remote
            .put_manifest(&Which::Tag(tag.clone()), media_type, bytes)
            .await;
        let digest = put.map_err(|error| self.failed(error))?;
        self.sink
            .tell(TransferEvent::Note(format!(
                "cache {} has {} steps in {} layers: {digest}",
                self.export.reference.familiar(),
                config.records(),
                blobs.len()
            )))
            .await;
        Ok(())
    }

    fn config(
        &self,
        steps: &[&MadeStep],
        blobs: &HashMap<DiffId, Descriptor>,
    ) -> Result<Raw<CacheConfig>, Error> {
        let mut known = Vec::new();
        for step in steps {
            let record = &step.record;
            let Some(blob) = blobs.get(&record.layer) else {
                continue;
            };
            known.extend(step.keys.iter().map(|key| CachedStep {
                key: *key,
                layer: record.layer,
                blob: blob.clone(),
                parent: record.parent,
                content: record.content,
                created: record.created,
                description: record.description.clone(),
            }));
        }
        let config = self.document(CacheConfig::of(&known))?;
        match config.bytes().len() {
            size if size <= DOCUMENT_LIMIT => Ok(config),
            size => Err(Error::CacheTooLarge {
                reference: self.export.reference.familiar(),
                size,
                limit: DOCUMENT_LIMIT,
            }),
        }
    }

    /// The manifest or index, and what it is.
    fn manifest(
        &self,
        config: Descriptor,
        blobs: &HashMap<DiffId, Descriptor>,
    ) -> Result<(&'static str, Bytes), Error> {
        let mut entries: Vec<Descriptor> = blobs.values().cloned().collect();
        entries.sort_by_key(|blob| blob.digest);
        entries.dedup();
        let media_type = match self.export.form {
            CacheForm::Manifest => OCI_MANIFEST,
            CacheForm::Index => OCI_INDEX,
            CacheForm::DockerList => DOCKER_LIST,
        };
        let bytes = match self.export.form {
            CacheForm::Manifest => self.document(Manifest::new(config, entries))?.bytes().to_vec(),
            CacheForm::Index | CacheForm::DockerList => {
                entries.push(config);
                let index = Index {
                    schema_version: 2,
                    media_type: Some(media_type.into()),
                    manifests: entries,
                    annotations: std::collections::BTreeMap::new(),
                };
                self.document(index)?.bytes().to_vec()
            }
        };
        Ok((media_type, bytes.into()))
    }

    fn document<T: mica_oci::document::Document + serde::Serialize>(
        &self,
        value: T,
    ) -> Result<Raw<T>, Error> {
        Raw::of(value).map_err(|source| Error::Config {
            reference: self.export.reference.familiar(),
            source,
        })
    }

    /// The next push knows where the blobs are.
    async fn remember(&self, blobs: &HashMap<DiffId, Descriptor>) -> Result<(), Error> {
        let digests: Vec<_> = blobs.values().map(|blob| blob.digest).collect();
        let (store, repository, account) = (
            self.engine.store().clone(),
            self.export.reference.repository.clone(),
            *self.remote.account(),
        );
        blocking(move || Ok(store.add_sources(&digests, &repository, &account)?)).await
    }

    fn failed(&self, error: mica_registry::Error) -> Error {
        push_error(&self.export.reference.repository, error)
    }
}

fn is_lacking(error: &Error) -> bool {
    matches!(error, Error::Registry(error) if lacks_a_blob(error))
}

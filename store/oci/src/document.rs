//! A JSON document kept with the very bytes it was read from, so that what was hashed is never written anew.

use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

use crate::digest::Digest;
use crate::error::DocumentError;

/// The largest manifest or index that is read, in bytes (registries commonly refuse more than 4 MiB).
pub const DOCUMENT_LIMIT: usize = 4 << 20;
/// The largest image config that is read, in bytes: to a registry it is a blob, and those may be larger.
pub const CONFIG_LIMIT: usize = 16 << 20;

/// A parsed document, its bytes and their digest.
pub struct Raw<T> {
    bytes: Arc<[u8]>,
    digest: Digest,
    value: T,
}

/// What documents are called in errors.
pub trait Document: DeserializeOwned {
    /// For example `image config`.
    const KIND: &'static str;
    /// The largest that is read, in bytes.
    const LIMIT: usize = DOCUMENT_LIMIT;
}

/// Takes `null` for what is absent, as programs in Go write and read it.
pub(crate) fn null_as_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

impl<T: Document> Raw<T> {
    /// Reads a document. Refuses what is over [`Document::LIMIT`] and what is not of this kind.
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        if bytes.len() > T::LIMIT {
            return Err(DocumentError::TooLarge {
                kind: T::KIND,
                size: bytes.len(),
                limit: T::LIMIT,
            });
        }
        let value = serde_json::from_slice(bytes).map_err(|source| DocumentError::Json {
            kind: T::KIND,
            source,
        })?;
        Ok(Self {
            bytes: bytes.into(),
            digest: Digest::of(bytes),
            value,
        })
    }
}

impl<T: Document + Serialize> Raw<T> {
    /// Writes a document of our own making; the bytes are fixed from here on.
    pub fn of(value: T) -> Result<Self, DocumentError> {
        let bytes = serde_json::to_vec(&value).map_err(|source| DocumentError::Json {
            kind: T::KIND,
            source,
        })?;
        Ok(Self {
            digest: Digest::of(&bytes),
            bytes: bytes.into(),
            value,
        })
    }
}

impl<T> Raw<T> {
    /// The bytes as they came.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The digest of the bytes.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// What the bytes say.
    pub fn value(&self) -> &T {
        &self.value
    }
}

impl<T> std::ops::Deref for Raw<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Clone> Clone for Raw<T> {
    fn clone(&self) -> Self {
        Self {
            bytes: self.bytes.clone(),
            digest: self.digest,
            value: self.value.clone(),
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Raw<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Raw")
            .field("digest", &self.digest)
            .field("value", &self.value)
            .finish()
    }
}

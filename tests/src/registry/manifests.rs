//! Manifests and tags.

use bytes::Bytes;
use hyper::Method;
use hyper::header::CONTENT_TYPE;
use hyper::http::request::Parts;
use serde_json::{Value, json};

use crate::registry::content::{blobs_of, digest, named};
use crate::registry::reply::{Body, Reply, empty, header, json, refusal, with_body};
use crate::registry::route::parameter;
use crate::registry::state::State;

impl State {
    pub(crate) fn manifest(&self, parts: &Parts, repository: &str, reference: &str, body: Bytes) -> Reply {
        match parts.method {
            Method::GET | Method::HEAD => {}
            Method::PUT => return self.put_manifest(parts, repository, reference, body),
            _ => return refusal(405, "UNSUPPORTED", "the operation is unsupported"),
        }
        let Some((digest, manifest)) = self.lock().content.manifest(repository, reference) else {
            let (code, message) = self.quirks.manifest_unknown;
            return refusal(404, code, message);
        };
        let reply = match parts.method {
            Method::HEAD => header(empty(200), "content-length", &manifest.bytes.len().to_string()),
            _ => with_body(200, Body::bytes(manifest.bytes)),
        };
        let reply = match self.quirks.rate_headers {
            true => header(
                header(reply, "ratelimit-limit", "100;w=21600"),
                "ratelimit-remaining",
                "99;w=21600",
            ),
            false => reply,
        };
        let reply = header(reply, "content-type", &manifest.media_type);
        header(reply, "docker-content-digest", &digest)
    }

    fn put_manifest(&self, parts: &Parts, repository: &str, reference: &str, bytes: Bytes) -> Reply {
        let own = digest(&bytes);
        if reference.contains(':') && reference != own {
            return refusal(
                400,
                "DIGEST_INVALID",
                "provided digest did not match uploaded content",
            );
        }
        let Ok(value) = serde_json::from_slice::<Value>(&bytes) else {
            return refusal(400, "MANIFEST_INVALID", "manifest invalid");
        };
        let media_type = parts
            .headers
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        let media_type = media_type.unwrap_or_default();
        let told = value["mediaType"].as_str();
        if told.is_some_and(|told| told != media_type) {
            return refusal(400, "MANIFEST_INVALID", "mediaType and Content-Type differ");
        }
        if self.quirks.strict_manifests && (told.is_none() || !value["artifactType"].is_null()) {
            return refusal(405, "UNSUPPORTED", "Invalid JSON syntax");
        }
        let mut inner = self.lock();
        for (digest, _) in blobs_of(&value) {
            if !inner.content.has_blob(repository, &digest) {
                return refusal(
                    404,
                    "MANIFEST_BLOB_UNKNOWN",
                    &format!("blob unknown to registry: {digest}"),
                );
            }
        }
        for (digest, _) in named(&value, "manifests") {
            if inner.content.manifest(repository, &digest).is_none() {
                return refusal(404, "MANIFEST_UNKNOWN", &format!("manifest unknown: {digest}"));
            }
        }
        let tag = (!reference.contains(':')).then_some(reference);
        inner.content.put_manifest(repository, tag, media_type, bytes);
        drop(inner);
        let reply = header(empty(201), "docker-content-digest", &own);
        match self.quirks.manifest_location {
            true => {
                let location = self.location(parts, &format!("/v2/{repository}/manifests/{own}"));
                header(reply, "location", &location)
            }
            false => reply,
        }
    }

    /// A page of tags in the order of their names (OCI distribution spec, "Listing Tags").
    pub(crate) fn tags(&self, parts: &Parts, repository: &str) -> Reply {
        let query = parts.uri.query().unwrap_or_default();
        let asked = parameter(query, "n").and_then(|text| text.parse().ok());
        let count = asked.unwrap_or(self.quirks.page).min(self.quirks.page);
        let last = parameter(query, "last").unwrap_or_default();
        let inner = self.lock();
        let Some(content) = inner.content.repositories.get(repository) else {
            return refusal(404, "NAME_UNKNOWN", "repository name not known to registry");
        };
        let mut after = content.tags.keys().filter(|tag| **tag > last);
        let tags: Vec<&String> = after.by_ref().take(count).collect();
        let more = after.next().is_some();
        let reply = json(200, &json!({"name": repository, "tags": tags}));
        match tags.last().filter(|_| more) {
            Some(last) => {
                let link = format!("</v2/{repository}/tags/list?last={last}&n={count}>; rel=\"next\"");
                header(reply, "link", &link)
            }
            None => reply,
        }
    }
}

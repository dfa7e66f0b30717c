//! Blobs on their way in: sessions, bytes by PATCH or PUT, mounts.

use std::io::{self, Write as _};
use std::path::PathBuf;

use fs_err::File;
use hyper::Method;
use hyper::header::CONTENT_RANGE;
use hyper::http::request::Parts;
use sha2::{Digest as _, Sha256};

use crate::registry::content::{is_digest, written};
use crate::registry::options::Personality;
use crate::registry::quirks::{Locations, Mounts};
use crate::registry::reply::{Reply, empty, header, refusal};
use crate::registry::route::parameter;
use crate::registry::serve::Incoming;
use crate::registry::state::State;

/// A session.
pub(crate) struct Upload {
    repository: String,
    path: PathBuf,
    sum: Sha256,
    size: u64,
    /// Counts the answers, as `_state` does.
    state: u64,
}

impl State {
    /// POST: a session, or a blob of another repository taken over.
    pub(crate) fn start_upload(&self, parts: &Parts, repository: &str) -> io::Result<Reply> {
        if parts.method != Method::POST {
            return Ok(refusal(405, "UNSUPPORTED", "the operation is unsupported"));
        }
        let query = parts.uri.query().unwrap_or_default();
        if self.quirks.repositories_must_exist && !self.lock().content.repositories.contains_key(repository) {
            let message = format!("The repository with name '{repository}' does not exist in the registry");
            return Ok(refusal(404, "NAME_UNKNOWN", &message));
        }
        if let Some(digest) = parameter(query, "mount") {
            let from = parameter(query, "from");
            let known = from
                .as_ref()
                .is_some_and(|from| self.lock().content.repositories.contains_key(from));
            let there = from.is_some_and(|from| self.lock().content.has_blob(&from, &digest));
            match self.quirks.mounts {
                Mounts::Refused(code) if !known => {
                    return Ok(refusal(code, "NAME_INVALID", "invalid repository name"));
                }
                Mounts::Work | Mounts::Refused(_) if there => {
                    self.lock()
                        .content
                        .repository(repository)
                        .blobs
                        .insert(digest.clone());
                    return Ok(self.stored_blob(parts, repository, &digest));
                }
                _ => {}
            }
        }
        let mut inner = self.lock();
        inner.upload_count += 1;
        let id = format!("{:08x}-{}", inner.upload_count, self.port_of_storage);
        let path = inner.content.upload_path(&id);
        File::create(&path)?;
        let upload = Upload {
            repository: repository.to_owned(),
            path,
            sum: Sha256::new(),
            size: 0,
            state: 0,
        };
        inner.uploads.insert(id.clone(), upload);
        drop(inner);
        let reply = header(
            empty(202),
            "location",
            &self.session_location(parts, repository, &id, 0),
        );
        Ok(header(header(reply, "docker-upload-uuid", &id), "range", "0-0"))
    }

    /// All other requests about a session.
    pub(crate) async fn upload(
        &self,
        parts: &Parts,
        repository: &str,
        id: &str,
        body: &mut Incoming,
    ) -> io::Result<Reply> {
        let query = parts.uri.query().unwrap_or_default();
        let unknown = || refusal(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry");
        {
            let inner = self.lock();
            let Some(upload) = inner
                .uploads
                .get(id)
                .filter(|upload| upload.repository == repository)
            else {
                return Ok(unknown());
            };
            let state = parameter(query, "_state");
            if self.quirks.locations == Locations::WithState && state != Some(format!("s+{}=", upload.state))
            {
                return Ok(refusal(400, "BLOB_UPLOAD_INVALID", "blob upload invalid"));
            }
        }
        match parts.method {
            Method::PATCH => self.patch(parts, repository, id, body).await,
            Method::PUT => self.put(parts, repository, id, body).await,
            Method::DELETE => {
                self.forget_upload(id);
                Ok(empty(204))
            }
            Method::GET => {
                let size = self.lock().uploads.get(id).map_or(0, |upload| upload.size);
                Ok(header(
                    empty(204),
                    "range",
                    &format!("0-{}", size.saturating_sub(1)),
                ))
            }
            _ => Ok(refusal(405, "UNSUPPORTED", "the operation is unsupported")),
        }
    }

    async fn patch(
        &self,
        parts: &Parts,
        repository: &str,
        id: &str,
        body: &mut Incoming,
    ) -> io::Result<Reply> {
        if !self.quirks.patches {
            return Ok(refusal(405, "UNSUPPORTED", "the operation is unsupported"));
        }
        let at = self.lock().uploads.get(id).map_or(0, |upload| upload.size);
        if let Some(range) = parts.headers.get(CONTENT_RANGE) {
            let range = range.to_str().unwrap_or_default();
            let ends = range
                .split_once('-')
                .and_then(|(first, last)| Some((first.parse::<u64>().ok()?, last.parse::<u64>().ok()?)));
            let good = ends.is_some_and(|(first, last)| {
                let length = (last + 1).saturating_sub(first);
                first == at && self.quirks.ranged_limit.is_none_or(|limit| length <= limit)
            });
            if !good {
                return Ok(refusal(
                    416,
                    "REQUESTED_RANGE_NOT_SATISFIABLE",
                    "requested range not satisfiable",
                ));
            }
        }
        if let Some(reply) = self.take_in(id, body).await? {
            return Ok(reply);
        }
        let mut inner = self.lock();
        let Some(upload) = inner.uploads.get_mut(id) else {
            return Ok(refusal(
                404,
                "BLOB_UPLOAD_UNKNOWN",
                "blob upload unknown to registry",
            ));
        };
        upload.state += 1;
        // Amazon tells where the session was before
        let told = if self.options.personality == Personality::Ecr {
            at
        } else {
            upload.size
        };
        let (status, state) = (self.quirks.patch_status, upload.state);
        drop(inner);
        let reply = header(
            empty(status),
            "location",
            &self.session_location(parts, repository, id, state),
        );
        Ok(header(reply, "range", &format!("0-{}", told.saturating_sub(1))))
    }

    async fn put(&self, parts: &Parts, repository: &str, id: &str, body: &mut Incoming) -> io::Result<Reply> {
        let query = parts.uri.query().unwrap_or_default();
        let Some(digest) = parameter(query, "digest").filter(|digest| is_digest(digest)) else {
            return Ok(refusal(400, "DIGEST_INVALID", "provided digest is none"));
        };
        let empty_body = body.is_empty();
        if !self.quirks.puts && !empty_body {
            return Ok(refusal(405, "UNSUPPORTED", "the operation is unsupported"));
        }
        if let Some(reply) = self.take_in(id, body).await? {
            return Ok(reply);
        }
        let mut inner = self.lock();
        let Some(upload) = inner.uploads.remove(id) else {
            return Ok(refusal(
                404,
                "BLOB_UPLOAD_UNKNOWN",
                "blob upload unknown to registry",
            ));
        };
        if written(&upload.sum.finalize()) != digest {
            fs_err::remove_file(&upload.path)?;
            return Ok(refusal(
                400,
                "DIGEST_INVALID",
                "provided digest did not match uploaded content",
            ));
        }
        fs_err::rename(&upload.path, inner.content.blob_path(&digest))?;
        inner.content.repository(repository).blobs.insert(digest.clone());
        drop(inner);
        Ok(self.stored_blob(parts, repository, &digest))
    }

    /// Adds a request's body to a session; gives a refusal if there is one.
    async fn take_in(&self, id: &str, body: &mut Incoming) -> io::Result<Option<Reply>> {
        if body.is_empty() {
            return Ok(None);
        }
        let (_running, running) = self.begin_taking_in();
        if self.quirks.uploads_at_once.is_some_and(|most| running > most) {
            body.drain().await?;
            return Ok(Some(refusal(500, "UNKNOWN", "unknown error")));
        }
        let path = self.lock().content.upload_path(id);
        let mut file = File::options().append(true).open(path)?;
        while let Some(bytes) = body.next().await? {
            let mut inner = self.lock();
            let Some(upload) = inner.uploads.get_mut(id) else {
                break;
            };
            upload.sum.update(&bytes);
            upload.size += bytes.len() as u64;
            file.write_all(&bytes)?;
        }
        Ok(None)
    }

    /// Counts an upload whose bytes come in, and says how many there are.
    fn begin_taking_in(&self) -> (Running<'_>, usize) {
        let mut inner = self.lock();
        inner.uploads_running += 1;
        let running = inner.uploads_running;
        drop(inner);
        (Running(self), running)
    }

    pub(crate) fn forget_upload(&self, id: &str) {
        let upload = self.lock().uploads.remove(id);
        if let Some(upload) = upload {
            // it is gone with the folder at the latest
            let _ = fs_err::remove_file(upload.path);
        }
    }

    fn stored_blob(&self, parts: &Parts, repository: &str, digest: &str) -> Reply {
        let location = self.location(parts, &format!("/v2/{repository}/blobs/{digest}"));
        let reply = header(empty(201), "location", &location);
        header(reply, "docker-content-digest", digest)
    }

    fn session_location(&self, parts: &Parts, repository: &str, id: &str, state: u64) -> String {
        let path = format!("/v2/{repository}/blobs/uploads/{id}");
        match self.quirks.locations {
            Locations::WithState => format!("{path}?_state=s%2B{state}%3D"),
            _ => self.location(parts, &path),
        }
    }

    pub(crate) fn location(&self, parts: &Parts, path: &str) -> String {
        match self.quirks.locations {
            Locations::Absolute => format!("{}{path}", self.root(parts)),
            Locations::Relative | Locations::WithState => path.to_owned(),
        }
    }
}

struct Running<'a>(&'a State);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.lock().uploads_running -= 1;
    }
}

//! Certificates of one registry: the authorities it is trusted by, and what we show it of ourselves.

use std::collections::BTreeSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use crate::hosts::error::HostError;
use crate::hosts::file;

/// What TLS with one host needs beyond what the system trusts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Trust {
    /// Certificates of authorities.
    pub(crate) authorities: Vec<CertificateDer<'static>>,
    /// Client certificates.
    pub(crate) identities: Vec<Identity>,
}

/// A client certificate and its key.
#[derive(Clone)]
pub(crate) struct Identity {
    path: PathBuf,
    pub(crate) key: Arc<CertifiedKey>,
}

impl Trust {
    /// Adds what lies in a folder of certs.d: `*.crt` are authorities, `NAME.cert` with `NAME.key` is a client
    /// certificate, anything else is let be. Names decide the order.
    pub(crate) fn add_folder(&mut self, folder: &Path) -> Result<(), HostError> {
        let paths = file::list(folder)?;
        let there: BTreeSet<&PathBuf> = paths.iter().collect();
        for path in &paths {
            let partner = |extension| {
                let partner = path.with_extension(extension);
                match there.contains(&partner) {
                    true => Ok(partner),
                    false => Err(HostError::Unpaired {
                        path: path.clone(),
                        missing: partner,
                    }),
                }
            };
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("crt") => self.add_authorities(path)?,
                Some("cert") => self.add_identity(path, &partner("key")?)?,
                Some("key") => drop(partner("cert")?),
                _ => {}
            }
        }
        Ok(())
    }

    /// Adds the certificates of a PEM file as authorities; a file without any is an error.
    pub(crate) fn add_authorities(&mut self, path: &Path) -> Result<(), HostError> {
        for certificate in certificates(path)? {
            RootCertStore::empty()
                .add(certificate.clone())
                .map_err(|error| wrong(path, error.to_string()))?;
            if !self.authorities.contains(&certificate) {
                self.authorities.push(certificate);
            }
        }
        Ok(())
    }

    /// Adds a client certificate, with what links it to its authority, and its key; both PEM, maybe one file.
    pub(crate) fn add_identity(&mut self, certificate: &Path, key: &Path) -> Result<(), HostError> {
        let chain = certificates(certificate)?;
        let key_bytes = existing(key)?;
        let private = PrivateKeyDer::from_pem_slice(&key_bytes)
            .map_err(|error| wrong(key, format!("no private key: {error}")))?;
        let certified = CertifiedKey::from_der(chain, private, &default_provider()).map_err(|error| {
            wrong(
                certificate,
                format!("of no use with the key {}: {error}", key.display()),
            )
        })?;
        self.identities.push(Identity {
            path: certificate.to_owned(),
            key: Arc::new(certified),
        });
        Ok(())
    }

    /// The same authorities, without what we would show of ourselves.
    pub(crate) fn without_identities(mut self) -> Self {
        self.identities.clear();
        self
    }

    /// Adds what another host is trusted by.
    pub(crate) fn add(&mut self, other: &Self) {
        for certificate in &other.authorities {
            if !self.authorities.contains(certificate) {
                self.authorities.push(certificate.clone());
            }
        }
        self.identities.extend(other.identities.iter().cloned());
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, HostError> {
    let bytes = existing(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match found {
        Ok(found) if found.is_empty() => Err(wrong(path, "no certificate in PEM form".into())),
        Ok(found) => Ok(found),
        Err(error) => Err(wrong(path, format!("no certificate in PEM form: {error}"))),
    }
}

fn existing(path: &Path) -> Result<Vec<u8>, HostError> {
    file::read(path)?.ok_or_else(|| wrong(path, "no such file".into()))
}

fn wrong(path: &Path, reason: String) -> HostError {
    HostError::Certificate {
        path: path.to_owned(),
        reason,
    }
}

impl fmt::Debug for Identity {
    /// Where it is from; the key is nobody's business.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Identity").field(&self.path).finish()
    }
}

impl PartialEq for Identity {
    /// A certificate has one key, so equal certificates are equal identities.
    fn eq(&self, other: &Self) -> bool {
        self.key.cert == other.key.cert
    }
}

impl Eq for Identity {}

impl Hash for Identity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.cert.hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair};

    fn pair() -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["a.example".into()]).unwrap();
        (certificate.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    fn read(files: &[(&str, &str)]) -> Result<Trust, String> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs_err::write(folder.path().join(name), text).unwrap();
        }
        let mut trust = Trust::default();
        let path = folder.path().to_str().unwrap();
        match trust.add_folder(folder.path()) {
            Ok(()) => Ok(trust),
            Err(error) => Err(error.to_string().replace(path, "D")),
        }
    }

    #[test]
    fn a_folder_has_authorities_and_identities() {
        let ((a, a_key), (b, b_key)) = (pair(), pair());
        let both = format!("{a}{b}");
        let trust = read(&[
            ("ca.crt", &both),
            ("again.crt", &a),
            ("client.cert", &a),
            ("client.key", &a_key),
            ("hosts.toml", "not read here"),
            ("README", "nor this"),
        ])
        .unwrap();
        assert_eq!((trust.authorities.len(), trust.identities.len()), (2, 1));
        assert!(!format!("{trust:?}").contains("key: "));
        let other = read(&[("client.cert", &b), ("client.key", &b_key)]).unwrap();
        assert_ne!(trust.identities, other.identities);
        assert!(read(&[]).unwrap() == Trust::default());
    }

    #[test]
    fn what_is_of_no_use_is_said() {
        let ((a, a_key), (_, b_key)) = (pair(), pair());
        for (files, message) in [
            (
                &[("client.cert", a.as_str())][..],
                "D/client.cert needs D/client.key beside it (certificates of authorities end in .crt)",
            ),
            (
                &[("client.key", a_key.as_str())],
                "D/client.key needs D/client.cert beside it (certificates of authorities end in .crt)",
            ),
            (&[("ca.crt", "")], "D/ca.crt: no certificate in PEM form"),
            (
                &[("ca.crt", a_key.as_str())],
                "D/ca.crt: no certificate in PEM form",
            ),
            (
                &[(
                    "ca.crt",
                    "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
                )],
                "D/ca.crt: no certificate in PEM form: ",
            ),
            (
                &[("client.cert", a.as_str()), ("client.key", a.as_str())],
                "D/client.key: no private key: ",
            ),
            (
                &[("client.cert", a.as_str()), ("client.key", b_key.as_str())],
                "D/client.cert: of no use with the key D/client.key: ",
            ),
        ] {
            let error = read(files).unwrap_err();
            assert!(error.starts_with(message), "{error}");
        }
    }
}

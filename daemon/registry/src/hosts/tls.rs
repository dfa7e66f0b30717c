//! How a registry's certificate is judged.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use crate::hosts::error::HostError;
use crate::hosts::trust::Trust;

/// Whom the system trusts, loaded when first asked for.
#[derive(Debug, Default)]
pub(crate) struct SystemRoots(Mutex<Option<Arc<RootCertStore>>>);

impl SystemRoots {
    /// The system's authorities. SSL_CERT_FILE and SSL_CERT_DIR are honoured; a failure is not remembered.
    fn get(&self) -> Result<Arc<RootCertStore>, HostError> {
        let mut loaded = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(roots) = &*loaded {
            return Ok(Arc::clone(roots));
        }
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        // one certificate nobody can read does not take the others away
        let (added, _) = roots.add_parsable_certificates(found.certs);
        if added == 0 {
            let reasons: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
            return Err(HostError::Roots {
                reason: match reasons.is_empty() {
                    true => "there are none".to_owned(),
                    false => reasons.join(", "),
                },
            });
        }
        let roots = Arc::new(roots);
        *loaded = Some(Arc::clone(&roots));
        Ok(roots)
    }
}

/// The TLS settings for a host: HTTP/1.1, and a certificate that is verified or not.
pub(crate) fn settings(
    trust: &Trust,
    verified: bool,
    system: &SystemRoots,
) -> Result<ClientConfig, HostError> {
    let provider = Arc::new(default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = match verified {
        true => Arc::new(Verified::new(trust, system, &provider)?),
        false => Arc::new(Unverified(Arc::clone(&provider))),
    };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|source| HostError::Tls { source })?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_cert_resolver(Arc::new(Identities(
            trust
                .identities
                .iter()
                .map(|identity| Arc::clone(&identity.key))
                .collect(),
        )));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Judges by the system's authorities and the registry's own.
#[derive(Debug)]
struct Verified {
    inner: Arc<WebPkiServerVerifier>,
    own: Vec<CertificateDer<'static>>,
}

impl Verified {
    fn new(trust: &Trust, system: &SystemRoots, provider: &Arc<CryptoProvider>) -> Result<Self, HostError> {
        let mut roots = match system.get() {
            Ok(roots) => RootCertStore::clone(&roots),
            // who trusts nobody may still trust this registry's own authority
            Err(_) if !trust.authorities.is_empty() => RootCertStore::empty(),
            Err(error) => return Err(error),
        };
        for certificate in &trust.authorities {
            roots
                .add(certificate.clone())
                .map_err(|source| HostError::Tls { source })?;
        }
        let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
            .build()
            .map_err(|error| HostError::Roots {
                reason: error.to_string(),
            })?;
        Ok(Self {
            inner,
            own: trust.authorities.clone(),
        })
    }

    /// Whether a certificate is refused only for being its own authority, and is one that was put there for this
    /// registry. What `openssl req -x509` makes is both, and the usual certificate of a registry at home.
    fn is_own(&self, certificate: &CertificateDer<'_>, error: &Error) -> bool {
        // time and form were looked at before this is found (RFC 5280 section 4.2.1.9)
        let is_authority = match error {
            Error::InvalidCertificate(CertificateError::Other(other)) => {
                format!("{:?}", other.0) == "CaUsedAsEndEntity"
            }
            _ => false,
        };
        is_authority && self.own.iter().any(|own| own.as_ref() == certificate.as_ref())
    }
}

impl ServerCertVerifier for Verified {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let judged =
            self.inner
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match judged {
            Err(error) if self.is_own(end_entity, &error) => {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            judged => judged,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// Takes any certificate: for registries that were said to be insecure, and only for them.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    // A signature proves that the other side has the key of a certificate which nobody vouches for: nothing.
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Shows the first client certificate whose key can sign as the server wants.
#[derive(Debug)]
struct Identities(Vec<Arc<CertifiedKey>>);

impl ResolvesClientCert for Identities {
    fn resolve(&self, _: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let fits = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(schemes).is_some();
        self.0.iter().find(fits).cloned()
    }

    fn has_certs(&self) -> bool {
        !self.0.is_empty()
    }
}

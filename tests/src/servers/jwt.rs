//! Signed tokens (RFC 7519, RFC 7515) as registries check them.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};

use crate::servers::certificate::Certificate;

/// A key that signs tokens with ES256, and its certificate.
pub(super) struct Signer {
    certificate: Certificate,
    key: EcdsaKeyPair,
    random: SystemRandom,
    issued: u64,
}

impl Signer {
    pub(super) fn new() -> Self {
        let certificate = Certificate::for_hosts(&["localhost"]);
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &certificate.key_der, &random)
            .expect("the key is one of P-256");
        Self {
            certificate,
            key,
            random,
            issued: 0,
        }
    }

    /// The certificate, PEM.
    pub(super) fn certificate(&self) -> &str {
        &self.certificate.pem
    }

    /// A token for a user at a registry that allows the accesses.
    pub(super) fn sign(
        &mut self,
        issuer: &str,
        audience: &str,
        user: &str,
        issued: SystemTime,
        life: Duration,
        access: &[Value],
    ) -> String {
        self.issued += 1;
        let now = issued
            .duration_since(SystemTime::UNIX_EPOCH)
            .expect("it is after 1970");
        // RFC 7515, 4.1.6: certificates in x5c are in plain base64
        let header = json!({"typ": "JWT", "alg": "ES256", "x5c": [STANDARD.encode(&self.certificate.der)]});
        let claims = json!({
            "iss": issuer,
            "sub": user,
            "aud": audience,
            "exp": (now + life).as_secs(),
            "nbf": now.as_secs(),
            "iat": now.as_secs(),
            "jti": self.issued.to_string(),
            "access": access,
        });
        let text = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header.to_string()),
            URL_SAFE_NO_PAD.encode(claims.to_string())
        );
        let signature = self
            .key
            .sign(&self.random, text.as_bytes())
            .expect("the system has random bytes");
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

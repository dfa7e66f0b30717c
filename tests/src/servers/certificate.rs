//! A certificate that signs itself, made for one test.

use rcgen::{CertificateParams, KeyPair};

/// A certificate that is its own authority, and its key.
pub struct Certificate {
    /// The certificate, PEM.
    pub pem: String,
    /// The certificate, DER.
    pub der: Vec<u8>,
    /// The private key of P-256, PKCS #8 in PEM.
    pub key_pem: String,
    /// The private key of P-256, PKCS #8 in DER.
    pub key_der: Vec<u8>,
}

impl Certificate {
    /// A certificate for these host names and addresses.
    pub fn for_hosts(hosts: &[&str]) -> Self {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let key = KeyPair::generate().expect("keys can be made");
        let certificate = CertificateParams::new(hosts)
            .and_then(|params| params.self_signed(&key))
            .expect("the names are names");
        Self {
            pem: certificate.pem(),
            der: certificate.der().to_vec(),
            key_pem: key.serialize_pem(),
            key_der: key.serialize_der(),
        }
    }
}

//! TLS from two files, by rustls with ring; a newer pair takes over for new connections.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::hub::named::NamedFile;

/// Certificate and key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain, PEM.
    pub cert: NamedFile,
    /// The key, PEM.
    pub key: NamedFile,
}

/// A certificate that can be replaced.
pub struct Tls {
    current: RwLock<Arc<ServerConfig>>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

impl Tls {
    /// TLS with this configuration.
    #[must_use]
    pub fn new(config: ServerConfig) -> Self {
        Self { current: RwLock::new(Arc::new(config)) }
    }

    /// From now on, new connections see this one.
    pub fn replace(&self, config: ServerConfig) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
    }

    /// For one connection.
    #[must_use]
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl TlsFiles {
    /// A configuration from what stands in them.
    ///
    /// # Errors
    /// Says which file is wrong, and what is; nothing of the key stands in the error.
    pub fn config(&self, chain: &[u8], key: &[u8]) -> Result<ServerConfig, String> {
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<_, _>>()
            .map_err(|_| format!("{}: the certificate is not PEM", self.cert))?;
        if chain.is_empty() {
            return Err(format!("{}: no certificate in it", self.cert));
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| format!("{}: no private key in it", self.key))?;
        let both = |error| format!("{} {}: {error}", self.cert, self.key);
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().map_err(both)?;
        let mut config = builder.with_no_client_auth().with_single_cert(chain, key).map_err(both)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_taken_when_it_belongs_together() {
        let pair = || {
            let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
            (made.cert.pem(), made.signing_key.serialize_pem())
        };
        let ((cert, key), (other, _)) = (pair(), pair());
        let files =
            TlsFiles { cert: NamedFile::new("--tls-cert", "c".into()), key: NamedFile::new("--tls-key", "k".into()) };
        assert!(files.config(cert.as_bytes(), key.as_bytes()).is_ok());
        for (chain, key, names) in [
            (&*cert, "", "--tls-key k: "),
            ("", &*key, "--tls-cert c: "),
            (&cert, &cert, "--tls-key k: "),
            (&other, &key, "--tls-cert c --tls-key k: "),
            ("x", "x", "--tls-cert c: "),
        ] {
            let error = files.config(chain.as_bytes(), key.as_bytes()).unwrap_err();
            assert!(error.starts_with(names) && !error.contains("PRIVATE"), "{error}");
        }
    }
}

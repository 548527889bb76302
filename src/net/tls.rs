//! What a server's certificate is held against: the system's roots, or a file of one's own.
//!
//! They are read when the first connection wants them, and kept. `SSL_CERT_FILE` and `SSL_CERT_DIR` name others, as for
//! OpenSSL.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

/// Tickets kept to shorten the next handshake: one server is spoken to, or a few.
const SESSIONS: usize = 4;

/// Where Linux systems have all of their roots in one file: Debian, Arch and Alpine; Fedora; SUSE.
const BUNDLES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem"];

/// Whom to trust.
#[derive(Debug)]
pub struct Tls {
    ca_file: Option<PathBuf>,
    made: Mutex<Option<Arc<ClientConfig>>>,
}

/// Why there is nothing to hold a certificate against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootsError {
    /// The file could not be read, or has no certificate in it.
    CaFile(PathBuf),
    /// The system has none.
    NoneInSystem,
    /// The library has no protocol version in common with itself.
    Protocol,
}

impl std::fmt::Display for RootsError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::CaFile(path) => write!(f, "{}: no certificate in it", path.display()),
            Self::NoneInSystem => f.write_str("no root certificates on this system"),
            Self::Protocol => f.write_str("no protocol version"),
        }
    }
}

impl std::error::Error for RootsError {}

impl Tls {
    /// The certificates of this PEM file, or those of the system.
    #[must_use]
    pub fn new(ca_file: Option<PathBuf>) -> Self {
        Self { ca_file, made: Mutex::new(None) }
    }

    /// The client's side of TLS 1.2 and 1.3. What could not be read is tried again the next time.
    ///
    /// # Errors
    /// When there is no certificate to trust.
    pub fn config(&self) -> Result<Arc<ClientConfig>, RootsError> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = &*made {
            return Ok(Arc::clone(config));
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().map_err(|_| RootsError::Protocol)?;
        let mut config = builder.with_root_certificates(self.roots()?).with_no_client_auth();
        config.resumption = Resumption::in_memory_sessions(SESSIONS);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::clone(made.insert(Arc::new(config))))
    }

    fn roots(&self) -> Result<RootCertStore, RootsError> {
        let (roots, error) = match &self.ca_file {
            Some(path) => (roots_of(path), RootsError::CaFile(path.clone())),
            None => (system_roots(), RootsError::NoneInSystem),
        };
        if roots.is_empty() { Err(error) } else { Ok(roots) }
    }
}

/// The system's roots. One file is read certificate by certificate: to have all of them at once, in their own form besides,
/// takes half a megabyte that a guest has better uses for. The library looks wherever else they can be.
fn system_roots() -> RootCertStore {
    let is_set = |name| std::env::var_os(name).is_some();
    let set = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from).filter(|_| !is_set("SSL_CERT_DIR"));
    let is_usual = cfg!(target_os = "linux") && !is_set("SSL_CERT_FILE") && !is_set("SSL_CERT_DIR");
    let usual = BUNDLES.iter().map(PathBuf::from).filter(|_| is_usual);
    let found = set.into_iter().chain(usual).map(|path| roots_of(&path)).find(|roots| !roots.is_empty());
    found.unwrap_or_else(|| {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        roots
    })
}

/// The certificates of a PEM file; what is none is passed over.
fn roots_of(path: &Path) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).into_iter().flatten().flatten() {
        let _ = roots.add(certificate);
    }
    roots
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_certificate_is_told_and_tried_again() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let tls = Tls::new(Some(file.path().to_owned()));
        assert_eq!(tls.config().unwrap_err(), RootsError::CaFile(file.path().to_owned()));
        let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(file.path(), key.cert.pem()).unwrap();
        assert!(Arc::ptr_eq(&tls.config().unwrap(), &tls.config().unwrap()));
        assert!(Tls::new(Some("/no/such/file".into())).config().is_err());
    }
}

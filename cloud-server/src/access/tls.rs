//! TLS by rustls. A certificate that was renewed is read again without a restart.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::AccessError;
use super::file_watch::FileWatch;

/// How often the certificate is looked at.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// TLS 1.2 and 1.3 with this certificate chain and key, both PEM.
///
/// # Errors
/// When they cannot be read or do not belong together.
pub(super) fn server_config(certificate: &Path, key: &Path) -> Result<ServerConfig, AccessError> {
    let resolver = Arc::new(CertificateFile::open(certificate, key)?);
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder =
        builder.with_safe_default_protocol_versions().map_err(|error| unusable(certificate, &error))?;
    Ok(builder.with_no_client_auth().with_cert_resolver(resolver))
}

fn unusable(path: &Path, reason: &impl ToString) -> AccessError {
    AccessError::Tls { path: path.to_owned(), reason: reason.to_string() }
}

#[derive(Debug)]
struct CertificateFile {
    certificate: FileWatch,
    key: FileWatch,
    current: RwLock<Arc<CertifiedKey>>,
}

impl CertificateFile {
    fn open(certificate: &Path, key: &Path) -> Result<Self, AccessError> {
        let watches = [certificate, key].map(|path| FileWatch::new(path, READ_AGAIN));
        let current = RwLock::new(Arc::new(read(certificate, key)?));
        let [certificate, key] = watches;
        Ok(Self { certificate, key, current })
    }
}

impl ResolvesServerCert for CertificateFile {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // Both are looked at: whichever is written last, then they belong together.
        if self.certificate.has_changed() | self.key.has_changed() {
            match read(self.certificate.path(), self.key.path()) {
                Ok(renewed) => {
                    *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(renewed);
                    tracing::info!("the certificate was read again");
                }
                Err(error) => {
                    tracing::error!(%error, "the certificate changed and cannot be used; the old one stays")
                }
            }
        }
        Some(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

fn read(certificate: &Path, key: &Path) -> Result<CertifiedKey, AccessError> {
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unusable(certificate, &error))?;
    if chain.is_empty() {
        return Err(unusable(certificate, &"it holds no certificate"));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(key, &error))?;
    CertifiedKey::from_der(chain, private, &ring::default_provider())
        .map_err(|error| unusable(certificate, &error))
}

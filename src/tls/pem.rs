//! Certificates and keys in PEM.

use std::{
    fmt::Display,
    fs, io,
    path::Path,
    time::{Duration, SystemTime},
};

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use x509_cert::der::Decode;

/// Why a file is of no use: one line that names the setting and the file.
#[derive(Debug, thiserror::Error)]
#[error("{setting}: {path}: {reason}")]
pub(crate) struct FileError {
    /// The setting that names the file.
    setting: &'static str,
    path: String,
    reason: String,
}

impl FileError {
    pub(crate) fn new(setting: &'static str, path: &Path, reason: &dyn Display) -> Self {
        Self { setting, path: path.display().to_string(), reason: reason.to_string() }
    }
}

/// The certificates in a file, of which there is at least one.
///
/// # Errors
/// If it cannot be read, or has none.
pub(crate) fn certificates(
    setting: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(FileError::new(setting, path, &"has no certificate in PEM")),
        Err(error) => Err(FileError::new(setting, path, &readable(path, &error))),
    }
}

/// When the first one, which is the server's or the client's own, ends; `None` if it does not say so in a way that is
/// known.
pub(crate) fn expiry(chain: &[CertificateDer<'_>]) -> Option<SystemTime> {
    let parsed = x509_cert::Certificate::from_der(chain.first()?).ok()?;
    let end: Duration = parsed.tbs_certificate().validity().not_after.to_unix_duration();
    Some(SystemTime::UNIX_EPOCH + end)
}

/// The private key in a file.
///
/// # Errors
/// If it cannot be read, or has none.
pub(crate) fn key(setting: &'static str, path: &Path) -> Result<PrivateKeyDer<'static>, FileError> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| FileError::new(setting, path, &readable(path, &error)))
}

/// The authorities in a file.
///
/// # Errors
/// If it cannot be read, or has none, or one of them is of no use.
pub(crate) fn roots(setting: &'static str, path: &Path) -> Result<RootCertStore, FileError> {
    let mut roots = RootCertStore::empty();
    for authority in certificates(setting, path)? {
        roots.add(authority).map_err(|error| FileError::new(setting, path, &error))?;
    }
    Ok(roots)
}

/// The system's error, if there is one: it says more than that of the reader.
fn readable(path: &Path, error: &dyn Display) -> String {
    match fs::read(path).map_err(|error: io::Error| error.to_string()) {
        Ok(_) => format!("is no PEM file of that kind ({error})"),
        Err(error) => error,
    }
}

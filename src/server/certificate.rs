//! A listener's certificate, as its files have it now.
//!
//! Files are replaced in place, or by a link that points elsewhere (Kubernetes), so the times and the numbers of all of
//! them are compared, not their texts. A new file that is of no use changes nothing: the old certificate stays.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use thiserror::Error;
use tokio_rustls::TlsAcceptor;
use x509_cert::der::Decode;

use crate::config::TlsFiles;

/// Why the files are of no use: one line that names the setting and the file.
#[derive(Debug, Error)]
#[error("{setting}: {path}: {reason}")]
pub(crate) struct CertificateError {
    /// The setting that names the file.
    setting: &'static str,
    path: String,
    reason: String,
}

/// A certificate with its key.
#[derive(Debug)]
pub(crate) struct Certificate {
    files: TlsFiles,
    current: ArcSwap<ServerConfig>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// What the files were when they were last read.
    stamps: Stamps,
    expires: Option<SystemTime>,
}

/// Of each file: when it was changed, and which one it is.
type Stamps = [Option<(i64, i64, u64)>; 3];

impl Certificate {
    /// Reads the files.
    ///
    /// # Errors
    /// If one of them is of no use.
    pub(crate) fn open(files: TlsFiles) -> Result<Self, CertificateError> {
        let stamps = stamps(&files);
        let (config, expires) = read(&files)?;
        let state = Mutex::new(State { stamps, expires });
        Ok(Self { files, current: ArcSwap::from_pointee(config), state })
    }

    pub(crate) fn files(&self) -> &TlsFiles {
        &self.files
    }

    /// When it ends; `None` if it does not say so in a way that is known.
    pub(crate) fn expires(&self) -> Option<SystemTime> {
        self.state.lock().expires
    }

    /// Reads the files again if one of them has changed; says whether one has.
    ///
    /// # Errors
    /// If a new one is of no use, once for each change.
    pub(crate) fn refresh(&self) -> Result<bool, CertificateError> {
        let stamps = stamps(&self.files);
        let mut state = self.state.lock();
        if stamps == state.stamps {
            return Ok(false);
        }
        state.stamps = stamps;
        let (config, expires) = read(&self.files)?;
        state.expires = expires;
        self.current.store(Arc::new(config));
        Ok(true)
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.current.load_full())
    }
}

fn stamps(files: &TlsFiles) -> Stamps {
    let stamp = |path: &Path| {
        let file = fs::metadata(path).ok()?;
        Some((file.mtime(), file.mtime_nsec(), file.ino()))
    };
    [stamp(&files.cert), stamp(&files.key), files.client_ca.as_deref().and_then(stamp)]
}

/// What a listener needs, and when the certificate ends.
fn read(files: &TlsFiles) -> Result<(ServerConfig, Option<SystemTime>), CertificateError> {
    let [cert_setting, key_setting, ca_setting] = files.listener.settings();
    let chain = certificates(cert_setting, &files.cert)?;
    let expires = chain.first().and_then(expiry);
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| fault(key_setting, &files.key, &readable(&files.key, &error)))?;
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| fault(cert_setting, &files.cert, &error))?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for authority in certificates(ca_setting, path)? {
                roots.add(authority).map_err(|error| fault(ca_setting, path, &error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| fault(ca_setting, path, &error))?)
        }
    };
    let mut config =
        builder.with_single_cert(chain, key).map_err(|error| fault(cert_setting, &files.cert, &error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok((config, expires))
}

fn certificates(
    setting: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(fault(setting, path, &"has no certificate in PEM")),
        Err(error) => Err(fault(setting, path, &readable(path, &error))),
    }
}

/// The system's error, if there is one: it says more than that of the reader.
fn readable(path: &Path, error: &dyn std::fmt::Display) -> String {
    match fs::read(path).map_err(|error: io::Error| error.to_string()) {
        Ok(_) => format!("is no PEM file of that kind ({error})"),
        Err(error) => error,
    }
}

fn fault(setting: &'static str, path: &Path, reason: &dyn std::fmt::Display) -> CertificateError {
    CertificateError { setting, path: path.display().to_string(), reason: reason.to_string() }
}

fn expiry(certificate: &CertificateDer<'_>) -> Option<SystemTime> {
    let parsed = x509_cert::Certificate::from_der(certificate).ok()?;
    let end: Duration = parsed.tbs_certificate().validity().not_after.to_unix_duration();
    Some(SystemTime::UNIX_EPOCH + end)
}

//! TLS to the upstream: whom it trusts, and the certificate that it shows.

use std::{io, path::PathBuf, sync::Arc, time::SystemTime};

use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use crate::{
    config::{ClientTls, UPSTREAM_TLS},
    tls::{self, FileError, Reread},
};

/// Why TLS to the upstream cannot begin.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpstreamTlsError {
    /// A file that a setting names is of no use.
    #[error("{0}")]
    File(#[from] FileError),
    /// The system's certificates cannot be read.
    #[error(
        "no root certificates were found ({0}); install ca-certificates, or name a bundle in SSL_CERT_FILE"
    )]
    NoRoots(io::Error),
}

/// What a TLS connection to the upstream needs, as its files have it now.
#[derive(Debug)]
pub(super) struct UpstreamTls(Reread<Reading, UpstreamTlsError>);

#[derive(Debug)]
struct Reading {
    config: Arc<ClientConfig>,
    /// When the certificate ends that the upstream is shown.
    expires: Option<SystemTime>,
}

impl UpstreamTls {
    /// Reads `files`, and the system's certificates if they name no authority.
    ///
    /// # Errors
    /// If one of them is of no use.
    pub(super) fn open(files: ClientTls) -> Result<Self, UpstreamTlsError> {
        let client = files.client.iter().flat_map(|(cert, key)| [cert, key]);
        let paths: Vec<PathBuf> = files.ca.iter().chain(client).cloned().collect();
        Reread::open(paths, move || read(&files)).map(Self)
    }

    /// Reads the files again if one of them has changed; says whether one has.
    ///
    /// # Errors
    /// If a new one is of no use, once for each change.
    pub(super) fn refresh(&self) -> Result<bool, UpstreamTlsError> {
        self.0.refresh()
    }

    pub(super) fn connector(&self) -> TlsConnector {
        TlsConnector::from(Arc::clone(&self.0.current().config))
    }

    /// When the certificate ends that the upstream is shown; `None` if there is none.
    pub(super) fn expires(&self) -> Option<SystemTime> {
        self.0.current().expires
    }
}

/// Without ALPN, a server speaks HTTP/1.1.
fn read(files: &ClientTls) -> Result<Reading, UpstreamTlsError> {
    let [ca_setting, cert_setting, key_setting] = UPSTREAM_TLS;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| UpstreamTlsError::NoRoots(io::Error::other(error)))?;
    let roots = match &files.ca {
        Some(path) => tls::roots(ca_setting, path)?,
        None => system_roots().map_err(UpstreamTlsError::NoRoots)?,
    };
    let builder = builder.with_root_certificates(roots);
    let Some((cert, key)) = &files.client else {
        return Ok(Reading { config: Arc::new(builder.with_no_client_auth()), expires: None });
    };
    let chain = tls::certificates(cert_setting, cert)?;
    let expires = tls::expiry(&chain);
    let key = tls::key(key_setting, key)?;
    let config = builder.with_client_auth_cert(chain, key);
    let config = config.map_err(|error| FileError::new(cert_setting, cert, &error))?;
    Ok(Reading { config: Arc::new(config), expires })
}

/// The system's certificates, without those that rustls cannot read.
fn system_roots() -> io::Result<RootCertStore> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let reason = match found.errors.first() {
            Some(error) => error.to_string(),
            None => "no certificate that can be read".to_owned(),
        };
        return Err(io::Error::new(io::ErrorKind::NotFound, reason));
    }
    Ok(roots)
}

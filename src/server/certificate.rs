//! A listener's certificate, as its files have it now.

use std::{path::PathBuf, sync::Arc, time::SystemTime};

use rustls::{ServerConfig, crypto::ring, server::WebPkiClientVerifier};
use tokio_rustls::TlsAcceptor;

use crate::{
    config::TlsFiles,
    tls::{self, FileError, Reread},
};

/// A certificate with its key.
#[derive(Debug)]
pub(crate) struct Certificate {
    files: TlsFiles,
    served: Reread<Served, FileError>,
}

/// What a listener needs, and when the certificate ends.
#[derive(Debug)]
struct Served {
    config: Arc<ServerConfig>,
    expires: Option<SystemTime>,
}

impl Certificate {
    /// Reads the files.
    ///
    /// # Errors
    /// If one of them is of no use.
    pub(crate) fn open(files: TlsFiles) -> Result<Self, FileError> {
        let paths: Vec<PathBuf> =
            [&files.cert, &files.key].into_iter().chain(&files.client_ca).cloned().collect();
        let read_files = files.clone();
        let served = Reread::open(paths, move || read(&read_files))?;
        Ok(Self { files, served })
    }

    pub(crate) fn files(&self) -> &TlsFiles {
        &self.files
    }

    /// When it ends; `None` if it does not say so in a way that is known.
    pub(crate) fn expires(&self) -> Option<SystemTime> {
        self.served.current().expires
    }

    /// Reads the files again if one of them has changed; says whether one has.
    ///
    /// # Errors
    /// If a new one is of no use, once for each change.
    pub(crate) fn refresh(&self) -> Result<bool, FileError> {
        self.served.refresh()
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.served.current().config))
    }
}

fn read(files: &TlsFiles) -> Result<Served, FileError> {
    let [cert_setting, key_setting, ca_setting] = files.listener.settings();
    let chain = tls::certificates(cert_setting, &files.cert)?;
    let expires = tls::expiry(&chain);
    let key = tls::key(key_setting, &files.key)?;
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| FileError::new(cert_setting, &files.cert, &error))?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let roots = Arc::new(tls::roots(ca_setting, path)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
            builder.with_client_cert_verifier(
                verifier.map_err(|error| FileError::new(ca_setting, path, &error))?,
            )
        }
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|error| FileError::new(cert_setting, &files.cert, &error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Served { config: Arc::new(config), expires })
}

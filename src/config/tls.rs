//! The files for TLS: at a listener, and to another server.

use std::path::PathBuf;

use super::{parsers::PATH, settings_reader::SettingsReader};

/// Whom a listener is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ListenerUse {
    Clients,
    Admin,
}

impl ListenerUse {
    /// The settings that name the certificate, its key, and the authorities of clients.
    pub(crate) const fn settings(self) -> [&'static str; 3] {
        match self {
            Self::Clients => ["tls.cert", "tls.key", "tls.client_ca"],
            Self::Admin => ["admin.tls_cert", "admin.tls_key", "admin.tls_client_ca"],
        }
    }
}

/// Files in PEM for a TLS connection to another server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientTls {
    /// The authorities that vouch for the server; `None` for the system's.
    pub ca: Option<PathBuf>,
    /// The certificate that this client shows, and its key.
    pub client: Option<(PathBuf, PathBuf)>,
}

impl ClientTls {
    /// Reads the settings of the authorities, the certificate and its key.
    pub(super) fn read(reader: &mut SettingsReader, settings: [&'static str; 3]) -> Self {
        let [ca, cert, key] = settings.map(|setting| reader.take(setting, &PATH));
        let [_, cert_setting, key_setting] = settings;
        refuse_alone(reader, &[(cert_setting, key_setting), (key_setting, cert_setting)]);
        Self { ca, client: cert.zip(key) }
    }
}

/// Reports the first of two settings if it is given without the other.
fn refuse_alone(reader: &mut SettingsReader, pairs: &[(&'static str, &'static str)]) {
    for (one, other) in pairs {
        if reader.is_given(one) && !reader.is_given(other) {
            reader.fault(one, &format!("is of no use without {other}"));
        }
    }
}

/// Files in PEM for a listener that speaks TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    pub(crate) listener: ListenerUse,
    /// The certificate, and those between it and its authority.
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
    /// The authorities that vouch for clients; `None` if clients need no certificate.
    pub(crate) client_ca: Option<PathBuf>,
}

impl TlsFiles {
    /// Reads the settings of a listener; `None` if it speaks no TLS.
    pub(super) fn read(reader: &mut SettingsReader, listener: ListenerUse) -> Option<Self> {
        let [cert, key, client_ca] = listener.settings();
        let files = [cert, key, client_ca].map(|setting| reader.take(setting, &PATH));
        refuse_alone(reader, &[(cert, key), (key, cert), (client_ca, cert)]);
        let [cert, key, client_ca] = files;
        Some(Self { listener, cert: cert?, key: key?, client_ca })
    }
}

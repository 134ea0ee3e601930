//! The upstream's settings.

use std::time::Duration;

use super::{
    ClientTls,
    parsers::HOST_MODE,
    settings_reader::SettingsReader,
    upstream_url::{UPSTREAM_URL, UpstreamUrl},
    value::TIMEOUT,
};

/// The settings of the authorities, the certificate and its key.
pub(crate) const UPSTREAM_TLS: [&str; 3] = ["upstream.ca", "upstream.client_cert", "upstream.client_key"];

/// The upstream's settings.
#[derive(Clone, Debug)]
pub(crate) struct UpstreamConfig {
    pub(crate) url: UpstreamUrl,
    /// Files for TLS.
    pub(crate) tls: ClientTls,
    /// Whether the upstream gets the client's `Host`.
    pub(crate) preserve_host: bool,
    /// How long the addresses of its name hold.
    pub(crate) resolve_every: Duration,
    pub(crate) connect_timeout: Duration,
    /// From the request's last byte to the response's head.
    pub(crate) first_byte_timeout: Duration,
    /// Between two chunks of a response.
    pub(crate) idle_timeout: Duration,
}

impl UpstreamConfig {
    pub(super) fn read(reader: &mut SettingsReader) -> Option<Self> {
        let url = reader.need("upstream.url", &UPSTREAM_URL);
        let tls = ClientTls::read(reader, UPSTREAM_TLS);
        // A wrong URL is reported by itself.
        if url.as_ref().is_some_and(|url| !url.is_tls()) {
            for setting in UPSTREAM_TLS {
                if reader.is_given(setting) {
                    reader.fault(setting, "is for an upstream.url that begins with https://");
                }
            }
        }
        let preserve_host = reader.need("upstream.host", &HOST_MODE);
        let resolve_every = reader.need("upstream.resolve_every", &TIMEOUT);
        let connect_timeout = reader.need("upstream.connect_timeout", &TIMEOUT);
        let first_byte_timeout = reader.need("upstream.first_byte_timeout", &TIMEOUT);
        let idle_timeout = reader.need("upstream.idle_timeout", &TIMEOUT);
        Some(Self {
            url: url?,
            tls,
            preserve_host: preserve_host?,
            resolve_every: resolve_every?,
            connect_timeout: connect_timeout?,
            first_byte_timeout: first_byte_timeout?,
            idle_timeout: idle_timeout?,
        })
    }
}

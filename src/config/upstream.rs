//! The upstream's settings.

use std::time::Duration;

use http::{Uri, uri::Scheme};

use super::{
    parsers::{HOST_MODE, UPSTREAM_URL},
    settings_reader::SettingsReader,
    value::TIMEOUT,
};

/// The upstream's settings.
#[derive(Clone, Debug)]
pub(crate) struct UpstreamConfig {
    /// `http://` or `https://`, an authority, and perhaps a path prefix without a trailing slash.
    pub(crate) url: Uri,
    /// Whether the upstream gets the client's `Host`.
    pub(crate) preserve_host: bool,
    pub(crate) connect_timeout: Duration,
    /// From the request's last byte to the response's head.
    pub(crate) first_byte_timeout: Duration,
    /// Between two chunks of a response.
    pub(crate) idle_timeout: Duration,
}

impl UpstreamConfig {
    pub(super) fn read(reader: &mut SettingsReader) -> Option<Self> {
        let url = reader.need("upstream.url", &UPSTREAM_URL);
        let preserve_host = reader.need("upstream.host", &HOST_MODE);
        let connect_timeout = reader.need("upstream.connect_timeout", &TIMEOUT);
        let first_byte_timeout = reader.need("upstream.first_byte_timeout", &TIMEOUT);
        let idle_timeout = reader.need("upstream.idle_timeout", &TIMEOUT);
        Some(Self {
            url: url?,
            preserve_host: preserve_host?,
            connect_timeout: connect_timeout?,
            first_byte_timeout: first_byte_timeout?,
            idle_timeout: idle_timeout?,
        })
    }

    /// Its name or its address, an IPv6 address without brackets.
    pub(crate) fn host(&self) -> &str {
        self.url.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.url.scheme() == Some(&Scheme::HTTPS)
    }

    pub(crate) fn port(&self) -> u16 {
        self.url.port_u16().unwrap_or(if self.is_tls() { 443 } else { 80 })
    }
}

//! A URL of one resource: a server, a path, and perhaps a query.

use std::{fmt, net::IpAddr, path::PathBuf, time::Duration};

use http::uri::PathAndQuery;

use super::{ClientTls, quote::quote, upstream::UpstreamConfig, upstream_url::UpstreamUrl};

/// The URL of one resource. It may have a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TargetUrl {
    pub(crate) server: UpstreamUrl,
    /// The path and the query.
    pub(crate) target: String,
}

impl TargetUrl {
    /// Parses the URL of `what`. All behind the authority is sent as it is written: a slash at its end counts.
    ///
    /// # Errors
    /// A text for the operator: what is wrong, and that `example` is how such a URL is written.
    pub(super) fn parse(text: &str, what: &str, example: &str) -> Result<Self, String> {
        let no_url = || format!("{} is no URL of {what}; write {example}", quote(text));
        let start = text.find("://").map_or(text.len(), |at| at + "://".len());
        let end = text[start..].find(['/', '?', '#']).map_or(text.len(), |at| start + at);
        let (origin, target) = text.split_at(end);
        let server = UpstreamUrl::parse(origin)?;
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        if server.socket().is_some() || target.contains('#') || target.parse::<PathAndQuery>().is_err() {
            return Err(no_url());
        }
        Ok(Self { server, target })
    }

    /// Whether whoever is on the way could read and write along: without TLS, and not on this machine.
    pub(crate) fn is_exposed(&self) -> bool {
        let host = self.server.host();
        let is_here = host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
        !self.server.is_tls() && !is_here
    }

    /// The path without the query, which may have a secret.
    pub(crate) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The server as an upstream of its own, which may take `patience` for a connection, for its answer, and between two
    /// pieces of that.
    pub(crate) fn upstream(&self, ca: Option<PathBuf>, patience: Duration) -> UpstreamConfig {
        UpstreamConfig {
            url: self.server.clone(),
            tls: ClientTls { ca, client: None },
            preserve_host: false,
            resolve_every: patience,
            connect_timeout: patience,
            first_byte_timeout: patience,
            idle_timeout: patience,
        }
    }
}

impl fmt::Display for TargetUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.server, self.target)
    }
}

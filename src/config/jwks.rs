//! The settings of the keys that tokens are signed with.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use http::uri::PathAndQuery;

use super::{
    ClientTls,
    parsers::{PATH, show_list},
    quote::quote,
    settings_reader::SettingsReader,
    upstream::UpstreamConfig,
    upstream_url::UpstreamUrl,
    value::{DURATION, Format, TIMEOUT, list_of},
};
use crate::cache::identity::Rules;

/// How long a server of keys may take for a connection, for its answer, and between two pieces of that.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where the keys are, and what else a token must say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JwksConfig {
    pub(crate) source: JwksSource,
    pub(crate) rules: Rules,
    /// How long keys are used before they are asked for again.
    pub(crate) refresh: Duration,
}

/// Where the keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum JwksSource {
    /// On a server; the authorities that vouch for it are in the file.
    Url(JwksUrl, Option<PathBuf>),
    File(PathBuf),
}

/// The URL of keys. It may have a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JwksUrl {
    pub(crate) server: UpstreamUrl,
    /// The path and the query.
    pub(crate) target: String,
}

impl JwksUrl {
    /// Whether whoever is on the way could name keys: without TLS, and not on this machine.
    pub(crate) fn is_exposed(&self) -> bool {
        let host = self.server.host();
        let is_here = host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
        !self.server.is_tls() && !is_here
    }

    /// The server as an upstream of its own.
    pub(crate) fn upstream(&self, ca: Option<PathBuf>) -> UpstreamConfig {
        UpstreamConfig {
            url: self.server.clone(),
            tls: ClientTls { ca, client: None },
            preserve_host: false,
            resolve_every: PATIENCE,
            connect_timeout: PATIENCE,
            first_byte_timeout: PATIENCE,
            idle_timeout: PATIENCE,
        }
    }
}

const URL: Format<JwksUrl> = Format {
    parse: |value| {
        let text = value.text("the URL of a JWKS")?;
        let no_url = || format!("{} is no URL of a JWKS; write https://HOST/PATH", quote(text));
        // All behind the authority is sent as it is written: a slash at its end counts.
        let start = text.find("://").map_or(text.len(), |at| at + "://".len());
        let end = text[start..].find(['/', '?', '#']).map_or(text.len(), |at| start + at);
        let (origin, target) = text.split_at(end);
        let server = UpstreamUrl::parse(origin)?;
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        if server.socket().is_some() || target.contains('#') || target.parse::<PathAndQuery>().is_err() {
            return Err(no_url());
        }
        Ok(JwksUrl { server, target })
    },
    show: |url| format!("{}{}", url.server, url.target),
};

const ISSUERS: Format<Vec<String>> = Format {
    parse: |value| {
        let takes = "a list of issuers, as in [\"https://login.example.com/\"]";
        let issuers = list_of(value, takes, |text| Ok(text.to_owned()))?;
        if issuers.is_empty() {
            Err("names no issuer, so that no token would count".to_owned())
        } else {
            Ok(issuers)
        }
    },
    show: |issuers| show_list(issuers),
};

const AUDIENCES: Format<Vec<String>> = Format {
    parse: |value| {
        list_of(value, "a list of audiences, as in [\"https://api.example.com\"]", |text| Ok(text.to_owned()))
    },
    show: |audiences| show_list(audiences),
};

impl JwksConfig {
    /// `None` if no keys are named.
    pub(super) fn read(reader: &mut SettingsReader) -> Option<Self> {
        let url = reader.take("jwks.url", &URL);
        let file = reader.take("jwks.file", &PATH);
        let ca = reader.take("jwks.ca", &PATH);
        let issuers = reader.take("jwks.issuer", &ISSUERS);
        let audiences = reader.take("jwks.audience", &AUDIENCES);
        let leeway = reader.need("jwks.leeway", &DURATION);
        let refresh = reader.need("jwks.refresh", &TIMEOUT);
        refuse_what_does_not_fit(reader);
        let source = match (url, file) {
            (Some(url), None) => JwksSource::Url(url, ca),
            (None, Some(file)) => JwksSource::File(file),
            _ => return None,
        };
        let rules = Rules { issuers: issuers?, audiences: audiences?, leeway: leeway?.as_secs() };
        Some(Self { source, rules, refresh: refresh? })
    }
}

fn refuse_what_does_not_fit(reader: &mut SettingsReader) {
    let is_given = |reader: &SettingsReader, key| reader.is_given(key);
    let (url, file) = (is_given(reader, "jwks.url"), is_given(reader, "jwks.file"));
    if url && file {
        reader.fault("jwks.file", "and jwks.url both name keys; leave one of them out");
    }
    let source = if url { "jwks.url" } else { "jwks.file" };
    if url || file {
        if !is_given(reader, "jwks.issuer") {
            let how = "needs jwks.issuer: who issues the tokens, as their claim `iss` says it";
            reader.fault(source, how);
        }
        if !is_given(reader, "jwks.audience") {
            let how = "needs jwks.audience: whom the tokens are for, as their claim `aud` says it, so that tokens for other \
                       services do not count; [] if they name nobody";
            reader.fault(source, how);
        }
    } else {
        for setting in ["jwks.issuer", "jwks.audience"] {
            if is_given(reader, setting) {
                reader.fault(setting, "is of no use without jwks.url or jwks.file");
            }
        }
    }
    if is_given(reader, "jwks.ca") && !url {
        reader.fault("jwks.ca", "is for a jwks.url that begins with https://");
    }
}

//! Where the upstream is: a URL, or a socket file.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use http::{Uri, uri::Scheme};

use super::{listen::parse_path, parsers::parse_http_url, value::Format};

/// Where the upstream is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UpstreamUrl {
    /// `http://` or `https://`, an authority, and perhaps a path prefix without a trailing slash. For a socket file, it
    /// only says what the upstream is called.
    uri: Uri,
    socket: Option<PathBuf>,
}

pub(super) const UPSTREAM_URL: Format<UpstreamUrl> = Format {
    parse: |value| UpstreamUrl::parse(value.text("the URL of the service")?),
    show: UpstreamUrl::to_string,
};

impl UpstreamUrl {
    /// Parses an `http://` or `https://` URL without user, query and fragment, or `unix:` and a path.
    ///
    /// # Errors
    /// A text for the operator: what is wrong, and how such a URL is written.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text.strip_prefix("unix:") {
            Some(path) => {
                let socket = Some(parse_path(path.strip_prefix("//").unwrap_or(path))?);
                Ok(Self { uri: Uri::from_static("http://localhost"), socket })
            }
            None => parse_http_url(text).map(|uri| Self { uri, socket: None }),
        }
    }

    pub(crate) const fn uri(&self) -> &Uri {
        &self.uri
    }

    /// The socket file, if it is one.
    pub(crate) fn socket(&self) -> Option<&Path> {
        self.socket.as_deref()
    }

    /// Its name or its address, an IPv6 address without brackets.
    pub(crate) fn host(&self) -> &str {
        self.uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.uri.scheme() == Some(&Scheme::HTTPS)
    }

    pub(crate) fn port(&self) -> u16 {
        self.uri.port_u16().unwrap_or(if self.is_tls() { 443 } else { 80 })
    }
}

impl fmt::Display for UpstreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.socket {
            Some(path) => write!(f, "unix:{}", path.display()),
            // `Uri` shows an empty path as `/`.
            None => f.write_str(self.uri.to_string().trim_end_matches('/')),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_as_it_is_written() {
        for (text, shown) in [
            ("http://a:8000", "http://a:8000"),
            ("https://a/base/", "https://a/base"),
            ("unix:/run/a.sock", "unix:/run/a.sock"),
            ("unix:///run/a.sock", "unix:/run/a.sock"),
        ] {
            assert_eq!(UpstreamUrl::parse(text).expect(text).to_string(), shown);
        }
        for wrong in ["unix:a.sock", "unix:", "unix:/", "unix://", "ftp://a"] {
            assert!(UpstreamUrl::parse(wrong).is_err(), "{wrong}");
        }
    }
}

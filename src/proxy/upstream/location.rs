//! `Location` and `Content-Location` that name the upstream by its own address. A client may not reach that
//! address, or reaches it past the proxy. They become references to the same path at the address that the
//! client asked. Pure.

use std::net::Ipv6Addr;

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Uri, header, uri::Scheme};

use crate::{config::UpstreamConfig, http::validation};

const NAMES: [HeaderName; 2] = [header::LOCATION, header::CONTENT_LOCATION];

/// The names that the upstream may call itself by in its answer to a request.
#[derive(Debug)]
pub(crate) struct OwnNames<'a> {
    url: &'a Uri,
    /// The client's `Host`, if the request upstream has it.
    host: Option<HeaderValue>,
}

impl<'a> OwnNames<'a> {
    /// For the answer to a request with these headers.
    pub(crate) fn new(config: &'a UpstreamConfig, request: &HeaderMap) -> Self {
        let host = if config.preserve_host { request.get(header::HOST).cloned() } else { None };
        Self { url: config.url.uri(), host }
    }

    /// Rewrites the references in an answer's head that name the upstream, so that they lead through the
    /// proxy. A 101 stays as it is: it concerns the client and the upstream alone.
    pub(crate) fn rewrite<B>(&self, answer: &mut Response<B>) {
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            self.rewrite_headers(answer.headers_mut());
        }
    }

    fn rewrite_headers(&self, headers: &mut HeaderMap) {
        for name in NAMES {
            if !headers.contains_key(&name) {
                continue;
            }
            let header::Entry::Occupied(mut entry) = headers.entry(name) else { continue };
            for value in entry.iter_mut() {
                if let Some(through) = self.through_the_proxy(value) {
                    *value = through;
                }
            }
        }
    }

    fn through_the_proxy(&self, value: &HeaderValue) -> Option<HeaderValue> {
        let reference = Reference::parse(value.to_str().ok()?)?;
        let authority = Authority::parse(reference.authority)?;
        if !self.include(&authority, reference.default_port) {
            return None;
        }
        HeaderValue::try_from(below(self.url.path(), reference.rest)?).ok()
    }

    /// Whether `authority`, in a reference whose scheme has the port `default_port`, is one of the names.
    fn include(&self, authority: &Authority<'_>, default_port: u16) -> bool {
        let scheme_port = if self.url.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 };
        let url = self.url.authority().and_then(|own| Authority::parse(own.as_str()));
        let host = self.host.as_ref().and_then(|host| Authority::parse(host.to_str().ok()?));
        let is_url = |own: Authority<'_>| own.is_same(Some(scheme_port), authority, default_port);
        url.is_some_and(is_url) || host.is_some_and(|own| own.is_same(None, authority, default_port))
    }
}

/// A reference with an authority (RFC 3986, section 4.2).
struct Reference<'a> {
    default_port: u16,
    authority: &'a str,
    /// Path, query and fragment.
    rest: &'a str,
}

impl<'a> Reference<'a> {
    /// Parses `http://…`, `https://…` or `//…`. `None` for any other reference, and for those that browsers
    /// read in another way: they take `\` for `/`, and remove or encode white space and non-ASCII characters.
    fn parse(text: &'a str) -> Option<Self> {
        if !text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') {
            return None;
        }
        let (scheme, rest) = text.split_once("//")?;
        let default_port = match scheme {
            // Without a scheme, the default port is that of the client's scheme, which is not known here.
            "" => 80,
            scheme if scheme.eq_ignore_ascii_case("http:") => 80,
            scheme if scheme.eq_ignore_ascii_case("https:") => 443,
            _ => return None,
        };
        let (authority, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        Some(Self { default_port, authority, rest })
    }
}

/// A host and perhaps a port. One with a user is not parsed.
struct Authority<'a> {
    host: &'a str,
    port: Option<u16>,
}

impl<'a> Authority<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let end_of_host = text.find(']').map_or(0, |end| end + 1);
        let (host, port) = match text[end_of_host..].rfind(':') {
            Some(colon) => (&text[..end_of_host + colon], &text[end_of_host + colon + 1..]),
            None => (text, ""),
        };
        if host.is_empty() || host.contains('@') {
            return None;
        }
        // RFC 3986, section 3.2.3: an empty port means the default port.
        let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
        let port = if port.is_empty() { None } else { Some(port.parse().ok().filter(|_| is_number)?) };
        Some(Self { host, port })
    }

    /// Whether `other`, under a scheme with the port `other_default`, is the same host and port. `default` is
    /// the port of this authority's scheme, if that is known. If neither names a port, the schemes may
    /// differ: a service that sees the client's scheme and its own name puts the two together.
    fn is_same(&self, default: Option<u16>, other: &Authority<'_>, other_default: u16) -> bool {
        let named = |port: Option<u16>, default: Option<u16>| port.filter(|port| Some(*port) != default);
        let is_port = named(self.port, default) == named(other.port, Some(other_default))
            || self.port.or(default) == Some(other.port.unwrap_or(other_default));
        is_port && is_same_host(self.host, other.host)
    }
}

fn is_same_host(one: &str, other: &str) -> bool {
    let ipv6 = |host: &str| host.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok();
    match (ipv6(one), ipv6(other)) {
        (Some(one), Some(other)) => one == other,
        _ => one.eq_ignore_ascii_case(other),
    }
}

/// The reference, without an authority, to what the upstream has at `rest` if its paths begin with `prefix`.
/// `None` if the proxy has no path that leads there.
fn below(prefix: &str, rest: &str) -> Option<String> {
    let prefix = prefix.trim_end_matches('/');
    let path = &rest[..rest.find(['?', '#']).unwrap_or(rest.len())];
    // A path that climbs out of the prefix would name something else once the prefix is removed.
    if !prefix.is_empty() && validation::climbs(path) {
        return None;
    }
    let rest = rest.strip_prefix(prefix)?;
    match rest.bytes().next() {
        // Two slashes at the beginning would name a host; a dot between them is removed (RFC 3986, section
        // 5.2.4).
        Some(b'/') if rest.starts_with("//") => Some(format!("/.{rest}")),
        Some(b'/') => Some(rest.to_owned()),
        None | Some(b'?' | b'#') => Some(format!("/{rest}")),
        // `/basement` is not below `/base`.
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use url::Url;

    use super::*;
    use crate::config::{ClientTls, UpstreamUrl};

    fn upstream(url: &str, preserve_host: bool) -> UpstreamConfig {
        let second = Duration::from_secs(1);
        UpstreamConfig {
            url: UpstreamUrl::parse(url).expect("a URL"),
            tls: ClientTls::default(),
            preserve_host,
            resolve_every: second,
            connect_timeout: second,
            first_byte_timeout: second,
            idle_timeout: second,
        }
    }

    /// The `Location` that the client gets if an upstream at `url` sends `location`; `host` is the client's,
    /// if that goes upstream.
    fn rewritten(url: &str, host: Option<&str>, location: &str) -> String {
        let config = upstream(url, host.is_some());
        let host = host.map(|host| (header::HOST, HeaderValue::try_from(host).expect("a value")));
        let mut headers = HeaderMap::new();
        headers.insert(header::LOCATION, HeaderValue::try_from(location).expect("a value"));
        OwnNames::new(&config, &HeaderMap::from_iter(host)).rewrite_headers(&mut headers);
        headers[header::LOCATION].to_str().expect("text").to_owned()
    }

    #[test]
    fn what_names_the_upstream_leads_back() {
        for (url, location, expected) in [
            ("http://svc:8000", "http://svc:8000/a/b?x=1#f", "/a/b?x=1#f"),
            ("http://svc:8000", "HTTP://SVC:8000/a", "/a"),
            ("http://svc:8000", "//svc:8000/a", "/a"),
            ("http://svc:8000", "https://svc:8000/a", "/a"),
            ("http://svc:8000", "http://svc:8000", "/"),
            ("http://svc:8000", "http://svc:8000?x=/y", "/?x=/y"),
            ("http://svc:8000", "http://svc:8000#f", "/#f"),
            ("http://svc:8000", "http://svc:08000/a", "/a"),
            ("http://svc", "http://svc/a", "/a"),
            ("http://svc", "http://svc:80/a", "/a"),
            ("http://svc", "http://svc:/a", "/a"),
            ("http://svc:80", "http://svc/a", "/a"),
            ("http://svc", "https://svc/a", "/a"),
            ("http://svc:80", "https://svc/a", "/a"),
            ("http://svc", "//svc/a", "/a"),
            ("https://svc", "https://svc:443/a", "/a"),
            ("https://svc", "http://svc/a", "/a"),
            ("https://svc", "//svc/a", "/a"),
            ("https://svc:8443", "https://svc:8443/a", "/a"),
            ("http://127.0.0.1:8000", "http://127.0.0.1:8000/a", "/a"),
            ("http://[::1]:8000", "http://[::1]:8000/a", "/a"),
            ("http://[::1]:8000", "http://[0:0:0:0:0:0:0:1]:8000/a", "/a"),
            ("http://[::1]", "http://[::1]/a", "/a"),
            ("http://svc:8000/base", "http://svc:8000/base/a?x", "/a?x"),
            ("http://svc:8000/base", "http://svc:8000/base", "/"),
            ("http://svc:8000/base", "http://svc:8000/base/", "/"),
            ("http://svc:8000/base", "http://svc:8000/base?x", "/?x"),
            // Two slashes would name a host.
            ("http://svc:8000", "http://svc:8000//evil.example/a", "/.//evil.example/a"),
            ("http://svc:8000/base", "http://svc:8000/base//evil.example", "/.//evil.example"),
        ] {
            assert_eq!(rewritten(url, None, location), expected, "{url}: {location}");
        }
    }

    #[test]
    fn everything_else_stays() {
        for (url, location) in [
            ("http://svc:8000", "/a"),
            ("http://svc:8000", "a"),
            ("http://svc:8000", "?x"),
            ("http://svc:8000", ""),
            ("http://svc:8000", "http://other:8000/a"),
            ("http://svc:8000", "http://svc:8001/a"),
            ("http://svc:8000", "http://svc/a"),
            ("http://svc:8000", "http://svc.evil.example:8000/a"),
            ("http://svc:8000", "http://evil-svc:8000/a"),
            ("http://svc:8000", "http://svc:8000@evil.example/a"),
            ("http://svc:8000", "http://user@svc:8000/a"),
            ("http://svc:8000", "http://user:secret@svc:8000/a"),
            ("http://svc:8000", "http://svc:8000:1/a"),
            ("http://svc:8000", "http://svc:99999/a"),
            ("http://svc:8000", "http://svc:8000\\@evil.example/a"),
            ("http://svc:8000", "http://svc:8000/\\evil.example"),
            ("http://svc:8000", "http://svc:8000/a b"),
            ("http://svc:8000", " http://svc:8000/a"),
            ("http://svc:8000", "http:svc:8000/a"),
            ("http://svc:8000", "http:///a"),
            ("http://svc:8000", "ftp://svc:8000/a"),
            ("http://svc:8000", "ws://svc:8000/a"),
            ("http://svc:8000", "mailto:a//svc:8000/a"),
            ("http://svc:8000", "/to//svc:8000/a"),
            ("http://svc", "http://svc:443/a"),
            ("https://svc", "https://svc:80/a"),
            ("http://[::1]:8000", "http://[::2]:8000/a"),
            ("http://[::1]:8000", "http://[::1/a"),
            ("http://svc:8000/base", "http://svc:8000/a"),
            ("http://svc:8000/base", "http://svc:8000/basement"),
            ("http://svc:8000/base", "http://svc:8000/Base/a"),
            ("http://svc:8000/base", "http://svc:8000"),
            ("http://svc:8000/base", "http://svc:8000/base/../a"),
            ("http://svc:8000/base", "http://svc:8000/base/%2e%2e/a"),
        ] {
            assert_eq!(rewritten(url, None, location), location, "{url}");
        }
    }

    #[test]
    fn under_the_clients_host_both_names_are_the_upstreams() {
        for (host, location, expected) in [
            ("api.example", "http://api.example/a", "/a"),
            ("api.example", "https://api.example/a", "/a"),
            ("api.example", "https://api.example:443/a", "/a"),
            ("API.example:8080", "http://api.example:8080/a", "/a"),
            ("api.example:80", "http://api.example/a", "/a"),
            ("[::1]:8080", "http://[::1]:8080/a", "/a"),
            ("api.example", "http://svc:8000/a", "/a"),
            ("api.example", "http://api.example:8000/a", "http://api.example:8000/a"),
            ("api.example:8080", "http://api.example/a", "http://api.example/a"),
            ("api.example", "http://other.example/a", "http://other.example/a"),
        ] {
            assert_eq!(rewritten("http://svc:8000", Some(host), location), expected, "{host}");
        }
        assert_eq!(rewritten("http://svc:8000", None, "http://api.example/a"), "http://api.example/a");
    }

    #[test]
    fn each_line_is_looked_at() {
        let config = upstream("http://svc", false);
        let mut headers = HeaderMap::new();
        for value in ["http://svc/a", "http://other/b"] {
            headers.append(header::LOCATION, HeaderValue::from_static(value));
        }
        headers.append(header::CONTENT_LOCATION, HeaderValue::from_static("http://svc/c"));
        headers.append("refresh", HeaderValue::from_static("http://svc/d"));
        OwnNames::new(&config, &HeaderMap::new()).rewrite_headers(&mut headers);
        let lines: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        assert_eq!(
            lines,
            [
                ("location", &b"/a"[..]),
                ("location", b"http://other/b"),
                ("content-location", b"/c"),
                ("refresh", b"http://svc/d")
            ]
        );
    }

    proptest! {
        /// A browser finds what was rewritten at the proxy, under the path that it had at the upstream. Only
        /// what a browser finds at the upstream is rewritten.
        #[test]
        fn browsers_read_it_alike(text in r"(http:|https:|HTTP:|)//(svc|SVC|svc|evil|u@svc)(:8000|:8000|:8000|:80|:)(/|/|[\\]|@)?([/?#@:.a\\]|%2e){0,9}") {
            let url = "http://svc:8000";
            let changed = rewritten(url, None, &text);
            if changed == text {
                return Ok(());
            }
            let base = Url::parse("http://svc:8000/x/y").expect("a URL");
            let meant = base.join(&text).expect("a URL");
            prop_assert_eq!(meant.host_str(), Some("svc"));
            prop_assert!(meant.username().is_empty());
            let proxy = Url::parse("https://proxy.example:1234/x/y").expect("a URL");
            let found = proxy.join(&changed).expect("a URL");
            prop_assert_eq!(found.origin(), proxy.origin());
            let rest = |url: &Url| (url.path().to_owned(), url.query().map(str::to_owned), url.fragment().map(str::to_owned));
            prop_assert_eq!(rest(&found), rest(&meant));
        }
    }
}

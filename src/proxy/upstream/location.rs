//! `Location` and `Content-Location` that name the upstream by its own address, which a client may not reach, or reaches
//! past the proxy. They become references to the same path at whatever address the client asked. Pure.

use std::net::Ipv6Addr;

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Uri, header, uri::Scheme};

use crate::{config::UpstreamConfig, http::validation};

const NAMES: [HeaderName; 2] = [header::LOCATION, header::CONTENT_LOCATION];

/// What the upstream may call itself in its answer to a request.
#[derive(Debug)]
pub(crate) struct OwnNames<'a> {
    url: &'a Uri,
    /// The `Host` that it was asked by, where that is the client's.
    host: Option<HeaderValue>,
}

impl<'a> OwnNames<'a> {
    /// Those of the upstream in its answer to a request with these headers.
    pub(crate) fn new(config: &'a UpstreamConfig, request: &HeaderMap) -> Self {
        let host = if config.preserve_host { request.get(header::HOST).cloned() } else { None };
        Self { url: &config.url, host }
    }

    /// Has the references in an answer's head that name the upstream lead to the same through the proxy. A switch of
    /// protocols is between the two who switch.
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

    /// Whether `authority`, in a reference whose scheme has this port, is one of them.
    fn include(&self, authority: &Authority<'_>, default_port: u16) -> bool {
        let scheme_port = if self.url.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 };
        let url = self.url.authority().and_then(|own| Authority::parse(own.as_str()));
        let host = self.host.as_ref().and_then(|host| Authority::parse(host.to_str().ok()?));
        let is_url = |own: Authority<'_>| own.is_same(Some(scheme_port), authority, default_port);
        url.is_some_and(is_url) || host.is_some_and(|own| own.is_same(None, authority, default_port))
    }
}

/// A reference with an authority, as RFC 3986 divides it.
struct Reference<'a> {
    default_port: u16,
    authority: &'a str,
    /// Path, query and fragment.
    rest: &'a str,
}

impl<'a> Reference<'a> {
    /// Reads `http://…`, `https://…` or `//…`; `None` for any other, and for what browsers read otherwise: to them, `\` is
    /// `/`, and white space and what is not ASCII is taken out or encoded.
    fn parse(text: &'a str) -> Option<Self> {
        if !text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') {
            return None;
        }
        let (scheme, rest) = text.split_once("//")?;
        let default_port = match scheme {
            // In a reference without a scheme, a port that is not there is whichever the client's scheme has.
            "" => 80,
            scheme if scheme.eq_ignore_ascii_case("http:") => 80,
            scheme if scheme.eq_ignore_ascii_case("https:") => 443,
            _ => return None,
        };
        let (authority, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        Some(Self { default_port, authority, rest })
    }
}

/// A host and perhaps a port, without a user.
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
        // RFC 3986, section 3.2.3: an empty port is none.
        let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
        let port = if port.is_empty() { None } else { Some(port.parse().ok().filter(|_| is_number)?) };
        Some(Self { host, port })
    }

    /// Whether `other`, under a scheme with the port `other_default`, is the same place. `default` is the port of this
    /// one's scheme, where that is known. A service that sees the client's scheme and its own name puts the two together:
    /// where neither names a port, the schemes may differ.
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

/// The reference, without an authority, to what the upstream has at `rest` where its paths begin with `prefix`; `None`
/// where the proxy has no path that leads there.
fn below(prefix: &str, rest: &str) -> Option<String> {
    let prefix = prefix.trim_end_matches('/');
    let path = &rest[..rest.find(['?', '#']).unwrap_or(rest.len())];
    // What climbs out of the prefix would climb out of nothing once that is gone.
    if !prefix.is_empty() && validation::climbs(path) {
        return None;
    }
    let rest = rest.strip_prefix(prefix)?;
    match rest.bytes().next() {
        // Two slashes at its beginning would name a host; a dot between them names nothing (RFC 3986, section 5.2.4).
        Some(b'/') if rest.starts_with("//") => Some(format!("/.{rest}")),
        Some(b'/') => Some(rest.to_owned()),
        None | Some(b'?' | b'#') => Some(format!("/{rest}")),
        // It is not below the prefix, but begins alike.
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use url::Url;

    use super::*;

    fn upstream(url: &str, preserve_host: bool) -> UpstreamConfig {
        let second = Duration::from_secs(1);
        UpstreamConfig {
            url: url.parse().expect("a URL"),
            preserve_host,
            connect_timeout: second,
            first_byte_timeout: second,
            idle_timeout: second,
        }
    }

    /// What becomes of a `Location` that an upstream at `url` sends; `host` is the client's, where that goes upstream.
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
            // Without an authority of its own, it would name a host.
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
        /// To a browser, what was written anew is at the proxy, and names there what it named at the upstream; and it was
        /// written anew only where a browser finds it at the upstream, too.
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

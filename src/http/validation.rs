//! Which requests a proxy must not pass on, because the upstream might read them differently: two lengths,
//! two hosts, a path that climbs. Such a difference is what request smuggling and cache poisoning need, so a
//! doubt is a 400.

use std::net::{IpAddr, Ipv6Addr};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header, request::Parts, uri::Authority};
use percent_encoding::percent_decode;

use crate::http::headers;

/// Checks a request's framing, host and target.
///
/// # Errors
/// What is wrong, for the client to read. The connection must be closed behind it.
pub fn check(parts: &Parts) -> Result<(), &'static str> {
    check_framing(parts)?;
    if parts.method == Method::CONNECT {
        return Err("CONNECT is not served here");
    }
    let Some(host) = host(parts)? else {
        return Err("the request names no host: send one `Host` header");
    };
    if host_name(host).is_none() {
        return Err("the `Host` header is not a host");
    }
    // Over HTTP/1.1 only an absolute-form target has an authority; it must not name another host.
    match parts.uri.authority() {
        Some(authority) if !authority.as_str().eq_ignore_ascii_case(host) => {
            Err("the request's target names another host than its `Host` header")
        }
        _ if !parts.uri.path().starts_with('/') => Err("the request's target is not a path"),
        _ => Ok(()),
    }
}

/// What some services take for the headers that frame a request.
const LIKE_FRAMING: [HeaderName; 2] =
    [HeaderName::from_static("transfer_encoding"), HeaderName::from_static("content_length")];

/// RFC 9112, section 6.1: no coding but `chunked`, and no length beside it.
fn check_framing(parts: &Parts) -> Result<(), &'static str> {
    let headers = &parts.headers;
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).into_iter();
    if let Some(coding) = codings.next() {
        if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
            return Err("a transfer coding other than `chunked` is not understood here");
        }
        if headers.contains_key(header::CONTENT_LENGTH) {
            return Err("the request has both a `Content-Length` and a `Transfer-Encoding`");
        }
        if parts.version == Version::HTTP_10 {
            return Err("HTTP/1.0 has no transfer codings");
        }
    }
    // Where names are made into variables, as in CGI, a `_` is a `-`.
    if LIKE_FRAMING.iter().any(|name| headers.contains_key(name)) {
        return Err("the request has a header whose name could be mistaken for its framing");
    }
    check_length(headers)
}

/// The longest body that a length may announce. Beyond it, a service that counts in floating point reads
/// another number.
const LONGEST_BODY: u64 = 1 << 53;

/// Checks a request's `Content-Length`.
///
/// # Errors
/// As [`check`].
pub(crate) fn check_length(headers: &HeaderMap) -> Result<(), &'static str> {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).into_iter();
    let Some(length) = lengths.next().map(HeaderValue::as_bytes) else { return Ok(()) };
    if length.is_empty() || !length.iter().all(u8::is_ascii_digit) || lengths.next().is_some() {
        return Err("the `Content-Length` is not one number");
    }
    // They are digits, so what does not fit is larger.
    let bytes = std::str::from_utf8(length).ok().and_then(|digits| digits.parse::<u64>().ok());
    if bytes.is_none_or(|bytes| bytes > LONGEST_BODY) {
        return Err("the `Content-Length` is larger than 2^53");
    }
    Ok(())
}

/// The one host that the request names.
fn host(parts: &Parts) -> Result<Option<&str>, &'static str> {
    let mut hosts = parts.headers.get_all(header::HOST).into_iter();
    match (hosts.next(), hosts.next()) {
        (Some(_), Some(_)) => Err("the request has more than one `Host` header"),
        (Some(host), None) => host.to_str().map(Some).map_err(|_| "the `Host` header is not a host"),
        // HTTP/2 names the host in the target; HTTP/1.0 need not name one.
        (None, _) if parts.version == Version::HTTP_10 => Ok(Some("localhost")),
        (None, _) => {
            Ok(parts.uri.authority().map(Authority::as_str).filter(|_| parts.version == Version::HTTP_2))
        }
    }
}

/// The name or address in `host`, without its port and brackets; `None` if `host` is something else (RFC
/// 9112, section 3.2). RFC 3986, section 3.2.2, allows more characters than any name in use has; those are
/// refused.
pub(crate) fn host_name(host: &str) -> Option<&str> {
    let (name, rest) = match host.strip_prefix('[').map(|rest| rest.split_once(']')) {
        Some(Some((address, rest))) if address.parse::<Ipv6Addr>().is_ok() => (address, rest),
        Some(_) => return None,
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let is_port = |port: &str| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok();
    let is_host = !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~:".contains(&b))
        && (rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port));
    is_host.then_some(name)
}

/// Whether a name, as [`host_name`] returns it, means this machine.
pub(crate) fn is_loopback(name: &str) -> bool {
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Whether some service may read a path as another one: it has a `.` or `..` between slashes of either kind,
/// encoded however often, or with parameters. The answer to such a path is not stored.
pub fn climbs(path: &str) -> bool {
    /// No service decodes more often.
    const TIMES: usize = 4;
    let bytes = path.as_bytes();
    if !bytes.iter().any(|byte| matches!(byte, b'%' | b'\\')) && !bytes.windows(2).any(|two| two == b"/.") {
        return false;
    }
    let mut path = bytes.to_vec();
    for _ in 0..TIMES {
        let mut segments = path.split(|byte| matches!(byte, b'/' | b'\\'));
        let is_dots =
            |segment: &[u8]| matches!(segment.split(|byte| *byte == b';').next(), Some(b"." | b".."));
        if segments.any(is_dots) {
            return true;
        }
        let decoded = percent_decode(&path).collect();
        if decoded == path {
            return false;
        }
        path = decoded;
    }
    true
}

/// The protocol that the request wants to switch to, if it may be passed on.
pub fn upgrade(headers: &HeaderMap) -> Option<&str> {
    let protocol = headers.get(header::UPGRADE)?.to_str().ok()?;
    // An upgrade to HTTP/2 concerns one connection; passed on, it would open a way around this proxy.
    let is_http = protocol.split(',').any(|name| {
        let name = name.trim().to_ascii_lowercase();
        name.starts_with("h2") || name.starts_with("http")
    });
    (headers::list_has(headers, &header::CONNECTION, "upgrade") && !is_http).then_some(protocol)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn parts(method: &str, uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut builder = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        builder.body(()).expect("a request").into_parts().0
    }

    #[test]
    fn doubtful_requests_are_refused() {
        let host = ("host", "a.example");
        for (method, uri, headers, good) in [
            ("GET", "/", &[host][..], true),
            ("GET", "/", &[], false),
            ("GET", "/", &[host, host], false),
            ("GET", "/", &[("host", "a b")], false),
            ("GET", "/", &[("host", "user@a")], false),
            ("GET", "/", &[("host", "user:word@a:80")], false),
            ("GET", "/", &[("host", "@a")], false),
            ("GET", "/", &[("host", "a@")], false),
            ("GET", "/", &[("host", "[::1].b")], false),
            ("GET", "/", &[("host", "a:80:1")], false),
            ("GET", "/", &[("host", "[::1]:80")], true),
            ("GET", "/", &[("host", "[::1]80")], false),
            ("GET", "/", &[("host", "a:65536")], false),
            ("GET", "/", &[("host", ":80")], false),
            ("GET", "/", &[("host", "")], false),
            ("GET", "http://a.example/x", &[host], true),
            ("GET", "http://b.example/x", &[host], false),
            ("CONNECT", "b.example:443", &[host], false),
            ("OPTIONS", "*", &[host], false),
            ("POST", "/", &[host, ("transfer-encoding", "chunked")], true),
            ("POST", "/", &[host, ("transfer-encoding", "gzip, chunked")], false),
            ("POST", "/", &[host, ("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")], false),
            ("POST", "/", &[host, ("transfer-encoding", "chunked"), ("content-length", "3")], false),
            ("POST", "/", &[host, ("content-length", "3"), ("content-length", "3")], false),
            ("POST", "/", &[host, ("content-length", "+3")], false),
            ("POST", "/", &[host, ("content-length", "-3")], false),
            ("POST", "/", &[host, ("content-length", "")], false),
            ("POST", "/", &[host, ("content-length", "3, 3")], false),
            ("POST", "/", &[host, ("content-length", "3 3")], false),
            ("POST", "/", &[host, ("content-length", "0x3")], false),
            ("POST", "/", &[host, ("content-length", "3.0")], false),
            ("POST", "/", &[host, ("content-length", "1e3")], false),
            ("POST", "/", &[host, ("content-length", "3")], true),
            ("POST", "/", &[host, ("content-length", "0")], true),
            ("POST", "/", &[host, ("content-length", "0000000000000000000000003")], true),
            ("POST", "/", &[host, ("content-length", "9007199254740992")], true),
            ("POST", "/", &[host, ("content-length", "9007199254740993")], false),
            ("POST", "/", &[host, ("content-length", "18446744073709551615")], false),
            ("POST", "/", &[host, ("content-length", "18446744073709551616")], false),
            ("POST", "/", &[host, ("content-length", "99999999999999999999999999999999999999")], false),
            ("POST", "/", &[host, ("content_length", "3")], false),
        ] {
            assert_eq!(check(&parts(method, uri, headers)).is_ok(), good, "{method} {uri} {headers:?}");
        }
    }

    #[test]
    fn paths_that_climb() {
        for path in [
            "/a/../b",
            "/a/..",
            "/./a",
            "/a/%2e%2e/b",
            "/a/..%2fb",
            "/a%2F.%2E%2Fb",
            "/a/..;x=1/b",
            "/a/..%3bx/b",
            "/a\\..\\b",
            "/a/%252e%252e/b",
            "/a/..%255cb",
            "/%25252525252e",
        ] {
            assert!(climbs(path), "{path}");
        }
        for path in [
            "/",
            "/a/b.c",
            "/a/...",
            "/a/.b",
            "/a/..b",
            "/a%20b/c%2fd",
            "/a;..",
            "/caf%C3%A9",
            "/100%25",
            "/%",
        ] {
            assert!(!climbs(path), "{path}");
        }
    }

    #[test]
    fn http_is_no_upgrade() {
        let upgrades = |value: &str| {
            let parts = parts("GET", "/", &[("connection", "keep-alive, Upgrade"), ("upgrade", value)]);
            upgrade(&parts.headers).is_some()
        };
        assert!(upgrades("websocket"));
        assert!(!upgrades("h2c") && !upgrades("HTTP/2.0") && !upgrades("websocket, h2c"));
        assert!(upgrade(&parts("GET", "/", &[("upgrade", "websocket")]).headers).is_none());
    }
}

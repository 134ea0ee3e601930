//! Who may call the admin listener. Pure.

use http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts};

use super::error::AdminError;
use crate::{
    config::AdminConfig,
    http::{
        headers,
        validation::{host_name, is_loopback},
    },
};

/// Whether the request names this listener by a loopback name, or by one of `admin.hosts`.
///
/// This stops DNS rebinding: a browser that was led here under a foreign name sends that name.
///
/// # Errors
/// 403 if the host is missing, or any of several is another one.
pub(super) fn check_host(parts: &Parts, config: &AdminConfig) -> Result<(), AdminError> {
    let is_known = |host: &str| {
        host_name(host).is_some_and(|name| {
            let is_name = |own: &String| own.trim_matches(['[', ']']).eq_ignore_ascii_case(name);
            is_loopback(name) || config.hosts.iter().any(is_name)
        })
    };
    // Over HTTP/2 the target has the name. Of several names, nobody knows which one the caller meant.
    let in_target = parts.uri.authority().map(|authority| is_known(authority.as_str()));
    let lines = parts.headers.get_all(header::HOST).into_iter();
    let mut hosts = lines.map(|host| host.to_str().is_ok_and(is_known)).chain(in_target).peekable();
    if hosts.peek().is_some() && hosts.all(|is_known| is_known) {
        return Ok(());
    }
    Err(AdminError::new(
        StatusCode::FORBIDDEN,
        "call the admin listener by a loopback name or one of admin.hosts",
    ))
}

/// Whether the request has the admin token, if there is one.
///
/// # Errors
/// 401 if it has not.
pub(super) fn check_token(headers: &HeaderMap, config: &AdminConfig) -> Result<(), AdminError> {
    let Some(token) = &config.token else { return Ok(()) };
    let given =
        headers.get(header::AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    // BLAKE3 hashes compare in constant time, and have one length.
    if given.is_some_and(|given| blake3::hash(given) == blake3::hash(token.expose().as_bytes())) {
        return Ok(());
    }
    let refusal =
        AdminError::new(StatusCode::UNAUTHORIZED, "send the admin token: Authorization: Bearer TOKEN");
    Err(refusal.with(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")))
}

/// Whether a request that changes something says that it is JSON.
///
/// This stops requests from other sites' pages: a browser asks before it sends JSON to another site (CORS),
/// and this listener does not answer that.
///
/// # Errors
/// 415 if it does not.
pub(super) fn check_content_type(headers: &HeaderMap) -> Result<(), AdminError> {
    if headers::media_type(headers).is_some_and(|media| media == "application/json") {
        return Ok(());
    }
    Err(AdminError::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "a call that changes something must say Content-Type: application/json",
    ))
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, Request};

    use super::*;
    use crate::config::Secret;

    fn with_header(name: &'static str, value: &'static str) -> Parts {
        let mut parts = Request::new(()).into_parts().0;
        parts.headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        parts
    }

    fn config() -> AdminConfig {
        AdminConfig {
            listen: None,
            listen_mode: 0o660,
            tls: None,
            token: Some(Secret::new("t0ken")),
            hosts: vec!["ops.example".to_owned()],
        }
    }

    #[test]
    fn only_known_hosts_are_answered() {
        let config = AdminConfig {
            hosts: vec!["ops.example".to_owned(), "[fd00::7]".to_owned(), "10.0.0.7".to_owned()],
            ..config()
        };
        for good in [
            "127.0.0.1",
            "127.0.0.1:8081",
            "127.8.9.1:1",
            "[::1]",
            "[::1]:8081",
            "[0:0::1]:8081",
            "localhost",
            "LOCALHOST:8081",
            "ops.example",
            "Ops.Example:9",
            "[fd00::7]:8081",
            "10.0.0.7:8081",
        ] {
            assert!(check_host(&with_header("host", good), &config).is_ok(), "{good}");
        }
        for bad in [
            "",
            " ",
            ":8081",
            "evil.example",
            "evil.example@127.0.0.1",
            "evil.example:80@localhost",
            "localhost@evil.example",
            "127.0.0.1@",
            "127.0.0.1.evil.example",
            "evil.example/127.0.0.1",
            "evil.example#127.0.0.1",
            "evil.example?localhost",
            "evil.example localhost",
            "127.0.0.1 ",
            " 127.0.0.1",
            "127.0.0.1,evil.example",
            "127.0.0.1\t",
            "localhost:8081:1",
            "localhost:",
            "localhost:x",
            "localhost:+80",
            "localhost:65536",
            "localhost.",
            "xlocalhost",
            "[::1].evil",
            "[::1]evil:80",
            "[::1",
            "::1",
            "[[::1]]",
            "[localhost]",
            "[::1%25lo]",
            "[::2]",
            "128.0.0.1",
            "127.1",
            "0x7f000001",
            "ops.example.evil",
            "10.0.0.70",
            "http://127.0.0.1",
            "127.0.0.1\\evil",
        ] {
            assert!(check_host(&with_header("host", bad), &config).is_err(), "{bad:?}");
        }
        assert!(check_host(&Request::new(()).into_parts().0, &config).is_err(), "none at all");
    }

    #[test]
    fn every_host_must_be_known() {
        let is_good = |target: &'static str, hosts: &[&'static str]| {
            let mut parts = Request::builder().uri(target).body(()).expect("a request").into_parts().0;
            for host in hosts {
                parts.headers.append(header::HOST, HeaderValue::from_static(host));
            }
            check_host(&parts, &config()).is_ok()
        };
        assert!(is_good("http://localhost:8081/stats", &[]) && is_good("http://[::1]/", &["localhost"]));
        for (target, hosts) in [
            ("/stats", &["localhost", "evil.example"][..]),
            ("/stats", &["evil.example", "localhost"]),
            ("http://localhost/stats", &["evil.example"]),
            ("http://localhost/stats", &["evil.example@localhost"]),
            ("http://evil.example/stats", &["localhost"]),
            ("http://evil.example@localhost/stats", &[]),
        ] {
            assert!(!is_good(target, hosts), "{target} {hosts:?}");
        }
    }

    #[test]
    fn the_token_must_be_right() {
        let is_good = |value| check_token(&with_header("authorization", value).headers, &config()).is_ok();
        assert!(is_good("Bearer t0ken") && !is_good("Bearer t0kem") && !is_good("Basic t0ken"));
        assert!(check_token(&HeaderMap::new(), &config()).is_err());
        assert!(check_token(&HeaderMap::new(), &AdminConfig { token: None, ..config() }).is_ok());
    }

    #[test]
    fn only_json_may_change_anything() {
        for (media, good) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("text/plain", false),
            ("application/x-www-form-urlencoded", false),
            ("multipart/form-data; boundary=application/json", false),
            ("application/jsonp", false),
        ] {
            assert_eq!(
                check_content_type(&with_header("content-type", media).headers).is_ok(),
                good,
                "{media}"
            );
        }
        assert!(check_content_type(&HeaderMap::new()).is_err());
    }
}

//! Who may call the admin listener. Pure.

use http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts, uri::Authority};

use super::refusal::Refusal;
use crate::{config::AdminConfig, headers};

/// Whether the request names this listener by a loopback name or one that the operator set: a page in a browser that
/// was led here under its own name (DNS rebinding) does not.
///
/// # Errors
/// 403 where it does not.
pub(super) fn check_name(parts: &Parts, config: &AdminConfig) -> Result<(), Refusal> {
    let named =
        parts.headers.get(header::HOST).and_then(|host| host.to_str().ok()?.parse::<Authority>().ok());
    let name = named.as_ref().or(parts.uri.authority()).map(Authority::host).unwrap_or_default();
    let name = name.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    let is_loopback =
        name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if is_loopback || config.hosts.contains(&name) {
        return Ok(());
    }
    Err(Refusal::new(
        StatusCode::FORBIDDEN,
        "call the admin listener by a loopback name or one of admin.hosts",
    ))
}

/// Whether the request has the token, where there is one.
///
/// # Errors
/// 401 where it has not.
pub(super) fn check_token(headers: &HeaderMap, config: &AdminConfig) -> Result<(), Refusal> {
    let Some(token) = &config.token else { return Ok(()) };
    let given =
        headers.get(header::AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    // Digests compare in constant time, whatever the lengths.
    if given.is_some_and(|given| blake3::hash(given) == blake3::hash(token.expose().as_bytes())) {
        return Ok(());
    }
    let refusal = Refusal::new(StatusCode::UNAUTHORIZED, "send the admin token: Authorization: Bearer TOKEN");
    Err(refusal.with(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")))
}

/// Whether a request that changes something says that it is JSON, which a page of another site can send only after it
/// has asked (CORS), and nobody here answers that.
///
/// # Errors
/// 415 where it does not.
pub(super) fn check_type(headers: &HeaderMap) -> Result<(), Refusal> {
    if headers::media_type(headers).is_some_and(|media| media == "application/json") {
        return Ok(());
    }
    Err(Refusal::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "a call that changes something must say Content-Type: application/json",
    ))
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, Request};

    use super::*;
    use crate::config::Secret;

    fn with(name: &'static str, value: &'static str) -> Parts {
        let mut parts = Request::new(()).into_parts().0;
        parts.headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        parts
    }

    fn config() -> AdminConfig {
        AdminConfig { listen: None, token: Some(Secret::new("t0ken")), hosts: vec!["ops.example".to_owned()] }
    }

    #[test]
    fn only_known_names_are_answered() {
        for (host, good) in [
            ("127.0.0.1:8081", true),
            ("[::1]:8081", true),
            ("LOCALHOST", true),
            ("ops.example:9", true),
            ("evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("", false),
        ] {
            assert_eq!(check_name(&with("host", host), &config()).is_ok(), good, "{host}");
        }
        assert!(check_name(&Request::new(()).into_parts().0, &config()).is_err());
    }

    #[test]
    fn the_token_must_be_right() {
        let is_good = |value| check_token(&with("authorization", value).headers, &config()).is_ok();
        assert!(is_good("Bearer t0ken") && !is_good("Bearer t0kem") && !is_good("Basic t0ken"));
        assert!(check_token(&HeaderMap::new(), &config()).is_err());
        assert!(check_token(&HeaderMap::new(), &AdminConfig { token: None, ..config() }).is_ok());
    }

    #[test]
    fn json_alone_changes_anything() {
        for (media, good) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("text/plain", false),
            ("application/x-www-form-urlencoded", false),
            ("multipart/form-data; boundary=application/json", false),
            ("application/jsonp", false),
        ] {
            assert_eq!(check_type(&with("content-type", media).headers).is_ok(), good, "{media}");
        }
        assert!(check_type(&HeaderMap::new()).is_err());
    }
}

//! The listener for operators.

use std::{convert::Infallible, sync::Arc};

use http::{HeaderMap, Method, Request, Response, StatusCode, header, uri::Authority};
use hyper::body::Incoming;
use serde_json::{Value, json};

use crate::{body::ResponseBody, config::AdminConfig, health::cache_section, proxy::Proxy, reply};

/// The listener for operators.
#[derive(Debug)]
pub struct Admin {
    proxy: Arc<Proxy>,
}

impl Admin {
    /// The operators' view of `proxy`.
    pub const fn new(proxy: Arc<Proxy>) -> Self {
        Self { proxy }
    }

    /// Answers one request.
    ///
    /// # Errors
    /// None.
    pub async fn handle(&self, request: Request<Incoming>) -> Result<Response<ResponseBody>, Infallible> {
        let live = self.proxy.live.load_full();
        let (parts, _) = request.into_parts();
        if !names_us(&parts.headers, parts.uri.authority(), &live.config.admin) {
            return Ok(refusal(
                StatusCode::FORBIDDEN,
                "call the admin listener by a loopback name or one of admin.hosts",
            ));
        }
        if let Some(page) = self.proxy.health.page(&live.config, &self.proxy.shared, &parts).await {
            return Ok(page);
        }
        if !is_authorized(&parts.headers, &live.config.admin) {
            let mut response =
                refusal(StatusCode::UNAUTHORIZED, "send the admin token: Authorization: Bearer TOKEN");
            let challenge = http::HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
            return Ok(response);
        }
        Ok(match (&parts.method, parts.uri.path()) {
            (&Method::GET, "/stats") => {
                let section = Value::Object(cache_section(&self.proxy.shared).await);
                reply::json(StatusCode::OK, section.to_string().into_bytes())
            }
            _ => refusal(StatusCode::NOT_FOUND, "no such call: GET /stats, GET /health"),
        })
    }
}

fn refusal(status: StatusCode, message: &str) -> Response<ResponseBody> {
    reply::json(status, json!({"error": message}).to_string().into_bytes())
}

/// Whether the request names this listener by a loopback name or one that the operator set: a page in a
/// browser that was led here under its own name (DNS rebinding) does not.
fn names_us(headers: &HeaderMap, authority: Option<&Authority>, config: &AdminConfig) -> bool {
    let named = headers.get(header::HOST).and_then(|host| host.to_str().ok()?.parse::<Authority>().ok());
    let Some(name) = named.as_ref().or(authority).map(Authority::host) else { return false };
    let name = name.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    let is_loopback =
        name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    is_loopback || config.hosts.contains(&name)
}

fn is_authorized(headers: &HeaderMap, config: &AdminConfig) -> bool {
    let Some(token) = &config.token else { return true };
    let given =
        headers.get(header::AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    // Digests compare in constant time, whatever the lengths.
    given.is_some_and(|given| blake3::hash(given) == blake3::hash(token.expose().as_bytes()))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::config::Secret;

    fn with(name: &'static str, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(http::HeaderName::from_static(name), HeaderValue::from_static(value))])
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
        ] {
            assert_eq!(names_us(&with("host", host), None, &config()), good, "{host}");
        }
        assert!(!names_us(&HeaderMap::new(), None, &config()));
    }

    #[test]
    fn the_token_must_be_right() {
        assert!(is_authorized(&with("authorization", "Bearer t0ken"), &config()));
        assert!(!is_authorized(&with("authorization", "Bearer t0kem"), &config()));
        assert!(!is_authorized(&HeaderMap::new(), &config()));
        assert!(is_authorized(&HeaderMap::new(), &AdminConfig { token: None, ..config() }));
    }
}

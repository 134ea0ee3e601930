//! One request and what belongs to it from its head to its log line. `access_log` writes what it logs.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::{HeaderMap, Method, StatusCode};

use crate::{
    cache::route::Route,
    http::hex::write_hex,
    proxy::{cors::Origin, response::X_REQUEST_ID, state::Live, trace::RequestTrace},
    request::connection::Connection,
};

/// A request that is being answered.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    pub(crate) id: Arc<str>,
    pub(crate) method: Method,
    /// Without the query.
    pub(crate) path: Arc<str>,
    pub(crate) started: Instant,
    /// The connection that the request came over.
    pub(crate) caller: Arc<Connection>,
    /// The page that the request came from, if a browser names it.
    pub(crate) origin: Option<Origin>,
    /// The text of the question, if it is to be logged.
    pub(crate) question_text: Option<String>,
    /// The rule that covers the request, once its body has shown that it does.
    pub(crate) route: Option<Arc<Route>>,
    /// Whether it is not logged: a probe of the health page.
    pub(crate) is_silent: bool,
    /// The trace that it is part of.
    pub(crate) trace: Option<Arc<RequestTrace>>,
    /// The settings at the request's start, and what outlasts them.
    pub(crate) live: Arc<Live>,
}

impl Exchange {
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Notes what the upstream's answer says of the pages that may read such answers.
    pub(crate) fn record_cors(&self, status: StatusCode, headers: &HeaderMap) {
        if let Some(origin) = &self.origin {
            self.live.shared.cors.record(origin, &self.method, status, headers);
        }
    }
}

/// The id of a request: the client's if it is short and plain, else a new one.
pub(crate) fn request_id(headers: &HeaderMap) -> Arc<str> {
    let is_plain = |id: &&str| {
        (1..=128).contains(&id.len())
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:/+=@".contains(&b))
    };
    let given = headers.get(X_REQUEST_ID).and_then(|id| id.to_str().ok()).filter(is_plain);
    given.map_or_else(new_id, Into::into)
}

/// 32 hexadecimal digits.
fn new_id() -> Arc<str> {
    let mut digits = [0; 32];
    write_hex(&fastrand::u128(..).to_ne_bytes(), &mut digits);
    str::from_utf8(&digits).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_plain_id_stays_and_any_other_is_replaced() {
        let id_for = |value: &'static [u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(X_REQUEST_ID, HeaderValue::from_bytes(value).expect("a value"));
            request_id(&headers)
        };
        assert_eq!(&*id_for(b"abc-123"), "abc-123");
        for odd in [&b""[..], b"a b", b"a\"b", b"\xff", &[b'a'; 129]] {
            let odd = odd.to_vec().leak();
            assert_eq!(id_for(odd).len(), 32, "{odd:?}");
        }
        assert_ne!(request_id(&HeaderMap::new()), request_id(&HeaderMap::new()));
    }
}

//! Which requests may be sent once more if a pooled connection ends without a response. Pure.

use http::{Method, Request};

use crate::proxy::body::RequestBody;

/// Whether a request may be sent once more, on a new connection, if its connection ends before the first byte
/// of a response. Nobody knows then what the upstream did with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// It may: twice changes no more than once.
    Safe,
    /// Only if nothing of it was written.
    Unsent,
}

impl Repeat {
    /// For a request that is passed through; `changes` if its route says that a success changes something.
    pub(crate) fn for_method(method: &Method, changes: bool) -> Self {
        // A method that is not known may do anything.
        let is_safe = matches!(method.as_str(), "GET" | "HEAD" | "OPTIONS" | "QUERY");
        if is_safe && !changes { Self::Safe } else { Self::Unsent }
    }

    /// For a request whose answer is cached. A `POST` asks a question there, unless it `changes` something.
    pub(crate) fn for_cached(method: &Method, changes: bool) -> Self {
        match *method {
            Method::POST if !changes => Self::Safe,
            _ => Self::for_method(method, changes),
        }
    }

    /// A copy of `request` to send once more, if that is allowed and its body is there whole.
    pub(super) fn copy(self, request: &Request<RequestBody>) -> Option<Request<RequestBody>> {
        if self == Self::Unsent {
            return None;
        }
        let mut copy = Request::new(request.body().copy()?);
        copy.method_mut().clone_from(request.method());
        copy.uri_mut().clone_from(request.uri());
        *copy.version_mut() = request.version();
        copy.headers_mut().clone_from(request.headers());
        Some(copy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changes_nothing_is_repeated() {
        for (method, passed, kept) in [
            ("GET", true, true),
            ("HEAD", true, true),
            ("OPTIONS", true, true),
            ("QUERY", true, true),
            ("POST", false, true),
            ("PUT", false, false),
            ("PATCH", false, false),
            ("DELETE", false, false),
            ("TRACE", false, false),
            ("REINDEX", false, false),
            ("get", false, false),
        ] {
            let asked = Method::from_bytes(method.as_bytes()).expect("a method");
            assert_eq!(Repeat::for_method(&asked, false) == Repeat::Safe, passed, "{method}, passed");
            assert_eq!(Repeat::for_cached(&asked, false) == Repeat::Safe, kept, "{method}, kept");
            assert_eq!(Repeat::for_method(&asked, true), Repeat::Unsent, "{method} that changes something");
            assert_eq!(Repeat::for_cached(&asked, true), Repeat::Unsent, "{method} that changes something");
        }
    }
}

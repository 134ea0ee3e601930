//! A caller: its part of the key, and when it may read answers that were given to other credentials.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, header};

use super::{aws, fallback::Fallback, scope::IdentityScope};
use crate::{cache::route::Scope, http::headers, json::canonical::write_part};

/// Who sent a request, on a route whose scope names claims or an access key.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// What is in the key in place of the credentials; or why these count whole.
    pub(crate) identity: Result<Identity, Fallback>,
    /// When the caller may read.
    pub(crate) trust: Trust,
    /// What the service accepts or refuses; `None` if the request has no credentials.
    pub(crate) credentials: Option<blake3::Hash>,
    /// The token, by its hash, if the service's refusal ends its trust.
    pub(crate) token: Option<blake3::Hash>,
    /// When the token ends, in Unix seconds: the service's acceptance does not count any longer.
    pub(crate) ends: Option<u64>,
}

/// When a caller may read an answer that was given to credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// At once: the token holds. A service that has refused it must accept it first.
    Verified,
    /// If the service has accepted the credentials lately.
    IfAccepted,
    /// Not at all.
    Never,
}

/// What stands for credentials in a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    hash: blake3::Hash,
    is_access_key: bool,
}

impl Identity {
    /// The hash of the claims, or of the access key.
    pub(crate) const fn hash(&self) -> &blake3::Hash {
        &self.hash
    }

    /// Whether it stands for this header. All other credentials count beside it.
    fn replaces(&self, name: &HeaderName) -> bool {
        if self.is_access_key { aws::replaces(name) } else { *name == header::AUTHORIZATION }
    }

    /// The headers that count beside it.
    pub(super) fn others(&self, scope: &IdentityScope, headers: &HeaderMap) -> HeaderMap {
        let counts = |name: &HeaderName| !self.replaces(name) || scope.names(name);
        let lines = headers.iter().filter(|(name, _)| counts(name));
        let mut others = HeaderMap::with_capacity(headers.len());
        for (name, value) in lines {
            others.append(name, value.clone());
        }
        others
    }
}

/// What of `headers` counts for the key of a request on a route with this scope, if `identity` stands for its credentials.
pub(crate) fn counting_headers<'h>(
    identity: Option<&Identity>,
    scope: &Scope,
    headers: &'h HeaderMap,
) -> Cow<'h, HeaderMap> {
    match (identity, scope) {
        (Some(identity), Scope::Identity(scope)) => Cow::Owned(identity.others(scope, headers)),
        _ => Cow::Borrowed(headers),
    }
}

impl Caller {
    /// A caller whose credentials count whole.
    pub(super) fn whole(fallback: Fallback, headers: &HeaderMap) -> Self {
        let credentials = digest(None, headers);
        Self { identity: Err(fallback), trust: Trust::IfAccepted, credentials, token: None, ends: None }
    }

    /// A caller whose token has ended, or has not begun.
    pub(super) fn outdated(headers: &HeaderMap) -> Self {
        Self { trust: Trust::Never, ..Self::whole(Fallback::Outdated, headers) }
    }

    /// A caller with this token.
    pub(super) fn with_token(
        token: &str,
        claims: blake3::Hash,
        trust: Trust,
        ends: Option<u64>,
        headers: &HeaderMap,
    ) -> Self {
        let identity = Identity { hash: claims, is_access_key: false };
        let token = blake3::hash(token.as_bytes());
        let credentials = digest(Some((&identity, &token)), headers);
        Self { identity: Ok(identity), trust, credentials, token: Some(token), ends }
    }

    /// A caller with this access key and its session token.
    pub(super) fn with_access_key(hash: blake3::Hash, headers: &HeaderMap) -> Self {
        let identity = Identity { hash, is_access_key: true };
        let credentials = digest(Some((&identity, &hash)), headers);
        Self { identity: Ok(identity), trust: Trust::IfAccepted, credentials, token: None, ends: None }
    }

    /// The same caller, whose request has other credentials in its query.
    pub(crate) fn with_query(self, in_query: Option<&blake3::Hash>) -> Self {
        Self { credentials: together(self.credentials, in_query), ..self }
    }
}

/// The digest of credentials in headers, and of those in a query.
pub(super) fn together(
    in_headers: Option<blake3::Hash>,
    in_query: Option<&blake3::Hash>,
) -> Option<blake3::Hash> {
    match (in_headers, in_query) {
        (None, in_query) => in_query.copied(),
        (in_headers, None) => in_headers,
        (Some(in_headers), Some(in_query)) => {
            Some(blake3::keyed_hash(in_headers.as_bytes(), in_query.as_bytes()))
        }
    }
}

/// The digest of all credentials in a request's headers, of which `known` stands for some.
pub(super) fn digest(known: Option<(&Identity, &blake3::Hash)>, headers: &HeaderMap) -> Option<blake3::Hash> {
    let is_replaced = |name: &HeaderName| known.is_some_and(|(identity, _)| identity.replaces(name));
    let mut lines: Vec<_> =
        headers.iter().filter(|(name, _)| headers::is_credential(name) && !is_replaced(name)).collect();
    lines.sort_by_key(|(name, _)| name.as_str());
    let mut found = Vec::new();
    if let Some((_, proof)) = known {
        // No header has this name.
        write_part(b"identity:", &mut found);
        write_part(proof.as_bytes(), &mut found);
    }
    for (name, value) in lines {
        write_part(name.as_str().as_bytes(), &mut found);
        write_part(value.as_bytes(), &mut found);
    }
    (!found.is_empty()).then(|| blake3::hash(&found))
}

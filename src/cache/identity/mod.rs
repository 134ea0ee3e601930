//! Who a caller is, where a scope names claims of a token or an access key (`scope = ["jwt:sub"]`).
//!
//! ```text
//! token.rs, aws.rs   what the request presents, read strictly
//! keys/              whether a signature holds, by the keys of [jwks]
//! Identities         both together, at this moment: a Caller, its part of the key, and when it may read
//! ```
//!
//! A claim is only what somebody says. It counts in the key, so that all requests of a caller share entries; who may read
//! such an entry is decided at each request: a caller whose token holds by the keys, or one whose token the service
//! accepted lately. What cannot be read strictly counts whole, as under `scope = "credential"`.

mod aws;
mod caller;
mod fallback;
pub(crate) mod keys;
mod scope;
mod token;

use std::{fmt, sync::Arc};

use arc_swap::ArcSwapOption;
use http::HeaderMap;
use moka::sync::Cache;

pub(crate) use self::{
    caller::{Caller, Identity, Trust, counting_headers},
    fallback::Fallback,
    keys::{KeySet, Rules},
    scope::{IdentityScope, ScopePart},
};
use self::{keys::Verdict, token::Claims};

/// How many tokens are known by what was read of them.
const MAX_TOKENS: u64 = 20_000;

/// Says who callers are.
pub(crate) struct Identities {
    /// The time, in Unix seconds.
    clock: fn() -> u64,
    /// `None` without `[jwks]`.
    verifier: Option<Verifier>,
    tokens: Cache<[u8; 32], Arc<Known>>,
}

/// What decides whether tokens hold.
struct Verifier {
    rules: Rules,
    /// The keys, if any are known.
    keys: ArcSwapOption<KeySet>,
    /// Called with each token that names an unknown key.
    on_unknown_key: Box<dyn Fn() + Send + Sync>,
}

/// What is known of a token.
struct Known {
    claims: Result<Claims, Fallback>,
    /// Whether it holds by the keys of this number.
    verdict: Option<(u64, Verdict)>,
}

impl fmt::Debug for Identities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identities").field("verifies", &self.verifier.is_some()).finish_non_exhaustive()
    }
}

impl Identities {
    /// Claims count once the service has accepted the token.
    pub(crate) fn unverified(clock: fn() -> u64) -> Self {
        Self { clock, verifier: None, tokens: Cache::new(MAX_TOKENS) }
    }

    /// Claims count if the token holds by the keys. No key is known yet. `on_unknown_key` is called for a token that
    /// names an unknown key.
    pub(crate) fn verified(
        clock: fn() -> u64,
        rules: Rules,
        on_unknown_key: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        let verifier =
            Verifier { rules, keys: ArcSwapOption::empty(), on_unknown_key: Box::new(on_unknown_key) };
        Self { clock, verifier: Some(verifier), tokens: Cache::new(MAX_TOKENS) }
    }

    /// From now on, these keys count.
    pub(crate) fn set_keys(&self, keys: Option<KeySet>) {
        if let Some(verifier) = &self.verifier {
            verifier.keys.store(keys.map(Arc::new));
        }
    }

    /// The keys that count now; `None` without any.
    pub(crate) fn keys(&self) -> Option<Arc<KeySet>> {
        let keys = self.verifier.as_ref()?.keys.load_full();
        keys.filter(|keys| keys.hold_at((self.clock)()))
    }

    /// Who sent a request with these headers on a route with this scope, as of now.
    pub(crate) fn caller(&self, scope: &IdentityScope, headers: &HeaderMap) -> Caller {
        if scope.has_access_key() && (aws::is_signed(headers) || !scope.has_claims()) {
            return match aws::identity(headers) {
                Ok(access_key) => Caller::with_access_key(access_key, headers),
                Err(fallback) => Caller::whole(fallback, headers),
            };
        }
        let token = match token::bearer(headers) {
            Ok(token) => token,
            Err(fallback) => return Caller::whole(fallback, headers),
        };
        let now = (self.clock)();
        let known = self.known(scope, token);
        match &known.claims {
            Err(fallback) => Caller::whole(*fallback, headers),
            Ok(claims) => self.judge(token, claims, known.verdict.map(|(_, verdict)| verdict), now, headers),
        }
    }

    fn judge(
        &self,
        token: &str,
        claims: &Claims,
        verdict: Option<Verdict>,
        now: u64,
        headers: &HeaderMap,
    ) -> Caller {
        let leeway = self.verifier.as_ref().map_or(0, |verifier| verifier.rules.leeway);
        if !claims.hold_at(now, leeway) {
            return Caller::outdated(headers);
        }
        let ends = claims.ends.map(|ends| ends.saturating_add(leeway));
        match (&self.verifier, verdict) {
            (None, _) => Caller::with_token(token, claims.identity, Trust::IfAccepted, ends, headers),
            // A token without an end would count for ever.
            (Some(_), Some(Verdict::Holds)) if ends.is_some() => {
                Caller::with_token(token, claims.identity, Trust::Verified, ends, headers)
            }
            (Some(_), _) => Caller { ends, ..Caller::whole(Fallback::Unverified, headers) },
        }
    }

    /// What is known of `token`: read now, if it is new, or if the keys are.
    fn known(&self, scope: &IdentityScope, token: &str) -> Arc<Known> {
        let keys = self.keys();
        let number = keys.as_ref().map(|keys| keys.number());
        let id = id(scope, token);
        let known = self.tokens.get(&id);
        let known = match known.filter(|known| known.verdict.map(|(number, _)| number) == number) {
            Some(known) => known,
            None => {
                let claims = token::read(token, scope);
                let rules = self.verifier.as_ref().map(|verifier| &verifier.rules);
                let verdict = keys.as_ref().zip(rules).map(|(keys, rules)| match &claims {
                    Ok(_) => (keys.number(), keys.verify(token, rules)),
                    Err(_) => (keys.number(), Verdict::Fails),
                });
                let known = Arc::new(Known { claims, verdict });
                self.tokens.insert(id, Arc::clone(&known));
                known
            }
        };
        if let (Some(verifier), Some((_, Verdict::UnknownKey))) = (&self.verifier, known.verdict) {
            (verifier.on_unknown_key)();
        }
        known
    }
}

/// A token on routes with this scope, by its hash: no token is kept.
fn id(scope: &IdentityScope, token: &str) -> [u8; 32] {
    *blake3::keyed_hash(scope.digest().as_bytes(), token.as_bytes()).as_bytes()
}

/// The digest of the credentials of a request with these headers, and with those in its query; `None` without any.
pub(crate) fn credentials(headers: &HeaderMap, in_query: Option<&blake3::Hash>) -> Option<blake3::Hash> {
    caller::together(caller::digest(None, headers), in_query)
}

#[cfg(test)]
mod tests;

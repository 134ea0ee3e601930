//! The credentials that the upstream accepted lately.
//!
//! Under a scope that is wider than the credentials, an answer that was given to credentials is only for clients whose own
//! credentials are here: a shared cache must be no way around the upstream's login. Credentials are here by their hash, so
//! none are in memory.

use std::{sync::Arc, time::Instant};

use moka::sync::Cache;
use parking_lot::Mutex;

/// Beyond this many, the credentials that were not used for longest must be accepted by the upstream again.
const MAX_CREDENTIALS: u64 = 100_000;

#[derive(Clone, Debug)]
pub(crate) struct AcceptedCredentials {
    known: Cache<[u8; 32], Arc<Mutex<Standing>>>,
    /// Tokens that the upstream has refused, although they hold by the keys. Others are never here, so nobody can fill this
    /// up.
    refused_tokens: Cache<[u8; 32], ()>,
}

/// What the upstream said of credentials.
#[derive(Debug, Default)]
struct Standing {
    routes: Vec<OnRoute>,
    /// When they were last refused for good.
    refused: Option<Instant>,
}

#[derive(Debug)]
struct OnRoute {
    route: Box<str>,
    accepted_until: Option<Instant>,
    refused: Option<Instant>,
}

impl Default for AcceptedCredentials {
    fn default() -> Self {
        Self { known: Cache::new(MAX_CREDENTIALS), refused_tokens: Cache::new(MAX_CREDENTIALS) }
    }
}

impl Standing {
    fn on(&mut self, route: &str) -> &mut OnRoute {
        let at = self.routes.iter().position(|own| *own.route == *route).unwrap_or_else(|| {
            self.routes.push(OnRoute { route: route.into(), accepted_until: None, refused: None });
            self.routes.len() - 1
        });
        &mut self.routes[at]
    }
}

impl AcceptedCredentials {
    /// Notes that a request that began at `began` was accepted, which counts until `until`. A refusal since then counts
    /// more.
    pub(crate) fn record(&self, route: &str, credentials: &blake3::Hash, began: Instant, until: Instant) {
        let standing = self.standing(credentials);
        let mut standing = standing.lock();
        // Routes of settings that are gone.
        standing.routes.retain(|own| own.refused.is_some() || own.accepted_until > Some(began));
        let was_refused = standing.refused.max(standing.on(route).refused);
        if was_refused.is_none_or(|refused| refused < began) {
            standing.on(route).accepted_until = Some(until);
        }
    }

    /// Forgets credentials that were refused on one route.
    pub(crate) fn forget(&self, route: &str, credentials: &blake3::Hash, now: Instant) {
        *self.standing(credentials).lock().on(route) =
            OnRoute { route: route.into(), accepted_until: None, refused: Some(now) };
    }

    /// Forgets credentials that are of no use on any route.
    pub(crate) fn forget_everywhere(&self, credentials: &blake3::Hash, now: Instant) {
        *self.standing(credentials).lock() = Standing { routes: Vec::new(), refused: Some(now) };
    }

    pub(crate) fn accepts(&self, route: &str, credentials: &blake3::Hash, now: Instant) -> bool {
        self.known.get(credentials.as_bytes()).is_some_and(|standing| {
            let standing = standing.lock();
            standing.routes.iter().any(|own| *own.route == *route && own.accepted_until > Some(now))
        })
    }

    /// Notes that the upstream has refused a token, which must be accepted on each route from now on.
    pub(crate) fn refuse_token(&self, token: &blake3::Hash) {
        self.refused_tokens.insert(*token.as_bytes(), ());
    }

    pub(crate) fn has_refused(&self, token: &blake3::Hash) -> bool {
        self.refused_tokens.contains_key(token.as_bytes())
    }

    fn standing(&self, credentials: &blake3::Hash) -> Arc<Mutex<Standing>> {
        self.known.get_with(*credentials.as_bytes(), Arc::default)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn credentials_are_accepted_until_refused_or_old() {
        let known = AcceptedCredentials::default();
        let now = Instant::now();
        let ttl = Duration::from_secs(300);
        let [one, two] = [&b"one"[..], b"two"].map(blake3::hash);
        assert!(!known.accepts("r", &one, now));
        known.record("r", &one, now, now + ttl);
        assert!(known.accepts("r", &one, now));
        assert!(!known.accepts("r", &two, now) && !known.accepts("s", &one, now));
        assert!(!known.accepts("r", &one, now + ttl));
        known.record("s", &one, now, now + ttl);
        known.forget("r", &one, now);
        assert!(!known.accepts("r", &one, now) && known.accepts("s", &one, now));
    }

    #[test]
    fn credentials_of_no_use_are_accepted_nowhere() {
        let known = AcceptedCredentials::default();
        let now = Instant::now();
        let [one, two] = [&b"one"[..], b"two"].map(blake3::hash);
        for (route, credentials) in [("r", &one), ("s", &one), ("r", &two)] {
            known.record(route, credentials, now, now + SECOND);
        }
        known.forget_everywhere(&one, now);
        let accepted = [("r", &one), ("s", &one), ("r", &two)]
            .map(|(route, credentials)| known.accepts(route, credentials, now));
        assert_eq!(accepted, [false, false, true]);
    }

    /// An answer that was long on its way says nothing against a later refusal.
    #[test]
    fn a_request_from_before_a_refusal_accepts_nothing() {
        type Refuse = fn(&AcceptedCredentials, &blake3::Hash, Instant);
        let refusals: [Refuse; 2] = [
            |known, credentials, now| known.forget("r", credentials, now),
            |known, credentials, now| known.forget_everywhere(credentials, now),
        ];
        for refuse in refusals {
            let known = AcceptedCredentials::default();
            let one = blake3::hash(b"one");
            let began = Instant::now();
            refuse(&known, &one, began + SECOND);
            known.record("r", &one, began, began + 100 * SECOND);
            assert!(!known.accepts("r", &one, began + 2 * SECOND));
            known.record("r", &one, began + 2 * SECOND, began + 100 * SECOND);
            assert!(known.accepts("r", &one, began + 3 * SECOND));
        }
    }
}

//! The credentials that the upstream accepted lately.
//!
//! Under a shared scope, an answer that was given to credentials is only for clients whose own credentials
//! are here: a shared cache must be no way around the upstream's login. An entry is a hash of the route and
//! the credentials, so no credentials are in memory.

use std::time::Instant;

use moka::sync::Cache;

use crate::json::canonical::write_part;

/// Beyond this many, the credentials that were not used for longest must be accepted by the upstream again.
const MAX_CREDENTIALS: u64 = 100_000;

#[derive(Clone, Debug)]
pub(crate) struct AcceptedCredentials {
    accepted: Cache<[u8; 32], Instant>,
}

impl Default for AcceptedCredentials {
    fn default() -> Self {
        Self { accepted: Cache::new(MAX_CREDENTIALS) }
    }
}

impl AcceptedCredentials {
    pub(crate) fn record(&self, route: &str, credentials: &blake3::Hash, until: Instant) {
        self.accepted.insert(id(route, credentials), until);
    }

    pub(crate) fn forget(&self, route: &str, credentials: &blake3::Hash) {
        self.accepted.invalidate(&id(route, credentials));
    }

    pub(crate) fn accepts(&self, route: &str, credentials: &blake3::Hash, now: Instant) -> bool {
        self.accepted.get(&id(route, credentials)).is_some_and(|until| now < until)
    }
}

fn id(route: &str, credentials: &blake3::Hash) -> [u8; 32] {
    let mut parts = Vec::with_capacity(64 + route.len());
    write_part(route.as_bytes(), &mut parts);
    write_part(credentials.as_bytes(), &mut parts);
    *blake3::hash(&parts).as_bytes()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn credentials_are_accepted_until_refused_or_old() {
        let accepted_credentials = AcceptedCredentials::default();
        let now = Instant::now();
        let ttl = Duration::from_secs(300);
        let one = blake3::hash(b"one");
        let two = blake3::hash(b"two");
        assert!(!accepted_credentials.accepts("r", &one, now));
        accepted_credentials.record("r", &one, now + ttl);
        assert!(accepted_credentials.accepts("r", &one, now));
        assert!(
            !accepted_credentials.accepts("r", &two, now) && !accepted_credentials.accepts("s", &one, now)
        );
        assert!(!accepted_credentials.accepts("r", &one, now + ttl));
        accepted_credentials.forget("r", &one);
        assert!(!accepted_credentials.accepts("r", &one, now));
    }
}

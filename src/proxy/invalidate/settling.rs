//! Services that answer a change at once, and work on it later: while they do, an answer may still be the old one.
//!
//! So what a change invalidates *settles*: until the route's time is over, or until the service says that it is done,
//! no answer that depends on it is stored here. Every two seconds, and once more at the end, it is invalidated again,
//! which also reaches what other replicas have stored in the meantime.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use http::{HeaderMap, Request, StatusCode, header};
use parking_lot::Mutex;
use tokio::time::{sleep, timeout};

use crate::{
    cache::{
        invalidation::{Dependencies, Invalidation, Target},
        route::{Settle, SettleUntil},
    },
    http::headers::is_credential,
    json::Json,
    proxy::{
        body::{RequestBody, read_up_to},
        invalidate::invalidate,
        state::Live,
        upstream::Repeat,
    },
    telemetry::stats::InvalidationCause,
};

/// How often a service is asked whether it is done, and how often what settles is invalidated again.
const PAUSE: Duration = Duration::from_secs(2);

/// How long a service may say that it is not done. After that, it is not asked any more.
const MAX_WAIT: Duration = Duration::from_secs(600);

/// How long an answer to that question may take, and its largest length in bytes.
const ASK_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_ANSWER: usize = 1024 * 1024;

/// How many changes settle at a time. Beyond that, everything does.
const MAX_CHANGES: usize = 1000;

/// What settles now.
#[derive(Debug, Default)]
pub(crate) struct Settling {
    changes: Mutex<Vec<Change>>,
    /// How many they are: each answer that is stored asks, and cores share no lock for that while nothing settles.
    count: AtomicUsize,
}

/// Changes of the same targets.
#[derive(Debug)]
struct Change {
    targets: Vec<Target>,
    invalidation: Invalidation,
    settle: Settle,
    /// When the last of them was made.
    last: Instant,
    /// The headers with the credentials of the client that made it.
    credentials: HeaderMap,
}

impl Settling {
    /// Whether something that an answer depends on settles.
    pub(crate) fn concerns(&self, dependencies: &Dependencies<'_>) -> bool {
        self.count.load(Ordering::Acquire) > 0
            && self.changes.lock().iter().any(|change| change.invalidation.concerns(dependencies))
    }

    /// Notes a change of `targets` at `now`. False if the same targets settle already, in the same way.
    fn add(&self, targets: &[Target], settle: &Settle, credentials: HeaderMap, now: Instant) -> bool {
        let mut changes = self.changes.lock();
        let targets = if changes.len() < MAX_CHANGES { targets.to_vec() } else { vec![Target::All] };
        if let Some(change) = changes.iter_mut().find(|own| own.targets == targets && own.settle == *settle) {
            change.last = now;
            change.credentials = credentials;
            return false;
        }
        let invalidation = Invalidation::new(&targets);
        changes.push(Change { targets, invalidation, settle: settle.clone(), last: now, credentials });
        self.count.store(changes.len(), Ordering::Release);
        true
    }

    fn with<T>(&self, targets: &[Target], settle: &Settle, read: impl FnOnce(&Change) -> T) -> Option<T> {
        let changes = self.changes.lock();
        changes.iter().find(|own| own.targets == targets && own.settle == *settle).map(read)
    }

    /// Ends what settles if no change came after `since`.
    fn end(&self, targets: &[Target], settle: &Settle, since: Instant) -> bool {
        let mut changes = self.changes.lock();
        let before = changes.len();
        changes.retain(|own| own.targets != targets || own.settle != *settle || own.last > since);
        self.count.store(changes.len(), Ordering::Release);
        changes.len() < before
    }
}

/// Lets `targets` settle after a change that a client with these request headers has made.
pub(super) fn begin(live: &Arc<Live>, targets: &[Target], settle: &Settle, headers: &HeaderMap) {
    let credentials = headers
        .iter()
        .filter(|(name, _)| is_credential(name) || *name == header::HOST)
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    if live.shared.settling.add(targets, settle, credentials, Instant::now()) {
        let (live, targets, settle) = (Arc::clone(live), targets.to_vec(), settle.clone());
        // Not among the tasks that a stop waits for.
        tokio::spawn(async move { run(&live, &targets, &settle).await });
    }
}

async fn run(live: &Live, targets: &[Target], settle: &Settle) {
    let settling = &live.shared.settling;
    let read = |change: &Change| (change.last, change.credentials.clone());
    while let Some((last, credentials)) = settling.with(targets, settle, read) {
        let rest = match settle.until {
            None => settle.after.saturating_sub(last.elapsed()),
            Some(_) => PAUSE,
        };
        sleep(rest.min(PAUSE)).await;
        let now = Instant::now();
        let is_over = now >= last + settle.after
            && match &settle.until {
                Some(until) => {
                    now >= last + settle.after + MAX_WAIT || is_done(live, until, credentials).await
                }
                None => true,
            };
        // It ends before the last invalidation: what is stored between the two is invalidated, too.
        if is_over {
            settling.end(targets, settle, now);
        }
        invalidate(&live.shared, targets, InvalidationCause::Settled).await;
    }
}

/// Asks the service whether it is done. An answer that cannot be read says no.
async fn is_done(live: &Live, until: &SettleUntil, credentials: HeaderMap) -> bool {
    let mut request = Request::new(RequestBody::empty());
    let Ok(target) = until.target.parse() else { return false };
    *request.uri_mut() = target;
    *request.headers_mut() = credentials;
    let answer = async {
        let response = live.upstream.send(&live.config.upstream, request, Repeat::Safe).await.ok()?;
        let is_good = response.status() == StatusCode::OK;
        let body = read_up_to(response.into_body(), MAX_ANSWER).await.ok()?;
        is_good.then_some(body)
    };
    let Ok(Some(body)) = timeout(ASK_TIMEOUT, answer).await else { return false };
    Json::parse(&body).is_ok_and(|json| until.conditions.iter().all(|condition| condition.holds(&json)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::{key::Key, route::kind::Kind};

    fn concerns(settling: &Settling, kind: Kind, tags: &[&str]) -> bool {
        let key = Key::new("ns".into(), kind, blake3::hash(b"a"));
        let tags: Vec<_> = tags.iter().map(|tag| Target::Tag((*tag).to_owned())).collect();
        let target_ids = crate::cache::invalidation::TargetId::from_targets(&tags);
        settling.concerns(&Dependencies { key: &key, target_ids: &target_ids })
    }

    #[test]
    fn what_settles_ends_once_no_change_came_since() {
        let settling = Settling::default();
        let (queries, settle) =
            ([Target::Kind(Kind::Query)], Settle { after: Duration::from_secs(1), until: None });
        let began = Instant::now();
        let later = |seconds| began + Duration::from_secs(seconds);
        assert!(settling.add(&queries, &settle, HeaderMap::new(), began));
        assert!(!settling.add(&queries, &settle, HeaderMap::new(), later(2)), "it is one");
        assert!(concerns(&settling, Kind::Query, &[]) && !concerns(&settling, Kind::Document, &[]));
        assert!(!settling.end(&queries, &settle, later(1)), "a change came since");
        assert!(concerns(&settling, Kind::Query, &[]));
        assert!(settling.end(&queries, &settle, later(2)));
        assert!(!concerns(&settling, Kind::Query, &[]));
    }

    #[test]
    fn too_many_changes_are_all() {
        let settling = Settling::default();
        let settle = Settle { after: Duration::from_secs(1), until: None };
        for number in 0..2 * MAX_CHANGES {
            settling.add(&[Target::Tag(number.to_string())], &settle, HeaderMap::new(), Instant::now());
        }
        assert_eq!(settling.changes.lock().len(), MAX_CHANGES + 1);
        assert!(concerns(&settling, Kind::Other, &["none of these"]));
    }
}

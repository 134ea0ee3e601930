//! What this replica has to tell the others, in its order, until Redis has it.

use std::{collections::VecDeque, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::feeds::FeedKind;
use crate::{
    cache::semantic::event::SemanticEvent,
    store::FeedError,
    telemetry::{
        log::events::{semantic_sharing_back, semantic_sharing_lost},
        stats::Stats,
    },
};

/// How many events of each kind wait at most, in the order of [`FeedKind`]: enough for an outage of minutes. Questions whose
/// answers Redis has not are worth nothing, and take kilobytes.
const MAX_WAITING: [usize; FeedKind::COUNT] = [2_000, 10_000, 10_000, 20_000, 100];

/// What is to be told.
#[derive(Debug)]
pub(super) struct Outbox {
    state: Mutex<State>,
    /// Something has come or gone.
    changed: Notify,
    /// `None` before there is an embedder.
    sender: watch::Sender<Option<Sender>>,
    stats: Arc<Stats>,
    /// Whether Redis does not take events, and whether it gives none.
    fails: Mutex<[bool; 2]>,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Waiting>,
    counts: [usize; FeedKind::COUNT],
    last_number: u64,
    /// Whether some were taken out, and it is not known yet whether Redis has them.
    is_sending: bool,
}

/// This process for as long as its embedder is the same one.
#[derive(Clone, Debug)]
pub(super) struct Sender {
    /// What tells the embedder from others.
    pub(super) identity: Arc<str>,
    /// A number that nobody else has. With another embedder it is another one: if the former one comes back, what was said
    /// before is to be heard again.
    pub(super) origin: u64,
}

/// An event that waits.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub(super) sender: Sender,
    pub(super) number: u64,
    pub(super) kind: FeedKind,
    pub(super) event: SemanticEvent,
}

/// A direction.
#[derive(Clone, Copy, Debug)]
pub(super) enum Direction {
    ToRedis,
    FromRedis,
}

impl Outbox {
    /// What does not fit is counted in `stats`.
    pub(super) fn new(stats: Arc<Stats>) -> Self {
        Self {
            state: Mutex::default(),
            changed: Notify::new(),
            sender: watch::Sender::new(None),
            stats,
            fails: Mutex::default(),
        }
    }

    /// Puts an event at the end, if there is room.
    pub(super) fn put(&self, event: SemanticEvent) {
        let kind = FeedKind::of(&event);
        if let SemanticEvent::Embedder { identity } = &event {
            self.begin(identity);
        }
        // Without an embedder there is nothing to be told.
        let Some(sender) = self.sender.borrow().clone() else { return };
        let mut state = self.state.lock();
        if state.counts[kind as usize] >= MAX_WAITING[kind as usize] {
            self.stats.here().semantic.unshared();
            return;
        }
        state.counts[kind as usize] += 1;
        state.last_number += 1;
        let number = state.last_number;
        state.waiting.push_back(Waiting { sender, number, kind, event });
        drop(state);
        self.changed.notify_waiters();
    }

    /// Takes up to `count` events from the front: they are [`sent`](Self::sent) or [put back](Self::put_back).
    pub(super) fn take(&self, count: usize) -> Vec<Waiting> {
        let mut state = self.state.lock();
        let count = count.min(state.waiting.len());
        let taken: Vec<_> = state.waiting.drain(..count).collect();
        taken.iter().for_each(|waiting| state.counts[waiting.kind as usize] -= 1);
        state.is_sending = !taken.is_empty();
        taken
    }

    /// What was taken is in Redis.
    pub(super) fn sent(&self) {
        self.state.lock().is_sending = false;
        self.changed.notify_waiters();
    }

    /// Puts events back to the front, in their order. They had room before.
    pub(super) fn put_back(&self, events: impl DoubleEndedIterator<Item = Waiting>) {
        let mut state = self.state.lock();
        for waiting in events.rev() {
            state.counts[waiting.kind as usize] += 1;
            state.waiting.push_front(waiting);
        }
        state.is_sending = false;
    }

    /// Waits until something waits.
    pub(super) async fn filled(&self) {
        self.until(|state| !state.waiting.is_empty()).await;
    }

    /// Waits until Redis has everything.
    pub(super) async fn emptied(&self) {
        self.until(|state| state.waiting.is_empty() && !state.is_sending).await;
    }

    async fn until(&self, is_so: impl Fn(&State) -> bool) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // From here on nothing is missed.
            changed.as_mut().enable();
            if is_so(&self.state.lock()) {
                return;
            }
            changed.await;
        }
    }

    /// What comes from now on is about this embedder; whether it is another one than before.
    pub(super) fn begin(&self, identity: &str) -> bool {
        self.sender.send_if_modified(|sender| {
            let is_other = sender.as_ref().is_none_or(|sender| &*sender.identity != identity);
            if is_other {
                *sender = Some(Sender { identity: identity.into(), origin: fastrand::u64(..) });
            }
            is_other
        })
    }

    /// This process with its embedder, from now on.
    pub(super) fn sender(&self) -> watch::Receiver<Option<Sender>> {
        self.sender.subscribe()
    }

    /// Notes how the last attempt ended. The first failure of several in a row is logged, and their end.
    pub(super) fn attempted(&self, direction: Direction, error: Option<&FeedError>) {
        let mut fails = self.fails.lock();
        let failed = fails.contains(&true);
        fails[direction as usize] = error.is_some();
        match (failed, fails.contains(&true)) {
            (false, true) => semantic_sharing_lost(&error.map(ToString::to_string).unwrap_or_default()),
            (true, false) => semantic_sharing_back(),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn outbox() -> Outbox {
        let outbox = Outbox::new(Arc::default());
        assert!(outbox.begin("e"));
        outbox
    }

    fn stepped_back(at: u64) -> SemanticEvent {
        SemanticEvent::SteppedBack { route: "r".into(), at }
    }

    fn numbers(waiting: &[Waiting]) -> Vec<u64> {
        waiting.iter().map(|waiting| waiting.number).collect()
    }

    #[test]
    fn events_leave_in_their_order_whatever_fails() {
        let outbox = outbox();
        (0..5).for_each(|at| outbox.put(stepped_back(at)));
        let first = outbox.take(3);
        assert_eq!(numbers(&first), [1, 2, 3]);
        outbox.put(stepped_back(5));
        outbox.put_back(first.into_iter());
        assert_eq!(numbers(&outbox.take(10)), [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn it_is_empty_once_redis_has_everything() {
        let outbox = outbox();
        assert!(outbox.emptied().now_or_never().is_some());
        assert!(outbox.filled().now_or_never().is_none());
        outbox.put(stepped_back(1));
        assert!(outbox.filled().now_or_never().is_some());
        let taken = outbox.take(10);
        assert!(outbox.emptied().now_or_never().is_none(), "nobody knows yet");
        outbox.put_back(taken.into_iter());
        assert!(outbox.emptied().now_or_never().is_none());
        outbox.take(10);
        outbox.sent();
        assert!(outbox.emptied().now_or_never().is_some());
    }

    #[test]
    fn each_kind_has_its_bound_and_what_is_beyond_is_counted() {
        let outbox = outbox();
        let key = |digit: &str| format!("query:{}", digit.repeat(64)).into();
        let bounds = [FeedKind::Vectors, FeedKind::Callers, FeedKind::Pairs, FeedKind::Labels]
            .map(|kind| kind as usize);
        assert_eq!(bounds, [0, 1, 2, 3]);
        let labels = MAX_WAITING[FeedKind::Labels as usize];
        (0..labels as u64 + 7).for_each(|at| outbox.put(stepped_back(at)));
        assert_eq!(outbox.stats.semantic_unshared(), 7);
        // Reports still have room.
        outbox.put(SemanticEvent::Separated { asked: key("a"), original: key("b") });
        assert_eq!(outbox.stats.semantic_unshared(), 7);
        assert_eq!(outbox.take(usize::MAX).len(), labels + 1);
    }

    #[test]
    fn before_there_is_an_embedder_nothing_is_told_and_another_one_is_another_sender() {
        let outbox = Outbox::new(Arc::default());
        let mut sender = outbox.sender();
        outbox.put(stepped_back(1));
        assert!(outbox.take(1).is_empty() && sender.borrow_and_update().is_none());
        let mut origins = Vec::new();
        for (identity, is_other) in [("a", true), ("a", false), ("b", true), ("a", true)] {
            outbox.put(SemanticEvent::Embedder { identity: identity.into() });
            assert_eq!(outbox.take(1)[0].kind, FeedKind::Embedders, "the others hear of it");
            assert_eq!(sender.has_changed().ok(), Some(is_other), "{identity}");
            let now = sender.borrow_and_update().clone().expect("an embedder");
            assert_eq!(&*now.identity, identity);
            origins.push(now.origin);
            outbox.put(stepped_back(2));
            assert_eq!(outbox.take(1)[0].sender.origin, now.origin);
        }
        assert_eq!(origins[0], origins[1]);
        assert_ne!(origins[1], origins[3], "what was said before is heard again");
    }
}

//! The events of single shards, put together: the store is lost with the first one, and back with the last one.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use ::redis::RedisError;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::slots::Address;
use crate::store::{StoreEvent, redis::client::error::describe};

#[derive(Default)]
struct State {
    lost: HashSet<Address>,
    refusing: HashSet<Address>,
    /// Shards without slots, whose connectors may still report.
    forgotten: HashSet<Address>,
    /// What each shard lacks.
    lacks: HashMap<Address, Vec<String>>,
    /// Why no server says who has which slots.
    unreached: Option<String>,
    /// Whether a loss was reported for that.
    is_reported: bool,
}

impl State {
    /// What some shard lacks, each once.
    fn distinct_lacks(&self) -> BTreeSet<String> {
        self.lacks.values().flatten().cloned().collect()
    }
}

/// What happens to the shards.
pub(super) struct ShardEvents {
    on_change: Box<dyn Fn(StoreEvent) + Send + Sync>,
    state: Mutex<State>,
    lost: Notify,
}

impl ShardEvents {
    pub(super) fn new(on_change: impl Fn(StoreEvent) + Send + Sync + 'static) -> Self {
        Self { on_change: Box::new(on_change), state: Mutex::default(), lost: Notify::new() }
    }

    /// Takes the events of the shard at `address`.
    pub(super) fn of_shard(self: &Arc<Self>, address: Address) -> impl Fn(StoreEvent) + Send + Sync + use<> {
        let events = Arc::clone(self);
        events.state.lock().forgotten.remove(&address);
        move |event| events.report(&address, event)
    }

    /// Waits until a shard is lost.
    pub(super) async fn lost(&self) {
        self.lost.notified().await;
    }

    /// Forgets a shard that has no slots any more.
    pub(super) fn forget(&self, address: &Address) {
        self.report(address, StoreEvent::Back);
        self.report(address, StoreEvent::WritesBack);
        self.report(address, StoreEvent::Lacks { texts: Vec::new() });
        self.state.lock().forgotten.insert(address.clone());
    }

    pub(super) fn unreached(&self) -> Option<String> {
        self.state.lock().unreached.clone()
    }

    /// No server says who has which slots.
    pub(super) fn report_unreached(&self, error: &RedisError) {
        let reason = describe(error);
        let is_new = {
            let mut state = self.state.lock();
            state.unreached = Some(reason.clone());
            // Where a shard is lost, that is reported.
            state.lost.is_empty() && !std::mem::replace(&mut state.is_reported, true)
        };
        if is_new {
            (self.on_change)(StoreEvent::Lost { reason });
        }
    }

    /// A server said it.
    pub(super) fn report_reached(&self) {
        let is_back = {
            let mut state = self.state.lock();
            state.unreached = None;
            std::mem::take(&mut state.is_reported) && state.lost.is_empty()
        };
        if is_back {
            (self.on_change)(StoreEvent::Back);
        }
    }

    fn report(&self, address: &Address, event: StoreEvent) {
        let (host, port) = address;
        let named = |reason: String| format!("{host}:{port}: {reason}");
        let event = {
            let mut state = self.state.lock();
            if state.forgotten.contains(address) {
                return;
            }
            match event {
                StoreEvent::Lost { reason } => {
                    self.lost.notify_one();
                    let is_first = state.lost.is_empty() && !state.is_reported;
                    state.lost.insert(address.clone());
                    is_first.then(|| StoreEvent::Lost { reason: named(reason) })
                }
                StoreEvent::Back => {
                    let is_last = state.lost.remove(address) && state.lost.is_empty() && !state.is_reported;
                    is_last.then_some(StoreEvent::Back)
                }
                StoreEvent::WritesRefused { reason } => {
                    let is_first = state.refusing.is_empty();
                    state.refusing.insert(address.clone());
                    is_first.then(|| StoreEvent::WritesRefused { reason: named(reason) })
                }
                StoreEvent::WritesBack => {
                    let is_last = state.refusing.remove(address) && state.refusing.is_empty();
                    is_last.then_some(StoreEvent::WritesBack)
                }
                StoreEvent::Lacks { texts } => {
                    let before = state.distinct_lacks();
                    state.lacks.insert(address.clone(), texts);
                    let now = state.distinct_lacks();
                    (now != before).then(|| StoreEvent::Lacks { texts: now.into_iter().collect() })
                }
            }
        };
        if let Some(event) = event {
            (self.on_change)(event);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_several_shards_lack_is_reported_once() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        let events = ShardEvents::new(move |event| log.lock().push(event));
        let [one, other] = [1, 2].map(|port| ("h".to_owned(), port));
        let lacks =
            |texts: &[&str]| StoreEvent::Lacks { texts: texts.iter().map(|&text| text.to_owned()).collect() };
        events.report(&one, lacks(&["a"]));
        events.report(&other, lacks(&["a"]));
        events.report(&other, lacks(&["a", "b"]));
        events.forget(&one);
        events.forget(&other);
        assert_eq!(*seen.lock(), [lacks(&["a"]), lacks(&["a", "b"]), lacks(&[])]);
    }

    #[test]
    fn the_first_loss_and_the_last_return_are_reported() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        let events = ShardEvents::new(move |event| log.lock().push(event));
        let [one, other] = [1, 2].map(|port| ("h".to_owned(), port));
        let lost = || StoreEvent::Lost { reason: "gone".to_owned() };
        events.report(&one, lost());
        events.report(&other, lost());
        events.report(&one, StoreEvent::Back);
        assert_eq!(*seen.lock(), [StoreEvent::Lost { reason: "h:1: gone".to_owned() }]);
        events.forget(&other);
        assert_eq!(seen.lock().last(), Some(&StoreEvent::Back));
        assert_eq!(seen.lock().len(), 2, "a shard that refused nothing is not back");
    }
}

//! A cluster: each of its masters has some of the keys, and a breaker and connections of its own.
//!
//! So a shard that is gone costs its own keys misses, within the time of a call, and those of the others are hits.
//! redis-rs has a client for clusters too. It repeats calls by rules of its own, and its one future for all shards cannot
//! tell which of them does not answer.

mod events;
mod slots;

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use ::redis::{ErrorKind, RedisError};
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::{
    runtime::Handle,
    sync::{Notify, watch},
    task::AbortHandle,
    time::{self, Instant},
};

use self::{
    events::ShardEvents,
    slots::{Address, SLOTS, key_in, ranges, redirected_to, slot},
};
use super::{
    StoreError, StoreEvent,
    breaker::Breaker,
    connections::send,
    connector::Connector,
    endpoint::{CONNECT_TIMEOUT, Endpoint},
    error::within,
};

/// How often it is asked who has which slots, if nothing hints at a change.
const REFRESH: Duration = Duration::from_secs(60);

/// The same while a shard is out of reach, or a slot has no server.
const REFRESH_BROKEN: Duration = Duration::from_millis(300);

/// The least time between two of these questions, and before the first one after a hint.
const PAUSE: Duration = Duration::from_millis(300);
const SHORT: Duration = Duration::from_millis(50);

/// No server is known for the slot.
const NOBODY: u16 = u16::MAX;

/// A master.
pub(super) struct Shard {
    address: Address,
    pub(super) breaker: Arc<Breaker>,
    connector: AbortHandle,
}

impl Drop for Shard {
    fn drop(&mut self) {
        self.connector.abort();
    }
}

/// Who has which slots.
struct Map {
    /// For each slot, a place in `shards`.
    owners: Box<[u16; SLOTS]>,
    shards: Vec<Arc<Shard>>,
}

/// A cluster.
pub(super) struct Cluster {
    /// The servers of the URL.
    seeds: Vec<Endpoint>,
    map: ArcSwap<Map>,
    /// Where single slots are on their way to.
    targets: Mutex<HashMap<u16, Address>>,
    events: Arc<ShardEvents>,
    settings: Settings,
    /// Held while the map changes.
    changing: Mutex<()>,
    /// Asks for a look at who has which slots.
    hint: Notify,
    /// Becomes true once that is known.
    is_known: watch::Sender<bool>,
    /// Changes when the slots may have moved.
    generation: watch::Sender<u64>,
    itself: Weak<Self>,
}

/// What all shards have in common.
struct Settings {
    timeout: Duration,
    namespace: String,
    /// Where the tasks of shards run: those of a worker would end with it.
    runtime: Handle,
}

impl Cluster {
    pub(super) fn new(
        seeds: Vec<Endpoint>,
        timeout: Duration,
        namespace: &str,
        on_change: impl Fn(StoreEvent) + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new_cyclic(|itself| Self {
            seeds,
            map: ArcSwap::from_pointee(Map { owners: Box::new([NOBODY; SLOTS]), shards: Vec::new() }),
            targets: Mutex::default(),
            events: Arc::new(ShardEvents::new(on_change)),
            settings: Settings { timeout, namespace: namespace.to_owned(), runtime: Handle::current() },
            changing: Mutex::new(()),
            hint: Notify::new(),
            is_known: watch::Sender::new(false),
            generation: watch::Sender::new(0),
            itself: itself.clone(),
        })
    }

    /// The master that has `key`.
    ///
    /// # Errors
    /// If none is known to have it.
    pub(super) fn shard_of(&self, key: &str) -> Result<Arc<Shard>, StoreError> {
        let map = self.map.load();
        let owner = map.owners[usize::from(slot(key))];
        map.shards.get(usize::from(owner)).cloned().ok_or(StoreError::Unavailable)
    }

    /// All masters.
    pub(super) fn shards(&self) -> Vec<Arc<Shard>> {
        self.map.load().shards.clone()
    }

    /// Where to send a command about `key` that another server has refused; `asking`, if the slot is on its way.
    pub(super) fn redirection(&self, key: &str, asking: bool) -> Option<Arc<Shard>> {
        if !asking {
            return self.shard_of(key).ok();
        }
        let address = self.targets.lock().get(&slot(key)).cloned()?;
        self.map.load().shards.iter().find(|shard| shard.address == address).cloned()
    }

    /// Asks for a look at who has which slots.
    pub(super) fn ask_refresh(&self) {
        self.hint.notify_one();
    }

    /// Changes when the slots may have moved.
    pub(super) fn generations(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    /// Waits until all masters can be used.
    pub(super) async fn ready(&self) {
        let _ = self.is_known.subscribe().wait_for(|known| *known).await;
        for shard in self.shards() {
            shard.breaker.ready().await;
        }
    }

    /// Whether all masters can be used, and have all slots.
    pub(super) fn connected(&self) -> bool {
        let map = self.map.load();
        !map.shards.is_empty()
            && map.shards.iter().all(|shard| shard.breaker.connected())
            && map.owners.iter().all(|owner| *owner != NOBODY)
    }

    /// Why some master cannot be used.
    pub(super) fn last_error(&self) -> Option<String> {
        let reason = |shard: &Arc<Shard>| {
            let (host, port) = &shard.address;
            shard.breaker.last_error().map(|reason| format!("{host}:{port}: {reason}"))
        };
        self.shards().iter().find_map(reason).or_else(|| self.events.unreached())
    }

    /// Notes that `asked` said of a slot that another server has it, or gets it.
    pub(super) fn note_redirection(&self, asked: &Endpoint, error: &RedisError) {
        let Some((address, slot)) = error.redirect_node() else { return };
        if usize::from(slot) >= SLOTS {
            return;
        }
        let Some(address) = redirected_to(address, &asked.host()) else { return };
        if error.code() == Some("ASK") {
            self.targets.lock().insert(slot, address);
            return;
        }
        let map = self.map.load();
        let owner = map.shards.get(usize::from(map.owners[usize::from(slot)]));
        if owner.is_some_and(|owner| owner.address == address) {
            return;
        }
        self.change(|owners, shards| {
            if let Some(shard) = self.known_or_new(&address, slot, shards.iter()) {
                owners[usize::from(slot)] = place(shards, &shard);
            }
        });
        self.ask_refresh();
    }

    /// Looks at who has which slots, for as long as the task runs.
    pub(super) async fn run(self: Arc<Self>) {
        loop {
            let began = Instant::now();
            self.refresh().await;
            let pause = if self.connected() { REFRESH } else { REFRESH_BROKEN };
            tokio::select! {
                () = time::sleep(pause) => {}
                () = self.hint.notified() => {}
                () = self.events.lost() => {}
            }
            // While slots move, each one that has moved hints at it.
            time::sleep_until((began + PAUSE).max(Instant::now() + SHORT)).await;
        }
    }

    /// Asks one server after the other, until one says who has which slots.
    async fn refresh(&self) {
        let known = self.shards();
        let known = known.iter().filter(|shard| shard.breaker.connected());
        let servers = known.map(|shard| shard.breaker.endpoint.clone()).chain(self.seeds.iter().cloned());
        let mut failure = None;
        for server in servers {
            match within(CONNECT_TIMEOUT, slots_of(&server)).await {
                Ok(found) if !found.is_empty() => {
                    self.apply(found);
                    return;
                }
                Ok(_) => failure = failure.or(Some((ErrorKind::Client, "no slot has a server").into())),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        if let Some(error) = failure {
            self.events.report_unreached(&error);
        }
    }

    fn apply(&self, found: Vec<(u16, u16, Address)>) {
        self.events.report_reached();
        self.targets.lock().clear();
        self.change(|owners, shards| {
            let before = std::mem::take(shards);
            owners.fill(NOBODY);
            for (first, last, address) in found {
                let known = before.iter().chain(&*shards);
                let Some(shard) = self.known_or_new(&address, first, known) else { continue };
                let owner = place(shards, &shard);
                owners[usize::from(first)..=usize::from(last)].fill(owner);
            }
            let gone = before.iter().filter(|shard| !shards.iter().any(|now| Arc::ptr_eq(now, shard)));
            gone.for_each(|shard| self.events.forget(&shard.address));
        });
        self.is_known.send_replace(true);
    }

    /// Changes who has which slots, and tells of it if anything is different then.
    fn change(&self, change: impl FnOnce(&mut [u16; SLOTS], &mut Vec<Arc<Shard>>)) {
        let _changing = self.changing.lock();
        let before = self.map.load_full();
        let (mut owners, mut shards) = (before.owners.clone(), before.shards.clone());
        change(&mut owners, &mut shards);
        let is_same = before.owners == owners
            && before.shards.len() == shards.len()
            && before.shards.iter().zip(&shards).all(|(a, b)| Arc::ptr_eq(a, b));
        if !is_same {
            self.map.store(Arc::new(Map { owners, shards }));
            self.generation.send_modify(|generation| *generation += 1);
        }
    }

    /// The one of `known` at `address`, or a new one, which has `slot`.
    fn known_or_new<'a>(
        &self,
        address: &Address,
        slot: u16,
        mut known: impl Iterator<Item = &'a Arc<Shard>>,
    ) -> Option<Arc<Shard>> {
        let shard = known.find(|shard| shard.address == *address).cloned();
        shard.or_else(|| self.open(address, slot))
    }

    fn open(&self, address: &Address, slot: u16) -> Option<Arc<Shard>> {
        let endpoint = self.seeds.first()?.at(&address.0, address.1).ok()?;
        let Settings { timeout, namespace, .. } = &self.settings;
        let asked = endpoint.clone();
        let cluster = self.itself.clone();
        let redirected = move |error: &RedisError| {
            if let Some(cluster) = cluster.upgrade() {
                cluster.note_redirection(&asked, error);
            }
        };
        let (breaker, losses) = Breaker::of_shard(endpoint, *timeout, namespace, redirected);
        let breaker = Arc::new(breaker);
        let on_change = self.events.of_shard(address.clone());
        let idle_key = key_in(slot, &format!("{namespace}:_:probe"));
        let connector = Connector::new(Arc::clone(&breaker), losses, on_change, idle_key);
        let connector = self.settings.runtime.spawn(connector.run()).abort_handle();
        Some(Arc::new(Shard { address: address.clone(), breaker, connector }))
    }
}

/// The place of `shard` among `shards`, to which it is added if it is not there.
fn place(shards: &mut Vec<Arc<Shard>>, shard: &Arc<Shard>) -> u16 {
    let place = shards.iter().position(|known| Arc::ptr_eq(known, shard)).unwrap_or_else(|| {
        shards.push(Arc::clone(shard));
        shards.len() - 1
    });
    u16::try_from(place).unwrap_or(NOBODY)
}

async fn slots_of(server: &Endpoint) -> Result<Vec<(u16, u16, Address)>, RedisError> {
    let mut connection = server.open(1).await?;
    let reply = send(&mut connection, ::redis::cmd("CLUSTER").arg("SLOTS")).await?;
    ranges(reply, &server.host())
}

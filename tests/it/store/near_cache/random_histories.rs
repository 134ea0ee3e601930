//! Random histories: several replicas, several keys, broken connections. An entry that was replaced, removed
//! or invalidated is not served later than the bound.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use fastrand::Rng;
use sidecache::internals::{
    cache::{
        entry::Entry,
        invalidation::{Target, Version},
        key::Key,
    },
    store::{Store, StoreError},
};
use tokio::task::JoinSet;

use super::{BOUND, LIFE, calls, entry, key, kill_readers, replica, version};
use crate::support::{RedisServer, measured, number_from, run_on};

const REPLICAS: usize = 3;
const STEPS: usize = 16;

/// Histories at the same time.
const AT_ONCE: usize = 100;

/// What all histories share.
struct World {
    replicas: Vec<Store>,
    /// Lookups, and those that found something.
    asked: AtomicU64,
    found: AtomicU64,
    /// The longest time after its end that another replica still served an entry, in microseconds.
    latest: AtomicU64,
}

/// When an entry ended, and which replica ended it; `None` if it expired.
#[derive(Clone, Copy)]
struct Ended {
    at: Instant,
    by: Option<usize>,
}

/// One key, and what was stored under it.
struct Watched {
    key: Key,
    ended: HashMap<u64, Ended>,
    /// The newest version that each replica served.
    seen: [u64; REPLICAS],
    /// The first version that has not ended.
    over: u64,
    /// The invalidation of an answer that was still running.
    invalidated: Option<Ended>,
}

impl Watched {
    /// All versions up to `last` have ended.
    fn end(&mut self, last: u64, ended: Ended) {
        for version in self.over..=last {
            self.ended.entry(version).or_insert(ended);
        }
        self.over = self.over.max(last + 1);
    }

    /// This version has ended, whatever happened to those before it.
    fn end_one(&mut self, version: u64, ended: Ended) {
        self.ended.entry(version).or_insert(ended);
    }

    /// Checks the version that a replica served at `asked`; returns how long after its end that was.
    fn check(&mut self, number: u64, replica: usize, version: u64, asked: Instant) -> Duration {
        let mut after = Duration::ZERO;
        if let Some(Ended { at, by }) = self.ended.get(&version) {
            after = asked.saturating_duration_since(*at);
            let is_late = by.is_some_and(|by| by == replica) && asked >= *at || after > BOUND;
            assert!(!is_late, "history {number}: {version} on {replica} {after:?} after its end by {by:?}");
        }
        let seen = &mut self.seen[replica];
        assert!(version >= *seen, "history {number}: {version} after {seen} on {replica}");
        *seen = version;
        after
    }
}

/// A step of a history that does nothing.
const PAUSE: Duration = Duration::from_millis(100);

/// One history.
struct History {
    world: Arc<World>,
    number: u64,
    random: Rng,
    tag: Target,
    keys: [Watched; 2],
    version: u64,
    /// The position in the invalidation log at which a running fill began.
    running: Option<Version>,
}

impl History {
    fn new(world: Arc<World>, number: u64) -> Self {
        let subjected = |name: &str| Watched {
            key: key(&format!("{number}-{name}")),
            ended: HashMap::new(),
            seen: [0; REPLICAS],
            over: 0,
            invalidated: None,
        };
        Self {
            world,
            number,
            random: Rng::with_seed(number),
            tag: Target::Tag(number.to_string()),
            keys: [subjected("a"), subjected("b")],
            version: 0,
            running: None,
        }
    }

    async fn run(mut self) {
        for _ in 0..STEPS {
            let (replica, of) = (self.random.usize(..REPLICAS), self.random.usize(..2));
            match self.random.u8(..20) {
                0..7 => self.get(replica, of).await,
                7..10 => self.put(replica, of, LIFE).await,
                10..12 => self.put_while_asked(replica, of).await,
                12 => self.put_short(replica, of).await,
                13 => self.remove(replica, of).await,
                14 => self.purge(replica, of).await,
                15 => self.purge_tag(replica).await,
                16 => self.begin(replica),
                17 => self.finish(replica, of).await,
                // Pauses are steps of a history too: a change may then have reached the replica, or not.
                18 => tokio::time::sleep(Duration::from_millis(self.random.u64(..40))).await,
                _ => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    fn store(&self, replica: usize) -> &Store {
        &self.world.replicas[replica]
    }

    async fn get(&mut self, replica: usize, of: usize) {
        let asked = Instant::now();
        let found = version(self.store(replica), &self.keys[of].key).await;
        self.check(replica, of, asked, found);
    }

    fn check(&mut self, replica: usize, of: usize, asked: Instant, found: Result<Option<u64>, StoreError>) {
        self.world.asked.fetch_add(1, Ordering::Relaxed);
        if let Ok(Some(version)) = found {
            self.world.found.fetch_add(1, Ordering::Relaxed);
            let after = self.keys[of].check(self.number, replica, version, asked).as_micros();
            self.world.latest.fetch_max(after.try_into().expect("a short time"), Ordering::Relaxed);
        }
    }

    /// The next version, whose fill began at `began`, or now.
    fn next(&mut self, replica: usize, life: Duration, began: Option<Version>) -> Option<Arc<Entry>> {
        self.version += 1;
        let entry = entry(self.store(replica), self.version, life, std::slice::from_ref(&self.tag))?;
        Some(Arc::new(Entry { began: began.unwrap_or(entry.began), ..entry }))
    }

    async fn put(&mut self, replica: usize, of: usize, life: Duration) {
        let Some(entry) = self.next(replica, life, None) else { return };
        let stored = self.store(replica).put(&self.keys[of].key, entry, life).await;
        self.stored(replica, of, stored);
    }

    fn stored(&mut self, replica: usize, of: usize, stored: Result<(), StoreError>) {
        if stored.is_ok() {
            self.keys[of].end(self.version - 1, Ended { at: Instant::now(), by: Some(replica) });
        }
    }

    /// A value that is read during a write may be the old one, and must not stay.
    async fn put_while_asked(&mut self, replica: usize, of: usize) {
        let Some(entry) = self.next(replica, LIFE, None) else { return };
        let (asked, other) = (Instant::now(), (replica + 1) % REPLICAS);
        let key = &self.keys[of].key;
        let (stored, here, there) = tokio::join!(
            self.store(replica).put(key, entry, LIFE),
            version(self.store(replica), key),
            version(self.store(other), key),
        );
        // The writer serves a pending write already; if the write fails, Redis may never have had it.
        let is_unwritten = stored.is_err() && matches!(here, Ok(Some(version)) if version == self.version);
        self.check(replica, of, asked, if is_unwritten { Ok(None) } else { here });
        self.check(other, of, asked, there);
        self.stored(replica, of, stored);
    }

    /// Stores an entry with a short TTL.
    async fn put_short(&mut self, replica: usize, of: usize) {
        let life = Duration::from_millis(self.random.u64(1..60));
        self.put(replica, of, life).await;
        // Even if the write failed, the entry ends no later.
        self.keys[of].end_one(self.version, Ended { at: Instant::now() + life, by: None });
    }

    async fn remove(&mut self, replica: usize, of: usize) {
        if self.store(replica).remove(&self.keys[of].key).await.is_ok() {
            self.keys[of].end(self.version, Ended { at: Instant::now(), by: Some(replica) });
        }
    }

    async fn purge(&mut self, replica: usize, of: usize) {
        let target = Target::Key(*self.keys[of].key.digest());
        if self.store(replica).invalidate(&[target]).await.is_ok() {
            self.invalidated(replica, of);
        }
    }

    async fn purge_tag(&mut self, replica: usize) {
        if self.store(replica).invalidate(std::slice::from_ref(&self.tag)).await.is_ok() {
            self.invalidated(replica, 0);
            self.invalidated(replica, 1);
        }
    }

    fn invalidated(&mut self, replica: usize, of: usize) {
        let ended = Ended { at: Instant::now(), by: Some(replica) };
        self.keys[of].end(self.version, ended);
        self.keys[of].invalidated.get_or_insert(ended);
    }

    fn begin(&mut self, replica: usize) {
        self.running = self.store(replica).now();
        self.keys.iter_mut().for_each(|key| key.invalidated = None);
    }

    /// Stores an answer whose fill began earlier, and which may have been invalidated since.
    async fn finish(&mut self, replica: usize, of: usize) {
        let Some(began) = self.running.take() else { return };
        let Some(entry) = self.next(replica, LIFE, Some(began)) else { return };
        let stored = self.store(replica).put(&self.keys[of].key, entry, LIFE).await;
        self.stored(replica, of, stored);
        if let Some(invalidated) = self.keys[of].invalidated {
            self.keys[of].end_one(self.version, invalidated);
        }
    }
}

/// A hundred thousand by hand: `SIDECACHE_HISTORIES=100000 cargo test --release --test it histories`.
#[test]
fn no_entry_is_served_after_its_end() {
    let count = number_from("SIDECACHE_HISTORIES", 10_000);
    run_on(8, Duration::from_secs(90 + count / 50), async move {
        let redis = RedisServer::start();
        let mut replicas = Vec::new();
        for _ in 0..REPLICAS {
            replicas.push(replica(&redis, 16 << 20).await);
        }
        let [asked, found, latest] = [0; 3].map(AtomicU64::new);
        let world = Arc::new(World { replicas, asked, found, latest });
        let redis = Arc::new(redis);
        let troubles = tokio::spawn(troubles(Arc::clone(&redis)));
        let mut running = JoinSet::new();
        for number in 0..count {
            if running.len() == AT_ONCE {
                running.join_next().await.expect("one").expect("nothing that is over");
            }
            running.spawn(History::new(Arc::clone(&world), number).run());
        }
        while let Some(ended) = running.join_next().await {
            ended.expect("nothing that is over");
        }
        troubles.abort();
        let [found, asked] = [&world.found, &world.asked].map(|count| count.load(Ordering::Relaxed));
        assert!(found > count, "{found} of {asked} found");
        // Lookups that reached Redis, and the stores' own commands.
        let reached = calls(&redis, "get");
        assert!(reached < asked, "nothing was near: {reached} for {asked}");
        let latest = Duration::from_micros(world.latest.load(Ordering::Relaxed));
        measured(format_args!(
            "{count} histories, {asked} lookups, {found} found, {latest:.1?} after an end at most"
        ));
    });
}

/// Cuts the connections that read the streams again and again, and all of them now and then.
async fn troubles(redis: Arc<RedisServer>) {
    for round in 1_u64.. {
        // Random times are what this is for: the cuts must meet the histories at any step.
        tokio::time::sleep(Duration::from_millis(fastrand::u64(10..200))).await;
        let redis = Arc::clone(&redis);
        let cut = move || {
            if round.is_multiple_of(20) {
                drop(redis.cli(&["CLIENT", "KILL", "TYPE", "normal"]));
            } else {
                kill_readers(&redis);
            }
        };
        tokio::task::spawn_blocking(cut).await.expect("it answers");
    }
}

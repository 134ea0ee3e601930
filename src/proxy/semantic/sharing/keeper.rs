//! What one process leaves to the next without Redis: labels, separated pairs and steps back always, stored questions with
//! their entries at the end.
//!
//! What is invalidated must not come back. So entries are only in the file between the end of one process and the start of
//! the next: it is written again without them before this process serves, and a file that is not taken is put aside. An entry
//! that comes back counts as asked for at the beginning of this process's log, so whatever is invalidated here concerns it.

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use parking_lot::Mutex;
use tokio::{task::spawn_blocking, time};

use super::state_file::{MAX_BYTES, Ownership, StateFile};
use crate::{
    cache::{
        entry::Entry,
        invalidation::{Offset, Version},
        key::{Key, namespace::Namespace},
        semantic::{
            event::SemanticEvent,
            index::Record,
            state::{State, StateHead, StoredRecord, rest_of_life, scope},
        },
    },
    config::Config,
    dialect::Placement,
    proxy::semantic::state::Semantic,
    store::MemoryStore,
    telemetry::log::events::semantic_state_unused,
    time::unix_millis,
};

/// Between two writes, if something has changed.
const WRITE_EVERY: Duration = Duration::from_secs(60);

/// How often it is looked whether another process still has the file.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The end of a process waits no longer for entries to be written.
const MAX_WRITE: Duration = Duration::from_secs(5);

/// The separated pairs that are remembered.
const MAX_PAIRS: usize = 10_000;

#[derive(Debug)]
pub(super) struct Keeper {
    file: StateFile,
    store: MemoryStore,
    namespace: Namespace,
    /// The largest body of an entry, in bytes.
    max_entry: usize,
    /// Of the settings in force.
    scope: Mutex<[u8; 16]>,
    /// Locked while the file is read or written.
    state: Mutex<KeeperState>,
    /// Whether the file lacks something.
    is_behind: AtomicBool,
    /// What was reported here or was in the file.
    pairs: Mutex<VecDeque<[Box<str>; 2]>>,
    /// What was wrong with the file when it was used last.
    fault: Mutex<Option<String>>,
}

#[derive(Debug, Default)]
struct KeeperState {
    /// `None` while another process has the file, and after the last write.
    owner: Option<Ownership>,
    /// What was read, until it is applied.
    kept: Option<State>,
}

impl Keeper {
    /// Reads `file`, if no other process has it. Whatever is wrong with it is one line in the log.
    pub(super) fn open(file: StateFile, store: MemoryStore, namespace: Namespace, config: &Config) -> Self {
        let keeper = Self {
            file,
            store,
            namespace,
            max_entry: config.store.max_entry,
            scope: Mutex::new(scope(&namespace, config.epoch.as_deref())),
            state: Mutex::default(),
            is_behind: AtomicBool::new(false),
            pairs: Mutex::default(),
            fault: Mutex::default(),
        };
        keeper.take();
        keeper
    }

    /// What is written from now on belongs to this epoch.
    pub(super) fn set_epoch(&self, epoch: Option<&str>) {
        *self.scope.lock() = scope(&self.namespace, epoch);
    }

    /// Notes an event for the next write.
    pub(super) fn note(&self, event: SemanticEvent) {
        match event {
            // At the end they are all written, and before that none.
            SemanticEvent::Added(_) | SemanticEvent::AskedBy { .. } => return,
            SemanticEvent::Separated { asked, original } => self.note_pair([asked, original]),
            SemanticEvent::Labelled { .. }
            | SemanticEvent::SteppedBack { .. }
            | SemanticEvent::Embedder { .. } => {}
        }
        self.is_behind.store(true, Ordering::Relaxed);
    }

    fn note_pair(&self, pair: [Box<str>; 2]) {
        let mut pairs = self.pairs.lock();
        if pairs.len() >= MAX_PAIRS {
            pairs.pop_front();
        }
        pairs.push_back(pair);
    }

    /// Applies what was read, and writes now and then, for as long as there is somebody who learns.
    pub(super) async fn run(self: Arc<Self>, learner: Weak<Semantic>) {
        while self.state.lock().owner.is_none() {
            time::sleep(LOOK_EVERY).await;
            let keeper = Arc::clone(&self);
            let _ = spawn_blocking(move || keeper.take()).await;
        }
        let Some(semantic) = learner.upgrade() else { return };
        let keeper = Arc::clone(&self);
        let _ = spawn_blocking(move || keeper.restore(&semantic)).await;
        loop {
            time::sleep(WRITE_EVERY).await;
            let Some(semantic) = learner.upgrade() else { return };
            if self.is_behind.load(Ordering::Relaxed) {
                let keeper = Arc::clone(&self);
                let _ = spawn_blocking(move || keeper.write_now(&semantic)).await;
            }
        }
    }

    /// Takes the file, if no other process has it, and reads it.
    fn take(&self) {
        let mut state = self.state.lock();
        match self.file.own() {
            Ok(Some(owner)) => {
                *self.fault.lock() = None;
                state.kept = self.read(&owner);
                state.owner = Some(owner);
            }
            Ok(None) => self.report("another process has it"),
            Err(error) => self.report(&error.to_string()),
        }
    }

    /// Logs what is wrong, once.
    fn report(&self, reason: &str) {
        let former = self.fault.lock().replace(reason.to_owned());
        if former.as_deref() != Some(reason) {
            semantic_state_unused(self.file.path(), reason);
        }
    }

    /// What the file says. It is no more in the file than may be in it while this process serves.
    fn read(&self, owner: &Ownership) -> Option<State> {
        let state = match self.file.read(owner) {
            Ok(state) => state?,
            Err(error) => return self.refuse(&error.to_string()),
        };
        if state.head.scope != *self.scope.lock() {
            return self.refuse("it belongs to another store.namespace or epoch");
        }
        let mut state = state;
        if !state.stored.is_empty()
            && let Err(error) = self.write_labels(owner, &state)
        {
            state.stored.clear();
            self.refuse(&error.to_string());
        }
        Some(state)
    }

    /// Puts the file aside: nobody reads it again.
    fn refuse(&self, reason: &str) -> Option<State> {
        semantic_state_unused(self.file.path(), reason);
        if let Err(error) = self.file.put_aside() {
            self.report(&error.to_string());
        }
        None
    }

    fn write_labels(&self, owner: &Ownership, state: &State) -> io::Result<()> {
        self.file
            .write(owner, &state.head, |writer| state.events.iter().try_for_each(|event| writer.event(event)))
    }

    /// Applies what was read.
    fn restore(&self, semantic: &Semantic) {
        let Some(State { head, events, stored }) = self.state.lock().kept.take() else { return };
        semantic.restore([&SemanticEvent::Embedder { identity: head.embedder.as_str().into() }]);
        if semantic.embedder.recognises(&head.embedder) == Some(false) {
            semantic_state_unused(self.file.path(), "it belongs to another embedder");
            return;
        }
        for event in &events {
            if let SemanticEvent::Separated { asked, original } = event {
                self.note_pair([asked.clone(), original.clone()]);
            }
        }
        semantic.restore(&events);
        let restored = stored.into_iter().filter_map(|stored| self.put(stored, head.written_at));
        for record in restored {
            semantic.restore([&SemanticEvent::Added(record)]);
        }
    }

    /// Puts an entry back into the store for the rest of its life; its record, if it is there.
    fn put(&self, StoredRecord { record, envelope }: StoredRecord, written_at: u64) -> Option<Record> {
        let key = Key::parse(self.namespace, &record.key)?;
        let entry = Entry::open(&envelope, &key.name(), self.max_entry).ok()?;
        let now = unix_millis(SystemTime::now());
        let rest = rest_of_life(&entry, written_at, now)?;
        let epoch = self.store.invalidations().last()?.epoch;
        let entry = Entry { began: Version { epoch, offset: Offset::default() }, ..entry };
        if entry.is_invalidated(&key, self.store.invalidations()) {
            return None;
        }
        // What this process has stored meanwhile is newer.
        let place = self.store.put_in_place(&key, &entry, rest, |_| Placement::Nowhere);
        let rest_millis = u64::try_from(rest.as_millis()).unwrap_or(u64::MAX);
        let expires_at = record.expires_at.min(now.saturating_add(rest_millis));
        (place == Placement::Instead).then_some(Record { expires_at, ..record })
    }

    fn write_now(&self, semantic: &Semantic) {
        let state = self.state.lock();
        if let KeeperState { owner: Some(owner), kept: None } = &*state {
            self.write(owner, semantic, Vec::new());
        }
    }

    /// Writes everything, entries too, and gives the file to the next process. Nothing is invalidated after this.
    pub(super) fn write_last(&self, semantic: &Semantic) {
        let mut state = self.state.lock();
        if let KeeperState { owner: Some(owner), kept: None } = &*state {
            self.write(owner, semantic, semantic.records());
        }
        state.owner = None;
    }

    fn write(&self, owner: &Ownership, semantic: &Semantic, records: Vec<Record>) {
        // Without an embedder nothing was learned.
        let Some(identity) = semantic.identity() else { return };
        self.is_behind.store(false, Ordering::Relaxed);
        let head = StateHead {
            scope: *self.scope.lock(),
            embedder: identity.into(),
            written_at: unix_millis(SystemTime::now()),
        };
        let deadline = Instant::now() + MAX_WRITE;
        let written = self.file.write(owner, &head, |writer| {
            self.learned(semantic).iter().try_for_each(|event| writer.event(event))?;
            for record in records {
                let Some(envelope) = self.envelope(&record) else { continue };
                if writer.written() + envelope.len() as u64 > MAX_BYTES || Instant::now() > deadline {
                    break;
                }
                writer.stored(record, &envelope)?;
            }
            Ok(())
        });
        match written {
            Ok(()) => *self.fault.lock() = None,
            Err(error) => {
                self.is_behind.store(true, Ordering::Relaxed);
                self.report(&error.to_string());
            }
        }
    }

    /// What is written each time.
    fn learned(&self, semantic: &Semantic) -> Vec<SemanticEvent> {
        let mut events = Vec::new();
        for route in semantic.status().routes {
            if let Some(at) = route.ledger.stepped_back_at {
                events.push(SemanticEvent::SteppedBack { route: route.route.into(), at });
            }
        }
        for (route, labels) in semantic.labels() {
            let labelled = |label| SemanticEvent::Labelled { route: route.clone(), label };
            events.extend(labels.into_iter().map(labelled));
        }
        let pairs = self.pairs.lock();
        let separated = |[asked, original]: &[Box<str>; 2]| SemanticEvent::Separated {
            asked: asked.clone(),
            original: original.clone(),
        };
        events.extend(pairs.iter().map(separated));
        events
    }

    /// The envelope of a record's entry, if the store has it and it is not invalidated.
    fn envelope(&self, record: &Record) -> Option<Vec<u8>> {
        let key = Key::parse(self.namespace, &record.key)?;
        let entry = self.store.peek(&key)?;
        (!entry.is_invalidated(&key, self.store.invalidations())).then(|| entry.seal(&key.name()))
    }
}

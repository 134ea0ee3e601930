//! What `/health` shows: how many keys there are, and how much memory Redis uses.
//!
//! Counting keys is a scan of the whole database. So it has a connection of its own, runs once at a time
//! however many ask, and rests ten times as long as it took; nobody waits for it longer than `PATIENCE`.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ::redis::{Cmd, RedisError, Value, aio::MultiplexedConnection, from_redis_value};
use parking_lot::{Mutex, MutexGuard};
use tokio::{sync::watch, time};

use super::{
    connections::send,
    endpoint::Endpoint,
    error::{protocol, within},
    open_connection::OpenConnection,
};
use crate::cache::invalidation::glob::escape;

/// How long a caller waits for fresh figures, from the beginning of the run that makes them.
const PATIENCE: Duration = Duration::from_millis(200);

/// For one command: a slow server is given up here much later than on a request's way.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(1);

/// A scan rests this many times as long as it took.
const REST: u32 = 10;

/// Keys that Redis looks at in one step of a scan.
const STEP: u32 = 1000;

/// A scan that has taken this long lets lookups by between its steps.
const HURRY: Duration = Duration::from_millis(100);

/// During a scan, memory is read again this often.
const MEMORY_INTERVAL: Duration = Duration::from_secs(1);

/// The last known figures of one server.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Figures {
    pub(super) keys: Option<u64>,
    /// In bytes.
    pub(super) memory: Option<u64>,
    /// The most bytes that Redis may use (`maxmemory`); `None` without a bound.
    pub(super) memory_limit: Option<u64>,
}

impl Figures {
    /// Those of two servers together.
    pub(super) fn plus(self, other: Self) -> Self {
        let plus = |one: Option<u64>, other: Option<u64>| Some(one? + other?);
        Self {
            keys: plus(self.keys, other.keys),
            memory: plus(self.memory, other.memory),
            memory_limit: plus(self.memory_limit, other.memory_limit),
        }
    }
}

/// Counts the keys of one server and reads how much memory it uses.
pub(super) struct UsageScan {
    endpoint: Endpoint,
    /// `NS:*`, escaped.
    pattern: String,
    /// `NS:_:`, sidecache's own.
    own: Vec<u8>,
    state: Mutex<UsageState>,
    /// Changes when a run ends.
    ended: watch::Sender<()>,
}

#[derive(Default)]
struct UsageState {
    figures: Figures,
    /// When the run under way began.
    running_since: Option<Instant>,
    /// No scan before this.
    scan_from: Option<Instant>,
    /// Of the last run, for the next one.
    connection: Option<OpenConnection>,
}

impl UsageScan {
    pub(super) fn new(endpoint: Endpoint, namespace: &str) -> Self {
        Self {
            endpoint,
            pattern: format!("{}:*", escape(namespace)),
            own: format!("{namespace}:_:").into_bytes(),
            state: Mutex::default(),
            ended: watch::Sender::new(()),
        }
    }

    /// Fresh figures if they come within `PATIENCE`, else the last known.
    pub(super) async fn figures(self: &Arc<Self>) -> Figures {
        let mut ended = self.ended.subscribe();
        let deadline = self.begin() + PATIENCE;
        let _ = time::timeout_at(deadline.into(), ended.changed()).await;
        self.state().figures
    }

    /// Gives up the connection that is kept for the next run.
    pub(super) fn close(&self) {
        self.state().connection = None;
    }

    /// Begins a run unless one is under way; when it began.
    fn begin(self: &Arc<Self>) -> Instant {
        let now = Instant::now();
        let mut state = self.state();
        if let Some(began) = state.running_since {
            return began;
        }
        state.running_since = Some(now);
        let run = Run(Arc::clone(self));
        tokio::spawn(async move { run.0.run().await });
        now
    }

    async fn run(&self) {
        let last_connection = self.state().connection.take();
        let is_reused = last_connection.is_some();
        let mut ended = self.run_on(last_connection).await;
        if is_reused && ended.is_err() {
            // Most likely it was closed while nobody asked.
            ended = self.run_on(None).await;
        }
        self.state().connection = ended.ok();
    }

    /// Makes the figures once; returns the connection if it is still good.
    async fn run_on(&self, connection: Option<OpenConnection>) -> Result<OpenConnection, RedisError> {
        let mut connection = match connection {
            Some(connection) => connection,
            None => self.endpoint.open(1).await?,
        };
        self.read_memory(&mut connection).await?;
        let due = self.state().scan_from.is_none_or(|from| Instant::now() >= from);
        if due {
            let began = Instant::now();
            let counted = self.scan(&mut connection).await;
            self.state().scan_from = Some(Instant::now() + began.elapsed() * REST);
            let keys = counted?;
            self.state().figures.keys = keys;
        }
        Ok(connection)
    }

    async fn read_memory(&self, connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
        let reply = request(connection, ::redis::cmd("INFO").arg("memory")).await?;
        let info = reply.and_then(|reply| from_redis_value::<String>(reply).ok());
        let [used, limit] = ["used_memory:", "maxmemory:"].map(|name| number(info.as_deref()?, name));
        let figures = &mut self.state().figures;
        figures.memory = used;
        figures.memory_limit = limit.filter(|bytes| *bytes > 0);
        Ok(())
    }

    /// Counts the keys of the namespace except sidecache's own; `None` if Redis refuses. If its table grows
    /// or shrinks meanwhile, keys can be counted twice: Redis promises no better.
    async fn scan(&self, connection: &mut MultiplexedConnection) -> Result<Option<u64>, RedisError> {
        let began = Instant::now();
        let mut memory_read = began;
        let mut cursor = 0_u64;
        let mut keys = 0_u64;
        loop {
            let step = Instant::now();
            let mut scan = ::redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(&self.pattern).arg("COUNT").arg(STEP);
            let Some(reply) = request(connection, &scan).await? else { return Ok(None) };
            let (next, found) = from_redis_value::<(u64, Vec<Vec<u8>>)>(reply).map_err(|_| protocol())?;
            keys += found.iter().filter(|key| !key.starts_with(&self.own)).count() as u64;
            if next == 0 {
                return Ok(Some(keys));
            }
            cursor = next;
            if began.elapsed() > HURRY {
                time::sleep(step.elapsed()).await;
            }
            if memory_read.elapsed() > MEMORY_INTERVAL {
                memory_read = Instant::now();
                self.read_memory(connection).await?;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, UsageState> {
        self.state.lock()
    }
}

/// A run under way: however it ends, the next one can begin and those who wait are woken.
struct Run(Arc<UsageScan>);

impl Drop for Run {
    fn drop(&mut self) {
        self.0.state().running_since = None;
        self.0.ended.send_replace(());
    }
}

/// Sends one command; `None` for an error reply, which leaves the connection as good as before.
async fn request(connection: &mut MultiplexedConnection, command: &Cmd) -> Result<Option<Value>, RedisError> {
    match within(COMMAND_TIMEOUT, send(connection, command)).await {
        Err(error) if error.code().is_some() => Ok(None),
        reply => reply.map(Some),
    }
}

/// The number that the text of `INFO memory` has behind `name`.
fn number(info: &str, name: &str) -> Option<u64> {
    info.lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_info() {
        let info = "# Memory\r\nused_memory:1048576\r\nused_memory_human:1.00M\r\nmaxmemory:0\r\n";
        assert_eq!(number(info, "used_memory:"), Some(1_048_576));
        assert_eq!(number(info, "maxmemory:"), Some(0));
        assert_eq!(number("used_memory_human:1.00M", "used_memory:"), None);
    }
}

//! The threads that serve connections, one for each core, each with a runtime of its own.
//!
//! A connection stays on the thread that it is given to, with its timers, its fills, and the upstream connections
//! that they use: no other thread is woken for it. A runtime that steals tasks moves them between cores instead.
//!
//! One listener accepts for all, and gives each connection to the thread with the fewest. With one listener a thread
//! (`SO_REUSEPORT`) the system chooses by a hash: in one start of eight, four connections are all on one core of two,
//! and a second process can share the port in silence. What was measured is in `docs/performance-log.md`.

use std::{
    io,
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::{
    runtime::{Builder, Handle},
    sync::mpsc,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

/// How long a stop waits for the threads to drop what they still run.
const STOP_PATIENCE: Duration = Duration::from_secs(1);

/// The threads. They end once this is dropped.
#[derive(Debug)]
pub struct Workers {
    workers: Vec<Worker>,
    stop: CancellationToken,
    /// Closed once all threads have ended.
    ended: mpsc::Receiver<()>,
}

/// A runtime that serves connections.
#[derive(Debug)]
struct Worker {
    runtime: Handle,
    /// Its open connections.
    open: Arc<AtomicUsize>,
}

/// One connection's share of a worker, until it is dropped.
#[derive(Debug)]
pub(super) struct Assignment {
    pub(super) runtime: Handle,
    open: Arc<AtomicUsize>,
}

impl Workers {
    /// Starts `count` threads.
    ///
    /// # Errors
    /// If the system gives no thread, or no event queue for its runtime.
    pub fn start(count: NonZeroUsize) -> io::Result<Self> {
        let stop = CancellationToken::new();
        let (running, ended) = mpsc::channel(1);
        let workers = (0..count.get()).map(|number| {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            let worker = Worker::new(runtime.handle().clone());
            let (stop, running) = (stop.clone(), running.clone());
            thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
                let _running = running;
                runtime.block_on(stop.cancelled());
                // A lookup of a host name may still occupy a thread of its own.
                runtime.shutdown_background();
            })?;
            Ok(worker)
        });
        let workers = workers.collect::<io::Result<_>>()?;
        Ok(Self { workers, stop, ended })
    }

    /// No threads: the runtime that this is called in serves the connections.
    ///
    /// # Panics
    /// Outside of a runtime.
    pub fn current() -> Self {
        let (_, ended) = mpsc::channel(1);
        Self { workers: vec![Worker::new(Handle::current())], stop: CancellationToken::new(), ended }
    }

    /// Gives a connection to the worker with the fewest; `last` is the worker that got the last one.
    pub(super) fn assign(&self, last: &mut usize) -> Assignment {
        let open: Vec<_> = self.workers.iter().map(|worker| worker.open.load(Ordering::Relaxed)).collect();
        *last = fewest(&open, *last);
        let Worker { runtime, open } = &self.workers[*last];
        open.fetch_add(1, Ordering::Relaxed);
        Assignment { runtime: runtime.clone(), open: Arc::clone(open) }
    }

    /// Ends the threads, and drops what they still run. Waits a moment for that.
    pub async fn stop(mut self) {
        self.stop.cancel();
        let _ = timeout(STOP_PATIENCE, self.ended.recv()).await;
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Worker {
    fn new(runtime: Handle) -> Self {
        Self { runtime, open: Arc::default() }
    }
}

impl Drop for Assignment {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The worker with the fewest connections; of those with as many, the first one after `last`.
fn fewest(open: &[usize], last: usize) -> usize {
    let from = last + 1;
    let turn = |index: &usize| (index + open.len() - from % open.len()) % open.len();
    (0..open.len()).min_by_key(|index| (open[*index], turn(index))).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worker_with_the_fewest_connections_gets_the_next_one() {
        for (open, last, next) in [
            (&[0][..], 0, 0),
            (&[7], 0, 0),
            (&[0, 0], 0, 1),
            (&[0, 0], 1, 0),
            (&[1, 0], 1, 1),
            (&[3, 2, 2, 2], 2, 3),
            (&[3, 2, 2, 2], 3, 1),
            (&[1, 1, 1, 0], 0, 3),
        ] {
            assert_eq!(fewest(open, last), next, "{open:?}, last {last}");
        }
    }

    #[test]
    fn connections_are_spread_evenly_and_leave_their_place() {
        let workers = Workers::start(NonZeroUsize::new(3).expect("positive")).expect("threads");
        let open =
            || workers.workers.iter().map(|worker| worker.open.load(Ordering::Relaxed)).collect::<Vec<_>>();
        let mut last = 0;
        let mut assigned: Vec<_> = (0..9).map(|_| workers.assign(&mut last)).collect();
        assert_eq!(open(), [3, 3, 3]);
        let gone = assigned.remove(0);
        drop(gone);
        assert_eq!(open().iter().sum::<usize>(), 8);
        assigned.push(workers.assign(&mut last));
        assert_eq!(open(), [3, 3, 3]);
    }

    #[tokio::test]
    async fn a_stop_drops_what_still_runs_before_it_returns() {
        let workers = Workers::start(NonZeroUsize::new(2).expect("positive")).expect("threads");
        let mut last = 0;
        let held: Arc<()> = Arc::default();
        for _ in 0..4 {
            let held = Arc::clone(&held);
            workers.assign(&mut last).runtime.spawn(async move {
                let _held = held;
                std::future::pending::<()>().await;
            });
        }
        assert_eq!(Arc::strong_count(&held), 5);
        workers.stop().await;
        assert_eq!(Arc::strong_count(&held), 1);
    }
}

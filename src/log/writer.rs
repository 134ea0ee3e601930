//! The sinks: a bounded queue and a thread for each.
//!
//! The queue and the thread are `tracing_appender`'s; what it writes to is a [`LineSink`], which counts instead of
//! failing.

use std::{
    io::{self, ErrorKind, Write},
    mem,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};

/// Lines are written together up to this size.
const BATCH: usize = 64 * 1024;

/// How long a thread rests once it has written all lines there were. A line that comes meanwhile wakes nobody, which
/// costs more than the line itself, and is written together with those after it.
const REST: Duration = Duration::from_millis(5);

/// How long to wait for an output that says "not now", and between two looks at a stop.
const PAUSE: Duration = Duration::from_millis(2);

/// Standard output without the lock and the buffer of `std`'s: only our thread writes to it, and whole lines.
#[cfg(unix)]
pub(super) fn stdout() -> io::Result<WholeLines<std::fs::File>> {
    use std::os::fd::AsFd;
    Ok(WholeLines::new(io::stdout().as_fd().try_clone_to_owned()?.into()))
}

/// Standard output.
#[cfg(not(unix))]
pub(super) fn stdout() -> io::Result<WholeLines<io::Stdout>> {
    Ok(WholeLines::new(io::stdout()))
}

/// Where lines are handed over.
#[derive(Debug)]
pub(super) struct Sink {
    queue: NonBlocking,
    counts: Counts,
}

/// What stops a sink's thread.
#[derive(Debug)]
pub(super) struct Worker {
    guard: WorkerGuard,
    counts: Counts,
}

/// What became of a sink's lines.
#[derive(Clone, Debug)]
struct Counts {
    /// Handed over.
    offered: Arc<AtomicU64>,
    /// Not queued, for the queue was full.
    refused: ErrorCounter,
    /// Queued, and could not be written.
    failed: Arc<AtomicU64>,
    /// Queued, and written or failed.
    done: Arc<AtomicU64>,
}

impl Counts {
    fn refused(&self) -> u64 {
        self.refused.dropped_lines() as u64
    }

    /// Whether every line that was offered has met its end.
    fn is_drained(&self) -> bool {
        let ended = self.done.load(Ordering::Acquire) + self.refused();
        ended >= self.offered.load(Ordering::Acquire)
    }
}

impl Sink {
    /// Starts the thread `name` that writes to `out`, with room for `queued_lines` lines to wait.
    pub(super) fn spawn(name: &str, out: Box<dyn Write + Send>, queued_lines: usize) -> (Self, Worker) {
        let (failed, done) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let lines = LineSink {
            out,
            batch: Vec::new(),
            lines: 0,
            failed: Arc::clone(&failed),
            done: Arc::clone(&done),
        };
        let builder = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(queued_lines);
        let (queue, guard) = builder.thread_name(name).finish(lines);
        let counts = Counts { offered: Arc::default(), refused: queue.error_counter(), failed, done };
        (Self { queue, counts: counts.clone() }, Worker { guard, counts })
    }

    /// Queues a line, or drops and counts it.
    pub(super) fn offer(&self, line: &[u8]) {
        self.counts.offered.fetch_add(1, Ordering::Release);
        // A lossy queue says Ok whatever becomes of the line, and counts.
        let _ = self.queue.clone().write(line);
    }

    /// How many lines could not be queued or not be written.
    pub(super) fn dropped(&self) -> u64 {
        self.counts.refused() + self.counts.failed.load(Ordering::Acquire)
    }
}

/// Waits for the queues to empty, `patience` at most for all of them, and ends the threads.
pub(super) fn stop(workers: impl Iterator<Item = Worker>, patience: Duration) {
    let deadline = Instant::now() + patience;
    for worker in workers {
        while !worker.counts.is_drained() && Instant::now() < deadline {
            thread::sleep(PAUSE);
        }
        if worker.counts.is_drained() {
            drop(worker.guard);
        } else {
            // Dropped with a full queue, the guard would `println!`: to the very pipe that nobody reads, for ever,
            // or as a line that is no JSON. The thread ends with the process.
            mem::forget(worker.guard);
        }
    }
}

/// What the thread writes to: gathers lines, writes them together, counts those that fail. It never returns an error,
/// for `tracing_appender` would drop it in silence.
struct LineSink {
    out: Box<dyn Write + Send>,
    batch: Vec<u8>,
    lines: u64,
    failed: Arc<AtomicU64>,
    done: Arc<AtomicU64>,
}

impl LineSink {
    fn put(&mut self) {
        let unwritten = write_out(&mut self.out, &self.batch);
        let failed = unwritten.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.failed.fetch_add(failed, Ordering::Release);
        self.done.fetch_add(mem::take(&mut self.lines), Ordering::Release);
        self.batch.clear();
        // One huge line is no reason to keep its memory.
        self.batch.shrink_to(2 * BATCH);
    }
}

impl Write for LineSink {
    /// Takes one whole line; the thread calls it with nothing else.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.batch.extend_from_slice(line);
        self.lines += 1;
        if self.batch.len() >= BATCH {
            self.put();
        }
        Ok(line.len())
    }

    /// Called by the thread whenever its queue is empty, and at its end.
    fn flush(&mut self) -> io::Result<()> {
        if self.lines > 0 {
            self.put();
            thread::sleep(REST);
        }
        Ok(())
    }
}

/// Writes what it can, and returns the rest where an error came in between.
fn write_out<'a>(out: &mut impl Write, lines: &'a [u8]) -> &'a [u8] {
    let mut rest = lines;
    while !rest.is_empty() {
        match out.write(rest) {
            Ok(0) => return rest,
            Ok(n) => rest = rest.get(n..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Whoever started us made the pipe non-blocking: wait, as a blocking one would have us wait.
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(PAUSE),
            Err(_) => return rest,
        }
    }
    let _ = out.flush();
    rest
}

/// An output that, after a failure in the midst of a line, ends that line before the next: a lost line never spoils
/// the one after it.
#[derive(Debug)]
pub(super) struct WholeLines<W> {
    out: W,
    /// Whether the last byte that was written is no newline.
    mid_line: bool,
    /// Whether a failure came while it was so: the rest of that line is lost.
    torn: bool,
}

impl<W: Write> WholeLines<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out, mid_line: false, torn: false }
    }

    /// Over an output whose last line has no end.
    pub(super) fn torn(out: W) -> Self {
        Self { out, mid_line: true, torn: true }
    }

    /// Whether the next write goes on with the line that the last one began.
    pub(super) fn is_mid_line(&self) -> bool {
        self.mid_line && !self.torn
    }

    pub(super) fn get_ref(&self) -> &W {
        &self.out
    }
}

impl<W: Write> Write for WholeLines<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if self.torn {
            self.out.write_all(b"\n")?;
            (self.torn, self.mid_line) = (false, false);
        }
        let written = self.out.write(buf);
        match &written {
            Ok(0) => self.torn = self.mid_line,
            Ok(n) => self.mid_line = buf.get(n - 1) != Some(&b'\n'),
            Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {}
            Err(_) => self.torn = self.mid_line,
        }
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::{collections::VecDeque, sync::Mutex};

    use super::*;

    /// Does with each write what it was told: takes so many bytes, or fails.
    #[derive(Clone, Default)]
    struct Script {
        steps: Arc<Mutex<VecDeque<Result<usize, ErrorKind>>>>,
        seen: Arc<Mutex<Vec<u8>>>,
    }

    impl Script {
        fn new(steps: impl IntoIterator<Item = Result<usize, ErrorKind>>) -> Self {
            let script = Self::default();
            script.steps.lock().unwrap().extend(steps);
            script
        }

        fn seen(&self) -> String {
            String::from_utf8(self.seen.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Script {
        fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
            let step = self.steps.lock().unwrap().pop_front().unwrap_or(Ok(buf.len()));
            let n = step.map_err(io::Error::from)?.min(buf.len());
            self.seen.lock().unwrap().extend_from_slice(&buf[..n]);
            Ok(n)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Writes each of `batches` in one go; what arrived, and how many lines failed.
    fn written(steps: Vec<Result<usize, ErrorKind>>, batches: &[&[&str]]) -> (String, u64) {
        let script = Script::new(steps);
        let failed = Arc::new(AtomicU64::new(0));
        let mut sink = LineSink {
            out: Box::new(WholeLines::new(script.clone())),
            batch: Vec::new(),
            lines: 0,
            failed: Arc::clone(&failed),
            done: Arc::default(),
        };
        for batch in batches {
            for line in *batch {
                sink.write_all(line.as_bytes()).unwrap();
            }
            sink.flush().unwrap();
        }
        let lines: usize = batches.iter().map(|batch| batch.len()).sum();
        assert_eq!(sink.done.load(Ordering::Acquire), lines as u64);
        (script.seen(), failed.load(Ordering::Acquire))
    }

    #[test]
    fn short_writes_and_interruptions_lose_nothing() {
        let steps = vec![Ok(1), Err(ErrorKind::Interrupted), Ok(2), Err(ErrorKind::WouldBlock), Ok(1), Ok(3)];
        assert_eq!(written(steps, &[&["aaa\n", "bbb\n"], &["c\n"]]), ("aaa\nbbb\nc\n".into(), 0));
    }

    #[test]
    fn a_failed_batch_is_counted_line_by_line() {
        let steps = vec![Err(ErrorKind::BrokenPipe)];
        assert_eq!(written(steps, &[&["a\n", "b\n", "c\n"], &["d\n"]]), ("d\n".into(), 3));
        let steps = vec![Ok(2), Err(ErrorKind::StorageFull)];
        assert_eq!(written(steps, &[&["a\n", "b\n", "c\n"], &["d\n"]]), ("a\nd\n".into(), 2));
    }

    #[test]
    fn a_torn_line_does_not_spoil_the_next() {
        let steps = vec![Ok(5), Err(ErrorKind::StorageFull), Err(ErrorKind::StorageFull)];
        // The first failure tears `bbb`; the second is the newline that would have ended it.
        let batches: &[&[&str]] = &[&["aaa\n", "bbb\n"], &["ccc\n"], &["ddd\n"]];
        assert_eq!(written(steps, batches), ("aaa\nb\nddd\n".into(), 2));
        // An output that takes nothing and says so is as good as one that fails.
        assert_eq!(written(vec![Ok(1), Ok(0)], &[&["aaa\n"], &["bbb\n"]]), ("a\nbbb\n".into(), 1));
    }

    #[test]
    fn large_batches_are_written_on_the_way() {
        let script = Script::default();
        let mut sink = LineSink {
            out: Box::new(script.clone()),
            batch: Vec::new(),
            lines: 0,
            failed: Arc::default(),
            done: Arc::default(),
        };
        let line = [vec![b'x'; 999], vec![b'\n']].concat();
        for _ in 0..100 {
            sink.write_all(&line).unwrap();
        }
        assert!(script.seen().len() >= BATCH);
        assert!(sink.batch.len() < BATCH);
    }
}

//! The sinks: each has a bounded queue and a thread that writes it out.
//!
//! They are written by hand because the queue is bounded in bytes and every line is written whole or counted
//! as dropped. tracing-appender was used before: its queue counts lines, each an allocation that one thread
//! makes and another frees, and it loses failed writes in silence. One buffer a sink gave 1.18 times as many
//! logged hits a second (50,900 instead of 43,500) and 56,600 instructions a logged hit instead of 64,100.
//! The thread's `REST` gave 1.25 times as many (58,900 instead of 47,700).

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

use memchr::{memchr, memchr_iter, memrchr};
use parking_lot::{Condvar, Mutex};

/// Lines are written together up to this size.
const BATCH: usize = 64 * 1024;

/// The memory that a queue retains for lines to come, in bytes: to allocate it each time takes longer than
/// writing them.
const MAX_RETAINED: usize = 1024 * 1024;

/// How long a thread rests once it has written all lines. A line that comes meanwhile wakes no thread (which
/// would cost more than the line itself), and is written together with those after it.
const REST: Duration = Duration::from_millis(5);

/// Before the next attempt on an output that would block.
const RETRY_AFTER: Duration = Duration::from_millis(2);

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

/// Takes lines for one output.
#[derive(Debug)]
pub(super) struct Sink {
    queue: Arc<Queue>,
    /// The bytes that may wait.
    max_queued: usize,
    /// Lines that were dropped.
    dropped: Arc<AtomicU64>,
}

/// What stops a sink's thread.
#[derive(Debug)]
pub(super) struct Worker(Arc<Queue>);

/// The lines that wait for a sink's thread.
#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    text: Vec<u8>,
    /// No more lines come.
    is_closed: bool,
    /// The thread has written all there was, and ended.
    is_done: bool,
}

impl Sink {
    /// Starts the thread `name` that writes to `out`; at most `max_queued` bytes of lines wait for it.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub(super) fn spawn(
        name: &str,
        out: Box<dyn Write + Send>,
        max_queued: usize,
    ) -> io::Result<(Self, Worker)> {
        let queue = Arc::<Queue>::default();
        let dropped = Arc::<AtomicU64>::default();
        let sink = Self { queue: Arc::clone(&queue), max_queued, dropped: Arc::clone(&dropped) };
        let worker = Worker(Arc::clone(&queue));
        thread::Builder::new().name(name.to_owned()).spawn(move || queue.write_to(out, &dropped))?;
        Ok((sink, worker))
    }

    /// Queues a line, or drops and counts it.
    pub(super) fn offer(&self, line: &[u8]) {
        let mut waiting = self.queue.waiting.lock();
        // One line may wait, however long it is.
        if !waiting.text.is_empty() && waiting.text.len() + line.len() > self.max_queued {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        waiting.text.extend_from_slice(line);
        drop(waiting);
        // A system call only if the thread waits.
        self.queue.changed.notify_one();
    }

    /// How many lines could not be queued or not be written.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl Queue {
    /// Writes what waits to `out`, until the queue is closed; lines that cannot be written are counted in
    /// `failed`.
    fn write_to(&self, mut out: Box<dyn Write + Send>, failed: &AtomicU64) {
        let mut text = Vec::new();
        while self.take(&mut text) {
            failed.fetch_add(write_lines(&mut out, &text), Ordering::Relaxed);
            text.clear();
            text.shrink_to(MAX_RETAINED);
            thread::sleep(REST);
        }
        self.waiting.lock().is_done = true;
        self.changed.notify_all();
    }

    /// Waits for lines, and swaps all there are with `text`, which is empty; `false` if no more come.
    fn take(&self, text: &mut Vec<u8>) -> bool {
        let mut waiting = self.waiting.lock();
        self.changed.wait_while(&mut waiting, |waiting| waiting.text.is_empty() && !waiting.is_closed);
        mem::swap(text, &mut waiting.text);
        !text.is_empty()
    }
}

/// Waits until everything is written, for at most `patience` in all. A thread that is stuck in a write, to a
/// pipe that nobody reads, ends with the process.
pub(super) fn stop(workers: impl Iterator<Item = Worker>, patience: Duration) {
    let deadline = Instant::now() + patience;
    for Worker(queue) in workers {
        let mut waiting = queue.waiting.lock();
        waiting.is_closed = true;
        queue.changed.notify_all();
        queue.changed.wait_while_until(&mut waiting, |waiting| !waiting.is_done, deadline);
    }
}

/// Writes lines; how many of them failed.
fn write_lines(out: &mut impl Write, lines: &[u8]) -> u64 {
    let mut rest = lines;
    let mut failed = 0;
    while !rest.is_empty() {
        let (batch, further) = rest.split_at(batch_len(rest));
        failed += memchr_iter(b'\n', write_out(out, batch)).count() as u64;
        rest = further;
    }
    failed
}

/// How much of `lines` is written together: whole lines, and one at least.
fn batch_len(lines: &[u8]) -> usize {
    if lines.len() <= BATCH {
        return lines.len();
    }
    let end = memrchr(b'\n', &lines[..BATCH]).or_else(|| memchr(b'\n', lines));
    end.map_or(lines.len(), |end| end + 1)
}

/// Writes what it can; returns the rest after an error.
fn write_out<'a>(out: &mut impl Write, lines: &'a [u8]) -> &'a [u8] {
    let mut rest = lines;
    while !rest.is_empty() {
        match out.write(rest) {
            Ok(0) => return rest,
            Ok(n) => rest = rest.get(n..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // The parent process made the pipe non-blocking: wait, as a blocking pipe would make us.
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(RETRY_AFTER),
            Err(_) => return rest,
        }
    }
    let _ = out.flush();
    rest
}

/// An output that may be able to take back what was written.
pub(super) trait Output: Write {
    /// Takes back the last `bytes` that were written; whether it could.
    fn take_back(&mut self, _bytes: u64) -> bool {
        false
    }
}

/// Standard output takes nothing back: a pipe cannot, and others may write to the same file.
impl Output for std::fs::File {}

#[cfg(not(unix))]
impl Output for io::Stdout {}

/// An output that has only whole lines. If a write fails within a line, its beginning is taken back. If that
/// cannot be, the rest of the line is written before anything else, once the output takes it.
#[derive(Debug)]
pub(super) struct WholeLines<W> {
    out: W,
    /// The bytes of the last line that are written, while its end is not.
    begun: u64,
    /// The rest of a line that must be written first.
    rest: Vec<u8>,
}

impl<W: Output> WholeLines<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out, begun: 0, rest: Vec::new() }
    }

    /// Over an output whose last line has no end; it only gets a newline.
    pub(super) fn torn(out: W) -> Self {
        Self { rest: b"\n".to_vec(), ..Self::new(out) }
    }

    /// Whether the next write continues a line.
    pub(super) fn is_mid_line(&self) -> bool {
        self.begun > 0
    }

    pub(super) fn get_ref(&self) -> &W {
        &self.out
    }

    /// Writes the rest of a line that must come first.
    ///
    /// # Errors
    /// If the output does not take it; what is left is tried again before the next write.
    pub(super) fn write_rest(&mut self) -> io::Result<()> {
        while !self.rest.is_empty() {
            match self.out.write(&self.rest)? {
                0 => return Err(ErrorKind::WriteZero.into()),
                n => drop(self.rest.drain(..n)),
            }
        }
        Ok(())
    }

    /// After a failed write of `lines`: takes the line that was begun back, or remembers the rest of it.
    /// Returns how much of `lines` that rest is; `None` if no line is begun any more.
    fn recover(&mut self, lines: &[u8]) -> Option<usize> {
        let begun = mem::take(&mut self.begun);
        if begun == 0 || self.out.take_back(begun) {
            return None;
        }
        let end = memchr(b'\n', lines).map_or(lines.len(), |at| at + 1);
        self.rest.extend_from_slice(&lines[..end]);
        Some(end)
    }

    fn track(&mut self, written: &[u8]) {
        self.begun = match memrchr(b'\n', written) {
            Some(at) => (written.len() - at - 1) as u64,
            None => self.begun + written.len() as u64,
        };
    }
}

impl<W: Output> Write for WholeLines<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.write_rest()?;
        let failed = match self.out.write(buf) {
            Ok(0) => Ok(0),
            Ok(n) => {
                self.track(buf.get(..n).unwrap_or(buf));
                return Ok(n);
            }
            Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {
                return Err(error);
            }
            Err(error) => Err(error),
        };
        self.recover(buf).map_or(failed, Ok)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;

//! The sinks: a bounded queue and a thread for each.

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

/// The room that a queue keeps for lines to come, in bytes: to get it anew each time takes more than writing them.
const KEPT: usize = 1024 * 1024;

/// How long a thread rests once it has written all lines there were. A line that comes meanwhile wakes nobody, which
/// costs more than the line itself, and is written together with those after it.
const REST: Duration = Duration::from_millis(5);

/// How long to wait for an output that says "not now".
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
    queue: Arc<Queue>,
    /// How much text may wait, in bytes.
    room: usize,
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
    /// Starts the thread `name` that writes to `out`, with room for so many bytes of lines to wait.
    ///
    /// # Errors
    /// Where the system gives no thread.
    pub(super) fn spawn(name: &str, out: Box<dyn Write + Send>, room: usize) -> io::Result<(Self, Worker)> {
        let (queue, dropped) = (Arc::<Queue>::default(), Arc::<AtomicU64>::default());
        let (own, failed) = (Arc::clone(&queue), Arc::clone(&dropped));
        thread::Builder::new().name(name.to_owned()).spawn(move || own.write_to(out, &failed))?;
        Ok((Self { queue: Arc::clone(&queue), room, dropped }, Worker(queue)))
    }

    /// Queues a line, or drops and counts it.
    pub(super) fn offer(&self, line: &[u8]) {
        let mut waiting = self.queue.waiting.lock();
        // However long it is, one line may wait.
        if !waiting.text.is_empty() && waiting.text.len() + line.len() > self.room {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        waiting.text.extend_from_slice(line);
        drop(waiting);
        // A system call only where the thread waits.
        self.queue.changed.notify_one();
    }

    /// How many lines could not be queued or not be written.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl Queue {
    /// Writes what waits to `out`, to the end; lines that cannot be written are counted in `failed`.
    fn write_to(&self, mut out: Box<dyn Write + Send>, failed: &AtomicU64) {
        let mut text = Vec::new();
        while self.take(&mut text) {
            failed.fetch_add(write_lines(&mut out, &text), Ordering::Relaxed);
            text.clear();
            text.shrink_to(KEPT);
            thread::sleep(REST);
        }
        self.waiting.lock().is_done = true;
        self.changed.notify_all();
    }

    /// Waits for lines, and takes all there are in the place of `text`, which is empty; `false` once none come any more.
    fn take(&self, text: &mut Vec<u8>) -> bool {
        let mut waiting = self.waiting.lock();
        self.changed.wait_while(&mut waiting, |waiting| waiting.text.is_empty() && !waiting.is_closed);
        mem::swap(text, &mut waiting.text);
        !text.is_empty()
    }
}

/// Waits until all is written, `store_budget` at most for all of them. A thread that is stuck in a write, to a pipe that
/// nobody reads, ends with the process.
pub(super) fn stop(workers: impl Iterator<Item = Worker>, store_budget: Duration) {
    let deadline = Instant::now() + store_budget;
    for Worker(queue) in workers {
        let mut waiting = queue.waiting.lock();
        waiting.is_closed = true;
        queue.changed.notify_all();
        queue.changed.wait_while_until(&mut waiting, |waiting| !waiting.is_done, deadline);
    }
}

/// Writes lines; how many of them failed.
fn write_lines(out: &mut impl Write, lines: &[u8]) -> u64 {
    let (mut rest, mut failed) = (lines, 0);
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

/// Where lines end up.
pub(super) trait Output: Write {
    /// Takes the last `bytes` back that were written; whether it could.
    fn take_back(&mut self, _bytes: u64) -> bool {
        false
    }
}

/// Standard output: a pipe keeps what it was given, and a file that others write to as well is not ours to cut.
impl Output for std::fs::File {}

#[cfg(not(unix))]
impl Output for io::Stdout {}

/// An output that has whole lines only. Where a write fails in the midst of a line, its beginning is taken back; where
/// that cannot be, its rest is written before anything else, once the output takes it.
#[derive(Debug)]
pub(super) struct WholeLines<W> {
    out: W,
    /// How much of a line has been written whose end has not.
    begun: u64,
    /// What must be written first.
    owed: Vec<u8>,
}

impl<W: Output> WholeLines<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out, begun: 0, owed: Vec::new() }
    }

    /// Over an output whose last line has no end, and never gets more than a newline.
    pub(super) fn torn(out: W) -> Self {
        Self { owed: b"\n".to_vec(), ..Self::new(out) }
    }

    /// Whether the next write goes on with the line that the last one began.
    pub(super) fn is_mid_line(&self) -> bool {
        self.begun > 0
    }

    pub(super) fn get_ref(&self) -> &W {
        &self.out
    }

    /// Writes what must be written first.
    ///
    /// # Errors
    /// Where the output does not take it, which leaves the rest for the next time.
    pub(super) fn settle(&mut self) -> io::Result<()> {
        while !self.owed.is_empty() {
            match self.out.write(&self.owed)? {
                0 => return Err(ErrorKind::WriteZero.into()),
                n => drop(self.owed.drain(..n)),
            }
        }
        Ok(())
    }

    /// A write of `lines` has failed. How much of them need not be written any more: the rest of the line that was
    /// begun, which is owed from now on. `None` where nothing is begun, or nothing any more.
    fn owe(&mut self, lines: &[u8]) -> Option<usize> {
        let begun = mem::take(&mut self.begun);
        if begun == 0 || self.out.take_back(begun) {
            return None;
        }
        let end = memchr(b'\n', lines).map_or(lines.len(), |at| at + 1);
        self.owed.extend_from_slice(&lines[..end]);
        Some(end)
    }

    fn note(&mut self, written: &[u8]) {
        self.begun = match memrchr(b'\n', written) {
            Some(at) => (written.len() - at - 1) as u64,
            None => self.begun + written.len() as u64,
        };
    }
}

impl<W: Output> Write for WholeLines<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.settle()?;
        let failed = match self.out.write(buf) {
            Ok(0) => Ok(0),
            Ok(n) => {
                self.note(buf.get(..n).unwrap_or(buf));
                return Ok(n);
            }
            Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {
                return Err(error);
            }
            Err(error) => Err(error),
        };
        self.owe(buf).map_or(failed, Ok)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::{collections::VecDeque, sync::Mutex};

    use proptest::prelude::*;

    use super::*;

    /// Does with each write what it was told: takes so many bytes, or fails.
    #[derive(Clone, Default)]
    struct Script {
        steps: Arc<Mutex<VecDeque<Result<usize, ErrorKind>>>>,
        seen: Arc<Mutex<Vec<u8>>>,
        takes_back: bool,
    }

    impl Output for Script {
        fn take_back(&mut self, bytes: u64) -> bool {
            let mut seen = self.seen.lock().unwrap();
            let left = seen.len() - usize::try_from(bytes).unwrap();
            if self.takes_back {
                seen.truncate(left);
            }
            self.takes_back
        }
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
        let mut out = WholeLines::new(script.clone());
        let failed = batches.iter().map(|batch| write_lines(&mut out, batch.concat().as_bytes())).sum();
        (script.seen(), failed)
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
    fn what_cannot_be_taken_back_is_finished_first() {
        let steps = vec![Ok(5), Err(ErrorKind::StorageFull), Err(ErrorKind::StorageFull)];
        // The first failure tears `bbb`; the second keeps its rest from being written.
        let batches: &[&[&str]] = &[&["aaa\n", "bbb\n"], &["ccc\n"], &["ddd\n"]];
        assert_eq!(written(steps, batches), ("aaa\nbbb\nddd\n".into(), 1));
        // An output that takes nothing and says so is as good as one that fails.
        assert_eq!(written(vec![Ok(1), Ok(0)], &[&["aaa\n"], &["bbb\n"]]), ("aaa\nbbb\n".into(), 0));
    }

    #[test]
    fn an_output_that_was_torn_before_begins_a_line() {
        let script = Script::new([Err(ErrorKind::StorageFull)]);
        let mut out = WholeLines::torn(script.clone());
        assert_eq!((write_lines(&mut out, b"a\n"), write_lines(&mut out, b"b\n")), (1, 0));
        assert_eq!(script.seen(), "\nb\n");
    }

    proptest! {
        /// Whatever an output takes, fails at, and takes back: what it has is some of the lines, whole and in their
        /// order, and all the others were counted.
        #[test]
        fn lines_are_whole_or_not_there(
            steps in proptest::collection::vec(
                prop_oneof![
                    (0..12_usize).prop_map(Ok),
                    Just(Err(ErrorKind::StorageFull)),
                    Just(Err(ErrorKind::Interrupted)),
                ],
                0..30,
            ),
            lengths in proptest::collection::vec(proptest::collection::vec(1..9_usize, 1..4), 1..12),
            takes_back: bool,
        ) {
            let script = Script { takes_back, ..Script::new(steps) };
            let mut out = WholeLines::new(script.clone());
            let (mut failed, mut all) = (0, Vec::new());
            for batch in lengths {
                let lines: Vec<_> = batch
                    .into_iter()
                    .map(|len| format!("{}{}\n", char::from(b'a' + (all.len() % 26) as u8), "x".repeat(len)))
                    .collect();
                failed += write_lines(&mut out, lines.concat().as_bytes());
                all.extend(lines);
            }
            // By now the output takes everything.
            script.steps.lock().unwrap().clear();
            failed += write_lines(&mut out, b"last\n");
            all.push("last\n".to_owned());
            let seen = script.seen();
            let mut rest = all.iter();
            let mut there = 0;
            for line in seen.split_inclusive('\n') {
                prop_assert!(rest.any(|own| own == line), "{line:?} of {seen:?}");
                there += 1;
            }
            prop_assert_eq!(there + failed, all.len() as u64);
        }
    }

    #[test]
    fn many_lines_are_written_in_batches_of_whole_ones() {
        let line = |len: usize| [vec![b'x'; len - 1], vec![b'\n']].concat();
        assert_eq!(batch_len(&line(BATCH)), BATCH);
        assert_eq!(batch_len(&[line(1000), line(BATCH)].concat()), 1000);
        assert_eq!(batch_len(&[line(2 * BATCH), line(10)].concat()), 2 * BATCH);
        let steps = (0..2).map(|_| Err(ErrorKind::BrokenPipe)).collect();
        let lines = "x\n".repeat(BATCH);
        let (seen, failed) = written(steps, &[&[&lines]]);
        assert_eq!((seen.len(), failed), (0, BATCH as u64));
        assert_eq!(written(Vec::new(), &[&[&lines]]), (lines, 0));
    }

    #[test]
    fn what_is_queued_is_written_before_the_end() {
        let script = Script::default();
        let (sink, worker) = Sink::spawn("test", Box::new(script.clone()), 1_000).unwrap();
        (0..100).for_each(|_| sink.offer(b"a line\n"));
        stop(std::iter::once(worker), Duration::from_secs(10));
        assert_eq!((script.seen(), sink.dropped()), ("a line\n".repeat(100), 0));
    }
}

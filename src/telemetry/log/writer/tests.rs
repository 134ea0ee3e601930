use std::{collections::VecDeque, sync::Mutex};

use proptest::prelude::*;

use super::*;

/// Follows a script: each write takes so many bytes, or fails.
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
fn an_output_whose_last_line_was_torn_begins_a_new_line() {
    let script = Script::new([Err(ErrorKind::StorageFull)]);
    let mut out = WholeLines::torn(script.clone());
    assert_eq!((write_lines(&mut out, b"a\n"), write_lines(&mut out, b"b\n")), (1, 0));
    assert_eq!(script.seen(), "\nb\n");
}

proptest! {
    /// Whatever an output takes, fails at, and takes back: what it has is some of the lines, whole and in
    /// their order, and all the others were counted.
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
        let mut failed = 0;
        let mut all = Vec::new();
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

//! The finished lines, in a file beside the recorded requests, so that an interrupted run continues where it
//! stopped.
//!
//! The first line identifies the recorded requests, by a hash of their beginning: lines may be added to them
//! later. Then comes the number of each finished line, written as soon as it is finished.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
};

/// How many bytes of the requests' file identify it.
const BEGINNING: u64 = 64 * 1024;

#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    finished: Ranges,
}

impl Journal {
    /// Opens the journal at `path` of the requests in `requests`. With `restart`, it is emptied.
    ///
    /// # Errors
    /// A text for the user, if it cannot be read or written, or belongs to other requests.
    pub(super) fn open(path: &Path, requests: &Path, restart: bool) -> Result<Self, String> {
        let fault = |error: io::Error| format!("{}: {error}", path.display());
        if restart && path.exists() {
            fs::remove_file(path).map_err(fault)?;
        }
        let mut file = OpenOptions::new().create(true).read(true).append(true).open(path).map_err(fault)?;
        let (first, finished, length) = read(&file).map_err(fault)?;
        // An incomplete last line is dropped. Its request is sent again.
        file.set_len(length).map_err(fault)?;
        let unreadable = |error: io::Error| format!("{}: {error}", requests.display());
        if first.is_empty() {
            let title = title(requests, BEGINNING).map_err(unreadable)?;
            file.write_all(title.as_bytes()).map_err(fault)?;
        } else if !is_of(&first, requests).map_err(unreadable)? {
            return Err(format!("{}: is about other requests; --restart begins anew", path.display()));
        }
        Ok(Self { path: path.to_owned(), file, finished })
    }

    /// Whether a line was finished when the journal was opened.
    pub(super) fn contains(&self, number: u64) -> bool {
        self.finished.contains(number)
    }

    /// Records a finished line.
    ///
    /// # Errors
    /// A text for the user, if it cannot be written.
    pub(super) fn record(&mut self, number: u64) -> Result<(), String> {
        let line = format!("{number}\n");
        self.file.write_all(line.as_bytes()).map_err(|error| format!("{}: {error}", self.path.display()))
    }

    /// Removes the file.
    ///
    /// # Errors
    /// A text for the user, if it cannot be removed.
    pub(super) fn remove(self) -> Result<(), String> {
        fs::remove_file(&self.path).map_err(|error| format!("{}: {error}", self.path.display()))
    }
}

/// The first line, the numbers after it, and the length of all complete lines in bytes.
fn read(file: &File) -> io::Result<(String, Ranges, u64)> {
    let mut file = BufReader::new(file);
    let mut first = String::new();
    let mut finished = Ranges::default();
    let mut length = 0;
    let mut line = Vec::new();
    loop {
        line.clear();
        length += read_line(&mut file, &mut line)?;
        let Some(text) = line.strip_suffix(b"\n") else { return Ok((first, finished, length)) };
        let text = String::from_utf8_lossy(text);
        if first.is_empty() {
            first = text.into_owned();
        } else if let Ok(number) = text.parse() {
            finished.insert(number);
        }
    }
}

/// Reads a line. Returns its length, or 0 if it is incomplete.
fn read_line(file: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<u64> {
    // A journal has no longer lines. Another file may have one line only.
    let length = file.by_ref().take(BEGINNING).read_until(b'\n', line)?;
    Ok(if line.ends_with(b"\n") { length as u64 } else { 0 })
}

/// The first line of the journal of `requests`, of whose beginning `length` bytes are hashed.
fn title(requests: &Path, length: u64) -> io::Result<String> {
    let mut beginning = Vec::new();
    File::open(requests)?.take(length.min(BEGINNING)).read_to_end(&mut beginning)?;
    Ok(format!("sidecache warm 1 {} {}\n", beginning.len(), blake3::hash(&beginning).to_hex()))
}

fn is_of(first: &str, requests: &Path) -> io::Result<bool> {
    let length = first.split(' ').nth(3).and_then(|length| length.parse().ok());
    length.map_or(Ok(false), |length| Ok(title(requests, length)?.trim_end() == first))
}

/// A set of numbers, most of them consecutive: the first of each range, with its last.
#[derive(Debug, Default)]
struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    fn contains(&self, number: u64) -> bool {
        self.0.range(..=number).next_back().is_some_and(|(_, last)| *last >= number)
    }

    fn insert(&mut self, number: u64) {
        if self.contains(number) {
            return;
        }
        let last = match number.checked_add(1) {
            Some(next) => self.0.remove(&next).unwrap_or(number),
            None => number,
        };
        match self.0.range_mut(..number).next_back() {
            Some((_, end)) if *end + 1 == number => *end = last,
            _ => {
                self.0.insert(number, last);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ranges_are_sets(numbers in proptest::collection::vec(0u64..40, 0..60)) {
            let mut ranges = Ranges::default();
            let mut set = BTreeSet::new();
            for number in numbers {
                ranges.insert(number);
                set.insert(number);
            }
            for number in 0..42 {
                prop_assert_eq!(ranges.contains(number), set.contains(&number));
            }
            let rows = set.iter().filter(|number| !set.contains(&(*number + 1))).count();
            prop_assert_eq!(ranges.0.len(), rows);
        }
    }

    #[test]
    fn a_journal_belongs_to_its_own_requests() {
        let dir = tempfile::tempdir().expect("a folder");
        let requests = dir.path().join("requests");
        let path = dir.path().join("journal");
        fs::write(&requests, "one\ntwo\n").expect("a file");
        let mut journal = Journal::open(&path, &requests, false).expect("a journal");
        for number in [1, 3] {
            journal.record(number).expect("room");
        }
        // An incomplete line, and requests that were added.
        OpenOptions::new().append(true).open(&path).and_then(|mut file| file.write_all(b"2")).expect("room");
        fs::write(&requests, "one\ntwo\nthree\n").expect("a file");
        let mut journal = Journal::open(&path, &requests, false).expect("a journal");
        assert_eq!([1, 2, 3].map(|number| journal.contains(number)), [true, false, true]);
        journal.record(9).expect("room");
        let journal = Journal::open(&path, &requests, false).expect("a journal");
        assert_eq!([2, 9, 29].map(|number| journal.contains(number)), [false, true, false]);
        fs::write(&requests, "two\nthree\n").expect("a file");
        assert!(Journal::open(&path, &requests, false).expect_err("another file").contains("--restart"));
        let journal = Journal::open(&path, &requests, true).expect("a journal");
        assert!(!journal.contains(1));
        journal.remove().expect("it is there");
        assert!(!path.exists());
    }
}

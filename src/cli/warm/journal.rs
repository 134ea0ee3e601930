//! Which lines are finished: a file beside the recorded requests, so that a run that was interrupted goes on where it
//! was.
//!
//! Its first line tells which requests it belongs to; after it comes a line for each one that is finished, written
//! as soon as it is, with its number.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
};

/// What of the requests' file is looked at to know it again, in bytes.
const BEGINNING: u64 = 64 * 1024;

/// The file, and what it told.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    finished: Ranges,
}

impl Journal {
    /// The journal at `path` of the requests in `requests`; with `restart`, an empty one.
    ///
    /// # Errors
    /// Where it cannot be read or written, or belongs to other requests.
    pub(super) fn open(path: &Path, requests: &Path, restart: bool) -> Result<Self, String> {
        let cannot = |error: io::Error| format!("{}: {error}", path.display());
        if restart && path.exists() {
            fs::remove_file(path).map_err(cannot)?;
        }
        let mut file = OpenOptions::new().create(true).read(true).append(true).open(path).map_err(cannot)?;
        let (first, finished, length) = read(&file).map_err(cannot)?;
        // A line that was cut is of a request that is sent again.
        file.set_len(length).map_err(cannot)?;
        let unreadable = |error: io::Error| format!("{}: {error}", requests.display());
        if first.is_empty() {
            let title = title(requests, BEGINNING).map_err(unreadable)?;
            file.write_all(title.as_bytes()).map_err(cannot)?;
        } else if !is_of(&first, requests).map_err(unreadable)? {
            return Err(format!("{}: is about other requests; --restart begins anew", path.display()));
        }
        Ok(Self { path: path.to_owned(), file, finished })
    }

    /// Whether a line was finished when the journal was opened.
    pub(super) fn has(&self, number: u64) -> bool {
        self.finished.has(number)
    }

    /// Notes a finished line.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub(super) fn note(&mut self, number: u64) -> Result<(), String> {
        let line = format!("{number}\n");
        self.file.write_all(line.as_bytes()).map_err(|error| format!("{}: {error}", self.path.display()))
    }

    /// All is done: nothing is left to remember.
    ///
    /// # Errors
    /// Where the file cannot be removed.
    pub(super) fn remove(self) -> Result<(), String> {
        fs::remove_file(&self.path).map_err(|error| format!("{}: {error}", self.path.display()))
    }
}

/// The first line, the numbers after it, and the bytes that they take, up to the last line that is whole.
fn read(file: &File) -> io::Result<(String, Ranges, u64)> {
    let mut file = BufReader::new(file);
    let (mut first, mut finished, mut length) = (String::new(), Ranges::default(), 0);
    let mut line = Vec::new();
    loop {
        line.clear();
        length += line_of(&mut file, &mut line)?;
        let Some(text) = line.strip_suffix(b"\n") else { return Ok((first, finished, length)) };
        let text = String::from_utf8_lossy(text);
        if first.is_empty() {
            first = text.into_owned();
        } else if let Ok(number) = text.parse() {
            finished.insert(number);
        }
    }
}

/// Reads a line; its length where it is whole, else zero.
fn line_of(file: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<u64> {
    // No line is longer; a file of another sort may have none at all.
    let length = file.by_ref().take(BEGINNING).read_until(b'\n', line)?;
    Ok(if line.ends_with(b"\n") { length as u64 } else { 0 })
}

/// The first line of the journal of `requests`, of which `length` bytes count: what comes after them may have been
/// added.
fn title(requests: &Path, length: u64) -> io::Result<String> {
    let mut beginning = Vec::new();
    File::open(requests)?.take(length.min(BEGINNING)).read_to_end(&mut beginning)?;
    Ok(format!("sidecache warm 1 {} {}\n", beginning.len(), blake3::hash(&beginning).to_hex()))
}

fn is_of(first: &str, requests: &Path) -> io::Result<bool> {
    let length = first.split(' ').nth(3).and_then(|length| length.parse().ok());
    length.map_or(Ok(false), |length| Ok(title(requests, length)?.trim_end() == first))
}

/// Numbers, most of them in a row: from the first to the last of each row.
#[derive(Debug, Default)]
struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    fn has(&self, number: u64) -> bool {
        self.0.range(..=number).next_back().is_some_and(|(_, last)| *last >= number)
    }

    fn insert(&mut self, number: u64) {
        if self.has(number) {
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
                prop_assert_eq!(ranges.has(number), set.contains(&number));
            }
            let rows = set.iter().filter(|number| !set.contains(&(*number + 1))).count();
            prop_assert_eq!(ranges.0.len(), rows);
        }
    }

    #[test]
    fn a_journal_is_found_again_for_its_own_requests() {
        let dir = tempfile::tempdir().expect("a folder");
        let (requests, path) = (dir.path().join("requests"), dir.path().join("journal"));
        fs::write(&requests, "one\ntwo\n").expect("a file");
        let mut journal = Journal::open(&path, &requests, false).expect("a journal");
        for number in [1, 3] {
            journal.note(number).expect("room");
        }
        // A line that was cut, and requests that were added.
        OpenOptions::new().append(true).open(&path).and_then(|mut file| file.write_all(b"2")).expect("room");
        fs::write(&requests, "one\ntwo\nthree\n").expect("a file");
        let mut journal = Journal::open(&path, &requests, false).expect("a journal");
        assert_eq!([1, 2, 3].map(|number| journal.has(number)), [true, false, true]);
        journal.note(9).expect("room");
        let journal = Journal::open(&path, &requests, false).expect("a journal");
        assert_eq!([2, 9, 29].map(|number| journal.has(number)), [false, true, false]);
        fs::write(&requests, "two\nthree\n").expect("a file");
        assert!(Journal::open(&path, &requests, false).expect_err("another file").contains("--restart"));
        let journal = Journal::open(&path, &requests, true).expect("a journal");
        assert!(!journal.has(1));
        journal.remove().expect("it is there");
        assert!(!path.exists());
    }
}

//! Reads logs line by line, from files or from standard input.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use super::progress::Progress;

/// The log has no longer lines, in bytes.
const LONGEST: u64 = 1 << 20;

const BUFFER: usize = 1 << 18;

/// The lines that could not be read.
#[derive(Debug, Default)]
pub(super) struct Unreadable {
    count: u64,
    /// The file and the number of the first one, and what is wrong with it.
    first: Option<String>,
}

impl Unreadable {
    fn add(&mut self, path: &Path, number: u64, fault: &str) {
        self.count += 1;
        self.first.get_or_insert_with(|| format!("{}:{number}: {fault}", path.display()));
    }

    /// One line for the user; empty if all could be read.
    pub(super) fn report(&self) -> String {
        match (&self.first, self.count) {
            (Some(first), 1) => format!("{first}; this line is left out\n"),
            (Some(first), count) => format!("{first}; {count} such lines are left out\n"),
            (None, _) => String::new(),
        }
    }
}

/// Gives all lines of `paths` to `take`, which says what is wrong with one; `-` is standard input.
///
/// # Errors
/// A text for the user, if a file cannot be read.
pub(super) fn read(
    paths: &[PathBuf],
    mut take: impl FnMut(&[u8]) -> Result<(), String>,
) -> Result<Unreadable, String> {
    // All are opened first: a wrong name is told at once.
    let mut inputs = Vec::new();
    let mut length = Some(0);
    for path in paths {
        let fault = |error: io::Error| format!("{}: cannot be read: {error}", path.display());
        let (input, bytes) = open(path).map_err(fault)?;
        length = length.zip(bytes).map(|(sum, bytes)| sum + bytes);
        inputs.push((path, input));
    }
    let progress = Progress::new(length);
    let mut unreadable = Unreadable::default();
    for (path, input) in inputs {
        let fault = |error: io::Error| format!("{}: cannot be read: {error}", path.display());
        let mut input = BufReader::with_capacity(BUFFER, input);
        let mut text = Vec::new();
        let mut number = 0;
        while next(&mut input, &mut text).map_err(fault)? {
            number += 1;
            progress.add(text.len() as u64);
            if let Err(fault) = take(&text) {
                unreadable.add(path, number, &fault);
            }
        }
    }
    progress.end();
    Ok(unreadable)
}

/// Opens a file, and tells its length if it has one.
fn open(path: &Path) -> io::Result<(Box<dyn Read>, Option<u64>)> {
    if path == Path::new("-") {
        return Ok((Box::new(io::stdin()), None));
    }
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    Ok((Box::new(file), metadata.is_file().then_some(metadata.len())))
}

/// Reads the next line into `text`, of a longer one its beginning; whether there is one.
fn next(input: &mut impl BufRead, text: &mut Vec<u8>) -> io::Result<bool> {
    text.clear();
    if input.by_ref().take(LONGEST).read_until(b'\n', text)? == 0 {
        return Ok(false);
    }
    if text.len() as u64 == LONGEST && !text.ends_with(b"\n") {
        input.skip_until(b'\n')?;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_bounded_and_the_last_needs_no_end() {
        let long = "x".repeat(LONGEST as usize + 5);
        let whole = format!("a\n\n{long}\nb\r\nc");
        let mut input = whole.as_bytes();
        let (mut text, mut lengths) = (Vec::new(), Vec::new());
        while next(&mut input, &mut text).expect("a text") {
            lengths.push(text.len());
        }
        assert_eq!(lengths, [2, 1, LONGEST as usize, 3, 1]);
    }

    #[test]
    fn unreadable_lines_are_told_once() {
        let mut unreadable = Unreadable::default();
        assert_eq!(unreadable.report(), "");
        unreadable.add(Path::new("app.log"), 3, "is rubbish");
        assert_eq!(unreadable.report(), "app.log:3: is rubbish; this line is left out\n");
        unreadable.add(Path::new("app.log"), 9, "is cut");
        assert_eq!(unreadable.report(), "app.log:3: is rubbish; 2 such lines are left out\n");
    }
}

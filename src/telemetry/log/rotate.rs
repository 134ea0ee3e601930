//! The log file: bounded in size, reopened on demand, and tried again after a failure.
//!
//! It is written by hand because `log.rotate_size` and `log.rotate_keep` are promised. tracing-appender
//! rotates by time only, and its writer cannot take a torn line back when the disk fills up: here a file has
//! only whole lines, of which `lines_are_whole_or_not_there` (writer.rs) tries every failure.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    error::LogError,
    writer::{Output, WholeLines},
};

/// How long after a failure to open or rotate the file the next attempt is made.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A file that is renamed to `FILE.1` when it would outgrow its size; before that, `FILE.1` to `FILE.2`, and
/// so on.
///
/// A write takes as many whole lines as fit, which may be fewer than it was given.
#[derive(Debug)]
pub(super) struct RotatingFile {
    path: PathBuf,
    /// In bytes; 0 is no bound.
    max_size: u64,
    /// How many renamed files stay; with 0, the file is emptied instead.
    keep: usize,
    /// When it grows, the file is reopened.
    generation: Arc<AtomicU64>,
    opened_in: u64,
    current: Option<OpenFile>,
    retry_at: Option<Instant>,
    retry_after: Duration,
}

/// A file that ends with the lines of this process, as long as no other process writes to it.
#[derive(Debug)]
struct LogFile(File);

impl Write for LogFile {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Output for LogFile {
    /// Takes nothing back if the file goes on after our last byte, or was cut: others wrote to it.
    fn take_back(&mut self, bytes: u64) -> bool {
        let mut cut = || -> io::Result<bool> {
            let metadata = self.0.metadata()?;
            let end = self.0.stream_position()?;
            let is_ours = metadata.is_file() && metadata.len() == end && bytes <= end;
            if is_ours {
                self.0.set_len(end - bytes)?;
            }
            Ok(is_ours)
        };
        cut().unwrap_or(false)
    }
}

#[derive(Debug)]
struct OpenFile {
    lines: WholeLines<LogFile>,
    size: u64,
    /// A device or a pipe (`/dev/stderr`) has no size and must not be renamed.
    rotates: bool,
}

impl RotatingFile {
    /// Makes the folder and opens the file.
    pub(super) fn open(
        path: &Path,
        max_size: u64,
        keep: usize,
        generation: Arc<AtomicU64>,
    ) -> Result<Self, LogError> {
        make_folder(path)
            .map_err(|source| LogError::Folder { path: path.parent().unwrap_or(path).to_owned(), source })?;
        let current =
            OpenFile::open(path).map_err(|source| LogError::File { path: path.to_owned(), source })?;
        let opened_in = generation.load(Ordering::Acquire);
        Ok(Self {
            path: path.to_owned(),
            max_size,
            keep,
            generation,
            opened_in,
            current: Some(current),
            retry_at: None,
            retry_after: RETRY_AFTER,
        })
    }

    /// Runs `action`, unless the last one failed less than `retry_after` ago.
    fn attempt(&mut self, action: impl FnOnce(&mut Self) -> io::Result<()>) -> io::Result<()> {
        if self.retry_at.is_some_and(|at| Instant::now() < at) {
            return Err(io::Error::other("not tried again yet"));
        }
        let result = action(self);
        self.retry_at = result.is_err().then(|| Instant::now() + self.retry_after);
        result
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.current = None;
        make_folder(&self.path)?;
        self.current = Some(OpenFile::open(&self.path)?);
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        if self.keep > 0 {
            shift(&self.path, self.keep)?;
            return self.reopen();
        }
        if let Some(current) = &mut self.current {
            let LogFile(file) = current.lines.get_ref();
            file.set_len(0)?;
            let lines = WholeLines::new(LogFile(file.try_clone()?));
            *current = OpenFile { lines, size: 0, rotates: true };
        }
        Ok(())
    }

    /// Opens the file if it is not open; rotates it if not one line of `lines` fits any more.
    fn prepare(&mut self, lines: &[u8]) -> io::Result<()> {
        let generation = self.generation.load(Ordering::Acquire);
        if generation != self.opened_in {
            self.write_rest();
            self.opened_in = generation;
            self.retry_at = None;
            self.current = None;
        }
        if self.current.is_none() {
            self.attempt(Self::reopen)?;
        }
        let outgrown = |current: &OpenFile| current.fitting(lines, self.max_size) == 0 && current.size > 0;
        if !self.current.as_ref().is_some_and(outgrown) {
            return Ok(());
        }
        self.write_rest();
        self.attempt(Self::rotate)
    }

    /// Ends the last line of a file that is about to be closed, if the disk takes it.
    fn write_rest(&mut self) {
        if let Some(current) = &mut self.current {
            let _ = current.lines.write_rest();
        }
    }
}

impl Write for RotatingFile {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        // A line that was begun is finished in its file.
        if !self.current.as_ref().is_some_and(|current| current.lines.is_mid_line()) {
            self.prepare(buf)?;
        }
        let Some(current) = &mut self.current else { return Err(ErrorKind::NotFound.into()) };
        let fitting = match current.fitting(buf, self.max_size) {
            // A line longer than a whole file gets a file of its own.
            0 => first_line(buf),
            n => n,
        };
        let written = current.lines.write(buf.get(..fitting).unwrap_or(buf));
        match &written {
            Ok(written) => current.size += *written as u64,
            // The beginning of a line may have been taken back.
            Err(_) => current.measure(),
        }
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl OpenFile {
    fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        let metadata = file.metadata()?;
        let rotates = metadata.is_file();
        let size = metadata.len();
        let is_torn = rotates && ends_mid_line(path);
        let file = LogFile(file);
        let lines = if is_torn { WholeLines::torn(file) } else { WholeLines::new(file) };
        Ok(Self { lines, size, rotates })
    }

    /// Reads the size from the file system.
    fn measure(&mut self) {
        let LogFile(file) = self.lines.get_ref();
        if let (true, Ok(metadata)) = (self.rotates, file.metadata()) {
            self.size = metadata.len();
        }
    }

    /// The length of the whole lines at the start of `lines` that the file has room for.
    fn fitting(&self, lines: &[u8], max_size: u64) -> usize {
        if !self.rotates || max_size == 0 {
            return lines.len();
        }
        let room = usize::try_from(max_size.saturating_sub(self.size)).unwrap_or(usize::MAX);
        if lines.len() <= room {
            return lines.len();
        }
        let start = lines.get(..room).unwrap_or(lines);
        start.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1)
    }
}

fn first_line(lines: &[u8]) -> usize {
    lines.iter().position(|byte| *byte == b'\n').map_or(lines.len(), |at| at + 1)
}

fn make_folder(path: &Path) -> io::Result<()> {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).map_or(Ok(()), fs::create_dir_all)
}

/// Whether the process that wrote the file last was stopped within a line. A file that may not be read counts
/// as whole.
fn ends_mid_line(path: &Path) -> bool {
    let last = || -> io::Result<u8> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::End(-1))?;
        let mut byte = [0];
        file.read_exact(&mut byte)?;
        Ok(byte[0])
    };
    last().is_ok_and(|byte| byte != b'\n')
}

/// Renames `FILE.1` to `FILE.2` and so on, then `FILE` to `FILE.1`; the file numbered `keep` goes.
fn shift(path: &Path, keep: usize) -> io::Result<()> {
    let numbered = |n: usize| {
        let mut name = path.as_os_str().to_owned();
        if n > 0 {
            name.push(format!(".{n}"));
        }
        PathBuf::from(name)
    };
    // Only up to the first gap: then another attempt after a failure half way moves nothing twice.
    let gap = (1..keep).find(|n| !numbered(*n).exists()).unwrap_or(keep);
    for n in (0..gap).rev() {
        match fs::rename(numbered(n), numbered(n + 1)) {
            // Someone else moved it already.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            other => other?,
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;

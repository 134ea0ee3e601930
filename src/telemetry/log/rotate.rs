//! The log file: bounded in size, reopened on demand, never given up.

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

/// How long after a failure to open or rotate the file it is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A file that is renamed `FILE.1` when it would outgrow its size, `FILE.1` before that `FILE.2`, and so on.
///
/// A write takes whole lines, as many as fit, and may take fewer than it was given.
#[derive(Debug)]
pub(super) struct RotatingFile {
    path: PathBuf,
    /// In bytes; 0: no bound.
    max_size: u64,
    /// How many renamed files stay; 0: the file is emptied instead.
    keep: usize,
    /// Whoever raises it has the file reopened.
    generation: Arc<AtomicU64>,
    seen: u64,
    current: Option<Current>,
    retry_at: Option<Instant>,
    retry_after: Duration,
}

/// A file that ends with the lines of this process, as long as no other one writes to it.
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
    /// Where the file goes on behind our last byte, or was cut, what others wrote is not taken away.
    fn take_back(&mut self, bytes: u64) -> bool {
        let mut cut = || -> io::Result<bool> {
            let (metadata, end) = (self.0.metadata()?, self.0.stream_position()?);
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
struct Current {
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
            Current::open(path).map_err(|source| LogError::File { path: path.to_owned(), source })?;
        let seen = generation.load(Ordering::Acquire);
        Ok(Self {
            path: path.to_owned(),
            max_size,
            keep,
            generation,
            seen,
            current: Some(current),
            retry_at: None,
            retry_after: RETRY_AFTER,
        })
    }

    /// Runs `action`, unless the last one failed a moment ago.
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
        self.current = Some(Current::open(&self.path)?);
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
            *current = Current { lines, size: 0, rotates: true };
        }
        Ok(())
    }

    /// Opens the file where it has to be; rotates it where not one line of `lines` fits any more.
    fn prepare(&mut self, lines: &[u8]) -> io::Result<()> {
        let generation = self.generation.load(Ordering::Acquire);
        if generation != self.seen {
            self.settle();
            (self.seen, self.retry_at, self.current) = (generation, None, None);
        }
        if self.current.is_none() {
            self.attempt(Self::reopen)?;
        }
        let outgrown = |current: &Current| current.fitting(lines, self.max_size) == 0 && current.size > 0;
        if !self.current.as_ref().is_some_and(outgrown) {
            return Ok(());
        }
        self.settle();
        self.attempt(Self::rotate)
    }

    /// Ends the last line of a file that is about to be left, if the disk takes it.
    fn settle(&mut self) {
        if let Some(current) = &mut self.current {
            let _ = current.lines.settle();
        }
    }
}

impl Write for RotatingFile {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        // A line that was begun is finished where it was begun.
        if !self.current.as_ref().is_some_and(|current| current.lines.is_mid_line()) {
            self.prepare(buf)?;
        }
        let Some(current) = &mut self.current else { return Err(ErrorKind::NotFound.into()) };
        let fitting = match current.fitting(buf, self.max_size) {
            // Longer than a whole file: it gets one of its own.
            0 => first_line(buf),
            n => n,
        };
        let written = current.lines.write(buf.get(..fitting).unwrap_or(buf));
        match &written {
            Ok(written) => current.size += *written as u64,
            // Something of it may have been taken back.
            Err(_) => current.measure(),
        }
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Current {
    fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        let metadata = file.metadata()?;
        let (rotates, size) = (metadata.is_file(), metadata.len());
        let is_torn = rotates && ends_mid_line(path);
        let file = LogFile(file);
        let lines = if is_torn { WholeLines::torn(file) } else { WholeLines::new(file) };
        Ok(Self { lines, size, rotates })
    }

    /// Takes the file's size from the file.
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

/// Whether whoever wrote the file last was stopped within a line. A file that may not be read is taken as whole.
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
    // Only up to the first gap: trying again after a failure half way then moves nothing twice.
    let gap = (1..keep).find(|n| !numbered(*n).exists()).unwrap_or(keep);
    for n in (0..gap).rev() {
        match fs::rename(numbered(n), numbered(n + 1)) {
            // Someone else took it: so much the better.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            other => other?,
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    struct Place {
        folder: tempfile::TempDir,
        generation: Arc<AtomicU64>,
    }

    impl Place {
        fn new() -> Self {
            Self { folder: tempfile::tempdir().unwrap(), generation: Arc::default() }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join("logs").join(name)
        }

        fn open(&self, max_size: u64, keep: usize) -> RotatingFile {
            let generation = Arc::clone(&self.generation);
            let mut file = RotatingFile::open(&self.path("app.log"), max_size, keep, generation).unwrap();
            file.retry_after = Duration::ZERO;
            file
        }

        fn text(&self, name: &str) -> String {
            fs::read_to_string(self.path(name)).unwrap_or_else(|_| "(none)".to_owned())
        }
    }

    #[test]
    fn it_rotates_and_keeps_so_many() {
        let place = Place::new();
        let mut file = place.open(8, 2);
        for line in ["aaa\n", "bbb\n", "ccc\n", "ddd\n", "eee\n", "fff\n", "ggg\n"] {
            file.write_all(line.as_bytes()).unwrap();
        }
        assert_eq!(place.text("app.log"), "ggg\n");
        assert_eq!(place.text("app.log.1"), "eee\nfff\n");
        assert_eq!(place.text("app.log.2"), "ccc\nddd\n");
        assert_eq!(place.text("app.log.3"), "(none)");
    }

    #[test]
    fn a_batch_is_split_between_lines() {
        let place = Place::new();
        let mut file = place.open(8, 9);
        file.write_all(b"a\nb\nccc\ndddd\neeeeeeeeeeee\nf\n").unwrap();
        let names = ["app.log.3", "app.log.2", "app.log.1", "app.log"];
        assert_eq!(names.map(|name| place.text(name)), ["a\nb\nccc\n", "dddd\n", "eeeeeeeeeeee\n", "f\n"]);
    }

    #[test]
    fn the_size_at_the_start_counts() {
        let place = Place::new();
        place.open(8, 1).write_all(b"aaaaa\n").unwrap();
        place.open(8, 1).write_all(b"bbb\n").unwrap();
        assert_eq!((place.text("app.log.1"), place.text("app.log")), ("aaaaa\n".into(), "bbb\n".into()));
    }

    #[test]
    fn keeping_none_empties_the_file() {
        let place = Place::new();
        let mut file = place.open(8, 0);
        file.write_all(b"aaa\nbbb\nccc\n").unwrap();
        assert_eq!(place.text("app.log"), "ccc\n");
        assert_eq!(place.text("app.log.1"), "(none)");
    }

    #[test]
    fn no_bound_never_rotates() {
        let place = Place::new();
        place.open(0, 1).write_all(&b"aaa\n".repeat(1000)).unwrap();
        assert_eq!(place.text("app.log").len(), 4000);
    }

    #[test]
    fn it_reopens_when_asked() {
        let place = Place::new();
        let mut file = place.open(0, 1);
        file.write_all(b"a\n").unwrap();
        fs::rename(place.path("app.log"), place.path("moved.log")).unwrap();
        file.write_all(b"b\n").unwrap();
        place.generation.fetch_add(1, Ordering::Release);
        file.write_all(b"c\n").unwrap();
        assert_eq!((place.text("moved.log"), place.text("app.log")), ("a\nb\n".into(), "c\n".into()));
    }

    #[test]
    fn a_line_left_half_written_is_ended() {
        let place = Place::new();
        place.open(0, 1).write_all(b"a\nhal").unwrap();
        place.open(0, 1).write_all(b"b\n").unwrap();
        assert_eq!(place.text("app.log"), "a\nhal\nb\n");
    }

    #[test]
    fn what_is_taken_back_is_this_process_own() {
        let place = Place::new();
        let mut file = place.open(0, 1);
        file.write_all(b"aaa\nbb").unwrap();
        let taken_back = |file: &mut RotatingFile, bytes| {
            let mut cut = LogFile(file.current.as_ref().unwrap().lines.get_ref().0.try_clone().unwrap());
            cut.take_back(bytes)
        };
        assert!(taken_back(&mut file, 2));
        assert_eq!(place.text("app.log"), "aaa\n");
        // Somebody else has written behind, or has emptied the file.
        file.write_all(b"cc").unwrap();
        OpenOptions::new().append(true).open(place.path("app.log")).unwrap().write_all(b"!").unwrap();
        assert!(!taken_back(&mut file, 2));
        fs::write(place.path("app.log"), "").unwrap();
        assert!(!taken_back(&mut file, 2));
        assert_eq!(place.text("app.log"), "");
    }

    #[test]
    fn a_line_begun_is_finished_in_its_file() {
        let place = Place::new();
        let mut file = place.open(8, 1);
        file.write_all(b"aaa").unwrap();
        place.generation.fetch_add(1, Ordering::Release);
        file.write_all(b"aaaaaaaa\nb\n").unwrap();
        assert_eq!((place.text("app.log.1"), place.text("app.log")), ("aaaaaaaaaaa\n".into(), "b\n".into()));
    }

    #[test]
    fn a_failure_is_tried_again_and_moves_nothing_twice() {
        let place = Place::new();
        let mut file = place.open(4, 2);
        file.write_all(b"aaa\nbbb\nccc\n").unwrap();
        // A folder that is not empty cannot be replaced by a file.
        fs::remove_file(place.path("app.log.2")).unwrap();
        fs::create_dir_all(place.path("app.log.2").join("full")).unwrap();
        for _ in 0..3 {
            file.write_all(b"lost\n").unwrap_err();
        }
        assert_eq!((place.text("app.log.1"), place.text("app.log")), ("bbb\n".into(), "ccc\n".into()));
        fs::remove_dir_all(place.path("app.log.2")).unwrap();
        file.write_all(b"ddd\n").unwrap();
        let names = ["app.log.2", "app.log.1", "app.log"];
        assert_eq!(names.map(|name| place.text(name)), ["bbb\n", "ccc\n", "ddd\n"]);
    }

    #[test]
    fn a_folder_that_went_is_made_again() {
        let place = Place::new();
        let mut file = place.open(4, 1);
        fs::remove_dir_all(place.folder.path().join("logs")).unwrap();
        file.write_all(b"aaa\nbbb\n").unwrap();
        assert_eq!(place.text("app.log"), "bbb\n");
    }

    #[test]
    fn failures_are_not_repeated_at_once() {
        let place = Place::new();
        let mut file = place.open(4, 1);
        file.retry_after = Duration::from_secs(3600);
        let folder = place.folder.path().join("logs");
        fs::remove_dir_all(&folder).unwrap();
        fs::write(&folder, "in the way").unwrap();
        file.write_all(b"aaa\nbbb\n").unwrap_err();
        fs::remove_file(&folder).unwrap();
        file.write_all(b"ccc\n").unwrap_err();
        // But a reopen that was asked for is done.
        place.generation.fetch_add(1, Ordering::Release);
        file.write_all(b"ddd\n").unwrap();
        assert_eq!(place.text("app.log"), "ddd\n");
    }

    #[cfg(unix)]
    #[test]
    fn a_device_is_never_renamed() {
        let place = Place::new();
        fs::create_dir_all(place.folder.path().join("logs")).unwrap();
        std::os::unix::fs::symlink("/dev/null", place.path("app.log")).unwrap();
        place.open(4, 1).write_all(b"aaa\nbbb\nccc\n").unwrap();
        assert!(fs::symlink_metadata(place.path("app.log")).unwrap().is_symlink());
        assert_eq!(place.text("app.log.1"), "(none)");
    }
}

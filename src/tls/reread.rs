//! Something that is made of files, as they are now.
//!
//! Files are replaced in place, or by a link that points elsewhere (Kubernetes), so the times and the numbers of all of
//! them are compared, not their texts. A new file that is of no use changes nothing: what was made before stays.

use std::{
    fmt, fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

/// A `T` that is made of files, and made again when one of them changes.
pub(crate) struct Reread<T, E> {
    files: Vec<PathBuf>,
    read: Box<dyn Fn() -> Result<T, E> + Send + Sync>,
    current: ArcSwap<T>,
    /// What the files were when they were last read.
    stamps: Mutex<Vec<Stamp>>,
}

/// Of a file: when it was changed, and which one it is; `None` if there is none.
pub(crate) type Stamp = Option<(i64, i64, u64)>;

impl<T: fmt::Debug, E> fmt::Debug for Reread<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reread")
            .field("files", &self.files)
            .field("current", &self.current)
            .finish_non_exhaustive()
    }
}

impl<T, E> Reread<T, E> {
    /// Reads `files` by `read`.
    ///
    /// # Errors
    /// Those of `read`.
    pub(crate) fn open(
        files: Vec<PathBuf>,
        read: impl Fn() -> Result<T, E> + Send + Sync + 'static,
    ) -> Result<Self, E> {
        let stamps = Mutex::new(stamps(&files));
        let current = ArcSwap::from_pointee(read()?);
        Ok(Self { files, read: Box::new(read), current, stamps })
    }

    pub(crate) fn current(&self) -> Arc<T> {
        self.current.load_full()
    }

    /// Reads the files again if one of them has changed; says whether one has.
    ///
    /// # Errors
    /// If a new one is of no use, once for each change.
    pub(crate) fn refresh(&self) -> Result<bool, E> {
        let new = stamps(&self.files);
        let mut stamps = self.stamps.lock();
        if new == *stamps {
            return Ok(false);
        }
        *stamps = new;
        self.current.store(Arc::new((self.read)()?));
        Ok(true)
    }
}

fn stamps(files: &[PathBuf]) -> Vec<Stamp> {
    files.iter().map(|path| stamp(path)).collect()
}

/// What the file at `path` is now.
pub(crate) fn stamp(path: &Path) -> Stamp {
    let file = fs::metadata(path).ok()?;
    Some((file.mtime(), file.mtime_nsec(), file.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_again_when_it_changes_and_a_bad_one_changes_nothing() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("number");
        let write = |text: &str| {
            fs::write(dir.path().join("new"), text).expect("a file");
            fs::rename(dir.path().join("new"), &path).expect("a file");
        };
        write("1");
        let file = path.clone();
        let read = move || fs::read_to_string(&file).expect("a file").parse::<u8>();
        let number = Reread::open(vec![path.clone()], read).expect("a number");
        assert_eq!((number.refresh(), *number.current()), (Ok(false), 1));
        write("2");
        assert_eq!((number.refresh(), number.refresh(), *number.current()), (Ok(true), Ok(false), 2));
        write("none");
        assert!(number.refresh().is_err());
        assert_eq!((number.refresh(), *number.current()), (Ok(false), 2));
        write("3");
        assert_eq!((number.refresh(), *number.current()), (Ok(true), 3));
    }
}

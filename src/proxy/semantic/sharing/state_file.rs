//! `semantic.state` on the disk: one process has it at a time, and it is replaced as a whole.

use std::{
    fs::{File, OpenOptions, Permissions},
    io::{self, BufWriter, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use bytes::Bytes;

use crate::cache::{
    encryption::Encryption,
    semantic::state::{State, StateHead, StateWriter},
};

/// The largest file that is written or read, in bytes.
pub(super) const MAX_BYTES: u64 = 256 * 1024 * 1024;

/// What a file may be longer than that: what comes last is written in any case.
const SLACK: u64 = 1024 * 1024;

/// For its owner alone: vectors say something about texts, and entries are answers.
const MODE: u32 = 0o600;

/// The file.
#[derive(Debug)]
pub(super) struct StateFile {
    path: PathBuf,
    encryption: Option<Encryption>,
}

/// The right to read and write it, until this is dropped.
#[derive(Debug)]
pub(super) struct Ownership {
    /// Locked. It is a file of its own, since the other one is replaced.
    _lock: File,
}

impl StateFile {
    pub(super) const fn new(path: PathBuf, encryption: Option<Encryption>) -> Self {
        Self { path, encryption }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the file; `None` while another process has it.
    ///
    /// # Errors
    /// If the folder cannot be written to.
    pub(super) fn own(&self) -> io::Result<Option<Ownership>> {
        let lock = OpenOptions::new().create(true).append(true).mode(MODE).open(self.beside("lock"))?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(Ownership { _lock: lock })),
            Err(std::fs::TryLockError::WouldBlock) => Ok(None),
            Err(std::fs::TryLockError::Error(error)) => Err(error),
        }
    }

    /// What it says; `None` if there is none.
    ///
    /// # Errors
    /// If it cannot be read, or is not what this process would write.
    pub(super) fn read(&self, _owner: &Ownership) -> io::Result<Option<State>> {
        match std::fs::metadata(&self.path) {
            Ok(metadata) if metadata.is_file() => {}
            Ok(_) => return Err(io::Error::new(io::ErrorKind::InvalidData, "it is no file")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        }
        let file = File::open(&self.path)?;
        let mut bytes = Vec::new();
        file.take(MAX_BYTES + SLACK + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_BYTES + SLACK {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is too large"));
        }
        let state = State::read(&Bytes::from(bytes), self.encryption.as_ref());
        state.map(Some).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// Replaces it by what `write` writes: all of it, or nothing, even if the machine stops meanwhile.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn write(
        &self,
        _owner: &Ownership,
        head: &StateHead,
        write: impl FnOnce(&mut StateWriter<'_, BufWriter<&File>>) -> io::Result<()>,
    ) -> io::Result<()> {
        let path = self.beside("new");
        let file = OpenOptions::new().create(true).write(true).truncate(true).mode(MODE).open(&path)?;
        // It may have been there, with another mode.
        file.set_permissions(Permissions::from_mode(MODE))?;
        let id = fastrand::u128(..).to_le_bytes();
        let mut writer = StateWriter::begin(BufWriter::new(&file), id, self.encryption.as_ref(), head)?;
        write(&mut writer)?;
        writer.finish()?.flush()?;
        file.sync_all()?;
        std::fs::rename(&path, &self.path)?;
        self.sync_folder()
    }

    /// Gives it another name, so that nobody reads it again, even if the machine stops.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn put_aside(&self) -> io::Result<()> {
        std::fs::rename(&self.path, self.beside("refused"))?;
        self.sync_folder()
    }

    fn sync_folder(&self) -> io::Result<()> {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }

    fn beside(&self, extension: &str) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(".");
        path.push(extension);
        path.into()
    }
}

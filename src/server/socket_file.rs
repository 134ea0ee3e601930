//! The file of a Unix socket: it replaces a stale one, never a live one, and goes with its listener.
//!
//! The socket is bound beside its place and moved there once it listens, with its mode. So nobody finds it half made,
//! and where the process of a live one is replaced, there is no moment without a file.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicUsize, Ordering},
};

use socket2::{Domain, SockAddr, Socket, Type};

/// How many sockets this process has bound: each has a name of its own beside its place.
static BOUND: AtomicUsize = AtomicUsize::new(0);

/// A socket that is not in its place yet.
#[derive(Debug)]
pub(crate) struct PendingFile {
    socket: Socket,
    beside: PathBuf,
    path: PathBuf,
}

/// The file of a listener; removed once this is dropped, unless it is another one's by now.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    inode: (u64, u64),
}

impl PendingFile {
    /// Binds a socket for `path`, with this mode. Says, too, whether another process listens there.
    ///
    /// # Errors
    /// The system's; also if something else than a socket is at `path`.
    pub(crate) fn bind(path: &Path, mode: u32) -> io::Result<(Self, bool)> {
        let has_other = answers(path)?;
        let number = BOUND.fetch_add(1, Ordering::Relaxed);
        let beside = path.with_file_name(format!(".{}-{number}", process::id()));
        let _ = fs::remove_file(&beside);
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.bind(&SockAddr::unix(&beside)?)?;
        let pending = Self { socket, beside, path: path.to_owned() };
        fs::set_permissions(&pending.beside, fs::Permissions::from_mode(mode))?;
        Ok((pending, has_other))
    }

    /// Listens, and moves the socket to its place.
    pub(super) fn listen(self, backlog: i32) -> io::Result<(Socket, SocketFile)> {
        self.socket.listen(backlog)?;
        let inode = inode(&self.beside)?;
        fs::rename(&self.beside, &self.path)?;
        let file = SocketFile { path: self.path.clone(), inode };
        Ok((self.socket.try_clone()?, file))
    }
}

impl Drop for PendingFile {
    fn drop(&mut self) {
        // It is gone if it was moved.
        let _ = fs::remove_file(&self.beside);
    }
}

impl SocketFile {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if inode(&self.path).is_ok_and(|inode| inode == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn inode(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
}

/// Whether somebody listens at `path`. If nobody does, what is there is the socket of a process that is gone.
fn answers(path: &Path) -> io::Result<bool> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A full queue is no reason to wait: it is somebody's.
    socket.set_nonblocking(true)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Ok(()) => Ok(true),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound => Ok(false),
            io::ErrorKind::WouldBlock => Ok(true),
            io::ErrorKind::ConnectionRefused if is_socket(path) => Ok(false),
            io::ErrorKind::ConnectionRefused => {
                Err(io::Error::new(io::ErrorKind::AlreadyExists, "a file that is no socket is there"))
            }
            _ => Err(error),
        },
    }
}

fn is_socket(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket())
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_stale_file_is_replaced_and_a_live_one_is_told() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("a.sock");
        let (first, has_other) = PendingFile::bind(&path, 0o600).expect("a socket");
        assert!(!has_other && !path.exists(), "nobody finds it yet");
        let (live, file) = first.listen(8).expect("a listener");
        let mode = fs::metadata(&path).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        UnixStream::connect(&path).expect("it answers");
        assert!(PendingFile::bind(&path, 0o600).expect("a socket").1, "somebody answers");
        // Its process ends without removing it.
        std::mem::forget(file);
        drop(live);
        let (next, has_other) = PendingFile::bind(&path, 0o660).expect("a socket");
        assert!(!has_other);
        let (_next, file) = next.listen(8).expect("a listener");
        UnixStream::connect(&path).expect("it answers");
        drop(file);
        assert_eq!(fs::read_dir(dir.path()).expect("a folder").count(), 0, "nothing is left");
    }

    #[test]
    fn the_file_of_the_next_process_stays() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("a.sock");
        let listen = || PendingFile::bind(&path, 0o600).expect("a socket").0.listen(8).expect("a listener");
        let (old, next) = (listen(), listen());
        drop(old);
        UnixStream::connect(&path).expect("it answers");
        drop(next);
        assert!(!path.exists());
    }

    #[test]
    fn another_file_is_not_replaced() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("a.txt");
        fs::write(&path, "mine").expect("a file");
        PendingFile::bind(&path, 0o600).expect_err("it is no socket");
        assert_eq!(fs::read_to_string(&path).expect("a file"), "mine");
    }
}

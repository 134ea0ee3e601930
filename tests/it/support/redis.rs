//! A real `redis-server`, or `valkey-server`, for tests.

use std::{
    fmt::Write as _,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        LazyLock,
        atomic::{AtomicU16, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// How long anything may take here before the test fails: far beyond what a busy machine needs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Ports for servers.
const FIRST_PORT: u16 = 10_000;
const PORTS: u16 = 22_000;

/// A server of the test's own, on a port of its own; killed when dropped.
pub(crate) struct RedisServer {
    child: Child,
    port: u16,
    dir: TempDir,
}

impl RedisServer {
    /// Starts a server that answers.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server with further command line arguments.
    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        // Another process may take the port between our look and the server's bind.
        for _ in 0..20 {
            let dir = tempfile::tempdir().expect("a temporary folder");
            let port = Self::free_port();
            let mut server = Self { child: spawn(port, &dir, arguments), port, dir };
            if server.answers() {
                return server;
            }
        }
        panic!("redis-server found no port to listen on");
    }

    /// A port that nobody listens on, and no other test of this process gets. Not one that the system gives
    /// to outgoing connections: a client that keeps trying a server that is down could be given it, and meet
    /// itself.
    pub(crate) fn free_port() -> u16 {
        static START: LazyLock<u16> = LazyLock::new(|| fastrand::u16(..PORTS));
        static NEXT: AtomicU16 = AtomicU16::new(0);
        loop {
            let offset = NEXT.fetch_add(1, Ordering::Relaxed);
            let port = FIRST_PORT + (*START + offset) % PORTS;
            if TcpListener::bind(("127.0.0.1", port)).is_ok() {
                return port;
            }
        }
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Its port, on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The dump that it would save to disk.
    pub(crate) fn dump(&self) -> Vec<u8> {
        assert_eq!(self.cli(&["SAVE"]), "OK");
        std::fs::read(self.dump_path()).expect("a dump")
    }

    /// The path of that dump.
    pub(crate) fn dump_path(&self) -> PathBuf {
        self.dir.path().join("dump.rdb")
    }

    /// Ends it in an orderly way, and waits.
    pub(crate) fn stop(&mut self) {
        self.signal("TERM");
        self.child.wait().expect("the server ends");
    }

    /// Ends it at once, and waits.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("the server is ours to kill");
        self.child.wait().expect("the server ends");
    }

    /// Suspends it with its connections open: a server that hangs.
    pub(crate) fn pause(&self) {
        self.signal("STOP");
        // It may still run for a moment after the signal.
        let stat = format!("/proc/{}/stat", self.child.id());
        while std::fs::read_to_string(&stat).is_ok_and(|text| !text.contains(") T ")) {
            thread::yield_now();
        }
    }

    /// Lets it run again.
    pub(crate) fn resume(&self) {
        self.signal("CONT");
    }

    /// Starts it again on the same port, where it was ended; its data, if it saved any, in the same folder.
    pub(crate) fn restart(&mut self) {
        // Another process may be testing whether the port is free, and so occupy it for a moment.
        for _ in 0..20 {
            self.restart_with(&[]);
            if self.answers() {
                return;
            }
        }
        panic!("redis-server does not come back on port {}", self.port);
    }

    /// Like [`Self::restart`] with further arguments, and without waiting for it to answer.
    pub(crate) fn restart_with(&mut self, arguments: &[&str]) {
        self.child = spawn(self.port, &self.dir, arguments);
    }

    /// Runs a command and gives the reply as text.
    pub(crate) fn cli(&self, command: &[&str]) -> String {
        self.talk(&[command]).remove(0)
    }

    /// How many keys there are, but for the one in which replicas note themselves: that one comes by itself.
    pub(crate) fn keys(&self) -> usize {
        self.cli(&["KEYS", "*"]).lines().filter(|key| !key.ends_with(":replicas")).count()
    }

    /// The same, of a server that may not run.
    pub(crate) fn try_cli(&self, command: &[&str]) -> std::io::Result<String> {
        Self::ask(self.port, command)
    }

    /// Runs commands on one connection.
    pub(crate) fn talk(&self, commands: &[&[&str]]) -> Vec<String> {
        self.try_talk(commands).unwrap_or_else(|error| panic!("{commands:?}: {error}"))
    }

    /// Runs a command on whatever server listens on `port`.
    pub(crate) fn ask(port: u16, command: &[&str]) -> std::io::Result<String> {
        Ok(talk(port, &[command])?.remove(0))
    }

    fn try_talk(&self, commands: &[&[&str]]) -> std::io::Result<Vec<String>> {
        talk(self.port, commands)
    }

    /// Waits until this process answers on the port; false if it ends before.
    fn answers(&mut self) -> bool {
        let id = format!("process_id:{}\r\n", self.child.id());
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if self.try_talk(&[&["INFO", "server"]]).is_ok_and(|replies| replies[0].contains(&id)) {
                return true;
            }
            if self.child.try_wait().expect("the server's state").is_some() {
                return false;
            }
            thread::sleep(Duration::from_millis(5));
        }
        panic!("redis-server does not answer on port {}", self.port);
    }

    fn signal(&self, name: &str) {
        let done = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(done.expect("the kill command").success(), "kill -{name}");
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program that is started: `valkey-server` if `SIDECACHE_REDIS` says so.
pub(super) fn program() -> &'static str {
    match std::env::var("SIDECACHE_REDIS").as_deref() {
        Ok("valkey") => "valkey-server",
        _ => "redis-server",
    }
}

fn spawn(port: u16, dir: &TempDir, arguments: &[&str]) -> Child {
    Command::new(program())
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        .args(["--save", "", "--appendonly", "no", "--dir"])
        .arg(dir.path())
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| {
            panic!(
                "redis-server does not start ({error}); install redis-server: apt-get install redis-server"
            )
        })
}

fn talk(port: u16, commands: &[&[&str]]) -> std::io::Result<Vec<String>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut replies = BufReader::new(stream.try_clone()?);
    let mut send = |command: &&[&str]| {
        stream.write_all(&encode(command))?;
        read_reply(&mut replies)
    };
    commands.iter().map(&mut send).collect()
}

fn encode(command: &[&str]) -> Vec<u8> {
    let mut text = format!("*{}\r\n", command.len());
    for part in command {
        write!(text, "${}\r\n{part}\r\n", part.len()).expect("a String takes it");
    }
    text.into_bytes()
}

/// A reply as text: an error begins with its code, nil is `(nil)`, an array is a line for each element.
fn read_reply(replies: &mut impl BufRead) -> std::io::Result<String> {
    let mut line = String::new();
    if replies.read_line(&mut line)? == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    let (kind, rest) = line.trim_end().split_at(1);
    match (kind, rest.parse::<i64>().unwrap_or(0)) {
        ("$" | "*", -1) => Ok("(nil)".to_owned()),
        ("$", length) => {
            let mut bytes = vec![0; usize::try_from(length).expect("a length") + 2];
            replies.read_exact(&mut bytes)?;
            bytes.truncate(bytes.len() - 2);
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        }
        ("*", count) => {
            let elements: std::io::Result<Vec<_>> = (0..count).map(|_| read_reply(replies)).collect();
            Ok(elements?.join("\n"))
        }
        _ => Ok(rest.to_owned()),
    }
}

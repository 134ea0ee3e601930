//! Processes that end with the benchmark, however it ends.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// How long a process may take to listen; some load for long before.
const PATIENCE: Duration = Duration::from_secs(120);

/// A child that listens on a port of its own; killed when dropped.
#[derive(Debug)]
pub struct Listening {
    child: Child,
    /// Its port, on 127.0.0.1.
    pub port: u16,
}

impl Listening {
    /// Starts what `command` makes for a port, and waits until it accepts connections.
    pub fn start(name: &str, mut command: impl FnMut(u16) -> Command) -> Self {
        // Another process may take the port between our look and the child's bind.
        for _ in 0..10 {
            let port = free_port();
            let mut listening = Self::spawn(name, &mut command(port), port);
            if listening.accepts() {
                return listening;
            }
        }
        panic!("{name} does not listen");
    }

    /// Starts `command`, which is to listen on `port`, and does not wait.
    pub fn spawn(name: &str, command: &mut Command, port: u16) -> Self {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        Self { child: child.unwrap_or_else(|error| panic!("{name} does not start: {error}")), port }
    }

    fn accepts(&mut self) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
            if TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok() {
                // A child that found the port taken may be about to end.
                thread::sleep(Duration::from_millis(50));
                return matches!(self.child.try_wait(), Ok(None));
            }
            thread::sleep(Duration::from_millis(5));
        }
        false
    }

    /// Kills it at once, and waits.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// The memory that it and its children hold now, and the most they held, in KiB.
    pub fn memory(&self) -> Memory {
        let (mut sum, mut rest) = (Memory::default(), vec![self.child.id()]);
        while let Some(id) = rest.pop() {
            let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
            sum.now += field(&status, "VmRSS:");
            sum.peak += field(&status, "VmHWM:");
            for task in fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten().flatten() {
                let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
                rest.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
            }
        }
        sum
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        // Asked first: a manager ends its own children, which a kill would leave behind.
        let id = self.child.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &id]).stderr(Stdio::null()).status();
        let deadline = Instant::now() + Duration::from_secs(2);
        while Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
            thread::sleep(Duration::from_millis(5));
        }
        self.kill();
    }
}

/// Resident memory, in KiB.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// Now.
    pub now: u64,
    /// The most so far.
    pub peak: u64,
}

fn field(status: &str, name: &str) -> u64 {
    let value = status.lines().find_map(|line| line.strip_prefix(name));
    value.and_then(|value| value.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

/// A `redis-server` that keeps nothing on disk; `None` where none is installed.
pub fn redis(folder: &std::path::Path) -> Option<Listening> {
    is_installed("redis-server").then(|| {
        Listening::start("redis-server", |port| {
            let mut command = Command::new("redis-server");
            command.args([
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--appendonly",
                "no",
                "--loglevel",
                "warning",
            ]);
            command.arg("--port").arg(port.to_string()).arg("--dir").arg(folder);
            command
        })
    })
}

/// Whether the program `name` is in a folder of `PATH`, or in one where system daemons are.
pub fn is_installed(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    folders.map(|folder| folder.join(name)).any(|file| file.is_file())
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("its address").port()
}

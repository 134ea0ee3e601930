//! One Redis, or a cluster of three masters, and what they have counted.

use std::{
    cell::RefCell,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use super::process::Listening;
use redis::{Connection, cmd};

/// How the servers work together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One server.
    Server,
    /// Three masters.
    Cluster,
}

impl Kind {
    /// As arguments name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Cluster => "cluster",
        }
    }
}

/// The servers, with a connection to each.
pub struct Servers {
    kind: Kind,
    processes: Vec<Listening>,
    connections: Vec<RefCell<Connection>>,
}

/// What all servers have counted together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counted {
    /// Those of scripts too.
    pub commands: f64,
    /// Both ways.
    pub bytes: f64,
    /// Those that are open.
    pub connections: f64,
    /// Processor time, in seconds.
    pub busy: f64,
}

impl Servers {
    /// Starts them, and waits until they serve.
    pub fn start(kind: Kind, folder: &Path) -> Self {
        let count = if kind == Kind::Cluster { 3 } else { 1 };
        let processes: Vec<_> = (0..count).map(|_| start(kind, folder)).collect();
        let connections = processes.iter().map(|server| RefCell::new(connect(server.port))).collect();
        let servers = Self { kind, processes, connections };
        if kind == Kind::Cluster {
            servers.join();
        }
        servers
    }

    /// The URL for sidecache.
    pub fn url(&self) -> String {
        let scheme = if self.kind == Kind::Cluster { "redis+cluster" } else { "redis" };
        format!("{scheme}://127.0.0.1:{}", self.processes[0].port)
    }

    /// Their processes alone.
    pub fn into_processes(self) -> Vec<Listening> {
        self.processes
    }

    /// What they have counted by now, without what it costs to ask.
    pub fn counted(&self) -> Counted {
        let mut sum = Counted::default();
        for connection in &self.connections {
            // What the first question costs is in the answer to the second.
            let (before, now) = (info(connection), info(connection));
            let own = field(&now, "total_net_output_bytes:") - field(&before, "total_net_output_bytes:");
            sum.commands += field(&now, "total_commands_processed:");
            sum.bytes += field(&now, "total_net_input_bytes:") + field(&now, "total_net_output_bytes:") - own;
            sum.connections += field(&now, "connected_clients:") - 1.0;
            sum.busy += field(&now, "used_cpu_sys:") + field(&now, "used_cpu_user:");
        }
        sum
    }

    /// How many commands, and about how many bytes, [`Self::counted`] itself costs from one call to the next.
    pub fn own_cost(&self) -> Counted {
        let (before, now) = (self.counted(), self.counted());
        Counted { commands: now.commands - before.commands, bytes: now.bytes - before.bytes, ..before }
    }

    /// The memory that one entry takes, with its key.
    pub fn entry_size(&self) -> f64 {
        let size = |connection: &RefCell<Connection>| -> Option<u64> {
            let connection = &mut *connection.borrow_mut();
            let mut scan = cmd("SCAN");
            scan.arg(0).arg("MATCH").arg("sidecache:query:*").arg("COUNT").arg(1000);
            let (_, keys): (u64, Vec<String>) = scan.query(connection).expect("keys");
            cmd("MEMORY").arg("USAGE").arg(keys.first()?).query(connection).expect("its size")
        };
        self.connections.iter().find_map(size).unwrap_or_default() as f64
    }

    /// Gives each a third of the slots.
    fn join(&self) {
        const LAST: [u16; 4] = [0, 5460, 10_922, 16_383];
        let first = self.processes[0].port;
        for (place, connection) in self.connections.iter().enumerate() {
            let mut connection = connection.borrow_mut();
            let from = if place == 0 { 0 } else { LAST[place] + 1 };
            let mut slots = cmd("CLUSTER");
            slots.arg("ADDSLOTSRANGE").arg(from).arg(LAST[place + 1]).exec(&mut connection).expect("slots");
            let mut meet = cmd("CLUSTER");
            meet.arg("MEET")
                .arg("127.0.0.1")
                .arg(first)
                .arg(bus(first))
                .exec(&mut connection)
                .expect("a meeting");
        }
        let deadline = Instant::now() + Duration::from_secs(60);
        while !self.connections.iter().all(is_whole) {
            assert!(Instant::now() < deadline, "the servers make no cluster");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

fn is_whole(connection: &RefCell<Connection>) -> bool {
    let info: String = cmd("CLUSTER").arg("INFO").query(&mut *connection.borrow_mut()).expect("its state");
    info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
}

/// Servers of a cluster talk to each other on this port.
fn bus(port: u16) -> u16 {
    if port > 50_000 { port - 20_000 } else { port + 10_000 }
}

fn start(kind: Kind, folder: &Path) -> Listening {
    Listening::start("redis-server", |port| {
        let home = folder.join(format!("redis-{port}"));
        std::fs::create_dir_all(&home).expect("a folder");
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--loglevel", "warning"]);
        command.arg("--port").arg(port.to_string()).arg("--dir").arg(home);
        if kind == Kind::Cluster {
            command.args(["--cluster-enabled", "yes", "--cluster-port", &bus(port).to_string()]);
        }
        command
    })
}

fn connect(port: u16) -> Connection {
    let client = redis::Client::open(format!("redis://127.0.0.1:{port}")).expect("a URL");
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match client.get_connection() {
            Ok(connection) => return connection,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        thread::sleep(Duration::from_millis(20));
    }
}

fn info(connection: &RefCell<Connection>) -> String {
    cmd("INFO").query(&mut *connection.borrow_mut()).expect("its figures")
}

fn field(info: &str, name: &str) -> f64 {
    let value = info.lines().find_map(|line| line.strip_prefix(name));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or_default()
}

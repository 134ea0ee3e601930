//! A Redis master with replicas, and sentinels that watch it.

use std::{fs, io::Write, path::Path, process::Child, process::Command, process::Stdio};

use tempfile::TempDir;

use super::{FaultProxy, RedisServer, eventually, faulty_redis::port_of, redis::program};

/// The name of the master, as the sentinels know it.
const MASTER: &str = "main";

/// A master, replicas and three sentinels; ended when dropped.
pub(crate) struct Sentinels {
    pub(crate) servers: Vec<RedisServer>,
    sentinels: Vec<(Child, u16)>,
    _dirs: Vec<TempDir>,
}

impl Sentinels {
    /// Starts a master, a replica of it, and three sentinels that know both.
    pub(crate) async fn start() -> Self {
        let master = RedisServer::start();
        let port = master.port();
        Self::watching(master, port, 500).await
    }

    /// The same with a proxy in front of the master, whose faults are no reason for a fail-over.
    pub(crate) async fn start_behind_proxy() -> (Self, FaultProxy) {
        let master = RedisServer::start();
        let proxy = FaultProxy::in_front_of(master.port()).await;
        let port = port_of(&proxy);
        (Self::watching(master, port, 3_600_000).await, proxy)
    }

    /// The sentinels know the master by `port`, and take it for dead if it is silent for `patience` milliseconds.
    async fn watching(master: RedisServer, port: u16, patience: u32) -> Self {
        let of = ["--replicaof", "127.0.0.1", &master.port().to_string()].map(str::to_owned);
        let replica = RedisServer::start_with(&of.each_ref().map(String::as_str));
        let is_linked =
            async || replica.cli(&["INFO", "replication"]).contains("master_link_status:up").then_some(());
        eventually("the replica follows its master", is_linked).await;
        let started: Vec<_> = (0..3).map(|_| sentinel(port, patience)).collect();
        let (sentinels, dirs): (Vec<_>, Vec<_>) = started.into_iter().unzip();
        let sentinels = Self { servers: vec![master, replica], sentinels, _dirs: dirs };
        let all_known = async || {
            let known = sentinels.sentinels.iter().all(|(_, port)| {
                let info = ask(*port, &["SENTINEL", "MASTER", MASTER]);
                let parts = ["num-slaves\n1\n", "num-other-sentinels\n2\n", "flags\nmaster\n"];
                parts.iter().all(|part| info.contains(part))
            });
            known.then_some(())
        };
        eventually("the sentinels know all", all_known).await;
        sentinels
    }

    /// The URL that names the sentinels.
    pub(crate) fn url(&self) -> String {
        let hosts: Vec<_> = self.sentinels.iter().map(|(_, port)| format!("127.0.0.1:{port}")).collect();
        format!("redis+sentinel://{}/{MASTER}", hosts.join(","))
    }

    /// Which of the servers the sentinels name as the master.
    pub(crate) fn master(&self) -> usize {
        let address = ask(self.sentinels[0].1, &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER]);
        let port = address.rsplit('\n').next().and_then(|port| port.parse().ok()).unwrap_or(0);
        let place = self.servers.iter().position(|server| server.port() == port);
        place.unwrap_or_else(|| panic!("no server is the master: {address:?}"))
    }

    /// Starts the server again that was ended, and waits until it follows the master.
    pub(crate) async fn come_back(&mut self, ended: usize) {
        self.servers[ended].restart();
        let server = &self.servers[ended];
        let is_linked = |info: String| info.contains("master_link_status:up");
        // A sentinel closes the connections of a server that it makes a replica.
        let follows = async || server.try_cli(&["INFO", "replication"]).is_ok_and(is_linked).then_some(());
        eventually("the old master follows the new one", follows).await;
    }

    /// Waits until the sentinels name another master than `before`, and it says that it is one; which one.
    pub(crate) async fn next_master(&self, before: usize) -> usize {
        eventually("another master", async || {
            let now = self.master();
            let is_master =
                || self.servers[now].try_cli(&["ROLE"]).is_ok_and(|role| role.starts_with("master"));
            (now != before && is_master()).then_some(now)
        })
        .await
    }
}

impl Drop for Sentinels {
    fn drop(&mut self) {
        for (child, _) in &mut self.sentinels {
            // It may be gone already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn ask(port: u16, command: &[&str]) -> String {
    RedisServer::ask(port, command).unwrap_or_default()
}

/// A sentinel that watches the master on that port.
fn sentinel(master: u16, patience: u32) -> ((Child, u16), TempDir) {
    let dir = tempfile::tempdir().expect("a folder");
    let port = RedisServer::free_port();
    let path = dir.path().join("sentinel.conf");
    let mut file = fs::File::create(&path).expect("a file");
    write!(
        file,
        "port {port}\nbind 127.0.0.1\ndir {}\nsentinel monitor {MASTER} 127.0.0.1 {master} 2\n\
         sentinel down-after-milliseconds {MASTER} {patience}\nsentinel failover-timeout {MASTER} 3000\n",
        dir.path().display()
    )
    .expect("a file takes it");
    ((spawn(&path), port), dir)
}

fn spawn(config: &Path) -> Child {
    Command::new(program())
        .arg(config)
        .arg("--sentinel")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server runs; install it: apt-get install redis-server")
}

//! A Redis cluster: three masters, each with a replica.

use std::process::Command;

use super::{FaultProxy, RedisServer, eventually, faulty_redis::port_of};

/// The servers of a cluster; ended when dropped.
pub(crate) struct Cluster {
    pub(crate) servers: Vec<RedisServer>,
    /// The port on which each server listens for the others.
    buses: Vec<u16>,
}

impl Cluster {
    /// Starts the servers and joins them.
    pub(crate) async fn start() -> Self {
        let (servers, buses) = servers();
        Self { servers, buses }.joined().await
    }

    /// The same with a proxy in front of each server, which clients and the other servers reach.
    pub(crate) async fn start_behind_proxies() -> (Self, Vec<FaultProxy>) {
        let (servers, buses) = servers();
        let mut proxies = Vec::new();
        for server in &servers {
            let proxy = FaultProxy::in_front_of(server.port()).await;
            let port = port_of(&proxy).to_string();
            assert_eq!(server.cli(&["CONFIG", "SET", "cluster-announce-port", &port]), "OK");
            proxies.push(proxy);
        }
        (Self { servers, buses }.joined().await, proxies)
    }

    async fn joined(self) -> Self {
        let cluster = self;
        let hosts: Vec<_> =
            cluster.servers.iter().map(|server| format!("127.0.0.1:{}", server.port())).collect();
        let create = ["--cluster", "create"].map(str::to_owned).into_iter().chain(hosts);
        let create = create.chain(["--cluster-replicas", "1", "--cluster-yes"].map(str::to_owned));
        cluster.tool(&create.collect::<Vec<_>>());
        cluster.whole().await;
        let follows = |server: &RedisServer| {
            let info = server.cli(&["INFO", "replication"]);
            info.contains("master_link_status:up") || info.contains("connected_slaves:1")
        };
        let all_follow = async || cluster.servers.iter().all(follows).then_some(());
        eventually("each master has a replica", all_follow).await;
        cluster
    }

    /// The URL that names the first two servers.
    pub(crate) fn url(&self) -> String {
        let hosts = self.servers[..2].iter().map(|server| format!("127.0.0.1:{}", server.port()));
        format!("redis+cluster://{}", hosts.collect::<Vec<_>>().join(","))
    }

    /// Runs `redis-cli` with these arguments; it must succeed.
    pub(crate) fn tool(&self, arguments: &[String]) -> String {
        let done = Command::new("redis-cli").args(arguments).output().expect("redis-cli runs");
        let text = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(done.status.success(), "{arguments:?}: {text}");
        text
    }

    /// The master that has the slot of `key`: its place among the servers.
    pub(crate) fn master_of(&self, key: &str) -> usize {
        self.find_master(key).expect("a master of the slot")
    }

    fn find_master(&self, key: &str) -> Option<usize> {
        let slot = self.some().cli(&["CLUSTER", "KEYSLOT", key]).parse::<u16>().expect("a slot");
        let is_it = |server: &RedisServer| {
            let nodes = server.try_cli(&["CLUSTER", "NODES"]).unwrap_or_default();
            let itself = nodes.lines().find(|line| line.contains("myself,master")).unwrap_or_default();
            itself.split(' ').skip(8).any(|range| {
                let (first, last) = range.split_once('-').unwrap_or((range, range));
                first.parse().is_ok_and(|first: u16| first <= slot)
                    && last.parse().is_ok_and(|last: u16| slot <= last)
            })
        };
        self.servers.iter().position(is_it)
    }

    /// Waits until another server says that it is the master of the slot of `key`, and the cluster is whole.
    pub(crate) async fn next_master(&self, key: &str) {
        let is_there = async || self.find_master(key).is_some().then_some(());
        eventually("another master", is_there).await;
        self.whole().await;
    }

    /// Makes the replica of the master at that place take over; the master keeps its connections.
    pub(crate) fn take_over(&self, master: usize) {
        let port = format!("master_port:{}\r\n", self.servers[master].port());
        let follows = |server: &&RedisServer| server.cli(&["INFO", "replication"]).contains(&port);
        let replica = self.servers.iter().find(follows).expect("a replica");
        assert_eq!(replica.cli(&["CLUSTER", "FAILOVER"]), "OK");
    }

    /// Starts the server again that was ended, and waits until it follows a master.
    pub(crate) async fn come_back(&mut self, ended: usize) {
        let bus = self.buses[ended].to_string();
        self.servers[ended].restart_with(&arguments(&bus));
        let server = &self.servers[ended];
        let is_linked = |info: String| info.contains("master_link_status:up");
        let follows = async || server.try_cli(&["INFO", "replication"]).is_ok_and(is_linked).then_some(());
        eventually("the old master follows the new one", follows).await;
        self.whole().await;
    }

    /// Waits until all servers that run say that the cluster is whole.
    pub(crate) async fn whole(&self) {
        let is_whole = |server: &RedisServer| match server.try_cli(&["CLUSTER", "INFO"]) {
            Ok(info) => info.contains("cluster_state:ok") && info.contains("cluster_slots_ok:16384"),
            Err(_) => true,
        };
        eventually("the cluster is whole", async || self.servers.iter().all(is_whole).then_some(())).await;
    }

    /// Some server that answers.
    fn some(&self) -> &RedisServer {
        self.servers.iter().find(|server| server.try_cli(&["PING"]).is_ok()).expect("a server")
    }

    /// The entries that the masters have: their names in `namespace`.
    pub(crate) fn entries(&self, namespace: &str) -> Vec<Vec<String>> {
        let names = |server: &RedisServer| {
            let keys = server.try_cli(&["KEYS", &format!("{namespace}:*")]).unwrap_or_default();
            keys.lines().filter(|key| !key.contains(":_:")).map(str::to_owned).collect()
        };
        let is_master =
            |server: &&RedisServer| server.try_cli(&["ROLE"]).is_ok_and(|role| role.starts_with("master"));
        self.servers.iter().filter(is_master).map(names).collect()
    }
}

/// Six servers that do not know each other yet, and their second ports.
fn servers() -> (Vec<RedisServer>, Vec<u16>) {
    let server = |_| {
        let bus = RedisServer::free_port();
        (RedisServer::start_with(&arguments(&bus.to_string())), bus)
    };
    (0..6).map(server).unzip()
}

/// A server of a cluster listens for the others on a second port.
fn arguments(bus: &str) -> [&str; 6] {
    ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-port", bus]
}

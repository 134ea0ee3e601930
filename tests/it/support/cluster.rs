//! A Redis cluster: three masters, each with a replica.

use std::process::Command;

use super::{RedisServer, eventually};

/// The servers of a cluster; ended when dropped.
pub(crate) struct Cluster {
    pub(crate) servers: Vec<RedisServer>,
}

impl Cluster {
    /// Starts the servers and joins them.
    pub(crate) async fn start() -> Self {
        let arguments = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"];
        // A server of a cluster listens for the others on a second port.
        let server = || {
            let bus = RedisServer::free_port().to_string();
            RedisServer::start_with(&[&arguments[..], &["--cluster-port", &bus]].concat())
        };
        let cluster = Self { servers: (0..6).map(|_| server()).collect() };
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
        self.servers.iter().position(is_it).expect("a master of the slot")
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

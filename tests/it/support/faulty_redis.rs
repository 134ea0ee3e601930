//! A Redis behind proxies that make it fail, of the kind that `SIDECACHE_REDIS` names: a server (also a Valkey), a master
//! that sentinels name, or a cluster. `tests/redis_kinds.sh` runs the faults on each of them.

use std::sync::Arc;

use super::{Action, Cluster, FaultProxy, RedisServer, Sentinels};

/// The servers, and a proxy in front of each that clients reach.
pub(crate) struct FaultyRedis {
    servers: Servers,
    proxies: Vec<FaultProxy>,
}

enum Servers {
    One(RedisServer),
    Sentinel(Sentinels),
    Cluster(Cluster),
}

impl FaultyRedis {
    /// Starts one of the kind that is asked for; it passes everything on until [`Self::apply`].
    pub(crate) async fn start() -> Self {
        match std::env::var("SIDECACHE_REDIS").as_deref() {
            Ok("sentinel") => {
                let (sentinels, proxy) = Sentinels::start_behind_proxy().await;
                Self { servers: Servers::Sentinel(sentinels), proxies: vec![proxy] }
            }
            Ok("cluster") => {
                let (cluster, proxies) = Cluster::start_behind_proxies().await;
                Self { servers: Servers::Cluster(cluster), proxies }
            }
            Ok("server" | "valkey") | Err(_) => {
                let server = RedisServer::start();
                let proxies = vec![FaultProxy::in_front_of(server.port()).await];
                Self { servers: Servers::One(server), proxies }
            }
            Ok(other) => panic!("SIDECACHE_REDIS={other}: write server, sentinel, cluster or valkey"),
        }
    }

    /// The URL that leads through the proxies.
    pub(crate) fn url(&self) -> String {
        match &self.servers {
            Servers::One(_) => self.proxies[0].url(),
            Servers::Sentinel(sentinels) => sentinels.url(),
            Servers::Cluster(_) => self.proxies[0].url().replace("redis://", "redis+cluster://"),
        }
    }

    /// From now on, each proxy does with a command what `rule` says of its name (in capitals).
    pub(crate) fn apply(&self, rule: impl Fn(&str) -> Action + Send + Sync + 'static) {
        let rule = Arc::new(rule);
        for proxy in &self.proxies {
            let rule = Arc::clone(&rule);
            proxy.apply(move |name| rule(name));
        }
    }

    /// From now on, passes everything on.
    pub(crate) fn pass(&self) {
        self.proxies.iter().for_each(FaultProxy::pass);
    }

    /// The server that has `key`, without a proxy.
    pub(crate) fn server_of(&self, key: &str) -> &RedisServer {
        match &self.servers {
            Servers::One(server) => server,
            Servers::Sentinel(sentinels) => &sentinels.servers[0],
            Servers::Cluster(cluster) => &cluster.servers[cluster.master_of(key)],
        }
    }
}

/// The port of a proxy.
pub(super) fn port_of(proxy: &FaultProxy) -> u16 {
    proxy.url().rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port")
}

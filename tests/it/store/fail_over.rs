//! Fail-over: a master dies under load, and another server takes its place.

use std::time::{Duration, Instant};

use super::versions::{Load, Versions, hits_again, start};
use crate::support::{Cluster, Sentinels, measured, number_from, run_within};

/// Servers of which one takes over for another.
enum Servers {
    Sentinels(Sentinels),
    Cluster(Cluster),
}

/// The master with this key is the one that is killed, in a cluster.
const LOG: &str = "sidecache:_:{retired}:stream";

impl Servers {
    fn url(&self) -> String {
        match self {
            Self::Sentinels(sentinels) => sentinels.url(),
            Self::Cluster(cluster) => cluster.url(),
        }
    }

    /// Kills the master, and waits until there is another; the place of the one that is gone.
    async fn fail_over(&mut self) -> usize {
        match self {
            Self::Sentinels(sentinels) => {
                let master = sentinels.master();
                sentinels.servers[master].kill();
                sentinels.next_master(master).await;
                master
            }
            Self::Cluster(cluster) => {
                let master = cluster.master_of(LOG);
                cluster.servers[master].kill();
                cluster.next_master(LOG).await;
                master
            }
        }
    }

    async fn come_back(&mut self, ended: usize) {
        match self {
            Self::Sentinels(sentinels) => sentinels.come_back(ended).await,
            Self::Cluster(cluster) => cluster.come_back(ended).await,
        }
    }
}

/// Fails over some times under load; prints how soon hits are back.
async fn fail_over(mut servers: Servers, count: u64) {
    let (versions, upstream) = Versions::start().await;
    let far = start(&upstream, &servers.url(), "0").await;
    let near = start(&upstream, &servers.url(), "16MiB").await;
    let (mut asked, mut changed, mut back, mut loaded) = (0, 0, Vec::new(), Duration::ZERO);
    for round in 0..count as usize {
        hits_again(&far, 0, 1).await;
        let number = round % 10;
        hits_again(&near, number, 1).await;
        let (load, began) = (Load::start(&versions, [&far, &near]), Instant::now());
        let least = versions.change(number, &far).await;
        let gone = servers.fail_over().await;
        let promoted = Instant::now();
        hits_again(&far, number, least).await;
        back.push(promoted.elapsed());
        hits_again(&near, number, least).await;
        let (questions, changes) = load.end().await;
        (asked, changed, loaded) = (asked + questions, changed + changes, loaded + began.elapsed());
        servers.come_back(gone).await;
    }
    back.sort();
    measured(format!(
        "{count} fail-overs, {asked} requests ({:.0} a second), none failed, {changed} changes: hits are back {:?} after \
         the new master, {:?} at most",
        asked as f64 / loaded.as_secs_f64(),
        back[back.len() / 2],
        back[back.len() - 1]
    ));
    let health = far.health().await;
    assert_eq!(health["cache"]["connected"], true, "{health}");
}

#[test]
fn through_fail_overs_no_request_fails_and_hits_come_back() {
    let count = number_from("SIDECACHE_FAILOVERS", 1);
    run_within(Duration::from_secs(120 * count), async {
        fail_over(Servers::Sentinels(Sentinels::start().await), count).await;
    });
}

#[test]
fn through_fail_overs_of_a_cluster_no_request_fails_and_hits_come_back() {
    let count = number_from("SIDECACHE_FAILOVERS", 1);
    run_within(Duration::from_secs(120 * count), async {
        fail_over(Servers::Cluster(Cluster::start().await), count).await;
    });
}

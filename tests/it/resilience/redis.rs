//! A Redis that is gone, slow, or says no: no request suffers, and hits are back in time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{ask, knowing, unknown_host};
use crate::support::samples::{CHAT, chat, chat_answer};
use crate::support::{
    Act, Blackhole, Client, FaultProxy, RedisServer, Script, Setup, Sidecache, Upstream, eventually,
    eventually_within, measured, run,
};

/// In which hits must be back.
const BACK: Duration = Duration::from_secs(2);

/// What a Redis says that cannot save to disk.
const CANNOT_SAVE: &str = "-MISCONF Redis is configured to save RDB snapshots\r\n";

/// Other people's keys: a name like ours, and an own one under our name.
const FOREIGN: [&str; 3] = ["sidecache2:query:1", "other", "sidecache:_:x"];

/// A sidecache whose Redis is reached past somebody, and who that is.
struct Site {
    redis: RedisServer,
    proxy: FaultProxy,
    upstream: Upstream,
    sidecache: Sidecache,
    client: Client,
}

impl Site {
    /// Where a question is a hit already.
    async fn start(timeout: &str) -> Self {
        let (redis, upstream) = (RedisServer::start(), knowing().await);
        FOREIGN.iter().for_each(|key| assert_eq!(redis.cli(&["SET", key, "theirs"]), "OK"));
        let proxy = FaultProxy::before(redis.port()).await;
        let sidecache = Setup::to(&upstream.url())
            .arguments(&["--redis", &proxy.url()])
            .env("CACHE_NEAR_MEMORY", "0")
            .config(&format!("[store]\ntimeout = \"{timeout}\""))
            .admin()
            .start()
            .await;
        let client = sidecache.client();
        let site = Self { redis, proxy, upstream, sidecache, client };
        site.hits_within(Duration::from_secs(30)).await;
        site
    }

    async fn hits_within(&self, limit: Duration) {
        let hit = async || (ask(&self.client, 0).await.cache() == "HIT").then_some(());
        eventually_within(limit, "hits", hit).await;
        self.sidecache.settled().await;
    }

    /// Asks the question that was stored, and one that is new.
    async fn ask(&self, number: usize) -> (String, String) {
        let cache = async |number| ask(&self.client, number).await.cache().to_owned();
        (cache(0).await, cache(number).await)
    }

    async fn count(&self, name: &str) -> u64 {
        self.sidecache.health().await["cache"][name].as_u64().expect("a count")
    }

    fn assert_foreign_keys_are_untouched(&self) {
        for key in FOREIGN {
            assert_eq!(self.redis.talk(&[&["GET", key], &["TTL", key]]), ["theirs", "-1"], "{key}");
        }
        let stats = self.redis.cli(&["INFO", "stats"]);
        let commands = stats.lines().find_map(|line| line.strip_prefix("total_commands_processed:"));
        measured(format_args!(
            "{} foreign keys unchanged after {} commands",
            FOREIGN.len(),
            commands.expect("a count")
        ));
    }
}

/// Nobody can connect before there is somebody to answer: who did would wait as long as the start does.
#[test]
fn the_first_request_waits_no_longer_for_the_store_than_any_other() {
    run(async {
        let blackhole = Blackhole::open().await;
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let mut fastest = Duration::MAX;
        for _ in 0..5 {
            let setup = Setup::to(&upstream.url()).arguments(&["--redis", &blackhole.url()]);
            let sidecache = setup.config("[store]\ntimeout = \"100ms\"").start_silent().await;
            let began = Instant::now();
            assert_eq!(sidecache.client().post(CHAT, &chat()).await.status, 200);
            fastest = fastest.min(began.elapsed());
        }
        measured(format_args!("{fastest:.1?} for the first of a start, at best"));
        assert!(fastest < Duration::from_millis(300), "{fastest:?}");
    });
}

#[test]
fn error_replies_to_everything_open_the_breaker_once() {
    run(async {
        let site = Site::start("5s").await;
        for (round, reply) in [
            "-NOAUTH Authentication required.\r\n",
            "-LOADING Redis is loading the dataset in memory\r\n",
            CANNOT_SAVE,
            "-MOVED 1 127.0.0.1:1\r\n",
        ]
        .into_iter()
        .enumerate()
        {
            let (errors, misses) = (site.count("errors").await, site.count("misses").await);
            site.proxy.follow(move |_| Act::Say(reply));
            for number in 1..=20 {
                assert_eq!(site.ask(round * 100 + number).await, ("MISS".to_owned(), "MISS".to_owned()));
            }
            assert!(site.count("errors").await >= errors + 40, "{reply}: failed lookups are told");
            assert_eq!(site.count("misses").await, misses, "{reply}: and are no misses");
            eventually(reply, async || (site.sidecache.log.store_changes().0 == round + 1).then_some(()))
                .await;
            assert_eq!(site.sidecache.health().await["status"], "degraded");

            site.proxy.pass();
            site.hits_within(BACK).await;
            eventually("back", async || {
                (site.sidecache.log.store_changes() == (round + 1, round + 1)).then_some(())
            })
            .await;
        }
        site.assert_foreign_keys_are_untouched();
    });
}

#[test]
fn refused_writes_stop_writes_alone() {
    run(async {
        let site = Site::start("5s").await;
        for (round, reply) in [
            "-OOM command not allowed when used memory > 'maxmemory'.\r\n",
            "-READONLY You can't write against a read only replica.\r\n",
            "-NOREPLICAS Not enough good replicas to write.\r\n",
        ]
        .into_iter()
        .enumerate()
        {
            let is_write = |name: &str| matches!(name, "SET" | "EVAL" | "EVALSHA" | "DEL");
            site.proxy.follow(move |name| if is_write(name) { Act::Say(reply) } else { Act::Pass });
            for number in 1..=20 {
                let asked = site.ask(round * 100 + number).await;
                assert_eq!(asked, ("HIT".to_owned(), "MISS".to_owned()), "{reply}");
            }
            site.proxy.pass();
            eventually_within(BACK, "stored again", async || {
                (ask(&site.client, round * 100 + 1).await.cache() == "HIT").then_some(())
            })
            .await;
        }
        let is = |line: &Value| {
            line["message"].as_str().is_some_and(|told| told.starts_with("store refuses writes"))
        };
        site.sidecache.log.wait_for("refused", is).await;
        let told = site.sidecache.log.all().into_iter().filter(is).count();
        assert!(told <= 3, "{told} lines for three changes");
        assert_eq!(site.sidecache.log.store_changes(), (0, 0));
        site.assert_foreign_keys_are_untouched();
    });
}

#[test]
fn a_redis_that_cannot_save_is_left_until_it_takes_writes() {
    run(async {
        let site = Site::start("5s").await;
        let tries = Arc::new(AtomicUsize::new(0));
        let tried = Arc::clone(&tries);
        site.proxy.follow(move |name| match name {
            "SET" | "EVAL" => Act::Say(CANNOT_SAVE),
            "DEL" => {
                tried.fetch_add(1, Ordering::Relaxed);
                Act::Say(CANNOT_SAVE)
            }
            _ => Act::Pass,
        });
        assert_eq!(ask(&site.client, 1).await.cache(), "MISS");
        eventually("tried again and again", async || (tries.load(Ordering::Relaxed) >= 3).then_some(()))
            .await;
        for number in 1..=20 {
            assert_eq!(site.ask(number).await, ("MISS".to_owned(), "MISS".to_owned()));
        }
        assert_eq!(site.sidecache.health().await["status"], "degraded");
        assert_eq!(site.sidecache.log.store_changes(), (1, 0), "its reads work, but that is not enough");

        site.proxy.pass();
        site.hits_within(BACK).await;
        eventually("back", async || (site.sidecache.log.store_changes() == (1, 1)).then_some(())).await;
        site.assert_foreign_keys_are_untouched();
    });
}

#[test]
fn health_tells_when_nothing_can_be_found() {
    run(async {
        let site = Site::start("5s").await;
        // Redis answers; but what was retired is no longer heard of.
        site.proxy.follow(|name| if matches!(name, "XINFO" | "XREAD") { Act::Never } else { Act::Pass });
        let began = Instant::now();
        eventually("misses", async || (ask(&site.client, 0).await.cache() != "HIT").then_some(())).await;
        let health = site.sidecache.health().await;
        assert_eq!((&health["status"], &health["cache"]["connected"]), (&"degraded".into(), &false.into()));
        assert_eq!(site.sidecache.log.store_changes(), (0, 0));
        let noticed = began.elapsed();
        site.proxy.pass();
        let began = Instant::now();
        site.hits_within(Duration::from_secs(30)).await;
        measured(format_args!("misses after {noticed:.1?}, hits again after {:.1?}", began.elapsed()));
        eventually("healthy", async || (site.sidecache.health().await["status"] == "healthy").then_some(()))
            .await;
    });
}

#[test]
fn what_waited_for_a_lookup_does_not_wait_as_long_for_a_lease() {
    run(async {
        let site = Site::start("1s").await;
        let late = Act::Late(Duration::from_millis(800));
        site.proxy.follow(move |name| if matches!(name, "GET" | "EVAL") { late } else { Act::Pass });
        let mut took = Vec::new();
        for number in 1..=5 {
            let began = Instant::now();
            assert_eq!(ask(&site.client, number).await.cache(), "MISS");
            took.push(began.elapsed());
        }
        // One second in all: eight tenths for the lookup, two for the lease. A busy machine adds what it likes to
        // some; where a lookup came to nothing at once, it shows nothing.
        took.retain(|took| *took >= Duration::from_millis(800));
        assert!(took.iter().min().is_some_and(|took| *took < Duration::from_millis(1500)), "{took:?}");
        measured(format_args!("{:.1?} at most, with a limit of 1 s", took.iter().max().expect("some")));

        // Who has waited for a lookup in vain asks for no lease at all.
        site.proxy.pass();
        site.hits_within(BACK).await;
        let leases = Arc::new(AtomicUsize::new(0));
        let asked = Arc::clone(&leases);
        site.proxy.follow(move |name| match name {
            "GET" => Act::Never,
            "EVAL" => {
                asked.fetch_add(1, Ordering::Relaxed);
                Act::Pass
            }
            _ => Act::Pass,
        });
        assert_eq!(ask(&site.client, 6).await.cache(), "MISS");
        assert_eq!(leases.load(Ordering::Relaxed), 0);
    });
}

#[test]
fn slow_and_silent_servers_cost_a_few_timeouts() {
    run(async {
        let site = Site::start("50ms").await;
        for (number, act) in
            [Act::Late(Duration::from_millis(100)), Act::Late(Duration::from_secs(5)), Act::Never]
                .into_iter()
                .enumerate()
        {
            let errors = site.count("errors").await;
            site.proxy.follow(move |_| act);
            eventually("lost", async || {
                site.ask(100 + number).await;
                (site.sidecache.health().await["cache"]["connected"] == false).then_some(())
            })
            .await;
            let before = site.sidecache.log.store_changes();
            for _ in 0..20 {
                site.ask(100 + number).await;
            }
            assert!(site.count("errors").await >= errors + 20, "{act:?}");
            assert_eq!(site.sidecache.log.store_changes(), before, "{act:?}: nothing is told of requests");
            site.proxy.pass();
            site.hits_within(BACK).await;
        }
        site.assert_foreign_keys_are_untouched();
    });
}

#[test]
fn a_redis_whose_name_is_gone() {
    run(never_there(&format!("redis://{}:6379", unknown_host())));
}

#[test]
fn a_redis_whose_packets_are_dropped() {
    run(async {
        let blackhole = Blackhole::open().await;
        never_there(&blackhole.url()).await;
    });
}

/// Each question is a miss, and the log says so once.
async fn never_there(redis: &str) {
    let upstream = knowing().await;
    let sidecache = Setup::to(&upstream.url()).arguments(&["--redis", redis]).start().await;
    for number in 0..20 {
        assert_eq!(ask(&sidecache.client(), number).await.cache(), "MISS");
    }
    sidecache.log.lifecycle("store lost").await;
    assert_eq!(sidecache.log.store_changes(), (1, 0));
    assert_eq!(upstream.calls(), 20);
}

#[test]
fn nothing_is_asked_twice_while_the_store_fails() {
    run(async {
        let site = Site::start("5s").await;
        let calls = site.upstream.calls();
        site.proxy.follow(|name| match name {
            "GET" => Act::Say("-ERR out of order\r\n"),
            _ => Act::Pass,
        });
        for number in 1..=20 {
            ask(&site.client, number).await;
        }
        assert_eq!(site.upstream.calls() - calls, 20);
    });
}

#[test]
fn a_write_that_redis_hears_of_later_is_not_forgotten_meanwhile() {
    run(async {
        let version = std::sync::atomic::AtomicU64::new(0);
        let upstream = Upstream::start(move |request| {
            let added = u64::from(request.method == "PUT");
            let version = version.fetch_add(added, std::sync::atomic::Ordering::SeqCst) + added;
            Script::json(&serde_json::json!({"version": version}))
        })
        .await;
        let redis = RedisServer::start();
        let proxy = FaultProxy::before(redis.port()).await;
        let sidecache = Setup::to(&upstream.url())
            .arguments(&["--redis", &proxy.url()])
            .env("CACHE_NEAR_MEMORY", "0")
            .config("[store]\ntimeout = \"5s\"")
            .start()
            .await;
        let client = sidecache.client();
        let document = "/api/v1/documents/d";
        let stream = "sidecache:_:{retired}:stream";
        let read = async || client.get(document).await;
        eventually("stored", async || (read().await.cache() == "HIT").then_some(())).await;
        let length = || redis.cli(&["XLEN", stream]);
        let before = length();

        proxy.follow(|name| if name == "EVAL" { Act::Say("-OOM full\r\n") } else { Act::Pass });
        assert_eq!(client.request("PUT", document, &[], "").await.json()["version"], 1);
        assert_eq!(length(), before, "Redis has not heard of it");
        // Now it hears, and it is long until anybody reads it there.
        proxy.follow(|name| match name {
            "XREAD" => Act::Late(Duration::from_secs(20)),
            _ => Act::Pass,
        });
        eventually("told", async || (length() != before).then_some(())).await;
        for _ in 0..20 {
            assert_eq!(read().await.json()["version"], 1);
        }
    });
}

//! The process itself: stopped under load, killed during writes, without file descriptors, without a log.

use std::{
    io::{BufRead, BufReader},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::json;

use super::{answer, ask, knowing, question};
use crate::support::{
    Client, Gate, RawClient, Received, RedisServer, Script, Setup, Sidecache, Times, Upstream, WallClock,
    eventually, eventually_within, logs::parse, measured, post, run, samples::CHAT, soon,
};

/// Requests streams until the server is gone; returns how many arrived whole.
async fn stream_until_the_end(client: Client, first: usize, served: Arc<AtomicUsize>) -> usize {
    let mut whole = 0;
    for number in first.. {
        let headers = [("content-type", "application/json")];
        // A request over a connection that is just being closed has no answer, nor has any later one.
        let asked = client.try_open("POST", "/stream", &headers, question(number).to_string()).await;
        let Ok(stream) = asked else { break };
        let text = stream.rest().await.expect("no response that has begun is cut");
        assert!(text.ends_with("the end"), "{text}");
        served.fetch_add(1, Ordering::Relaxed);
        whole += 1;
    }
    whole
}

#[test]
fn a_drain_under_load_cuts_no_response() {
    run(async {
        let chunked = Script::chunked("text/plain").chunk("x".repeat(9000));
        let upstream = Upstream::always(chunked.chunk("y".repeat(90_000)).chunk("the end").end()).await;
        let mut sidecache = Sidecache::start(&upstream.url()).await;
        let served = Arc::new(AtomicUsize::new(0));
        let clients: Vec<_> = (0..16)
            .map(|_| tokio::spawn(stream_until_the_end(sidecache.client(), 0, Arc::clone(&served))))
            .collect();
        eventually("under load", async || (served.load(Ordering::Relaxed) > 200).then_some(())).await;
        let began = Instant::now();
        assert_eq!(sidecache.stop().await.code(), Some(0));
        let took = began.elapsed();
        let mut whole = 0;
        for client in clients {
            let came = client.await.expect("no cut response");
            assert!(came > 0);
            whole += came;
        }
        measured(format_args!("{whole} streams to 16 clients, none cut; ended after {took:.1?}"));
        sidecache.log.lifecycle("stopped").await;
        assert!(!sidecache.log.text().contains("the drain's time is up"));
    });
}

#[test]
fn a_kill_during_writes_leaves_whole_entries_with_ttls() {
    run(async {
        let (redis, upstream) = (RedisServer::start(), knowing().await);
        let setup = || {
            let setup = Setup::to(&upstream.url()).arguments(&["--redis", &redis.url()]);
            setup.env("CACHE_NEAR_MEMORY", "0").config("[store]\ntimeout = \"5s\"")
        };
        let mut most = 0;
        for round in 0..3 {
            let mut sidecache = setup().start().await;
            let writers: Vec<_> = (0..8)
                .map(|writer| {
                    let client = sidecache.client();
                    tokio::spawn(async move {
                        for number in 0.. {
                            let body = question(round * 100_000 + writer * 10_000 + number).to_string();
                            let headers = [("content-type", "application/json")];
                            if client.try_open("POST", CHAT, &headers, body).await.is_err() {
                                return;
                            }
                        }
                    })
                })
                .collect();
            let before = keys(&redis).len();
            eventually("writes", async || (keys(&redis).len() > before + 50).then_some(())).await;
            sidecache.kill();
            for writer in writers {
                writer.await.expect("it ends");
            }
            most = most.max(keys(&redis).len());
        }
        assert!(most > 150, "{most}");
        for key in redis.cli(&["KEYS", "*"]).lines() {
            let left: i64 = redis.cli(&["PTTL", key]).parse().expect("milliseconds");
            assert!(left != -1, "{key} lives for ever");
        }
        // Each entry is whole: a hit with the right answer.
        let sidecache = setup().start().await;
        let (client, mut hits) = (sidecache.client(), 0);
        for round in 0..3 {
            for writer in 0..8 {
                // The last writes of a writer used several connections, so some may be lost.
                let mut lost = 0;
                for number in 0.. {
                    let number = round * 100_000 + writer * 10_000 + number;
                    let headers = [("cache-control", "only-if-cached")];
                    let received = client.post_with(CHAT, &headers, &question(number)).await;
                    if received.status == 504 {
                        lost += 1;
                        if lost == 5 {
                            break;
                        }
                        continue;
                    }
                    assert_eq!((received.cache(), received.json()), ("HIT", answer(&question(number))));
                    hits += 1;
                }
            }
        }
        assert_eq!(hits, most);
        measured(format_args!(
            "killed 3 times, {most} entries, each with a TTL and a hit with the right answer"
        ));
        assert_eq!(sidecache.health().await["cache"]["errors"], 0);
    });
}

fn keys(redis: &RedisServer) -> Vec<String> {
    redis.cli(&["KEYS", "sidecache:query:*"]).lines().map(str::to_owned).collect()
}

#[test]
fn open_connections_are_served_without_free_file_descriptors() {
    run(async {
        let upstream = knowing().await;
        let sidecache = Setup::to(&upstream.url()).after("ulimit -n 60").start().await;
        // A client with a pool might open a second connection, which then waits.
        let mut kept = RawClient::connect(sidecache.address()).await;
        let send = async |kept: &mut RawClient, number: usize| {
            kept.send(post(CHAT, "", &question(number).to_string())).await;
            kept.head().await
        };
        let known = answer(&question(0)).to_string();
        assert!(send(&mut kept, 0).await.contains("x-cache: MISS"));
        kept.until(&known).await;
        let before = sidecache.open_files();
        let mut crowd = Vec::new();
        for _ in 0..200 {
            crowd.push(RawClient::connect(sidecache.address()).await);
        }
        eventually("none is left", async || (sidecache.open_files() >= 60).then_some(())).await;
        let mut times = Times::default();
        for _ in 0..20 {
            let head = times.of(send(&mut kept, 0)).await;
            assert!(head.contains("x-cache: HIT"), "who has a connection is served");
            kept.until(&known).await;
        }
        measured(format_args!("200 wait; who has a connection: {times}"));
        let received = send(&mut kept, 1).await;
        assert!(received.starts_with("HTTP/1.1 200") || received.starts_with("HTTP/1.1 502"), "{received}");
        drop(crowd);
        eventually("they are free again", async || (sidecache.open_files() <= before + 2).then_some(()))
            .await;
        for number in 2..20 {
            ask(&sidecache.client(), number).await;
        }
    });
}

/// The wall clock jumps by a day and more, forth and back, while one answer is running and others are stored.
#[test]
fn clock_jumps_disturb_no_request_and_lengthen_no_ttl() {
    const DAY: i64 = 86_400;
    const LIFE: Duration = Duration::from_secs(2);
    run(async {
        let (redis, clock) = (RedisServer::start(), WallClock::new());
        let config = "[ttl]\nquery = \"2s\"\n[store]\ntimeout = \"5s\"";
        for arguments in [&[][..], &["--redis", &redis.url()]] {
            let go = Gate::new();
            let upstream = holding(&go).await;
            let setup = Setup::to(&upstream.url()).arguments(arguments).config(config);
            let sidecache = clock.rule(setup).start().await;
            let client = sidecache.client();
            let under_way = tokio::spawn({
                let client = sidecache.client();
                async move { client.post_with(CHAT, &[("x-held", "1")], &question(9999)).await }
            });
            let (mut times, mut lives) = (Times::default(), Times::default());
            for (turn, offset) in [DAY, -DAY, 30 * DAY, -30 * DAY, 0].into_iter().enumerate() {
                let stored = async || (times.of(ask(&client, turn)).await.cache() == "HIT").then_some(());
                eventually("stored", stored).await;
                clock.set(offset);
                // The entry may end at once, but must not outlive its TTL.
                let ends = async || (ask_if_stored(&client, turn).await != "HIT").then_some(());
                lives.of(eventually_within(LIFE + Duration::from_secs(5), "it ends", ends)).await;
                times.of(ask(&client, 100 + turn)).await;
            }
            go.open();
            let received = soon("the answer under way", under_way).await.expect("no panic");
            assert_eq!((received.status, received.json()), (200, answer(&question(9999))));
            let uptime = sidecache.health().await["uptime_seconds"].as_f64().expect("seconds");
            assert!((0.0..90.0).contains(&uptime), "{uptime}");
            measured(format_args!("5 jumps of up to 60 days: {times}; lives of 2 s: {lives}"));
        }
    });
}

/// An upstream that holds back answers to requests with `x-held`.
async fn holding(go: &Gate) -> Upstream {
    let go = go.clone();
    Upstream::start(move |request: &Received| match request.header("x-held") {
        Some(_) => Script::raw().wait(&go).then(Script::json(&answer(&request.json()))),
        None => Script::json(&answer(&request.json())),
    })
    .await
}

/// Sends `only-if-cached`; returns `X-Cache`.
async fn ask_if_stored(client: &Client, number: usize) -> String {
    let headers = [("cache-control", "only-if-cached")];
    let received = client.post_with(CHAT, &headers, &question(number)).await;
    if received.status != 504 {
        assert_eq!((received.status, received.json()), (200, answer(&question(number))));
    }
    received.cache().to_owned()
}

#[test]
fn an_unread_log_pipe_delays_no_request() {
    run(async {
        let upstream = knowing().await;
        let setup = Setup::to(&upstream.url()).arguments(&["--log-level", "DEBUG"]);
        let mut child = setup.command().spawn().expect("the binary");
        let mut output = BufReader::new(child.stdout.take().expect("its output"));
        let mut line = || {
            let mut line = String::new();
            assert!(output.read_line(&mut line).expect("a line") > 0, "it ended");
            parse(&line)
        };
        let address = loop {
            if let Some(address) = line()["listen"].as_str() {
                break address.parse().expect("an address");
            }
        };
        let client = Client::new(address);
        let health = async || client.get("/health").await.json();
        let mut times = Times::default();
        eventually("lines are lost, and counted", async || {
            for number in 0..50 {
                times.of(ask(&client, number)).await;
            }
            health().await["log"]["dropped"].as_u64().filter(|count| *count > 0)
        })
        .await;
        measured(&times);
        // When the pipe is read again, the next line says how many were lost; so there must be further
        // requests.
        let asking = tokio::spawn(async move {
            for number in 0.. {
                ask(&client, number % 50).await;
            }
        });
        let received = tokio::task::block_in_place(|| {
            (0..1_000_000).find(|_| line()["log_dropped"].as_u64().is_some_and(|count| count > 0))
        });
        assert!(received.is_some());
        assert!(!asking.is_finished(), "no request failed");
        asking.abort();
        child.kill().expect("it runs");
        child.wait().expect("it ends");
    });
}

#[test]
fn a_full_log_disk_fails_no_request() {
    run(async {
        let upstream = knowing().await;
        let setup = Setup::to(&upstream.url()).after("exec >/dev/full");
        let log = setup.dir().join("sidecache.log");
        std::os::unix::fs::symlink("/dev/full", &log).expect("a link");
        let sidecache = setup.arguments(&["--log-file", log.to_str().expect("UTF-8")]).start_silent().await;
        let (client, mut times) = (sidecache.client(), Times::default());
        let dropped = eventually("lines are lost, and counted", async || {
            for number in 0..20 {
                times.of(ask(&client, number)).await;
            }
            sidecache.health().await["log"]["dropped"].as_u64().filter(|count| *count > 0)
        })
        .await;
        measured(format_args!("{dropped} lines lost and counted; {times}"));
        assert_eq!(ask(&client, 0).await.cache(), "HIT");
    });
}

#[test]
fn large_bodies_pass_in_little_memory() {
    run(async {
        let body = json!({"model": "m", "messages": [], "pad": "x".repeat(4 << 20)}).to_string();
        let upstream = Upstream::start(|request| Script::whole(200, &[], &request.body)).await;
        // Address space, in KiB: threads and allocators reserve more than they use.
        let sidecache = Setup::to(&upstream.url())
            .arguments(&["--max-memory", "16MiB"])
            .after("ulimit -v 1500000")
            .start()
            .await;
        let callers: Vec<_> = (0..8)
            .map(|caller| {
                let (client, body) = (sidecache.client(), body.clone());
                tokio::spawn(async move {
                    for turn in 0..5 {
                        let pad = format!("{caller}-{turn}");
                        let headers = [("x-caller", pad.as_str())];
                        let received = client.post_text(CHAT, &headers, &body).await;
                        assert!(received.status == 200 && received.body == body, "{}", received.status);
                    }
                })
            })
            .collect();
        for caller in callers {
            caller.await.expect("answers");
        }
        assert!(sidecache.memory() < 400 * 1024, "{} KiB", sidecache.memory());
        measured(format_args!(
            "40 bodies of 4 MiB there and back, {} MiB after them",
            sidecache.memory() >> 10
        ));
    });
}

#[test]
fn a_reload_of_a_bad_file_under_load_changes_nothing() {
    run(async {
        let (upstream, stop) = (knowing().await, Gate::new());
        let sidecache = Sidecache::start(&upstream.url()).await;
        let (client, until, mut times) = (sidecache.client(), stop.clone(), Times::default());
        let load = tokio::spawn(async move {
            let asking = async {
                for number in 0.. {
                    times.of(ask(&client, number % 50)).await;
                }
            };
            tokio::select! {
                () = asking => {}
                () = until.passed() => {}
            }
            times
        });
        for bad in ["[ttl\n", "ttl = 7\n", "[ttl]\nquery = \"soon\"\n", "\u{0}\u{1}"] {
            let before = sidecache.log.text().matches("reload failed").count();
            sidecache.reconfigure(bad);
            eventually("reported", async || {
                (sidecache.log.text().matches("reload failed").count() > before).then_some(())
            })
            .await;
        }
        stop.open();
        let times = load.await.expect("every answer was right");
        measured(format_args!("4 bad files; meanwhile {times}"));
        ask(&sidecache.client(), 1).await;
    });
}

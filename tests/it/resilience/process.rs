//! The process itself: ended under load, killed while it writes, without file descriptors, without a log.

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
    Client, Gate, Raw, Received, RedisServer, Script, Setup, Sidecache, Times, Upstream, WallClock,
    eventually, eventually_within, logs::parse, measured, post, run, samples::CHAT, soon,
};

/// Asks for streams until nobody answers any more; how many came whole.
async fn stream_until_the_end(client: Client, first: usize, served: Arc<AtomicUsize>) -> usize {
    let mut whole = 0;
    for number in first.. {
        let headers = [("content-type", "application/json")];
        // A request on a connection that is just being closed, and any later one, has no answer at all.
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
fn killed_while_it_writes_it_leaves_nothing_half_done() {
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
        // What is there is whole: each entry is a hit, with the right answer.
        let sidecache = setup().start().await;
        let (client, mut hits) = (sidecache.client(), 0);
        for round in 0..3 {
            for writer in 0..8 {
                // The last writes of a writer went over several connections, and some of them may have been lost.
                let mut lost = 0;
                for number in 0.. {
                    let number = round * 100_000 + writer * 10_000 + number;
                    let headers = [("cache-control", "only-if-cached")];
                    let told = client.post_with(CHAT, &headers, &question(number)).await;
                    if told.status == 504 {
                        lost += 1;
                        if lost == 5 {
                            break;
                        }
                        continue;
                    }
                    assert_eq!((told.cache(), told.json()), ("HIT", answer(&question(number))));
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
fn without_file_descriptors_it_waits_and_serves_whom_it_has() {
    run(async {
        let upstream = knowing().await;
        let sidecache = Setup::to(&upstream.url()).after("ulimit -n 60").start().await;
        // A client with a pool might open a second connection, which then waits.
        let mut kept = Raw::connect(sidecache.address()).await;
        let send = async |kept: &mut Raw, number: usize| {
            kept.send(post(CHAT, "", &question(number).to_string())).await;
            kept.head().await
        };
        let known = answer(&question(0)).to_string();
        assert!(send(&mut kept, 0).await.contains("x-cache: MISS"));
        kept.until(&known).await;
        let before = sidecache.open_files();
        let mut crowd = Vec::new();
        for _ in 0..200 {
            crowd.push(Raw::connect(sidecache.address()).await);
        }
        eventually("none is left", async || (sidecache.open_files() >= 60).then_some(())).await;
        let mut times = Times::default();
        for _ in 0..20 {
            let head = times.of(send(&mut kept, 0)).await;
            assert!(head.contains("x-cache: HIT"), "who has a connection is served");
            kept.until(&known).await;
        }
        measured(format_args!("200 wait; who has a connection: {times}"));
        let told = send(&mut kept, 1).await;
        assert!(told.starts_with("HTTP/1.1 200") || told.starts_with("HTTP/1.1 502"), "{told}");
        drop(crowd);
        eventually("they are free again", async || (sidecache.open_files() <= before + 2).then_some(()))
            .await;
        for number in 2..20 {
            ask(&sidecache.client(), number).await;
        }
    });
}

/// A wall clock that jumps by a day and more, forth and back, while an answer is under way and others are stored.
#[test]
fn a_wall_clock_set_back_and_forth_disturbs_no_request_and_makes_no_life_longer() {
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
                // It may end at once; it may not go on for longer than its life.
                let ends = async || (ask_if_stored(&client, turn).await != "HIT").then_some(());
                lives.of(eventually_within(LIFE + Duration::from_secs(5), "it ends", ends)).await;
                times.of(ask(&client, 100 + turn)).await;
            }
            go.open();
            let told = soon("the answer under way", under_way).await.expect("no panic");
            assert_eq!((told.status, told.json()), (200, answer(&question(9999))));
            let uptime = sidecache.health().await["uptime_seconds"].as_f64().expect("seconds");
            assert!((0.0..90.0).contains(&uptime), "{uptime}");
            measured(format_args!("5 jumps of up to 60 days: {times}; lives of 2 s: {lives}"));
        }
    });
}

/// An upstream that holds back the answers to those who say so.
async fn holding(go: &Gate) -> Upstream {
    let go = go.clone();
    Upstream::start(move |request: &Received| match request.header("x-held") {
        Some(_) => Script::raw().wait(&go).then(Script::json(&answer(&request.json()))),
        None => Script::json(&answer(&request.json())),
    })
    .await
}

/// Asks for what is stored and for nothing else; what became of it.
async fn ask_if_stored(client: &Client, number: usize) -> String {
    let headers = [("cache-control", "only-if-cached")];
    let told = client.post_with(CHAT, &headers, &question(number)).await;
    if told.status != 504 {
        assert_eq!((told.status, told.json()), (200, answer(&question(number))));
    }
    told.cache().to_owned()
}

#[test]
fn a_log_that_nobody_reads_holds_up_no_request() {
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
        // Once somebody reads again, a line says how many are lacking; for that, there must be one.
        let asking = tokio::spawn(async move {
            for number in 0.. {
                ask(&client, number % 50).await;
            }
        });
        let told = tokio::task::block_in_place(|| {
            (0..1_000_000).find(|_| line()["log_dropped"].as_u64().is_some_and(|count| count > 0))
        });
        assert!(told.is_some());
        assert!(!asking.is_finished(), "no request failed");
        asking.abort();
        child.kill().expect("it runs");
        child.wait().expect("it ends");
    });
}

#[test]
fn a_log_disk_that_is_full_fails_no_request() {
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
fn in_little_memory_large_bodies_pass() {
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
                        let told = client.post_text(CHAT, &headers, &body).await;
                        assert!(told.status == 200 && told.body == body, "{}", told.status);
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
fn a_bad_file_at_a_hangup_under_load_changes_nothing() {
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
            eventually("told", async || {
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

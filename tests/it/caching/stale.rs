//! Stale answers: served while they are refreshed, and while the upstream fails.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{
    Answer, Client, Gate, RedisServer, Script, Setup, Upstream, eventually, run,
    samples::{CHAT, DONE, chat, chat_events, chat_stream},
};

/// The path of a route with a TTL of one second, and a longer time in which its answers are served stale.
const ASK: &str = "/ask";

/// The least time between a failed refresh and the next one.
const PAUSE: Duration = Duration::from_secs(5);

fn route(stale: &str) -> String {
    format!("[[route]]\nmatch = \"POST {ASK}\"\nkind = \"query\"\nttl = \"1s\"\n{stale}\n")
}

/// An upstream that numbers its answers. It fails with a status other than 200, and hangs up with 0.
struct Counting {
    upstream: Upstream,
    status: Arc<AtomicU16>,
}

impl Counting {
    async fn start() -> Self {
        let (status, count) = (Arc::new(AtomicU16::new(200)), AtomicUsize::new(0));
        let now = Arc::clone(&status);
        let upstream = Upstream::start(move |_| {
            let count = count.fetch_add(1, Ordering::Relaxed);
            match now.load(Ordering::Relaxed) {
                0 => Script::raw().close(),
                200 => Script::json(&json!({"answer": format!("A{count}.")})),
                status => Script::json_with(status, &[], &json!({"detail": "no"})),
            }
        })
        .await;
        Self { upstream, status }
    }

    fn answer_with(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }
}

async fn ask(client: &Client) -> Answer {
    client.post(ASK, &json!({"query": "q"})).await
}

/// Asks until the answer is no longer a fresh hit; returns that answer.
async fn aged(client: &Client) -> Answer {
    eventually("the TTL is over", async || Some(ask(client).await).filter(|answer| answer.cache() != "HIT"))
        .await
}

#[test]
fn a_stale_answer_is_served_while_it_is_refreshed() {
    run(async {
        let service = Counting::start().await;
        let config = route("stale_while_revalidate = \"10m\"");
        let sidecache = Setup::to(&service.upstream.url()).config(&config).start().await;
        let client = sidecache.client();
        let first = ask(&client).await;
        assert_eq!(first.cache(), "MISS");
        let stale = aged(&client).await;
        assert_eq!((stale.cache(), &stale.body), ("STALE", &first.body));
        assert!(stale.header("age").parse::<u64>().expect("seconds") >= 1);
        let status = stale.header("cache-status");
        assert!(status.starts_with("sidecache; hit; ttl=") && !status.contains("fwd"), "{status}");
        let fresh = async || Some(ask(&client).await).filter(|answer| answer.cache() == "HIT");
        let fresh = eventually("it is fresh again", fresh).await;
        assert_eq!(fresh.json()["answer"], "A1.");
        let health = sidecache.health().await;
        assert!(health["cache"]["stale"].as_u64().expect("a count") >= 1);
        let line = async || sidecache.log.all().into_iter().find(|line| line["cache"]["status"] == "STALE");
        let line = eventually("a log line", line).await;
        assert!(line["cache"]["ttl"].as_i64().expect("seconds") <= 0, "{line}");
    });
}

/// While the head of a refresh says that it fails, or that nobody else may have the answer, nobody joins it; that is no
/// reason to begin another one.
#[test]
fn a_refresh_that_nobody_may_join_is_the_only_one() {
    run(async {
        for headers in [("cache-control", "no-store"), ("x-none", "")] {
            let rest = Gate::new();
            let held = rest.clone();
            let calls = Arc::new(AtomicUsize::new(0));
            let counted = Arc::clone(&calls);
            let upstream = Upstream::start(move |_| match counted.fetch_add(1, Ordering::Relaxed) {
                0 => Script::json(&json!({"answer": "A."})),
                _ => {
                    let status = if headers.0 == "x-none" { 500 } else { 200 };
                    let head = [("content-type", "application/json"), ("content-length", "2"), headers];
                    Script::raw().head(status, &head).send("{").wait(&held).send("}")
                }
            })
            .await;
            let config = route("stale_while_revalidate = \"10m\"");
            let sidecache = Setup::to(&upstream.url()).config(&config).start().await;
            let client = sidecache.client();
            ask(&client).await;
            assert_eq!(aged(&client).await.cache(), "STALE");
            eventually("the refresh", async || (calls.load(Ordering::Relaxed) == 2).then_some(())).await;
            let asked =
                async || sidecache.log.all().iter().filter(|line| line["cache"]["status"] == "STALE").count();
            eventually("a hundred stale hits", async || {
                assert_eq!(ask(&client).await.cache(), "STALE");
                (asked().await > 100).then_some(())
            })
            .await;
            assert_eq!(calls.load(Ordering::Relaxed), 2, "{headers:?}");
            rest.open();
        }
    });
}

/// Nobody reads a refresh: that it has no reader must not end it.
#[test]
fn a_refresh_goes_on_whatever_the_route_says_of_readers_and_buffers() {
    run(async {
        for settings in ["on_abandon = \"cancel\"", "on_abandon = \"finish\""] {
            let service = Counting::start().await;
            let config = route(&format!("stale_while_revalidate = \"10m\"\n{settings}"));
            // The answer is larger than the buffer for followers.
            let config = format!("[coalesce]\nmax_buffer = \"8B\"\n{config}");
            let sidecache = Setup::to(&service.upstream.url()).config(&config).start().await;
            let client = sidecache.client();
            ask(&client).await;
            assert_eq!(aged(&client).await.cache(), "STALE", "{settings}");
            let fresh = async || Some(ask(&client).await).filter(|answer| answer.cache() == "HIT");
            let fresh = eventually("it is fresh again", fresh).await;
            assert_ne!(fresh.json()["answer"], "A0.", "{settings}");
        }
    });
}

#[test]
fn many_stale_hits_start_one_refresh_and_a_failed_refresh_is_not_retried_at_once() {
    run(async {
        let service = Counting::start().await;
        let config = route("stale_while_revalidate = \"10m\"");
        let sidecache = Setup::to(&service.upstream.url()).config(&config).start().await;
        let client = sidecache.client();
        ask(&client).await;
        service.answer_with(500);
        let began = Instant::now();
        assert_eq!(aged(&client).await.cache(), "STALE");
        eventually("the refresh", async || (service.upstream.calls() == 2).then_some(())).await;
        for _ in 0..50 {
            assert_eq!(ask(&client).await.cache(), "STALE");
        }
        // On a busy machine, the fifty take longer than the pause after a failed refresh.
        let most = 2 + (began.elapsed().as_millis() / PAUSE.as_millis()) as usize;
        let calls = service.upstream.calls();
        assert!(calls <= most, "{calls} calls, at most {most}");
        service.answer_with(200);
        eventually("it is tried again", async || (ask(&client).await.cache() == "HIT").then_some(())).await;
        assert_eq!(service.upstream.calls(), calls + 1);
    });
}

/// Starts a refresh on one replica and, while it runs, asks the other replica the same question twenty times.
/// Returns the number of upstream calls, or `None` if a lookup failed meanwhile: a replica that got no CPU
/// for two seconds does not know the latest invalidations, so it finds nothing and may call the upstream.
async fn asked_of_both(
    one: &Client,
    two: &Client,
    question: &Value,
    calls: impl Fn() -> usize,
) -> Option<usize> {
    let ask = async |client: &Client| client.post(ASK, question).await.cache().to_owned();
    ask(one).await;
    let aged = eventually("the TTL is over", async || Some(ask(one).await).filter(|cache| cache != "HIT"));
    if aged.await != "STALE" {
        return None;
    }
    eventually("a refresh", async || (calls() >= 2).then_some(())).await;
    for _ in 0..20 {
        if ask(two).await != "STALE" {
            return None;
        }
    }
    Some(calls())
}

#[test]
fn replicas_refresh_a_stale_answer_once() {
    run(async {
        let redis = RedisServer::start();
        let gates: Vec<_> = (0..10).map(|_| Gate::new()).collect();
        let calls = Arc::new(Mutex::new(vec![0; gates.len()]));
        let (held, counted) = (gates.clone(), Arc::clone(&calls));
        // The second answer to each question waits for its gate.
        let upstream = Upstream::start(move |request| {
            let number: usize =
                request.json()["query"].as_str().and_then(|text| text.parse().ok()).expect("a number");
            let count: &mut usize = &mut counted.lock().unwrap()[number];
            *count += 1;
            let mut script = if *count == 2 { Script::raw().wait(&held[number]) } else { Script::raw() };
            script.steps.extend(Script::json(&json!({"answer": format!("A{count}.")})).steps);
            script
        })
        .await;
        let config = route("stale_while_revalidate = \"10m\"") + "[store]\ntimeout = \"5s\"";
        let start =
            || Setup::to(&upstream.url()).arguments(&["--redis", &redis.url()]).config(&config).start();
        let (one, two) = (start().await, start().await);
        let (one, two) = (one.client(), two.client());
        for (number, gate) in gates.iter().enumerate() {
            let question = json!({"query": number.to_string()});
            let asked = asked_of_both(&one, &two, &question, || calls.lock().unwrap()[number]).await;
            gate.open();
            if let Some(asked) = asked {
                assert_eq!(asked, 2);
                let fresh = async || (two.post(ASK, &question).await.cache() == "HIT").then_some(());
                return eventually("fresh", fresh).await;
            }
        }
        panic!("lookups fail");
    });
}

#[test]
fn a_stale_answer_is_served_instead_of_an_upstream_error() {
    run(async {
        let service = Counting::start().await;
        let sidecache =
            Setup::to(&service.upstream.url()).config(&route("stale_if_error = \"10m\"")).start().await;
        let client = sidecache.client();
        let first = ask(&client).await;
        service.answer_with(503);
        let stale = aged(&client).await;
        assert_eq!((stale.status, stale.cache(), &stale.body), (200, "STALE", &first.body));
        for (status, received) in
            [(500, "fwd-status=500"), (502, "fwd-status=502"), (504, "fwd-status=504"), (0, "fwd=stale;")]
        {
            service.answer_with(status);
            let stale = ask(&client).await;
            assert_eq!((stale.cache(), &stale.body), ("STALE", &first.body), "{status}");
            assert!(stale.header("cache-status").contains(received), "{}", stale.header("cache-status"));
        }
        // A 4xx is about the question, so it is passed on. A caller with `max-age` gets no stale answer.
        service.answer_with(429);
        assert_eq!(ask(&client).await.status, 429);
        service.answer_with(503);
        let fussy = client.post_with(ASK, &[("cache-control", "max-age=0")], &json!({"query": "q"})).await;
        assert_eq!(fussy.status, 503);
        service.answer_with(200);
        assert_eq!(ask(&client).await.cache(), "MISS", "it is asked each time");
        assert_eq!(ask(&client).await.cache(), "HIT");
    });
}

#[test]
fn stale_answers_are_served_while_the_upstream_is_gone_or_too_slow() {
    run(async {
        let (hang, status) = (Arc::new(AtomicU16::new(0)), Script::json(&json!({"answer": "A."})));
        let hangs = Arc::clone(&hang);
        let upstream = Upstream::start(move |_| {
            if hangs.load(Ordering::Relaxed) == 1 { Script::raw().hang() } else { status.clone() }
        })
        .await;
        let config = route("stale_if_error = \"10m\"") + "[upstream]\nfirst_byte_timeout = \"300ms\"";
        let sidecache = Setup::to(&upstream.url()).config(&config).start().await;
        let client = sidecache.client();
        ask(&client).await;
        hang.store(1, Ordering::Relaxed);
        let all = aged(&client).await;
        assert_eq!((all.status, all.cache()), (200, "STALE"));
        let (one, two) = tokio::join!(ask(&client), ask(&client));
        assert_eq!((one.cache(), two.cache()), ("STALE", "STALE"), "who joins gets it too");
        drop(upstream);
        assert_eq!(ask(&client).await.cache(), "STALE");
    });
}

#[test]
fn streams_are_served_stale_too() {
    run(async {
        let events = chat_events();
        let events: Vec<_> = events.iter().map(String::as_str).collect();
        let upstream =
            Upstream::in_turn(vec![Script::events(&events), Script::json_with(500, &[], &json!({}))]).await;
        let config = format!(
            "[[route]]\nmatch = \"POST {CHAT}\"\nkind = \"query\"\nttl = \"1s\"\nstale_if_error = \"10m\""
        );
        let sidecache = Setup::to(&upstream.url()).config(&config).start().await;
        let client = sidecache.client();
        let first = client.post(CHAT, &chat_stream()).await;
        assert!(first.text().ends_with(DONE));
        let ask = async || {
            Some(client.post(CHAT, &chat_stream()).await).filter(|received| received.cache() != "HIT")
        };
        let stale = eventually("the TTL is over", ask).await;
        assert_eq!((stale.status, stale.cache(), &stale.body), (200, "STALE", &first.body));
        assert_eq!(stale.header("content-type"), "text/event-stream");
        // The same in the other form.
        let whole = client.post(CHAT, &chat()).await;
        assert_eq!(
            (whole.status, whole.cache(), whole.header("content-type")),
            (200, "STALE", "application/json")
        );
    });
}

#[test]
fn without_the_setting_nothing_is_served_stale() {
    run(async {
        let service = Counting::start().await;
        let sidecache = Setup::to(&service.upstream.url()).config(&route("")).start().await;
        ask(&sidecache.client()).await;
        service.answer_with(503);
        let failed = aged(&sidecache.client()).await;
        assert_eq!((failed.status, failed.cache()), (503, "MISS"));
    });
}

//! The promise: `/metrics` says what clients got, in the texts that Prometheus reads, and no request can make a
//! new series.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    process::{Command, Stdio},
};

use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};
use serde_json::json;

use crate::support::{
    Answer, Client, Received, RedisServer, Script, Setup, Sidecache, Upstream, eventually, number_from, run,
    run_within,
    samples::{CHAT, chat, chat_answer},
};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The samples of the page by their names and labels.
async fn scraped(operator: &Client) -> BTreeMap<String, f64> {
    let page = operator.get("/metrics").await;
    assert_eq!((page.status, page.header("content-type")), (200, "text/plain; version=0.0.4; charset=utf-8"));
    samples(&page.text())
}

fn samples(page: &str) -> BTreeMap<String, f64> {
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    let sample = |line: &str| {
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
        (series.to_owned(), value.parse().unwrap_or_else(|error| panic!("{line}: {error}")))
    };
    let all: Vec<_> = lines.map(sample).collect();
    let count = all.len();
    let samples: BTreeMap<_, _> = all.into_iter().collect();
    assert_eq!(samples.len(), count, "a series is there twice");
    samples
}

/// The sum of the samples of `name` with all of these labels.
fn sum(samples: &BTreeMap<String, f64>, name: &str, labels: &[&str]) -> f64 {
    let is_it = |series: &&String| {
        let own = series.split_once('{').map_or(&series[..], |(name, _)| name);
        own == name && labels.iter().all(|label| series.contains(label))
    };
    samples.keys().filter(is_it).map(|series| samples[series]).sum()
}

async fn started(setup: impl FnOnce(Setup) -> Setup) -> (Upstream, Sidecache) {
    let upstream = Upstream::start(|request| match request.target.as_str() {
        CHAT => Script::json(&chat_answer()),
        "/broken" => Script::raw().close(),
        _ => Script::json_with(404, &[], &json!({"detail": "no such page"})),
    })
    .await;
    let sidecache = setup(Setup::to(&upstream.url())).admin().start().await;
    (upstream, sidecache)
}

#[test]
fn what_clients_got_is_counted() {
    run(async {
        let redis = RedisServer::start();
        for in_redis in [false, true] {
            let arguments = ["--redis".to_owned(), redis.url()];
            let (_upstream, sidecache) = started(|setup| {
                let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
                if in_redis { setup.arguments(&arguments) } else { setup }
            })
            .await;
            let client = sidecache.client();
            for expected in ["MISS", "HIT", "HIT"] {
                assert_eq!(client.post(CHAT, &chat()).await.cache(), expected);
            }
            let mut streamed = chat();
            streamed["stream"] = true.into();
            assert_eq!(client.post(CHAT, &streamed).await.cache(), "HIT");
            let refreshed = client.post_with(CHAT, &[("cache-control", "no-cache")], &chat()).await;
            assert_eq!(refreshed.cache(), "BYPASS");
            assert_eq!(client.get("/nothing").await.status, 404);
            assert_eq!(client.get("/broken").await.status, 502);
            assert_eq!(client.get("/health").await.status, 200);
            sidecache.settled().await;
            let samples = scraped(&sidecache.operator()).await;
            let requests = |labels: &[&str]| sum(&samples, "sidecache_requests_total", labels);
            let chats = "route=\"openai-chat\"";
            assert_eq!(requests(&[chats, "kind=\"query\"", "cache=\"hit\"", "status=\"2xx\""]), 3.0);
            assert_eq!(requests(&[chats, "cache=\"miss\""]), 1.0);
            assert_eq!(requests(&[chats, "cache=\"bypass\""]), 1.0);
            assert_eq!(requests(&["route=\"none\"", "cache=\"pass\"", "status=\"4xx\""]), 1.0);
            assert_eq!(requests(&["route=\"none\"", "cache=\"pass\"", "status=\"5xx\""]), 1.0);
            assert_eq!(requests(&[]), 8.0);
            for name in ["sidecache_request_duration_seconds", "sidecache_first_byte_seconds"] {
                assert_eq!(sum(&samples, &format!("{name}_count"), &[]), 8.0);
                assert_eq!(sum(&samples, &format!("{name}_bucket"), &["le=\"+Inf\""]), 8.0);
            }
            let lookups = |result: &str| {
                sum(&samples, "sidecache_lookups_total", &["kind=\"query\"", &format!("result=\"{result}\"")])
            };
            assert_eq!(["hit", "form", "miss", "stale", "error"].map(lookups), [2.0, 1.0, 1.0, 0.0, 0.0]);
            let upstream = |outcome: &str| {
                sum(
                    &samples,
                    "sidecache_upstream_duration_seconds_count",
                    &[&format!("outcome=\"{outcome}\"")],
                )
            };
            assert_eq!(["ok", "error", "timeout", "cut"].map(upstream), [3.0, 0.0, 0.0, 1.0]);
            let bypassed =
                |reason: &str| sum(&samples, "sidecache_bypassed_total", &[&format!("reason=\"{reason}\"")]);
            assert_eq!(["request-no-cache", "no-route"].map(bypassed), [1.0, 2.0]);
            assert_eq!(sum(&samples, "sidecache_entry_age_seconds_count", &["kind=\"query\""]), 3.0);
            let store = if in_redis { "store=\"redis\"" } else { "store=\"memory\"" };
            assert_eq!(sum(&samples, "sidecache_store_up", &[store]), 1.0);
            assert_eq!(sum(&samples, "sidecache_entries", &[store]), 1.0);
            assert!(sum(&samples, "process_resident_memory_bytes", &[]) > 1e6);
            redis.cli(&["FLUSHALL"]);
        }
    });
}

/// The page of the scrape is an operator's own connection.
#[test]
fn operators_connections_are_not_those_of_clients() {
    run(async {
        let (_upstream, sidecache) = started(|setup| setup).await;
        let (clients, operator) = ([sidecache.client(), sidecache.client()], sidecache.operator());
        for client in &clients {
            assert_eq!(client.post(CHAT, &chat()).await.status, 200);
        }
        let counted = async || {
            let samples = scraped(&operator).await;
            ["client", "operator", "upstream"]
                .map(|side| sum(&samples, "sidecache_connections", &[&format!("side=\"{side}\"")]))
        };
        assert_eq!(counted().await[..2], [2.0, 1.0]);
        drop(clients);
        eventually("clients have left", async || (counted().await[..2] == [0.0, 1.0]).then_some(())).await;
    });
}

/// Redis itself says how many connections there are.
#[test]
fn connections_to_redis_are_counted() {
    run(async {
        let mut redis = RedisServer::start();
        let url = redis.url();
        let (_upstream, sidecache) = started(|setup| setup.arguments(&["--redis", &url])).await;
        let (client, operator) = (sidecache.client(), sidecache.operator());
        for expected in ["MISS", "HIT"] {
            assert_eq!(client.post(CHAT, &chat()).await.cache(), expected);
        }
        let counted = async || sum(&scraped(&operator).await, "sidecache_connections", &["side=\"store\""]);
        // One of them is that of redis-cli.
        let clients = |redis: &RedisServer| redis.cli(&["CLIENT", "LIST"]).lines().count() as f64 - 1.0;
        let both = eventually("the same count", async || {
            let both = (counted().await, clients(&redis));
            (both.0 == both.1).then_some(both)
        })
        .await;
        assert!(both.0 >= 4.0, "two for calls, one for the log, one for figures: {both:?}");
        redis.stop();
        eventually("all are closed", async || (counted().await == 0.0).then_some(())).await;
        let (_upstream, without) = started(|setup| setup).await;
        let samples = scraped(&without.operator()).await;
        assert!(!samples.keys().any(|series| series.contains("side=\"store\"")));
    });
}

/// Whatever clients send, the series are those of the routes and of closed lists.
#[test]
fn no_request_makes_a_new_series() {
    let requests = usize::try_from(number_from("SIDECACHE_SERIES", 1500)).expect("a number");
    run_within(std::time::Duration::from_secs(600), async move {
        let (_upstream, sidecache) = started(|setup| setup).await;
        let (client, operator) = (sidecache.client(), sidecache.operator());
        let word = "[a-zA-Z0-9%_.-]{1,12}";
        let mut runner = TestRunner::new(Config::default());
        let request = (word, word, word, word, 0..8_usize);
        for number in 0..requests {
            let tree = request.new_tree(&mut runner).expect("a request");
            let (path, name, value, model, shape) = tree.current();
            let header = format!("x-{}", name.replace(['%', '.', '_'], "-"));
            let headers = [(&*header, &*value), ("authorization", &*value)];
            let body =
                json!({"model": model, "messages": [{"role": "user", "content": value}], "user": name});
            match shape {
                0 => client.request("GET", &format!("/{path}?{name}={value}"), &headers, Vec::new()).await,
                1 => client.request("OPTIONS", &format!("/{path}/{name}"), &headers, Vec::new()).await,
                2 => client.post_with(&format!("/api/v1/documents/{path}"), &headers, &body).await,
                3 => client.request("DELETE", &format!("/{path}"), &headers, Vec::new()).await,
                _ => client.post_with(&format!("{CHAT}?{name}={value}"), &headers, &body).await,
            };
            if number + 1 == requests || number % 500 == 0 {
                let samples = scraped(&operator).await;
                for label in ["route", "model", "path", "user"] {
                    let values = labels(&samples, label);
                    let is_known =
                        |value: &String| ["none", "openai-chat", "api-v1-documents"].contains(&&**value);
                    assert!(values.iter().all(is_known), "{label}: {values:?}");
                }
                assert!(samples.len() < 700, "{} series", samples.len());
            }
        }
        let samples = scraped(&operator).await;
        assert_eq!(sum(&samples, "sidecache_requests_total", &[]), requests as f64);
    });
}

/// The values of a label.
fn labels(samples: &BTreeMap<String, f64>, label: &str) -> BTreeSet<String> {
    let value = |series: &String| {
        let (_, rest) = series.split_once(&format!("{label}=\""))?;
        Some(rest.split('"').next().expect("a value").to_owned())
    };
    samples.keys().filter_map(value).collect()
}

/// Calls are told apart by the models that the configuration names, and by no others.
#[test]
fn a_model_is_a_label_only_by_its_pattern() {
    run(async {
        let answer = |request: &Received| {
            let mut answer = chat_answer();
            answer["model"] = request.json()["model"].clone();
            Script::json(&answer)
        };
        let upstream = Upstream::start(move |request| answer(request)).await;
        let price = "[[price]]\nmodel = \"*\"\ninput = 1\noutput = 2\ncurrency = \"USD\"";
        let models = "[metrics]\nmodels = [\"gpt-4o-mini\", \"gpt-4o*\", \"\\\"x\\\" {y=1}\"]\n";
        for (config, labelled) in [(price.to_owned(), false), (format!("{models}{price}"), true)] {
            let sidecache = Setup::to(&upstream.url()).config(&config).admin().start().await;
            let client = sidecache.client();
            for model in ["gpt-4o-mini", "gpt-4o-2024", "gpt-4o", "secret-model", "\"x\" {y=1}"] {
                let mut question = chat();
                question["model"] = model.into();
                for cache in ["MISS", "HIT"] {
                    assert_eq!(client.post(CHAT, &question).await.cache(), cache);
                }
            }
            let page = sidecache.operator().get("/metrics").await;
            promtool_accepts(&page);
            assert!(!page.text().contains("secret-model"));
            let samples = samples(&page.text());
            let known: &[&str] = if labelled { &["gpt-4o*", "gpt-4o-mini", "other", "\\"] } else { &[] };
            let values: Vec<_> = labels(&samples, "model").into_iter().collect();
            assert_eq!(values.len(), known.len(), "{values:?}");
            assert!(known.iter().all(|known| values.iter().any(|value| value == known)), "{values:?}");
            let tokens = |model: &str| {
                sum(&samples, "sidecache_tokens_total", &["source=\"saved\"", &format!("model=\"{model}\"")])
            };
            let all = sum(&samples, "sidecache_tokens_total", &["source=\"saved\""]);
            if labelled {
                assert_eq!(
                    ["gpt-4o-mini", "gpt-4o*", "other"].map(tokens),
                    [all / 5.0, all * 0.4, all / 5.0]
                );
            }
            let saved = sum(&samples, "sidecache_saved_cost_total", &[]);
            assert!(all > 0.0 && saved > 0.0);
            let series = samples.keys().filter(|series| series.starts_with("sidecache_saved_cost_total"));
            assert_eq!(series.count(), known.len().max(1));
        }
        let many = format!("[metrics]\nmodels = [{}]", "\"m\",".repeat(101));
        let refused = Setup::to(&upstream.url()).config(&many).arguments(&["check"]);
        let told = refused.command().output().expect("it runs");
        assert!(String::from_utf8_lossy(&told.stderr).contains("metrics.models: has 101 models"), "{told:?}");
    });
}

/// `promtool` has nothing to say against the page.
fn promtool_accepts(page: &Answer) {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool, of the package prometheus");
    promtool.stdin.take().expect("a pipe").write_all(&page.body).expect("read");
    let told = promtool.wait_with_output().expect("an end");
    let told = format!("{}{}", String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr));
    assert_eq!(told, "", "{}", page.text());
}

#[test]
fn prometheus_reads_both_texts() {
    run(async {
        let (_upstream, sidecache) = started(|setup| {
            setup.config("[[route]]\nname = \"a \\\"route\\\" \\\\ {x=1} # EOF\"\nmatch = \"POST /own\"\nkind = \"query\"")
        })
        .await;
        let (client, operator) = (sidecache.client(), sidecache.operator());
        client.post(CHAT, &chat()).await;
        client.post("/own", &json!({"query": "q"})).await;
        sidecache.settled().await;
        let older = operator.get("/metrics").await;
        promtool_accepts(&older);
        let newer = operator.request("GET", "/metrics", &[("accept", OPEN_METRICS)], Vec::new()).await;
        assert_eq!(newer.header("content-type"), OPEN_METRICS);
        assert!(newer.text().ends_with("\n# EOF\n") && !older.text().contains("# EOF\n# EOF"));
        let counted = |page: String| {
            samples(&page).keys().filter(|series| series.starts_with("sidecache_requests")).count()
        };
        assert_eq!(counted(newer.text()), counted(older.text()));
    });
}

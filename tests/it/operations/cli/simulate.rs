//! `sidecache simulate`: a log, replayed with other settings. `SIDECACHE_SIMULATED=20000` makes the real runs longer.

use std::path::PathBuf;

use fastrand::Rng;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::{Ended, command};
use crate::support::{
    Client, Script, Setup, Sidecache, Upstream, eventually, number_from, run,
    samples::{CHAT, QUERY, chat, chat_answer},
};

/// Clients that ask at once.
const CLIENTS: u64 = 8;

/// A folder with a log in it.
struct Log(TempDir);

impl Log {
    fn new(text: &str) -> Self {
        let log = Self(tempfile::tempdir().expect("a folder"));
        std::fs::write(log.path(), text).expect("a file");
        log
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("app.log")
    }

    fn simulate(&self, arguments: &[&str]) -> Ended {
        let path = self.path();
        let setup = Setup::bare().arguments(&["simulate", path.to_str().expect("UTF-8")]);
        command(&setup.arguments(arguments), "")
    }
}

/// The cells of the row that begins with these.
#[track_caller]
fn row(ended: &Ended, first: &[&str]) -> Vec<String> {
    assert!(ended.success, "{}", ended.complaint);
    let cells = |line: &str| -> Vec<String> {
        line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect()
    };
    let first: Vec<_> = first.iter().map(|&cell| cell.to_owned()).collect();
    let found = ended.output.lines().map(cells).find(|cells| cells.starts_with(&first));
    let mut cells = found.unwrap_or_else(|| panic!("no row {first:?}: {}", ended.output));
    cells.drain(..first.len());
    cells
}

/// The hit rate in the row that begins with these, in percent.
#[track_caller]
fn rate(ended: &Ended, first: &[&str]) -> f64 {
    let rate = &row(ended, first)[0];
    rate.trim_end_matches('%').parse().unwrap_or_else(|_| panic!("{rate}: {}", ended.output))
}

/// Asks questions, of which some come much more often than others, and some are out of the ordinary.
async fn ask(client: Client, mut random: Rng, count: u64) {
    for _ in 0..count {
        // The square of a share: small numbers come often.
        let question = (random.f64().powi(3) * 400.0) as u64;
        let headers: &[_] = match random.u32(..50) {
            0 => &[("cache-control", "no-cache")],
            1 => &[("cache-control", "no-store")],
            _ => &[],
        };
        client.post_with(QUERY, headers, &json!({"query": format!("question {question}")})).await;
    }
}

/// The answer to a question; every twentieth one cannot be answered.
fn answer(body: &Value) -> Script {
    let question = body["query"].as_str().expect("a text").to_owned();
    if question.ends_with("17") {
        return Script::json_with(500, &[], &json!({"error": question}));
    }
    let headers =
        [("date", "Tue, 01 Dec 2026 10:00:00 GMT"), ("server", "uvicorn"), ("x-powered-by", "a service")];
    let text = question.repeat(200 + question.len() * 20);
    Script::json_with(200, &headers, &json!({"answer": text, "sources": []}))
}

/// What a sidecache with these settings logs of many requests, and its cache section of `/health`.
async fn real_run(setup: Setup, requests: u64) -> (Log, Value) {
    let sidecache = setup.start().await;
    let mut asking = JoinSet::new();
    for number in 0..CLIENTS {
        asking.spawn(ask(sidecache.client(), Rng::with_seed(number), requests / CLIENTS));
    }
    asking.join_all().await;
    let told = || sidecache.log.text().matches(r#""event_type":"http_response""#).count() as u64;
    let all = requests / CLIENTS * CLIENTS;
    eventually("a line for each request", async || (told() >= all).then_some(())).await;
    let health = sidecache.health().await["cache"].take();
    (Log::new(&sidecache.log.text()), health)
}

#[test]
fn with_the_settings_of_a_real_run_the_hit_rate_is_that_of_the_run() {
    run(async {
        let upstream = Upstream::forgetful(|request| answer(&request.json())).await;
        let requests = number_from("SIDECACHE_SIMULATED", 5000);
        for (ttl, memory) in [("24h", "512KiB"), ("1s", "64MiB"), ("1s", "768KiB")] {
            let setup =
                Setup::to(&upstream.url()).arguments(&["--max-memory", memory, "--log-level", "INFO"]);
            let (log, health) = real_run(setup.env("CACHE_QUERY_TTL", ttl), requests).await;
            let ended = log.simulate(&["--ttl", ttl, "--max-memory", memory]);
            // What is measured is what /health says.
            let measured = row(&ended, &["measured"]);
            let hits = measured[1].replace(',', "").parse::<u64>().expect("a number");
            let misses = measured[2].replace(',', "").parse::<u64>().expect("a number");
            assert_eq!(
                (&health["hits"], &health["misses"]),
                (&hits.into(), &misses.into()),
                "{}",
                ended.output
            );
            assert_eq!(health["hit_rate"], measured[0]);
            let real = rate(&ended, &["measured"]);
            assert!((10.0..99.0).contains(&real), "no run to learn from: {}", ended.output);
            let simulated = rate(&ended, &[ttl, memory]);
            assert!((simulated - real).abs() <= 0.5, "{}", ended.output);
            // The log tells the TTL too.
            let as_logged = rate(&log.simulate(&["--max-memory", memory]), &["as logged", memory]);
            assert!((as_logged - real).abs() <= 0.5, "{as_logged} for {real} with {ttl} and {memory}");
        }
    });
}

/// The log of some requests on two routes.
async fn some_requests() -> String {
    let upstream = Upstream::always(Script::json(&chat_answer())).await;
    let sidecache = Sidecache::start(&upstream.url()).await;
    for target in [CHAT, CHAT, "/v1/other/chat/completions", "/elsewhere"] {
        let asked = sidecache.client().post(target, &chat()).await;
        sidecache.log.response(asked.header("x-request-id")).await;
    }
    sidecache.log.text()
}

#[test]
fn the_table_comes_from_files_or_from_standard_input() {
    run(async {
        let text = some_requests().await;
        let from_file = Log::new(&text).simulate(&[]);
        assert_eq!(row(&from_file, &["measured"])[..3], ["33.33%", "1", "2"], "{}", from_file.output);
        assert_eq!(row(&from_file, &["24h", "no bound"])[..3], ["33.33%", "1", "2"], "{}", from_file.output);
        assert!(
            from_file.complaint.is_empty() && !from_file.output.contains("saved  "),
            "{}",
            from_file.complaint
        );
        let from_input = command(&Setup::bare().arguments(&["simulate", "-"]), &text);
        assert_eq!(from_input.output, from_file.output);
    });
}

#[test]
fn only_the_named_routes_count() {
    run(async {
        let log = Log::new(&some_requests().await);
        let name = "openai-chat";
        let ended = log.simulate(&["--route", name]);
        assert_eq!(row(&ended, &["measured"])[..3], ["33.33%", "1", "2"], "{}", ended.output);
        let complaint = log.simulate(&["--route", "support-chat"]);
        let received = complaint.one_complaint();
        assert!(received.contains("`support-chat`") && received.contains(name), "{received}");
    });
}

#[test]
fn money_has_a_column_if_the_log_tells_of_it() {
    run(async {
        let mut text = some_requests().await;
        let responses: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let miss = responses.iter().find(|line| line["cache"]["status"] == "MISS").expect("a miss");
        let call = json!({"event_type": "llm_call", "request_id": miss["request_id"], "cost": 0.25, "currency": "USD"});
        text += &format!("\n{call}\n");
        let ended = Log::new(&text).simulate(&["--ttl", "1h", "--max-memory", "1GiB"]);
        assert!(ended.output.contains("USD saved"), "{}", ended.output);
        for first in [&["measured"][..], &["1h", "1GiB"]] {
            assert_eq!(row(&ended, first).last().map(String::as_str), Some("0.25"), "{}", ended.output);
        }
    });
}

#[test]
fn unreadable_lines_are_told_once_and_left_out() {
    run(async {
        let text = some_requests().await;
        let log = Log::new(&format!("{text}\nrubbish\n{{\"event_type\":\"http_response\",\"times\n"));
        let ended = log.simulate(&["--ttl", "1h"]);
        assert!(ended.success && ended.output.contains("measured"), "{}", ended.complaint);
        let number = text.lines().count() + 1;
        assert_eq!(ended.complaint.lines().count(), 1, "{}", ended.complaint);
        assert!(ended.complaint.contains(&format!("app.log:{number}: ")), "{}", ended.complaint);
        assert!(ended.complaint.contains("2 such lines"), "{}", ended.complaint);
    });
}

#[test]
fn the_curves_are_a_picture() {
    run(async {
        let log = Log::new(&some_requests().await);
        let picture = log.0.path().join("curve.svg");
        let path = picture.to_str().expect("UTF-8");
        assert!(log.simulate(&["--svg", path]).success);
        let text = std::fs::read_to_string(&picture).expect("a picture");
        assert!(text.starts_with("<svg xmlns=") && text.ends_with("</svg>\n"), "{text}");
        assert_eq!(text.matches("<polyline").count(), 1, "{text}");
        let nowhere = log.0.path().join("no/folder.svg");
        let ended = log.simulate(&["--svg", nowhere.to_str().expect("UTF-8")]);
        assert!(ended.one_complaint().contains("cannot be written"), "{}", ended.complaint);
    });
}

#[test]
fn what_cannot_be_simulated_is_told_in_one_line() {
    let empty = Log::new("");
    assert!(empty.simulate(&[]).one_complaint().contains("no request on a cached route"));
    assert!(empty.simulate(&["--max-memory", "large"]).one_complaint().contains("--max-memory"));
    assert!(empty.simulate(&["--ttl", "soon"]).complaint.contains("--ttl"));
    std::fs::remove_file(empty.path()).expect("it is there");
    assert!(empty.simulate(&[]).one_complaint().contains("app.log: cannot be read"));
    let folder = empty.0.path().to_str().expect("UTF-8");
    let ended = command(&Setup::bare().arguments(&["simulate", folder]), "");
    assert!(ended.one_complaint().contains("cannot be read"), "{}", ended.complaint);
    assert!(!command(&Setup::bare().arguments(&["simulate"]), "").success);
}

/// The label lines of a route: so many, from this similarity on, every `nth` of which has another answer.
fn labels(route: &str, similarity: f64, count: usize, nth: usize) -> String {
    let line = |number: usize| {
        let same = number % nth != nth - 1;
        let (minute, second) = (number / 60 % 60, number % 60);
        let line = json!({
            "timestamp": format!("2026-12-01T07:{minute:02}:{second:02}.000Z"), "level": "INFO", "logger": "rag.semantic",
            "event_type": "semantic_label", "message": "the answers differ", "route": route, "key": "query:0f",
            "original": "query:5c", "partition": "abababababababab", "disagreement": 0.0,
            "similarity": similarity + (number % 100) as f64 / 10_000.0,
            "same": same, "source": "shadow",
        });
        format!("{line}\n")
    };
    (0..count).map(line).collect()
}

#[test]
fn labels_become_a_curve_for_each_route() {
    let wide = labels("wide", 0.945, 2000, usize::MAX) + &labels("wide", 0.705, 500, 2);
    let log = Log::new(&(wide + "{\"event_type\":\"lifecycle\"}\n" + &labels("narrow", 0.9, 10, usize::MAX)));
    let ended = log.simulate(&["--semantic"]);
    let (narrow, wide) = ended.output.split_once("route         wide").expect("both routes");
    assert!(
        narrow.starts_with("route         narrow\nlabels        10 in 9.0 s, 0 of them"),
        "{}",
        ended.output
    );
    assert!(narrow.contains("\n1%          none\n"), "{narrow}");
    assert!(wide.contains("labels        2,500 in 33 min 19 s, 250 of them with another answer"), "{wide}");
    assert!(wide.contains("0.7000  100.00%   10.00%   1"), "{wide}");
    assert!(wide.contains("0.9400   80.00%    0.00%    0.24%"), "{wide}");
    let certified = wide.lines().find(|line| line.starts_with("2%")).expect("a limit");
    assert!(certified.starts_with("2%        0."), "{wide}");

    let one = log.simulate(&["--semantic", "--route", "narrow"]);
    assert!(one.success && !one.output.contains("wide"), "{}", one.output);
    let absent = log.simulate(&["--semantic", "--route", "other"]);
    assert!(
        !absent.success && absent.complaint.contains("the logs have: narrow, wide"),
        "{}",
        absent.complaint
    );
    let both = log.simulate(&["--semantic", "--ttl", "1h"]);
    assert!(!both.success && both.complaint.contains("--ttl"), "{}", both.complaint);
    let none = Log::new("{\"event_type\":\"lifecycle\"}\n").simulate(&["--semantic"]);
    assert!(!none.success && none.complaint.contains("have no labels"), "{}", none.complaint);
}

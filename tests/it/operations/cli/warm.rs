//! `sidecache warm`: recorded requests, sent through the proxy.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::{Ended, command};
use crate::support::{
    Gate, RedisServer, Script, Setup, Sidecache, Upstream, eventually, run,
    samples::{QUERY, query_answer},
};

/// A folder with recorded requests in it.
struct Recorded {
    dir: tempfile::TempDir,
    proxy: String,
}

impl Recorded {
    fn new(sidecache: &Sidecache, text: &str) -> Self {
        let recorded = Self::to(&format!("http://{}", sidecache.address()));
        recorded.write(text);
        recorded
    }

    fn to(proxy: &str) -> Self {
        Self { dir: tempfile::tempdir().expect("a folder"), proxy: proxy.to_owned() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, text: &str) {
        std::fs::write(self.path("requests.jsonl"), text).expect("a file");
    }

    /// The command that sends them.
    fn setup(&self, arguments: &[&str]) -> Setup {
        let file = self.path("requests.jsonl");
        Setup::bare()
            .arguments(&["warm", file.to_str().expect("UTF-8"), "--proxy", &self.proxy])
            .arguments(arguments)
    }

    fn warm(&self, arguments: &[&str]) -> Ended {
        command(&self.setup(arguments), "")
    }

    fn has_journal(&self) -> bool {
        self.path("requests.jsonl.progress").exists()
    }
}

/// A different question for each number.
fn question(number: usize) -> Value {
    json!({"method": "POST", "path": QUERY, "body": {"query": format!("question {number}")}})
}

fn questions(count: usize) -> String {
    (1..=count).map(|number| format!("{}\n", question(number))).collect()
}

/// The value of `label` in the summary.
fn count(ended: &Ended, label: &str) -> String {
    let line = ended.output.lines().find(|line| line.starts_with(label));
    let line = line.unwrap_or_else(|| panic!("{label}: {}{}", ended.output, ended.complaint));
    line[label.len()..].trim().to_owned()
}

#[test]
fn recorded_requests_become_hits() {
    run(async {
        let upstream = Upstream::always(Script::json(&query_answer())).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let headers =
            json!({"Content-Type": "application/json", "Authorization": "Bearer x", "X-Two": ["1", "2"]});
        let recorded = Recorded::new(
            &sidecache,
            &format!(
                "{}\n{}\n\n{}\n{}",
                question(1),
                json!({"method": "POST", "path": QUERY, "headers": headers, "body": "{\"query\": \"text\"}"}),
                json!({"method": "GET", "path": "/api/v1/documents/a%20b?x=1"}),
                json!({"method": "GET", "path": "/elsewhere"}),
            ),
        );
        let first = recorded.warm(&["--concurrency", "1"]);
        assert!(first.success, "{}", first.complaint);
        assert!(first.output.starts_with("4 requests sent in "), "{}", first.output);
        assert_eq!(
            ["hits", "misses", "uncached", "failures"].map(|label| count(&first, label)),
            ["0", "3", "1", "0"]
        );
        assert!(!recorded.has_journal());
        let sent = upstream.requests();
        assert_eq!(sent[0].body, br#"{"query":"question 1"}"#);
        assert_eq!(
            (sent[1].body.as_slice(), sent[1].header("authorization")),
            (&br#"{"query": "text"}"#[..], Some("Bearer x"))
        );
        assert_eq!(sent[1].all("x-two"), ["1", "2"]);
        assert_eq!(
            (sent[2].method.as_str(), sent[2].target.as_str()),
            ("GET", "/api/v1/documents/a%20b?x=1")
        );
        let second = recorded.warm(&[]);
        assert_eq!(
            ["hits", "misses", "uncached", "failures"].map(|label| count(&second, label)),
            ["3", "0", "1", "0"]
        );
        assert_eq!(upstream.calls(), 5);
    });
}

#[test]
fn warm_sends_as_many_requests_at_once_as_concurrency_says() {
    run(async {
        let gate = Gate::new();
        let held = gate.clone();
        let upstream = Upstream::start(move |_| Script::json(&query_answer()).after(&held)).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let recorded = Recorded::new(&sidecache, &questions(20));
        let setup = recorded.setup(&["--concurrency", "8"]);
        let child = setup.command().spawn().expect("the binary");
        eventually("eight at once", async || (upstream.calls() == 8).then_some(())).await;
        gate.open();
        let output = child.wait_with_output().expect("its end");
        assert!(output.status.success() && upstream.calls() == 20, "{output:?}");
    });
}

#[test]
fn an_interrupted_warm_run_resumes_where_it_stopped() {
    run(async {
        let gate = Gate::new();
        let held = gate.clone();
        let upstream = Upstream::start(move |request| {
            let answer = Script::json(&query_answer());
            if request.json()["query"] == "question 3" { answer.after(&held) } else { answer }
        })
        .await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let recorded = Recorded::new(&sidecache, &questions(5));
        for signal in ["KILL", "INT"] {
            let missed = async || sidecache.health().await["cache"]["misses"].as_u64().expect("a number");
            let lookups = missed().await + if signal == "KILL" { 3 } else { 1 };
            let setup = recorded.setup(&["--concurrency", "1"]);
            let mut child = setup.command().spawn().expect("the binary");
            // The second run joins the question that hangs, or sends it again.
            let asked = async || (missed().await == lookups).then_some(());
            eventually("the question that hangs", asked).await;
            eventually("two finished", async || {
                let journal = std::fs::read_to_string(recorded.path("requests.jsonl.progress")).ok()?;
                (journal.lines().skip(1).collect::<Vec<_>>() == ["1", "2"]).then_some(())
            })
            .await;
            let id = child.id().to_string();
            let killed = std::process::Command::new("kill").arg(format!("-{signal}")).arg(id).status();
            assert!(killed.expect("the kill command").success());
            let status = eventually("its end", async || child.try_wait().expect("its state")).await;
            assert!(!status.success(), "{signal}");
        }
        gate.open();
        let ended = recorded.warm(&[]);
        assert!(ended.success, "{}", ended.complaint);
        assert!(ended.output.starts_with("3 requests sent"), "{}", ended.output);
        assert!(ended.output.contains("2 finished before"), "{}", ended.output);
        assert!(!recorded.has_journal());
        let asked: Vec<_> =
            upstream.requests().iter().map(|request| request.json()["query"].clone()).collect();
        for number in [1, 2, 4, 5] {
            let text = format!("question {number}");
            assert_eq!(asked.iter().filter(|query| **query == *text).count(), 1, "{text}");
        }
    });
}

#[test]
fn warm_reports_failures_and_bad_lines_and_sends_only_them_again() {
    run(async {
        let upstream = Upstream::in_turn(vec![
            Script::json(&query_answer()),
            Script::json_with(500, &[], &json!({})),
            Script::json(&query_answer()),
        ])
        .await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let recorded =
            Recorded::new(&sidecache, &format!("{}{{\"method\": \"GET\"}}\nrubbish\n", questions(3)));
        let first = recorded.warm(&["--concurrency", "1"]);
        assert!(!first.success && recorded.has_journal());
        let received: Vec<_> = first.complaint.lines().collect();
        assert_eq!(
            received,
            ["line 4: has no text under `path`", "line 5: no JSON at byte 0", "line 2: status 500"]
        );
        assert_eq!(["misses", "failures"].map(|label| count(&first, label)), ["2", "1"]);
        let second = recorded.warm(&["--concurrency", "1"]);
        assert!(second.output.starts_with("1 requests sent") && !second.success, "{}", second.output);
        assert_eq!(upstream.calls(), 4);
        // A file of other requests is rejected, unless a flag allows it.
        recorded.write(&questions(1).replace("question", "another"));
        let other = recorded.warm(&[]);
        assert!(other.one_complaint().contains("--restart"), "{}", other.complaint);
        assert!(recorded.warm(&["--restart"]).success && !recorded.has_journal());
        let state = recorded.path("elsewhere");
        assert!(recorded.warm(&["--state", state.to_str().expect("UTF-8")]).success && !state.exists());
    });
}

#[test]
fn warm_replays_what_a_sidecache_log_contains() {
    run(async {
        let upstream = Upstream::always(Script::json(&json!({"id": 1}))).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let client = sidecache.client();
        for target in ["/api/v1/documents/1?a=x%20y&b=1&b=2", "/api/v1/documents/2?token=canary", "/health"] {
            client.get(target).await;
        }
        let asked = client.post(QUERY, &json!({"query": "q"})).await;
        sidecache.log.response(asked.header("x-request-id")).await;
        let recorded = Recorded::new(&sidecache, &sidecache.log.text());
        let calls = upstream.calls();
        let ended = recorded.warm(&[]);
        assert!(ended.success, "{}", ended.complaint);
        assert!(ended.output.starts_with("1 requests sent"), "{}", ended.output);
        assert!(ended.output.contains("\n2 not sent"), "{}", ended.output);
        assert_eq!(
            (upstream.calls(), upstream.last().target.as_str()),
            (calls + 1, "/api/v1/documents/1?a=x+y&b=1&b=2")
        );
    });
}

#[test]
fn warm_stops_at_once_without_a_proxy() {
    let recorded = Recorded::to(&format!("http://127.0.0.1:{}", RedisServer::free_port()));
    recorded.write(&questions(100));
    let ended = recorded.warm(&[]);
    let received = ended.one_complaint();
    assert!(
        received.contains("is sidecache running") && received.contains("goes on from here"),
        "{received}"
    );
    assert!(recorded.warm(&["--concurrency", "0"]).complaint.contains("--concurrency"));
    std::fs::remove_file(recorded.path("requests.jsonl")).expect("it is there");
    assert!(recorded.warm(&[]).one_complaint().contains("cannot be read"));
}

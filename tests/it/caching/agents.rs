//! Loops of agents that people run: asked a second time, in another session, everything that is the same question hits.
//!
//! `tests/agents/recordings/` has a folder for each client, with the requests of two runs and the answers that a model
//! gave. `outcomes.tsv` in it has a line for each request of a second run that is not the same question, with the reason.
//! With the `settings.toml` of a client, these hit as well. `tests/agents.sh` records them, and runs the clients.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::support::{Received, Script, Setup, Sidecache, Upstream, run};

/// A request as it was recorded, and its answer.
#[derive(Clone, Debug)]
struct Exchange {
    number: String,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    answer_headers: Vec<(String, String)>,
    answer: Vec<u8>,
}

fn recordings() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/agents/recordings")
}

fn clients() -> Vec<String> {
    let entries = fs::read_dir(recordings()).expect("recordings").map(|entry| entry.expect("an entry"));
    let folders = entries.filter(|entry| entry.path().is_dir());
    let mut clients: Vec<_> =
        folders.map(|folder| folder.file_name().to_string_lossy().into_owned()).collect();
    clients.sort();
    clients
}

/// The first line of a file, its headers, and what comes behind them.
fn parsed(path: &Path) -> (String, Vec<(String, String)>, Vec<u8>) {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let end = bytes.windows(2).position(|window| window == b"\n\n").expect("the end of the head");
    let head = String::from_utf8(bytes[..end].to_vec()).expect("text");
    let (line, lines) = head.split_once('\n').expect("headers");
    let headers = lines.lines().map(|line| line.split_once(": ").expect("a header"));
    let headers = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
    (line.to_owned(), headers, bytes[end + 2..].to_vec())
}

/// The requests of a run, in their order.
fn recorded(client: &str, run: &str) -> Vec<Exchange> {
    let folder = recordings().join(client).join(run);
    let files = fs::read_dir(&folder).expect("a run").map(|entry| entry.expect("an entry").file_name());
    let files = files.map(|name| name.to_string_lossy().into_owned());
    let mut numbers: Vec<_> =
        files.filter_map(|name| Some(name.strip_suffix(".request.http")?.to_owned())).collect();
    numbers.sort();
    let exchange = |number: String| {
        let (line, headers, body) = parsed(&folder.join(format!("{number}.request.http")));
        let (_, answer_headers, answer) = parsed(&folder.join(format!("{number}.response.http")));
        let (method, target) = line.split_once(' ').expect("a method");
        let (method, target) = (method.to_owned(), target.to_owned());
        Exchange { number, method, target, headers, body, answer_headers, answer }
    };
    numbers.into_iter().map(exchange).collect()
}

impl Exchange {
    fn is_of(&self, request: &Received) -> bool {
        (&self.target, &self.body) == (&request.target, &request.body)
    }

    fn script(&self) -> Script {
        let headers: Vec<_> =
            self.answer_headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        if headers.contains(&("transfer-encoding", "chunked")) {
            Script::raw().head(200, &headers).chunk(&self.answer).end()
        } else {
            Script::whole(200, &headers, &self.answer)
        }
    }
}

/// Sends both runs; returns the outcome of each request of the second one.
async fn second_run(client: &str, settings: Option<&str>) -> BTreeMap<String, String> {
    let runs = ["first", "second"].map(|run| recorded(client, run));
    assert_eq!(runs[0].len(), runs[1].len(), "{client}");
    let all: Arc<[Exchange]> = runs.concat().into();
    let known = Arc::clone(&all);
    let upstream = Upstream::start(move |request| {
        let exchange = known.iter().find(|exchange| exchange.is_of(request)).expect("a recorded request");
        exchange.script()
    })
    .await;
    let sidecache = match settings {
        Some(settings) => Setup::to(&upstream.url()).config(settings).start().await,
        None => Sidecache::start(&upstream.url()).await,
    };
    let mut outcomes = BTreeMap::new();
    for (run, exchanges) in runs.iter().enumerate() {
        // Each run is a process of its own.
        let http = sidecache.client();
        for (place, exchange) in exchanges.iter().enumerate() {
            let headers: Vec<_> =
                exchange.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let calls = upstream.calls();
            let answer =
                http.request(&exchange.method, &exchange.target, &headers, exchange.body.clone()).await;
            assert_eq!(answer.status, 200, "{client} {}: {}", exchange.number, answer.text());
            let is_hit = answer.cache() == "HIT";
            assert_eq!(upstream.calls(), calls + usize::from(!is_hit));
            if is_hit {
                assert_eq!(answer.body, runs[0][place].answer, "{client} {}", exchange.number);
            } else if !answer.cache().is_empty() {
                assert_eq!(upstream.last().body, exchange.body, "it goes upstream as it came");
            }
            if run == 1 {
                outcomes.insert(exchange.number.clone(), answer.cache().to_owned());
            }
        }
    }
    outcomes
}

#[test]
fn a_second_run_hits() {
    run(async {
        let text = fs::read_to_string(recordings().join("outcomes.tsv")).expect("outcomes");
        let mut exceptions = BTreeMap::new();
        for line in text.lines() {
            let [client, number, outcome, why] = line.split('\t').collect::<Vec<_>>()[..] else {
                panic!("four columns: {line}")
            };
            assert!(!why.is_empty(), "{line}");
            exceptions.insert((client.to_owned(), number.to_owned()), outcome.to_owned());
        }
        let clients = clients();
        assert!(clients.len() >= 4, "{clients:?}");
        for client in clients {
            let found = second_run(&client, None).await;
            assert!(found.len() >= 2, "{client}: {found:?}");
            for (number, outcome) in &found {
                let expected = exceptions.remove(&(client.clone(), number.clone()));
                assert_eq!(outcome, expected.as_deref().unwrap_or("HIT"), "{client} {number}");
            }
            let settings = recordings().join(&client).join("settings.toml");
            if let Ok(settings) = fs::read_to_string(settings) {
                let found = second_run(&client, Some(&settings)).await;
                assert!(found.values().all(|outcome| outcome == "HIT"), "{client}: {found:?}");
            }
        }
        assert!(exceptions.is_empty(), "{exceptions:?}");
    });
}

/// The recordings are of other machines than this one, and have no text of a vendor.
#[test]
fn recordings_have_no_paths_and_no_prose() {
    for client in clients() {
        for exchange in ["first", "second"].into_iter().flat_map(|run| recorded(&client, run)) {
            let head = format!("{:?}", exchange.headers);
            let body = String::from_utf8(exchange.body).expect("text");
            let answer = String::from_utf8(exchange.answer).expect("text");
            for text in [&head, &body, &answer] {
                for path in ["/tmp/", "/Users/", "/root/", "/var/"] {
                    assert!(!text.contains(path), "{client} {}: {path}", exchange.number);
                }
                let words = text.split(|letter: char| !letter.is_alphanumeric() && letter != ' ');
                let longest = words.map(|words| words.split(' ').count()).max();
                assert!(longest < Some(24), "{client} {}: {longest:?}", exchange.number);
            }
        }
    }
}

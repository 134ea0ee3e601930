//! The promise: with its preset, a service that people run is answered from the cache where that is safe, and
//! nowhere else.
//!
//! `tests/recordings/` has a folder for each preset, with what the real server sent, and in `made/` what it sends
//! according to its source. `outcomes.tsv` in it says what becomes of each exchange: its name, the outcome, and for a
//! change which of the stored answers it invalidates.

mod cuts;
mod first_steps;
mod init;
mod openers;
mod outcomes;
mod presets;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use crate::support::{Answer, Client, Script, Setup, Sidecache, Streaming, Upstream};

/// Names the exchange to the scripted upstream.
const CASE: &str = "x-case";

/// A request and its answer, as they were on the wire without their transfer coding.
#[derive(Clone, Debug)]
pub(super) struct Exchange {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    answer: RecordedAnswer,
}

#[derive(Clone, Debug)]
pub(super) struct RecordedAnswer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    is_chunked: bool,
}

/// What becomes of an exchange.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    /// `stored`, `stored-ids` if others get other ids, `stored-eof` if the body's end is the only end, or else why it
    /// is not stored.
    stored: String,
    /// The stored answers that a change invalidates: their names, or `all`, perhaps but for `-name`.
    invalidates: Vec<String>,
}

/// The recordings of a preset.
pub(super) struct Recordings {
    preset: String,
    exchanges: BTreeMap<String, Exchange>,
    outcomes: BTreeMap<String, Outcome>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings")
}

impl Recordings {
    /// All of them.
    fn all() -> Vec<Self> {
        let folders =
            fs::read_dir(folder()).expect("recordings").map(|entry| entry.expect("an entry").path());
        let mut all: Vec<_> = folders.filter(|path| path.is_dir()).map(|path| Self::read(&path)).collect();
        all.sort_by(|a, b| a.preset.cmp(&b.preset));
        all
    }

    fn read(path: &Path) -> Self {
        let preset = path.file_name().expect("a name").to_string_lossy().into_owned();
        let mut exchanges = BTreeMap::new();
        for part in ["", "made"] {
            let Ok(entries) = fs::read_dir(path.join(part)) else { continue };
            for entry in entries {
                let file = entry.expect("an entry").path();
                let name = file.file_name().expect("a name").to_string_lossy().into_owned();
                if let Some(name) = name.strip_suffix(".request.http") {
                    let answer = file.with_file_name(format!("{name}.response.http"));
                    let name = if part.is_empty() { name.to_owned() } else { format!("{part}/{name}") };
                    exchanges.insert(name, Exchange::read(&file, &answer));
                }
            }
        }
        let text = fs::read_to_string(path.join("outcomes.tsv")).expect("outcomes");
        let outcome = |line: &str| {
            let mut columns = line.split('\t').map(str::to_owned);
            let name = columns.next().expect("a name");
            let stored = columns.next().expect("an outcome");
            let invalidates = columns.next().unwrap_or_default();
            let invalidates = invalidates.split_whitespace().map(str::to_owned).collect();
            (name, Outcome { stored, invalidates })
        };
        Self { preset, exchanges, outcomes: text.lines().map(outcome).collect() }
    }

    /// Those that are stored.
    fn stored(&self) -> impl Iterator<Item = (&String, &Exchange, &Outcome)> {
        let of = |name: &String| &self.outcomes[name];
        self.exchanges
            .iter()
            .map(move |(name, exchange)| (name, exchange, of(name)))
            .filter(|(_, _, outcome)| outcome.stored.starts_with("stored"))
    }

    /// A service that answers as it was recorded, changed by `change`, and sidecache with the preset in front of it.
    async fn replayed(
        &self,
        change: impl Fn(&str, RecordedAnswer) -> Script + Send + Sync + 'static,
    ) -> (Upstream, Sidecache) {
        let exchanges = self.exchanges.clone();
        let upstream = Upstream::forgetful(move |request| match request.header(CASE) {
            Some(name) => change(name, exchanges[name].answer.clone()),
            // What a preset asks by itself.
            None => Script::json_with(503, &[], &serde_json::json!({"detail": "no such page"})),
        })
        .await;
        let sidecache =
            Setup::to(&upstream.url()).arguments(&["--preset", &self.preset]).admin().start().await;
        (upstream, sidecache)
    }
}

fn parsed(path: &Path) -> (String, Vec<(String, String)>, Vec<u8>) {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| (at, at + 4));
    let end = end.or_else(|| bytes.windows(2).position(|window| window == b"\n\n").map(|at| (at, at + 2)));
    let (end, body) = end.unwrap_or_else(|| panic!("{}: no end of the head", path.display()));
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.lines();
    let first = lines.next().expect("a first line").to_owned();
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers = headers.map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()));
    (first, headers.collect(), bytes[body..].to_vec())
}

impl Exchange {
    fn read(request: &Path, answer: &Path) -> Self {
        let (line, headers, body) = parsed(request);
        let mut words = line.split(' ');
        let (method, target) = (words.next().expect("a method"), words.next().expect("a target"));
        let (status, answer_headers, answer_body) = parsed(answer);
        let status = status.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        let framing = ["transfer-encoding", "content-length", "connection", "keep-alive"];
        let is_chunked = answer_headers.iter().any(|(name, _)| name == "transfer-encoding");
        let own = answer_headers.into_iter().filter(|(name, _)| !framing.contains(&name.as_str()));
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            headers: headers.into_iter().filter(|(name, _)| !framing.contains(&name.as_str())).collect(),
            body,
            answer: RecordedAnswer { status, headers: own.collect(), body: answer_body, is_chunked },
        }
    }

    /// The headers of the request, with the name of the exchange for the upstream.
    fn request_headers<'a>(&'a self, name: &'a str) -> Vec<(&'a str, &'a str)> {
        let mut headers: Vec<_> =
            self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        // The client sets its own, and takes no compressed answer.
        headers.retain(|(name, _)| !["host", "accept-encoding", "expect"].contains(name));
        headers.push((CASE, name));
        headers
    }

    async fn ask(&self, client: &Client, name: &str) -> Answer {
        client.request(&self.method, &self.target, &self.request_headers(name), self.body.clone()).await
    }

    /// Asks, and gives the answer as soon as its head is there; an error if none comes.
    async fn open(&self, client: &Client, name: &str) -> Result<Streaming, String> {
        client.try_open(&self.method, &self.target, &self.request_headers(name), self.body.clone()).await
    }
}

impl RecordedAnswer {
    fn headers(&self) -> Vec<(&str, &str)> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    /// As it was.
    fn script(&self) -> Script {
        if self.is_chunked { self.chunked(&self.body).end() } else { self.whole() }
    }

    fn whole(&self) -> Script {
        let length = self.body.len().to_string();
        let mut headers = self.headers();
        headers.push(("content-length", &length));
        Script::raw().head(self.status, &headers).send(&self.body)
    }

    /// With only this for its body, which does not end.
    fn chunked(&self, body: &[u8]) -> Script {
        let mut headers = self.headers();
        headers.push(("transfer-encoding", "chunked"));
        let script = Script::raw().head(self.status, &headers);
        if body.is_empty() { script } else { script.chunk(body) }
    }
}

//! Services that close their connections: a repeatable request is answered, and any other reaches the service
//! once at most.

mod closing_services;
mod retries;
mod reuse;

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use serde_json::{Value, json};

use crate::support::{
    Answer, Client, Received, Script, Setup, Sidecache,
    samples::{CHAT, QUERY, chat_answer, chat_events, query_answer},
};

const NUMBER: &str = "x-number";

const CONFIG: &str = r#"
[[route]]
match = "POST /jobs/{x}"
kind = "other"

[[route]]
match = "PUT /jobs/{x}"
kind = "other"

[[route]]
match = "PATCH /jobs/{x}"
kind = "document"

[[route]]
match = "POST /ingest"
kind = "query"
invalidates = ["document"]

[[route]]
match = "GET /reindex"
kind = "other"
cache = false
invalidates = ["document"]

[[route]]
match = "* /followed/**"
kind = "document"
mode = "rfc9111"
"#;

/// A kind of request.
#[derive(Clone)]
struct Kind {
    what: &'static str,
    method: &'static str,
    target: &'static str,
    body: Value,
    /// Whether it may reach the service twice.
    is_safe: bool,
}

fn kinds() -> Vec<Kind> {
    let safe = |what, method, target, body| Kind { what, method, target, body, is_safe: true };
    let once = |what, method, target, body| Kind { what, method, target, body, is_safe: false };
    let messages = json!([{"role": "user", "content": "Who?"}]);
    let turn = json!({"query": "Who?", "conversation_id": "c-1"});
    vec![
        safe("uncovered", "GET", "/things", Value::Null),
        safe("uncovered", "HEAD", "/things", Value::Null),
        safe("uncovered", "OPTIONS", "/things", Value::Null),
        safe("a question", "POST", CHAT, json!({"model": "m", "messages": messages})),
        safe("a stream", "POST", CHAT, json!({"model": "m", "messages": messages, "stream": true})),
        safe("a query", "POST", QUERY, json!({"query": "Who?"})),
        safe("vectors", "POST", "/v1/embeddings", json!({"model": "e", "input": ["a", "b", "a"]})),
        safe("a document", "GET", "/api/v1/documents/7", Value::Null),
        safe("a document", "HEAD", "/api/v1/documents/7", Value::Null),
        safe("a conversation", "GET", "/api/v1/conversations/7", Value::Null),
        safe("followed", "GET", "/followed/a", Value::Null),
        safe("followed", "QUERY", "/followed/a", json!({"of": "a"})),
        once("uncovered", "POST", "/things", json!({"new": true})),
        once("uncovered, without a body", "POST", "/things", Value::Null),
        once("uncovered", "PUT", "/things", json!({"new": true})),
        once("uncovered", "PATCH", "/things", json!({"new": true})),
        once("uncovered", "DELETE", "/things", Value::Null),
        once("uncovered", "REINDEX", "/things", Value::Null),
        once("a body that no dialect has", "POST", CHAT, json!({"model": "m"})),
        once("a turn", "POST", QUERY, turn),
        once("a document", "PUT", "/api/v1/documents/7", json!({"new": true})),
        once("a covered job", "POST", "/jobs/7", json!({"new": true})),
        once("a covered job", "PUT", "/jobs/7", json!({"new": true})),
        once("a covered job", "PATCH", "/jobs/7", json!({"new": true})),
        once("one that invalidates", "POST", "/ingest", json!({"query": "Who?"})),
        once("one that invalidates", "GET", "/reindex", Value::Null),
        once("followed", "POST", "/followed/a", json!({"of": "a"})),
    ]
}

impl Kind {
    /// Sends one with a number of its own, and so with a key of its own.
    async fn ask(&self, client: &Client, number: usize) -> Answer {
        let number = number.to_string();
        let headers = [("content-type", "application/json"), (NUMBER, number.as_str())];
        let (headers, body) = match &self.body {
            Value::Null => (&headers[1..], String::new()),
            body => (&headers[..], body.to_string()),
        };
        client.request(self.method, self.target, headers, body).await
    }

    fn name(&self) -> String {
        format!("{} {} ({})", self.method, self.target, self.what)
    }
}

/// A whole answer to `request`.
fn answer(request: &Received) -> Script {
    let json: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let answer = match request.target.as_str() {
        _ if request.method == "HEAD" => return Script::raw().head(200, &[("content-length", "17")]),
        CHAT if json["stream"] == true => {
            return chat_events()
                .iter()
                .fold(Script::chunked("text/event-stream"), |script, event| script.chunk(event))
                .end();
        }
        CHAT => chat_answer(),
        "/v1/embeddings" => {
            let count = json["input"].as_array().map_or(0, Vec::len);
            let data =
                (0..count).map(|index| json!({"object": "embedding", "index": index, "embedding": [0.5]}));
            json!({"object": "list", "data": data.collect::<Vec<_>>(), "model": "e",
                "usage": {"prompt_tokens": 1, "total_tokens": 1}})
        }
        _ => query_answer(),
    };
    Script::json(&answer)
}

/// The bytes of that answer.
fn bytes(request: &Received) -> Vec<u8> {
    answer(request).bytes()
}

/// The requests that a service got: the number of each, and how many came before it over the same connection.
#[derive(Clone, Debug, Default)]
struct Seen {
    requests: Arc<Mutex<Vec<(usize, usize)>>>,
    connections: Arc<AtomicUsize>,
}

impl Seen {
    fn note(&self, request: &Received, before: usize) {
        if let Some(number) = request.header(NUMBER) {
            self.requests.lock().unwrap().push((number.parse().expect("a number"), before));
        }
    }

    /// For each request with this number: how many came before it over its connection.
    fn of(&self, number: usize) -> Vec<usize> {
        let requests = self.requests.lock().unwrap();
        requests.iter().filter(|(own, _)| *own == number).map(|(_, before)| *before).collect()
    }

    fn connect(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

async fn retried(sidecache: &Sidecache) -> u64 {
    sidecache.health().await["upstream"]["retried"].as_u64().expect("a number")
}

async fn before(url: &str) -> Sidecache {
    Setup::to(url).config(CONFIG).start().await
}

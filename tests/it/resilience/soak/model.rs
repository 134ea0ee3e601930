//! The service, and the right answer to each request.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::support::{
    Received, Script, Upstream,
    samples::{CHAT, DONE, chat_choice, chunk},
    upstream::Conn,
};

/// How many of each there are.
pub(super) const QUESTIONS: usize = 60;
pub(super) const TEXTS: usize = 80;
pub(super) const DOCUMENTS: usize = 10;

/// The paths of the embedding APIs.
pub(super) const EMBEDDINGS: &str = "/v1/embeddings";

/// How long failures of the upstream may still be seen after it works again: shared answers have ended by
/// then.
const SETTLED: Duration = Duration::from_secs(3);

/// The text of the service's own errors.
pub(super) const TIRED: &str = "the model is tired";

/// The service and its documents.
pub(super) struct Model {
    upstream: Upstream,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// Of a thousand requests, this many fail.
    failing: AtomicU32,
    /// Since when no request fails.
    calm_since: Mutex<Option<Instant>>,
    /// Each document's version.
    versions: [AtomicU64; DOCUMENTS],
    /// The newest version that a writer got in a whole answer.
    received: [AtomicU64; DOCUMENTS],
}

impl Model {
    pub(super) async fn start() -> Self {
        let state = Arc::new(State::default());
        let served = Arc::clone(&state);
        let upstream = Upstream::serve(move |conn| serve(conn, Arc::clone(&served))).await;
        let model = Self { upstream, state };
        model.fail(0);
        model
    }

    pub(super) fn url(&self) -> String {
        self.upstream.url()
    }

    /// From now on, of a thousand requests this many fail.
    pub(super) fn fail(&self, permille: u32) {
        self.state.failing.store(permille, Ordering::Relaxed);
        *self.state.calm_since.lock().unwrap() = (permille == 0).then(Instant::now);
    }

    /// Whether all requests that were sent at `began` or later must have succeeded.
    pub(super) fn must_succeed(&self, began: Instant) -> bool {
        self.state.calm_since.lock().unwrap().is_some_and(|since| since + SETTLED < began)
    }

    /// The oldest version of a document that a reader may get now.
    pub(super) fn received(&self, document: usize) -> u64 {
        self.state.received[document].load(Ordering::SeqCst)
    }

    /// A writer got this version.
    pub(super) fn report(&self, document: usize, version: u64) {
        self.state.received[document].fetch_max(version, Ordering::SeqCst);
    }
}

async fn serve(mut conn: Conn, state: Arc<State>) {
    while let Some(request) = conn.request().await {
        let fails = fastrand::u32(..1000) < state.failing.load(Ordering::Relaxed);
        let fault = if fails { fastrand::u8(1..6) } else { 0 };
        if fault == 1 {
            // A slow service.
            sleep(Duration::from_millis(fastrand::u64(..300))).await;
        }
        let script = match fault {
            2 => Script::json_with(503, &[("retry-after", "1")], &json!({"detail": TIRED})),
            3 => Script::raw().close(),
            _ => answer(&request, &state),
        };
        // A request may be carried out though its answer is cut.
        let script = match fault {
            4 => cut(script).close(),
            5 => cut(script).reset(),
            _ => script,
        };
        if !conn.play(script).await {
            return;
        }
    }
}

fn cut(script: Script) -> Script {
    let bytes = script.bytes();
    Script::raw().send(&bytes[..fastrand::usize(..bytes.len())])
}

fn answer(request: &Received, state: &State) -> Script {
    if let Some(document) = request.target.strip_prefix("/api/v1/documents/") {
        let number: usize = document.parse().expect("a number");
        let version = match request.method.as_str() {
            "PUT" => state.versions[number].fetch_add(1, Ordering::SeqCst) + 1,
            _ => state.versions[number].load(Ordering::SeqCst),
        };
        return Script::json(&document_at(number, version));
    }
    let body = request.json();
    match request.target.as_str() {
        EMBEDDINGS => {
            let texts = body["input"].as_array().expect("texts");
            let data: Vec<_> = texts.iter().enumerate().map(|(index, text)| vector(index, text)).collect();
            let usage = json!({"prompt_tokens": 1, "total_tokens": 1});
            Script::json(&json!({"object": "list", "model": "e", "data": data, "usage": usage}))
        }
        CHAT if body["stream"] == true => {
            let events = events(&body);
            Script::events(&events.iter().map(String::as_str).collect::<Vec<_>>())
        }
        _ => Script::json(&whole(&body)),
    }
}

/// A question for a whole answer, or for a stream: never the same one for both.
pub(super) fn question(number: usize, stream: bool) -> Value {
    let text = format!("{} {number}?", if stream { "Tell me of" } else { "What is" });
    json!({"model": "m", "messages": [{"role": "user", "content": text}], "stream": stream})
}

fn said(question: &Value) -> String {
    let asked = question["messages"][0]["content"].as_str().expect("a question");
    format!("{asked} {}", asked.repeat(1 + asked.len() * 7 % 40))
}

/// The whole answer.
pub(super) fn whole(question: &Value) -> Value {
    chat_choice(json!({"role": "assistant", "content": said(question)}), "stop")
}

/// The events of the stream.
pub(super) fn events(question: &Value) -> Vec<String> {
    let said = said(question);
    let pieces = said.as_bytes().chunks(40).map(|piece| String::from_utf8_lossy(piece));
    let mut events: Vec<_> = pieces.map(|piece| chunk(json!({"content": piece}), None)).collect();
    events.extend([chunk(json!({}), Some("stop")), DONE.to_owned()]);
    events
}

/// The vector of a text, at its place.
pub(super) fn vector(index: usize, text: &Value) -> Value {
    let bytes = text.as_str().expect("a text").bytes();
    let sum = bytes.fold(7_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    json!({"object": "embedding", "index": index, "embedding": [sum, f64::from(sum % 1000) / 8.0]})
}

/// A document at a version.
pub(super) fn document_at(number: usize, version: u64) -> Value {
    json!({"id": number, "version": version, "text": format!("Document {number}, version {version}.")})
}

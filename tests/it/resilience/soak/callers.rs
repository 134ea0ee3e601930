//! Callers: each sends one request after the other, and checks every byte that comes back.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::time::timeout;

use super::{
    Tally,
    model::{
        DOCUMENTS, EMBEDDINGS, Model, QUESTIONS, TEXTS, TIRED, document_at, events, question, vector, whole,
    },
};
use crate::support::{Client, samples::CHAT};

/// A request that takes longer than this hangs.
const HUNG: Duration = Duration::from_secs(20);

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

/// A caller of two replicas.
pub(super) struct Caller {
    pub(super) model: Arc<Model>,
    pub(super) clients: [Client; 2],
    pub(super) tally: Arc<Tally>,
}

/// A whole 200.
struct Told {
    text: String,
    is_hit: bool,
}

impl Caller {
    pub(super) async fn run(&self, until: Instant) {
        while Instant::now() < until {
            let (number, replica) = (fastrand::usize(..QUESTIONS), fastrand::usize(..2));
            match fastrand::u8(..20) {
                0..8 => drop(self.whole(number, replica).await),
                8..12 => drop(self.stream(number, replica).await),
                12..14 => self.leave(number, replica).await,
                14..17 => self.vectors(replica).await,
                17..19 => self.read(fastrand::usize(..DOCUMENTS)).await,
                _ => self.write(fastrand::usize(..DOCUMENTS)).await,
            }
        }
    }

    /// Requests a document; returns whether it was a hit.
    pub(super) async fn whole(&self, number: usize, replica: usize) -> bool {
        let question = question(number, false);
        let received = self.received(replica, "POST", CHAT, &question).await;
        received.is_some_and(|received| {
            assert_eq!(received.text, whole(&question).to_string());
            received.is_hit
        })
    }

    /// Requests a stream; returns whether it was a hit.
    pub(super) async fn stream(&self, number: usize, replica: usize) -> bool {
        let question = question(number, true);
        let received = self.received(replica, "POST", CHAT, &question).await;
        received.is_some_and(|received| {
            assert_eq!(received.text, events(&question).concat());
            received.is_hit
        })
    }

    /// Requests a stream, and leaves before its end or its beginning.
    async fn leave(&self, number: usize, replica: usize) {
        let body = question(number, true).to_string();
        let asked = self.clients[replica].try_open("POST", CHAT, &JSON, body);
        let _ = timeout(Duration::from_millis(fastrand::u64(..5)), asked).await;
        self.tally.left.fetch_add(1, Ordering::Relaxed);
    }

    async fn vectors(&self, replica: usize) {
        let count = fastrand::usize(1..6);
        let texts: Vec<Value> =
            (0..count).map(|_| json!(format!("Text {}.", fastrand::usize(..TEXTS)))).collect();
        let asked = json!({"model": "e", "input": texts});
        let Some(received) = self.received(replica, "POST", EMBEDDINGS, &asked).await else { return };
        let answer: Value = serde_json::from_str(&received.text).expect("JSON");
        let expected: Vec<_> = texts.iter().enumerate().map(|(index, text)| vector(index, text)).collect();
        assert_eq!(answer["data"], Value::Array(expected), "for {texts:?}");
    }

    /// Reads a document: its version is never older than one that a writer got before.
    async fn read(&self, number: usize) {
        let known = self.model.received(number);
        let Some(received) = self.received(0, "GET", &path(number), &Value::Null).await else { return };
        let answer: Value = serde_json::from_str(&received.text).expect("JSON");
        let version = answer["version"].as_u64().expect("a version");
        assert!(version >= known, "document {number}: {version} after {known}");
        assert_eq!(received.text, document_at(number, version).to_string());
    }

    async fn write(&self, number: usize) {
        let received = self.received(0, "PUT", &path(number), &json!({})).await;
        self.tally.writes.fetch_add(1, Ordering::Relaxed);
        if let Some(received) = received {
            let answer: Value = serde_json::from_str(&received.text).expect("JSON");
            self.model.report(number, answer["version"].as_u64().expect("a version"));
        }
    }

    /// Sends a request; `None` if the upstream failed, which is allowed only while the model makes it fail.
    async fn received(&self, replica: usize, method: &str, target: &str, body: &Value) -> Option<Told> {
        let (began, body) = (Instant::now(), if body.is_null() { String::new() } else { body.to_string() });
        let asked = async {
            let answer = self.clients[replica].try_open(method, target, &JSON, body).await;
            let answer = answer.unwrap_or_else(|error| panic!("{method} {target} has no answer: {error}"));
            let (status, is_hit) = (answer.status, answer.cache() == "HIT");
            (status, is_hit, answer.rest().await)
        };
        let asked = timeout(HUNG, asked).await;
        let (status, is_hit, body) = asked.unwrap_or_else(|_| panic!("{method} {target} hangs"));
        match (status, body) {
            (200, Ok(text)) => {
                self.tally.right.fetch_add(1, Ordering::Relaxed);
                self.tally.hits.fetch_add(u64::from(is_hit), Ordering::Relaxed);
                Some(Told { text, is_hit })
            }
            (status, body) => {
                assert!(!self.model.must_succeed(began), "{target}, while all was well: {status} {body:?}");
                let is_known = |text: &String| text.contains(TIRED) || text.contains("UpstreamProtocol");
                assert!(body.as_ref().map_or(status == 200, is_known), "{target}: {status} {body:?}");
                self.tally.failed.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }
}

fn path(document: usize) -> String {
    format!("/api/v1/documents/{document}")
}

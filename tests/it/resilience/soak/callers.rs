//! Callers: each asks one thing after the other, and checks what comes back to the last byte.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::time::timeout;

use super::{
    Tally,
    model::{
        DOCUMENTS, EMBEDDINGS, QUESTIONS, TEXTS, TIRED, World, document_at, events, question, vector, whole,
    },
};
use crate::support::{Client, samples::CHAT};

/// A request that takes longer than this hangs.
const HUNG: Duration = Duration::from_secs(20);

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

/// A caller of two replicas.
pub(super) struct Caller {
    pub(super) world: Arc<World>,
    pub(super) clients: [Client; 2],
    pub(super) tally: Arc<Tally>,
}

/// What came back of a request: a whole 200, or nothing that can be used.
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

    /// Asks for a whole answer; whether it was a hit.
    pub(super) async fn whole(&self, number: usize, replica: usize) -> bool {
        let question = question(number, false);
        let told = self.told(replica, "POST", CHAT, &question).await;
        told.is_some_and(|told| {
            assert_eq!(told.text, whole(&question).to_string());
            told.is_hit
        })
    }

    /// Asks for a stream; whether it was a hit.
    pub(super) async fn stream(&self, number: usize, replica: usize) -> bool {
        let question = question(number, true);
        let told = self.told(replica, "POST", CHAT, &question).await;
        told.is_some_and(|told| {
            assert_eq!(told.text, events(&question).concat());
            told.is_hit
        })
    }

    /// Asks for a stream, and leaves before its end, or before its beginning.
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
        let Some(told) = self.told(replica, "POST", EMBEDDINGS, &asked).await else { return };
        let answer: Value = serde_json::from_str(&told.text).expect("JSON");
        let expected: Vec<_> = texts.iter().enumerate().map(|(index, text)| vector(index, text)).collect();
        assert_eq!(answer["data"], Value::Array(expected), "for {texts:?}");
    }

    /// Reads a document: never an older version than anybody was told of before.
    async fn read(&self, number: usize) {
        let known = self.world.told(number);
        let Some(told) = self.told(0, "GET", &path(number), &Value::Null).await else { return };
        let answer: Value = serde_json::from_str(&told.text).expect("JSON");
        let version = answer["version"].as_u64().expect("a version");
        assert!(version >= known, "document {number}: {version} after {known}");
        assert_eq!(told.text, document_at(number, version).to_string());
    }

    async fn write(&self, number: usize) {
        let told = self.told(0, "PUT", &path(number), &json!({})).await;
        self.tally.writes.fetch_add(1, Ordering::Relaxed);
        if let Some(told) = told {
            let answer: Value = serde_json::from_str(&told.text).expect("JSON");
            self.world.tell(number, answer["version"].as_u64().expect("a version"));
        }
    }

    /// Asks; `None` where the upstream failed, which it may only where it does.
    async fn told(&self, replica: usize, method: &str, target: &str, body: &Value) -> Option<Told> {
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
                assert!(!self.world.was_calm(began), "{target}, while all was well: {status} {body:?}");
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

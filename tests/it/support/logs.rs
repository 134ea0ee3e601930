//! The lines that a running sidecache writes.

use std::{
    io::{BufRead, BufReader, Read},
    sync::{Arc, Mutex},
    thread,
};

use serde_json::Value;

use super::eventually;

/// Everything that was written so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    /// Collects what comes out of `pipe` until it ends.
    pub(crate) fn collect(pipe: impl Read + Send + 'static) -> Self {
        let lines = Self::default();
        let collected = lines.clone();
        thread::spawn(move || {
            for line in BufReader::new(pipe).lines() {
                let Ok(line) = line else { return };
                collected.0.lock().unwrap().push(line);
            }
        });
        lines
    }

    /// The lines so far, as text.
    pub(crate) fn text(&self) -> String {
        self.0.lock().unwrap().join("\n")
    }

    /// The lines so far.
    pub(crate) fn all(&self) -> Vec<Value> {
        self.0.lock().unwrap().iter().map(|line| parse(line)).collect()
    }

    /// The lines of one request so far.
    pub(crate) fn of(&self, request_id: &str) -> Vec<Value> {
        self.all().into_iter().filter(|line| line["request_id"] == request_id).collect()
    }

    /// Waits for a line.
    pub(crate) async fn wait_for(&self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        eventually(what, async || self.all().into_iter().find(|line| is(line))).await
    }

    /// Waits for the line that says that a request was answered.
    pub(crate) async fn response(&self, request_id: &str) -> Value {
        let is = |line: &Value| line["event_type"] == "http_response" && line["request_id"] == request_id;
        self.wait_for(&format!("the response of {request_id}"), is).await
    }

    /// Waits until the store was asked for a request and had nothing: it now asks the upstream, or joins.
    pub(crate) async fn looked_up(&self, request_id: &str) {
        let is = |line: &Value| line["operation"] == "cache_lookup" && line["request_id"] == request_id;
        self.wait_for(&format!("the lookup of {request_id}"), is).await;
    }

    /// Waits until the store has taken so many answers: a response does not wait for Redis to do so.
    pub(crate) async fn stored(&self, count: usize) {
        let is = |line: &&Value| line["operation"] == "cache_store" && line["success"] == true;
        let all = async || (self.all().iter().filter(is).count() >= count).then_some(());
        eventually(&format!("{count} answers are stored"), all).await;
    }

    /// How often the store was said to be lost, and to be back, in that order: each a change, or the test fails.
    #[track_caller]
    pub(crate) fn store_changes(&self) -> (usize, usize) {
        let lines = self.all();
        let told = lines.iter().filter(|line| line["event_type"] == "lifecycle");
        let told: Vec<_> = told.filter_map(|line| line["message"].as_str()).collect();
        let changes: Vec<_> =
            told.into_iter().filter(|told| told.starts_with("store lost") || *told == "store back").collect();
        for pair in changes.windows(2) {
            assert_ne!(pair[0], pair[1], "no change: {changes:?}");
        }
        let lost = changes.iter().filter(|told| told.starts_with("store lost")).count();
        (lost, changes.len() - lost)
    }

    /// Waits for a line of sidecache's own life whose message begins so.
    pub(crate) async fn lifecycle(&self, message: &str) -> Value {
        let begins = |line: &Value| line["message"].as_str().is_some_and(|told| told.starts_with(message));
        self.wait_for(message, |line| line["event_type"] == "lifecycle" && begins(line)).await
    }
}

/// A line as JSON: there are no others.
#[track_caller]
pub(crate) fn parse(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

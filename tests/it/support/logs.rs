//! The log lines of a running sidecache.

use std::{
    fmt,
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
        eventually(Missing { what, lines: self }, async || self.all().into_iter().find(|line| is(line))).await
    }

    /// Waits for the line that says that a request was answered.
    pub(crate) async fn response(&self, request_id: &str) -> Value {
        let is = |line: &Value| line["event_type"] == "http_response" && line["request_id"] == request_id;
        self.wait_for(&format!("the response of {request_id}"), is).await
    }

    /// Waits until the lookup of a request was a miss: now it calls the upstream, or joins.
    pub(crate) async fn looked_up(&self, request_id: &str) {
        let is = |line: &Value| line["operation"] == "cache_lookup" && line["request_id"] == request_id;
        self.wait_for(&format!("the lookup of {request_id}"), is).await;
    }

    /// Waits until this many answers are stored: responses do not wait for writes to Redis.
    pub(crate) async fn stored(&self, count: usize) {
        let is = |line: &&Value| line["operation"] == "cache_store" && line["success"] == true;
        let all = async || (self.all().iter().filter(is).count() >= count).then_some(());
        eventually(&format!("{count} answers are stored"), all).await;
    }

    /// How often the log reported that the store was lost, and that it was back. Each report must be a
    /// change.
    #[track_caller]
    pub(crate) fn store_changes(&self) -> (usize, usize) {
        let lines = self.all();
        let received = lines.iter().filter(|line| line["event_type"] == "lifecycle");
        let received: Vec<_> = received.filter_map(|line| line["message"].as_str()).collect();
        let changes: Vec<_> = received
            .into_iter()
            .filter(|received| received.starts_with("Cache store lost") || *received == "Cache store back")
            .collect();
        for pair in changes.windows(2) {
            assert_ne!(pair[0], pair[1], "no change: {changes:?}");
        }
        let lost = changes.iter().filter(|received| received.starts_with("Cache store lost")).count();
        (lost, changes.len() - lost)
    }

    /// Waits for a lifecycle line whose message begins with `message`.
    pub(crate) async fn lifecycle(&self, message: &str) -> Value {
        let begins =
            |line: &Value| line["message"].as_str().is_some_and(|received| received.starts_with(message));
        self.wait_for(message, |line| line["event_type"] == "lifecycle" && begins(line)).await
    }
}

/// Says what did not come, and what did.
struct Missing<'a> {
    what: &'a str,
    lines: &'a Lines,
}

impl fmt::Display for Missing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; the lines so far:\n{}", self.what, self.lines.text())
    }
}

/// A line as JSON; every line must be JSON.
#[track_caller]
pub(crate) fn parse(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

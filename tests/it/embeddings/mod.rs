//! The promise: each input of a request for embeddings is an entry of its own, and a batch fetches only what
//! is missing.

mod bad_answers;
mod coalescing;
mod fake_service;
mod merged_answers;
mod random_batches;
mod request_cache_control;

use serde_json::{Value, json};

use self::fake_service::{OPENAI, inputs, vector, vectors_of};
use crate::support::{Answer, Client};

/// A request for the vectors of these texts.
fn texts(texts: &[&str]) -> Value {
    json!({"model": "e", "input": texts})
}

/// Asks for the vectors of these texts; they must be right.
async fn asked(client: &Client, headers: &[(&str, &str)], body: &Value) -> Answer {
    let answer = client.post_with(OPENAI, headers, body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_vectors(&answer, body);
    answer
}

#[track_caller]
fn assert_vectors(answer: &Answer, body: &Value) {
    let expected: Vec<_> = inputs(body).iter().map(|input| vector(input, body)).collect();
    assert_eq!(vectors_of(OPENAI, &answer.text()), expected, "{body}: {}", answer.text());
}

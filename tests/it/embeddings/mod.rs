//! Requests for vectors: each input is an entry of its own.

mod answers;
mod asking_less;
mod faults;
mod model;
mod properties;
mod together;

use serde_json::{Value, json};

use self::model::{OPENAI, inputs, vector, vectors_of};
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

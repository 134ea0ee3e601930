//! The promise: whatever fails (Redis, the upstream, clients, the machine), answers stay right and no request
//! hangs.

mod clients;
mod misplaced_replies;
mod odd_answers;
mod overload;
mod panics;
mod process;
mod redis;
mod soak;
mod truncated_answers;
mod upstream;
mod workers;

use serde_json::{Value, json};

use crate::support::{
    Answer, Client, Received, Script, Upstream,
    samples::{CHAT, chat_choice},
};

const SSE: &str = "text/event-stream";

/// A path that is passed through, and a cacheable one.
const TARGETS: [&str; 2] = ["/some/thing", CHAT];

/// A host name that cannot be resolved, without a query: one label is too long (RFC 1035, section 2.3.4).
fn unknown_host() -> String {
    format!("{}.invalid", "a".repeat(64))
}

/// The question with this number.
fn question(number: usize) -> Value {
    json!({"model": "m", "messages": [{"role": "user", "content": format!("What is {number}?")}]})
}

/// The answer to that question only.
fn answer(question: &Value) -> Value {
    let text = question["messages"][0]["content"].as_str().expect("a question");
    chat_choice(json!({"role": "assistant", "content": format!("The answer to {text}")}), "stop")
}

/// An upstream that answers each question.
async fn knowing() -> Upstream {
    Upstream::start(|request: &Received| Script::json(&answer(&request.json()))).await
}

/// Asks a question, and gets its answer.
async fn ask(client: &Client, number: usize) -> Answer {
    let question = question(number);
    let received = client.post(CHAT, &question).await;
    assert_eq!((received.status, received.json()), (200, answer(&question)));
    received
}

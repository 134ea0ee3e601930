//! The promise: an answer is invalid once a document, a conversation or a kind that it depends on has
//! changed.

mod conversations;
mod documents;
mod openai;
mod replicas;
mod routes;
mod settling;

use std::{sync::Arc, time::Instant};

use serde_json::{Value, json};

use crate::support::{
    Answer, Client, ExampleService, Gate, NEAR_STALENESS, Script, Setup, Sidecache, Upstream, eventually,
    run,
    samples::{QUERY, query},
    soon,
};

const DOCUMENT: &str = "/api/v1/documents/d%201";

/// A question in the RAG shape.
fn ask(text: &str) -> Value {
    json!({"query": text})
}

/// The `X-Cache` of a question.
async fn cache(client: &Client, text: &str) -> String {
    client.post(QUERY, &ask(text)).await.cache().to_owned()
}

/// An upstream whose answers cite the document in the question, and that accepts every write.
async fn citing() -> Upstream {
    Upstream::start(|request| match request.method.as_str() {
        "POST" if request.target == QUERY => {
            let id = request.json()["query"].clone();
            Script::json(&json!({"answer": "A.", "sources": [{"document_id": id}, {"id": 7}]}))
        }
        "GET" => Script::json(&json!({"at": request.target})),
        _ if request.header("x-refuse").is_some() => Script::json_with(422, &[], &json!({})),
        _ => Script::json(&json!({"done": request.target})),
    })
    .await
}

/// Asks through one client, changes a document that is cited through another, and asks again.
async fn change_of_a_cited_document(asker: &Client, writer: &Client) {
    let (about, other) = (ask("How long do entries live?"), ask("What is a replica?"));
    let first = asker.post(QUERY, &about).await;
    let unrelated = sources(&asker.post(QUERY, &other).await);
    let cited = sources(&first);
    let changed = cited.iter().find(|id| !unrelated.contains(id)).expect("a source of its own");
    for question in [&about, &other] {
        assert_eq!(asker.post(QUERY, question).await.cache(), "HIT");
    }

    let body = json!({"title": "Lifetimes", "text": "Entries live for seven years, as everybody knows."});
    let (target, json) = (format!("/api/v1/documents/{changed}"), [("content-type", "application/json")]);
    let put = writer.request("PUT", &target, &json, body.to_string()).await;
    assert!((200..300).contains(&put.status), "{}", put.text());
    let changed = Instant::now();
    let fresh = eventually("a fresh answer", async || {
        let asked = Instant::now();
        let answer = asker.post(QUERY, &about).await;
        assert!(answer.cache() == "MISS" || asked < changed + NEAR_STALENESS, "{:?}", asked - changed);
        (answer.cache() == "MISS").then_some(answer)
    })
    .await;
    assert_ne!(fresh.json()["answer"], first.json()["answer"]);
    assert_eq!(asker.post(QUERY, &other).await.cache(), "HIT");
}

fn sources(answer: &Answer) -> Vec<String> {
    let sources = answer.json()["sources"].as_array().expect("sources").clone();
    sources.iter().map(|source| source["document_id"].as_str().expect("an id").to_owned()).collect()
}

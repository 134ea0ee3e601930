//! The promise: what a request asks about each of its inputs is an entry of its own, for every API that sidecache knows,
//! and the answer is byte for byte the one that the service alone would have given.
//!
//! Embeddings of OpenAI and Ollama have a folder of their own, and so do lists that a route names.

mod api;
mod bad_answers;
mod coalescing;
mod fake_service;
mod random_batches;
mod reranking;
mod signed;
mod whole_requests;

use serde_json::{Value, json};

use self::{api::Api, fake_service::FakeService};
use crate::support::{Setup, Sidecache};

/// The routes of the APIs that rank, for models that score each document by itself.
const PER_ITEM: &str = "[[route]]\nmatch = [\"POST /rerank\", \"POST /v1/rerank\", \"POST /v2/rerank\", \
    \"POST /reranking\", \"POST /v1/reranking\", \"POST /score\", \"POST /v1/score\"]\nkind = \"rerank\"\n\
    per_item = true\n";

/// The service, and sidecache in front of it, with items that have entries of their own.
async fn started() -> (FakeService, Sidecache) {
    let service = FakeService::start().await;
    let sidecache = Setup::to(&service.upstream.url()).config(PER_ITEM).start().await;
    (service, sidecache)
}

/// A request to rank these texts.
fn documents(texts: &[&str]) -> Value {
    json!({"model": "r", "query": "q", "documents": texts})
}

/// What the service says to a request without a cache, if it bills for these inputs.
fn uncached(api: Api, request: &Value, billed: &[Value]) -> String {
    api.answer(request, billed)
}

//! A service for embeddings with known vectors. It writes each one in a way that a re-serialisation would
//! change.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::support::{Received, Script, Upstream};

/// The paths of the embedding APIs.
pub(super) const OPENAI: &str = "/v1/embeddings";
pub(super) const AZURE: &str = "/openai/deployments/e/embeddings?api-version=1";
pub(super) const OLLAMA: &str = "/api/embed";
pub(super) const OLLAMA_OLDER: &str = "/api/embeddings";

/// What goes wrong in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    /// The upstream's own error, with this status.
    Status(u16),
    /// The last vector is not there.
    Short,
    /// A vector too many.
    Long,
    /// Two have the same index (Ollama, which has none: no vector).
    Twice,
}

/// How the service answers the next request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Behavior {
    pub(super) fault: Fault,
    /// The vectors come in reversed order.
    pub(super) is_reversed: bool,
}

impl Behavior {
    /// No fault, and the vectors in the order of the inputs.
    pub(super) const GOOD: Self = Self { fault: Fault::None, is_reversed: false };
}

/// The service.
pub(super) struct FakeService {
    pub(super) upstream: Upstream,
    behavior: Arc<Mutex<Behavior>>,
}

impl FakeService {
    pub(super) async fn start() -> Self {
        let behavior = Arc::new(Mutex::new(Behavior::GOOD));
        let current = Arc::clone(&behavior);
        let upstream = Upstream::start(move |request| answer(request, *current.lock().unwrap())).await;
        Self { upstream, behavior }
    }

    pub(super) fn set(&self, behavior: Behavior) {
        *self.behavior.lock().unwrap() = behavior;
    }
}

/// The inputs of a request, one by one.
pub(super) fn inputs(request: &Value) -> Vec<Value> {
    match request.get("prompt").unwrap_or(&request["input"]) {
        Value::Array(items) if !items[0].is_number() => items.clone(),
        one => vec![one.clone()],
    }
}

/// The text of the vector of an input, for the request `asked`.
pub(super) fn vector(input: &Value, asked: &Value) -> String {
    let hash = blake3::hash(format!("{input} {}", asked["dimensions"]).as_bytes());
    let [a, b, ..] = *hash.as_bytes();
    if asked["encoding_format"] == "base64" {
        return format!("\"{}/+==\"", &hash.to_hex()[..16]);
    }
    let more = if asked["dimensions"].is_null() { ", 0.10" } else { "" };
    format!("[{a}.{b}0, -1e-{a}{more} ]")
}

/// What the service bills for these inputs.
pub(super) fn tokens(inputs: &[Value]) -> usize {
    inputs.iter().map(|input| input.to_string().len()).sum()
}

/// What the service answers to a request.
pub(super) fn answer(request: &Received, behavior: Behavior) -> Script {
    if let Fault::Status(status) = behavior.fault {
        return Script::json_with(status, &[("x-said", "no")], &refusal(status));
    }
    let asked = request.json();
    let inputs = inputs(&asked);
    let mut vectors: Vec<_> = inputs.iter().map(|input| vector(input, &asked)).collect();
    match behavior.fault {
        Fault::Short => drop(vectors.pop()),
        Fault::Long => vectors.push(vectors[0].clone()),
        _ => {}
    }
    let text = match request.target.as_str() {
        OLLAMA => ollama(&vectors, &inputs, behavior),
        OLLAMA_OLDER if behavior.fault == Fault::None => format!(r#"{{"embedding" : {}}}"#, vectors[0]),
        OLLAMA_OLDER => r#"{"error":null,"embeddings":[]}"#.to_owned(),
        _ => openai(&vectors, &inputs, behavior),
    };
    Script::whole(200, &[("content-type", "application/json"), ("etag", "\"all\"")], text)
}

fn openai(vectors: &[String], inputs: &[Value], behavior: Behavior) -> String {
    let index = |place: usize| if behavior.fault == Fault::Twice && place > 0 { place - 1 } else { place };
    let item = |(place, vector): (usize, &String)| match place % 2 {
        0 => format!(r#"{{"object":"embedding", "index": {} ,"embedding":{vector}}}"#, index(place)),
        _ => format!(r#"{{"embedding":{vector},"index":{}}}"#, index(place)),
    };
    let mut items: Vec<_> = vectors.iter().enumerate().map(item).collect();
    if behavior.fault == Fault::Twice && items.len() == 1 {
        items[0] = items[0].replace("\"index\": 0", "\"index\": 1");
    }
    if behavior.is_reversed {
        items.reverse();
    }
    let count = tokens(inputs);
    let usage = format!(r#"{{"prompt_tokens":{count}, "total_tokens":{count}}}"#);
    format!(
        r#"{{"object":"list", "data" :[{}],"model":"e-2","usage":{usage} ,"more":[1.0]}}"#,
        items.join(" ,")
    )
}

fn ollama(vectors: &[String], inputs: &[Value], behavior: Behavior) -> String {
    let list = if behavior.fault == Fault::Twice { String::new() } else { vectors.join(",") };
    format!(
        r#"{{"model":"e-2","embeddings":[{list}], "total_duration":14,"load_duration":1,"prompt_eval_count":{}}}"#,
        tokens(inputs)
    )
}

/// The upstream's own error.
pub(super) fn refusal(status: u16) -> Value {
    json!({"error": {"message": format!("status {status}")}})
}

/// The texts of the vectors of an answer, in their order, which must be that of their indices.
#[track_caller]
pub(super) fn vectors_of(target: &str, text: &str) -> Vec<String> {
    let json: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let written = |start: &str| {
        let (vector, _) = match start.as_bytes()[0] {
            b'"' => start.split_at(start[1..].find('"').expect("an end") + 2),
            _ => start.split_at(start.find(']').expect("an end") + 1),
        };
        vector.to_owned()
    };
    match target {
        OLLAMA => {
            let list = text.split_once("\"embeddings\":[").expect("vectors").1;
            let parts: Vec<_> = list.split("],").collect();
            let count = json["embeddings"].as_array().expect("vectors").len();
            parts[..count].iter().map(|part| written(&format!("{part}]"))).collect()
        }
        OLLAMA_OLDER => vec![written(text.split_once("\"embedding\" : ").expect("a vector").1)],
        _ => {
            let items = json["data"].as_array().expect("vectors");
            assert!(items.iter().enumerate().all(|(at, item)| item["index"] == at), "{text}");
            text.split("\"embedding\":").skip(1).map(written).collect()
        }
    }
}

/// What an answer says that it cost.
pub(super) fn cost(target: &str, answer: &Value) -> Option<u64> {
    match target {
        OLLAMA => answer["prompt_eval_count"].as_u64(),
        OLLAMA_OLDER => None,
        _ => answer["usage"]["total_tokens"].as_u64(),
    }
}

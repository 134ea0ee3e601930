//! A service that has all of these APIs, and faults.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::api::Api;
use crate::support::{Received, Script, Upstream};

/// What goes wrong in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    /// The service's own error, with this status.
    Status(u16),
    /// An error with the status 200.
    ErrorIn200,
    /// The last part is not there.
    Short,
    /// A part too many.
    Long,
    /// Two parts have the same number.
    Twice,
    /// A number is out of range.
    OutOfRange,
    /// A part has no number.
    Unnumbered,
    /// A score, or a number of a vector, is `NaN`.
    NotANumber,
    /// The same as null.
    Null,
    /// The worst result comes first.
    Unsorted,
}

impl Fault {
    pub(super) const ODD: [Self; 8] = [
        Self::Short,
        Self::Long,
        Self::Twice,
        Self::OutOfRange,
        Self::Unnumbered,
        Self::NotANumber,
        Self::Null,
        Self::Unsorted,
    ];
}

/// The service.
pub(super) struct FakeService {
    pub(super) upstream: Upstream,
    fault: Arc<Mutex<Fault>>,
}

impl FakeService {
    pub(super) async fn start() -> Self {
        let fault = Arc::new(Mutex::new(Fault::None));
        let current = Arc::clone(&fault);
        let upstream = Upstream::start(move |request| answer(request, *current.lock().unwrap())).await;
        Self { upstream, fault }
    }

    pub(super) fn set(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
    }
}

/// What the service answers to a request.
pub(super) fn answer(request: &Received, fault: Fault) -> Script {
    if let Fault::Status(status) = fault {
        return Script::json_with(status, &[("x-said", "no")], &refusal(status));
    }
    let asked = request.json();
    let text = said(Api::of(&request.target, &asked), &asked, fault);
    Script::whole(200, &[("content-type", "application/json"), ("etag", "\"all\"")], text)
}

/// The service's own error.
pub(super) fn refusal(status: u16) -> Value {
    json!({"error": format!("status {status}"), "error_type": "backend"})
}

/// What the service says with status 200; with a fault, if this API can have it, and without one where it cannot.
pub(super) fn said(api: Api, asked: &Value, fault: Fault) -> String {
    let good = api.answer(asked, &api.inputs(asked));
    if fault == Fault::ErrorIn200 {
        return refusal(200).to_string();
    }
    faulty(api, asked, &good, fault).unwrap_or(good)
}

/// The answer `good` with the fault; `None` if such an answer cannot have it.
pub(super) fn faulty(api: Api, asked: &Value, good: &str, fault: Fault) -> Option<String> {
    let json: Value = serde_json::from_str(good).expect("JSON");
    let at = list_at(api, &json)?;
    let count = json.pointer(at).and_then(Value::as_array).map_or(0, Vec::len);
    let with = |change: &dyn Fn(&mut Vec<Value>)| {
        let mut json = json.clone();
        change(json.pointer_mut(at).and_then(Value::as_array_mut).expect("a list"));
        Some(json.to_string())
    };
    match fault {
        Fault::None | Fault::Status(_) | Fault::ErrorIn200 => None,
        Fault::Short => with(&|list| drop(list.pop())),
        Fault::Long => with(&|list| list.push(list[0].clone())),
        Fault::Twice if api.is_of_scores() && count > 1 => {
            with(&|list| list[1]["index"] = list[0]["index"].clone())
        }
        Fault::OutOfRange if api.is_of_scores() => {
            with(&|list| list[0]["index"] = json!(api.inputs(asked).len()))
        }
        Fault::Unnumbered if api.is_of_scores() => {
            with(&|list| drop(list[0].as_object_mut().expect("an object").remove("index")))
        }
        Fault::Null => with(&|list| list[0] = Value::Null),
        Fault::NotANumber => Some(with(&|list| list[0] = json!("NAN"))?.replacen("\"NAN\"", "NaN", 1)),
        Fault::Unsorted if api.is_ranked() && count > 1 => {
            let score = |item: &Value| item.get("score").unwrap_or(&item["relevance_score"]).as_f64();
            let list = json.pointer(at).and_then(Value::as_array).expect("a list");
            (score(&list[0]) > score(&list[count - 1])).then(|| with(&|list| list.reverse())).flatten()
        }
        _ => None,
    }
}

/// Where an answer has its first list.
fn list_at(api: Api, answer: &Value) -> Option<&'static str> {
    match api {
        Api::GeminiEmbed => None,
        _ if answer.is_array() => Some(""),
        Api::CohereEmbed => Some("/embeddings/float"),
        _ => ["/results", "/data", "/embeddings"].into_iter().find(|at| answer.pointer(at).is_some()),
    }
}

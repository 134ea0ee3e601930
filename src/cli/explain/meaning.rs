//! What hits by meaning would make of a request: the running sidecache says it, since it has the stored questions.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::request::Parts;
use serde_json::{Map, Value, json};

use super::show::line;
use crate::{
    cli::client::{AdminCall, AdminListener},
    config::Config,
    telemetry::terminal::escaped,
};

/// Asks for what is nearest to a request. Where nobody can say it, the answer has an `error`.
pub(super) async fn ask(config: &Config, listener: &AdminListener, parts: &Parts, body: &Bytes) -> Value {
    let mut headers = Map::new();
    for name in parts.headers.keys() {
        let values = parts.headers.get_all(name).into_iter();
        let texts: Vec<_> = values.map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        headers.insert(name.to_string(), json!(texts));
    }
    let request = json!({
        "method": parts.method.as_str(),
        "path": parts.uri.path_and_query().map_or("/", |target| target.as_str()),
        "headers": headers,
        "body_base64": STANDARD.encode(body),
    });
    let call =
        AdminCall { url: listener.url(), path: "/nearest", body: Some(request), answer_member: "takes_part" };
    call.send(config).await.unwrap_or_else(|error| json!({"error": error}))
}

/// The lines of an answer.
pub(super) fn show(answer: &Value) -> String {
    let text = |value: &Value| escaped(value.as_str().unwrap_or_default());
    if let Some(error) = answer["error"].as_str() {
        return line("meaning", &format!("not known: {}", escaped(error)));
    }
    if answer["takes_part"] != true {
        return line("meaning", &format!("takes no part: {}", text(&answer["why_not"]).replace('-', " ")));
    }
    if answer["no_vector"].is_string() {
        return line("meaning", &format!("no vector: {}", text(&answer["no_vector"])));
    }
    let mut lines = String::new();
    let near = |neighbour: &Value| format!("{} {}", text(&neighbour["key"]), neighbour["similarity"]);
    let refused = &answer["refused"];
    if refused.is_object() {
        let guard = text(&refused["guard"]);
        lines += &line("nearest", &format!("{}, refused by guard `{guard}`", near(refused)));
    }
    let nearest = &answer["nearest"];
    if nearest.is_object() {
        let threshold = match answer["threshold"].as_f64() {
            Some(threshold) => format!("threshold {threshold}"),
            None => format!("no threshold: {} more labels at least", answer["labels_missing"]),
        };
        lines += &line("nearest", &format!("{}, {threshold}: {}", near(nearest), outcome(answer)));
    } else if lines.is_empty() {
        lines += &line("meaning", "no stored question shares answers with this one");
    }
    lines
}

/// What is done with the nearest question that counts.
fn outcome(answer: &Value) -> &'static str {
    match answer["decision"].as_str() {
        Some("serve") => "its answer is served",
        Some("disagree") => "the service is asked, since the answers of the nearest ones differ",
        Some("shadow") => "the service is asked, since nothing is served in shadow",
        _ => "the service is asked",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_is_told_in_words() {
        let near = json!({"key": "ns:query:1", "similarity": 0.91});
        let far = json!({"key": "ns:query:2", "similarity": 0.94, "guard": "numbers"});
        for (answer, expected) in [
            (json!({"error": "nothing answers"}), "meaning   not known: nothing answers\n"),
            (
                json!({"takes_part": false, "why_not": "tool-results"}),
                "meaning   takes no part: tool results\n",
            ),
            (json!({"takes_part": true, "no_vector": "timeout"}), "meaning   no vector: timeout\n"),
            (json!({"takes_part": true}), "meaning   no stored question shares answers with this one\n"),
            (
                json!({"takes_part": true, "refused": far}),
                "nearest   ns:query:2 0.94, refused by guard `numbers`\n",
            ),
            (
                json!({"takes_part": true, "nearest": near, "threshold": 0.93, "decision": "below"}),
                "nearest   ns:query:1 0.91, threshold 0.93: the service is asked\n",
            ),
            (
                json!({"takes_part": true, "nearest": near, "threshold": 0.9, "decision": "serve"}),
                "nearest   ns:query:1 0.91, threshold 0.9: its answer is served\n",
            ),
            (
                json!({"takes_part": true, "refused": far, "nearest": near, "threshold": null, "labels_missing": 43}),
                "nearest   ns:query:2 0.94, refused by guard `numbers`\n\
                 nearest   ns:query:1 0.91, no threshold: 43 more labels at least: the service is asked\n",
            ),
        ] {
            assert_eq!(show(&answer), expected, "{answer}");
        }
    }
}

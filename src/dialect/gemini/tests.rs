//! What real services send, by table.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use serde_json::{Value, json};

use super::Gemini;
use crate::{
    cache::route::{Route, Scope, kind::Kind},
    dialect::{
        Answer, Dialect, RequestIds,
        api::Api,
        testing::{canonical, to_stream, to_whole},
        usage::UsageSetting,
    },
    json::Json,
    reason::Reason,
};

const GEMINI: Gemini = Gemini;
const TARGETS: [&str; 3] =
    ["/m:generateContent", "/m:streamGenerateContent?alt=sse", "/m:streamGenerateContent"];

fn route() -> Route {
    Route::new("POST /**", Kind::Query, std::time::Duration::from_secs(60), Scope::Credential)
        .expect("a route")
}

/// Judges the answer to a request that was sent to `target`.
fn judge_on(route: &Route, target: &str, request: &Value, media: &'static str, body: &str) -> Answer {
    let text = request.to_string();
    let json = Json::parse(text.as_bytes()).expect("JSON");
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let ask = Dialect::Gemini.ask(&json, UsageSetting::AsAsked, None);
    let ask = Dialect::Gemini.asked_at(ask, path, query);
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    let judging = route.judging(&ask, Some(RequestIds::default()));
    Dialect::Gemini.judge(judging, route.framing(&headers), &headers, &Bytes::from(body.to_owned()))
}

fn judge(target: &str, request: &Value, media: &'static str, body: &str) -> Answer {
    judge_on(&route(), target, request, media, body)
}

fn events(chunks: &[Value]) -> String {
    chunks.iter().map(|chunk| format!("data: {chunk}\r\n\r\n")).collect()
}

fn list(chunks: &[Value]) -> String {
    let chunks: Vec<_> = chunks.iter().map(|chunk| format!("{chunk:#}")).collect();
    format!("[{}\n]\n", chunks.join("\n,\r\n"))
}

/// Judges chunks as events, and as a list.
fn judge_stream(request: &Value, chunks: &[Value]) -> [Answer; 2] {
    [
        judge(TARGETS[1], request, "text/event-stream", &events(chunks)),
        judge(TARGETS[2], request, "application/json", &list(chunks)),
    ]
}

fn question() -> Value {
    json!({"contents": [{"parts": [{"text": "q"}]}]})
}

fn chunk(text: &str, end: Value) -> Value {
    json!({"candidates": [{"content": {"parts": [{"text": text}], "role": "model"}, "finishReason": end, "index": 0}],
        "usageMetadata": {"promptTokenCount": 8, "candidatesTokenCount": 3, "thoughtsTokenCount": 2, "totalTokenCount": 13},
        "modelVersion": "gemini-2.5-flash", "responseId": "mAitaLmkHPPlz7IPvtfUqQ4"})
}

#[test]
fn a_stream_is_complete_with_all_ends_and_the_usage() {
    let (begun, ended) = (chunk("a", Value::Null), chunk("b", json!("STOP")));
    let without = |mut chunk: Value, name: &str| {
        chunk.as_object_mut().expect("an object").remove(name);
        chunk
    };
    let uncounted = |chunk: &Value| without(chunk.clone(), "usageMetadata");
    let only_usage = json!({"usageMetadata": begun["usageMetadata"]});
    let two = json!({"contents": [1], "generationConfig": {"candidateCount": 2}});
    let mut second = ended.clone();
    second["candidates"][0]["index"] = json!(1);
    let mut both = begun.clone();
    both["candidates"]
        .as_array_mut()
        .expect("a list")
        .push(json!({"index": 1, "finishReason": "STOP", "content": {"parts": [{"text": "c"}]}}));
    let mut twice = ended.clone();
    twice["candidates"].as_array_mut().expect("a list").push(json!({"index": 0, "finishReason": "SAFETY"}));
    let ended_then_more = [ended.clone(), begun.clone()];
    let blocked = json!({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": begun["usageMetadata"]});
    let error = json!({"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}});
    let ok = Ok(());
    for (request, chunks, expected) in [
        (question(), vec![begun.clone(), ended.clone()], ok),
        (question(), vec![ended.clone()], ok),
        (question(), vec![uncounted(&begun), uncounted(&ended), only_usage.clone()], ok),
        (question(), vec![begun.clone()], Err(Reason::NoProperEnd)),
        (question(), vec![uncounted(&begun), uncounted(&ended)], Err(Reason::NoProperEnd)),
        (question(), vec![only_usage.clone()], Err(Reason::NoProperEnd)),
        (question(), vec![], Err(Reason::NoProperEnd)),
        (question(), ended_then_more.to_vec(), Err(Reason::NoProperEnd)),
        (two.clone(), vec![begun.clone(), ended.clone()], Err(Reason::NoProperEnd)),
        (two.clone(), vec![both.clone()], Err(Reason::NoProperEnd)),
        (two.clone(), vec![both, ended.clone()], ok),
        (two, vec![ended.clone(), second], ok),
        (question(), vec![twice], Err(Reason::Invalid)),
        (question(), vec![begun.clone(), chunk("", json!("SAFETY"))], Err(Reason::Filtered)),
        (question(), vec![blocked.clone()], Err(Reason::Filtered)),
        (question(), vec![chunk("", json!("STOP"))], Err(Reason::Empty)),
        (question(), vec![begun.clone(), json!(7)], Err(Reason::NoProperEnd)),
        (question(), vec![begun.clone(), json!(7), ended.clone()], Err(Reason::Invalid)),
    ] {
        let judged = judge_stream(&request, &chunks);
        assert_eq!([judged[0].verdict, judged[1].verdict], [expected; 2], "{chunks:?}");
        assert_eq!(judged.map(|answer| answer.end_seen && answer.verdict.is_ok()), [false, expected.is_ok()]);
    }
    let judged = judge_stream(&question(), &[begun.clone(), error.clone(), ended.clone()]);
    assert_eq!(judged.map(|answer| answer.verdict), [Err(Reason::ErrorEvent), Err(Reason::AnswerError)]);
    let good = judge_stream(&question(), &[begun, ended.clone()]);
    for answer in good {
        assert_eq!(answer.model.as_deref(), Some("gemini-2.5-flash"));
        let usage = answer.usage.expect("the usage");
        assert_eq!((usage.prompt, usage.completion, usage.total), (Some(8), Some(5), Some(13)));
    }
    let document =
        |body: &Value| judge(TARGETS[0], &question(), "application/json", &body.to_string()).verdict;
    assert_eq!(document(&ended), ok);
    assert_eq!(document(&uncounted(&ended)), ok, "a document is whole by itself");
    assert_eq!(document(&blocked), Err(Reason::Filtered));
    assert_eq!(document(&error), Err(Reason::AnswerError));
    assert_eq!(document(&json!([error])), Err(Reason::AnswerError));
    assert_eq!(document(&json!({"usageMetadata": {}})), Err(Reason::Invalid));
}

/// Wherever a list is cut, it is not stored. A request for a document gets no list.
#[test]
fn a_list_that_is_not_closed_is_not_stored() {
    let chunks = [chunk("a", Value::Null), chunk("b", json!("STOP"))];
    let whole = list(&chunks);
    let closed = whole.trim_end().len();
    let good =
        |target: &str, body: &str| judge(target, &question(), "application/json", body).verdict.is_ok();
    assert!(good(TARGETS[2], &whole) && good(TARGETS[2], &whole[..closed]));
    assert!((0..closed).all(|cut| !good(TARGETS[2], &whole[..cut])));
    assert!(good(TARGETS[1], &whole), "a service that does not know alt=sse");
    assert!(!good(TARGETS[0], &whole));
    let document = chunks[1].to_string();
    assert!(TARGETS.iter().all(|target| good(target, &document)), "what answers as JSON answers");
}

/// The conditions of a route hold for an element of a list as they do for an event.
#[test]
fn a_routes_conditions_are_asked_of_each_element() {
    let chunks = [chunk("a", Value::Null), chunk("b", json!("STOP"))];
    let judged = |condition: &str, as_error: bool| {
        let condition = vec![condition.parse().expect("a condition")];
        let route = match as_error {
            true => Route { error: condition, ..route() },
            false => Route { require: condition, ..route() },
        };
        [
            judge_on(&route, TARGETS[1], &question(), "text/event-stream", &events(&chunks)).verdict,
            judge_on(&route, TARGETS[2], &question(), "application/json", &list(&chunks)).verdict,
        ]
    };
    assert_eq!(judged("/candidates/0/finishReason = \"STOP\"", false), [Ok(()); 2]);
    assert_eq!(judged("/candidates/0/finishReason = \"OTHER\"", false), [Err(Reason::AnswerIncomplete); 2]);
    assert_eq!(judged("/candidates/0/content/parts/0/text = \"a\"", true), [Err(Reason::AnswerError); 2]);
    let tagged = Route { tags: Some(vec!["/responseId".parse().expect("a pointer")]), ..route() };
    let tags = |target, media, body: &str| judge_on(&tagged, target, &question(), media, body).tags.len();
    assert_eq!(tags(TARGETS[1], "text/event-stream", &events(&chunks)), 2);
    assert_eq!(tags(TARGETS[2], "application/json", &list(&chunks)), 2);
}

fn whole_of(chunks: &[Value]) -> Option<Value> {
    to_whole(&GEMINI, &events(chunks)).map(|whole| serde_json::from_str(&whole).expect("JSON"))
}

/// The chunks of one candidate with these parts each, the last of which ends it.
fn told(parts: &[Value]) -> Vec<Value> {
    let last = parts.len() - 1;
    let chunk = |(number, parts): (usize, &Value)| {
        let mut candidate = json!({"content": {"parts": parts, "role": "model"}});
        if number == last {
            candidate["finishReason"] = json!("STOP");
        }
        json!({"candidates": [candidate]})
    };
    parts.iter().enumerate().map(chunk).collect()
}

#[test]
fn texts_of_one_kind_go_on_and_nothing_else_does() {
    let (text, thought) =
        (|text: &str| json!({"text": text}), |text: &str| json!({"text": text, "thought": true}));
    let signed = json!({"text": "", "thoughtSignature": "QQ=="});
    let call = json!({"functionCall": {"name": "f", "args": {}}});
    for (chunks, parts) in [
        (vec![json!([text("a")]), json!([text("b")])], json!([text("ab")])),
        (vec![json!([text("a"), text("b")]), json!([text("c")])], json!([text("a"), text("bc")])),
        (
            vec![json!([thought("a")]), json!([thought("b")]), json!([text("c")])],
            json!([thought("ab"), text("c")]),
        ),
        (vec![json!([text("a")]), json!([signed.clone()])], json!([text("a"), signed.clone()])),
        (vec![json!([signed.clone()]), json!([text("a")])], json!([signed, text("a")])),
        (
            vec![json!([text("a")]), json!([call.clone()]), json!([text("b")])],
            json!([text("a"), call.clone(), text("b")]),
        ),
        (vec![json!([call.clone()]), json!([call.clone()])], json!([call.clone(), call.clone()])),
        (vec![json!([]), json!([text("a")])], json!([text("a")])),
    ] {
        let mut whole = whole_of(&told(&chunks)).expect("a document");
        whole["usageMetadata"] = json!({"totalTokenCount": 3});
        assert_eq!(whole["candidates"][0]["content"]["parts"], parts, "{chunks:?}");
        let again = to_stream(&GEMINI, &whole.to_string(), true).expect("a stream");
        let back = to_whole(&GEMINI, &again).expect("a document");
        assert_eq!(canonical(&back), canonical(&whole.to_string()));
    }
}

#[test]
fn what_would_be_lost_or_invented_has_no_other_form() {
    let text = json!([{"text": "a"}]);
    let good = told(&[text.clone(), text.clone()]);
    assert!(whole_of(&good).is_some());
    let altered = |alter: &dyn Fn(&mut Vec<Value>)| {
        let mut chunks = good.clone();
        alter(&mut chunks);
        whole_of(&chunks)
    };
    type Alter<'a> = (&'a str, &'a dyn Fn(&mut Vec<Value>));
    let refused: [Alter<'_>; 12] = [
        ("two models", &|chunks| {
            chunks[0]["modelVersion"] = json!("a");
            chunks[1]["modelVersion"] = json!("b");
        }),
        ("an error", &|chunks| chunks[0]["error"] = json!({"code": 1})),
        ("no end", &|chunks| drop(chunks.pop())),
        ("two ends", &|chunks| chunks[0]["candidates"][0]["finishReason"] = json!("MAX_TOKENS")),
        ("two ratings", &|chunks| {
            chunks[0]["candidates"][0]["safetyRatings"] = json!([{"probability": "LOW"}]);
            chunks[1]["candidates"][0]["safetyRatings"] = json!([{"probability": "HIGH"}]);
        }),
        ("sources that may be all or more", &|chunks| {
            chunks[0]["candidates"][0]["citationMetadata"] = json!({"citations": [{"uri": "a"}]});
            chunks[1]["candidates"][0]["citationMetadata"] =
                json!({"citations": [{"uri": "a"}, {"uri": "b"}]});
        }),
        ("lists whose indices are their own", &|chunks| {
            chunks[0]["candidates"][0]["groundingMetadata"] =
                json!({"groundingChunks": [{"web": {"uri": "a"}}]});
            chunks[1]["candidates"][0]["groundingMetadata"] =
                json!({"groundingChunks": [{"web": {"uri": "b"}}]});
        }),
        ("two averages", &|chunks| {
            chunks[0]["candidates"][0]["avgLogprobs"] = json!(-0.5);
            chunks[1]["candidates"][0]["avgLogprobs"] = json!(-0.5);
        }),
        ("arguments in pieces", &|chunks| {
            chunks[0]["candidates"][0]["content"]["parts"] =
                json!([{"functionCall": {"name": "f", "willContinue": true}}]);
        }),
        ("a sound in pieces", &|chunks| {
            for chunk in chunks {
                chunk["candidates"][0]["content"]["parts"] =
                    json!([{"inlineData": {"mimeType": "audio/L16;rate=24000", "data": "AAAA"}}]);
            }
        }),
        ("one candidate twice", &|chunks| {
            let again = chunks[1]["candidates"][0].clone();
            chunks[1]["candidates"] = json!([{"index": 0}, {"index": 0, "content": again["content"]}]);
        }),
        ("an index that is none", &|chunks| chunks[1]["candidates"][0]["index"] = json!("0")),
    ];
    for (what, alter) in refused {
        assert_eq!(altered(alter), None, "{what}");
    }
    let named = format!("event: x\n{}", events(&good));
    assert_eq!(to_whole(&GEMINI, &named), None);
    let usage = json!({"totalTokenCount": 3});
    let whole = |candidate: Value| json!({"candidates": [candidate], "usageMetadata": usage}).to_string();
    let good_candidate = json!({"content": {"parts": text}, "finishReason": "STOP"});
    assert!(to_stream(&GEMINI, &whole(good_candidate.clone()), true).is_some());
    let uncounted = json!({"candidates": [good_candidate]}).to_string();
    assert_eq!(to_stream(&GEMINI, &uncounted, true), None, "a stream always tells its usage");
    for candidate in [
        json!({"content": {"parts": text}}),
        json!({"content": {"parts": [{"functionCall": {"name": "f", "partialArgs": []}}]}, "finishReason": "STOP"}),
        json!({"content": {"parts": ["a"]}, "finishReason": "STOP"}),
        json!({"content": {"parts": text}, "finishReason": "STOP", "index": 1}),
        json!({"content": "a", "finishReason": "STOP"}),
    ] {
        assert_eq!(to_stream(&GEMINI, &whole(candidate.clone()), true), None, "{candidate}");
    }
    let two = json!([{"finishReason": "STOP", "content": {}}, {"finishReason": "STOP"}]);
    let two = json!({"candidates": two, "usageMetadata": usage}).to_string();
    let made = to_stream(&GEMINI, &two, true).expect("a stream");
    assert_eq!(to_whole(&GEMINI, &made).map(|back| canonical(&back)), Some(canonical(&two)));
}

/// A client takes the first candidate of each chunk for the answer.
#[test]
fn each_chunk_has_all_candidates_in_their_places() {
    let long = "x".repeat(10_000);
    let candidate =
        |text: &str| json!({"content": {"parts": [{"text": text}], "role": "model"}, "finishReason": "STOP"});
    let whole = json!({"candidates": [candidate("short"), candidate(&long)], "usageMetadata": {"totalTokenCount": 3}});
    let made = to_stream(&GEMINI, &whole.to_string(), true).expect("a stream");
    let chunks: Vec<Value> = crate::http::sse::decode(made.as_bytes())
        .iter()
        .map(|event| serde_json::from_str(&event.data).expect("JSON"))
        .collect();
    assert_eq!(chunks.len(), 3);
    let of_first: String = chunks
        .iter()
        .filter_map(|chunk| chunk.pointer("/candidates/0/content/parts/0/text").and_then(Value::as_str))
        .collect();
    assert_eq!(of_first, "short");
    assert!(
        chunks
            .iter()
            .all(|chunk| chunk["candidates"].as_array().is_some_and(|candidates| candidates.len() == 2))
    );
    let ends = chunks.iter().filter(|chunk| !chunk["usageMetadata"].is_null()).count();
    assert_eq!(ends, 1);
    assert!(GEMINI.is_list(b" \r\n[{}]") && !GEMINI.is_list(b"{\"a\":[]}") && !GEMINI.is_list(b""));
}

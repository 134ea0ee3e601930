//! The promise: one entry answers requests for a document and requests for a stream, and nothing is lost or
//! invented.

mod both_forms_stored;
mod gemini;
mod replay_settings;

use serde_json::{Value, json};

use crate::support::{
    Answer, Client, Script, Sidecache, Upstream, run,
    samples::{
        CHAT, DONE, anthropic_events, chat, chat_answer, chat_events, cohere_answer, cohere_events, data,
        named,
    },
};

const SSE: &str = "text/event-stream";
const LINES: &str = "application/x-ndjson";
const GEMINI: &str = "/v1beta/models/gemini-2.5-flash:generateContent";

/// A question and its answer in both forms.
#[derive(Clone)]
struct Case {
    target: &'static str,
    question: Value,
    whole: Value,
    media: &'static str,
    /// A stream as the service sends it, and the equal document.
    events: Vec<String>,
    same: Value,
}

impl Case {
    /// The question for one form.
    fn ask(&self, stream: bool) -> Value {
        let mut question = self.question.clone();
        question["stream"] = json!(stream);
        if stream && (self.target == CHAT || self.target == "/v1/completions") {
            question["stream_options"] = json!({"include_usage": true});
        }
        question
    }

    /// An upstream that answers in the form it is asked for.
    async fn upstream(&self) -> Upstream {
        let (whole, stream) = (Script::json(&self.whole), stream_of(self.media, &self.events));
        both(whole, stream).await
    }
}

async fn both(whole: Script, stream: Script) -> Upstream {
    Upstream::start(move |request| {
        let streams = request.json()["stream"] == true || request.target.contains(":stream");
        if streams { stream.clone() } else { whole.clone() }
    })
    .await
}

fn stream_of(media: &str, events: &[String]) -> Script {
    events.iter().fold(Script::chunked(media), Script::chunk).end()
}

/// The events or lines of a stream, as JSON.
fn events_of(stream: &str) -> Vec<Value> {
    let data = stream.lines().map(|line| line.strip_prefix("data: ").unwrap_or(line));
    data.filter_map(|data| serde_json::from_str(data).ok()).collect()
}

/// The text of a stream, put together.
fn text_of(stream: &str) -> String {
    let places = [
        "/choices/0/delta/content",
        "/choices/0/text",
        "/delta/text",
        "/delta/message/content/text",
        "/message/content",
        "/response",
        "/candidates/0/content/parts/0/text",
    ];
    let text = |event: &Value| {
        let place = match event["type"] == "response.output_text.delta" {
            true => event.pointer("/delta"),
            false => places.iter().find_map(|place| event.pointer(place).filter(|text| text.is_string())),
        };
        place.and_then(Value::as_str).map(str::to_owned)
    };
    events_of(stream).iter().filter_map(text).collect()
}

fn cases() -> Vec<Case> {
    let who = json!([{"role": "user", "content": "Who?"}]);
    let usage = json!({"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10});
    let completion = |choices: Value, usage: Value| {
        json!({"id": "c1", "object": "text_completion", "created": 1, "model": "m-2", "choices": choices,
            "usage": usage})
    };
    let piece = |text: &str, finish: Value| json!([{"index": 0, "text": text, "logprobs": null, "finish_reason": finish}]);
    let message = |usage: Value| {
        json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "claude",
            "content": [{"type": "text", "text": "Redis."}], "stop_reason": "end_turn", "usage": usage})
    };
    let lines = |place: &str| {
        let line = |text: &str, more: Value| {
            let mut line = json!({"model": "llama3", "created_at": "2026-01-01T00:00:00Z", "done": false});
            line[place] =
                if place == "message" { json!({"role": "assistant", "content": text}) } else { json!(text) };
            line.as_object_mut().expect("a line").extend(more.as_object().expect("members").clone());
            line
        };
        let end = json!({"done": true, "done_reason": "stop", "prompt_eval_count": 7, "eval_count": 3});
        let stream = [line("Redis", json!({})), line(" does.", json!({})), line("", end.clone())];
        (stream.map(|line| format!("{line}\n")).to_vec(), line("Redis does.", end))
    };
    let ((chat_lines, chat_whole), (generated_lines, generated)) = (lines("message"), lines("response"));
    let response = json!({"id": "r1", "object": "response", "created_at": 1, "status": "completed", "model": "m-2",
        "output": [{"id": "msg_1", "type": "message", "status": "completed", "role": "assistant",
            "content": [{"type": "output_text", "text": "Redis.", "annotations": []}]}],
        "usage": {"input_tokens": 7, "output_tokens": 3, "total_tokens": 10}});
    let begun = json!({"id": "r1", "object": "response", "created_at": 1, "status": "in_progress", "model": "m-2",
        "output": [], "usage": null});
    let responses = [
        json!({"type": "response.created", "sequence_number": 0, "response": begun}),
        json!({"type": "response.completed", "sequence_number": 1, "response": response}),
    ];
    let case = |target, question, whole: &Value, media, events, same: &Value| Case {
        target,
        question,
        whole: whole.clone(),
        media,
        events,
        same: same.clone(),
    };
    let mut streamed_chat = chat_answer();
    streamed_chat["id"] = json!("c1");
    let whole = completion(piece("Redis.", json!("stop")), usage.clone());
    let pieces = [
        completion(piece("Re", Value::Null), Value::Null),
        completion(piece("dis.", json!("stop")), Value::Null),
        completion(json!([]), usage),
    ];
    let completions = pieces.iter().map(data).chain([DONE.to_owned()]).collect();
    let anthropic = message(json!({"input_tokens": 7, "output_tokens": 3}));
    let generate = json!({"model": "llama3", "prompt": "Who?"});
    let content = |text: &str, end: Value, said: u64| {
        json!({"candidates": [{"content": {"parts": [{"text": text}], "role": "model"}, "finishReason": end, "index": 0}],
            "usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": said, "totalTokenCount": 7 + said},
            "modelVersion": "gemini-2.5-flash", "responseId": "mAitaLmkHPPlz7IPvtfUqQ4"})
    };
    let gemini = content("Redis.", json!("STOP"), 3);
    let gemini_events = [content("Redis", Value::Null, 1), content(".", json!("STOP"), 3)];
    vec![
        case(CHAT, chat(), &chat_answer(), SSE, chat_events(), &streamed_chat),
        case("/v1/completions", json!({"model": "m", "prompt": "Who?"}), &whole, SSE, completions, &whole),
        case(
            "/v1/messages",
            json!({"model": "claude", "max_tokens": 9, "messages": who}),
            &anthropic,
            SSE,
            anthropic_events(),
            &anthropic,
        ),
        case(
            "/v1/responses",
            json!({"model": "m", "input": "Who?"}),
            &response,
            SSE,
            responses.iter().map(named).collect(),
            &response,
        ),
        case(
            "/v2/chat",
            json!({"model": "command", "messages": who, "documents": [{"id": "42", "data": {"text": "On Redis."}}]}),
            &cohere_answer(),
            SSE,
            cohere_events(),
            &cohere_answer(),
        ),
        case(
            "/api/chat",
            json!({"model": "llama3", "messages": who}),
            &chat_whole,
            LINES,
            chat_lines,
            &chat_whole,
        ),
        case("/api/generate", generate, &generated, LINES, generated_lines, &generated),
        case(
            GEMINI,
            json!({"contents": [{"role": "user", "parts": [{"text": "Who?"}]}]}),
            &gemini,
            SSE,
            gemini_events.iter().map(data).collect(),
            &gemini,
        ),
    ]
}

/// Where a question is sent, and its body: in Gemini's API the path chooses the form, and no member.
fn sent(target: &str, question: &Value) -> (String, Value) {
    let mut question = question.clone();
    let Some(model) = target.strip_suffix(":generateContent") else { return (target.to_owned(), question) };
    let streams = question.as_object_mut().expect("a question").remove("stream") == Some(json!(true));
    let target = if streams { format!("{model}:streamGenerateContent?alt=sse") } else { target.to_owned() };
    (target, question)
}

/// Sends the question, and expects this `X-Cache`.
async fn expect(client: &Client, target: &str, question: &Value, cache: &str) -> Answer {
    let (target, question) = sent(target, question);
    let answer = client.post(&target, &question).await;
    assert_eq!((answer.status, answer.cache()), (200, cache), "{target} {question}: {}", answer.text());
    answer
}

#[test]
fn a_stored_document_answers_a_request_for_a_stream() {
    run(async {
        for case in cases() {
            let upstream = case.upstream().await;
            let sidecache = Sidecache::start(&upstream.url()).await;
            let client = sidecache.client();
            let whole = expect(&client, case.target, &case.ask(false), "MISS").await;
            let made = expect(&client, case.target, &case.ask(true), "HIT").await;
            assert_eq!(made.header("content-type").split(';').next(), Some(case.media), "{}", case.target);
            assert!(text_of(&made.text()).starts_with("Redis"), "{}: {}", case.target, made.text());
            let again = expect(&client, case.target, &case.ask(false), "HIT").await;
            assert_eq!(again.body, whole.body);
            assert_eq!(again.header("content-type"), "application/json");
            assert_eq!(upstream.calls(), 1, "{}", case.target);

            // The made stream, converted back, gives the document.
            let sent = Upstream::always(stream_of(case.media, &[made.text()])).await;
            let sidecache = Sidecache::start(&sent.url()).await;
            let client = sidecache.client();
            expect(&client, case.target, &case.ask(true), "MISS").await;
            let back = expect(&client, case.target, &case.ask(false), "HIT").await;
            assert_eq!(back.json(), filled_up(case.whole.clone(), &back.json()), "{}", case.target);
        }
    });
}

/// `expected` with the members that are null in the received one: APIs send them or leave them out.
fn filled_up(mut expected: Value, received: &Value) -> Value {
    match (&mut expected, received) {
        (Value::Object(members), Value::Object(received)) => {
            for (name, value) in received {
                match members.remove(name) {
                    Some(own) => drop(members.insert(name.clone(), filled_up(own, value))),
                    None if value.is_null() => drop(members.insert(name.clone(), Value::Null)),
                    None => {}
                }
            }
        }
        (Value::Array(items), Value::Array(received)) => {
            for (item, received) in items.iter_mut().zip(received) {
                *item = filled_up(item.take(), received);
            }
        }
        _ => {}
    }
    expected
}

#[test]
fn a_stored_stream_answers_a_request_for_a_document() {
    run(async {
        for case in cases() {
            let upstream = case.upstream().await;
            let sidecache = Sidecache::start(&upstream.url()).await;
            let client = sidecache.client();
            let stream = expect(&client, case.target, &case.ask(true), "MISS").await;
            let made = expect(&client, case.target, &case.ask(false), "HIT").await;
            assert_eq!(made.header("content-type"), "application/json", "{}", case.target);
            assert_eq!(made.header("content-length"), made.body.len().to_string());
            assert_eq!(made.json(), filled_up(case.same.clone(), &made.json()), "{}", case.target);
            let again = expect(&client, case.target, &case.ask(true), "HIT").await;
            assert_eq!((again.text(), again.header("content-type")), (stream.text(), case.media));
            assert_eq!(again.text(), case.events.concat());
            assert_eq!(upstream.calls(), 1, "{}", case.target);
        }
    });
}

#[test]
fn usage_is_in_the_stream_only_for_those_who_asked_for_it() {
    run(async {
        let [case, ..] = &cases()[..] else { panic!("a case") };
        let mut plain = case.ask(true);
        plain.as_object_mut().expect("a question").remove("stream_options");
        for first in [false, true] {
            let upstream = case.upstream().await;
            let sidecache = Sidecache::start(&upstream.url()).await;
            let client = sidecache.client();
            expect(&client, CHAT, &case.ask(first), "MISS").await;
            let without = expect(&client, CHAT, &plain, "HIT").await.text();
            assert!(!without.contains("total_tokens") && without.ends_with(DONE), "{without}");
            let with = expect(&client, CHAT, &case.ask(true), "HIT").await.text();
            assert!(with.contains("\"total_tokens\":10") && with.ends_with(DONE), "{with}");
            assert_eq!(text_of(&with), text_of(&without));
            assert_eq!(upstream.calls(), 1);
        }
    });
}

#[test]
fn a_stream_without_usage_is_not_converted_to_a_document() {
    run(async {
        for case in cases().into_iter().take(2) {
            let mut events = case.events.clone();
            events.remove(events.len() - 2);
            let upstream = both(Script::json(&case.whole), stream_of(SSE, &events)).await;
            let sidecache = Sidecache::start(&upstream.url()).await;
            let client = sidecache.client();
            let mut plain = case.ask(true);
            plain.as_object_mut().expect("a question").remove("stream_options");
            expect(&client, case.target, &plain, "MISS").await;
            expect(&client, case.target, &plain, "HIT").await;
            let whole = expect(&client, case.target, &case.ask(false), "MISS").await;
            assert_eq!(whole.json(), case.whole);
            // Now the document is stored, and serves both forms.
            for question in [plain, case.ask(true)] {
                let made = expect(&client, case.target, &question, "HIT").await;
                assert_ne!(made.text(), events.concat(), "{}", case.target);
                assert!(text_of(&made.text()).starts_with("Redis"), "{}", made.text());
            }
            assert_eq!(expect(&client, case.target, &case.ask(false), "HIT").await.body, whole.body);
            assert_eq!(upstream.calls(), 2, "{}", case.target);
        }
    });
}

/// A case with an unknown event in its stream.
fn unknown(mut case: Case) -> Case {
    let novel = match case.media {
        LINES => "{\"novel\": true, \"done\": false}\n".to_owned(),
        _ if case.target == CHAT || case.target == "/v1/completions" => data(&json!({"novel": true})),
        _ => named(&json!({"type": "novel.event", "novel": true})),
    };
    case.events.insert(1, novel);
    case
}

#[test]
fn a_stream_with_an_unknown_event_is_not_converted() {
    run(async {
        for case in cases().into_iter().map(unknown) {
            let upstream = case.upstream().await;
            let sidecache = Sidecache::start(&upstream.url()).await;
            let client = sidecache.client();
            for cache in ["MISS", "HIT"] {
                let received = expect(&client, case.target, &case.ask(true), cache).await;
                assert_eq!(received.text(), case.events.concat(), "{}", case.target);
            }
            let whole = expect(&client, case.target, &case.ask(false), "MISS").await;
            assert_eq!((whole.json(), upstream.calls()), (case.whole.clone(), 2), "{}", case.target);
            // The document serves both forms, so it is stored.
            expect(&client, case.target, &case.ask(true), "HIT").await;
            assert_eq!(expect(&client, case.target, &case.ask(false), "HIT").await.body, whole.body);
        }
    });
}

/// Where an unknown member may be in a document or an event.
const PLACES: [&str; 18] = [
    "",
    "/choices/0",
    "/choices/0/message",
    "/choices/0/delta",
    "/content/0",
    "/output/0",
    "/output/0/content/0",
    "/message",
    "/message/content/0",
    "/message/citations/0",
    "/delta",
    "/delta/message",
    "/delta/message/content",
    "/delta/message/citations",
    "/candidates/0",
    "/candidates/0/content",
    "/candidates/0/content/parts/0",
    "/usageMetadata",
];

/// `json` with an unknown member at `place`, if that place exists.
fn with_novel(mut json: Value, place: &str) -> Option<Value> {
    json.pointer_mut(place)?.as_object_mut()?.insert("novel".to_owned(), json!({"as": "never before"}));
    Some(json)
}

/// The events with an unknown member wherever `place` exists; `None` if it exists in no event.
fn novel_events(events: &[String], place: &str) -> Option<Vec<String>> {
    let mut found = false;
    let novel = |event: &String| {
        let (before, data) = event.split_at(event.find('{')?);
        let changed = with_novel(serde_json::from_str(data.trim()).ok()?, place)?;
        found = true;
        Some(format!("{before}{changed}{}", &data[data.trim_end().len()..]))
    };
    let changed = events.iter().map(novel).zip(events).map(|(new, old)| new.unwrap_or_else(|| old.clone()));
    let changed = changed.collect();
    found.then_some(changed)
}

#[test]
fn an_unknown_member_is_carried_over_or_prevents_conversion() {
    run(async {
        let (mut tried, mut lost) = (0, Vec::new());
        for case in cases() {
            for place in PLACES {
                for stream_first in [false, true] {
                    let (mut whole, mut events) = (case.whole.clone(), case.events.clone());
                    if stream_first {
                        let Some(novel) = novel_events(&events, place) else { continue };
                        events = novel;
                    } else {
                        let Some(novel) = with_novel(whole, place) else { continue };
                        whole = novel;
                    }
                    let upstream = both(Script::json(&whole), stream_of(case.media, &events)).await;
                    let sidecache = Sidecache::start(&upstream.url()).await;
                    let client = sidecache.client();
                    expect(&client, case.target, &case.ask(stream_first), "MISS").await;
                    let (target, question) = sent(case.target, &case.ask(!stream_first));
                    let other = client.post(&target, &question).await;
                    let which = format!("{} {place:?}, stream first: {stream_first}", case.target);
                    match other.cache() {
                        "HIT" if other.text().contains("never before") => {}
                        "HIT" => lost.push(which),
                        "MISS" if stream_first => assert_eq!(other.json(), whole, "{which}"),
                        "MISS" => assert_eq!(other.text(), events.concat(), "{which}"),
                        cache => panic!("{which}: {cache}"),
                    }
                    tried += 1;
                }
            }
        }
        assert!(tried > 20, "{tried}");
        assert!(lost.is_empty(), "{lost:#?}");
    });
}

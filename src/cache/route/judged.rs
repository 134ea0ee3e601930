//! What is stored and what is not, by table: every dialect, both forms of its answer.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{
    cache::route::{Route, Scope, kind::Kind},
    dialect::{Answer, Dialect, usage::UsageSetting},
    json::Json,
    reason::Reason,
};

/// A form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    Document,
    Stream,
}

const BOTH: [Shown; 2] = [Shown::Document, Shown::Stream];

/// The dialects whose answers end with a word.
const WITH_ENDS: [Dialect; 6] = [
    Dialect::OpenAiChat,
    Dialect::OpenAiCompletions,
    Dialect::OpenAiResponses,
    Dialect::Anthropic,
    Dialect::OllamaChat,
    Dialect::OllamaGenerate,
];

/// An answer as a service writes it.
#[derive(Clone, Debug)]
struct Told {
    media: &'static str,
    body: String,
}

impl Told {
    fn document(json: &Value) -> Self {
        Self { media: "application/json", body: json.to_string() }
    }

    fn events(events: &[Value]) -> Self {
        let body = events.iter().map(|event| match event {
            Value::String(text) => format!("data: {text}\n\n"),
            event => format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or("message")),
        });
        Self { media: "text/event-stream", body: body.collect() }
    }

    fn chunks(chunks: &[Value]) -> Self {
        let body = chunks.iter().map(|chunk| match chunk {
            Value::String(text) => format!("data: {text}\n\n"),
            chunk => format!("data: {chunk}\n\n"),
        });
        Self { media: "text/event-stream", body: body.collect() }
    }

    fn lines(lines: &[Value]) -> Self {
        Self { media: "application/x-ndjson", body: lines.iter().map(|line| format!("{line}\n")).collect() }
    }
}

fn route() -> Route {
    Route::new("POST /**", Kind::Query, std::time::Duration::from_secs(60), Scope::Credential)
        .expect("a route")
}

fn judge(dialect: Dialect, route: &Route, request: &Value, told: &Told) -> Answer {
    let text = request.to_string();
    let json = Json::parse(text.as_bytes()).expect("JSON");
    let ask = dialect.ask(&json, UsageSetting::AsAsked);
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(told.media));
    dialect.judge(route.judging(&ask, Some(&[])), &headers, &Bytes::from(told.body.clone()))
}

fn verdict(dialect: Dialect, request: &Value, told: &Told) -> Result<(), Reason> {
    judge(dialect, &route(), request, told).verdict
}

/// An answer that says `text` and ends with `end`.
fn answer(dialect: Dialect, shown: Shown, text: &str, end: Value) -> Told {
    let finish = |choice: Value| json!({"model": "m", "choices": [choice]});
    match (dialect, shown) {
        (Dialect::OpenAiChat, Shown::Document) => Told::document(&finish(
            json!({"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": end}),
        )),
        (Dialect::OpenAiChat, Shown::Stream) => Told::chunks(&[
            finish(
                json!({"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": null}),
            ),
            finish(json!({"index": 0, "delta": {}, "finish_reason": end})),
            json!("[DONE]"),
        ]),
        (Dialect::OpenAiCompletions, Shown::Document) => {
            Told::document(&finish(json!({"index": 0, "text": text, "finish_reason": end})))
        }
        (Dialect::OpenAiCompletions, Shown::Stream) => Told::chunks(&[
            finish(json!({"index": 0, "text": text, "finish_reason": null})),
            finish(json!({"index": 0, "text": "", "finish_reason": end})),
            json!("[DONE]"),
        ]),
        (Dialect::OpenAiResponses, shown) => {
            let part = json!({"type": "output_text", "text": text, "annotations": []});
            let item = json!({"type": "message", "id": "i", "status": "completed", "content": [part]});
            let response = json!({"id": "r", "model": "m", "status": end, "output": [item]});
            match shown {
                Shown::Document => Told::document(&response),
                Shown::Stream => Told::events(&[
                    json!({"type": "response.created", "response": {"id": "r", "status": "in_progress"}}),
                    json!({"type": "response.completed", "response": response}),
                ]),
            }
        }
        (Dialect::Anthropic, Shown::Document) => Told::document(
            &json!({"type": "message", "content": [{"type": "text", "text": text}], "stop_reason": end}),
        ),
        (Dialect::Anthropic, Shown::Stream) => Told::events(&[
            json!({"type": "message_start", "message": {"model": "m", "content": []}}),
            json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}),
            json!({"type": "content_block_stop", "index": 0}),
            json!({"type": "message_delta", "delta": {"stop_reason": end}, "usage": {"output_tokens": 1}}),
            json!({"type": "message_stop"}),
        ]),
        (Dialect::OllamaChat, Shown::Document) => Told::document(
            &json!({"model": "m", "message": {"content": text}, "done": true, "done_reason": end}),
        ),
        (Dialect::OllamaChat, Shown::Stream) => Told::lines(&[
            json!({"model": "m", "message": {"content": text}, "done": false}),
            json!({"model": "m", "message": {"content": ""}, "done": true, "done_reason": end}),
        ]),
        (Dialect::OllamaGenerate, Shown::Document) => {
            Told::document(&json!({"model": "m", "response": text, "done": true, "done_reason": end}))
        }
        (Dialect::OllamaGenerate, Shown::Stream) => Told::lines(&[
            json!({"model": "m", "response": text, "done": false}),
            json!({"model": "m", "response": "", "done": true, "done_reason": end}),
        ]),
        (other, _) => panic!("{other:?}"),
    }
}

/// A request that sets a limit, or sets none, and may want JSON.
fn request(dialect: Dialect, limit: bool, wants_json: bool) -> Value {
    let mut request = json!({"model": "m", "messages": [], "prompt": "p", "input": "i"});
    let limits = [
        (Dialect::OpenAiResponses, "max_output_tokens", json!(9)),
        (Dialect::OllamaChat, "options", json!({"num_predict": 9})),
        (Dialect::OllamaGenerate, "options", json!({"num_predict": 9})),
    ];
    let (name, value) = limits
        .into_iter()
        .find(|(own, ..)| *own == dialect)
        .map_or(("max_tokens", json!(9)), |(_, name, value)| (name, value));
    if limit {
        request[name] = value;
    }
    if wants_json {
        let schema =
            json!({"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}});
        match dialect {
            Dialect::OpenAiResponses => request["text"] = json!({"format": schema}),
            Dialect::Anthropic => request["output_format"] = schema,
            Dialect::OllamaChat | Dialect::OllamaGenerate => request["format"] = json!("json"),
            _ => request["response_format"] = json!({"type": "json_object"}),
        }
    }
    request
}

fn good_end(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::OpenAiResponses => "completed",
        Dialect::Anthropic => "end_turn",
        _ => "stop",
    }
}

#[test]
fn good_ends_are_stored_and_others_are_not() {
    for dialect in WITH_ENDS {
        for shown in BOTH {
            let ends = |end: Value, limit| {
                verdict(dialect, &request(dialect, limit, false), &answer(dialect, shown, "text", end))
            };
            let what = format!("{dialect:?} {shown:?}");
            assert_eq!(ends(json!(good_end(dialect)), false), Ok(()), "{what}");
            assert_eq!(
                ends(json!(good_end(dialect).to_uppercase()), false).is_ok(),
                dialect != Dialect::OpenAiResponses,
                "{what}"
            );
            for unknown in [
                "",
                " ",
                "abort",
                "aborted",
                "cancelled",
                "engine_shutdown",
                "insufficient_system_resource",
                "network_error",
                "sensitive",
                "SAFETY",
                "RECITATION",
                "blocklist",
                "null",
                "load",
                "unload",
                "queued",
                "in_progress",
                "ERROR_TOXIC",
                "timeout",
                "stopped",
                "n/a",
            ] {
                assert_eq!(ends(json!(unknown), true), Err(Reason::UnknownEnd), "{what} {unknown}");
            }
            assert!(
                ends(json!("error"), true).is_err() && ends(json!(null), true).is_err()
                    || dialect != Dialect::OpenAiChat,
                "{what}"
            );
        }
    }
}

#[test]
fn a_limit_is_a_good_end_where_the_request_sets_it() {
    for (dialect, word) in [
        (Dialect::OpenAiChat, "length"),
        (Dialect::OpenAiChat, "MAX_TOKENS"),
        (Dialect::OpenAiCompletions, "length"),
        (Dialect::OllamaChat, "length"),
        (Dialect::OllamaGenerate, "length"),
    ] {
        for shown in BOTH {
            let told = answer(dialect, shown, "text", json!(word));
            assert_eq!(verdict(dialect, &request(dialect, true, false), &told), Ok(()), "{dialect:?} {word}");
            let without = verdict(dialect, &request(dialect, false, false), &told);
            assert_eq!(without, Err(Reason::Length), "{dialect:?} {word}");
        }
    }
    let told = answer(Dialect::OpenAiChat, Shown::Document, "text", json!("model_length"));
    assert_eq!(
        verdict(Dialect::OpenAiChat, &request(Dialect::OpenAiChat, true, false), &told),
        Err(Reason::Length)
    );
}

#[test]
fn a_route_names_further_good_ends() {
    let route = Route { good_ends: vec!["fertig".to_owned()], ..route() };
    for dialect in WITH_ENDS.into_iter().filter(|dialect| *dialect != Dialect::OpenAiResponses) {
        for shown in BOTH {
            let told = answer(dialect, shown, "text", json!("Fertig"));
            let judged = judge(dialect, &route, &request(dialect, false, false), &told);
            assert_eq!((judged.verdict, judged.end), (Ok(()), None), "{dialect:?}");
            let other = answer(dialect, shown, "text", json!("abort"));
            let judged = judge(dialect, &route, &request(dialect, false, false), &other);
            assert_eq!(judged.end.as_deref(), Some("abort"), "the log has the word: {dialect:?}");
        }
    }
}

proptest! {
    /// Every end that is not on the list is a miss.
    #[test]
    fn no_other_word_is_a_good_end(word in "[a-z_]{1,12}", which in 0..WITH_ENDS.len(), stream: bool) {
        const GOOD: [&str; 16] = [
            "stop", "tool_calls", "function_call", "eos", "eos_token", "stop_sequence", "end_turn", "tool_use",
            "endoftext", "complete", "completed", "length", "max_tokens", "model_length", "content_filter", "error",
        ];
        prop_assume!(!GOOD.contains(&&*word) && !["refusal", "incomplete", "failed", "pause_turn"].contains(&&*word));
        let dialect = WITH_ENDS[which];
        let shown = if stream { Shown::Stream } else { Shown::Document };
        let told = answer(dialect, shown, "text", json!(word));
        prop_assert_eq!(verdict(dialect, &request(dialect, true, false), &told), Err(Reason::UnknownEnd));
    }

    /// Wherever JSON is asked for, JSON that is cut is no answer.
    #[test]
    fn json_that_is_cut_is_not_what_was_asked_for(which in 0..WITH_ENDS.len(), stream: bool, cut in 1..33_usize) {
        let dialect = WITH_ENDS[which];
        let shown = if stream { Shown::Stream } else { Shown::Document };
        let whole = r#"{"city": "Paris", "people": [2]} "#;
        let judged = |text: &str, wants_json| {
            let told = answer(dialect, shown, text, json!(good_end(dialect)));
            verdict(dialect, &request(dialect, false, wants_json), &told)
        };
        prop_assert_eq!(judged(whole, true), Ok(()));
        let cut = &whole[..cut];
        if cut.len() < whole.trim_end().len() {
            prop_assert_eq!(judged(cut, true), Err(Reason::NotAsAsked), "{}", cut);
            prop_assert_eq!(judged(cut, false), Ok(()), "{}", cut);
        }
    }
}

#[test]
fn json_is_asked_for_in_several_ways() {
    let told = |dialect| answer(dialect, Shown::Document, "no JSON", json!(good_end(dialect)));
    for (dialect, name, value) in [
        (Dialect::OpenAiChat, "response_format", json!({"type": "json_schema", "json_schema": {}})),
        (Dialect::OpenAiChat, "guided_json", json!({"type": "object"})),
        (Dialect::OpenAiChat, "json_schema", json!({"type": "object"})),
        (Dialect::OpenAiCompletions, "response_format", json!({"type": "json_object"})),
        (Dialect::OpenAiResponses, "text", json!({"format": {"type": "json_object"}})),
        (Dialect::Anthropic, "output_config", json!({"format": {"type": "json_schema", "schema": {}}})),
        (Dialect::OllamaChat, "format", json!({"type": "object"})),
        (Dialect::OllamaGenerate, "format", json!("json")),
    ] {
        let mut asked = request(dialect, false, false);
        asked[name] = value;
        assert_eq!(verdict(dialect, &asked, &told(dialect)), Err(Reason::NotAsAsked), "{dialect:?} {asked}");
    }
    for (dialect, name, value) in [
        (Dialect::OpenAiChat, "response_format", json!({"type": "text"})),
        (Dialect::OpenAiResponses, "text", json!({"format": {"type": "text"}})),
        (Dialect::OllamaChat, "format", json!("")),
    ] {
        let mut asked = request(dialect, false, false);
        asked[name] = value;
        assert_eq!(verdict(dialect, &asked, &told(dialect)), Ok(()), "{dialect:?} {asked}");
    }
}

/// What services say in a 200 in place of an answer.
const FAILURES: [&str; 26] = [
    r#"{"code":102,"message":"the dataset is being parsed","data":null}"#,
    r#"{"code":109,"message":"no","data":false}"#,
    r#"{"code":-1,"msg":"no"}"#,
    r#"{"code":"InvalidParameter","message":"no"}"#,
    r#"{"code":401,"answer":"Invalid API key"}"#,
    r#"{"task_id":"t","data":{"status":"failed","error":"out of reach","outputs":null}}"#,
    r#"{"data":{"status":"failed","answer":"sorry"}}"#,
    r#"{"status":"failed","answer":"half of it"}"#,
    r#"{"status":"error","response":"an apology"}"#,
    r#"{"status":500,"answer":"an apology"}"#,
    r#"{"success":false,"message":"rate limit exceeded"}"#,
    r#"{"success":false,"answer":"rate limit exceeded"}"#,
    r#"{"ok":false,"result":"x"}"#,
    r#"{"detail":"index is being rebuilt"}"#,
    r#"{"detail":[{"loc":["body"],"msg":"field required"}]}"#,
    r#"{"error":"out of memory"}"#,
    r#"{"error":{"message":"no"},"answer":"x"}"#,
    r#"{"errors":[{"message":"no"}],"data":{"answer":"x"}}"#,
    r#"{"error_code":17,"error_msg":"quota"}"#,
    r#"{"message":"Something went wrong"}"#,
    r#"{"answer":null,"sources":[]}"#,
    r#"{"answer":"  ","sources":[{"id":"a"}]}"#,
    r#"{"response":"","references":[]}"#,
    r#"{"code":0,"message":"","data":null}"#,
    r#"{"conversation_id":"c","id":"x","created":17}"#,
    r#"{}"#,
];

#[test]
fn a_failure_in_a_200_is_no_answer() {
    let asked = json!({"query": "q"});
    for failure in FAILURES {
        let told = Told { media: "application/json", body: failure.to_owned() };
        let judged = verdict(Dialect::Rag, &asked, &told);
        assert!(matches!(judged, Err(Reason::AnswerError | Reason::Empty)), "{failure}: {judged:?}");
    }
    for answer in [
        r#"{"code":0,"message":"success","data":{"answer":"A.","session_id":"s"}}"#,
        r#"{"code":200,"msg":"ok","data":{"text":"A."}}"#,
        r#"{"answer":"A.","error":null,"sources":[]}"#,
        r#"{"textResponse":"A.","error":false,"type":"textResponse"}"#,
        r#"{"status":"completed","answer":"A."}"#,
        r#"{"success":true,"errors":[],"response":"A."}"#,
        r#"{"sources":[{"document_id":"d","content":"c"}]}"#,
        r#"{"results":[{"id":"d","text":"c"}],"total":1}"#,
        r#"{"reply":"A.","detail":"high"}"#,
        r#"{"message":{"role":"assistant","content":"A."}}"#,
        r#"{"generated_answer":"A.","citations":[]}"#,
    ] {
        let told = Told { media: "application/json", body: answer.to_owned() };
        assert_eq!(verdict(Dialect::Rag, &asked, &told), Ok(()), "{answer}");
    }
}

#[test]
fn some_json_needs_something_in_it() {
    for (body, expected) in [
        (r#"{"code":102,"data":{"a":1}}"#, Err(Reason::AnswerError)),
        (r#"{"success":false,"data":{"a":1}}"#, Err(Reason::AnswerError)),
        (r#"{"data":{"status":"failed"}}"#, Err(Reason::AnswerError)),
        (r#"{"code":0,"message":"ok","data":null}"#, Err(Reason::Empty)),
        (r#"{"data":[]}"#, Err(Reason::Empty)),
        ("[]", Err(Reason::Empty)),
        ("null", Err(Reason::Empty)),
        (r#"{"results":[{"index":0,"score":0.5}]}"#, Ok(())),
        (r#"[{"index":0,"score":0.5}]"#, Ok(())),
        (r#"{"status":"draft","title":"x"}"#, Ok(())),
        (r#"{"value":0}"#, Ok(())),
        (r#"{"#, Err(Reason::Invalid)),
    ] {
        let told = Told { media: "application/json", body: body.to_owned() };
        assert_eq!(verdict(Dialect::Json, &json!({}), &told), expected, "{body}");
    }
    for (body, expected) in [
        (r#"{"code":401,"message":"Unauthorized"}"#, Err(Reason::AnswerError)),
        (r#"{"code":109,"message":"no","data":false}"#, Err(Reason::AnswerError)),
        (r#"{"detail":"Not authenticated"}"#, Err(Reason::AnswerError)),
        (r#"{"id":"d","status":3}"#, Ok(())),
        (r#"{"success":false,"error":"no"}"#, Err(Reason::AnswerError)),
        (r#"{"id":"d","title":"x","status":"failed","error":"parse error"}"#, Ok(())),
        (r#"{"title":"x","code":17}"#, Ok(())),
        ("any bytes", Ok(())),
    ] {
        let told = Told { media: "application/json", body: body.to_owned() };
        assert_eq!(verdict(Dialect::None, &json!({}), &told), expected, "{body}");
    }
}

/// An error event is one wherever it comes, in every dialect with streams.
#[test]
fn an_error_event_at_any_place_is_one() {
    let errors = [
        json!({"error": {"message": "no"}}),
        json!({"type": "error", "message": "no"}),
        json!({"error": "out of memory"}),
    ];
    for dialect in WITH_ENDS {
        let whole = answer(dialect, Shown::Stream, "text", json!(good_end(dialect)));
        let separator = if whole.media == "text/event-stream" { "\n\n" } else { "\n" };
        let events: Vec<&str> = whole.body.split_inclusive(separator).collect();
        // Behind its own end, an answer is over.
        for place in 0..events.len() {
            for error in &errors {
                let error = match separator {
                    "\n\n" => format!("event: {}\ndata: {error}\n\n", error["type"].as_str().unwrap_or("x")),
                    _ => format!("{error}\n"),
                };
                if separator == "\n" && !error.contains("\"error\":") {
                    continue;
                }
                let mut with: Vec<String> = events.iter().map(|&event| event.to_owned()).collect();
                with.insert(place, error);
                let told = Told { body: with.concat(), ..whole.clone() };
                let judged = verdict(dialect, &request(dialect, false, false), &told);
                assert_eq!(judged, Err(Reason::ErrorEvent), "{dialect:?} {}", told.body);
            }
        }
    }
}

#[test]
fn a_stream_of_a_rag_service_has_a_word() {
    let sources = [
        "event: sources\ndata: [{\"document_id\":\"d\",\"content\":\"c\"}]\n\n",
        "data: {\"type\":\"sources\",\"data\":[{\"content\":\"c\"}]}\n\n",
        "data: {\"sources\":[{\"text\":\"c\"}]}\n\n",
        "data: {\"type\":\"status\",\"message\":\"Searching\"}\n\n",
        "event: progress\ndata: half\n\n",
        "data: {\"retriever_resources\":[{\"content\":\"c\"}],\"role\":\"assistant\",\"model\":\"m\"}\n\n",
    ];
    let words = [
        "data: Hello\n\n",
        "data: {\"token\":\"Hello\"}\n\n",
        "data: {\"type\":\"token\",\"content\":\"Hello\"}\n\n",
        "data: {\"event\":\"message\",\"answer\":\"Hello\"}\n\n",
        "data: {\"data\":{\"answer\":\"Hello\"}}\n\n",
        "data: {\"textResponse\":\"Hello\"}\n\n",
        "data: {\"choices\":[{\"delta\":{\"content\":\"Hello\"}}]}\n\n",
        "data: \"Hello\"\n\n",
    ];
    let ends = [
        "data: [DONE]\n\n",
        "event: done\ndata: {}\n\n",
        "event: end\ndata: x\n\n",
        "data: {\"done\":true}\n\n",
        "data: {\"type\":\"complete\"}\n\n",
    ];
    let judged = |body: String| {
        verdict(Dialect::Rag, &json!({"query": "q"}), &Told { media: "text/event-stream", body })
    };
    for end in ends {
        assert_eq!(judged(end.to_owned()), Err(Reason::Empty), "{end}");
        for source in sources {
            assert_eq!(judged(format!("{source}{end}")), Err(Reason::Empty), "{source}{end}");
            for word in words {
                assert_eq!(judged(format!("{source}{word}{end}")), Ok(()), "{source}{word}{end}");
                assert_eq!(judged(format!("{source}{word}")), Err(Reason::NoProperEnd), "{source}{word}");
            }
        }
        for error in [
            "event: error\ndata: no\n\n",
            "data: {\"event\":\"error\",\"code\":\"x\"}\n\n",
            "data: {\"type\":\"abort\"}\n\n",
            "data: {\"code\":102,\"message\":\"no\",\"data\":false}\n\n",
            "data: {\"data\":{\"status\":\"failed\"}}\n\n",
            "data: {\"success\":false}\n\n",
        ] {
            assert_eq!(judged(format!("{}{error}{end}", words[0])), Err(Reason::ErrorEvent), "{error}{end}");
        }
    }
}

/// A RAG service may pass on how its model's answer ended.
#[test]
fn an_end_that_is_passed_on_is_judged() {
    for (name, word, limit, expected) in [
        ("finish_reason", "stop", false, Ok(())),
        ("finish_reason", "abort", true, Err(Reason::UnknownEnd)),
        ("finish_reason", "length", false, Err(Reason::Length)),
        ("finish_reason", "length", true, Ok(())),
        ("stop_reason", "end_turn", false, Ok(())),
        ("stop_reason", "refusal", true, Err(Reason::Filtered)),
        ("done_reason", "stop", false, Ok(())),
        ("done_reason", "unload", true, Err(Reason::UnknownEnd)),
    ] {
        let asked = if limit { json!({"query": "q", "max_tokens": 5}) } else { json!({"query": "q"}) };
        let choice = json!({"choices": [{"message": {"content": "A."}, name: word}]});
        let top = json!({"answer": "A.", name: word});
        for told in [
            Told::document(&top),
            Told::document(&choice),
            Told::chunks(&[top, json!("[DONE]")]),
            Told::chunks(&[choice, json!("[DONE]")]),
        ] {
            assert_eq!(verdict(Dialect::Rag, &asked, &told), expected, "{}", told.body);
        }
    }
}

/// A stream without `[DONE]` is whole where all its choices have ended: then the end of the body counts.
#[test]
fn a_stream_whose_choices_have_ended_is_whole() {
    for dialect in [Dialect::OpenAiChat, Dialect::OpenAiCompletions] {
        let whole = answer(dialect, Shown::Stream, "text", json!("stop"));
        let told = Told { body: whole.body.replace("data: [DONE]\n\n", ""), ..whole.clone() };
        let asked = request(dialect, false, false);
        let judged = judge(dialect, &route(), &asked, &told);
        assert_eq!((judged.verdict, judged.end_seen), (Ok(()), false), "{dialect:?}");
        assert!(judge(dialect, &route(), &asked, &whole).end_seen);
        let mut two = asked.clone();
        two["n"] = json!(2);
        assert_eq!(verdict(dialect, &two, &told), Err(Reason::NoProperEnd), "one of two: {dialect:?}");
        let cut = Told { body: told.body.split_inclusive("\n\n").take(1).collect(), ..told };
        assert_eq!(verdict(dialect, &asked, &cut), Err(Reason::NoProperEnd), "{dialect:?}");
    }
}

/// Each kind of call that a dialect knows, and what it does not know.
#[test]
fn no_call_is_stored_where_calls_are_not() {
    let chat = |message: Value| {
        let end = "tool_calls";
        [
            Told::document(&json!({"choices": [{"index": 0, "message": message, "finish_reason": end}]})),
            Told::chunks(&[
                json!({"choices": [{"index": 0, "delta": message, "finish_reason": null}]}),
                json!({"choices": [{"index": 0, "delta": {}, "finish_reason": end}]}),
                json!("[DONE]"),
            ]),
        ]
    };
    let anthropic = |block: Value| {
        [
            Told::document(
                &json!({"type": "message", "content": [{"type": "text", "text": "x"}, block], "stop_reason": "tool_use"}),
            ),
            Told::events(&[
                json!({"type": "message_start", "message": {}}),
                json!({"type": "content_block_start", "index": 0, "content_block": block}),
                json!({"type": "content_block_stop", "index": 0}),
                json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}}),
                json!({"type": "message_stop"}),
            ]),
        ]
    };
    let responses = |item: Value| {
        let message = json!({"type": "message", "content": [{"type": "output_text", "text": "x"}]});
        let response = json!({"status": "completed", "output": [message, item]});
        [
            Told::document(&response),
            Told::events(&[json!({"type": "response.completed", "response": response})]),
        ]
    };
    let ollama = |message: Value| {
        [
            Told::document(&json!({"message": message, "done": true, "done_reason": "stop"})),
            Told::lines(&[
                json!({"message": message, "done": false}),
                json!({"message": {"content": ""}, "done": true, "done_reason": "stop"}),
            ]),
        ]
    };
    let call =
        json!({"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}});
    let object = json!({"function": {"name": "f", "arguments": {"a": 1}}});
    let rag =
        |json: Value| [Told::document(&json), Told::chunks(&[json!({"answer": "x"}), json, json!("[DONE]")])];
    let without = Route { cache_tool_calls: false, ..route() };
    for (dialect, told) in [
        (Dialect::OpenAiChat, chat(json!({"content": "x", "tool_calls": [call]}))),
        (
            Dialect::OpenAiChat,
            chat(
                json!({"content": "x", "tool_calls": [{"index": 0, "type": "custom", "custom": {"name": "f", "input": "{"}}]}),
            ),
        ),
        (
            Dialect::OpenAiChat,
            chat(json!({"content": null, "function_call": {"name": "f", "arguments": "{}"}})),
        ),
        (Dialect::OpenAiChat, chat(json!({"content": "x", "executed_tools": [{"type": "search"}]}))),
        (Dialect::Anthropic, anthropic(json!({"type": "tool_use", "id": "t", "name": "f", "input": {}}))),
        (
            Dialect::Anthropic,
            anthropic(json!({"type": "server_tool_use", "id": "t", "name": "web_search", "input": {}})),
        ),
        (Dialect::Anthropic, anthropic(json!({"type": "mcp_tool_use", "id": "t"}))),
        (Dialect::Anthropic, anthropic(json!({"type": "web_search_tool_result", "content": []}))),
        (Dialect::Anthropic, anthropic(json!({"type": "some_new_call"}))),
        (Dialect::OpenAiResponses, responses(json!({"type": "function_call", "arguments": "{}"}))),
        (Dialect::OpenAiResponses, responses(json!({"type": "custom_tool_call", "input": "x"}))),
        (Dialect::OpenAiResponses, responses(json!({"type": "web_search_call", "status": "completed"}))),
        (Dialect::OpenAiResponses, responses(json!({"type": "computer_call"}))),
        (Dialect::OpenAiResponses, responses(json!({"type": "mcp_call", "arguments": "{}"}))),
        (Dialect::OpenAiResponses, responses(json!({"type": "some_new_call"}))),
        (Dialect::OllamaChat, ollama(json!({"content": "x", "tool_calls": [object]}))),
        (Dialect::Rag, rag(json!({"answer": "x", "tool_calls": [call]}))),
        (Dialect::Rag, rag(json!({"answer": "x", "type": "tool_use"}))),
    ] {
        for told in told {
            let asked = request(dialect, false, false);
            assert_eq!(
                judge(dialect, &without, &asked, &told).verdict,
                Err(Reason::ToolCalls),
                "{dialect:?} {}",
                told.body
            );
            assert_eq!(verdict(dialect, &asked, &told), Ok(()), "{dialect:?} {}", told.body);
        }
    }
    for (dialect, told) in [
        (
            Dialect::OpenAiChat,
            chat(
                json!({"role": "assistant", "content": "x", "refusal": null, "reasoning_content": "r", "annotations": [], "tool_calls": null, "images": null, "new": null, "newer": []}),
            ),
        ),
        (Dialect::Anthropic, anthropic(json!({"type": "text", "text": "x"}))),
        (Dialect::OpenAiResponses, responses(json!({"type": "reasoning", "summary": []}))),
        (Dialect::OllamaChat, ollama(json!({"content": "x", "tool_calls": null}))),
    ] {
        for told in told {
            let asked = request(dialect, false, false);
            let judged = judge(dialect, &without, &asked, &told).verdict;
            assert_eq!(judged, Ok(()), "{dialect:?} {}", told.body);
        }
    }
}

/// The arguments of a call are JSON, in every dialect.
#[test]
fn arguments_that_are_no_json_are_not_stored() {
    let call = |arguments: &str| json!({"index": 0, "function": {"name": "f", "arguments": arguments}});
    for (dialect, told) in [
        (
            Dialect::OpenAiChat,
            Told::document(
                &json!({"choices": [{"message": {"tool_calls": [call("{\"a\":")]}, "finish_reason": "tool_calls"}]}),
            ),
        ),
        (
            Dialect::OpenAiChat,
            Told::chunks(&[
                json!({"choices": [{"delta": {"tool_calls": [call("{\"a\":")]}, "finish_reason": "tool_calls"}]}),
                json!("[DONE]"),
            ]),
        ),
        (
            Dialect::OpenAiChat,
            Told::document(
                &json!({"choices": [{"message": {"function_call": {"arguments": "x"}}, "finish_reason": "function_call"}]}),
            ),
        ),
        (
            Dialect::Anthropic,
            Told::document(
                &json!({"content": [{"type": "tool_use", "input": "{"}], "stop_reason": "tool_use"}),
            ),
        ),
        (
            Dialect::OpenAiResponses,
            Told::document(
                &json!({"status": "completed", "output": [{"type": "function_call", "arguments": "{\"a\""}]}),
            ),
        ),
        (
            Dialect::OllamaChat,
            Told::document(
                &json!({"message": {"tool_calls": [{"function": {"arguments": "{"}}]}, "done": true}),
            ),
        ),
        (
            Dialect::OllamaChat,
            Told::lines(&[
                json!({"message": {"tool_calls": [{"function": {"arguments": "{"}}]}, "done": true}),
            ]),
        ),
    ] {
        let judged = verdict(dialect, &request(dialect, false, false), &told);
        assert_eq!(judged, Err(Reason::Invalid), "{dialect:?} {}", told.body);
    }
}

#[test]
fn a_background_response_is_nobody_elses() {
    for (body, expected) in [
        (json!({"background": true}), true),
        (json!({"background": "yes"}), true),
        (json!({"background": false}), false),
        (json!({"background": null}), false),
        (json!({}), false),
    ] {
        let text = body.to_string();
        let json = Json::parse(text.as_bytes()).expect("JSON");
        let ask = Dialect::OpenAiResponses.ask(&json, UsageSetting::AsAsked);
        assert_eq!(ask.runs_in_background, expected, "{body}");
    }
}

/// A built-in route asks for all that its API requires.
#[test]
fn a_request_has_all_that_its_api_requires() {
    let messages = json!([{"role": "user", "content": "q"}]);
    for (dialect, body, strictly, with_the_model_elsewhere) in [
        (Dialect::OpenAiChat, json!({"model": "m", "messages": messages}), true, true),
        (Dialect::OpenAiChat, json!({"messages": messages}), false, true),
        (Dialect::OpenAiChat, json!({"model": 7, "messages": messages}), false, false),
        (Dialect::OpenAiChat, json!({"model": "m", "messages": []}), false, false),
        (Dialect::OpenAiChat, json!({"model": "m", "messages": "q"}), false, false),
        (Dialect::OpenAiChat, json!({"chat_id": "c", "messages": messages}), false, true),
        (Dialect::OpenAiCompletions, json!({"model": "m", "prompt": "p"}), true, true),
        (Dialect::OpenAiCompletions, json!({"prompt": "p"}), false, true),
        (Dialect::OpenAiResponses, json!({"model": "m", "input": "i"}), true, true),
        (Dialect::OpenAiResponses, json!({"input": "i"}), false, true),
        (Dialect::OpenAiResponses, json!({"prompt": {"id": "p"}}), true, true),
        (Dialect::Anthropic, json!({"model": "m", "messages": messages, "max_tokens": 1}), true, true),
        (Dialect::Anthropic, json!({"model": "m", "messages": [], "max_tokens": 1}), false, false),
        (Dialect::Anthropic, json!({"model": "m", "messages": messages}), false, false),
        (Dialect::OllamaChat, json!({"model": "m", "messages": messages}), true, true),
        (Dialect::OllamaChat, json!({"model": "m", "messages": []}), false, false),
        (Dialect::OllamaGenerate, json!({"model": "m", "prompt": "p"}), true, true),
        (Dialect::OllamaGenerate, json!({"model": "m"}), false, false),
        (Dialect::Embedding, json!({"model": "m", "input": "i"}), true, true),
        (Dialect::Embedding, json!({"input": "i"}), false, true),
        (Dialect::Rag, json!({"query": "q"}), true, true),
        (Dialect::Rag, json!({"query": ["q"]}), false, false),
    ] {
        let text = body.to_string();
        let json = Json::parse(text.as_bytes()).expect("JSON");
        let fits = [false, true].map(|model_elsewhere| dialect.fits(&json, model_elsewhere));
        assert_eq!(fits, [strictly, with_the_model_elsewhere], "{dialect:?} {body}");
    }
}

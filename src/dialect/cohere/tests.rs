//! Both forms of an answer say the same.

use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::{Value, json};

use super::Cohere;
use crate::{
    dialect::testing::{
        any_number, any_value, canonical, compact, convert_all, damaged, list, long_text, longest_told,
        maybe, object, short_text, to_stream, to_whole, typed_events, typed_stream,
    },
    http::sse,
};

fn stream_of(document: &str) -> Option<String> {
    to_stream(&Cohere, document, true)
}

fn whole_of(stream: &str) -> Option<String> {
    to_whole(&Cohere, stream)
}

/// What a client makes of a stream, by the vendor's description of its events, and not after ours. What is empty is
/// left out, as in the service's documents.
fn accumulate(events: &[Value]) -> Value {
    let push = |text: &mut Value, more: &Value| {
        *text = json!(text.as_str().unwrap_or("").to_owned() + more.as_str().unwrap_or(""));
    };
    let (mut answer, mut logprobs) = (json!({}), Vec::new());
    let (mut content, mut calls, mut citations) = (Vec::new(), Vec::new(), Vec::new());
    let mut plan = json!("");
    for event in events {
        let message = &event["delta"]["message"];
        match event["type"].as_str().expect("a type") {
            "message-start" => {
                answer = json!({"id": event["id"], "message": {"role": message["role"]}});
                push(&mut plan, &message["tool_plan"]);
            }
            "content-start" => content.push(message["content"].clone()),
            "content-delta" => {
                let block: &mut Value = &mut content[event["index"].as_u64().expect("an index") as usize];
                let name = block["type"].as_str().expect("a type").to_owned();
                push(&mut block[&name], &message["content"][&name]);
                if !event["logprobs"].is_null() {
                    logprobs.push(event["logprobs"].clone());
                }
            }
            "tool-plan-delta" => push(&mut plan, &message["tool_plan"]),
            "tool-call-start" => calls.push((event["index"].clone(), message["tool_calls"].clone())),
            "tool-call-delta" => {
                let own = calls.iter_mut().find(|(index, _): &&mut (Value, Value)| *index == event["index"]);
                let (_, call) = own.expect("a call");
                push(&mut call["function"]["arguments"], &message["tool_calls"]["function"]["arguments"]);
            }
            "citation-start" => citations.push(message["citations"].clone()),
            "message-end" => {
                answer["finish_reason"] = event["delta"]["finish_reason"].clone();
                answer["usage"] = event["delta"]["usage"].clone();
            }
            _ => {}
        }
    }
    answer["logprobs"] = json!(logprobs);
    answer["message"]["content"] = json!(content);
    answer["message"]["tool_plan"] = plan;
    answer["message"]["tool_calls"] = calls.into_iter().map(|(_, call)| call).collect();
    answer["message"]["citations"] = json!(citations);
    serde_json::from_str(&said(&answer.to_string())).expect("JSON")
}

/// A document without what is null, and without what is empty of the message and of the log-probabilities.
fn said(document: &str) -> String {
    let mut answer: Value = serde_json::from_str(document).expect("JSON");
    let is_nothing = |value: &Value| match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    };
    let members = answer.as_object_mut().expect("an object");
    members.retain(|_, value| !is_nothing(value));
    if let Some(message) = members.get_mut("message").and_then(Value::as_object_mut) {
        message.retain(|_, value| !is_nothing(value));
    }
    answer.to_string()
}

/// The same on the document's own text, with its numbers as they were written.
fn exactly(document: &str) -> String {
    let mut text = canonical(document);
    for empty in ["\"content\":[],", "\"content\":null,", "\"citations\":[],", "\"citations\":null,"] {
        text = text.replace(empty, "");
    }
    for empty in [r#""tool_calls":[]"#, r#""tool_calls":null"#, r#""tool_plan":"""#, r#""tool_plan":null"#] {
        text = text.replace(&format!(",{empty}"), "");
    }
    for empty in [r#""usage":null"#, r#""logprobs":null"#, r#""logprobs":[]"#] {
        text = text.replace(&format!(",{empty}"), "").replace(&format!("{empty},"), "");
    }
    text
}

/// The stream that the API would send for an answer, its texts cut at `cuts`.
fn recorded(answer: &Value, cuts: &[usize]) -> Vec<Value> {
    let cut = |text: &Value| -> Vec<String> {
        let chars: Vec<char> = text.as_str().unwrap_or("").chars().collect();
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut % (chars.len() + 1)).collect();
        at.extend([0, chars.len()]);
        at.sort_unstable();
        at.windows(2).map(|pair| chars[pair[0]..pair[1]].iter().collect()).collect()
    };
    let items = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let in_message = |name: &str, part: Value| json!({"message": {name: part}});
    let message = &answer["message"];
    let start =
        json!({"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []});
    let mut events = vec![json!({"id": answer["id"], "type": "message-start", "delta": {"message": start}})];
    for piece in cut(&message["tool_plan"]) {
        events.push(json!({"type": "tool-plan-delta", "delta": in_message("tool_plan", json!(piece))}));
    }
    let mut logprobs = items(&answer["logprobs"]).into_iter();
    let cited = items(&message["citations"]);
    let mut citations = cited.iter().enumerate();
    for (index, block) in items(&message["content"]).iter().enumerate() {
        let kind = block["type"].as_str().expect("a type");
        let start = in_message("content", json!({"type": kind, kind: ""}));
        events.push(json!({"type": "content-start", "index": index, "delta": start}));
        for piece in cut(&block[kind]) {
            let delta = in_message("content", json!({kind: piece}));
            let mut event = json!({"type": "content-delta", "index": index, "delta": delta});
            if let Some(logprob) = logprobs.next() {
                event["logprobs"] = logprob;
            }
            events.push(event);
            if let Some((index, citation)) = citations.next() {
                let delta = in_message("citations", citation.clone());
                events.push(json!({"type": "citation-start", "index": index, "delta": delta}));
                events.push(json!({"type": "citation-end", "index": index}));
            }
        }
        events.push(json!({"type": "content-end", "index": index}));
    }
    for (index, call) in items(&message["tool_calls"]).iter().enumerate() {
        let mut start = call.clone();
        start["function"]["arguments"] = json!("");
        let delta = in_message("tool_calls", start);
        events.push(json!({"type": "tool-call-start", "index": index, "delta": delta}));
        for piece in cut(&call["function"]["arguments"]) {
            let delta = in_message("tool_calls", json!({"function": {"arguments": piece}}));
            events.push(json!({"type": "tool-call-delta", "index": index, "delta": delta}));
        }
        events.push(json!({"type": "tool-call-end", "index": index}));
    }
    for (index, citation) in citations {
        let delta = in_message("citations", citation.clone());
        events.push(json!({"type": "citation-start", "index": index, "delta": delta}));
        events.push(json!({"type": "citation-end", "index": index}));
    }
    let delta = json!({"finish_reason": answer["finish_reason"], "usage": answer["usage"]});
    events.push(json!({"type": "message-end", "delta": delta}));
    events
}

/// Any small value; with numbers that a double would change only where `exact`.
fn value(exact: bool) -> BoxedStrategy<String> {
    let plain =
        select(vec!["null", "true", "7", r#""x\n\u2028""#, r#"{"k":[1,"ü"],"l":{}}"#, "[]", r#""😀\"""#]);
    let plain = plain.prop_map(str::to_owned);
    if exact { prop_oneof![plain, any_value(), any_number()].boxed() } else { plain.boxed() }
}

fn block() -> impl Strategy<Value = String> {
    prop_oneof![
        short_text().prop_map(|text| format!(r#"{{"type":"text","text":{text}}}"#)),
        short_text().prop_map(|text| format!(r#"{{"type":"thinking","thinking":{text}}}"#)),
    ]
}

fn citation(exact: bool) -> impl Strategy<Value = String> {
    let source = prop_oneof![
        (short_text(), value(exact)).prop_map(|(id, document)| {
            format!(r#"{{"type":"document","id":{id},"document":{{"id":{id},"snippet":{document}}}}}"#)
        }),
        value(exact)
            .prop_map(|output| format!(r#"{{"type":"tool","id":"f:0","tool_output":{{"r":{output}}}}}"#)),
    ];
    let kind = select(vec![r#""TEXT_CONTENT""#, r#""THINKING_CONTENT""#, r#""PLAN""#, r#""NOVEL""#]);
    let parts = (
        maybe("start", (0..90_u8).prop_map(|number| number.to_string())),
        maybe("end", (0..90_u8).prop_map(|number| number.to_string())),
        maybe("text", short_text()),
        list(source, 2).prop_map(|sources| Some(format!("\"sources\":{sources}"))),
        maybe("content_index", (0..3_u8).prop_map(|number| number.to_string())),
        maybe("type", kind.prop_map(str::to_owned)),
        maybe("novel", value(exact)),
    );
    parts.prop_map(|(a, b, c, d, e, f, g)| object([a, b, c, d, e, f, g]))
}

fn call(exact: bool) -> impl Strategy<Value = String> {
    (value(exact), maybe("display_name", short_text())).prop_map(|(argument, more)| {
        let arguments = Value::from(format!("{{\"a\":{argument}}}")).to_string();
        let function = format!(r#"{{"name":"f","arguments":{arguments}}}"#);
        let members = [r#""id":"call_1""#, r#""type":"function""#].map(|own| Some(own.to_owned()));
        object(members.into_iter().chain([Some(format!("\"function\":{function}")), more]))
    })
}

/// The log-probabilities of all blocks, or of the texts alone, each cut in two.
fn logprobs(blocks: &[String], with_thoughts: bool) -> String {
    let mut items = Vec::new();
    for block in blocks {
        let block: Value = serde_json::from_str(block).expect("JSON");
        let text = match (block["text"].as_str(), with_thoughts) {
            (Some(text), _) => text,
            (None, true) => block["thinking"].as_str().unwrap_or(""),
            (None, false) => continue,
        };
        let middle = text.char_indices().nth(2).map_or(text.len(), |(at, _)| at);
        for piece in [&text[..middle], &text[middle..]].into_iter().filter(|piece| !piece.is_empty()) {
            items.push(format!(
                r#"{{"text":{},"token_ids":[7,8],"logprobs":[-0.50,-1e-7]}}"#,
                Value::from(piece)
            ));
        }
    }
    format!("[{}]", items.join(","))
}

fn answer(exact: bool) -> impl Strategy<Value = String> {
    let empty = |nothing: &'static str| select(vec![None, Some("null".to_owned()), Some(nothing.to_owned())]);
    let of = move |name: &'static str, items: Vec<String>, none: Option<String>| {
        let value = if items.is_empty() { none } else { Some(format!("[{}]", items.join(","))) };
        value.map(|value| format!("\"{name}\":{value}"))
    };
    let usage = select(vec![
        None,
        Some(
            r#"{"billed_units":{"input_tokens":5,"output_tokens":418},"tokens":{"input_tokens":71,"output_tokens":418}}"#,
        ),
        Some(
            r#"{"billed_units":{"search_units":1},"tokens":{"input_tokens":71},"cached_tokens":64,"novel":{"a":null}}"#,
        ),
    ]);
    let parts = (
        vec(block(), 0..4),
        option::of(short_text()),
        vec(call(exact), 0..3),
        vec(citation(exact), 0..4),
        (empty("[]"), empty("[]"), empty("[]"), empty("\"\"")),
        (usage, option::of(any::<bool>())),
        select(vec!["COMPLETE", "MAX_TOKENS", "STOP_SEQUENCE", "TOOL_CALL"]),
    );
    parts.prop_map(move |(blocks, plan, calls, citations, none, (usage, with_logprobs), end)| {
        let logprobs = with_logprobs.map(|thoughts| format!("\"logprobs\":{}", logprobs(&blocks, thoughts)));
        let (no_content, no_calls, no_citations, no_plan) = none;
        let message = object([
            Some("\"role\":\"assistant\"".to_owned()),
            of("content", blocks, no_content),
            plan.or(no_plan).map(|plan| format!("\"tool_plan\":{plan}")),
            of("tool_calls", calls, no_calls),
            of("citations", citations, no_citations),
        ]);
        object([
            Some("\"id\":\"d93f187e-e9ac-44a9-a2d9-bdf2d65fee94\"".to_owned()),
            Some(format!("\"message\":{message}")),
            Some(format!("\"finish_reason\":\"{end}\"")),
            usage.map(|usage| format!("\"usage\":{usage}")),
            logprobs,
        ])
    })
}

const ANSWER: &str = r#"{"id":"i","message":{"role":"assistant","content":[{"type":"text","text":"Hi"}],
    "citations":[{"start":0,"end":2,"text":"Hi","sources":[{"type":"document","id":"d"}]}]},
    "finish_reason":"COMPLETE","usage":{"tokens":{"input_tokens":5}}}"#;

#[test]
fn the_stream_is_as_the_api_sends_it() {
    let expected = concat!(
        "event: message-start\n",
        r#"data: {"type":"message-start","id":"i","delta":{"message":{"role":"assistant","content":[],"#,
        r#""tool_plan":"","tool_calls":[],"citations":[]}}}"#,
        "\n\nevent: content-start\n",
        r#"data: {"type":"content-start","index":0,"delta":{"message":{"content":{"type":"text","text":""}}}}"#,
        "\n\nevent: content-delta\n",
        r#"data: {"type":"content-delta","index":0,"delta":{"message":{"content":{"text":"Hi"}}}}"#,
        "\n\nevent: citation-start\n",
        r#"data: {"type":"citation-start","index":0,"delta":{"message":{"citations":{"start":0,"end":2,"#,
        r#""text":"Hi","sources":[{"type":"document","id":"d"}]}}}}"#,
        "\n\nevent: citation-end\n",
        r#"data: {"type":"citation-end","index":0}"#,
        "\n\nevent: content-end\n",
        r#"data: {"type":"content-end","index":0}"#,
        "\n\nevent: message-end\n",
        r#"data: {"type":"message-end","delta":{"finish_reason":"COMPLETE","usage":{"tokens":{"input_tokens":5}}}}"#,
        "\n\n",
    );
    assert_eq!(stream_of(ANSWER).as_deref(), Some(expected));
}

#[test]
fn what_no_stream_tells_is_no_stream() {
    let answer = compact(ANSWER);
    let text = r#"{"type":"text","text":"Hi"}"#;
    for (from, to) in [
        (r#""id":"i","#, ""),
        (r#""id":"i""#, r#""id":"""#),
        (r#""type":"text""#, r#""type":"image""#),
        (text, r#"{"type":"text"}"#),
        (text, r#"{"type":"text","text":5}"#),
        (text, r#"{"type":"text","text":"Hi","novel":1}"#),
        (text, r#""Hi""#),
        (r#"[{"type":"text","text":"Hi"}]"#, r#""Hi""#),
        (r#""role":"assistant""#, r#""role":"user""#),
        (r#""role":"assistant""#, r#""role":"assistant","novel":{}"#),
        (r#""role":"assistant""#, r#""role":"assistant","tool_plan":{}"#),
        (r#""role":"assistant""#, r#""role":"assistant","tool_calls":[{"id":"c"}]"#),
        (r#""role":"assistant""#, r#""role":"assistant","tool_calls":[{"function":{"arguments":{}}}]"#),
        (r#""citations":["#, r#""citations":["c","#),
        (r#""finish_reason":"COMPLETE""#, r#""finish_reason":null"#),
        (r#""finish_reason":"COMPLETE""#, r#""finish_reason":"COMPLETE","novel":1"#),
        (r#""usage":{"#, r#""usage":[],"x":{"#),
        // Log-probabilities of something else.
        (r#""usage":{"#, r#""logprobs":[{"text":"Ho","token_ids":[1]}],"usage":{"#),
        (r#""usage":{"#, r#""logprobs":[{"token_ids":[1]}],"usage":{"#),
        (r#""usage":{"#, r#""logprobs":{},"usage":{"#),
    ] {
        let document = answer.replacen(from, to, 1);
        assert_ne!(document, answer);
        assert_eq!(stream_of(&document), None, "{document}");
    }
}

#[test]
fn what_no_answer_has_is_no_answer() {
    let stream = typed_stream(&recorded(&serde_json::from_str(ANSWER).expect("JSON"), &[]));
    assert_eq!(whole_of(&stream).map(|whole| canonical(&whole)), Some(canonical(ANSWER)));
    assert_eq!(whole_of(&format!("{stream}data: [DONE]\n\n")), whole_of(&stream));
    for (from, to) in [
        ("\"id\":\"i\"", "\"id\":null"),
        ("\"role\":\"assistant\"", "\"role\":\"assistant\",\"novel\":1"),
        ("\"content\":[]", "\"content\":[{}]"),
        ("content-end\",\"", "content-end\",\"x\":1,\""),
        ("content-end\",\"index\":0", "content-end\",\"index\":1"),
        ("event: content-end\n", "event: other\n"),
        ("\"text\":\"Hi\"}}", "\"text\":\"Hi\",\"thinking\":\"x\"}}"),
        ("\"text\":\"Hi\"}}", "\"thinking\":\"Hi\"}}"),
        ("\"text\":\"Hi\"}}", "\"text\":\"Hi\",\"type\":\"thinking\"}}"),
        ("event: citation-end\ndata: {\"type\":\"citation-end\",\"index\":0}\n\n", ""),
        ("event: content-end\ndata: {\"type\":\"content-end\",\"index\":0}\n\n", ""),
        (
            "event: content-end",
            "event: debug\ndata: {\"type\":\"debug\",\"prompt\":\"p\"}\n\nevent: content-end",
        ),
        ("event: message-end", "data: [DONE]\n\nevent: message-end"),
        ("\"finish_reason\":\"COMPLETE\"", "\"finish_reason\":null"),
        ("\"finish_reason\":\"COMPLETE\"", "\"error\":\"no\",\"finish_reason\":\"COMPLETE\""),
        ("\"type\":\"message-end\"", "\"type\":\"message-end\",\"id\":\"other\""),
    ] {
        let other = stream.replacen(from, to, 1);
        assert_ne!(other, stream, "{from}");
        assert_eq!(whole_of(&other), None, "{other}");
    }
}

/// The calls of a stream may be counted along with what is before them.
#[test]
fn any_index_stands_for_a_call() {
    let answer: Value = serde_json::from_str(
        r#"{"id":"i","message":{"role":"assistant","tool_calls":[{"id":"a","function":{"name":"f","arguments":"{}"}},
            {"id":"b","function":{"name":"g","arguments":"{\"x\":1}"}}]},"finish_reason":"TOOL_CALL"}"#,
    )
    .expect("JSON");
    let mut events = recorded(&answer, &[1]);
    for event in &mut events {
        if event["type"].as_str().expect("a type").starts_with("tool-call") {
            event["index"] = json!(event["index"].as_u64().expect("an index") + 1);
        }
    }
    let whole = whole_of(&typed_stream(&events)).expect("an answer");
    assert_eq!(serde_json::from_str::<Value>(&whole).expect("JSON"), answer);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5000))]

    #[test]
    fn json_to_stream_to_json_is_the_same_text(document in answer(true)) {
        let stream = stream_of(&document).unwrap_or_else(|| panic!("{document}"));
        let whole = whole_of(&stream).unwrap_or_else(|| panic!("{stream}"));
        prop_assert_eq!(canonical(&whole), exactly(&document));
    }

    #[test]
    fn stream_to_json_to_stream_is_the_same_to_a_client(
        document in answer(false),
        cuts in vec(any::<usize>(), 0..4),
    ) {
        let mut document: Value = serde_json::from_str(&document).expect("JSON");
        // Where a stream is cut, its log-probabilities are.
        document["logprobs"] = Value::Null;
        let recorded = recorded(&document, &cuts);
        let whole = whole_of(&typed_stream(&recorded)).expect("an answer");
        let again = stream_of(&whole).expect("a stream");
        prop_assert_eq!(accumulate(&typed_events(&again)), accumulate(&recorded));
        prop_assert_eq!(said(&whole), said(&document.to_string()));
    }
}

proptest! {
    #[test]
    fn a_client_makes_the_document_of_the_made_stream(document in answer(false)) {
        let stream = stream_of(&document).expect("a stream");
        let expected: Value = serde_json::from_str(&said(&document)).expect("JSON");
        prop_assert_eq!(accumulate(&typed_events(&stream)), expected);
    }

    /// Events that are missing, doubled or out of order give no answer, or the very one a client would make.
    #[test]
    fn a_damaged_stream_gives_nothing_wrong(
        document in answer(false),
        cuts in vec(any::<usize>(), 0..3),
        at in any::<usize>(),
        to in any::<usize>(),
        how in 0..4,
    ) {
        let mut events = recorded(&serde_json::from_str(&document).expect("JSON"), &cuts);
        let (at, to) = (at % events.len(), to % events.len());
        match how {
            0 => drop(events.remove(at)),
            1 => events.insert(at, events[to].clone()),
            2 => events.swap(at, to),
            _ => events[at]["unknown"] = json!(1),
        }
        if let Some(whole) = whole_of(&typed_stream(&events)) {
            prop_assert!(how != 3);
            prop_assert_eq!(serde_json::from_str::<Value>(&whole).expect("JSON"), accumulate(&events));
        }
    }

    #[test]
    fn no_input_panics(
        document in answer(true),
        from in select(vec!["\"", ":", "[", "{", "text", "null", "1", "content", "index", "message"]),
        to in select(vec!["", "null", "[]", "{}", "0", "x", "\"type\"", "index", "-1"]),
        skip in 0..20_usize,
    ) {
        let stream = stream_of(&document).expect("a stream");
        for text in [&document, &stream] {
            convert_all(&Cohere, damaged(text, from, to, skip).as_bytes());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn long_texts_are_told_in_pieces(texts in [(); 4].map(|()| long_text())) {
        let [text, thinking, plan, argument] = texts;
        let arguments = Value::from(format!("{{\"a\":{argument}}}"));
        let document = format!(
            concat!(
                r#"{{"id":"i","message":{{"role":"assistant","content":[{{"type":"thinking","thinking":{}}},"#,
                r#"{{"type":"text","text":{}}}],"tool_plan":{},"tool_calls":[{{"id":"c","function":"#,
                r#"{{"name":"f","arguments":{}}}}}]}},"finish_reason":"TOOL_CALL"}}"#
            ),
            thinking, text, plan, arguments
        );
        let stream = stream_of(&document).expect("a stream");
        let longest = longest_told(&sse::decode(stream.as_bytes()));
        prop_assert!(longest <= 4096, "{}", longest);
        let whole = whole_of(&stream).expect("an answer");
        prop_assert_eq!(said(&whole), said(&document));
    }
}

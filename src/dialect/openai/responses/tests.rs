//! Both forms of a response say the same.

use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::{Value, json};

use super::OpenAiResponses;
use crate::{
    dialect::testing::{
        compact, convert_all, damaged, long_text, longest, short_text, to_stream, to_whole, typed_events,
        typed_stream,
    },
    http::sse,
    json::Json,
};

fn stream_of(document: &str) -> Option<String> {
    to_stream(&OpenAiResponses, document, true)
}

fn whole_of(stream: &str) -> Option<String> {
    to_whole(&OpenAiResponses, stream)
}

fn push(text: &mut Value, more: &Value) {
    *text = json!(text.as_str().expect("a text").to_owned() + more.as_str().expect("a text"));
}

/// The output that a client makes of the deltas alone, and never reads the items when they are done; checks
/// all that the `done` events say against it.
fn accumulate(events: &[Value]) -> Value {
    let (mut output, mut logprobs) = (Vec::<Value>::new(), json!([]));
    for event in events {
        let kind = event["type"].as_str().expect("a type");
        let at = |name: &str| event[name].as_u64().map(|index| index as usize);
        if kind == "response.output_item.added" {
            assert_eq!(at("output_index"), Some(output.len()));
            output.push(event["item"].clone());
            continue;
        }
        let Some(item) = at("output_index").and_then(|index| output.get_mut(index)) else { continue };
        if kind == "response.output_item.done" {
            // A status and a seal are told at the end alone.
            item["status"] = event["item"]["status"].clone();
            if item["status"].is_null() && event["item"].get("status").is_none() {
                item.as_object_mut().expect("an item").remove("status");
            }
            assert_eq!(*item, event["item"]);
            continue;
        }
        assert_eq!(item["id"], event["item_id"]);
        let (list, index) = match (at("content_index"), at("summary_index")) {
            (Some(index), _) => ("content", index),
            (_, Some(index)) => ("summary", index),
            _ => ("", 0),
        };
        if kind.ends_with("part.added") {
            assert_eq!(item[list].as_array().map(Vec::len), Some(index));
            item[list].as_array_mut().expect("a list").push(event["part"].clone());
            logprobs = json!([]);
            continue;
        }
        let part = if list.is_empty() { item } else { &mut item[list][index] };
        let name = match kind {
            _ if kind.starts_with("response.refusal") => "refusal",
            _ if kind.starts_with("response.function_call_arguments") => "arguments",
            _ if kind.starts_with("response.custom_tool_call_input") => "input",
            _ => "text",
        };
        match kind.rsplit('.').next().expect("a name") {
            "delta" => {
                push(&mut part[name], &event["delta"]);
                for logprob in event["logprobs"].as_array().into_iter().flatten() {
                    logprobs.as_array_mut().expect("a list").push(logprob.clone());
                }
            }
            "added" => part["annotations"].as_array_mut().expect("a list").push(event["annotation"].clone()),
            "done" if kind.ends_with("part.done") => {
                if part.get("logprobs").is_some_and(Value::is_array) {
                    part["logprobs"] = logprobs.clone();
                }
                assert_eq!(*part, event["part"]);
            }
            "done" => {
                assert_eq!(part[name], event[name]);
                assert!(event.get("logprobs").is_none_or(|told| *told == logprobs));
            }
            _ => {}
        }
    }
    json!(output)
}

fn part() -> impl Strategy<Value = String> {
    let annotations = select(vec![
        "[]",
        r#"[{"type":"url_citation","start_index":0,"end_index":2,"url":"u","title":"ü"},{"type":"new","n":1.50}]"#,
    ]);
    // All characters as tokens of their own, tokens that are not the text, no tokens, no such member.
    let logprobs = prop_oneof![
        Just(None),
        Just(Some(None)),
        Just(Some(Some("[]".to_owned()))),
        Just(Some(Some(r#"[{"token":"?","logprob":-0.5,"top_logprobs":[]}]"#.to_owned()))),
    ];
    prop_oneof![
        (short_text(), annotations, logprobs).prop_map(|(text, annotations, logprobs)| {
            let more = match logprobs {
                None => String::new(),
                Some(Some(logprobs)) => format!(r#","logprobs":{logprobs}"#),
                Some(None) => {
                    let text: String = serde_json::from_str(&text).expect("a text");
                    let tokens =
                        text.chars().map(|token| json!({"token": token.to_string(), "logprob": -0.25}));
                    format!(r#","logprobs":{}"#, Value::from_iter(tokens))
                }
            };
            format!(r#"{{"type":"output_text","annotations":{annotations}{more},"text":{text}}}"#)
        }),
        short_text().prop_map(|text| format!(r#"{{"type":"refusal","refusal":{text}}}"#)),
    ]
}

/// An item without its id.
fn item() -> impl Strategy<Value = String> {
    let list = |kind: &'static str| {
        vec(short_text().prop_map(move |text| format!(r#"{{"type":"{kind}","text":{text}}}"#)), 0..3)
            .prop_map(|parts| format!("[{}]", parts.join(",")))
    };
    let content = option::of(prop_oneof![Just("null".to_owned()), list("reasoning_text")]);
    prop_oneof![
        vec(part(), 0..3).prop_map(|parts| {
            let parts = parts.join(",");
            format!(r#""type":"message","status":"completed","content":[{parts}],"role":"assistant","x":1"#)
        }),
        (list("summary_text"), content).prop_map(|(summary, content)| {
            let content = content.map(|content| format!(r#","content":{content}"#)).unwrap_or_default();
            format!(r#""type":"reasoning","summary":{summary}{content},"encrypted_content":"e""#)
        }),
        (short_text(), select(vec![r#","status":"completed""#, ""])).prop_map(|(arguments, status)| {
            format!(r#""type":"function_call","call_id":"c","name":"f","arguments":{arguments}{status}"#)
        }),
        short_text().prop_map(|input| format!(
            r#""type":"custom_tool_call","call_id":"c","name":"f","input":{input}"#
        )),
        Just(
            r#""type":"web_search_call","status":"completed","action":{"type":"search","query":"q"}"#
                .to_owned()
        ),
        Just(r#""type":"file_search_call","status":"completed","queries":["q"],"results":null"#.to_owned()),
        Just(r#""type":"mcp_approval_request","arguments":"{}","name":"f","server_label":"l""#.to_owned()),
    ]
}

fn response() -> impl Strategy<Value = String> {
    let end = select(vec![
        r#""status":"completed","incomplete_details":null"#,
        r#""status":"incomplete","incomplete_details":{"reason":"max_output_tokens"}"#,
    ]);
    (vec(item(), 0..5), end).prop_map(|(items, end)| {
        let items: Vec<_> =
            items.iter().enumerate().map(|(index, item)| format!(r#"{{"id":"i{index}",{item}}}"#)).collect();
        format!(
            concat!(
                r#"{{"id":"resp_1","object":"response","created_at":1.0,{},"error":null,"model":"m","output":[{}],"#,
                r#""temperature":1.50,"n":1e400,"usage":{{"input_tokens":1,"output_tokens":2,"total_tokens":3}}}}"#
            ),
            end,
            items.join(",")
        )
    })
}

const RESPONSE: &str = concat!(
    r#"{"id":"resp_1","object":"response","status":"completed","output":[{"id":"msg_1","type":"message","#,
    r#""status":"completed","role":"assistant","content":[{"type":"output_text","text":"Hi","annotations":[],"#,
    r#""logprobs":[]}]}],"usage":{"input_tokens":1,"output_tokens":2,"total_tokens":3}}"#
);

#[test]
fn the_stream_is_as_the_api_sends_it() {
    let stream = stream_of(RESPONSE).expect("a stream");
    let events = typed_events(&stream);
    let kinds: Vec<_> = events.iter().map(|event| event["type"].as_str().expect("a type")).collect();
    assert_eq!(
        kinds,
        [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.completed"
        ]
    );
    assert!(events.iter().enumerate().all(|(number, event)| event["sequence_number"] == number));
    assert_eq!(
        events[0]["response"],
        json!({"id": "resp_1", "object": "response", "status": "in_progress", "output": [], "usage": null})
    );
    assert_eq!(
        events[2]["item"],
        json!({"id": "msg_1", "type": "message", "status": "in_progress", "role": "assistant", "content": []})
    );
    let delta = concat!(
        "event: response.output_text.delta\n",
        r#"data: {"type":"response.output_text.delta","sequence_number":4,"item_id":"msg_1","output_index":0,"#,
        r#""content_index":0,"delta":"Hi","logprobs":[]}"#,
        "\n\n"
    );
    assert!(stream.contains(delta), "{stream}");
}

#[test]
fn what_no_stream_tells_is_no_stream() {
    for (from, to) in [
        (r#""type":"message""#, r#""type":"code_interpreter_call""#),
        (r#""type":"message""#, r#""type":"future""#),
        (r#""type":"output_text""#, r#""type":"future""#),
        (r#""text":"Hi""#, r#""text":5"#),
        (r#""id":"msg_1""#, r#""other":"msg_1""#),
        (r#""status":"completed""#, r#""status":"in_progress""#),
        (r#""output":["#, r#""output":[{"id":"msg_1","type":"mcp_approval_request"},"#),
        (r#""output":["#, r#""output":[{"id":"w","type":"web_search_call","status":"failed"},"#),
        (r#""annotations":[]"#, r#""annotations":{}"#),
    ] {
        let document = RESPONSE.replacen(from, to, 1);
        assert_ne!(document, RESPONSE);
        assert_eq!(stream_of(&document), None, "{document}");
    }
}

#[test]
fn what_the_end_does_not_have_is_no_response() {
    let stream = stream_of(RESPONSE).expect("a stream");
    let done = format!("{stream}data: [DONE]\n\n");
    assert_eq!(whole_of(&done).as_deref(), Some(RESPONSE));
    for (from, to) in [
        ("event: response.completed\n", "data: {\"type\":\"response.future\"}\n\n"),
        ("event: response.completed\n", "data: {\"type\":\"error\"}\n\n"),
        ("\"type\":\"response.completed\"", "\"type\":\"response.incomplete\""),
        ("\"type\":\"response.completed\"", "\"type\":\"response.failed\""),
        ("\"text\":\"Hi\",\"logprobs\"", "\"text\":\"Ho\",\"logprobs\""),
        ("\"delta\":\"Hi\",\"logprobs\":[]", "\"delta\":\"Hi\",\"logprobs\":[{\"token\":\"Hi\"}]"),
        ("\"text\":\"Hi\",\"annotations\":[]", "\"text\":\"Ho\",\"annotations\":[]"),
        ("\"text\":\"Hi\",\"annotations\":[]", "\"text\":\"Hi\",\"annotations\":[{}]"),
        ("\"text\":\"Hi\",\"annotations\":[]", "\"text\":\"Hi\",\"x\":1,\"annotations\":[]"),
        ("\"output_index\":0", "\"output_index\":1"),
    ] {
        let other = stream.replacen(from, to, 1);
        assert_ne!(other, stream);
        assert_eq!(whole_of(&other), None, "{other}");
    }
    // Servers that leave the output out of their last event.
    let events: Vec<_> = typed_events(&stream)
        .into_iter()
        .map(|mut event| {
            if event["type"] == "response.completed" {
                event["response"]["output"] = json!([]);
            }
            event
        })
        .collect();
    assert_eq!(whole_of(&typed_stream(&events)), None);
}

#[test]
fn log_probabilities_go_with_their_tokens() {
    let logprobs = r#"[{"token":"H","logprob":-0.10},{"token":"i","logprob":-2}]"#;
    let document = RESPONSE.replacen(r#""logprobs":[]"#, &format!(r#""logprobs":{logprobs}"#), 1);
    let stream = stream_of(&document).expect("a stream");
    assert!(stream.contains(r#""delta":"H","logprobs":[{"token":"H","logprob":-0.10}]"#), "{stream}");
    assert!(stream.contains(&format!(r#""text":"Hi","logprobs":{logprobs}"#)), "{stream}");
}

proptest! {
    #[test]
    fn json_to_stream_to_json_is_the_same_text(document in response()) {
        let stream = stream_of(&document).expect("a stream");
        prop_assert_eq!(whole_of(&stream), Some(compact(&document)));
    }

    /// A client that reads the deltas alone has the same output as one that reads the response at the end;
    /// and so it is for the stream that is made of a recorded one.
    #[test]
    fn the_deltas_say_what_the_document_says(document in response()) {
        let document = document.replace(r#","n":1e400"#, "");
        let events = typed_events(&stream_of(&document).expect("a stream"));
        let document: Value = serde_json::from_str(&document).expect("JSON");
        prop_assert_eq!(&accumulate(&events), &document["output"]);
        prop_assert_eq!(&events.last().expect("an end")["response"], &document);
        prop_assert!(events.iter().enumerate().all(|(number, event)| event["sequence_number"] == number));
    }

    /// Every text cut into single characters, as a model would send them.
    #[test]
    fn stream_to_json_to_stream_is_the_same_to_a_client(document in response()) {
        let document = document.replace(r#","n":1e400"#, "");
        let recorded: Vec<Value> = typed_events(&stream_of(&document).expect("a stream"))
            .into_iter()
            .flat_map(|event| {
                let delta = event["delta"].as_str().map(|delta| delta.chars().collect::<Vec<_>>());
                let several = delta.filter(|delta| delta.len() > 1);
                let Some(several) = several else { return vec![event] };
                let mut pieces = vec![event; several.len()];
                for (place, (piece, char)) in pieces.iter_mut().zip(several).enumerate() {
                    piece["delta"] = json!(char.to_string());
                    if place > 0 && piece.get("logprobs").is_some() {
                        piece["logprobs"] = json!([]);
                    }
                }
                pieces
            })
            .collect();
        let whole = whole_of(&typed_stream(&recorded)).expect("a response");
        let again = typed_events(&stream_of(&whole).expect("a stream"));
        prop_assert_eq!(accumulate(&again), accumulate(&recorded));
    }

    #[test]
    fn no_input_panics(
        document in response(),
        from in select(vec!["\"", ":", "[", "{", "content", "null", "output_index", "text", "output", "0", "i"]),
        to in select(vec!["", "null", "[]", "{}", "0", "x", "true", "-1"]),
        skip in 0..40_usize,
    ) {
        let stream = stream_of(&document).expect("a stream");
        for text in [&document, &stream] {
            convert_all(&OpenAiResponses, damaged(text, from, to, skip).as_bytes());
        }
    }
}

/// A response all of whose texts are long.
fn long_response() -> impl Strategy<Value = String> {
    let texts = [(); 6].map(|()| long_text());
    (texts, any::<bool>()).prop_map(|([text, refusal, summary, thought, arguments, input], fits)| {
        let tokens: String = if fits { serde_json::from_str(&text).expect("a text") } else { "other".to_owned() };
        let letters: Vec<_> = tokens.chars().collect();
        let tokens: Vec<_> = letters.chunks(5).map(|token| json!({"token": String::from_iter(token)})).collect();
        format!(
            concat!(
                r#"{{"id":"resp_1","status":"completed","output":[{{"id":"i0","type":"message","status":"completed","content":["#,
                r#"{{"type":"output_text","annotations":[],"logprobs":{},"text":{}}},{{"type":"refusal","refusal":{}}}]}},"#,
                r#"{{"id":"i1","type":"reasoning","summary":[{{"type":"summary_text","text":{}}}],"#,
                r#""content":[{{"type":"reasoning_text","text":{}}}]}},"#,
                r#"{{"id":"i2","type":"function_call","arguments":{}}},{{"id":"i3","type":"custom_tool_call","input":{}}}]}}"#
            ),
            json!(tokens), text, refusal, summary, thought, arguments, input
        )
    })
}

/// Nulls under these names wherever an object has none of that name.
fn add_nulls(json: &mut Value, names: &[&str], seed: &mut u64) {
    match json {
        Value::Array(items) => items.iter_mut().for_each(|item| add_nulls(item, names, seed)),
        Value::Object(members) => {
            members.values_mut().for_each(|value| add_nulls(value, names, seed));
            for name in names {
                *seed = seed.rotate_left(7).wrapping_mul(31).wrapping_add(17);
                if seed.is_multiple_of(3) && !members.contains_key(*name) {
                    members.insert((*name).to_owned(), Value::Null);
                }
            }
        }
        _ => {}
    }
}

fn without_nulls(json: &Value) -> Value {
    match json {
        Value::Array(items) => items.iter().map(without_nulls).collect(),
        Value::Object(members) => members
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name.clone(), without_nulls(value)))
            .collect(),
        other => other.clone(),
    }
}

proptest! {
    /// What is null says nothing, and keeps no response from its other form.
    #[test]
    fn null_loses_nothing(document in response(), seed: u64) {
        let mut seed = seed;
        let document: Value = serde_json::from_str(&document.replace(r#","n":1e400"#, "")).expect("JSON");
        let said = without_nulls(&document);
        let mut nulls = document;
        add_nulls(&mut nulls, &["phase", "logprobs", "annotations", "timings", "zz-new"], &mut seed);
        let stream = stream_of(&nulls.to_string()).expect("a stream");
        let mut events = typed_events(&stream);
        for event in &mut events {
            add_nulls(event, &["output_index", "obfuscation", "timings", "zz-new"], &mut seed);
        }
        let whole = whole_of(&typed_stream(&events)).expect("a response");
        prop_assert_eq!(without_nulls(&serde_json::from_str(&whole).expect("JSON")), said);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Only the events that the API has with all of a text have a long one.
    #[test]
    fn long_texts_are_told_in_pieces(document in long_response()) {
        let stream = stream_of(&document).expect("a stream");
        for event in sse::decode(stream.as_bytes()) {
            let has_all = event.name.ends_with(".done") || event.name == "response.completed";
            let longest = longest(&Json::parse(event.data.as_bytes()).expect("JSON"));
            prop_assert!(has_all || longest <= 4096, "{}: {}", event.name, longest);
        }
        prop_assert_eq!(whole_of(&stream), Some(compact(&document)));
        let events = typed_events(&stream);
        let document: Value = serde_json::from_str(&document).expect("JSON");
        prop_assert_eq!(&accumulate(&events), &document["output"]);
    }
}

#[test]
fn texts_and_lists_that_are_null_are_none() {
    for (from, to) in [
        (r#""annotations":[]"#, r#""annotations":null"#),
        (r#""logprobs":[]"#, r#""logprobs":null"#),
        (r#""text":"Hi""#, r#""text":null"#),
        (r#"[{"type":"output_text","text":"Hi","annotations":[],"logprobs":[]}]"#, "null"),
        (r#""type":"message""#, r#""type":"function_call","arguments":null"#),
        (r#""type":"message""#, r#""type":"custom_tool_call","input":null"#),
    ] {
        let document = RESPONSE.replacen(from, to, 1);
        assert_ne!(document, RESPONSE);
        let stream = stream_of(&document).unwrap_or_else(|| panic!("{document}"));
        assert_eq!(whole_of(&stream), Some(document));
    }
}

/// A server without numbers, with the model in each event and the timings beside the response.
#[test]
fn timings_and_what_the_response_repeats_lose_nothing() {
    let response = RESPONSE.replacen("{", r#"{"model":"m","#, 1);
    let told = |model: &str, more: &str| {
        format!(
            concat!(
                "data: {{\"type\":\"response.created\",\"response\":{{\"id\":\"resp_1\"}},\"model\":\"{model}\"}}\n\n",
                "data: {{\"type\":\"response.output_text.delta\",\"item_id\":\"msg_1\",\"delta\":\"Hi\",\"model\":\"{model}\"}}\n\n",
                "data: {{\"type\":\"response.completed\",\"response\":{response}{more}}}\n\ndata: [DONE]\n\n",
            ),
            model = model,
            response = response,
            more = more
        )
    };
    assert_eq!(whole_of(&told("m", "")).as_deref(), Some(response.as_str()));
    assert_eq!(whole_of(&told("other", "")), None);
    let timed = format!(r#"{},"timings":{{"ms":1.50}}}}"#, &response[..response.len() - 1]);
    let whole = whole_of(&told("m", r#","timings":{"ms":1.50},"model":"m""#)).expect("a response");
    assert_eq!(whole, timed);
    let stream = stream_of(&whole).expect("a stream");
    assert!(stream.ends_with(&format!("{response},\"timings\":{{\"ms\":1.50}}}}\n\n")), "{stream}");
    assert_eq!(stream.matches("timings").count(), 1);
    assert_eq!(whole_of(&stream), Some(whole));
    assert_eq!(whole_of(&stream.replace(&response, &timed.replace("1.50", "2"))), None, "two of them");
}

//! Both forms of a message say the same.

use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::{Value, json};

use super::Anthropic;
use crate::{
    dialect::testing::{
        compact, convert_all, damaged, long_text, longest_told, short_text, to_stream, to_whole,
        typed_events, typed_stream,
    },
    http::sse,
    json::Json,
};

fn stream_of(document: &str) -> Option<String> {
    to_stream(&Anthropic, document, true)
}

fn whole_of(stream: &str) -> Option<String> {
    to_whole(&Anthropic, stream)
}

/// What a client makes of a stream, written after the vendor's own `accumulate_event`, and not after ours.
fn accumulate(events: &[Value]) -> Value {
    let (mut message, mut inputs) = (Value::Null, std::collections::HashMap::<usize, String>::new());
    let push = |text: &mut Value, more: &Value| {
        *text = json!(text.as_str().unwrap_or("").to_owned() + more.as_str().expect("a text"));
    };
    for event in events {
        let index = event["index"].as_u64().unwrap_or(0) as usize;
        match event["type"].as_str().expect("a type") {
            "message_start" => message = event["message"].clone(),
            "content_block_start" => {
                message["content"].as_array_mut().expect("content").push(event["content_block"].clone());
            }
            "content_block_delta" => {
                let (block, delta) = (&mut message["content"][index], &event["delta"]);
                match delta["type"].as_str().expect("a type") {
                    "text_delta" => push(&mut block["text"], &delta["text"]),
                    "thinking_delta" => push(&mut block["thinking"], &delta["thinking"]),
                    "signature_delta" => block["signature"] = delta["signature"].clone(),
                    "citations_delta" => match &mut block["citations"] {
                        Value::Array(citations) => citations.push(delta["citation"].clone()),
                        none => *none = json!([delta["citation"]]),
                    },
                    "input_json_delta" => {
                        let input = inputs.entry(index).or_default();
                        input.push_str(delta["partial_json"].as_str().expect("a text"));
                    }
                    other => panic!("{other}"),
                }
            }
            "message_delta" => {
                for (name, change) in event["delta"].as_object().expect("a delta") {
                    if name.starts_with("stop_") {
                        message[name] = change.clone();
                    }
                }
                let later = [("container", &event["delta"]), ("context_management", event)];
                for (name, place) in later.into_iter().filter(|(name, place)| !place[name].is_null()) {
                    message[name] = place[name].clone();
                }
                for (name, count) in event["usage"].as_object().expect("usage") {
                    let so_far = &mut message["usage"][name];
                    if !count.is_null() {
                        *so_far = count.clone();
                    }
                }
            }
            _ => {}
        }
    }
    for (index, input) in inputs {
        if !input.is_empty() {
            message["content"][index]["input"] = serde_json::from_str(&input).expect("JSON");
        }
    }
    message
}

/// Cuts a text at each of these places.
fn cut(text: &str, cuts: &[usize]) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut % (chars.len() + 1)).collect();
    at.extend([0, chars.len()]);
    at.sort_unstable();
    at.windows(2).map(|pair| chars[pair[0]..pair[1]].iter().collect()).collect()
}

/// The stream that the API would send for a message, its texts cut at `cuts`.
fn recorded(message: &Value, cuts: &[usize]) -> Vec<Value> {
    let mut start = message.clone();
    start["content"] = json!([]);
    for name in ["stop_reason", "stop_sequence"] {
        start[name] = Value::Null;
    }
    start["usage"] = json!({"input_tokens": message["usage"]["input_tokens"], "output_tokens": 1});
    let mut events = vec![json!({"type": "message_start", "message": start}), json!({"type": "ping"})];
    for (index, block) in message["content"].as_array().expect("content").iter().enumerate() {
        let (mut start, mut deltas) = (block.clone(), Vec::new());
        let mut tell = |name: &str, kind: &str, member: &str, empty: Value, text: &str| {
            start[name] = empty;
            deltas.extend(cut(text, cuts).into_iter().map(|piece| json!({"type": kind, member: piece})));
        };
        match block["type"].as_str().expect("a type") {
            "text" => tell("text", "text_delta", "text", json!(""), block["text"].as_str().expect("a text")),
            "thinking" => {
                let text = block["thinking"].as_str().expect("a text");
                tell("thinking", "thinking_delta", "thinking", json!(""), text);
                start["signature"] = json!("");
                deltas.push(json!({"type": "signature_delta", "signature": block["signature"]}));
            }
            "tool_use" | "server_tool_use" => {
                let input = block["input"].to_string();
                let input = if input == "{}" { "" } else { &input };
                tell("input", "input_json_delta", "partial_json", json!({}), input);
            }
            _ => {}
        }
        if let Some(citations) = block["citations"].as_array() {
            start["citations"] = json!([]);
            deltas.extend(citations.iter().map(|one| json!({"type": "citations_delta", "citation": one})));
        }
        events.push(json!({"type": "content_block_start", "index": index, "content_block": start}));
        let delta = |delta| json!({"type": "content_block_delta", "index": index, "delta": delta});
        events.extend(deltas.into_iter().map(delta));
        events.push(json!({"type": "content_block_stop", "index": index}));
    }
    let delta = json!({"stop_reason": message["stop_reason"], "stop_sequence": message["stop_sequence"]});
    events.push(json!({"type": "message_delta", "delta": delta, "usage": message["usage"]}));
    events.push(json!({"type": "message_stop"}));
    events
}

/// Any small value, with numbers that a double would change only where `exact`.
fn value(exact: bool) -> impl Strategy<Value = String> {
    let plain = ["null", "true", "7", r#""x\n\u2028""#, r#"{"k":[1,"ü"],"l":{}}"#, "[]", r#""😀\"""#];
    let odd = ["1.50", "-0", "1e400", "123456789012345678901", r#"{"n":0.10}"#];
    let all = if exact { [&plain[..], &odd[..]].concat() } else { plain.to_vec() };
    select(all).prop_map(str::to_owned)
}

fn block(exact: bool) -> impl Strategy<Value = String> {
    let citations = || {
        option::of(vec(value(exact), 0..3)).prop_map(|all| match all {
            Some(all) => format!(r#","citations":[{}]"#, all.join(",")),
            None => String::new(),
        })
    };
    let input = || {
        vec(value(exact), 0..3).prop_map(|all| {
            let members: Vec<_> =
                all.iter().enumerate().map(|(at, value)| format!("\"m{at}\":{value}")).collect();
            format!("{{{}}}", members.join(","))
        })
    };
    prop_oneof![
        (short_text(), citations())
            .prop_map(|(text, more)| format!(r#"{{"type":"text","text":{text}{more}}}"#)),
        (short_text(), value(exact))
            .prop_map(|(text, x)| format!(r#"{{"x":{x},"type":"text","text":{text}}}"#)),
        (short_text(), short_text()).prop_map(|(thinking, signature)| {
            format!(r#"{{"type":"thinking","thinking":{thinking},"signature":{signature}}}"#)
        }),
        input().prop_map(|input| format!(r#"{{"type":"tool_use","id":"t","name":"f","input":{input}}}"#)),
        input().prop_map(|input| {
            format!(
                r#"{{"type":"server_tool_use","id":"s","name":"web_search","input":{input},"caller":{{}}}}"#
            )
        }),
        value(exact).prop_map(|content| {
            format!(r#"{{"type":"web_search_tool_result","tool_use_id":"s","content":{content}}}"#)
        }),
        value(exact).prop_map(|data| format!(r#"{{"type":"redacted_thinking","data":{data}}}"#)),
    ]
}

fn message(exact: bool) -> impl Strategy<Value = String> {
    let more = if exact {
        select(vec![
            "",
            r#","container":null"#,
            r#","container":{"id":"c","n":1.0},"stop_details":null,"new":1.50"#,
            r#","context_management":{"applied_edits":[]},"input_transformations":[1]"#,
        ])
    } else {
        select(vec![""])
    };
    let counts = select(vec![
        r#""output_tokens":10"#,
        r#""cache_read_input_tokens":null,"output_tokens":10,"service_tier":"standard","server_tool_use":null"#,
        r#""cache_read_input_tokens":3,"output_tokens":0,"server_tool_use":{"web_search_requests":1}"#,
    ]);
    (vec(block(exact), 0..4), more, counts).prop_map(|(blocks, more, counts)| {
        format!(
            concat!(
                r#"{{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{}],"#,
                r#""stop_reason":"end_turn","stop_sequence":null{},"usage":{{"input_tokens":5,{}}}}}"#
            ),
            blocks.join(","),
            more,
            counts
        )
    })
}

const MESSAGE: &str = r#"{"id":"msg_1","type":"message","role":"assistant","model":"m",
    "content":[{"type":"text","text":"Hi"}],"stop_reason":"end_turn","stop_sequence":null,
    "usage":{"input_tokens":5,"output_tokens":2}}"#;

#[test]
fn the_stream_is_as_the_api_sends_it() {
    let expected = concat!(
        "event: message_start\n",
        r#"data: {"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","#,
        r#""model":"m","content":[],"stop_reason":null,"stop_sequence":null,"#,
        r#""usage":{"input_tokens":5,"output_tokens":0}}}"#,
        "\n\nevent: content_block_start\n",
        r#"data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
        "\n\nevent: content_block_delta\n",
        r#"data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hi"}}"#,
        "\n\nevent: content_block_stop\n",
        r#"data: {"type":"content_block_stop","index":0}"#,
        "\n\nevent: message_delta\n",
        r#"data: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"#,
        r#""usage":{"input_tokens":5,"output_tokens":2}}"#,
        "\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
    );
    assert_eq!(stream_of(MESSAGE).as_deref(), Some(expected));
}

#[test]
fn what_no_stream_tells_is_no_stream() {
    for (from, to) in [
        (r#""type":"text""#, r#""type":"compaction""#),
        (r#""type":"text""#, r#""type":"fallback""#),
        (r#""text":"Hi""#, r#""text":5"#),
        (r#""text":"Hi""#, r#""text":"Hi","citations":{}"#),
        (r#"{"type":"text","text":"Hi"}"#, r#"{"type":"tool_use","input":[]}"#),
        (r#"{"type":"text","text":"Hi"}"#, r#"{"type":"thinking","thinking":"a","signature":1}"#),
        (r#""end_turn""#, "null"),
        (r#""output_tokens":2"#, r#""output_tokens":null"#),
        (r#""type":"message""#, r#""type":"error""#),
    ] {
        let document = MESSAGE.replacen(from, to, 1);
        assert_ne!(document, MESSAGE);
        assert_eq!(stream_of(&document), None, "{document}");
    }
}

#[test]
fn what_no_message_has_is_no_message() {
    let stream = typed_stream(&recorded(&serde_json::from_str(MESSAGE).expect("JSON"), &[]));
    assert_eq!(whole_of(&stream).map(|whole| compact(&whole)), Some(compact(MESSAGE)));
    for (from, to) in [
        ("_stop\",\"index\":0", "_stop\",\"index\":1"),
        ("\"type\":\"text_delta\"", "\"type\":\"future_delta\""),
        ("\"type\":\"text_delta\"", "\"type\":\"thinking_delta\""),
        ("\"text\":\"Hi\"", "\"text\":\"Hi\",\"x\":1"),
        ("\"content\":[]", "\"content\":[{}]"),
        ("event: ping", "event: future\ndata: {\"type\":\"future\"}\n\nevent: ping"),
        (
            "event: message_delta",
            "event: error\ndata: {\"type\":\"error\",\"error\":{}}\n\nevent: message_delta",
        ),
        ("event: message_stop", "event: other"),
        ("\"stop_reason\":\"end_turn\"", "\"stop_reason\":null"),
        ("\"stop_reason\":\"end_turn\"", "\"stop_reason\":\"end_turn\",\"x\":1"),
        ("\"output_tokens\":2", "\"other\":2"),
        ("data: {\"type\":\"message_stop\"}\n\n", ""),
        ("data: {\"type\":\"message_stop\"}\n\n", "data: {\"type\":\"message_stop\",\"x\":1}\n\n"),
    ] {
        let other = stream.replacen(from, to, 1);
        assert_ne!(other, stream, "{from}");
        assert_eq!(whole_of(&other), None, "{other}");
    }
}

#[test]
fn a_long_text_has_no_long_lines() {
    let text = "ü\u{1}".repeat(100_000);
    let mut message: Value = serde_json::from_str(MESSAGE).expect("JSON");
    message["content"][0]["text"] = json!(text);
    let stream = stream_of(&message.to_string()).expect("a stream");
    assert!(stream.lines().all(|line| line.len() < 32 * 1024));
    assert_eq!(accumulate(&typed_events(&stream)), message);
}

proptest! {
    #[test]
    fn json_to_stream_to_json_is_the_same_text(document in message(true)) {
        let stream = stream_of(&document).expect("a stream");
        prop_assert_eq!(whole_of(&stream), Some(compact(&document)));
    }

    #[test]
    fn a_client_makes_the_document_of_the_made_stream(document in message(false)) {
        let stream = stream_of(&document).expect("a stream");
        let expected: Value = serde_json::from_str(&document).expect("JSON");
        prop_assert_eq!(accumulate(&typed_events(&stream)), expected);
    }

    #[test]
    fn stream_to_json_to_stream_is_the_same_to_a_client(
        document in message(false),
        cuts in vec(any::<usize>(), 0..4),
    ) {
        let recorded = recorded(&serde_json::from_str(&document).expect("JSON"), &cuts);
        let whole = whole_of(&typed_stream(&recorded)).expect("a message");
        let again = stream_of(&whole).expect("a stream");
        prop_assert_eq!(accumulate(&typed_events(&again)), accumulate(&recorded));
    }

    /// Events that are missing, doubled or out of order give no message, or the very one a client would make.
    #[test]
    fn a_damaged_stream_gives_nothing_wrong(
        document in message(false),
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
            prop_assert!(how != 3 || events[at]["type"] == "ping");
            prop_assert_eq!(serde_json::from_str::<Value>(&whole).expect("JSON"), accumulate(&events));
        }
    }

    #[test]
    fn no_input_panics(
        document in message(true),
        from in select(vec!["\"", ":", "[", "{", "text", "null", "1", "content", "usage", "message"]),
        to in select(vec!["", "null", "[]", "{}", "0", "x", "\"type\"", "index", "-1"]),
        skip in 0..20_usize,
    ) {
        let stream = stream_of(&document).expect("a stream");
        for text in [&document, &stream] {
            convert_all(&Anthropic, damaged(text, from, to, skip).as_bytes());
        }
    }
}

#[test]
fn what_is_null_is_not_there() {
    for block in [
        r#"{"type":"text","text":null}"#,
        r#"{"type":"text","text":"Hi","citations":null,"zz-new":null}"#,
        r#"{"type":"thinking","thinking":null,"signature":null}"#,
        r#"{"type":"tool_use","id":"t","name":"f","input":null}"#,
    ] {
        let document = compact(MESSAGE).replacen(r#"{"type":"text","text":"Hi"}"#, block, 1);
        let document = document.replacen(
            r#""stop_sequence":null"#,
            r#""stop_sequence":null,"container":null,"zz-new":null"#,
            1,
        );
        let stream = stream_of(&document).unwrap_or_else(|| panic!("{document}"));
        assert_eq!(whole_of(&stream), Some(document));
    }
    let stream = typed_stream(&recorded(&serde_json::from_str(MESSAGE).expect("JSON"), &[]));
    for (from, to) in [
        (r#""content":[]"#, r#""content":null"#),
        (r#""text":"Hi"}"#, r#""text":"Hi","zz-new":null}"#),
        (
            "event: content_block_stop",
            "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":null}}\n\nevent: content_block_stop",
        ),
        ("event: content_block_stop", "data: null\n\nevent: content_block_stop"),
        (
            "event: message_stop",
            "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":null,\"usage\":null,\"zz-new\":null}\n\nevent: message_stop",
        ),
    ] {
        let other = stream.replacen(from, to, 1);
        assert_ne!(other, stream, "{from}");
        assert_eq!(whole_of(&other).map(|whole| compact(&whole)), Some(compact(MESSAGE)), "{other}");
    }
    // The end reports the usage.
    let usage = Json::parse(stream.as_bytes())
        .is_err()
        .then(|| stream.find(r#""usage":{"#))
        .flatten()
        .expect("usage");
    let end = stream[usage..].find('}').expect("its end") + usage + 1;
    let untold = format!("{}\"usage\":null{}", &stream[..usage], &stream[end..]);
    assert!(whole_of(&untold).is_some_and(|whole| whole.contains(r#""output_tokens":2"#)), "{untold}");
}

#[test]
fn timings_are_told_at_the_end() {
    let document =
        format!(r#"{},"timings":{{"ms":1.50}}}}"#, &compact(MESSAGE)[..compact(MESSAGE).len() - 1]);
    let stream = stream_of(&document).expect("a stream");
    assert!(
        stream.contains(r#""usage":{"input_tokens":5,"output_tokens":2},"timings":{"ms":1.50}}"#),
        "{stream}"
    );
    assert_eq!(whole_of(&stream), Some(document));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn long_texts_are_told_in_pieces(texts in [(); 3].map(|()| long_text())) {
        let [text, thinking, input] = texts;
        let blocks = format!(
            concat!(
                r#"{{"type":"text","text":{}}},{{"type":"thinking","thinking":{},"signature":"s"}},"#,
                r#"{{"type":"tool_use","id":"t","name":"f","input":{{"a":{},"b":[1.50]}}}}"#
            ),
            text, thinking, input
        );
        let document = compact(MESSAGE).replacen(r#"{"type":"text","text":"Hi"}"#, &blocks, 1);
        let stream = stream_of(&document).expect("a stream");
        let longest = longest_told(&sse::decode(stream.as_bytes()));
        prop_assert!(longest <= 4096, "{}", longest);
        prop_assert_eq!(whole_of(&stream), Some(compact(&document)));
        let expected: Value = serde_json::from_str(&document).expect("JSON");
        prop_assert_eq!(accumulate(&typed_events(&stream)), expected);
    }
}

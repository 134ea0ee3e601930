//! Both forms of an answer say the same.

use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::{Map, Value, json};

use super::{Ollama, TextMember};
use crate::{
    dialect::testing::{
        canonical, convert_all, damaged, long_text, longest_told, short_text, to_stream, to_whole,
    },
    http::sse,
};

const CHAT_API: Ollama = Ollama { text: TextMember::Message };
const GENERATE_API: Ollama = Ollama { text: TextMember::Response };

fn stream_of(api: &Ollama, document: &str) -> Option<String> {
    to_stream(api, document, true)
}

fn lines(stream: &str) -> Vec<Value> {
    stream.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn written(lines: &[Value]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// What Ollama's own server makes of its lines when it is asked for no stream (`ChatHandler` and
/// `GenerateHandler`): the last one, with the texts and the lists of all.
fn accumulate(lines: &[Value]) -> Value {
    let mut answer = lines.last().expect("a line").clone();
    for place in ["/message", ""] {
        for name in ["content", "response", "thinking"] {
            let of =
                |line: &Value| line.pointer(place).and_then(|says| says[name].as_str()).map(str::to_owned);
            let texts: Vec<_> = lines.iter().filter_map(of).collect();
            if !texts.is_empty() {
                answer.pointer_mut(place).expect("a place")[name] = json!(texts.concat());
            }
        }
        for name in ["tool_calls", "logprobs"] {
            let of = |line: &Value| line.pointer(place).and_then(|says| says[name].as_array()).cloned();
            let lists: Vec<_> = lines.iter().filter_map(of).collect();
            if !lists.is_empty() {
                answer.pointer_mut(place).expect("a place")[name] = json!(lists.concat());
            }
        }
    }
    answer
}

/// The lines that Ollama would send for an answer, its texts cut into single characters.
fn recorded(is_chat: bool, answer: &Value, calls_at_end: bool) -> Vec<Value> {
    let name = if is_chat { "content" } else { "response" };
    let says = if is_chat { &answer["message"] } else { answer };
    let line = |part: Map<String, Value>, done: bool| {
        let mut says = json!({name: ""});
        says.as_object_mut().expect("an object").extend(part);
        let mut line = json!({"model": answer["model"], "created_at": format!("{done}"), "done": done});
        if is_chat {
            says["role"] = json!("assistant");
            line["message"] = says;
        } else {
            line.as_object_mut().expect("an object").extend(says.as_object().expect("an object").clone());
        }
        line
    };
    let mut lines = Vec::new();
    for name in ["thinking", name] {
        for piece in says[name].as_str().unwrap_or("").chars() {
            let mut line = line(Map::from_iter([(name.to_owned(), json!(piece.to_string()))]), false);
            line["logprobs"] = json!([{"token": piece.to_string(), "logprob": -0.5}]);
            lines.push(line);
        }
    }
    let mut last = Map::new();
    for call in says["tool_calls"].as_array().into_iter().flatten() {
        match calls_at_end {
            true => last
                .entry("tool_calls")
                .or_insert(json!([]))
                .as_array_mut()
                .expect("calls")
                .push(call.clone()),
            false => lines.push(line(Map::from_iter([("tool_calls".to_owned(), json!([call]))]), false)),
        }
    }
    let mut last = line(last, true);
    for (name, value) in answer.as_object().expect("an object") {
        if !last.as_object().expect("an object").contains_key(name)
            && name != "thinking"
            && name != "tool_calls"
        {
            last[name] = value.clone();
        }
    }
    lines.push(last);
    lines
}

/// What says something in an answer, as the members of an object.
fn says(name: &'static str) -> impl Strategy<Value = String> {
    let thinking = prop_oneof![Just(None), Just(Some("null".to_owned())), short_text().prop_map(Some)];
    let call = select(vec![
        r#"{"function":{"name":"f","arguments":{"city":"Kö ln"}}}"#,
        r#"{"id":"call_1","function":{"index":1,"name":"g","arguments":{}}}"#,
    ]);
    let calls =
        prop_oneof![Just(None), vec(call, 0..3).prop_map(|calls| Some(format!("[{}]", calls.join(","))))];
    (short_text(), thinking, calls).prop_map(move |(text, thinking, calls)| {
        let mut members = format!("\"{name}\":{text}");
        for (name, value) in [("thinking", thinking), ("tool_calls", calls)] {
            if let Some(value) = value {
                members += &format!(",\"{name}\":{value}");
            }
        }
        members
    })
}

fn rest(exact: bool) -> impl Strategy<Value = String> {
    let mut all = vec![
        "",
        r#","total_duration":5,"prompt_eval_count":1,"eval_count":2"#,
        r#","context":[1,2,3],"unknown":{"a":null}"#,
    ];
    if exact {
        all.extend([
            r#","logprobs":[{"token":"a","logprob":-0.10}]"#,
            r#","logprobs":[1,2.50,3,4,5,6,7]"#,
            r#","logprobs":[],"n":1e400"#,
        ]);
    }
    select(all).prop_map(str::to_owned)
}

fn answer(is_chat: bool, exact: bool) -> impl Strategy<Value = String> {
    let says = says(if is_chat { "content" } else { "response" });
    (says, rest(exact)).prop_map(move |(says, rest)| {
        let says = if is_chat { format!(r#""message":{{"role":"assistant",{says}}}"#) } else { says };
        format!(r#"{{"model":"m","created_at":"true",{says},"done":true,"done_reason":"stop"{rest}}}"#)
    })
}

const fn api(is_chat: bool) -> Ollama {
    if is_chat { CHAT_API } else { GENERATE_API }
}

fn any_answer(exact: bool) -> impl Strategy<Value = (bool, String)> {
    any::<bool>().prop_flat_map(move |is_chat| (Just(is_chat), answer(is_chat, exact)))
}

const CHAT: &str = concat!(
    r#"{"model":"m","created_at":"c","message":{"role":"assistant","content":"Hi","thinking":"Hm","#,
    r#""tool_calls":[{"function":{"name":"f","arguments":{}}}]},"done":true,"done_reason":"stop","eval_count":2}"#
);

#[test]
fn the_stream_is_as_ollama_sends_it() {
    let expected = concat!(
        r#"{"model":"m","created_at":"c","message":{"role":"assistant","content":"","thinking":"Hm"},"done":false}"#,
        "\n",
        r#"{"model":"m","created_at":"c","message":{"role":"assistant","content":"Hi"},"done":false}"#,
        "\n",
        r#"{"model":"m","created_at":"c","message":{"role":"assistant","content":"","tool_calls":"#,
        r#"[{"function":{"name":"f","arguments":{}}}]},"done":false}"#,
        "\n",
        r#"{"model":"m","created_at":"c","message":{"role":"assistant","content":""},"#,
        r#""done":true,"done_reason":"stop","eval_count":2}"#,
        "\n",
    );
    assert_eq!(stream_of(&CHAT_API, CHAT).as_deref(), Some(expected));
    let generated = r#"{"model":"m","created_at":"c","response":"Hi","done":true,"context":[1]}"#;
    let expected = concat!(
        r#"{"model":"m","created_at":"c","response":"Hi","done":false}"#,
        "\n",
        r#"{"model":"m","created_at":"c","response":"","done":true,"context":[1]}"#,
        "\n",
    );
    assert_eq!(stream_of(&GENERATE_API, generated).as_deref(), Some(expected));
}

#[test]
fn what_no_stream_tells_is_no_stream() {
    for (from, to) in [
        (r#""done":true"#, r#""done":false"#),
        (r#""content":"Hi""#, r#""content":5"#),
        (r#""content":"Hi""#, r#""content":"Hi","images":["x"]"#),
        (r#""thinking":"Hm""#, r#""thinking":[]"#),
        (r#""eval_count":2"#, r#""logprobs":2"#),
        (r#""eval_count":2"#, r#""error":"broken""#),
        (r#""message":"#, r#""other":"#),
    ] {
        let document = CHAT.replacen(from, to, 1);
        assert_ne!(document, CHAT);
        assert_eq!(stream_of(&CHAT_API, &document), None, "{document}");
    }
}

#[test]
fn what_no_answer_has_is_no_answer() {
    let stream = stream_of(&CHAT_API, CHAT).expect("a stream");
    assert_eq!(to_whole(&CHAT_API, &stream).map(|whole| canonical(&whole)), Some(canonical(CHAT)));
    for (from, to) in [
        (r#""done":false"#, r#""done":true"#),
        (r#""done":false"#, r#""done":false,"unknown":1"#),
        (r#""done":false"#, r#""done":false,"error":"broken""#),
        (r#""done":false"#, r#""done":false,"eval_count":1"#),
        (r#""model":"m""#, r#""model":"n""#),
        (r#""role":"assistant""#, r#""role":"tool""#),
        (r#""content":"Hi""#, r#""content":"Hi","images":["x"]"#),
        (r#""done":true"#, r#""done":false"#),
    ] {
        let other = stream.replacen(from, to, 1);
        assert_ne!(other, stream);
        assert_eq!(to_whole(&CHAT_API, &other), None, "{other}");
    }
    // What every line says alike is not lost.
    let remote = stream.replace(r#""model":"m""#, r#""model":"m","remote_model":"r""#);
    assert!(to_whole(&CHAT_API, &remote).is_some_and(|whole| whole.contains("remote_model")));
}

#[test]
fn no_line_is_long_or_broken() {
    let mut answer: Value = serde_json::from_str(CHAT).expect("JSON");
    answer["message"]["content"] = json!("ü\u{2028}\u{1}".repeat(100_000));
    answer["logprobs"] = json!(vec![json!({"token": "ü", "logprob": -0.5}); 1000]);
    let stream = stream_of(&CHAT_API, &answer.to_string()).expect("a stream");
    assert!(stream.lines().all(|line| line.len() < 32 * 1024));
    assert!(!stream.contains('\u{2028}'));
    assert_eq!(accumulate(&lines(&stream)), answer);
}

proptest! {
    #[test]
    fn json_to_stream_to_json_is_the_same((is_chat, document) in any_answer(true)) {
        let stream = stream_of(&api(is_chat), &document).expect("a stream");
        let whole = to_whole(&api(is_chat), &stream).expect("an answer");
        prop_assert_eq!(canonical(&whole), canonical(&document), "{}", whole);
    }

    #[test]
    fn a_client_makes_the_document_of_the_made_stream((is_chat, document) in any_answer(false)) {
        let stream = stream_of(&api(is_chat), &document).expect("a stream");
        prop_assert_eq!(accumulate(&lines(&stream)), serde_json::from_str::<Value>(&document).expect("JSON"));
    }

    #[test]
    fn stream_to_json_to_stream_is_the_same_to_a_client(
        (is_chat, document) in any_answer(false),
        calls_at_end in any::<bool>(),
    ) {
        let recorded = recorded(is_chat, &serde_json::from_str(&document).expect("JSON"), calls_at_end);
        let whole = to_whole(&api(is_chat), &written(&recorded)).expect("an answer");
        prop_assert_eq!(serde_json::from_str::<Value>(&whole).expect("JSON"), accumulate(&recorded));
        let again = stream_of(&api(is_chat), &whole).expect("a stream");
        prop_assert_eq!(accumulate(&lines(&again)), accumulate(&recorded));
    }

    #[test]
    fn no_input_panics(
        (is_chat, document) in any_answer(true),
        from in select(vec!["\"", ":", "[", "{", "content", "null", "1", "done", "false", "message", "\n"]),
        to in select(vec!["", "null", "[]", "{}", "0", "x", "true", "-1"]),
        skip in 0..20_usize,
    ) {
        let stream = stream_of(&api(is_chat), &document).expect("a stream");
        for text in [&document, &stream] {
            convert_all(&api(is_chat), damaged(text, from, to, skip).as_bytes());
        }
    }
}

#[test]
fn what_is_null_is_not_there() {
    let document = CHAT.replacen(r#""content":"Hi""#, r#""content":"Hi","images":null"#, 1).replacen(
        r#""eval_count":2"#,
        r#""eval_count":2,"logprobs":null,"error":null,"zz-new":null"#,
        1,
    );
    let stream = stream_of(&CHAT_API, &document).expect("a stream");
    assert_eq!(to_whole(&CHAT_API, &stream).map(|whole| canonical(&whole)), Some(canonical(&document)));
    let nulls =
        r#""done":false,"done_reason":null,"eval_count":null,"logprobs":null,"error":null,"zz-new":null"#;
    let told = stream.replace(r#""done":false"#, nulls).replacen(
        r#""role":"assistant","content":"""#,
        r#""role":null,"content":null,"images":null"#,
        1,
    );
    assert!(told.contains(r#""role":null"#));
    let told = format!("{{\"model\":\"m\",\"message\":null,\"done\":null}}\nnull\n{told}");
    assert_eq!(
        to_whole(&CHAT_API, &told).map(|whole| canonical(&whole)),
        Some(canonical(&document)),
        "{told}"
    );
}

#[test]
fn timings_of_the_last_line_are_the_documents() {
    let document = CHAT.replacen(r#""eval_count":2"#, r#""eval_count":2,"timings":{"ms":1.50}"#, 1);
    let stream = stream_of(&CHAT_API, &document).expect("a stream");
    assert!(
        stream.ends_with("\"timings\":{\"ms\":1.50}}\n") && stream.matches("timings").count() == 1,
        "{stream}"
    );
    assert_eq!(to_whole(&CHAT_API, &stream).map(|whole| canonical(&whole)), Some(canonical(&document)));
}

#[test]
fn log_probabilities_go_with_their_tokens() {
    let told = |logprobs: &str| {
        let document = CHAT.replacen(r#""eval_count":2"#, &format!(r#""logprobs":{logprobs}"#), 1);
        let stream = stream_of(&CHAT_API, &document).expect("a stream");
        assert_eq!(to_whole(&CHAT_API, &stream).map(|whole| canonical(&whole)), Some(canonical(&document)));
        let said = |line: &Value| {
            let says = &line["message"];
            let text = says["thinking"].as_str().unwrap_or_else(|| says["content"].as_str().expect("a text"));
            let tokens: Vec<_> = line["logprobs"].as_array().into_iter().flatten().collect();
            let tokens: String = tokens.iter().filter_map(|token| token["token"].as_str()).collect();
            (text.to_owned(), tokens)
        };
        lines(&stream).iter().map(said).collect::<Vec<_>>()
    };
    let pairs = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(text, tokens)| ((*text).to_owned(), (*tokens).to_owned())).collect::<Vec<_>>()
    };
    assert_eq!(
        told(r#"[{"token":"Hm"},{"token":"H"},{"token":"i"}]"#),
        pairs(&[("Hm", "Hm"), ("H", "H"), ("i", "i"), ("", ""), ("", "")])
    );
    assert_eq!(
        told(r#"[{"token":"H"},{"token":"i"}]"#),
        pairs(&[("Hm", ""), ("H", "H"), ("i", "i"), ("", ""), ("", "")])
    );
    assert_eq!(
        told(r#"[{"token":"x"},{"token":"y"},{"token":"z"}]"#),
        pairs(&[("Hm", "x"), ("Hi", "y"), ("", "z"), ("", "")])
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// But for the arguments of a call: they are an object.
    #[test]
    fn long_texts_are_told_in_pieces(is_chat: bool, text in long_text(), thinking in long_text(), fits: bool) {
        let spoken: String = serde_json::from_str(if fits { &text } else { "\"other\"" }).expect("a text");
        let letters: Vec<_> = spoken.chars().collect();
        let tokens: Vec<_> = letters.chunks(5).map(|token| json!({"token": String::from_iter(token)})).collect();
        let says = if is_chat {
            format!(r#""message":{{"role":"assistant","content":{text},"thinking":{thinking}}}"#)
        } else {
            format!(r#""response":{text},"thinking":{thinking}"#)
        };
        let document = format!(r#"{{"model":"m",{says},"done":true,"logprobs":{}}}"#, json!(tokens));
        let stream = stream_of(&api(is_chat), &document).expect("a stream");
        let longest = longest_told(&sse::decode_lines(stream.as_bytes()));
        prop_assert!(longest <= 4096, "{}", longest);
        prop_assert_eq!(to_whole(&api(is_chat), &stream).map(|whole| canonical(&whole)), Some(canonical(&document)));
    }
}

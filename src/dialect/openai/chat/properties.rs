//! Answers and streams at random.

use std::collections::VecDeque;

use fastrand::Rng;
use proptest::prelude::*;

use super::OpenAiChat;
use crate::{
    dialect::{
        openai::testing::{accumulate, any_whole, stream, tell},
        testing::{
            add_nulls, any_number, any_text, any_tokens, any_value, broken, canonical, convert_all,
            items_mut, list, long_text, longest_told, maybe, member_mut, object, one_member, or_null, parse,
            pieces, said, to_stream, to_whole, with_usage, written,
        },
    },
    http::sse,
    json::Json,
};

const CHAT: OpenAiChat = OpenAiChat;

fn function() -> impl Strategy<Value = String> {
    (any_text(), maybe("arguments", or_null(any_text())))
        .prop_map(|(name, arguments)| object([Some(format!("\"name\":{name}")), arguments]))
}

fn tool_call() -> impl Strategy<Value = String> {
    let custom = (any_text(), any_text())
        .prop_map(|(name, input)| format!(r#""type":"custom","custom":{{"name":{name},"input":{input}}}"#));
    let call = prop_oneof![function().prop_map(|f| format!(r#""type":"function","function":{f}"#)), custom];
    (any_text(), call, maybe("extra", any_value()))
        .prop_map(|(id, call, extra)| object([Some(format!("\"id\":{id}")), Some(call), extra]))
}

fn audio() -> impl Strategy<Value = String> {
    (any_text(), "([A-Za-z0-9+/]{4}){0,3}([A-Za-z0-9+/]{2}==)?").prop_map(|(text, data)| {
        format!(r#"{{"id":"s","data":"{data}","expires_at":17,"transcript":{text}}}"#)
    })
}

fn message() -> impl Strategy<Value = String> {
    let known = (
        or_null(any_text()),
        or_null(any_text()),
        maybe("reasoning_content", or_null(any_text())),
        maybe("reasoning", or_null(any_text())),
        maybe("tool_calls", or_null(list(tool_call(), 3))),
        maybe("function_call", or_null(function())),
        maybe("audio", or_null(audio())),
        maybe("annotations", or_null(list(any_number().prop_map(|n| format!("{{\"n\":{n}}}")), 2))),
        maybe("vendors_own", any_value()),
    );
    known.prop_map(|(content, refusal, thought, reasoning, tools, function, audio, notes, own)| {
        let always = format!(r#""role":"assistant","content":{content},"refusal":{refusal}"#);
        object([Some(always), thought, reasoning, tools, function, audio, notes, own])
    })
}

fn choice() -> impl Strategy<Value = String> {
    let token = (any_text(), any_number(), list(any_number(), 2)).prop_map(|(token, number, top)| {
        format!(r#"{{"token":{token},"logprob":{number},"bytes":null,"top_logprobs":{top}}}"#)
    });
    let tokens = list(token, 5).boxed();
    let logprobs = (or_null(tokens.clone()), or_null(tokens))
        .prop_map(|(content, refusal)| format!(r#"{{"content":{content},"refusal":{refusal}}}"#));
    let filter = any_number().prop_map(|n| format!(r#"{{"hate":{{"filtered":false,"n":{n}}}}}"#));
    (message(), maybe("logprobs", or_null(logprobs)), maybe("content_filter_results", filter), any_value())
        .prop_map(|(message, logprobs, filter, reason)| {
            let message = format!("\"message\":{message}");
            let last = format!(r#""finish_reason":"stop","stop_reason":{reason}"#);
            object([Some(message), logprobs, filter, Some(last)])
        })
}

fn any_chat() -> impl Strategy<Value = String> {
    any_whole("chat.completion", choice())
}

/// The chunks' parts of a choice, in random pieces.
fn parts(choice: &Json<'_>, rng: &mut Rng) -> VecDeque<String> {
    let index = written(choice.get("index").expect("index"));
    let mut deltas = Vec::new();
    let (mut first, message) = (Vec::new(), choice.get("message").expect("message"));
    for member in message.members() {
        let name = &*member.name;
        match (&member.value, name) {
            (Json::String(text), "content" | "refusal" | "reasoning" | "reasoning_content") => {
                deltas.extend(pieces(text, rng).iter().map(|piece| format!("\"{name}\":{piece}")));
            }
            (Json::Array(calls), "tool_calls") => {
                first.push("\"tool_calls\":[]".to_owned());
                let mut calls: Vec<_> =
                    calls.iter().enumerate().map(|(place, call)| call_parts(place, call, rng)).collect();
                while calls.iter().any(|parts| !parts.is_empty()) {
                    let place = rng.usize(..calls.len());
                    let parts: Vec<_> = calls[place].pop_front().into_iter().collect();
                    deltas.push(format!("\"tool_calls\":[{}]", parts.join(",")));
                }
            }
            (Json::Object(_), "function_call" | "audio") => {
                let text = if name == "audio" { "transcript" } else { "arguments" };
                let (empty, pieces) = split(&member.value, text, rng);
                deltas.push(format!("\"{name}\":{empty}"));
                deltas.extend(pieces.iter().map(|piece| format!("\"{name}\":{piece}")));
            }
            _ => first.push(one_member(member)),
        }
    }
    let first = (!first.is_empty()).then(|| first.join(","));
    let mut tokens: Vec<_> = choice.get("logprobs").map_or(Vec::new(), logprobs);
    let mut parts: VecDeque<String> = first
        .into_iter()
        .chain(deltas)
        .map(|delta| {
            let logprobs = if rng.bool() { tokens.pop() } else { None };
            let logprobs = logprobs.map(|part| format!(",\"logprobs\":{part}")).unwrap_or_default();
            format!(r#"{{"index":{index},"delta":{{{delta}}},"finish_reason":null{logprobs}}}"#)
        })
        .collect();
    for part in tokens.iter().rev() {
        parts.push_back(format!(r#"{{"index":{index},"delta":{{}},"logprobs":{part}}}"#));
    }
    let others =
        choice.members().iter().filter(|member| !matches!(&*member.name, "index" | "message" | "logprobs"));
    let others: Vec<_> = others.map(one_member).collect();
    parts.push_back(format!(r#"{{"index":{index},"delta":{{}},{}}}"#, others.join(",")));
    parts
}

/// Log-probabilities token by token, the last first.
fn logprobs(logprobs: &Json<'_>) -> Vec<String> {
    if logprobs.is_null() {
        return vec!["null".to_owned()];
    }
    let mut parts = Vec::new();
    for (name, other) in [("refusal", "content"), ("content", "refusal")] {
        let tokens = logprobs.get(name).expect("a list").items();
        parts.extend(
            tokens.iter().rev().map(|token| format!(r#"{{"{name}":[{}],"{other}":null}}"#, written(token))),
        );
    }
    let empty = |name| if logprobs.get(name).is_some_and(Json::is_null) { "null" } else { "[]" };
    parts.push(format!(r#"{{"content":{},"refusal":{}}}"#, empty("content"), empty("refusal")));
    parts
}

fn call_parts(place: usize, call: &Json<'_>, rng: &mut Rng) -> VecDeque<String> {
    let (mut first, mut rest) = (vec![format!("\"index\":{place}")], VecDeque::new());
    for member in call.members() {
        let text = match &*member.name {
            "function" => "arguments",
            "custom" => "input",
            _ => {
                first.push(one_member(member));
                continue;
            }
        };
        let (empty, pieces) = split(&member.value, text, rng);
        first.push(format!("\"{}\":{empty}", member.name));
        rest.extend(pieces.iter().map(|part| format!("{{\"index\":{place},\"{}\":{part}}}", member.name)));
    }
    rest.push_front(object([Some(first.join(","))]));
    rest
}

/// An object without its text `name`, and objects with pieces of that.
fn split(whole: &Json<'_>, name: &str, rng: &mut Rng) -> (String, Vec<String>) {
    let text = whole.get(name).and_then(Json::as_str);
    let kept = whole.members().iter().filter(|member| member.name != name || text.is_none());
    let pieces = text.map_or(Vec::new(), |text| pieces(text, rng));
    let pieces = pieces.iter().map(|piece| format!("{{\"{name}\":{piece}}}")).collect();
    (object(kept.map(one_member).map(Some)), pieces)
}

/// A stream that says a document in random pieces.
fn in_pieces(whole: &str, rng: &mut Rng) -> Vec<String> {
    let whole = parse(whole);
    let choices = whole.get("choices").expect("choices").items();
    let parts = choices.iter().map(|choice| parts(choice, rng)).collect();
    tell(&whole, "chat.completion.chunk", parts, rng)
}

/// A choice whose texts are all long, with the log-probabilities of its tokens, or of others.
fn long_choice() -> impl Strategy<Value = String> {
    let texts = [(); 8].map(|()| long_text());
    (texts, "[A-Za-z0-9+/]{4}", 0..4_000_usize, any::<bool>(), any::<u64>()).prop_map(
        |([content, refusal, thought, reasoning, arguments, input, called, spoken], sound, times, fits, seed)| {
            let text = if fits { &content } else { &refusal };
            let text = parse(text).as_str().expect("a text").to_owned();
            let tokens: Vec<_> = any_tokens(&text, &mut Rng::with_seed(seed))
                .iter()
                .map(|token| format!(r#"{{"token":{},"logprob":-1.50}}"#, written(&Json::text(token.as_str()))))
                .collect();
            let call = |rest: String| format!(r#"{{"id":"c",{rest}}}"#);
            let calls = [
                call(format!(r#""type":"function","function":{{"name":"f","arguments":{arguments}}}"#)),
                call(format!(r#""type":"custom","custom":{{"name":"g","input":{input}}}"#)),
            ];
            format!(
                concat!(
                    r#"{{"message":{{"role":"assistant","content":{},"refusal":{},"reasoning_content":{},"reasoning":{},"#,
                    r#""tool_calls":[{}],"function_call":{{"name":"h","arguments":{}}},"#,
                    r#""audio":{{"id":"s","data":"{}QQ==","transcript":{}}}}},"#,
                    r#""logprobs":{{"content":[{}],"refusal":null}},"finish_reason":"stop"}}"#
                ),
                content, refusal, thought, reasoning, calls.join(","), called, sound.repeat(times), spoken,
                tokens.join(",")
            )
        },
    )
}

/// Members that servers have with null in them, or may have, in a document and in chunks.
const OF_ANSWERS: [&str; 7] =
    ["object", "service_tier", "system_fingerprint", "timings", "error", "obfuscation", "zz-new"];
const OF_CHOICES: [&str; 5] = ["delta", "message", "logprobs", "content_filter_results", "zz-new"];
const OF_MESSAGES: [&str; 8] = [
    "reasoning",
    "reasoning_content",
    "images",
    "tool_calls",
    "function_call",
    "audio",
    "annotations",
    "zz-new",
];
const OF_CALLS: [&str; 4] = ["index", "custom", "function", "zz-new"];

fn add_nulls_to_message(message: &mut Json<'_>, rng: &mut Rng) {
    add_nulls(message, &OF_MESSAGES, rng);
    items_mut(message, "tool_calls").iter_mut().for_each(|call| add_nulls(call, &OF_CALLS, rng));
}

/// A document, or a chunk, with such members.
fn with_nulls(text: &str, rng: &mut Rng) -> String {
    let mut json = parse(text);
    add_nulls(&mut json, &OF_ANSWERS, rng);
    for choice in items_mut(&mut json, "choices") {
        for name in ["message", "delta"] {
            member_mut(choice, name).into_iter().for_each(|message| add_nulls_to_message(message, rng));
        }
        add_nulls(choice, &OF_CHOICES, rng);
    }
    written(&json)
}

proptest! {
    /// A document's stream makes that document.
    #[test]
    fn document_to_stream_to_document(whole in any_chat()) {
        let made = to_stream(&CHAT, &whole, true).expect("a stream");
        let back = to_whole(&CHAT, &made).expect("a document");
        prop_assert_eq!(canonical(&back), canonical(&whole));
        let without = to_stream(&CHAT, &whole, false).expect("a stream");
        prop_assert_eq!(with_usage(&CHAT, &made, false), Some(without));
    }

    /// Whatever pieces an answer comes in, they make its document, and that document's stream makes a client
    /// read what the pieces made it read.
    #[test]
    fn stream_to_document_to_stream(whole in any_chat(), seed: u64) {
        let pieces = stream(&in_pieces(&whole, &mut Rng::with_seed(seed)));
        let made = to_whole(&CHAT, &pieces).expect("a document");
        prop_assert_eq!(canonical(&made), canonical(&whole), "{}", pieces);
        let again = to_stream(&CHAT, &made, true).expect("a stream");
        prop_assert_eq!(accumulate(&again), accumulate(&pieces));
        let without = with_usage(&CHAT, &pieces, false).expect("the usage's chunk says nothing else");
        let mut less = accumulate(&pieces);
        less.remove("/usage");
        prop_assert_eq!(accumulate(&without), less);
    }

    /// What is null says nothing, and keeps no answer from its other form.
    #[test]
    fn null_loses_nothing(whole in any_chat(), seed: u64) {
        let mut rng = Rng::with_seed(seed);
        let made = to_stream(&CHAT, &with_nulls(&whole, &mut rng), true).expect("a stream");
        prop_assert_eq!(said(&to_whole(&CHAT, &made).expect("a document")), said(&whole), "{}", made);
        let mut chunks: Vec<_> =
            in_pieces(&whole, &mut rng).iter().map(|chunk| with_nulls(chunk, &mut rng)).collect();
        let none = *rng.choice(&[r#""choices":null"#, r#""zz":null"#]).expect("one");
        if let Some(last) = chunks.last_mut() {
            *last = last.replace(r#""choices":[]"#, none);
        }
        let pieces = stream(&chunks);
        chunks.insert(rng.usize(..=chunks.len()), "null".to_owned());
        prop_assert_eq!(to_whole(&CHAT, &stream(&chunks)), to_whole(&CHAT, &pieces));
        prop_assert_eq!(with_usage(&CHAT, &stream(&chunks), true), Some(pieces.clone()));
        let made = to_whole(&CHAT, &pieces).expect("a document");
        prop_assert_eq!(said(&made), said(&whole), "{}", pieces);
        prop_assert!(with_usage(&CHAT, &pieces, false).is_some());
        // Some servers leave the last event out.
        let unended = pieces.replace("data: [DONE]\n\n", "");
        prop_assert_eq!(to_whole(&CHAT, &unended), Some(made));
        let ended = with_usage(&CHAT, &unended, true).expect("a stream");
        prop_assert_eq!(ended, pieces);
    }

    /// An unknown member is in the other form, or there is no other form.
    #[test]
    fn no_unknown_member_is_lost(whole in any_chat(), seed: u64) {
        let mut rng = Rng::with_seed(seed);
        let target_id = |text: &str, rng: &mut Rng, target_id: &str| {
            let places: Vec<_> = text.match_indices("{\"").map(|(place, _)| place + 1).collect();
            let place = *rng.choice(&places).expect("an object");
            let value = *rng.choice(&["\"@\"", "[\"@\"]", "{\"v\":\"@\"}"]).expect("some");
            let marked = format!("{}\"{target_id}\":{},{}", &text[..place], value.replace('@', target_id), &text[place..]);
            Json::parse(marked.as_bytes()).is_ok().then_some(marked)
        };
        if let Some(marked) = target_id(&whole, &mut rng, "zz-mark")
            && let Some(made) = to_stream(&CHAT, &marked, true)
        {
            prop_assert!(made.contains("zz-mark"), "{}", made);
            if let Some(back) = to_whole(&CHAT, &made) {
                prop_assert_eq!(canonical(&back), canonical(&marked));
            }
        }
        let mut chunks = in_pieces(&whole, &mut rng);
        let (mut target_ids, names) = (Vec::new(), ["zz-a", "zz-b"]);
        for name in names.into_iter().take(1 + rng.usize(..2)) {
            let place = rng.usize(..chunks.len());
            if let Some(marked) = target_id(&chunks[place], &mut rng, name) {
                // The same name each time, with another value.
                chunks[place] = marked.replace(&format!("\"{name}\":"), "\"zz\":");
                target_ids.push(name);
            }
        }
        if chunks.iter().all(|chunk| Json::parse(chunk.as_bytes()).is_ok())
            && let Some(made) = to_whole(&CHAT, &stream(&chunks))
        {
            prop_assert!(target_ids.iter().all(|target_id| made.contains(target_id)), "{}", made);
        }
    }

    #[test]
    fn no_input_panics(bytes in proptest::collection::vec(any::<u8>(), 0..100), whole in any_chat(), seed: u64) {
        let mut rng = Rng::with_seed(seed);
        convert_all(&CHAT, &bytes);
        convert_all(&CHAT, broken(&whole, &mut rng).as_bytes());
        let stream = stream(&in_pieces(&whole, &mut rng));
        convert_all(&CHAT, broken(&stream, &mut rng).as_bytes());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// However long the texts are, no chunk has a long one; tokens stay with their log-probabilities.
    #[test]
    fn long_texts_are_told_in_pieces(whole in any_whole("chat.completion", long_choice())) {
        let made = to_stream(&CHAT, &whole, true).expect("a stream");
        let events = sse::decode(made.as_bytes());
        prop_assert!(longest_told(&events) <= 4096, "{}", longest_told(&events));
        prop_assert_eq!(canonical(&to_whole(&CHAT, &made).expect("a document")), canonical(&whole));
        for event in events.iter().filter(|event| event.data.contains("\"token\"")) {
            let chunk = parse(&event.data);
            let choice = &chunk.get("choices").expect("choices").items()[0];
            let tokens = choice.get("logprobs").and_then(|told| told.get("content")).expect("tokens").items();
            let [token] = tokens else { continue };
            let text = choice.get("delta").and_then(|delta| delta.get("content")).and_then(Json::as_str);
            let token = token.get("token").and_then(Json::as_str).expect("a text");
            prop_assert!(text.is_some_and(|text| token.starts_with(text) || text.len() > token.len()));
        }
    }
}

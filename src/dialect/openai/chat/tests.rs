//! Answers and streams as servers send them.

use super::OpenAiChat;
use crate::dialect::{
    openai::testing::stream,
    testing::{canonical, parse, to_stream, to_whole, with_usage, written},
};

const CHAT: OpenAiChat = OpenAiChat;
const USAGE: &str = r#"{"id":"c","object":"chat.completion.chunk","choices":[],"usage":{"total_tokens":3}}"#;

/// A stream of one choice with these members of chunks' choices, and its usage.
fn told(choices: &[&str]) -> String {
    let chunk = |choice: &&str| {
        format!(r#"{{"id":"c","object":"chat.completion.chunk","choices":[{{"index":0,{choice}}}]}}"#)
    };
    let chunks: Vec<_> = choices.iter().map(chunk).chain([USAGE.to_owned()]).collect();
    stream(&chunks)
}

/// The one choice of the document that such a stream makes.
fn whole_choice(choices: &[&str]) -> Option<String> {
    let whole = to_whole(&CHAT, &told(choices))?;
    Some(written(&parse(&whole).get("choices").expect("choices").items()[0]))
}

#[test]
fn a_stream_of_the_api_makes_its_document() {
    let chunks = [
        r#"{"id":"chatcmpl-1","object":"chat.completion.chunk","created":17,"model":"gpt","service_tier":"default","system_fingerprint":"fp_1","choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}],"usage":null,"obfuscation":"a8"}"#,
        r#"{"id":"chatcmpl-1","object":"chat.completion.chunk","created":17,"model":"gpt","service_tier":"default","system_fingerprint":"fp_1","choices":[{"index":0,"delta":{"content":"Hé"},"logprobs":null,"finish_reason":null}],"usage":null,"obfuscation":"b"}"#,
        r#"{"id":"chatcmpl-1","object":"chat.completion.chunk","created":17,"model":"gpt","service_tier":"default","system_fingerprint":"fp_1","choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}],"usage":null,"obfuscation":"c"}"#,
        r#"{"id":"chatcmpl-1","object":"chat.completion.chunk","created":17,"model":"gpt","service_tier":"default","system_fingerprint":"fp_1","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3},"obfuscation":""}"#,
    ];
    let whole = r#"{"id":"chatcmpl-1","object":"chat.completion","created":17,"model":"gpt","service_tier":"default","system_fingerprint":"fp_1","choices":[{"index":0,"message":{"role":"assistant","content":"Hé","refusal":null},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}"#;
    assert_eq!(to_whole(&CHAT, &stream(&chunks)).as_deref(), Some(whole));

    // And that document makes that stream, its padding aside.
    let plain =
        chunks.map(|chunk| format!("{}}}", &chunk[..chunk.find(r#","obfuscation"#).expect("padded")]));
    let made = to_stream(&CHAT, whole, true).expect("a stream");
    assert_eq!(canonical_events(&made), canonical_events(&stream(&plain)));
    let without = to_stream(&CHAT, whole, false).expect("a stream");
    let fewer: Vec<_> = plain[..3].iter().map(|chunk| chunk.replace(r#","usage":null"#, "")).collect();
    assert_eq!(canonical_events(&without), canonical_events(&stream(&fewer)));
    // It is the same stream as with the usage taken out.
    assert_eq!(with_usage(&CHAT, &made, false), Some(without));
}

fn canonical_events(stream: &str) -> Vec<String> {
    stream
        .split_terminator("\n\n")
        .map(|event| event.strip_prefix("data: ").expect("data"))
        .map(|data| if data == "[DONE]" { data.to_owned() } else { canonical(data) })
        .collect()
}

#[test]
fn parallel_tool_calls_are_put_together() {
    let choice = whole_choice(&[
        r#""delta":{"role":"assistant","content":null},"finish_reason":null"#,
        r#""delta":{"tool_calls":[{"index":1,"id":"b","type":"function","function":{"name":"g","arguments":""}}]}"#,
        r#""delta":{"tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"f","arguments":"{\"x\""}},{"index":1,"id":"","function":{"name":null,"arguments":"{}"}}]}"#,
        r#""delta":{"tool_calls":[{"index":0,"function":{"name":"","arguments":":1}"}}]}"#,
        r#""delta":{"tool_calls":[{"index":2,"id":"c","type":"custom","custom":{"name":"h","input":"in"}}]}"#,
        r#""delta":{"tool_calls":[{"index":2,"custom":{"input":"put"}}]}"#,
        r#""delta":{},"finish_reason":"tool_calls""#,
    ]);
    assert_eq!(
        choice.as_deref(),
        Some(
            r#"{"index":0,"message":{"role":"assistant","content":null,"refusal":null,"tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{\"x\":1}"}},{"id":"b","type":"function","function":{"name":"g","arguments":"{}"}},{"id":"c","type":"custom","custom":{"name":"h","input":"input"}}]},"finish_reason":"tool_calls"}"#
        )
    );
}

#[test]
fn a_made_stream_tells_a_call_before_its_arguments() {
    let whole = r#"{"id":"c","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":null,"tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{}"}}]},"logprobs":null,"finish_reason":"tool_calls"}]}"#;
    let made = to_stream(&CHAT, whole, false).expect("a stream");
    let deltas: Vec<_> = made
        .lines()
        .filter_map(|line| line.strip_prefix("data: {"))
        .map(|data| written(parse(&format!("{{{data}")).get("choices").expect("choices")))
        .collect();
    assert_eq!(
        deltas,
        [
            r#"[{"index":0,"delta":{"role":"assistant","content":null},"logprobs":null,"finish_reason":null}]"#,
            r#"[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"f","arguments":""}}]},"logprobs":null,"finish_reason":null}]"#,
            r#"[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{}"}}]},"logprobs":null,"finish_reason":null}]"#,
            r#"[{"index":0,"delta":{},"logprobs":null,"finish_reason":"tool_calls"}]"#,
        ]
    );
    // The stream reports no usage.
    assert_eq!(to_stream(&CHAT, whole, true), None);
}

#[test]
fn sounds_reasoning_and_annotations_are_put_together() {
    let choice = whole_choice(&[
        r#""delta":{"role":"assistant","content":null,"reasoning_content":""}"#,
        r#""delta":{"reasoning_content":"Hm","audio":{"id":"s","data":"QUFB"},"annotations":[{"n":1}]}"#,
        r#""delta":{"reasoning_content":"m","content":null,"audio":{"data":"QQ==","transcript":"A"}}"#,
        r#""delta":{"audio":{"transcript":"a","expires_at":17},"annotations":[{"n":2}]}"#,
        r#""delta":{},"finish_reason":"stop""#,
    ]);
    assert_eq!(
        choice.as_deref(),
        Some(
            r#"{"index":0,"message":{"role":"assistant","content":null,"refusal":null,"reasoning_content":"Hmm","audio":{"id":"s","data":"QUFBQQ==","transcript":"Aa","expires_at":17},"annotations":[{"n":1},{"n":2}]},"finish_reason":"stop"}"#
        )
    );
}

#[test]
fn log_probabilities_keep_every_digit() {
    let choice = whole_choice(&[
        r#""delta":{"role":"assistant","content":""},"logprobs":{"content":[],"refusal":null},"finish_reason":null"#,
        r#""delta":{"content":"a"},"logprobs":{"content":[{"token":"a","logprob":-0.0000010000000000000000001}],"refusal":null}"#,
        r#""delta":{"content":"b"},"logprobs":{"content":[{"token":"b","logprob":-1.50}],"refusal":null}"#,
        r#""delta":{},"logprobs":null,"finish_reason":"stop""#,
    ]);
    assert_eq!(
        choice.as_deref(),
        Some(
            r#"{"index":0,"message":{"role":"assistant","content":"ab","refusal":null},"logprobs":{"content":[{"token":"a","logprob":-0.0000010000000000000000001},{"token":"b","logprob":-1.50}],"refusal":null},"finish_reason":"stop"}"#
        )
    );
}

#[test]
fn azures_first_chunk_is_part_of_the_answer() {
    let chunks = [
        r#"{"choices":[],"created":0,"id":"","model":"","object":"","prompt_filter_results":[{"prompt_index":0,"content_filter_results":{"hate":{"filtered":false}}}]}"#,
        r#"{"choices":[{"content_filter_results":{},"delta":{"content":"","refusal":null,"role":"assistant"},"finish_reason":null,"index":0,"logprobs":null}],"created":17,"id":"c","model":"m","object":"chat.completion.chunk"}"#,
        r#"{"choices":[{"content_filter_results":{"hate":{"filtered":false}},"delta":{"content":"a"},"finish_reason":null,"index":0,"logprobs":null}],"created":17,"id":"c","model":"m","object":"chat.completion.chunk"}"#,
        r#"{"choices":[{"content_filter_results":{"hate":{"filtered":false},"self_harm":{"filtered":false}},"delta":{"content":"b"},"finish_reason":"stop","index":0,"logprobs":null}],"created":17,"id":"c","model":"m","object":"chat.completion.chunk"}"#,
        r#"{"choices":[],"created":17,"id":"c","model":"m","object":"chat.completion.chunk","usage":{"total_tokens":3}}"#,
    ];
    let expected = r#"{"id":"c","created":17,"model":"m","object":"chat.completion","prompt_filter_results":[{"prompt_index":0,"content_filter_results":{"hate":{"filtered":false}}}],"choices":[{"content_filter_results":{"hate":{"filtered":false},"self_harm":{"filtered":false}},"message":{"content":"ab","refusal":null,"role":"assistant"},"finish_reason":"stop","index":0,"logprobs":null}],"usage":{"total_tokens":3}}"#;
    let whole = to_whole(&CHAT, &stream(&chunks)).expect("a document");
    assert_eq!(canonical(&whole), canonical(expected));
    // Another severity for another part of the text: what the whole's is, is Azure's to say.
    let differs = stream(&chunks).replacen(
        r#"{"hate":{"filtered":false}},"delta""#,
        r#"{"hate":{"filtered":true}},"delta""#,
        1,
    );
    assert_eq!(to_whole(&CHAT, &differs), None);
}

#[test]
fn what_cannot_be_carried_over_is_a_miss() {
    let finish = r#""delta":{"content":"a"},"finish_reason":"stop""#;
    assert!(whole_choice(&[finish]).is_some());
    for parts in [
        // Never finished.
        &[r#""delta":{"content":"a"},"finish_reason":null"#][..],
        // Two calls under one index, without an index, with two names.
        &[r#""delta":{"tool_calls":[{"index":0,"id":"a"},{"index":0,"id":"b"}]}"#, finish],
        &[r#""delta":{"tool_calls":[{"id":"a"}]}"#, finish],
        &[
            r#""delta":{"tool_calls":[{"index":0,"function":{"name":"f"}},{"index":0,"function":{"name":"g"}}]}"#,
            finish,
        ],
        // No text.
        &[r#""delta":{"content":[{"type":"text","text":"a"}]}"#, finish],
        &[r#""delta":{"content":"a"}"#, r#""delta":{"content":1},"finish_reason":"stop""#],
        // Unknown, and more than once.
        &[r#""delta":{"thoughts":"a"}"#, r#""delta":{"thoughts":"b"}"#, finish],
        &[r#""delta":{},"token_ids":[1]"#, r#""delta":{},"token_ids":[1]"#, finish],
        &[r#""delta":{},"logprobs":{"tokens":["a"]}"#, r#""delta":{},"logprobs":{"tokens":["b"]}"#, finish],
        // As it is so far, in the document's own words.
        &[r#""message":{"content":"a"},"delta":{"content":"a"},"finish_reason":"stop""#],
        // Sounds that would not be one.
        &[r#""delta":{"audio":{"id":"s","data":"QQ=="}}"#, r#""delta":{"audio":{"data":"QQ=="}}"#, finish],
        // Told again: may be all, or two.
        &[r#""delta":{"annotations":[{"a":1}]}"#, r#""delta":{"annotations":[{"a":1},{"a":2}]}"#, finish],
        &[r#""delta":{},"finish_reason":"length""#, finish],
    ] {
        assert_eq!(whole_choice(parts), None, "{parts:?}");
    }
    let good = told(&[finish]);
    for (from, to) in [
        (r#""usage":{"total_tokens":3}"#, r#""usage":null"#),
        (r#""id":"c","object":"chat.completion.chunk","choices":[]"#, r#""id":"d","choices":[]"#),
        (
            r#""object":"chat.completion.chunk","choices":[]"#,
            r#""object":"chat.completion.done","choices":[]"#,
        ),
        (r#""choices":[],"#, r#""choices":{},"#),
        (r#""choices":[],"usage":{"total_tokens":3}"#, r#""novel":true"#),
        (r#""choices":[],"#, r#""choices":[],"error":{"code":1},"#),
        ("data: [DONE]\n\n", "data: [DONE]\n\ndata: [DONE]\n\n"),
        ("data: [DONE]\n\n", "data: {\"choices\":[],\"usage\":{\"total_tokens\":4}}\n\ndata: [DONE]\n\n"),
        ("data: [DONE]\n\n", "event: ping\ndata: {\"choices\":[]}\n\ndata: [DONE]\n\n"),
        ("data: [DONE]\n\n", "data: {\"type\":\"ping\"}\n\ndata: [DONE]\n\n"),
        ("data: [DONE]\n\n", "data: \n\ndata: [DONE]\n\n"),
    ] {
        let stream = good.replacen(from, to, 1);
        assert_ne!(stream, good, "{from}");
        assert_eq!(to_whole(&CHAT, &stream), None, "{to}");
    }
}

#[test]
fn unknown_members_of_chunks_are_kept_where_that_is_certain() {
    let chunk = |own: &str| {
        format!(
            r#"{{"object":"chat.completion.chunk",{own}"choices":[{{"index":0,"delta":{{"content":"a"}},"finish_reason":"stop"}}]}}"#
        )
    };
    let kept = |first: &str, second: &str| {
        let usage = format!(r#"{{{second}"choices":[],"usage":{{}}}}"#);
        to_whole(&CHAT, &stream(&[chunk(first), chunk(first), usage])).map(|whole| whole.contains("\"own\":"))
    };
    assert_eq!(kept("", r#""own":["a"],"#), Some(true), "once");
    assert_eq!(kept(r#""own":["a"],"#, r#""own":["a"],"#), Some(true), "in every chunk");
    assert_eq!(kept(r#""own":["a"],"#, ""), None, "a list now and then");
    assert_eq!(kept(r#""own":"a","#, ""), Some(true), "a text now and then");
    assert_eq!(kept(r#""own":"a","#, r#""own":"b","#), None, "two texts");
    assert_eq!(kept(r#""own":null,"#, r#""own":{"b":1},"#), Some(true), "not known before");
    assert_eq!(kept("", ""), Some(false));
}

#[test]
fn a_document_that_no_stream_tells_is_a_miss() {
    let good = r#"{"object":"chat.completion","choices":[{"index":0,"message":{"content":"a"},"finish_reason":"stop"},{"index":1,"message":{"content":"a"},"finish_reason":"stop"}]}"#;
    assert!(to_stream(&CHAT, good, false).is_some());
    for (from, to) in [
        ("chat.completion", "other"),
        (r#""index":1"#, r#""index":0"#),
        (r#""index":1"#, r#""index":null"#),
        (r#""index":1,"#, ""),
        (r#""finish_reason":"stop"}]"#, r#""finish_reason":null}]"#),
        (r#""message":{"content":"a"}"#, r#""message":null"#),
        (r#"{"content":"a"}"#, r#"{"content":["a"]}"#),
        (r#"{"content":"a"}"#, r#"{"role":1}"#),
        (r#"{"content":"a"}"#, r#"{"tool_calls":[1]}"#),
        (r#"{"content":"a"}"#, r#"{"tool_calls":{}}"#),
        (r#"{"content":"a"}"#, r#"{"tool_calls":[{"index":1}]}"#),
        (r#"{"content":"a"}"#, r#"{"tool_calls":[{"function":{"arguments":{}}}]}"#),
        (r#"{"content":"a"}"#, r#"{"function_call":{"arguments":1}}"#),
        (r#"{"content":"a"}"#, r#"{"audio":{"data":1}}"#),
        (r#"{"content":"a"}"#, r#"{"annotations":"a"}"#),
        (r#""index":1,"#, r#""index":1,"delta":{},"#),
        (r#""index":1,"#, r#""index":1,"logprobs":{"content":1},"#),
        (r#""index":1,"#, r#""index":1,"content_filter_results":1,"#),
        (r#""choices""#, r#""obfuscation":"a","choices""#),
        (r#""choices""#, r#""error":"a","choices""#),
        (r#""choices""#, r#""usage":1,"choices""#),
    ] {
        let whole = good.replacen(from, to, 1);
        assert_ne!(whole, good, "{from}");
        assert_eq!(to_stream(&CHAT, &whole, false), None, "{whole}");
    }
    assert_eq!(to_stream(&CHAT, r#"{"choices":[]}"#, false), None);
    assert_eq!(to_stream(&CHAT, "[]", false), None);
}

#[test]
fn usage_is_taken_out_and_nothing_else() {
    let stream = concat!(
        "data: {\"usage\" : null , \"id\":\"c\",\"choices\":[ {} ]}\n\n",
        "event: message\ndata: {\"id\":\"c\", \"usage\":null,\"choices\": [{\"a\":1.50}], \"x\":\"\\u0041\"}\n\n",
        "data: {\"id\":\"c\",\ndata: \"choices\":[{}], \"usage\": {\"n\":1}}\n\n",
        "data: {\"id\":\"c\",\"choices\":[],\"usage\":{\"n\":1},\"obfuscation\":\"a\"}\n\n",
        "data: [DONE]\n\n"
    );
    let without = concat!(
        "data: { \"id\":\"c\",\"choices\":[ {} ]}\n\n",
        "event: message\ndata: {\"id\":\"c\",\"choices\": [{\"a\":1.50}], \"x\":\"\\u0041\"}\n\n",
        "data: {\"id\":\"c\",\ndata: \"choices\":[{}]}\n\n",
        "data: [DONE]\n\n"
    );
    assert_eq!(with_usage(&CHAT, stream, false).as_deref(), Some(without));
    assert_eq!(with_usage(&CHAT, stream, true).as_deref(), Some(stream));
    assert_eq!(with_usage(&CHAT, without, false).as_deref(), Some(without));
    assert_eq!(with_usage(&CHAT, without, true), None, "never told");
    assert_eq!(with_usage(&CHAT, &stream.replace("data: [DONE]\n\n", ""), true), None, "not complete");
    // The chunk with the usage says more.
    assert_eq!(with_usage(&CHAT, &stream.replace("obfuscation", "citations"), false), None);
}

/// Conversions take a time that grows with the answer, whatever an upstream sends.
#[test]
fn large_answers_take_no_long_time() {
    let start = std::time::Instant::now();
    let part = |place: usize| {
        format!(
            r#""delta":{{"content":"word {place}","tool_calls":[{{"index":{},"function":{{"arguments":"x"}}}}]}}"#,
            place % 100
        )
    };
    let mut parts: Vec<_> = (0..5_000).map(part).collect();
    parts.push(r#""delta":{},"finish_reason":"stop""#.to_owned());
    let large = told(&parts.iter().map(String::as_str).collect::<Vec<_>>());
    let whole = to_whole(&CHAT, &large).expect("a document");
    assert!(to_stream(&CHAT, &whole, true).is_some());
    assert!(with_usage(&CHAT, &large, false).is_some());
    let many = |item: &dyn Fn(usize) -> String| (0..100_000).map(item).collect::<Vec<_>>().join(",");
    for chunk in [
        format!(r#"{{"choices":[{}]}}"#, many(&|place| format!(r#"{{"index":{place}}}"#))),
        format!(r#"{{"choices":[],{}}}"#, many(&|place| format!(r#""{place}":[]"#))),
        format!(r#"{{"choices":[{{"index":0,"delta":{{{}}}}}]}}"#, many(&|place| format!(r#""{place}":[]"#))),
        format!(
            r#"{{"choices":[{{"index":0,"delta":{{"annotations":[{}]}}}}]}}"#,
            many(&|place| place.to_string())
        ),
    ] {
        let stream = stream(&[chunk.as_str(), &chunk.replace("{\"ch", "{\"usage\":{},\"ch"), USAGE]);
        assert_eq!(to_whole(&CHAT, &stream), None);
        with_usage(&CHAT, &stream, false);
    }
    // Minutes, were each part compared with each.
    assert!(start.elapsed() < std::time::Duration::from_secs(20), "{:?}", start.elapsed());
}

/// As llama.cpp has it, and those who put themselves before it: the times beside the usage, or, where that
/// was not asked for, in the chunk with the reason to end.
#[test]
fn timings_are_told_at_the_end_of_both_forms() {
    let chunk = |rest: &str| format!(r#"{{"object":"chat.completion.chunk","id":"c",{rest}}}"#);
    let text = chunk(r#""choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]"#);
    let end = |more: &str| {
        chunk(&format!(r#""choices":[{{"index":0,"delta":{{}},"finish_reason":"stop"}}]{more}"#))
    };
    let usage =
        |choices: &str| chunk(&format!(r#"{choices}"usage":{{"total_tokens":3}},"timings":{{"ms":1.50}}"#));
    for choices in [r#""choices":[],"#, r#""choices":null,"#, ""] {
        let told = stream(&[text.clone(), end(""), usage(choices)]);
        let whole = to_whole(&CHAT, &told).expect("a document");
        assert!(whole.ends_with(r#""usage":{"total_tokens":3},"timings":{"ms":1.50}}"#), "{whole}");
        let without = with_usage(&CHAT, &told, false).expect("a stream");
        let timed = end(r#","timings":{"ms":1.50}"#);
        assert_eq!(without, stream(&[text.clone(), timed.clone()]));
        let made = to_stream(&CHAT, &whole, false).expect("a stream");
        let last = format!("data: {timed}\n\n");
        assert_eq!(
            canonical(events_of(&made).last().expect("a chunk")),
            canonical(events_of(&last).last().expect("one"))
        );
        let made = to_stream(&CHAT, &whole, true).expect("a stream");
        assert!(
            events_of(&made)
                .last()
                .expect("a chunk")
                .contains(r#""choices":[],"usage":{"total_tokens":3},"timings""#)
        );
    }
    // Told with each chunk, they grow.
    let growing =
        [text.replace("}]}", r#"}],"timings":{"ms":1}}"#), end(r#","timings":{"ms":2}"#), usage("")];
    assert!(
        to_whole(&CHAT, &stream(&growing)).is_some_and(|whole| whole.contains(r#""timings":{"ms":1.50}"#))
    );
    let without = with_usage(&CHAT, &stream(&growing), false).expect("a stream");
    assert!(
        without.contains(r#""timings":{"ms":1}"#) && without.contains(r#""timings":{"ms":1.50}"#),
        "{without}"
    );
    assert!(!without.contains(r#""ms":2"#), "{without}");
}

/// The data of a stream's chunks.
fn events_of(stream: &str) -> Vec<&str> {
    stream.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]").collect()
}

#[test]
fn a_stream_without_its_last_event_is_complete_once_all_choices_are() {
    let choice = |index: u8, finish: &str| {
        format!(
            r#"{{"id":"c","choices":[{{"index":{index},"delta":{{"content":"a"}},"finish_reason":{finish}}}]}}"#
        )
    };
    let told =
        |chunks: &[String]| stream(&[chunks, &[USAGE.to_owned()]].concat()).replace("data: [DONE]\n\n", "");
    for (chunks, is_complete) in [
        (&[choice(0, r#""stop""#)][..], true),
        (&[choice(0, "null")], false),
        (&[choice(0, r#""""#)], false),
        (&[choice(0, r#""stop""#), choice(1, "null")], false),
        (&[choice(1, "null"), choice(0, r#""stop""#), choice(1, r#""stop""#)], true),
        (&[], false),
    ] {
        let told = told(chunks);
        assert_eq!(to_whole(&CHAT, &told).is_some(), is_complete, "{told}");
        let without = with_usage(&CHAT, &told, false);
        assert_eq!(without.is_some_and(|made| made.ends_with("data: [DONE]\n\n")), is_complete, "{told}");
    }
}

/// A framework's document has both names of the message, and so have its chunks.
#[test]
fn the_other_name_of_a_message_may_be_null() {
    let whole = r#"{"object":"chat.completion","choices":[{"index":0,"delta":null,"message":{"role":"assistant","content":"a","tool_calls":null},"logprobs":null,"finish_reason":"stop"}],"usage":null,"system_fingerprint":null}"#;
    let made = to_stream(&CHAT, whole, false).expect("a stream");
    assert!(!made.contains(r#""delta":null"#), "{made}");
    assert_eq!(to_stream(&CHAT, whole, true), None, "there was no usage to tell");
    let choice = whole_choice(&[
        r#""delta":{"content":"a"},"message":null"#,
        r#""delta":null,"message":null,"finish_reason":"stop""#,
    ]);
    assert_eq!(
        choice.as_deref(),
        Some(
            r#"{"index":0,"message":{"role":"assistant","content":"a","refusal":null},"finish_reason":"stop"}"#
        )
    );
}

use std::collections::VecDeque;

use fastrand::Rng;
use proptest::prelude::*;

use super::OpenAiCompletions;
use crate::{
    dialect::{
        openai::testing::{accumulate, any_whole, stream, tell},
        testing::{
            add_nulls, any_number, any_text, any_tokens, any_value, broken, canonical, convert_all,
            items_mut, long_text, longest_told, maybe, object, one_member, or_null, parse, pieces, said,
            to_stream, to_whole, with_usage, written,
        },
    },
    http::sse,
    json::Json,
};

const COMPLETIONS: OpenAiCompletions = OpenAiCompletions;

#[test]
fn a_stream_of_the_api_makes_its_document() {
    let chunks = [
        r#"{"id":"cmpl-1","object":"text_completion","created":17,"model":"m","choices":[{"text":" a","index":0,"logprobs":{"tokens":[" a"],"token_logprobs":[-0.10],"top_logprobs":null,"text_offset":[5]},"finish_reason":null}],"usage":null}"#,
        r#"{"id":"cmpl-1","object":"text_completion","created":17,"model":"m","choices":[{"text":" b","index":0,"logprobs":{"tokens":[" b"],"token_logprobs":[-0.2],"top_logprobs":null,"text_offset":[7]},"finish_reason":null}],"usage":null}"#,
        r#"{"id":"cmpl-1","object":"text_completion","created":17,"model":"m","choices":[{"text":"","index":0,"logprobs":null,"finish_reason":"stop"}],"usage":null}"#,
        r#"{"id":"cmpl-1","object":"text_completion","created":17,"model":"m","choices":[],"usage":{"total_tokens":3}}"#,
    ];
    let whole = r#"{"id":"cmpl-1","object":"text_completion","created":17,"model":"m","choices":[{"text":" a b","index":0,"logprobs":{"tokens":[" a"," b"],"token_logprobs":[-0.10,-0.2],"top_logprobs":null,"text_offset":[5,7]},"finish_reason":"stop"}],"usage":{"total_tokens":3}}"#;
    assert_eq!(to_whole(&COMPLETIONS, &stream(&chunks)).as_deref(), Some(whole));
    let made = to_stream(&COMPLETIONS, whole, true).expect("a stream");
    assert_eq!(made.matches("data: ").count(), 5);
    assert_eq!(made.matches(r#""usage":null"#).count(), 3);
    assert_eq!(accumulate(&made), accumulate(&stream(&chunks)));
    assert_eq!(with_usage(&COMPLETIONS, &made, false), to_stream(&COMPLETIONS, whole, false));
    // Lists that do not go together.
    let uneven = stream(&chunks).replacen(r#""token_logprobs":[-0.2]"#, r#""token_logprobs":null"#, 1);
    assert_eq!(to_whole(&COMPLETIONS, &uneven), None);
}

#[test]
fn what_cannot_be_carried_over_is_a_miss() {
    let good = stream(&[
        r#"{"object":"text_completion","choices":[{"text":"a","index":0,"finish_reason":null}]}"#,
        r#"{"object":"text_completion","choices":[{"text":"b","index":0,"finish_reason":"stop"}],"usage":{}}"#,
    ]);
    assert!(to_whole(&COMPLETIONS, &good).is_some());
    for (from, to) in [
        (r#""stop""#, "null"),
        (r#","usage":{}"#, ""),
        ("text_completion", "other"),
        (r#""text":"a","#, r#""text":1,"#),
        (r#""index":0,"finish_reason":null"#, r#""finish_reason":null"#),
    ] {
        let stream = good.replacen(from, to, 1);
        assert_ne!(stream, good, "{from}");
        assert_eq!(to_whole(&COMPLETIONS, &stream), None, "{to}");
    }
    for whole in [
        r#"{"choices":[]}"#,
        r#"{"choices":[{"index":0,"finish_reason":"stop"}]}"#,
        r#"{"choices":[{"index":0,"text":["a"],"finish_reason":"stop"}]}"#,
        r#"{"choices":[{"index":0,"text":"a","finish_reason":null}]}"#,
        r#"{"choices":[{"index":0,"text":"a","finish_reason":"stop","logprobs":{"tokens":1}}]}"#,
    ] {
        assert_eq!(to_stream(&COMPLETIONS, whole, false), None, "{whole}");
    }
}

fn choice() -> impl Strategy<Value = String> {
    let tokens = proptest::collection::vec((any_text(), any_number()), 0..5);
    let logprobs = (tokens, any::<bool>()).prop_map(|(tokens, top)| {
        let names: Vec<_> = tokens.iter().map(|(token, _)| token.as_str()).collect();
        let numbers: Vec<_> = tokens.iter().map(|(_, number)| number.as_str()).collect();
        let tops: Vec<_> = numbers.iter().map(|number| format!("{{\"a\":{number}}}")).collect();
        let top = if top { format!("[{}]", tops.join(",")) } else { "null".to_owned() };
        format!(
            r#"{{"tokens":[{}],"token_logprobs":[{}],"top_logprobs":{top},"text_offset":[{}]}}"#,
            names.join(","),
            numbers.join(","),
            vec!["1"; numbers.len()].join(",")
        )
    });
    (any_text(), maybe("logprobs", or_null(logprobs)), any_value()).prop_map(|(text, logprobs, reason)| {
        let last = format!(r#""finish_reason":"stop","stop_reason":{reason}"#);
        object([Some(format!("\"text\":{text}")), logprobs, Some(last)])
    })
}

fn any_completion() -> impl Strategy<Value = String> {
    any_whole("text_completion", choice())
}

fn parts(choice: &Json<'_>, rng: &mut Rng) -> VecDeque<String> {
    let index = written(choice.get("index").expect("index"));
    let texts = pieces(choice.get("text").and_then(Json::as_str).expect("text"), rng);
    let mut parts: VecDeque<_> = texts
        .iter()
        .map(|text| format!(r#"{{"index":{index},"text":{text},"finish_reason":null}}"#))
        .collect();
    match choice.get("logprobs") {
        Some(logprobs @ Json::Object(_)) => {
            let count = logprobs.get("tokens").expect("tokens").items().len();
            // Token by token, or, where there is none, all of nothing.
            for place in (0..count).map(Some).chain((count == 0).then_some(None)) {
                let lists: Vec<_> = logprobs
                    .members()
                    .iter()
                    .map(|list| match &list.value {
                        Json::Array(items) => {
                            let item = place.map(|place| written(&items[place])).unwrap_or_default();
                            format!("\"{}\":[{item}]", list.name)
                        }
                        _ => one_member(list),
                    })
                    .collect();
                parts.push_back(format!(r#"{{"index":{index},"logprobs":{{{}}}}}"#, lists.join(",")));
            }
        }
        Some(_) => parts.push_back(format!(r#"{{"index":{index},"logprobs":null}}"#)),
        None => {}
    }
    let others =
        choice.members().iter().filter(|member| !matches!(&*member.name, "index" | "text" | "logprobs"));
    let others: Vec<_> = others.map(one_member).collect();
    parts.push_back(format!(r#"{{"index":{index},"text":"",{}}}"#, others.join(",")));
    parts
}

fn in_pieces(whole: &str, rng: &mut Rng) -> String {
    let whole = parse(whole);
    let choices = whole.get("choices").expect("choices").items();
    let parts = choices.iter().map(|choice| parts(choice, rng)).collect();
    stream(&tell(&whole, "text_completion", parts, rng))
}

/// A choice with a long text, and the log-probabilities of its tokens, or of others, in both ways there are.
fn long_choice() -> impl Strategy<Value = String> {
    (long_text(), long_text(), 0..3_u8, any::<u64>()).prop_map(|(text, other, how, seed)| {
        let tokens = parse(if how == 0 { &other } else { &text }).as_str().expect("a text").to_owned();
        let tokens = any_tokens(&tokens, &mut Rng::with_seed(seed));
        let tokens: Vec<_> = tokens.iter().map(|token| written(&Json::text(token.as_str()))).collect();
        let list = |item: &dyn Fn(&String) -> String| tokens.iter().map(item).collect::<Vec<_>>().join(",");
        let logprobs = match how {
            2 => format!(
                r#"{{"content":[{}]}}"#,
                list(&|token| format!(r#"{{"token":{token},"logprob":-1.50}}"#))
            ),
            _ => format!(
                r#"{{"tokens":[{}],"token_logprobs":[{}],"top_logprobs":null,"text_offset":[{}]}}"#,
                list(&String::clone),
                list(&|_| "-0.10".to_owned()),
                list(&|_| "1".to_owned())
            ),
        };
        format!(r#"{{"text":{text},"logprobs":{logprobs},"finish_reason":"stop"}}"#)
    })
}

const OF_ANSWERS: [&str; 5] = ["object", "timings", "error", "obfuscation", "zz-new"];
const OF_CHOICES: [&str; 3] = ["logprobs", "content_filter_results", "zz-new"];

fn with_nulls(text: &str, rng: &mut Rng) -> String {
    let mut json = parse(text);
    add_nulls(&mut json, &OF_ANSWERS, rng);
    items_mut(&mut json, "choices").iter_mut().for_each(|choice| add_nulls(choice, &OF_CHOICES, rng));
    written(&json)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn long_texts_are_told_in_pieces(whole in any_whole("text_completion", long_choice())) {
        let made = to_stream(&COMPLETIONS, &whole, true).expect("a stream");
        let events = sse::decode(made.as_bytes());
        prop_assert!(longest_told(&events) <= 4096, "{}", longest_told(&events));
        prop_assert_eq!(canonical(&to_whole(&COMPLETIONS, &made).expect("a document")), canonical(&whole));
    }
}

#[test]
fn log_probabilities_go_with_their_tokens() {
    let choice = |logprobs: &str| {
        format!(r#"{{"choices":[{{"index":0,"text":"ab","logprobs":{logprobs},"finish_reason":"stop"}}]}}"#)
    };
    for (logprobs, first, second) in [
        (
            r#"{"tokens":["a","b"],"token_logprobs":[null,-2.0],"top_logprobs":null,"text_offset":[5,6],"own":1}"#,
            r#"{"tokens":["a"],"token_logprobs":[null],"top_logprobs":null,"text_offset":[5],"own":1}"#,
            r#"{"tokens":["b"],"token_logprobs":[-2.0],"top_logprobs":null,"text_offset":[6]}"#,
        ),
        (
            r#"{"content":[{"token":"a"},{"token":"b"}]}"#,
            r#"{"content":[{"token":"a"}]}"#,
            r#"{"content":[{"token":"b"}]}"#,
        ),
    ] {
        let made = to_stream(&COMPLETIONS, &choice(logprobs), false).expect("a stream");
        assert!(made.contains(&format!(r#""text":"a","logprobs":{first}"#)), "{made}");
        assert!(made.contains(&format!(r#""text":"b","logprobs":{second}"#)), "{made}");
    }
    // Lists that do not go together, and tokens that are not the text, stay as they are.
    for logprobs in
        [r#"{"tokens":["a","b"],"token_logprobs":[1]}"#, r#"{"tokens":["b","a"],"top_logprobs":[1,2]}"#]
    {
        let made = to_stream(&COMPLETIONS, &choice(logprobs), false).expect("a stream");
        assert!(made.contains(&format!(r#""text":"ab","logprobs":{logprobs}"#)), "{made}");
    }
}

proptest! {
    #[test]
    fn document_to_stream_to_document(whole in any_completion()) {
        let made = to_stream(&COMPLETIONS, &whole, true).expect("a stream");
        let back = to_whole(&COMPLETIONS, &made).expect("a document");
        prop_assert_eq!(canonical(&back), canonical(&whole));
    }

    #[test]
    fn stream_to_document_to_stream(whole in any_completion(), seed: u64) {
        let pieces = in_pieces(&whole, &mut Rng::with_seed(seed));
        let made = to_whole(&COMPLETIONS, &pieces).expect("a document");
        prop_assert_eq!(canonical(&made), canonical(&whole), "{}", pieces);
        let again = to_stream(&COMPLETIONS, &made, true).expect("a stream");
        prop_assert_eq!(accumulate(&again), accumulate(&pieces));
    }

    #[test]
    fn null_loses_nothing(whole in any_completion(), seed: u64) {
        let mut rng = Rng::with_seed(seed);
        let made = to_stream(&COMPLETIONS, &with_nulls(&whole, &mut rng), true).expect("a stream");
        prop_assert_eq!(said(&to_whole(&COMPLETIONS, &made).expect("a document")), said(&whole), "{}", made);
        let events = sse::decode(in_pieces(&whole, &mut rng).as_bytes());
        let (_, chunks) = events.split_last().expect("an end");
        let chunks: Vec<_> = chunks.iter().map(|chunk| with_nulls(&chunk.data, &mut rng)).collect();
        let pieces = stream(&chunks).replace("data: [DONE]\n\n", "");
        prop_assert_eq!(said(&to_whole(&COMPLETIONS, &pieces).expect("a document")), said(&whole), "{}", pieces);
        prop_assert!(with_usage(&COMPLETIONS, &pieces, false).is_some_and(|made| made.ends_with("data: [DONE]\n\n")));
    }

    #[test]
    fn no_input_panics(
        bytes in proptest::collection::vec(any::<u8>(), 0..100),
        whole in any_completion(),
        seed: u64
    ) {
        let mut rng = Rng::with_seed(seed);
        convert_all(&COMPLETIONS, &bytes);
        convert_all(&COMPLETIONS, broken(&whole, &mut rng).as_bytes());
        convert_all(&COMPLETIONS, broken(&in_pieces(&whole, &mut rng), &mut rng).as_bytes());
    }
}

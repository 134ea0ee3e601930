//! Answers end well with a word that is known to be good, and are complete as the request asked for them.

use proptest::prelude::*;
use serde_json::json;

use super::*;

#[test]
fn good_ends_are_stored_and_others_are_not() {
    for dialect in WITH_ENDS {
        for form in BOTH {
            let ends = |end: Value, limit| {
                verdict(dialect, &request(dialect, limit, false), &answer(dialect, form, "text", end))
            };
            let what = format!("{dialect:?} {form:?}");
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
                let expected = match dialect {
                    Dialect::Gemini if ["SAFETY", "RECITATION", "blocklist"].contains(&unknown) => {
                        Reason::Filtered
                    }
                    // It goes on, as it does where the end is null.
                    Dialect::Gemini if unknown.is_empty() => unended(form),
                    _ => Reason::UnknownEnd,
                };
                assert_eq!(ends(json!(unknown), true), Err(expected), "{what} {unknown}");
            }
            assert!(
                ends(json!("error"), true).is_err() && ends(json!(null), true).is_err()
                    || dialect != Dialect::OpenAiChat,
                "{what}"
            );
        }
    }
}

/// Why Gemini's answer without an end is not stored.
fn unended(form: AnswerForm) -> Reason {
    match form {
        AnswerForm::Document => Reason::Invalid,
        AnswerForm::Stream => Reason::NoProperEnd,
    }
}

/// The words of the documentation, but for those in the tables above.
#[test]
fn geminis_ends_are_what_its_documentation_says() {
    let dialect = Dialect::Gemini;
    for (word, limit, expected) in [
        ("STOP", false, Ok(())),
        ("MAX_TOKENS", true, Ok(())),
        ("MAX_TOKENS", false, Err(Reason::Length)),
        ("CONTINUATION", true, Err(Reason::Length)),
        ("LANGUAGE", true, Err(Reason::Filtered)),
        ("PROHIBITED_CONTENT", true, Err(Reason::Filtered)),
        ("SPII", true, Err(Reason::Filtered)),
        ("IMAGE_SAFETY", true, Err(Reason::Filtered)),
        ("IMAGE_RECITATION", true, Err(Reason::Filtered)),
        ("IMAGE_PROHIBITED_CONTENT", true, Err(Reason::Filtered)),
        ("MODEL_ARMOR", true, Err(Reason::Filtered)),
        ("OTHER", true, Err(Reason::UnknownEnd)),
        ("MALFORMED_FUNCTION_CALL", true, Err(Reason::UnknownEnd)),
        ("UNEXPECTED_TOOL_CALL", true, Err(Reason::UnknownEnd)),
        ("TOO_MANY_TOOL_CALLS", true, Err(Reason::UnknownEnd)),
        ("MISSING_THOUGHT_SIGNATURE", true, Err(Reason::UnknownEnd)),
        ("MALFORMED_RESPONSE", true, Err(Reason::UnknownEnd)),
        ("NO_IMAGE", true, Err(Reason::UnknownEnd)),
        ("IMAGE_OTHER", true, Err(Reason::UnknownEnd)),
    ] {
        for form in BOTH {
            let reply = answer(dialect, form, "text", json!(word));
            assert_eq!(
                verdict(dialect, &request(dialect, limit, false), &reply),
                expected,
                "{form:?} {word}"
            );
        }
    }
    for form in BOTH {
        for word in [Value::Null, json!(""), json!("FINISH_REASON_UNSPECIFIED")] {
            let reply = answer(dialect, form, "text", word);
            assert_eq!(verdict(dialect, &request(dialect, true, false), &reply), Err(unended(form)));
        }
    }
}

#[test]
fn a_limit_is_a_good_end_where_the_request_sets_it() {
    for (dialect, word) in [
        (Dialect::OpenAiChat, "length"),
        (Dialect::OpenAiChat, "MAX_TOKENS"),
        (Dialect::OpenAiCompletions, "length"),
        (Dialect::CohereChat, "MAX_TOKENS"),
        (Dialect::OllamaChat, "length"),
        (Dialect::OllamaGenerate, "length"),
        (Dialect::Gemini, "MAX_TOKENS"),
    ] {
        for form in BOTH {
            let reply = answer(dialect, form, "text", json!(word));
            assert_eq!(
                verdict(dialect, &request(dialect, true, false), &reply),
                Ok(()),
                "{dialect:?} {word}"
            );
            let without = verdict(dialect, &request(dialect, false, false), &reply);
            assert_eq!(without, Err(Reason::Length), "{dialect:?} {word}");
        }
    }
    let reply = answer(Dialect::OpenAiChat, AnswerForm::Document, "text", json!("model_length"));
    assert_eq!(
        verdict(Dialect::OpenAiChat, &request(Dialect::OpenAiChat, true, false), &reply),
        Err(Reason::Length)
    );
}

#[test]
fn a_route_names_further_good_ends() {
    let route = Route { good_ends: vec!["fertig".to_owned()], ..route() };
    for dialect in WITH_ENDS.into_iter().filter(|dialect| *dialect != Dialect::OpenAiResponses) {
        for form in BOTH {
            let reply = answer(dialect, form, "text", json!("Fertig"));
            let judged = judge(dialect, &route, &request(dialect, false, false), &reply);
            assert_eq!((judged.verdict, judged.end), (Ok(()), None), "{dialect:?}");
            let other = answer(dialect, form, "text", json!("abort"));
            let judged = judge(dialect, &route, &request(dialect, false, false), &other);
            assert_eq!(judged.end.as_deref(), Some("abort"), "the log has the word: {dialect:?}");
        }
    }
}

proptest! {
    /// Every end that is not on the list is a miss.
    #[test]
    fn no_other_word_is_a_good_end(word in "[a-z_]{1,12}", which in 0..WITH_ENDS.len(), stream: bool) {
        const GOOD: [&str; 17] = [
            "stop", "tool_call", "tool_calls", "function_call", "eos", "eos_token", "stop_sequence", "end_turn", "tool_use",
            "endoftext", "complete", "completed", "length", "max_tokens", "model_length", "content_filter", "error",
        ];
        const BAD: [&str; 10] = [
            "refusal", "incomplete", "failed", "pause_turn", "safety", "recitation", "language", "blocklist", "spii",
            "escalation",
        ];
        prop_assume!(![&GOOD[..], &BAD].concat().contains(&&*word));
        let dialect = WITH_ENDS[which];
        let form = if stream { AnswerForm::Stream } else { AnswerForm::Document };
        let reply = answer(dialect, form, "text", json!(word));
        prop_assert_eq!(verdict(dialect, &request(dialect, true, false), &reply), Err(Reason::UnknownEnd));
    }

    /// Wherever JSON is asked for, JSON that is cut is no answer.
    #[test]
    fn json_that_is_cut_is_not_what_was_asked_for(which in 0..WITH_ENDS.len(), stream: bool, cut in 1..33_usize) {
        let dialect = WITH_ENDS[which];
        let form = if stream { AnswerForm::Stream } else { AnswerForm::Document };
        let whole = r#"{"city": "Paris", "people": [2]} "#;
        let judged = |text: &str, wants_json| {
            let reply = answer(dialect, form, text, json!(good_end(dialect)));
            verdict(dialect, &request(dialect, false, wants_json), &reply)
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
    let reply = |dialect| answer(dialect, AnswerForm::Document, "no JSON", json!(good_end(dialect)));
    for (dialect, name, value) in [
        (Dialect::OpenAiChat, "response_format", json!({"type": "json_schema", "json_schema": {}})),
        (Dialect::OpenAiChat, "guided_json", json!({"type": "object"})),
        (Dialect::OpenAiChat, "json_schema", json!({"type": "object"})),
        (Dialect::OpenAiCompletions, "response_format", json!({"type": "json_object"})),
        (Dialect::OpenAiResponses, "text", json!({"format": {"type": "json_object"}})),
        (Dialect::Anthropic, "output_config", json!({"format": {"type": "json_schema", "schema": {}}})),
        (Dialect::CohereChat, "response_format", json!({"type": "json_object", "json_schema": {}})),
        (Dialect::OllamaChat, "format", json!({"type": "object"})),
        (Dialect::OllamaGenerate, "format", json!("json")),
        (Dialect::Gemini, "generationConfig", json!({"responseMimeType": "application/json"})),
        (Dialect::Gemini, "generation_config", json!({"response_mime_type": "application/json"})),
    ] {
        let mut asked = request(dialect, false, false);
        asked[name] = value;
        assert_eq!(verdict(dialect, &asked, &reply(dialect)), Err(Reason::NotAsAsked), "{dialect:?} {asked}");
    }
    for (dialect, name, value) in [
        (Dialect::OpenAiChat, "response_format", json!({"type": "text"})),
        (Dialect::OpenAiResponses, "text", json!({"format": {"type": "text"}})),
        (Dialect::OllamaChat, "format", json!("")),
        (Dialect::Gemini, "generationConfig", json!({"responseMimeType": "text/x.enum"})),
    ] {
        let mut asked = request(dialect, false, false);
        asked[name] = value;
        assert_eq!(verdict(dialect, &asked, &reply(dialect)), Ok(()), "{dialect:?} {asked}");
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
        for reply in [
            Reply::document(&top),
            Reply::document(&choice),
            Reply::chunks(&[top, json!("[DONE]")]),
            Reply::chunks(&[choice, json!("[DONE]")]),
        ] {
            assert_eq!(verdict(Dialect::Rag, &asked, &reply), expected, "{}", reply.body);
        }
    }
}

/// A stream without `[DONE]` is whole where all its choices have ended: then the end of the body counts.
#[test]
fn a_stream_whose_choices_have_ended_is_whole() {
    for dialect in [Dialect::OpenAiChat, Dialect::OpenAiCompletions] {
        let whole = answer(dialect, AnswerForm::Stream, "text", json!("stop"));
        let reply = Reply { body: whole.body.replace("data: [DONE]\n\n", ""), ..whole.clone() };
        let asked = request(dialect, false, false);
        let judged = judge(dialect, &route(), &asked, &reply);
        assert_eq!((judged.verdict, judged.end_seen), (Ok(()), false), "{dialect:?}");
        assert!(judge(dialect, &route(), &asked, &whole).end_seen);
        let mut two = asked.clone();
        two["n"] = json!(2);
        assert_eq!(verdict(dialect, &two, &reply), Err(Reason::NoProperEnd), "one of two: {dialect:?}");
        let cut = Reply { body: reply.body.split_inclusive("\n\n").take(1).collect(), ..reply };
        assert_eq!(verdict(dialect, &asked, &cut), Err(Reason::NoProperEnd), "{dialect:?}");
    }
}

//! Failures that services report with status 200, in a document or as an event, are not stored.

use serde_json::json;

use super::*;

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
        let reply = Reply { media: "application/json", body: failure.to_owned() };
        let judged = verdict(Dialect::Rag, &asked, &reply);
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
        let reply = Reply { media: "application/json", body: answer.to_owned() };
        assert_eq!(verdict(Dialect::Rag, &asked, &reply), Ok(()), "{answer}");
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
        let reply = Reply { media: "application/json", body: body.to_owned() };
        assert_eq!(verdict(Dialect::Json, &json!({}), &reply), expected, "{body}");
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
        let reply = Reply { media: "application/json", body: body.to_owned() };
        assert_eq!(verdict(Dialect::None, &json!({}), &reply), expected, "{body}");
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
        let whole = answer(dialect, AnswerForm::Stream, "text", json!(good_end(dialect)));
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
                let reply = Reply { body: with.concat(), ..whole.clone() };
                let judged = verdict(dialect, &request(dialect, false, false), &reply);
                assert_eq!(judged, Err(Reason::ErrorEvent), "{dialect:?} {}", reply.body);
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
        verdict(Dialect::Rag, &json!({"query": "q"}), &Reply { media: "text/event-stream", body })
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

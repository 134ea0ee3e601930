//! Answers that are not stored for their head, their size, their end or their content.

use super::*;

#[test]
fn answers_with_an_uncacheable_head_are_not_stored() {
    run(async {
        let ok = |headers: &[(&str, &str)]| Script::whole(200, headers, "text");
        assert_not_stored(vec![
            Case::new("status", CHAT, chat(), Script::json_with(201, &[], &chat_answer())),
            Case::new("status", CHAT, chat(), Script::json_with(404, &[], &json!({"detail": "no"}))),
            Case::new("status", CHAT, chat(), Script::json_with(500, &[], &json!({"detail": "no"}))),
            Case::new("status", CHAT, chat(), Script::json_with(429, &[("retry-after", "1")], &json!({}))),
            Case::new("status", DOCUMENT, "", Script::whole(204, &[], "")),
            Case::new("encoded", CHAT, chat(), chat_with(&[("content-encoding", "gzip")])),
            Case::new("no-store", CHAT, chat(), chat_with(&[("cache-control", "max-age=60, No-Store")])),
            Case::new("private", CHAT, chat(), chat_with(&[("cache-control", "private")])),
            Case::new("no-cache", DOCUMENT, "", ok(&[("cache-control", "no-cache")])),
            Case::new("set-cookie", DOCUMENT, "", ok(&[("set-cookie", "a=b")])),
            Case::new(
                "set-cookie",
                "/skip",
                query(),
                Script::json_with(200, &[("set-cookie", "a=b")], &query_answer()),
            ),
            Case::new("vary", CHAT, chat(), chat_with(&[("vary", "*")])),
            Case::new("vary", CHAT, chat(), chat_with(&[("vary", "Accept-Encoding, User-Agent")])),
        ])
        .await;
    });
}

#[test]
fn answers_that_are_too_large_or_unframed_are_not_stored() {
    run(async {
        let large = Script::whole(200, &[("content-type", "text/plain")], "x".repeat(5000));
        let unframed =
            Script::raw().head(200, &[("content-type", "text/plain")]).send("as far as it goes").close();
        assert_not_stored(vec![
            Case::new("too-large", "/anything", "", large),
            Case::new("unframed", "/anything", "", unframed.clone()),
            Case::new("unframed", DOCUMENT, "", unframed),
        ])
        .await;
    });
}

#[test]
fn truncated_answers_are_not_stored() {
    run(async {
        let [first, second, ..] = &chat_events()[..] else { panic!("events") };
        let length = [("content-type", "application/json"), ("content-length", "500")];
        for (question, script) in [
            (chat(), Script::raw().head(200, &length).send(chat_answer().to_string())),
            (chat(), Script::chunked("application/json").chunk(chat_answer().to_string())),
            (chat_stream(), Script::chunked("text/event-stream").chunk(first).chunk(second)),
        ] {
            // The upstream cuts only after the client has the head, so that the client can see the cut.
            let gates = [Gate::new(), Gate::new()];
            let scripts = gates.iter().map(|gate| script.clone().wait(gate).close());
            let upstream = Upstream::in_turn(scripts.collect()).await;
            let sidecache = Sidecache::start(&upstream.url()).await;
            let client = sidecache.client();
            for (id, gate) in ["first", "second"].into_iter().zip(&gates) {
                let headers = [("content-type", "application/json"), ("x-request-id", id)];
                let answer = client.open("POST", CHAT, &headers, question.to_string()).await;
                assert_eq!((answer.status, answer.cache()), (200, "MISS"));
                let last = (id == "second").then_some("last-not-stored:truncated");
                assert_eq!(super::detail(&answer.headers).as_deref(), last);
                gate.open();
                answer.rest().await.expect_err("a cut body");
                let line = sidecache.log.response(id).await;
                assert_eq!(line["cache"]["reason"], "truncated", "{line}");
            }
            assert_eq!(upstream.calls(), 2);
        }
    });
}

#[test]
fn answers_that_the_dialect_rejects_are_not_stored() {
    run(async {
        let text = |content: &str| json!({"role": "assistant", "content": content});
        let tools = json!({"role": "assistant", "content": null, "tool_calls": [{"id": "t", "type": "function",
            "function": {"name": "f", "arguments": "{}"}}]});
        let broken = json!({"role": "assistant", "content": null, "tool_calls": [{"id": "t", "type": "function",
            "function": {"name": "f", "arguments": "{\"a\":"}}]});
        let messages = json!([{"role": "user", "content": "q"}]);
        let claude = json!({"model": "claude", "max_tokens": 9, "messages": messages});
        let llama = json!({"model": "l", "messages": messages, "stream": false});
        let refusal = json!({"type": "message", "stop_reason": "refusal", "content": []});
        let mut incomplete = responses_answer();
        incomplete["status"] = "incomplete".into();
        incomplete["incomplete_details"] = json!({"reason": "max_output_tokens"});
        let no_numbers = json!({"data": [{"index": 0, "embedding": []}]});
        let texts = json!({"model": "e", "input": "a"});
        let mut wants_json = chat();
        wants_json["response_format"] = json!({"type": "json_object"});
        let not_json = Script::whole(200, &[("content-type", "application/json")], "{\"choices\":");
        assert_not_stored(vec![
            Case::new("answer-error", CHAT, chat(), Script::json(&json!({"error": {"message": "no"}}))),
            Case::new("answer-error", "/ask", query(), Script::json(&json!({"error": "no"}))),
            Case::new("answer-error", "/ask", query(), Script::json(&json!({"code": 102, "message": "no"}))),
            Case::new("unknown-end", CHAT, chat(), says(text("a"), "abort")),
            Case::new("not-as-asked", CHAT, wants_json, says(text("{\"a\":"), "stop")),
            Case::new("invalid", CHAT, chat(), not_json),
            Case::new("invalid", CHAT, chat(), Script::json(&json!({"choices": []}))),
            Case::new("invalid", CHAT, chat(), says(broken, "tool_calls")),
            Case::new("invalid", "/api/chat", llama, Script::json(&json!({}))),
            Case::new("empty", CHAT, chat(), says(text(""), "stop")),
            Case::new("empty", "/ask", query(), Script::json(&json!({"answer": " "}))),
            Case::new("unread-vectors", "/v1/embeddings", texts, Script::json(&no_numbers)),
            Case::new("filtered", CHAT, chat(), says(text("a"), "content_filter")),
            Case::new("filtered", "/v1/messages", claude, Script::json(&refusal)),
            Case::new("length", CHAT, chat(), says(text("a"), "length")),
            Case::new(
                "length",
                "/v1/responses",
                json!({"model": "m", "input": "q"}),
                Script::json(&incomplete),
            ),
            Case::new("tool-calls", "/no-tools", chat(), says(tools, "tool_calls")),
        ])
        .await;
    });
}

#[test]
fn answers_are_not_stored_while_the_store_is_unavailable() {
    run(async {
        let upstream = Upstream::always(whole_chat()).await;
        let nowhere = format!("redis://127.0.0.1:{}", RedisServer::free_port());
        let sidecache = Setup::to(&upstream.url()).arguments(&["--redis", &nowhere]).start().await;
        for id in ["a", "b"] {
            let answer = sidecache.client().post_with(CHAT, &[("x-request-id", id)], &chat()).await;
            assert_eq!((answer.status, answer.cache()), (200, "MISS"));
            assert_eq!(sidecache.log.response(id).await["cache"]["reason"], "store-unavailable");
        }
        assert_eq!(upstream.calls(), 2);
    });
}

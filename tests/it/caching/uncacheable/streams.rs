//! Streams that are not stored, since their end does not show that they are complete and good.

use super::*;

#[test]
fn streams_without_a_proper_end_are_not_stored() {
    run(async {
        let no_finish = &chat_events()[..2];
        let anthropic = anthropic_events();
        let ollama = Script::chunked("application/x-ndjson").chunk(&ollama_lines()[0]).end();
        let error = data(&json!({"error": {"message": "overloaded"}}));
        let messages = json!([{"role": "user", "content": "q"}]);
        let claude = json!({"model": "claude", "max_tokens": 9, "messages": messages, "stream": true});
        let failed = json!({"type": "response.failed", "response": {"status": "failed"}});
        assert_not_stored(vec![
            Case::new("no-proper-end", CHAT, chat_stream(), events(no_finish)).stream(),
            Case::new(
                "unknown-end",
                CHAT,
                chat_stream(),
                events(&[chunk(json!({"content": "a"}), Some("abort")), DONE.into()]),
            )
            .stream(),
            Case::new("no-proper-end", "/v1/messages", &claude, events(&anthropic[..6])).stream(),
            Case::new("no-proper-end", "/api/chat", json!({"model": "l", "messages": messages}), ollama)
                .stream(),
            Case::new("no-proper-end", "/ask", query(), events(&[data(&json!({"delta": "a"}))])).stream(),
            Case::new("error-event", CHAT, chat_stream(), events(&[error.clone(), DONE.into()])).stream(),
            Case::new(
                "error-event",
                "/ask",
                query(),
                events(&["event: error\ndata: no\n\n".into(), DONE.into()]),
            )
            .stream(),
            Case::new(
                "error-event",
                "/v1/responses",
                json!({"model": "m", "input": "q", "stream": true}),
                events(&[data(&failed)]),
            )
            .stream(),
            Case::new("invalid", CHAT, chat_stream(), events(&["data: {\"a\":\n\n".into(), DONE.into()]))
                .stream(),
            Case::new(
                "opens-conversation",
                "/ask",
                query(),
                events(&[
                    data(&json!({"answer": "a"})),
                    "data: {\"conversation_id\":\ndata: \"c1\"}\n\n".into(),
                    DONE.into(),
                ]),
            )
            .stream(),
            // Half an emoji, as services write it that cut a text by UTF-16 units. Some parsers accept this
            // JSON; ours does not.
            Case::new(
                "opens-conversation",
                "/ask",
                query(),
                events(&[
                    data(&json!({"answer": "a"})),
                    "data: {\"conversation_id\":\"c-1\",\"t\":\"\\ud83d\"}\n\n".into(),
                    DONE.into(),
                ]),
            )
            .stream(),
            Case::new(
                "opens-conversation",
                "/ask",
                query(),
                events(&[
                    data(&json!({"answer": "a"})),
                    DONE.into(),
                    "data: {\"conversation_id\": \"c-1\"}\n".into(),
                ]),
            )
            .stream(),
            Case::new("empty", CHAT, chat_stream(), events(&[chunk(json!({}), Some("stop")), DONE.into()]))
                .stream(),
        ])
        .await;
    });
}

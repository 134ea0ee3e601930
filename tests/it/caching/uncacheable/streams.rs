//! Streams that are not stored, since their end does not show that they are complete and good.

use super::*;
use crate::support::Client;

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

#[test]
fn the_next_response_says_why_the_last_answer_was_not_stored() {
    run(async {
        let whole = chat_events();
        let unended = &whole[..2];
        let one = json!({"model": "e", "input": "a"});
        let scripts = vec![
            events(unended),
            Script::json_with(503, &[], &json!({})),
            events(&whole),
            // Of embeddings, the same.
            Script::json(&json!({"data": "none"})),
        ];
        let upstream = Upstream::in_turn(scripts).await;
        let sidecache = Setup::to(&upstream.url()).admin().start().await;
        let client = Client::h2c(sidecache.address());
        let asked = async || {
            let answer = client.post(CHAT, &chat_stream()).await;
            (answer.cache().to_owned(), answer.detail().map(str::to_owned))
        };
        let says = |cache: &str, detail: Option<&str>| (cache.to_owned(), detail.map(str::to_owned));
        assert_eq!(asked().await, says("MISS", None));
        // What is known of this answer itself comes first. A busy machine may learn it too late.
        let second = asked().await;
        let own = [says("MISS", Some("status")), says("MISS", Some("last-not-stored:no-proper-end"))];
        assert!(own.contains(&second), "{second:?}");
        assert_eq!(asked().await, says("MISS", Some("last-not-stored:status")));
        assert_eq!(asked().await, says("HIT", None));
        // Once an answer is stored, what was before it is forgotten.
        let admin = Client::new(sidecache.admin());
        let purged = admin.post("/purge", &json!({"all": true})).await;
        assert_eq!(purged.status, 200, "{}", purged.text());
        let embedded = client.post("/v1/embeddings", &one).await;
        assert_eq!(embedded.cache(), "MISS");
        sidecache.log.response(embedded.header("x-request-id")).await;
        let only = [("content-type", "application/json"), ("cache-control", "only-if-cached")];
        let embedded = client.request("POST", "/v1/embeddings", &only, one.to_string()).await;
        assert_eq!((embedded.status, embedded.detail()), (504, Some("last-not-stored:unread-vectors")));
        let missing = client.request("POST", CHAT, &only, chat_stream().to_string()).await;
        assert_eq!((missing.status, missing.detail()), (504, None));
    });
}

//! Turns and writes invalidate the pages of their conversation.

use super::*;

#[test]
fn a_turn_invalidates_its_own_conversation_only() {
    run(async {
        let upstream = Upstream::start(|_| Script::json(&json!({"answer": "A."}))).await;
        let config = "[[route]]\nmatch = \"POST /api/v1/conversations/{id}/turns\"\nkind = \"query\"\n\
                      [[route]]\nmatch = \"POST /traced\"\nkind = \"query\"\nignore = [\"/session_id\"]";
        let sidecache = Setup::to(&upstream.url()).config(config).start().await;
        let client = sidecache.client();
        let turn = async |target: &str, question: Value| {
            let headers = [("idempotency-key", "this turn")];
            client.post_with(target, &headers, &question).await.cache().to_owned()
        };
        let in_it = |text: &str, id: &str| json!({"query": text, "conversation": {"id": id}});
        let seen =
            async |id: &str| client.get(&format!("/api/v1/conversations/{id}")).await.cache().to_owned();
        assert_eq!(turn(QUERY, in_it("q", "one")).await, "MISS");
        assert_eq!(turn(QUERY, in_it("q", "two")).await, "MISS", "the key has the conversation");
        for id in ["one", "two"] {
            assert_eq!((seen(id).await, seen(id).await), ("MISS".to_owned(), "HIT".to_owned()));
        }
        // A turn that is not stored changes the conversation too. A hit for an earlier turn does not.
        for headers in [&[("cache-control", "no-store")][..], &[]] {
            client.post_with(QUERY, headers, &json!({"query": "r", "thread_id": "one"})).await;
            assert_eq!((seen("one").await, seen("two").await), ("MISS".to_owned(), "HIT".to_owned()));
        }
        assert_eq!(turn(QUERY, in_it("q", "one")).await, "HIT");
        assert_eq!(seen("one").await, "HIT");

        let path = "/api/v1/conversations/three/turns";
        for (question, expected) in [("q", "MISS"), ("q", "HIT"), ("r", "MISS"), ("q", "HIT")] {
            seen("three").await;
            assert_eq!(turn(path, json!({"query": question})).await, expected);
            assert_eq!(seen("three").await, expected);
        }
        // Deleting the conversation invalidates the answers to its turns.
        client.request("DELETE", "/api/v1/conversations/three", &[], "").await;
        assert_eq!(turn(path, json!({"query": "q"})).await, "MISS");

        for (id, expected) in [(1, "MISS"), (2, "HIT")] {
            let traced = client.post("/traced", &json!({"query": "q", "session_id": id})).await;
            assert_eq!(traced.cache(), expected, "it names none");
        }
    });
}

/// A write invalidates whether or not its answer is cached.
#[test]
fn a_cacheable_write_invalidates_at_and_above_its_path() {
    run(async {
        let upstream = citing().await;
        let config = "[[route]]\nmatch = \"POST /api/v1/conversations/{id}/messages\"\nkind = \"other\"\n";
        let sidecache = Setup::to(&upstream.url()).config(config).start().await;
        let client = sidecache.client();
        let seen = async || client.get("/api/v1/conversations/42").await.cache().to_owned();
        assert_eq!((seen().await, seen().await), ("MISS".to_owned(), "HIT".to_owned()));
        let write = async |text: &str| {
            client.post("/api/v1/conversations/42/messages", &json!({"text": text})).await.cache().to_owned()
        };
        assert_eq!(write("one").await, "MISS");
        assert_eq!((seen().await, seen().await), ("MISS".to_owned(), "HIT".to_owned()));
        assert_eq!(
            (write("one").await, seen().await),
            ("HIT".to_owned(), "HIT".to_owned()),
            "nothing was written"
        );
    });
}

/// Some clients send an empty id before there is a conversation.
#[test]
fn an_empty_id_names_no_conversation() {
    run(async {
        let upstream =
            Upstream::always(Script::json(&json!({"answer": "A.", "conversation_id": "c-1"}))).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let client = sidecache.client();
        let asked = async || {
            let question = json!({"query": "q", "conversation_id": ""});
            let received = client.post(QUERY, &question).await;
            (received.cache().to_owned(), received.json()["conversation_id"].clone())
        };
        assert_eq!(asked().await, ("MISS".to_owned(), json!("c-1")));
        assert_eq!(asked().await, ("HIT".to_owned(), Value::Null));
    });
}

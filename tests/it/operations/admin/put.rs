//! Entries that operators put.

use serde_json::{Value, json};

use super::{BOTH_STORES, Fixture, StoreKind};
use crate::{
    operations::cli::explain_key,
    support::{
        Gate, Script, Setup, Upstream, eventually, run,
        samples::{CHAT, QUERY, chat, chat_answer, chat_events, chat_stream, query, query_answer},
    },
};

/// An upstream that must not be asked.
async fn nobody() -> Upstream {
    Upstream::always(Script::json_with(500, &[], &json!({}))).await
}

impl Fixture {
    async fn put(&self, key: &str, entry: &Value) {
        let answer = self.call("PUT", &format!("/entries/{key}"), entry).await;
        assert_eq!((answer.status, &answer.json()["stored"]), (200, &json!(true)), "{}", answer.text());
    }
}

#[test]
fn an_entry_put_by_an_operator_is_served_like_any_other() {
    run(async {
        for store in BOTH_STORES {
            let upstream = nobody().await;
            let fixture = Fixture::new(store, &upstream).await;
            let key = explain_key(CHAT, &chat());
            fixture.put(&key, &json!({"body": chat_answer(), "headers": {"x-by": "hand"}})).await;
            let answer = fixture.client.post(CHAT, &chat()).await;
            assert_eq!(
                (answer.cache(), answer.header("x-by"), answer.json()),
                ("HIT", "hand", chat_answer())
            );
            assert_eq!((answer.header("content-type"), answer.key()), ("application/json", key));
            // The same as a stream.
            let mut stream = fixture.client.stream(CHAT, &chat_stream()).await;
            stream.until("data: [DONE]\n\n").await;
            assert!(stream.cache() == "HIT" && stream.text.contains("Redis does."), "{}", stream.text);
            // A stream, given as it is and as JSON.
            let mut other = chat_stream();
            other["messages"][0]["content"] = json!("As a stream?");
            let events = chat_events().concat();
            let entry = json!({"body": events, "headers": {"Content-Type": "text/event-stream"}});
            fixture.put(&explain_key(CHAT, &other), &entry).await;
            let streamed = fixture.client.stream(CHAT, &other).await.rest().await.expect("a whole stream");
            assert!(streamed.contains("Redis") && streamed.ends_with("data: [DONE]\n\n"), "{streamed}");
            other["stream"] = json!(false);
            let whole = fixture.client.post(CHAT, &other).await;
            assert_eq!(whole.json()["choices"][0]["message"]["content"], "Redis does.");
            // A dialect without forms gets the stream as it is.
            let entry = json!({"body": "data: [DONE]\n\n", "headers": {"Content-Type": "text/event-stream"}});
            fixture.put(&explain_key(QUERY, &query()), &entry).await;
            assert_eq!(fixture.client.post(QUERY, &query()).await.text(), "data: [DONE]\n\n");
            assert_eq!(upstream.calls(), 0);
        }
    });
}

#[test]
fn a_put_entry_has_the_given_ttl_status_and_tags() {
    run(async {
        for store in BOTH_STORES {
            let upstream = nobody().await;
            let config = "[store]\ntimeout = \"10s\"\n[ttl]\nquery = \"10m\"\nembedding = 0";
            let fixture = Fixture::with(store, Setup::to(&upstream.url()).config(config)).await;
            let key = explain_key(QUERY, &query());
            let target = format!("/entries/{key}");
            let shown = async || fixture.operator.get(&target).await.json();
            let ttl_of = |shown: &Value| shown["ttl"].as_i64().expect("a number");
            fixture.put(&key, &json!({"body": query_answer()})).await;
            assert!((540..=600).contains(&ttl_of(&shown().await)), "the kind's");
            fixture
                .put(&key, &json!({"body": "gone", "status": 410, "ttl": "7d", "tags": ["a*", "b"]}))
                .await;
            let received = shown().await;
            assert!(ttl_of(&received) > 6 * 86_400);
            assert_eq!((&received["tags"], &received["body"]), (&json!(["a*", "b"]), &json!("gone")));
            let answer = fixture.client.post(QUERY, &query()).await;
            assert_eq!((answer.status, answer.cache(), answer.text().as_str()), (410, "HIT", "gone"));
            if let Some(redis) = &fixture.redis {
                assert!(redis.cli(&["TTL", &key]).parse::<u64>().is_ok_and(|left| left > 6 * 86_400));
            }
            // A shown entry can be put back.
            let copy = json!({"body": received["body"], "headers": received["headers"], "status": received["status"], "tags": received["tags"]});
            fixture.put(&key, &copy).await;
            assert_eq!(shown().await["headers"], received["headers"]);
            assert_eq!(fixture.purged(json!({"tag": "ab"})).await, 0);
            assert_eq!(fixture.purged(json!({"tag": "a*"})).await, 1);
            assert_eq!(fixture.operator.get(&target).await.status, 404);
            let never = key.replace("query", "embedding");
            let refused = fixture.call("PUT", &format!("/entries/{never}"), &json!({"body": 1})).await;
            assert!(refused.status == 400 && refused.text().contains("ttl"), "{}", refused.text());
            fixture.put(&never, &json!({"body": 1, "ttl": 5})).await;
        }
    });
}

#[test]
fn an_invalid_entry_is_rejected_and_changes_nothing() {
    run(async {
        let upstream = Upstream::always(Script::json(&query_answer())).await;
        let fixture = Fixture::new(StoreKind::Memory, &upstream).await;
        let key = fixture.client.post(QUERY, &query()).await.key();
        let target = format!("/entries/{key}");
        for (body, received) in [
            (json!({}), "body"),
            (json!({"body": 1, "stauts": 200}), "stauts"),
            (json!({"body": 1, "status": 99}), "status"),
            (json!({"body": 1, "ttl": 0}), "ttl"),
            (json!({"body": 1, "headers": {"a": "b\r\nset-cookie: c"}}), "headers"),
            (json!([1]), "no JSON object"),
        ] {
            let answer = fixture.call("PUT", &target, &body).await;
            assert_eq!(answer.status, 400, "{body}");
            assert!(
                answer.json()["error"].as_str().is_some_and(|error| error.contains(received)),
                "{}",
                answer.text()
            );
        }
        for key in ["query:0f", "sidecache:_:probe", "other:query:0f", "..%2F"] {
            assert_eq!(
                fixture.call("PUT", &format!("/entries/{key}"), &json!({"body": 1})).await.status,
                400,
                "{key}"
            );
        }
        assert_eq!(fixture.client.post(QUERY, &query()).await.json(), query_answer());
        assert_eq!(upstream.calls(), 1);
    });
}

#[test]
fn a_running_answer_does_not_replace_a_put_entry() {
    run(async {
        for store in BOTH_STORES {
            let gate = Gate::new();
            let upstream = Upstream::always(Script::json(&query_answer()).after(&gate)).await;
            let fixture = Fixture::new(store, &upstream).await;
            let client = fixture.client.clone();
            let asking = tokio::spawn(async move { client.post(QUERY, &query()).await });
            eventually("the question", async || (upstream.calls() == 1).then_some(())).await;
            fixture.put(&explain_key(QUERY, &query()), &json!({"body": {"answer": "by hand"}})).await;
            gate.open();
            assert_eq!(asking.await.expect("an answer").json(), query_answer());
            let answer = fixture.client.post(QUERY, &query()).await;
            assert_eq!((answer.cache(), answer.json()), ("HIT", json!({"answer": "by hand"})), "{store:?}");
        }
    });
}

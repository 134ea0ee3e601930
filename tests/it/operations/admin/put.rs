//! Entries put by hand.

use serde_json::{Value, json};

use super::{BOTH, Kept, Stage};
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

impl Stage {
    async fn put(&self, key: &str, entry: &Value) {
        let answer = self.call("PUT", &format!("/entries/{key}"), entry).await;
        assert_eq!((answer.status, &answer.json()["stored"]), (200, &json!(true)), "{}", answer.text());
    }
}

#[test]
fn an_answer_put_by_hand_is_served_like_any_other() {
    run(async {
        for kept in BOTH {
            let upstream = nobody().await;
            let stage = Stage::new(kept, &upstream).await;
            let key = explain_key(CHAT, &chat());
            stage.put(&key, &json!({"body": chat_answer(), "headers": {"x-by": "hand"}})).await;
            let answer = stage.client.post(CHAT, &chat()).await;
            assert_eq!(
                (answer.cache(), answer.header("x-by"), answer.json()),
                ("HIT", "hand", chat_answer())
            );
            assert_eq!((answer.header("content-type"), answer.key()), ("application/json", key));
            // The same as a stream.
            let mut stream = stage.client.stream(CHAT, &chat_stream()).await;
            stream.until("data: [DONE]\n\n").await;
            assert!(stream.cache() == "HIT" && stream.text.contains("Redis does."), "{}", stream.text);
            // A stream, given as it is and as JSON.
            let mut other = chat_stream();
            other["messages"][0]["content"] = json!("As a stream?");
            let events = chat_events().concat();
            let entry = json!({"body": events, "headers": {"Content-Type": "text/event-stream"}});
            stage.put(&explain_key(CHAT, &other), &entry).await;
            let streamed = stage.client.stream(CHAT, &other).await.rest().await.expect("a whole stream");
            assert!(streamed.contains("Redis") && streamed.ends_with("data: [DONE]\n\n"), "{streamed}");
            other["stream"] = json!(false);
            let whole = stage.client.post(CHAT, &other).await;
            assert_eq!(whole.json()["choices"][0]["message"]["content"], "Redis does.");
            // A dialect without forms gets the stream as it is.
            let entry = json!({"body": "data: [DONE]\n\n", "headers": {"Content-Type": "text/event-stream"}});
            stage.put(&explain_key(QUERY, &query()), &entry).await;
            assert_eq!(stage.client.post(QUERY, &query()).await.text(), "data: [DONE]\n\n");
            assert_eq!(upstream.calls(), 0);
        }
    });
}

#[test]
fn lifetimes_statuses_and_tags_are_as_given() {
    run(async {
        for kept in BOTH {
            let upstream = nobody().await;
            let config = "[store]\ntimeout = \"10s\"\n[ttl]\nquery = \"10m\"\nembedding = 0";
            let stage = Stage::with(kept, Setup::to(&upstream.url()).config(config)).await;
            let key = explain_key(QUERY, &query());
            let target = format!("/entries/{key}");
            let shown = async || stage.operator.get(&target).await.json();
            let ttl_of = |shown: &Value| shown["ttl"].as_i64().expect("a number");
            stage.put(&key, &json!({"body": query_answer()})).await;
            assert!((540..=600).contains(&ttl_of(&shown().await)), "the kind's");
            stage.put(&key, &json!({"body": "gone", "status": 410, "ttl": "7d", "tags": ["a*", "b"]})).await;
            let told = shown().await;
            assert!(ttl_of(&told) > 6 * 86_400);
            assert_eq!((&told["tags"], &told["body"]), (&json!(["a*", "b"]), &json!("gone")));
            let answer = stage.client.post(QUERY, &query()).await;
            assert_eq!((answer.status, answer.cache(), answer.text().as_str()), (410, "HIT", "gone"));
            if let Some(redis) = &stage.redis {
                assert!(redis.cli(&["TTL", &key]).parse::<u64>().is_ok_and(|left| left > 6 * 86_400));
            }
            // What comes out can be put in.
            let copy = json!({"body": told["body"], "headers": told["headers"], "status": told["status"], "tags": told["tags"]});
            stage.put(&key, &copy).await;
            assert_eq!(shown().await["headers"], told["headers"]);
            assert_eq!(stage.purged(json!({"tag": "ab"})).await, 0);
            assert_eq!(stage.purged(json!({"tag": "a*"})).await, 1);
            assert_eq!(stage.operator.get(&target).await.status, 404);
            let never = key.replace("query", "embedding");
            let refused = stage.call("PUT", &format!("/entries/{never}"), &json!({"body": 1})).await;
            assert!(refused.status == 400 && refused.text().contains("ttl"), "{}", refused.text());
            stage.put(&never, &json!({"body": 1, "ttl": 5})).await;
        }
    });
}

#[test]
fn what_is_no_entry_is_refused_and_changes_nothing() {
    run(async {
        let upstream = Upstream::always(Script::json(&query_answer())).await;
        let stage = Stage::new(Kept::InProcess, &upstream).await;
        let key = stage.client.post(QUERY, &query()).await.key();
        let target = format!("/entries/{key}");
        for (body, told) in [
            (json!({}), "body"),
            (json!({"body": 1, "stauts": 200}), "stauts"),
            (json!({"body": 1, "status": 99}), "status"),
            (json!({"body": 1, "ttl": 0}), "ttl"),
            (json!({"body": 1, "headers": {"a": "b\r\nset-cookie: c"}}), "headers"),
            (json!([1]), "no JSON object"),
        ] {
            let answer = stage.call("PUT", &target, &body).await;
            assert_eq!(answer.status, 400, "{body}");
            assert!(
                answer.json()["error"].as_str().is_some_and(|error| error.contains(told)),
                "{}",
                answer.text()
            );
        }
        for key in ["query:0f", "sidecache:_:probe", "other:query:0f", "..%2F"] {
            assert_eq!(
                stage.call("PUT", &format!("/entries/{key}"), &json!({"body": 1})).await.status,
                400,
                "{key}"
            );
        }
        assert_eq!(stage.client.post(QUERY, &query()).await.json(), query_answer());
        assert_eq!(upstream.calls(), 1);
    });
}

#[test]
fn no_answer_that_is_still_coming_takes_its_place() {
    run(async {
        for kept in BOTH {
            let gate = Gate::new();
            let upstream = Upstream::always(Script::json(&query_answer()).after(&gate)).await;
            let stage = Stage::new(kept, &upstream).await;
            let client = stage.client.clone();
            let asking = tokio::spawn(async move { client.post(QUERY, &query()).await });
            eventually("the question", async || (upstream.calls() == 1).then_some(())).await;
            stage.put(&explain_key(QUERY, &query()), &json!({"body": {"answer": "by hand"}})).await;
            gate.open();
            assert_eq!(asking.await.expect("an answer").json(), query_answer());
            let answer = stage.client.post(QUERY, &query()).await;
            assert_eq!((answer.cache(), answer.json()), ("HIT", json!({"answer": "by hand"})), "{kept:?}");
        }
    });
}

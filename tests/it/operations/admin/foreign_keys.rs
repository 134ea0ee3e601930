//! Other keys in the same Redis: foreign ones, corrupt ones, sidecache's own bookkeeping.

use serde_json::json;

use super::{Fixture, StoreKind};
use crate::support::{
    Script, Setup, Upstream, run,
    samples::{CHAT, chat, chat_answer},
};

#[test]
fn foreign_keys_are_neither_listed_nor_counted_nor_removed() {
    run(async {
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        // The dot is the one character of a namespace that would be special in a regular expression.
        let setup =
            Setup::to(&upstream.url()).env("CACHE_NAMESPACE", "a.b-c_d").config("[store]\ntimeout = \"10s\"");
        let fixture = Fixture::with(StoreKind::Redis, setup).await;
        let redis = fixture.redis.as_ref().expect("a Redis");
        let hex = "0f".repeat(32);
        let foreign = [
            format!("axb-c_d:query:{hex}"),
            format!("a.b-c_d2:query:{hex}"),
            format!("other:query:{hex}"),
            format!("query:{hex}"),
            "a.b-c_d".to_owned(),
            "a.b-c_d:query:short".to_owned(),
            format!("a.b-c_d:queries:{hex}"),
            format!("a.b-c_d:query:{hex}:more"),
            format!("a.b-c_d:query:{}", hex.to_uppercase()),
            "a.b-c_d:_:mine".to_owned(),
            format!("a.b-c_d:_:query:{hex}"),
        ];
        let ours = fixture.client.post(CHAT, &chat()).await.key();
        fixture.sidecache.log.stored(1).await;
        let mark = redis.cli(&["GET", &ours]).len();
        assert!(mark > 0);
        for key in &foreign {
            redis.cli(&["SET", key, "theirs"]);
        }
        let list = fixture.operator.get("/entries").await.json();
        let keys: Vec<_> =
            list["entries"].as_array().expect("a list").iter().map(|own| &own["key"]).collect();
        assert_eq!(keys, [&json!(ours)]);
        for body in [
            json!({"pattern": "*"}),
            json!({"pattern": "a.b-c_d:*"}),
            json!({"pattern": "[a-z]*:*"}),
            json!({"kind": "query"}),
            json!({"all": true}),
        ] {
            assert_eq!(fixture.counted(body.clone()).await, 1, "{body}");
            assert_eq!(fixture.purged(body.clone()).await, 1, "{body}");
            assert_eq!(fixture.asked(CHAT, &chat()).await, "MISS");
            for key in &foreign {
                assert_eq!(redis.cli(&["GET", key]), "theirs", "{body}: {key}");
            }
        }
        for pattern in ["axb-c_d:*", "a.b-c_d2:*", "a.b-c_d:_:*", "A.b-c_d:*"] {
            let answer = fixture.call("POST", "/purge", &json!({"pattern": pattern})).await;
            assert_eq!(answer.status, 400, "{pattern}: {}", answer.text());
        }
    });
}

#[test]
fn corrupt_values_are_purged_with_their_kind_only() {
    run(async {
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let fixture = Fixture::new(StoreKind::Redis, &upstream).await;
        let redis = fixture.redis.as_ref().expect("a Redis");
        let hex = "0f".repeat(32);
        let (text, list) = (format!("sidecache:query:{hex}"), format!("sidecache:query:{}", "f0".repeat(32)));
        redis.talk(&[&["SET", &text, "rubbish"], &["RPUSH", &list, "x"]]);
        assert_eq!(fixture.operator.get("/entries").await.json()["entries"], json!([]));
        assert_eq!(fixture.purged(json!({"tag": "store"})).await, 0);
        assert_eq!(fixture.purged(json!({"kind": "document"})).await, 0);
        assert_eq!(redis.cli(&["EXISTS", &text]), "1");
        assert_eq!(fixture.purged(json!({"kind": "query"})).await, 1);
        assert_eq!(redis.talk(&[&["EXISTS", &text], &["EXISTS", &list]]), ["0", "1"], "a list is not ours");
    });
}

#[test]
fn entries_with_many_tags_are_swept_too() {
    run(async {
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let fixture = Fixture::new(StoreKind::Redis, &upstream).await;
        let tags: Vec<_> = (0..900).map(|number| format!("tag-{number}")).collect();
        let key = format!("query:{}", "0f".repeat(32));
        let answer =
            fixture.call("PUT", &format!("/entries/{key}"), &json!({"body": "b", "tags": tags})).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(
            fixture.operator.get("/entries").await.json()["entries"][0]["key"],
            format!("sidecache:{key}")
        );
        assert_eq!(fixture.counted(json!({"tag": "tag-899"})).await, 1);
        assert_eq!(fixture.purged(json!({"tag": "tag-899"})).await, 1);
    });
}

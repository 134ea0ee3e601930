//! Lists of entries: what they tell, in which order, and in pages.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::{BOTH_STORES, Fixture};
use crate::support::{
    Script, Upstream, run,
    samples::{CHAT, QUERY, chat, chat_answer, query_answer},
};

const DOCUMENT: &str = "/api/v1/documents/";

/// An upstream with answers for chats, queries and documents; a document is as long as its number says.
async fn service() -> Upstream {
    Upstream::start(|request| match request.target.as_str() {
        CHAT => Script::json(&chat_answer()),
        QUERY => Script::json(&query_answer()),
        target => {
            let number =
                target.trim_start_matches(DOCUMENT).split('?').next().and_then(|text| text.parse().ok());
            let body = vec![0xff; 100 + 10 * number.unwrap_or(0)];
            Script::whole(200, &[("content-type", "application/pdf")], body)
        }
    })
    .await
}

/// All pages of a list, and how many there were.
async fn all_pages(fixture: &Fixture, query: &str) -> (Vec<Value>, usize) {
    let mut entries = Vec::new();
    let mut cursor = String::new();
    for page in 1.. {
        let answer = fixture.operator.get(&format!("/entries?{query}{cursor}")).await;
        let received = answer.json();
        assert_eq!(answer.status, 200, "{query}: {received}");
        assert!(received.get("partial").is_none(), "{received}");
        entries.extend(received["entries"].as_array().expect("a list").iter().cloned());
        assert_eq!(received["more"], received.get("cursor").is_some(), "{received}");
        match received["cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return (entries, page),
        }
    }
    unreachable!("a list ends")
}

#[test]
fn an_entry_tells_what_it_answers() {
    run(async {
        for store in BOTH_STORES {
            let upstream = service().await;
            let fixture = Fixture::new(store, &upstream).await;
            let key = fixture.client.post(QUERY, &json!({"query": "q"})).await.key();
            fixture.client.get(&format!("{DOCUMENT}7?token=secret")).await;
            let (queries, _) = all_pages(&fixture, "kind=query").await;
            let query = &queries[0];
            assert_eq!(
                (&query["path"], &query["route"], &query["tags"]),
                (&json!(QUERY), &json!("api-v1-query"), &json!(["store"])),
                "{store:?}"
            );
            let (documents, _) = all_pages(&fixture, "kind=document").await;
            assert_eq!(documents[0]["path"], format!("{DOCUMENT}7"), "the query may hold secrets");
            assert!(!documents[0].to_string().contains("secret"));
            let shown = fixture.operator.get(&format!("/entries/{key}")).await.json();
            assert_eq!((&shown["path"], &shown["route"]), (&query["path"], &query["route"]));
            // By hand, where nobody has asked, and instead of an answer.
            let other = key.replace(&key[key.len() - 3..], "000");
            for key in [&key, &other] {
                fixture.call("PUT", &format!("/entries/{key}"), &json!({"body": 1})).await;
            }
            let shown = fixture.operator.get(&format!("/entries/{key}")).await.json();
            assert_eq!(shown["path"], QUERY, "it still answers that");
            let shown = fixture.operator.get(&format!("/entries/{other}")).await.json();
            assert_eq!((shown.get("path"), &shown["tags"]), (None, &json!([])));
        }
    });
}

#[test]
fn pages_have_every_entry_once_in_each_order() {
    run(async {
        for store in BOTH_STORES {
            let upstream = service().await;
            let fixture = Fixture::new(store, &upstream).await;
            for number in 0..37 {
                let target = format!("{DOCUMENT}{number}");
                fixture.client.get(&target).await;
                for _ in 0..number % 5 {
                    assert_eq!(fixture.client.get(&target).await.cache(), "HIT");
                }
            }
            for sort in ["", "&sort=hits", "&sort=age", "&sort=size"] {
                let (entries, pages) = all_pages(&fixture, &format!("limit=5{sort}")).await;
                let keys: HashSet<_> = entries.iter().map(|entry| entry["key"].to_string()).collect();
                assert_eq!((entries.len(), keys.len()), (37, 37), "{store:?} {sort}");
                assert!(pages >= 8, "{pages}");
                if let Some(by) = sort.strip_prefix("&sort=") {
                    let number = |entry: &Value| entry[by].as_u64().expect("a number");
                    assert!(
                        entries.is_sorted_by(|one, next| number(one) >= number(next)),
                        "{store:?} {sort}"
                    );
                }
            }
            let (best, _) = all_pages(&fixture, "limit=7&sort=hits").await;
            assert!(best[..7].iter().all(|entry| entry["hits"] == 4), "{store:?}");
        }
    });
}

#[test]
fn a_list_has_what_its_filters_choose() {
    run(async {
        for store in BOTH_STORES {
            let upstream = service().await;
            let fixture = Fixture::new(store, &upstream).await;
            fixture.client.post(CHAT, &chat()).await;
            fixture.client.post(QUERY, &json!({"query": "q"})).await;
            for number in 0..12 {
                fixture.client.get(&format!("{DOCUMENT}{number}")).await;
            }
            for (query, count) in [
                ("limit=3", 14),
                ("route=api-v1-documents&limit=3", 12),
                ("route=api-v1-documents&limit=3&sort=hits", 12),
                ("route=openai-chat", 1),
                ("tag=store", 1),
                ("tag=store&route=openai-chat", 0),
                ("tag=4&sort=size", 1),
                ("kind=query&sort=age", 2),
            ] {
                assert_eq!(all_pages(&fixture, query).await.0.len(), count, "{store:?} {query}");
            }
            assert_eq!(fixture.operator.get("/entries?sort=hits&cursor=walk.0").await.status, 400);
        }
    });
}

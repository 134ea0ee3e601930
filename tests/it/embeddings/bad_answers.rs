//! Requests in an unknown form, and answers that do not fit their requests.

use serde_json::{Value, json};

use super::{
    asked,
    fake_service::{self, Behavior, OLLAMA, OPENAI},
    texts,
};
use crate::support::{Script, Setup, Sidecache, Upstream, run};

/// A good service, except that it answers a request that contains one of these texts with that text's script.
async fn saying(said: Vec<(&'static str, Script)>) -> Upstream {
    Upstream::start(move |request| {
        let text = String::from_utf8_lossy(&request.body).into_owned();
        let found = said.iter().find(|(text_of, _)| text.contains(text_of)).map(|(_, script)| script.clone());
        found.unwrap_or_else(|| fake_service::answer(request, Behavior::GOOD))
    })
    .await
}

#[test]
fn a_request_in_an_unknown_form_is_passed_on_unchanged() {
    run(async {
        let refusal = Script::json_with(400, &[], &json!({"error": {"message": "no"}}));
        let upstream = Upstream::always(refusal).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        for (calls, body) in [
            r#"{"model":"e","input":[]}"#,
            r#"{"model":"e","input":["a",1]}"#,
            r#"{"model":"e","input":["a",["b"]]}"#,
            r#"{"model":"e","input":[{"text":"a"}]}"#,
            r#"{"model":"e","input":7}"#,
            r#"{"model":"e","input":"a","prompt":"b"}"#,
            r#"{"model":"e","input":["a","b"],"late_chunking":true}"#,
        ]
        .into_iter()
        .enumerate()
        {
            let answer = sidecache.client().post_text(OPENAI, &[], body).await;
            assert_eq!((answer.status, answer.json()), (400, json!({"error": {"message": "no"}})));
            assert_eq!(
                (answer.cache(), answer.detail()),
                ("BYPASS", Some("request-not-in-dialect")),
                "{body}"
            );
            assert_eq!((upstream.calls(), upstream.last().body), (calls + 1, body.as_bytes().to_vec()));
        }
    });
}

#[test]
fn an_unreadable_answer_is_passed_back_and_not_stored() {
    run(async {
        let json = [("content-type", "application/json")];
        let error = json!({"error": {"message": "none left"}});
        let upstream = saying(vec![
            ("odd", Script::whole(200, &json, "{\"vectors\": [[1]]}")),
            ("plain", Script::whole(200, &[("content-type", "text/plain")], "come back later")),
            ("error", Script::json(&error)),
        ])
        .await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let client = sidecache.client();
        for (text, said, reason) in [
            ("odd", "{\"vectors\": [[1]]}", "unread-vectors"),
            ("plain", "come back later", "unread-vectors"),
            ("error", &error.to_string(), "answer-error"),
        ] {
            for _ in 0..2 {
                let answer = client.post(OPENAI, &json!({"model": "e", "input": text})).await;
                assert_eq!((answer.status, answer.text().as_str()), (200, said));
                assert_eq!((answer.cache(), answer.detail()), ("MISS", Some(reason)), "{text}");
            }
        }
        // If the rest cannot be merged, the service gets the whole request, as without a cache.
        asked(&client, &[], &texts(&["a"])).await;
        let calls = upstream.calls();
        let received = client.post(OPENAI, &texts(&["a", "odd"])).await;
        assert_eq!(
            (received.status, received.text().as_str(), received.cache()),
            (200, "{\"vectors\": [[1]]}", "MISS")
        );
        assert_eq!(upstream.calls(), calls + 2);
        assert_eq!(upstream.last().json(), texts(&["a", "odd"]));
        let received = client.post(OPENAI, &texts(&["a", "error"])).await;
        assert_eq!((received.status, received.json(), received.cache()), (200, error, "MISS"));
    });
}

#[test]
fn an_answer_that_is_cut_off_is_an_error_and_not_stored() {
    run(async {
        let whole = |text: &str| format!("{{\"data\":[{{\"index\":0,\"embedding\":[1{text}");
        let cut = Script::raw().head(200, &[("content-type", "application/json"), ("content-length", "200")]);
        let upstream = saying(vec![("cut", cut.send(whole("")).close())]).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let client = sidecache.client();
        asked(&client, &[], &texts(&["a"])).await;
        for body in [texts(&["a", "cut"]), texts(&["cut"])] {
            for _ in 0..2 {
                let answer = client.post(OPENAI, &body).await;
                assert_eq!(
                    (answer.status, &answer.json()["error"]),
                    (502, &json!("UpstreamProtocolException"))
                );
                assert_eq!(answer.header("age"), "");
            }
        }
        assert_eq!(upstream.calls(), 5);
    });
}

#[test]
fn an_empty_vector_is_passed_back_and_not_stored() {
    run(async {
        let empty = json!({"data": [{"index": 0, "embedding": []}]});
        let upstream = saying(vec![("empty", Script::json(&empty))]).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        for _ in 0..2 {
            let answer = sidecache.client().post(OPENAI, &texts(&["empty"])).await;
            assert_eq!((answer.status, answer.json()), (200, empty.clone()));
            assert_eq!((answer.cache(), answer.detail()), ("MISS", Some("unread-vectors")));
        }
    });
}

#[test]
fn a_single_text_and_a_list_may_have_different_layouts() {
    run(async {
        let upstream = Upstream::start(|request| match &request.json()["input"] {
            Value::Array(texts) => Script::json(&json!({"embeddings": vec![[1.5]; texts.len()]})),
            _ => Script::json(&json!({"embedding": [1.5]})),
        })
        .await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let client = sidecache.client();
        let alone = json!({"model": "e", "input": "a"});
        for turn in ["MISS", "HIT"] {
            let answer = client.post(OPENAI, &alone).await;
            assert_eq!((answer.cache(), answer.json()), (turn, json!({"embedding": [1.5]})));
        }
        for turn in ["MISS", "HIT"] {
            let answer = client.post(OPENAI, &texts(&["a", "b"])).await;
            assert_eq!((answer.cache(), answer.json()), (turn, json!({"embeddings": [[1.5], [1.5]]})));
        }
    });
}

#[test]
fn a_vector_that_is_too_large_is_passed_back_and_not_stored() {
    run(async {
        let large = json!({"embeddings": [vec![1.5; 1000], vec![0.25; 1000]]});
        let upstream = Upstream::always(Script::json(&large)).await;
        let sidecache = Setup::to(&upstream.url()).config("[store]\nmax_entry = \"2KiB\"").start().await;
        for _ in 0..2 {
            let answer = sidecache.client().post(OLLAMA, &texts(&["a", "b"])).await;
            assert_eq!((answer.status, answer.json()), (200, large.clone()));
            assert_eq!((answer.cache(), answer.detail()), ("MISS", Some("\"hits=0/2 too-large\"")));
        }
        assert_eq!(sidecache.health().await["limits"]["max_entry"], 2);
    });
}

/// A vector is a list of numbers. Anything else reaches its caller as it came, and is not stored.
#[test]
fn an_invalid_vector_is_passed_back_and_not_stored() {
    run(async {
        let answers = [
            r#"{"data":[{"index":0,"embedding":null}]}"#,
            r#"{"data":[{"index":0,"embedding":[1,null]}]}"#,
            r#"{"data":[{"index":0,"embedding":[NaN]}]}"#,
            r#"{"data":[{"index":0,"embedding":"a text"}]}"#,
            r#"{"data":[{"index":0,"embedding":"AACAPw=="}]}"#,
            r#"{"data":[{"index":0,"embedding":[[1],[2]]}]}"#,
            r#"{"embeddings":[{"float":[1]}]}"#,
        ];
        for answer in answers {
            let upstream =
                Upstream::always(Script::whole(200, &[("content-type", "application/json")], answer)).await;
            let sidecache = Sidecache::start(&upstream.url()).await;
            for _ in 0..2 {
                let received = sidecache.client().post(OPENAI, &texts(&["a"])).await;
                assert_eq!((received.status, received.text().as_str()), (200, answer));
                assert_eq!((received.cache(), received.detail()), ("MISS", Some("unread-vectors")));
            }
        }
    });
}

/// The same name may mean a new model later: its vectors are not merged with the old ones.
#[test]
fn vectors_of_two_models_are_never_merged() {
    run(async {
        for (model, vector) in [("new", json!([9.5])), ("old", json!([9.5, 1])), ("new", json!([9.5, 1]))] {
            let calls = std::sync::atomic::AtomicUsize::new(0);
            let (new_model, new_vector) = (model, vector.clone());
            let upstream = Upstream::start(move |request| {
                let is_first = calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0;
                let (model, vector) =
                    if is_first { ("old", json!([1.5])) } else { (new_model, new_vector.clone()) };
                let count = request.json()["input"].as_array().expect("texts").len();
                let item = |index: usize| json!({"index": index, "embedding": vector});
                let data: Vec<_> = (0..count).map(item).collect();
                Script::json(&json!({"model": model, "data": data, "usage": {"total_tokens": count}}))
            })
            .await;
            let sidecache = Sidecache::start(&upstream.url()).await;
            let client = sidecache.client();
            client.post(OPENAI, &texts(&["a", "b"])).await;
            for (asked, cache, all_calls) in [
                // A request with repeats goes upstream as the client wrote it, and its answer is not stored.
                (&["a", "c", "c"][..], "MISS", 3),
                (&["a", "c"], "MISS", 4),
                (&["c", "a"], "HIT", 4),
                (&["b", "c"], "MISS", 5),
            ] {
                let received = client.post(OPENAI, &texts(asked)).await;
                let data = received.json()["data"].as_array().expect("vectors").clone();
                assert!(
                    data.iter().all(|item| item["embedding"] == vector),
                    "{asked:?}: {}",
                    received.text()
                );
                assert_eq!((data.len(), received.cache()), (asked.len(), cache), "{asked:?}");
                assert_eq!(upstream.calls(), all_calls, "{asked:?}");
            }
        }
    });
}

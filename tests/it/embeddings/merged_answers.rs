//! Answers that are merged from stored and fetched vectors, and how they are reported.

use serde_json::{Value, json};

use super::{
    asked,
    fake_service::{self, Behavior, FakeService, OLLAMA, OLLAMA_OLDER, OPENAI},
    texts,
};
use crate::support::{Script, Setup, Sidecache, Upstream, eventually, run};

#[test]
fn an_input_has_one_entry_alone_and_in_a_batch() {
    run(async {
        let service = FakeService::start().await;
        let sidecache = Sidecache::start(&service.upstream.url()).await;
        let client = sidecache.client();
        let alone = json!({"model": "e", "input": "a"});
        assert_eq!(asked(&client, &[], &alone).await.cache(), "MISS");
        let both = asked(&client, &[], &texts(&["b", "a", "b"])).await;
        assert_eq!((both.cache(), both.detail()), ("PARTIAL", Some("\"hits=1/3\"")));
        assert_eq!(service.upstream.last().json(), texts(&["b"]));
        for body in [texts(&["a"]), texts(&["b", "a"]), json!({"input": "b", "user": "x", "model": "e"})] {
            assert_eq!(asked(&client, &[], &body).await.cache(), "HIT", "{body}");
        }
        // Every other member counts.
        for body in
            [json!({"model": "f", "input": "a"}), json!({"model": "e", "input": "a", "dimensions": 2})]
        {
            assert_eq!(asked(&client, &[], &body).await.cache(), "MISS", "{body}");
        }
        assert_eq!(service.upstream.calls(), 4);
    });
}

#[test]
fn the_missing_inputs_go_upstream_in_the_clients_bytes() {
    run(async {
        let service = FakeService::start().await;
        let sidecache = Sidecache::start(&service.upstream.url()).await;
        let client = sidecache.client();
        asked(&client, &[], &texts(&["b"])).await;
        let body = "{ \"input\" : [\"\\u0061\", \"b\" ,\"\\u0061\",\n\"c\" ],\"model\":\"\\u0065\", \"user\":\"x\"}\t";
        let answer = client.post_text(OPENAI, &[], body).await;
        assert_eq!((answer.status, answer.cache()), (200, "PARTIAL"), "{}", answer.text());
        let sent = service.upstream.last();
        let expected = "{ \"input\" : [\"\\u0061\",\"c\"],\"model\":\"\\u0065\", \"user\":\"x\"}\t";
        assert_eq!(String::from_utf8_lossy(&sent.body), expected);
        assert_eq!(sent.header("content-length"), Some(expected.len().to_string().as_str()));
    });
}

#[test]
fn a_batch_without_a_hit_is_passed_on_and_back_byte_for_byte() {
    run(async {
        let service = FakeService::start().await;
        let sidecache = Sidecache::start(&service.upstream.url()).await;
        let body = texts(&["a", "b"]);
        let direct = crate::support::Client::new(service.upstream.address()).post(OPENAI, &body).await;
        let answer = asked(&sidecache.client(), &[], &body).await;
        assert_eq!((answer.cache(), &answer.body), ("MISS", &direct.body));
        assert_eq!(answer.header("etag"), "\"all\"");
        assert_eq!(service.upstream.last().body, body.to_string().as_bytes());
    });
}

#[test]
fn a_merged_answer_has_no_headers_of_another_body() {
    run(async {
        let service = FakeService::start().await;
        let sidecache = Sidecache::start(&service.upstream.url()).await;
        let client = sidecache.client();
        asked(&client, &[], &texts(&["a"])).await;
        for (body, cache) in [(texts(&["a", "b"]), "PARTIAL"), (texts(&["b", "a"]), "HIT")] {
            let answer = asked(&client, &[], &body).await;
            assert_eq!((answer.cache(), answer.header("etag")), (cache, ""));
            assert_eq!(answer.header("content-length"), answer.body.len().to_string());
            assert_eq!(answer.header("content-type"), "application/json");
            assert_ne!(answer.header("age"), "");
            assert_eq!(answer.json()["more"], json!([1.0]), "other members are there");
        }
        service.set(Behavior { is_reversed: true, ..Behavior::GOOD });
        let ordered = asked(&client, &[], &texts(&["c", "d"])).await;
        assert_eq!((ordered.cache(), ordered.header("etag"), ordered.header("age")), ("MISS", "", ""));
    });
}

#[test]
fn the_hits_of_a_batch_are_reported() {
    run(async {
        let service = FakeService::start().await;
        let sidecache = Sidecache::start(&service.upstream.url()).await;
        let client = sidecache.client();
        asked(&client, &[], &texts(&["a", "b"])).await;
        let body = texts(&["a", "c", "b", "a", "d"]);
        let partial = asked(&client, &[("x-request-id", "partial")], &body).await;
        let received = partial.header("cache-status");
        assert!(received.starts_with("sidecache; fwd=partial; fwd-status=200; ttl=86"), "{received}");
        assert!(received.ends_with("; stored; detail=\"hits=3/5\""), "{received}");
        let line = sidecache.log.response("partial").await;
        assert_eq!(
            (&line["cache"]["status"], &line["cache"]["detail"]),
            (&"PARTIAL".into(), &"hits=3/5".into())
        );
        let calls = async || {
            let lines = sidecache.log.of("partial");
            let calls: Vec<_> = lines.into_iter().filter(|line| line["event_type"] == "llm_call").collect();
            (calls.len() == 2).then_some(calls)
        };
        let calls = eventually("both calls", calls).await;
        let received: Vec<_> =
            calls.iter().map(|call| (&call["model"], &call["cached"], &call["total_tokens"])).collect();
        let model = json!("e-2");
        assert_eq!(received, [(&model, &json!(false), &json!(6)), (&model, &json!(true), &json!(9))]);

        let hit = asked(&client, &[("x-request-id", "hit")], &body).await;
        let received = hit.header("cache-status");
        assert!(
            received.starts_with("sidecache; hit; ttl=86") && received.ends_with("; detail=\"hits=5/5\""),
            "{received}"
        );
        let saved =
            async || sidecache.log.of("hit").into_iter().find(|line| line["event_type"] == "llm_call");
        let call = eventually("the call", saved).await;
        assert_eq!((&call["cached"], &call["total_tokens"]), (&json!(true), &json!(15)));
        let cache = &sidecache.health().await["cache"];
        assert_eq!(
            (&cache["hits"], &cache["misses"], &cache["tokens_saved"]),
            (&json!(8), &json!(4), &json!(24))
        );
        // A single input has no `detail`, and has a key of its own.
        let single = asked(&client, &[], &texts(&["a"])).await;
        assert_eq!(single.detail(), None);
        assert!(single.header("cache-status").contains("; key=\"sidecache:embedding:"));
    });
}

#[test]
fn ollama_answers_are_merged_too() {
    run(async {
        let service = FakeService::start().await;
        let sidecache = Sidecache::start(&service.upstream.url()).await;
        let client = sidecache.client();
        let ask = async |target: &'static str, body: Value, cache: &str| {
            let answer = client.post(target, &body).await;
            assert_eq!((answer.status, answer.cache()), (200, cache), "{target} {body}: {}", answer.text());
            let inputs = fake_service::inputs(&body);
            let expected: Vec<_> = inputs.iter().map(|input| fake_service::vector(input, &body)).collect();
            assert_eq!(fake_service::vectors_of(target, &answer.text()), expected);
            answer.json()
        };
        ask(OLLAMA, json!({"model": "e", "input": "a"}), "MISS").await;
        let partial = ask(OLLAMA, json!({"model": "e", "input": ["b", "a"]}), "PARTIAL").await;
        assert_eq!((&partial["total_duration"], &partial["prompt_eval_count"]), (&json!(14), &json!(3)));
        let hit = ask(OLLAMA, json!({"model": "e", "input": ["a", "b", "a"]}), "HIT").await;
        assert_eq!((&hit["total_duration"], &hit["prompt_eval_count"]), (&json!(0), &json!(0)));
        ask(OLLAMA_OLDER, json!({"model": "e", "prompt": "a"}), "MISS").await;
        ask(OLLAMA_OLDER, json!({"model": "e", "prompt": "a"}), "HIT").await;
        assert_eq!(service.upstream.calls(), 3);
    });
}

#[test]
fn normalize_and_ignore_apply_to_each_input() {
    run(async {
        let service = FakeService::start().await;
        let route = "[[route]]\nname = \"vectors\"\nmatch = \"POST /v1/embeddings\"\nkind = \"embedding\"\n\
                     normalize = [\"trim\", \"casefold\"]\nignore = [\"/trace\"]";
        let sidecache = Setup::to(&service.upstream.url()).config(route).start().await;
        let client = sidecache.client();
        let alone = json!({"model": "e", "input": "Some Text", "trace": 1});
        assert_eq!(client.post(OPENAI, &alone).await.cache(), "MISS");
        let spelt = json!({"model": "e", "input": [" some text", "SOME TEXT "], "trace": 2});
        let answer = client.post(OPENAI, &spelt).await;
        assert_eq!(answer.cache(), "HIT");
        let vector = fake_service::vector(&json!("Some Text"), &alone);
        assert_eq!(fake_service::vectors_of(OPENAI, &answer.text()), [vector.clone(), vector]);
    });
}

#[test]
fn a_batch_may_be_larger_than_max_entry() {
    run(async {
        let vector = format!("[{}]", ["0.0123456789"; 1500].join(","));
        let sent = vector.clone();
        let upstream = Upstream::start(move |request| {
            let item = |index| format!("{{\"index\":{index},\"embedding\":{sent}}}");
            let items: Vec<_> = (0..fake_service::inputs(&request.json()).len()).map(item).collect();
            let text = format!("{{\"data\":[{}]}}", items.join(","));
            Script::whole(200, &[("content-type", "application/json")], text)
        })
        .await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let client = sidecache.client();
        let many: Vec<_> = (0..1000).map(|number| format!("text {number}")).collect();
        let body = json!({"model": "e", "input": many});
        for turn in ["MISS", "HIT"] {
            let answer = client.post(OPENAI, &body).await;
            assert_eq!((answer.status, answer.cache()), (200, turn), "{:?}", answer.headers);
            assert!(answer.body.len() > 16 << 20, "{}", answer.body.len());
            assert_eq!(answer.text().matches(&vector).count(), 1000);
        }
    });
}

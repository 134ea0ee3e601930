//! Answers that do not fit their requests reach the client as they came, and are not stored; requests in an unknown form
//! are passed on.

use serde_json::json;

use super::{
    PER_ITEM,
    api::{Api, Options},
    fake_service::{FakeService, Fault, faulty, refusal, said},
};
use crate::support::{RedisServer, Script, Setup, Sidecache, Upstream, run};

const PLAIN: Options = Options { variant: 0, limit: None, with_more: false, is_bare: false };

/// Each fault that an answer of an API can have, with an empty store and with a part of the inputs in it.
async fn odd_answers(setup: impl Fn(Setup) -> Setup) {
    let service = FakeService::start().await;
    let sidecache = setup(Setup::to(&service.upstream.url()).config(PER_ITEM)).admin().start().await;
    let client = sidecache.client();
    let faults = Fault::ODD.into_iter().chain([Fault::ErrorIn200, Fault::Status(500)]);
    for (variant, fault) in (0..).zip(faults) {
        for api in Api::ALL {
            let options = Options { variant, ..PLAIN };
            let inputs: Vec<_> = [1, 2, 4, 5].map(|number| api.input(number)).into();
            let inputs = if api.is_list() { inputs } else { vec![api.input(1)] };
            let body = api.request(&inputs, &options);
            let good = api.answer(&body, &inputs);
            let has_fault = matches!(fault, Fault::ErrorIn200 | Fault::Status(_))
                || faulty(api, &body, &good, fault).is_some();
            if !has_fault {
                continue;
            }
            let rest = api.request(&inputs[inputs.len() / 2..], &options);
            let rest_has_fault = matches!(fault, Fault::ErrorIn200 | Fault::Status(_))
                || faulty(api, &rest, &api.answer(&rest, &api.inputs(&rest)), fault).is_some();
            for with_stored in [false, true] {
                if with_stored && !(api.is_list() && rest_has_fault) {
                    continue;
                }
                if with_stored {
                    service.set(Fault::None);
                    let some = api.request(&inputs[..2], &options);
                    assert_eq!(client.post(api.target(), &some).await.cache(), "MISS", "{api:?}");
                    sidecache.settled().await;
                    assert_eq!(client.post(api.target(), &some).await.cache(), "HIT", "{api:?}");
                }
                service.set(fault);
                for _ in 0..2 {
                    let answer = client.post(api.target(), &body).await;
                    let (status, expected) = match fault {
                        Fault::Status(status) => (status, refusal(status).to_string()),
                        _ => (200, said(api, &body, fault)),
                    };
                    assert_eq!((answer.status, answer.text()), (status, expected), "{api:?} {fault:?}");
                    let reason = match fault {
                        Fault::Status(_) => "status",
                        Fault::ErrorIn200 => "answer-error",
                        _ => api.unread(),
                    };
                    let detail = answer.detail().unwrap_or_default();
                    assert!(detail.contains(reason), "{api:?} {fault:?} {with_stored}: {detail}");
                    assert_eq!(answer.cache(), "MISS", "{api:?} {fault:?}");
                    sidecache.settled().await;
                }
            }
        }
    }
}

#[test]
fn odd_answers_reach_their_caller_and_are_not_stored() {
    run(odd_answers(|setup| setup));
}

#[test]
fn odd_answers_are_not_stored_in_redis() {
    let redis = RedisServer::start();
    run(odd_answers(|setup| setup.arguments(&["--redis", &redis.url()]).config("[store]\ntimeout = \"5s\"")));
}

/// A path alone says nothing: what lacks something that the API requires belongs to another one.
#[test]
fn a_request_of_another_api_passes_through() {
    run(async {
        let upstream = Upstream::always(Script::json(&json!({"answer": 42}))).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        for (target, body) in [
            ("/embed", json!({"text": "a"})),
            ("/embed", json!({"inputs": []})),
            ("/embed", json!({"inputs": {"a": "b"}})),
            ("/embed", json!({"inputs": ["a", 1]})),
            ("/embed_sparse", json!({"inputs": null})),
            ("/v2/embed", json!({"model": "m", "texts": ["a"]})),
            ("/v2/embed", json!({"input_type": "image", "texts": ["a"]})),
            ("/v2/embed", json!({"model": "m", "input_type": "x", "texts": ["a"], "images": ["b"]})),
            ("/v2/embed", json!({"model": "m", "input_type": "x", "inputs": ["a"]})),
            ("/v1/models/m:embedContent", json!({"requests": [{}]})),
            ("/v1/models/m:batchEmbedContents", json!({"content": {}})),
            ("/v1beta/models/m:batchEmbedContents", json!({"requests": []})),
            ("/v1/moderations", json!({"model": "m"})),
            ("/v1/moderations", json!({"input": [1]})),
            ("/rerank", json!({"query": "q"})),
            ("/rerank", json!({"documents": ["a"]})),
            ("/rerank", json!({"query": "q", "documents": []})),
            ("/rerank", json!({"query": "q", "documents": "a"})),
            ("/rerank", json!({"query": "q", "documents": ["a", 7]})),
            ("/rerank", json!({"query": null, "texts": ["a"]})),
            ("/v1/rerank", json!({"query": "q", "texts": [{"text": "a"}]})),
            ("/v2/rerank", json!({"question": "q", "documents": ["a"]})),
            ("/score", json!({"text_1": "a"})),
            ("/score", json!({"text_2": ["a"]})),
            ("/v1/score", json!({"text_1": "a", "data_2": "b"})),
        ] {
            let answer = sidecache.client().post(target, &body).await;
            let found = (answer.status, answer.cache(), answer.detail());
            assert_eq!(found, (200, "PASS", Some("not-in-dialect")), "{target} {body}");
            assert_eq!(upstream.last().json(), body);
        }
    });
}

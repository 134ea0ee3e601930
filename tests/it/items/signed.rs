//! Requests that are signed over their bodies: the service gets such a body whole, or not at all. And members that hold
//! inputs of different kinds.

use serde_json::{Value, json};

use crate::support::{Script, Setup, Upstream, run};

const SIGNED: [(&str, &str); 6] = [
    (
        "authorization",
        "AWS4-HMAC-SHA256 Credential=AKID/20260201/eu-1/x/aws4_request, SignedHeaders=host, Signature=00",
    ),
    ("x-amz-content-sha256", "00"),
    ("content-digest", "sha-256=:AA==:"),
    ("digest", "sha-256=AA=="),
    ("content-md5", "AA=="),
    ("signature", "a=:AA==:"),
];

/// Answers with a vector for each text of `input`.
async fn service() -> Upstream {
    Upstream::start(|request| {
        let body = request.json();
        let inputs = body["input"].as_array().cloned().unwrap_or_else(|| vec![body["input"].clone()]);
        let vector = |(index, input): (usize, &Value)| {
            json!({"index": index, "embedding": [input.as_str().map_or(0, str::len)]})
        };
        let data: Vec<_> = inputs.iter().enumerate().map(vector).collect();
        Script::json(&json!({"model": "e", "data": data, "usage": {"total_tokens": 1}}))
    })
    .await
}

#[test]
fn the_service_gets_a_signed_body_whole() {
    run(async {
        let upstream = service().await;
        let sidecache = Setup::to(&upstream.url()).start().await;
        let client = sidecache.client();
        for (name, value) in SIGNED {
            let headers = [(name, value)];
            let one = json!({"model": "e", "input": name});
            assert_eq!(client.post_with("/v1/embeddings", &headers, &one).await.cache(), "MISS", "{name}");
            assert_eq!(client.post_with("/v1/embeddings", &headers, &one).await.cache(), "HIT", "{name}");
            for both in [json!([name, "another"]), json!([name, name])] {
                let both = json!({"model": "e", "input": both});
                let answer = client.post_with("/v1/embeddings", &headers, &both).await;
                assert_eq!((answer.cache(), answer.detail()), ("BYPASS", Some("request-signed")), "{name}");
                assert_eq!(upstream.last().json(), both, "{name}");
            }
        }
    });
}

#[test]
fn a_text_is_not_an_image_and_an_input_is_no_prompt() {
    run(async {
        let cohere = json!({"id": "a", "embeddings": {"float": [[1]]}, "texts": [], "response_type": "embeddings_by_type"});
        let openai = json!({"model": "m", "data": [{"index": 0, "embedding": [1]}]});
        let address = "data:image/png;base64,AAAA";
        for (target, answer, one, other) in [
            (
                "/v2/embed",
                cohere,
                json!({"model": "m", "input_type": "image", "embedding_types": ["float"], "texts": [address]}),
                json!({"model": "m", "input_type": "image", "embedding_types": ["float"], "images": [address]}),
            ),
            (
                "/v1/embeddings",
                openai,
                json!({"model": "m", "input": "hi"}),
                json!({"model": "m", "prompt": "hi"}),
            ),
        ] {
            let upstream = Upstream::always(Script::json(&answer)).await;
            let sidecache = Setup::to(&upstream.url()).start().await;
            let client = sidecache.client();
            let first = client.post(target, &one).await;
            let second = client.post(target, &other).await;
            assert_eq!((first.cache(), second.cache()), ("MISS", "MISS"), "{target}");
        }
    });
}

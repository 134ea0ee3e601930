//! Normal form and key of a request's body.

use std::{hint::black_box, time::Duration};

use criterion::{BenchmarkId, Criterion, Throughput};
use http::{HeaderMap, HeaderValue, Method, header};
use sidecache::internals::{
    cache::{
        key::{Body, BodyDigest, Request, digest},
        route::{Route, Scope, kind::Kind},
    },
    dialect::Dialect,
    json::Json,
};

/// A question, and one with a RAG prompt's context.
const LENGTHS: [usize; 2] = [300, 64 * 1024];

pub(crate) fn bench(criterion: &mut Criterion) {
    let path = "/v1/chat/completions";
    let route = Route::new(&format!("POST {path}"), Kind::Query, Duration::from_secs(60), Scope::Credential);
    let route = route.expect("a route");
    let headers = headers();
    let mut group = criterion.benchmark_group("key");
    for len in LENGTHS {
        let body = question(len);
        let read = |body: &str| {
            let json = Json::parse(body.as_bytes()).expect("JSON");
            let dialect = route.dialect_for(path, &json);
            assert_eq!(dialect, Dialect::OpenAiChat, "another dialect's key");
            BodyDigest::new(&route, dialect, Body::Json(&json))
        };
        let request = |body| {
            digest(&Request {
                route: &route,
                dialect: Dialect::OpenAiChat,
                method: &Method::POST,
                target: path,
                headers: &headers,
                host_counts: false,
                body,
            })
        };
        let known = read(&body);
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_with_input(BenchmarkId::new("of a new body", len), &body, |bencher, body| {
            bencher.iter(|| request(read(black_box(body))));
        });
        // Beside one look at its bytes, which is what follows.
        group.bench_with_input(BenchmarkId::new("of a body that is known", len), &known, |bencher, known| {
            bencher.iter(|| request(*black_box(known)));
        });
        group.bench_with_input(BenchmarkId::new("a body's bytes, BLAKE3", len), &body, |bencher, body| {
            bencher.iter(|| blake3::hash(black_box(body).as_bytes()));
        });
    }
    group.finish();
}

fn headers() -> HeaderMap {
    let values = [
        (header::HOST, "127.0.0.1:8080"),
        (header::AUTHORIZATION, "Bearer sk-0123456789abcdef"),
        (header::CONTENT_TYPE, "application/json"),
        (header::ACCEPT, "application/json"),
        (header::USER_AGENT, "client/1.0"),
    ];
    values.into_iter().map(|(name, value)| (name, HeaderValue::from_static(value))).collect()
}

fn question(len: usize) -> String {
    let begin = r#"{"model":"m","temperature":0,"messages":[{"role":"user","content":""#;
    let end = r#""}]}"#;
    let text = r"An answer is kept until its time is up.\n ";
    begin.to_owned() + &text.repeat((len - begin.len() - end.len()) / text.len()) + end
}

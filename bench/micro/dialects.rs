//! Streams as events, and an answer's one form from its other.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput};
use sidecache::internals::{
    dialect::{Ask, Dialect, Rendered, serve, usage::UsageSetting},
    http::sse::Framing,
    json::Json,
};

use crate::answers;

const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream";

pub(crate) fn bench(criterion: &mut Criterion) {
    let (document, stream) = (answers::document(), answers::stream());
    let whole = ask(r#"{"model":"m","messages":[]}"#);
    let streamed =
        ask(r#"{"model":"m","messages":[],"stream":true,"stream_options":{"include_usage":true}}"#);
    let mut group = criterion.benchmark_group("dialect");
    group.throughput(Throughput::Bytes(stream.len() as u64));
    group.bench_function("events of a stream", |bencher| {
        bencher.iter(|| Framing::Events.events(black_box(&stream)).expect("events"));
    });
    group.bench_function("a stream made a document", |bencher| {
        bencher.iter(|| made(streamed.form.id, EVENTS, black_box(&stream), &whole));
    });
    group.throughput(Throughput::Bytes(document.len() as u64));
    group.bench_function("a document made a stream", |bencher| {
        bencher.iter(|| made(whole.form.id, JSON, black_box(&document), &streamed));
    });
    group.finish();
}

/// What a request asks for.
fn ask(body: &str) -> Ask {
    let json = Json::parse(body.as_bytes()).expect("JSON");
    Dialect::OpenAiChat.ask(&json, UsageSetting::AsAsked, None)
}

fn made(id: u64, media: &str, body: &Bytes, ask: &Ask) -> Bytes {
    match serve(Dialect::OpenAiChat, id, Framing::from_media_type(media), body, ask) {
        Some(Rendered::Converted(_, made)) => made,
        other => panic!("not made: {other:?}"),
    }
}

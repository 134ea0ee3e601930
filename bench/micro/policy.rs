//! The decisions on what may be served and stored.

use std::{hint::black_box, time::Duration};

use criterion::Criterion;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use sidecache::internals::{
    cache::{
        key::is_keyed,
        policy::{freshness, lifetime_under_ttl},
        request_directives::RequestDirectives,
        route::{Route, Scope, kind::Kind},
    },
    dialect::Dialect,
};

pub(crate) fn bench(criterion: &mut Criterion) {
    let route = Route::new("POST /ask", Kind::Query, Duration::from_secs(60), Scope::Credential);
    let route = route.expect("a route");
    let request = headers([(header::CACHE_CONTROL, "max-age=300"), (header::ACCEPT, "*/*")]);
    let answer =
        headers([(header::CACHE_CONTROL, "no-transform, max-age=60"), (header::VARY, "accept-encoding")]);
    let directives = RequestDirectives::from_headers(&request);
    let mut group = criterion.benchmark_group("policy");
    group.bench_function("a request's directives", |bencher| {
        bencher.iter(|| RequestDirectives::from_headers(black_box(&request)));
    });
    group.bench_function("freshness", |bencher| {
        bencher.iter(|| freshness(black_box(1_000), route.ttl, black_box(21_000), &directives));
    });
    group.bench_function("storable", |bencher| {
        bencher.iter(|| {
            let keyed = |name: &_| is_keyed(&route, Dialect::OpenAiChat, name);
            let life = lifetime_under_ttl(&route, &directives, StatusCode::OK, black_box(&answer), keyed);
            life.expect("an answer that may be stored")
        });
    });
    group.finish();
}

fn headers<const N: usize>(values: [(header::HeaderName, &'static str); N]) -> HeaderMap {
    values.into_iter().map(|(name, value)| (name, HeaderValue::from_static(value))).collect()
}

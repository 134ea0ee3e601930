//! Entries as they are in Redis.

use std::{hint::black_box, time::Duration};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use sidecache::internals::cache::entry::Entry;

/// Bodies: an answer's, and a long one's.
const LENGTHS: [usize; 2] = [1024, 64 * 1024];

const KEY: &str = "sidecache:query:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("envelope");
    for len in LENGTHS {
        let headers = HeaderMap::from_iter([
            (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (header::DATE, HeaderValue::from_static("Mon, 03 Nov 2025 10:00:00 GMT")),
        ]);
        let text = b"An answer is kept until its time is up. ".repeat(len / 40 + 1);
        let body = Bytes::from(text).slice(..len);
        let ttl = Duration::from_secs(1_800);
        let entry = Entry { ttl, model: Some("m".to_owned()), ..Entry::new(StatusCode::OK, headers, body) };
        let envelope = Bytes::from(entry.seal(KEY));
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_with_input(BenchmarkId::new("seal", len), &entry, |bencher, entry| {
            bencher.iter(|| black_box(entry).seal(KEY));
        });
        group.bench_with_input(BenchmarkId::new("open", len), &envelope, |bencher, envelope| {
            bencher.iter(|| Entry::open(black_box(envelope), KEY, usize::MAX).expect("an envelope"));
        });
    }
    group.finish();
}

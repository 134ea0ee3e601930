//! What is tried with arbitrary bytes, by the fuzz targets beside this file and, for a short while, by the tests
//! (`tests/it/security/fuzzing.rs`). Each of these panics where something is wrong.

use std::net::{IpAddr, Ipv4Addr};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};
use serde::de::IgnoredAny;
use sidecache::internals::{
    cache::{
        entry::{Entry, RequestLabel},
        invalidation::{Target, TargetId},
        key::{self, Body, BodyDigest},
        route::{Route, Scope, kind::Kind},
    },
    dialect::{
        Dialect, Rendered, RequestIds, StoredAnswer, place, serve,
        usage::{Usage, UsageSetting},
    },
    http::{
        forwarded, headers,
        sse::{EventDecoder, Framing},
        validation,
    },
    json::{
        Json,
        canonical::{self, Rules},
    },
};
use xxhash_rust::xxh3::xxh3_128;

fn route() -> Route {
    Route::new("POST /ask", Kind::Query, std::time::Duration::from_secs(60), Scope::Credential)
        .expect("a route")
}

/// A body's normal form, and the key that comes of it: the same for another spelling, and only for one of the same
/// meaning.
pub(crate) fn key(data: &[u8]) {
    let middle = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
    let (one, other) = (&data[..middle], data.get(middle + 1..).unwrap_or_default());
    let Ok(json) = Json::parse(one) else { return };
    serde_json::from_slice::<IgnoredAny>(one).expect("what is taken is JSON");
    let mut spelled = Vec::new();
    json.write(&mut spelled);
    let again = Json::parse(&spelled).expect("what is written is taken");
    assert_eq!(normal_form(&json), normal_form(&again), "spelling does not count");
    assert_eq!(digest(&json), digest(&again));
    // Without numbers that are too large for serde_json.
    let meaning = |text: &[u8]| {
        let mut value: serde_json::Value = serde_json::from_slice(text).ok()?;
        if let Some(members) = value.as_object_mut() {
            members.retain(|name, _| name != "stream" && name != "stream_options");
        }
        Some(value)
    };
    if let Ok(other_json) = Json::parse(other)
        && digest(&json) == digest(&other_json)
    {
        assert_eq!(meaning(one), meaning(other), "two meanings, one key");
    }
}

fn normal_form(json: &Json<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    canonical::write(json, &Rules::default(), &mut out);
    out
}

fn digest(json: &Json<'_>) -> blake3::Hash {
    let route = route();
    key::digest(&key::Request {
        route: &route,
        dialect: Dialect::OpenAiChat,
        method: &Method::POST,
        target: "/ask",
        headers: &HeaderMap::new(),
        host_counts: false,
        body: BodyDigest::new(&route, Dialect::OpenAiChat, Body::Json(json)),
    })
}

/// The largest body that an envelope may hold here, in bytes.
const LARGEST: usize = 64 * 1024;

/// An envelope with something in every place, and a compressed body: after four bytes and a checksum of 16, an input
/// for [`envelope`].
pub(crate) fn an_envelope() -> Vec<u8> {
    let headers =
        HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
    let entry = Entry {
        target_ids: TargetId::from_targets(&[Target::Tag("d".to_owned())]),
        request: RequestLabel::new("/p", "r"),
        tags: vec!["d".to_owned(), String::new()],
        model: Some("m".to_owned()),
        usage: Some(Usage { prompt: Some(1), total: Some(3), ..Usage::default() }),
        pace: vec![0, 17],
        with_credentials: true,
        ..Entry::new(StatusCode::OK, headers, Bytes::from(b"[{}]".repeat(2000)))
    };
    entry.seal("sidecache:query:00")
}

/// What a store may hold under our key: an envelope opens whole, and is the same when it is sealed again, or not.
pub(crate) fn envelope(data: &[u8]) {
    let name = "sidecache:query:00";
    let open = |bytes: Vec<u8>| Entry::open(&bytes.into(), name, LARGEST);
    let _ = open(data.to_vec());
    // With a checksum that fits, so that what is behind it is reached.
    let sealed = [&an_envelope()[..4], &xxh3_128(data).to_le_bytes(), data].concat();
    if let Ok(entry) = open(sealed) {
        assert!(entry.body.len() <= LARGEST, "a body that is too large");
        assert_eq!(open(entry.seal(name)).as_ref(), Ok(&entry));
        let other = Entry::open(&entry.seal(name).into(), "sidecache:query:01", LARGEST);
        assert!(other.is_err(), "another key's");
    }
}

/// Server-sent events: the same whatever the pieces they come in.
pub(crate) fn events(data: &[u8]) {
    let step = 1 + usize::from(data.first().copied().unwrap_or(0)) % 7;
    let (mut whole, mut in_pieces) = (Vec::new(), Vec::new());
    EventDecoder::default().feed(data, |event| whole.push(event));
    let mut decoder = EventDecoder::default();
    data.chunks(step).for_each(|piece| decoder.feed(piece, |event| in_pieces.push(event)));
    assert_eq!(whole, in_pieces);
    let mut last = 0;
    for event in &whole {
        assert!(event.end > last && event.end <= data.len(), "events follow each other");
        if let Some(span) = &event.span {
            assert_eq!(
                String::from_utf8_lossy(&data[span.clone()]),
                event.data,
                "the data is where it is said to be"
            );
        }
        last = event.end;
    }
}

const MEDIA: [&str; 3] = ["application/json", "text/event-stream", "application/x-ndjson"];

/// Answers in every dialect: judged, and made the other form, which is then as good as the first.
pub(crate) fn dialects(data: &[u8]) {
    let [dialect, media, body @ ..] = data else { return };
    let dialect = *Dialect::NAMED.get(usize::from(*dialect)).unwrap_or(&Dialect::Embedding);
    let media = MEDIA[usize::from(*media) % MEDIA.len()];
    let body = Bytes::copy_from_slice(body);
    let question = |text: &str| {
        let json = Json::parse(text.as_bytes()).expect("JSON");
        dialect.ask(&json, UsageSetting::AsAsked, None)
    };
    let whole = question(r#"{"model":"m","max_tokens":9,"stream":false}"#);
    let stream =
        question(r#"{"model":"m","max_tokens":9,"stream":true,"stream_options":{"include_usage":true}}"#);
    // Where the path chooses the form.
    let stream = dialect.asked_at(stream, "/m:streamGenerateContent", Some("alt=sse"));
    if let Ok(json) = Json::parse(&body) {
        dialect.fits(&json, true);
        dialect.question_text(&json);
        dialect.ask(&json, UsageSetting::Ask, None);
    }
    let judge = |media: &'static str, body: &Bytes| {
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(media))]);
        let route = route();
        let judging = route.judging(&whole, Some(RequestIds::default()));
        dialect.judge(judging, Framing::from_media_type(media), &headers, body).verdict
    };
    let verdict = judge(media, &body);
    let framing = Framing::from_media_type(media);
    let [one, other] = [0, 1].map(|form| StoredAnswer { form, framing, body: &body });
    place(dialect, &one, &other);
    if verdict.is_err() {
        return;
    }
    // Under an id that is no form's, so that one is made.
    for ask in [whole, stream] {
        if let Some(Rendered::Converted(media, made)) = serve(dialect, u64::MAX, framing, &body, &ask) {
            let told = String::from_utf8_lossy(&made);
            assert_eq!(judge(media, &made), Ok(()), "{dialect:?} {media}: {told}");
        }
    }
}

/// A request's head: what the guard lets pass is one request to everybody.
pub(crate) fn head(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let Some((method, uri)) = lines.next().and_then(|line| {
        let mut parts = line.splitn(2, |byte| *byte == b' ');
        Some((Method::from_bytes(parts.next()?).ok()?, parts.next()?))
    }) else {
        return;
    };
    let Ok(mut request) = Request::builder().method(method).uri(uri).body(()) else { return };
    for line in lines {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let name = parts.next().and_then(|name| HeaderName::from_bytes(name).ok());
        let value = parts.next().and_then(|value| HeaderValue::from_bytes(value.trim_ascii()).ok());
        if let (Some(name), Some(value)) = (name, value) {
            request.headers_mut().append(name, value);
        }
    }
    let (mut parts, ()) = request.into_parts();
    let _ = validation::upgrade(&parts.headers);
    let path = parts.uri.path();
    assert!(!validation::climbs(path) || path.contains(['.', '%']), "{path}");
    if validation::check(&parts).is_err() {
        return;
    }
    let count = |name: &HeaderName| parts.headers.get_all(name).iter().count();
    assert!(parts.method != Method::CONNECT && path.starts_with('/'), "{path}");
    assert_eq!(count(&header::HOST), 1, "HTTP/1.1 names one host");
    assert!(count(&header::CONTENT_LENGTH) + count(&header::TRANSFER_ENCODING) <= 1, "one framing");
    let coding = parts.headers.get(header::TRANSFER_ENCODING);
    assert!(coding.is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked")));
    let length = parts.headers.get(header::CONTENT_LENGTH);
    assert!(length.is_none_or(|length| length.as_bytes().iter().all(u8::is_ascii_digit)));
    let named: Vec<_> =
        headers::list(&parts.headers, &header::CONNECTION).map(str::to_ascii_lowercase).collect();
    headers::remove_hop_by_hop(&mut parts.headers);
    assert!(named.iter().all(|name| !parts.headers.contains_key(name.as_str())), "{named:?}");
    let peer = forwarded::Peer::new(IpAddr::V4(Ipv4Addr::LOCALHOST));
    forwarded::rewrite(&mut parts.headers, &peer, &[], false);
    assert_eq!(parts.headers.get_all("x-forwarded-for").iter().count(), 1);
    assert!(
        !parts.headers.contains_key("x-forwarded-host") && !parts.headers.contains_key(header::FORWARDED)
    );
}

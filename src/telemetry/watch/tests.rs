use std::{
    future::poll_fn,
    time::{Duration, UNIX_EPOCH},
};

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{filter::Filter, reader::SILENCE, *};
use crate::http::sse::EventDecoder;

fn event<'a>(path: &'a str, status: u16, cache: Option<&'a str>, route: Option<&'a str>) -> RequestEvent<'a> {
    RequestEvent {
        time: UNIX_EPOCH + Duration::from_millis(1_769_941_845_123),
        method: "POST",
        path,
        status,
        cache,
        reason: None,
        route,
        kind: None,
        duration: Duration::from_micros(1_234),
        bytes: 1025,
        key: None,
        similarity: None,
    }
}

fn watch(query: &str) -> (Arc<Watch>, Reader) {
    let watch = Arc::new(Watch::default());
    let reader = watch.read(Filter::parse(query).expect("a filter")).expect("room");
    (watch, reader)
}

async fn next(reader: &mut Reader) -> Option<Bytes> {
    poll_fn(|cx| reader.poll_next(cx)).await
}

/// All that is read to the end: each event's name and data.
async fn rest(mut reader: Reader) -> Vec<(String, Value)> {
    let (mut decoder, mut events) = (EventDecoder::default(), Vec::new());
    while let Some(chunk) = next(&mut reader).await {
        let json = |data: &str| serde_json::from_str(data).unwrap_or_else(|error| panic!("{error}: {data}"));
        decoder.feed(&chunk, |event| events.push((event.name, json(&event.data))));
    }
    events
}

#[tokio::test(start_paused = true)]
async fn an_event_has_what_is_known() {
    let (watch, mut reader) = watch("");
    watch.send(&event("/v1/x", 200, Some("HIT"), Some("chat")));
    let expected = concat!(
        r#"data: {"time":"2026-02-01T10:30:45.123Z","method":"POST","path":"/v1/x","status":200,"cache":"HIT","#,
        r#""route":"chat","ms":1.234,"bytes":1025}"#,
        "\n\n"
    );
    assert_eq!(next(&mut reader).await, Some(Bytes::from(expected)));
}

#[tokio::test(start_paused = true)]
async fn silence_has_comments() {
    let (watch, mut reader) = watch("");
    let began = tokio::time::Instant::now();
    for _ in 0..2 {
        assert_eq!(next(&mut reader).await, Some(Bytes::from_static(b":\n\n")));
    }
    assert_eq!(began.elapsed().as_secs(), 2 * SILENCE.as_secs());
    watch.close();
    assert_eq!(next(&mut reader).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_reader_has_its_place_until_it_leaves() {
    let watch = Arc::new(Watch::default());
    assert!(!watch.is_read());
    let mut readers: Vec<_> = (0..MAX_READERS).map_while(|_| watch.read(Filter::default())).collect();
    assert_eq!(readers.len(), MAX_READERS);
    assert!(watch.is_read() && watch.read(Filter::default()).is_none());
    readers.pop();
    let reader = watch.read(Filter::default()).expect("room");
    drop(readers);
    assert!(watch.is_read());
    watch.close();
    assert_eq!(rest(reader).await, []);
    assert!(!watch.is_read());
    assert_eq!(rest(watch.read(Filter::default()).expect("room")).await, [], "after the end");
}

#[test]
fn filters_choose() {
    for (query, expected) in [
        ("", [true; 5]),
        ("cache=miss", [false, true, false, false, false]),
        ("cache=HIT", [true, false, false, false, false]),
        ("cache=none", [false, false, false, true, true]),
        ("status=5xx", [false, false, true, false, false]),
        ("status=502", [false, false, true, false, false]),
        ("status=503", [false; 5]),
        ("status=4XX&route=none", [false, false, false, false, true]),
        ("route=a+b", [true, true, false, false, false]),
        ("route=a%20b&cache=miss", [false, true, false, false, false]),
        ("route=", [false; 5]),
    ] {
        let filter = Filter::parse(query).unwrap_or_else(|error| panic!("{query}: {error}"));
        let events = [
            event("/", 200, Some("HIT"), Some("a b")),
            event("/", 200, Some("MISS"), Some("a b")),
            event("/", 502, Some("PASS"), None),
            event("/", 101, None, None),
            event("/", 400, None, None),
        ];
        assert_eq!(events.map(|event| filter.wants(&event)), expected, "{query}");
    }
    for (query, received) in [
        ("cache=hot", "hit, miss"),
        ("status=5x", "5xx"),
        ("status=+50", "5xx"),
        ("status=600", "5xx"),
        ("status=", "5xx"),
        ("page=2", "route, cache, status"),
    ] {
        let error = Filter::parse(query).expect_err(query);
        assert!(error.contains(received), "{query}: {error}");
    }
}

proptest! {
    /// Whatever a client writes, an event is one event with one line of JSON, and no control character.
    #[test]
    fn hostile_texts_stay_texts(path in "\\PC*|[\\x00-\\x9f\u{2028}\u{202e}\"\\\\]*", method in "[!-~]{1,9}") {
        let text = RequestEvent { method: &method, ..event(&path, 200, None, None) }.to_event();
        let text = std::str::from_utf8(&text).expect("text");
        let json = text.strip_prefix("data: ").and_then(|text| text.strip_suffix("\n\n")).expect("an event");
        prop_assert!(!json.chars().any(|c| c.is_control() || c == '\u{2028}' || c == '\u{202e}'), "{json}");
        let value: Value = serde_json::from_str(json).expect("JSON");
        prop_assert_eq!((&value["path"], &value["method"]), (&json!(path), &json!(method)));
    }

    /// A reader gets the events in their order, and the numbers that it is told make up for the gaps.
    #[test]
    fn all_events_are_there_or_counted(
        lengths in proptest::collection::vec(prop_oneof![0..300_usize, 10_000..70_000_usize], 0..80),
        reads in proptest::collection::vec(0..100_usize, 0..4),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(async {
            let (watch, mut reader) = watch("");
            let (mut decoder, mut events) = (EventDecoder::default(), Vec::new());
            for (number, length) in lengths.iter().enumerate() {
                watch.send(&event(&format!("/{number}/{}", "x".repeat(*length)), 200, None, None));
                if reads.contains(&number) {
                    let chunk = next(&mut reader).await.expect("no end");
                    decoder.feed(&chunk, |event| events.push(event));
                }
            }
            watch.close();
            while let Some(chunk) = next(&mut reader).await {
                decoder.feed(&chunk, |event| events.push(event));
            }
            let mut expected = 0;
            for event in events {
                let data: Value = serde_json::from_str(&event.data).expect("JSON");
                match &*event.name {
                    "missed" => expected += data["missed"].as_u64().expect("a count"),
                    _ => {
                        let path = data["path"].as_str().expect("a path");
                        assert!(path.starts_with(&format!("/{expected}/")), "{expected}: {path:.9}");
                        expected += 1;
                    }
                }
            }
            assert_eq!(expected, lengths.len() as u64);
        });
    }
}

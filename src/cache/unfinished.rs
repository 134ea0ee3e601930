//! Documents that say that they are not finished (`"status": "processing"`). They will soon change, so they
//! are stored for a few seconds only. Pure.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;

use crate::{
    cache::{policy::Lifetime, route::kind::Kind},
    http::headers::media_type,
    json::Json,
};

/// How long an unfinished document is fresh at most.
const TTL: Duration = Duration::from_secs(5);

/// A larger document is not read: those that report a state are small. In bytes.
const MAX_READ_BYTES: usize = 256 * 1024;

/// Words for something that is finished, or that stays as it is until somebody changes it; sorted. Any other
/// word counts as one for work that goes on: if that is wrong, an answer is stored for too short a time, but
/// never for too long.
const FINISHED: [&str; 64] = [
    "aborted",
    "accepted",
    "active",
    "approved",
    "archived",
    "available",
    "canceled",
    "cancelled",
    "closed",
    "complete",
    "completed",
    "deleted",
    "disabled",
    "done",
    "draft",
    "embedded",
    "enabled",
    "ended",
    "error",
    "errored",
    "expired",
    "failed",
    "failure",
    "final",
    "finalized",
    "finished",
    "found",
    "idle",
    "inactive",
    "incomplete",
    "indexed",
    "ingested",
    "invalid",
    "live",
    "loaded",
    "no_content",
    "none",
    "normal",
    "not_found",
    "ok",
    "online",
    "open",
    "parsed",
    "partial_success",
    "private",
    "processed",
    "public",
    "published",
    "ready",
    "rejected",
    "resolved",
    "saved",
    "skipped",
    "stopped",
    "stored",
    "succeeded",
    "success",
    "successful",
    "synced",
    "terminated",
    "timed_out",
    "timeout",
    "valid",
    "verified",
];

/// No word of the list is longer.
const LONGEST_WORD: usize = 16;

/// Members that services wrap their answers in.
const WRAPPERS: [&str; 8] = ["data", "result", "results", "response", "payload", "document", "item", "file"];

/// The lifetime of an answer that is not finished, in place of `life`; `None` for an answer that is.
pub(crate) fn shortened_lifetime(
    kind: Kind,
    headers: &HeaderMap,
    body: &Bytes,
    life: Lifetime,
) -> Option<Lifetime> {
    let is_seen = matches!(kind, Kind::Document | Kind::Conversation) && body.len() <= MAX_READ_BYTES;
    let is_json = || media_type(headers).is_some_and(|media| media.ends_with("json"));
    let is_unfinished = is_seen && is_json() && Json::parse(body).is_ok_and(|json| is_unfinished(&json));
    is_unfinished.then(|| Lifetime::fresh(life.ttl.min(TTL)))
}

/// Whether a document says that it is not finished: at the top, one level below, or two levels below in a
/// wrapper.
fn is_unfinished(json: &Json<'_>) -> bool {
    let member_says_so = |json: &Json<'_>| json.members().iter().any(|member| says_so(&member.value));
    let is_wrapper = |name: &str| WRAPPERS.iter().any(|wrapper| name.eq_ignore_ascii_case(wrapper));
    let mut wrapped = json.members().iter().filter(|member| is_wrapper(&member.name));
    says_so(json) || member_says_so(json) || wrapped.any(|member| member_says_so(&member.value))
}

/// Whether a member of this object says so.
fn says_so(json: &Json<'_>) -> bool {
    let is_state = |name: &str| name.eq_ignore_ascii_case("status") || name.eq_ignore_ascii_case("state");
    let states = json.members().iter().filter(|member| is_state(&member.name));
    states.filter_map(|member| member.value.as_str()).any(|word| !is_finished(word))
}

/// Whether a word says that something is finished, or nothing at all. Upper case counts as lower case, and
/// `-` and a space as `_`.
fn is_finished(word: &str) -> bool {
    let word = word.trim();
    let mut form = [0; LONGEST_WORD];
    let Some(form) = form.get_mut(..word.len()) else { return false };
    for (own, byte) in form.iter_mut().zip(word.bytes()) {
        *own = if matches!(byte, b'-' | b' ') { b'_' } else { byte.to_ascii_lowercase() };
    }
    form.is_empty() || FINISHED.binary_search_by(|known| known.as_bytes().cmp(form)).is_ok()
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, header};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn life() -> Lifetime {
        let minute = Duration::from_secs(60);
        Lifetime { ttl: minute, stale_while_revalidate: minute, stale_if_error: minute }
    }

    /// The life of a document with this body, in seconds; `None` where it stays as it is.
    fn seconds_left(kind: Kind, media: &'static str, body: &str) -> Option<u64> {
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(media))]);
        let life = shortened_lifetime(kind, &headers, &Bytes::copy_from_slice(body.as_bytes()), life())?;
        assert_eq!(life, Lifetime::fresh(life.ttl), "it is never served stale");
        Some(life.ttl.as_secs())
    }

    fn is_short(body: &Value) -> bool {
        seconds_left(Kind::Document, "application/json", &body.to_string()).is_some()
    }

    #[test]
    fn words_are_sorted_and_short() {
        assert!(FINISHED.is_sorted_by(|a, b| a < b));
        assert!(FINISHED.iter().all(|word| word.len() <= LONGEST_WORD));
        let page = include_str!("../../docs/CACHING.md");
        for word in FINISHED.iter().chain(&WRAPPERS) {
            assert!(page.contains(&format!("`{word}`")), "{word} is not documented");
        }
    }

    #[test]
    fn a_document_in_the_making_is_kept_for_a_moment() {
        for word in "
            processing pending queued indexing running uploading uploaded in_progress in-progress IN_PROGRESS PENDING
            started starting created new submitted scheduled waiting parsing chunking embedding ingesting loading building
            training validating finalizing cancelling retrying partial preprocessing not_started not-ready unindexed
            requires_action paused 50% réussi
        "
        .split_whitespace()
        .chain(["In Progress", "being processed", "processed: 3 of 7", "this one is completed, but for its index"])
        {
            for name in ["status", "state", "Status", "STATE"] {
                for body in [
                    json!({"id": "7", name: word}),
                    json!({"id": "7", "metadata": {name: word}}),
                    json!({"data": {name: word}}),
                    json!({"data": {"document": {name: word}}}),
                    json!({"result": {"file": {name: word}}}),
                    json!({"status": "success", "data": {name: word}}),
                ] {
                    assert!(is_short(&body), "{body}");
                }
            }
        }
    }

    #[test]
    fn a_finished_document_lives_as_long_as_ever() {
        for word in "
            completed complete done finished ready success succeeded ok processed indexed active available published failed
            error cancelled canceled archived COMPLETED Ready not_found Not-Found expired partial-success
        "
        .split_whitespace()
        .chain(["Timed Out", " done ", ""])
        {
            for name in ["status", "state", "Status"] {
                for body in [json!({name: word}), json!({"data": {"document": {name: word}}})] {
                    assert!(!is_short(&body), "{body}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_word_of_a_state_says_nothing() {
        for body in [
            json!({"status": 200}),
            json!({"status": true}),
            json!({"status": null}),
            json!({"status": ["processing"]}),
            json!({"statuses": "processing", "state_code": "processing", "text": "status: processing"}),
            json!({"a": {"b": {"status": "processing"}}}),
            json!({"data": {"a": {"b": {"status": "processing"}}}}),
            json!([{"status": "processing"}]),
            json!({"chunks": [{"status": "processing"}]}),
            json!("processing"),
        ] {
            assert!(!is_short(&body), "{body}");
        }
    }

    #[test]
    fn only_json_documents_of_some_size_are_read() {
        let body = r#"{"status": "processing"}"#;
        for (kind, media, expected) in [
            (Kind::Document, "application/json", Some(5)),
            (Kind::Document, "application/json; charset=utf-8", Some(5)),
            (Kind::Document, "application/hal+json", Some(5)),
            (Kind::Conversation, "application/json", Some(5)),
            (Kind::Document, "text/plain", None),
            (Kind::Query, "application/json", None),
            (Kind::Embedding, "application/json", None),
            (Kind::Other, "application/json", None),
        ] {
            assert_eq!(seconds_left(kind, media, body), expected, "{kind} {media}");
        }
        let sized = |len: usize| format!("{}{body}", " ".repeat(len - body.len()));
        assert_eq!(seconds_left(Kind::Document, "application/json", &sized(MAX_READ_BYTES)), Some(5));
        assert_eq!(seconds_left(Kind::Document, "application/json", &sized(MAX_READ_BYTES + 1)), None);
        assert_eq!(
            seconds_left(Kind::Document, "application/json", "{\"status\": \"processing\""),
            None,
            "no JSON"
        );
    }

    #[test]
    fn a_short_life_is_not_made_longer() {
        let headers =
            HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        let life = Lifetime::fresh(Duration::from_secs(2));
        let body = Bytes::from_static(br#"{"status": "processing"}"#);
        assert_eq!(shortened_lifetime(Kind::Document, &headers, &body, life), Some(life));
    }

    proptest! {
        /// A word that is not on the list is never taken for one that is, nor one that is for another.
        #[test]
        fn what_is_not_known_is_not_finished(word in "[a-zA-Z_ -]{0,20}") {
            let plain = word.trim().to_lowercase().replace(['-', ' '], "_");
            prop_assert_eq!(is_finished(&word), plain.is_empty() || FINISHED.contains(&plain.as_str()));
        }
    }
}

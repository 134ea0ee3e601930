//! Failures inside a 200. Each service reports them in its own words, so they are found by shape, and an
//! answer has to show that it is there.

use super::api::{has, is_one_of};
use crate::{
    http::sse,
    json::{Json, Member},
};

/// Words for success under `status` or `state`, in lower case.
const GOOD_STATUS: [&str; 11] = [
    "ok",
    "success",
    "successful",
    "succeeded",
    "completed",
    "complete",
    "done",
    "finished",
    "ready",
    "healthy",
    "true",
];

/// Words for failure, in an event of a stream. Other words there say how far it is.
const BAD_STATUS: [&str; 14] = [
    "failed",
    "failure",
    "fail",
    "error",
    "errored",
    "exception",
    "aborted",
    "abort",
    "cancelled",
    "canceled",
    "stopped",
    "timeout",
    "rejected",
    "partial-succeeded",
];

/// Members that hold an answer, whose own members may report a failure.
const ENVELOPES: [&str; 6] = ["data", "result", "results", "response", "output", "payload"];

/// Members that describe the call or its failure, and so are no answer. `message` is the text of most errors.
const ABOUT_THE_CALL: [&str; 38] = [
    "code",
    "status",
    "state",
    "statuscode",
    "success",
    "ok",
    "error",
    "errors",
    "errormsg",
    "errormessage",
    "errorcode",
    "detail",
    "details",
    "message",
    "msg",
    "reason",
    "id",
    "requestid",
    "traceid",
    "taskid",
    "runid",
    "messageid",
    "sessionid",
    "conversationid",
    "conversation",
    "threadid",
    "chatid",
    "chatsessionid",
    "timestamp",
    "created",
    "createdat",
    "model",
    "object",
    "type",
    "event",
    "path",
    "usage",
    "version",
];

/// Members that hold what an answer was made from.
const SOURCES: [&str; 16] = [
    "sources",
    "references",
    "reference",
    "citations",
    "citationinfo",
    "documents",
    "topdocuments",
    "sourcedocuments",
    "contexts",
    "context",
    "chunks",
    "searchresults",
    "retrieverresources",
    "passages",
    "hits",
    "matches",
];

/// Members that hold the text of an answer, wherever there is one.
const ANSWERS: [&str; 13] = [
    "answer",
    "response",
    "result",
    "text",
    "textresponse",
    "output",
    "outputtext",
    "content",
    "reply",
    "completion",
    "generatedanswer",
    "generatedtext",
    "summary",
];

/// Members that hold a word of a stream's answer, besides those.
const WORDS: [&str; 11] = [
    "token",
    "tokens",
    "delta",
    "chunk",
    "message",
    "data",
    "value",
    "payload",
    "choices",
    "textchunk",
    "textdelta",
];

/// Events that say how far an answer is.
const PROGRESS: [&str; 16] = [
    "status",
    "progress",
    "step",
    "log",
    "info",
    "metadata",
    "start",
    "started",
    "ping",
    "heartbeat",
    "keepalive",
    "search",
    "searching",
    "retrieval",
    "thinking",
    "reasoning",
];

/// Whether a whole answer of a RAG service reports a failure, at its top or in an envelope. Its `status` must
/// be a good one.
pub(super) fn in_answer(json: &Json<'_>) -> bool {
    fails(json, |status| !GOOD_STATUS.contains(&status)) || in_envelope(json, reports_failure)
}

/// Whether any JSON reports a failure, at its top or in an envelope. Its `status` may be a word of its own.
pub(super) fn in_document(json: &Json<'_>) -> bool {
    reports_failure(json) || in_envelope(json, reports_failure)
}

/// Whether a document is an error and nothing else. A state in it may be its content.
pub(super) fn is_error_alone(json: &Json<'_>) -> bool {
    let names = |name| has(json, name);
    let has_message = ["detail", "message", "msg"].into_iter().any(names) && !names("id");
    (fails(json, |_| false) || has_message) && !says(json, true)
}

/// Whether an event of a stream reports a failure; `json` is its data, if that is JSON.
pub(super) fn in_event(event: &sse::Event, json: Option<&Json<'_>>) -> bool {
    kinds(event, json).any(is_bad) || json.is_some_and(in_document)
}

/// What an event calls itself: its name, and its `type`, `event` and `object`.
fn kinds<'e>(event: &'e sse::Event, json: Option<&'e Json<'_>>) -> impl Iterator<Item = &'e str> {
    let named =
        json.into_iter().flat_map(|json| ["type", "event", "object"].map(|name| json.get(name)?.as_str()));
    std::iter::once(&*event.name).chain(named.flatten())
}

fn reports_failure(json: &Json<'_>) -> bool {
    fails(json, |status| BAD_STATUS.contains(&status))
}

/// Whether `holds` is true of an object in an envelope.
fn in_envelope(json: &Json<'_>, holds: impl Fn(&Json<'_>) -> bool) -> bool {
    let mut objects = json.members().iter().filter(|member| member.value.is_object());
    objects.any(|member| is_one_of(&member.name, &ENVELOPES) && holds(&member.value))
}

fn is_bad(kind: &str) -> bool {
    BAD_STATUS.iter().any(|bad| kind.eq_ignore_ascii_case(bad))
        || ["_error", ".error", "_failed", ".failed"].iter().any(|end| kind.ends_with(end))
}

/// Whether one object reports a failure; `is_bad_status` judges the word of its `status`, in lower case.
fn fails(json: &Json<'_>, is_bad_status: impl Fn(&str) -> bool) -> bool {
    json.members().iter().any(|Member { name, value, .. }| match (&**name, value) {
        ("error" | "errors" | "err" | "error_msg" | "error_message" | "errorMessage", value) => {
            says_something(value) && !matches!(value, Json::Number("0"))
        }
        ("success" | "ok", Json::Bool(went_well)) => !went_well,
        ("code" | "error_code" | "errorCode", Json::Number(code)) => !is_good_code(code),
        ("code" | "error_code" | "errorCode", Json::String(code)) => {
            let code = code.trim().to_ascii_lowercase();
            !code.is_empty() && !is_good_code(&code) && !GOOD_STATUS.contains(&&*code)
        }
        ("status" | "state", Json::String(status)) => {
            let status = status.trim().to_ascii_lowercase();
            !status.is_empty() && is_bad_status(&status)
        }
        ("status" | "status_code" | "statusCode", Json::Number(status)) => is_http_error(status),
        ("status", Json::Bool(went_well)) => !went_well,
        _ => false,
    })
}

/// Any other number may have a meaning of the service's own.
fn is_http_error(status: &str) -> bool {
    status.parse().is_ok_and(|status: u16| (400..600).contains(&status))
}

/// `0`, and the success of HTTP, which many services repeat in the body.
fn is_good_code(code: &str) -> bool {
    code == "0" || code.parse().is_ok_and(|code: u16| (200..300).contains(&code))
}

/// Whether a RAG service's answer is there: a text, or sources. If it has a member for its text, that must
/// say something.
pub(super) fn answers(json: &Json<'_>) -> bool {
    let mut texts = texts_of(json).chain(json.members().iter().flat_map(|member| {
        let is_envelope = is_one_of(&member.name, &ENVELOPES);
        is_envelope.then(|| texts_of(&member.value)).into_iter().flatten()
    }));
    match texts.next() {
        Some(first) => says(first, false) || texts.any(|text| says(text, false)),
        None => says(json, false),
    }
}

/// Whether any JSON says something besides what describes the call.
pub(super) fn says_anything(json: &Json<'_>) -> bool {
    says(json, true)
}

/// What an object has under the names of answers, if that is a text or null.
fn texts_of<'j>(json: &'j Json<'j>) -> impl Iterator<Item = &'j Json<'j>> {
    let is_text = |member: &&Member<'_>| {
        is_one_of(&member.name, &ANSWERS) && matches!(member.value, Json::String(_) | Json::Null)
    };
    json.members().iter().filter(is_text).map(|member| &member.value)
}

/// Whether there is a text, or a number if `numbers` count, besides what describes the call.
fn says(json: &Json<'_>, numbers: bool) -> bool {
    match json {
        Json::Null => false,
        Json::Bool(_) | Json::Number(_) => numbers,
        Json::String(text) => !text.trim().is_empty(),
        Json::Array(items) => items.iter().any(|item| says(item, numbers)),
        Json::Object(members) => members.iter().any(|Member { name, value, .. }| {
            // A message with a role and a content is no text about the call.
            let counts = !is_one_of(name, &ABOUT_THE_CALL) || has(value, "content");
            let wraps_nothing = matches!(value, Json::Bool(false)) && is_one_of(name, &ENVELOPES);
            counts && !wraps_nothing && says(value, numbers)
        }),
    }
}

/// Whether an event of a stream says a word of the answer. Sources and progress do not.
pub(super) fn says_word(event: &sse::Event, json: Option<&Json<'_>>) -> bool {
    let is_other = |kind: &str| is_one_of(kind, &SOURCES) || is_one_of(kind, &PROGRESS);
    match json {
        _ if kinds(event, json).any(is_other) => false,
        Some(json) => has_word(json),
        None => !event.data.trim().is_empty(),
    }
}

fn has_word(json: &Json<'_>) -> bool {
    match json {
        Json::String(text) => !text.is_empty(),
        Json::Array(items) => items.iter().any(has_word),
        Json::Object(members) => {
            let is_word = |name| is_one_of(name, &ANSWERS) || is_one_of(name, &WORDS);
            members.iter().any(|member| is_word(&member.name) && has_word(&member.value))
        }
        Json::Null | Json::Bool(_) | Json::Number(_) => false,
    }
}

/// Adds the words of an event that [`says_word`] to `text`.
pub(super) fn add_words(json: &Json<'_>, text: &mut String) {
    match json {
        Json::String(word) => text.push_str(word),
        Json::Array(items) => items.iter().for_each(|item| add_words(item, text)),
        Json::Object(members) => {
            let is_word = |name| is_one_of(name, &ANSWERS) || is_one_of(name, &WORDS);
            let words = members.iter().filter(|member| is_word(&member.name));
            words.for_each(|member| add_words(&member.value, text));
        }
        Json::Null | Json::Bool(_) | Json::Number(_) => {}
    }
}

/// The text of a whole answer: what is under the names of answers, at its top or in an envelope.
pub(super) fn answer_text(json: &Json<'_>) -> Option<String> {
    let within = json
        .members()
        .iter()
        .filter(|member| is_one_of(&member.name, &ENVELOPES))
        .map(|member| &member.value);
    let objects = std::iter::once(json).chain(within);
    let texts: Vec<_> = objects.flat_map(texts_of).filter_map(Json::as_str).collect();
    (!texts.is_empty()).then(|| texts.join("\n"))
}

/// Whether a value says something: null, false and empty values do not.
pub(super) fn says_something(json: &Json<'_>) -> bool {
    !matches!(json, Json::Null | Json::Bool(false)) && !is_empty(json)
}

fn is_empty(json: &Json<'_>) -> bool {
    match json {
        Json::String(text) => text.trim().is_empty(),
        Json::Array(items) => items.is_empty(),
        Json::Object(members) => members.is_empty(),
        _ => false,
    }
}

//! What sidecache has to know of an API, as one trait, and the small questions about JSON that its
//! implementations share.
//!
//! An implementation is strict: where an answer may be incomplete it says so, which costs a hit and nothing
//! else.

use super::{
    answer::{Answer, Document, JudgeOptions, StreamEnd},
    ask::Ranks,
    batch::BatchApi,
    question::NoQuestion,
};
use crate::{http::sse, json::Json, reason::Reason};

/// One API.
pub(super) trait Api {
    /// Whether a request's body has all that the API requires. With `model_elsewhere`, something else may
    /// name the model.
    fn fits(&self, body: &Json<'_>, model_elsewhere: bool) -> bool;

    /// Where the question's text is, as JSON pointers.
    fn text(&self) -> &'static [&'static str];

    /// Where the text is that the user has asked last, as a JSON pointer, if the request is that and text before it.
    ///
    /// # Errors
    /// Why the request's answer cannot be that to another text.
    fn question(&self, _body: &Json<'_>) -> Result<String, NoQuestion> {
        Err(NoQuestion::NoText)
    }

    /// The text of an answer that is one document; `None` if it is more than a text, or several.
    fn answer_text(&self, _answer: &Json<'_>) -> Option<String> {
        None
    }

    /// The text of an answer that is a complete stream. An API whose streams may lack what a document has reads them here.
    fn streamed_text(&self, events: &[sse::Event]) -> Option<String> {
        self.answer_text(&Json::parse(&self.to_whole(events)?).ok()?)
    }

    /// The model that a request to `path` names.
    fn model(&self, body: &Json<'_>, _path: &str) -> Option<String> {
        text_of(body, "model")
    }

    /// Where an answer, or an event of its stream, names what it depends on, as JSON pointers.
    fn tags(&self) -> &'static [&'static str] {
        &[]
    }

    /// Whether a request without a `stream` member asks for a stream.
    fn streams_by_default(&self) -> bool {
        false
    }

    /// Whether `stream_options.include_usage` makes a stream report its usage.
    fn can_ask_for_usage(&self) -> bool {
        false
    }

    /// Whether the request limits the answer's length.
    fn sets_limit(&self, _body: &Json<'_>) -> bool {
        false
    }

    /// Whether the request wants JSON for the answer's text.
    fn wants_json(&self, _body: &Json<'_>) -> bool {
        false
    }

    /// How many choices the request asks for.
    fn choices(&self, _body: &Json<'_>) -> u64 {
        1
    }

    /// The description of the API, if its requests have several inputs.
    fn batch_api(&self) -> Option<&'static BatchApi> {
        None
    }

    /// How many documents the request has to be ranked, and how many results it wants.
    fn ranks(&self, _body: &Json<'_>) -> Ranks {
        Ranks::default()
    }

    /// Whether the upstream answers the request before the work is done.
    fn runs_in_background(&self, _body: &Json<'_>) -> bool {
        false
    }

    /// Whether the upstream keeps the answer for its caller, who may name it later by its id.
    fn is_kept_by_service(&self, _body: &Json<'_>) -> bool {
        false
    }

    /// Whether a stream ends with this event, whatever comes behind it. Each event is looked at as it comes,
    /// so this searches for a word before it parses JSON. `end` is what the route says of it.
    fn ends_with(&self, event: &sse::Event, end: Option<&StreamEnd>) -> bool;

    /// Whether an answer that is not divided is a stream all the same: one JSON list of documents.
    fn is_list(&self, _body: &[u8]) -> bool {
        false
    }

    /// Judges an answer that is one document, or such a list.
    fn document(&self, document: &Document<'_>, options: &JudgeOptions<'_>) -> Answer {
        match document.json() {
            Some(json) => self.whole(json, options),
            None => Answer::not_stored(Reason::Invalid),
        }
    }

    /// Judges an answer that is one JSON document, or such a list.
    fn whole(&self, _json: &Json<'_>, _options: &JudgeOptions<'_>) -> Answer {
        Answer::not_stored(Reason::Invalid)
    }

    /// Judges an answer that is a stream of events.
    fn stream(&self, events: &[sse::Event], options: &JudgeOptions<'_>) -> Answer;

    /// The media type of the API's streams.
    fn stream_media(&self) -> &'static str {
        "text/event-stream"
    }

    /// The stream that says what the document `whole` says, with its usage if `with_usage`. `None` if the API
    /// has no streams, or if a stream would lose or invent something.
    fn to_stream(&self, _whole: &Json<'_>, _with_usage: bool) -> Option<Vec<u8>> {
        None
    }

    /// The document that says what a complete stream says. `None` if the API has no streams, or if the
    /// document would lose or invent something.
    fn to_whole(&self, _events: &[sse::Event]) -> Option<Vec<u8>> {
        None
    }

    /// The same complete stream for a request that asks for its usage, or does not, in the API's own framing. `None` if
    /// the stream did not report it, or if the API's streams come in one way only.
    fn with_usage(&self, _events: &[sse::Event], _with_usage: bool) -> Option<Vec<u8>> {
        None
    }
}

/// Whether `json` has a member `name` that is a text with something in it.
pub(super) fn has_text(json: &Json<'_>, name: &str) -> bool {
    json.get(name).and_then(Json::as_str).is_some_and(|text| !text.is_empty())
}

/// Whether `json` has a member `name` that is not null.
pub(super) fn has(json: &Json<'_>, name: &str) -> bool {
    json.get(name).is_some_and(|value| !value.is_null())
}

/// Whether there is a list with something in it.
pub(super) fn is_filled(list: Option<&Json<'_>>) -> bool {
    list.is_some_and(|list| !list.items().is_empty())
}

/// Whether a request asks for JSON with OpenAI's `response_format` or a member like it: an object whose
/// `type` is `json_object` or `json_schema` (platform.openai.com/docs/guides/structured-outputs).
pub(super) fn is_json_format(format: Option<&Json<'_>>) -> bool {
    let kind = format.and_then(|format| format.get("type")).and_then(Json::as_str);
    matches!(kind, Some("json_object" | "json_schema"))
}

/// Whether `name` is one of `known`, in any case and with any `_` and `-` in it. `known` are in lower case
/// and have none.
pub(super) fn is_one_of(name: &str, known: &[&str]) -> bool {
    let plain =
        || name.bytes().filter(|byte| !matches!(byte, b'_' | b'-')).map(|byte| byte.to_ascii_lowercase());
    known.iter().any(|known| plain().eq(known.bytes()))
}

/// A copy of the text under `name`.
pub(super) fn text_of(json: &Json<'_>, name: &str) -> Option<String> {
    json.get(name)?.as_str().map(str::to_owned)
}

/// The values of these members of an object, null for those that are missing. `None` if it is no object, or if it says
/// anything else.
pub(super) fn at_most<'a, const N: usize>(json: Json<'a>, names: [&str; N]) -> Option<[Json<'a>; N]> {
    let Json::Object(members) = json else { return None };
    let mut found = [const { Json::Null }; N];
    for member in members {
        match names.iter().position(|name| member.name == *name) {
            Some(place) => found[place] = member.value,
            None if member.value.is_null() => {}
            None => return None,
        }
    }
    Some(found)
}

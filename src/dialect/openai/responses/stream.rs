//! From a response of OpenAI Responses to its stream
//! (platform.openai.com/docs/api-reference/responses-streaming).
//!
//! The last event has the whole response, so nothing can be lost. What matters is that the earlier events
//! build the same response for a client that reads only those.

use super::{TIMINGS, items};

use crate::{
    dialect::{events::altered, openai::responses::writer::StreamWriter},
    json::{Json, Member},
};

/// The stream that says the response `whole`; `None` if its events are not known.
pub(super) fn to_stream(whole: &Json<'_>) -> Option<Vec<u8>> {
    let end = match whole.get("status")?.as_str()? {
        "completed" => "response.completed",
        "incomplete" => "response.incomplete",
        _ => return None,
    };
    whole.get("id")?.as_str()?;
    let Json::Array(output) = whole.get("output")? else { return None };
    let mut stream = StreamWriter::default();
    let response = untimed(whole);
    let begun = begun(&response);
    stream.event("response.created").member("response", &begun).end();
    stream.event("response.in_progress").member("response", &begun).end();
    for (index, item) in output.iter().enumerate() {
        // Clients tell items apart by these.
        if output[..index].iter().any(|earlier| earlier.get("id") == item.get("id")) {
            return None;
        }
        items::write(index, item, &mut stream)?;
    }
    let last = stream.event(end).member("response", &response);
    match whole.get(TIMINGS).filter(|timings| !timings.is_null()) {
        Some(timings) => last.member(TIMINGS, timings).end(),
        None => last.end(),
    }
    Some(stream.finish())
}

/// The response without what the last event has beside it.
fn untimed<'a>(whole: &Json<'a>) -> Json<'a> {
    let stays = |member: &&Member<'a>| member.name != TIMINGS || member.value.is_null();
    Json::Object(whole.members().iter().filter(stays).cloned().collect())
}

/// The response at its start.
fn begun<'a>(whole: &Json<'a>) -> Json<'a> {
    altered(whole, |member| match &*member.name {
        "status" => Some(Json::text("in_progress")),
        "output" => Some(Json::Array(Vec::new())),
        "output_text" => member.value.as_str().map(|_| Json::text("")),
        "usage" | "incomplete_details" | "completed_at" => Some(Json::Null),
        _ => None,
    })
}

//! From a stream of OpenAI Responses to its response
//! (platform.openai.com/docs/api-reference/responses-streaming): its last event has it whole.

use super::TIMINGS;
use crate::{
    dialect::{api::has, merge::same},
    http::sse,
    json::Json,
};

/// Events that say nothing beyond the response at the end. Partial images and audio do, so they are not here.
const KNOWN: [&str; 46] = [
    "keepalive",
    "response.created",
    "response.queued",
    "response.in_progress",
    "response.output_item.added",
    "response.output_item.done",
    "response.content_part.added",
    "response.content_part.done",
    "response.output_text.delta",
    "response.output_text.done",
    "response.output_text.annotation.added",
    "response.refusal.delta",
    "response.refusal.done",
    "response.function_call_arguments.delta",
    "response.function_call_arguments.done",
    "response.custom_tool_call_input.delta",
    "response.custom_tool_call_input.done",
    "response.reasoning_summary_part.added",
    "response.reasoning_summary_part.done",
    "response.reasoning_summary_text.delta",
    "response.reasoning_summary_text.done",
    "response.reasoning_text.delta",
    "response.reasoning_text.done",
    "response.web_search_call.in_progress",
    "response.web_search_call.searching",
    "response.web_search_call.completed",
    "response.file_search_call.in_progress",
    "response.file_search_call.searching",
    "response.file_search_call.completed",
    "response.code_interpreter_call.in_progress",
    "response.code_interpreter_call.interpreting",
    "response.code_interpreter_call.completed",
    "response.code_interpreter_call_code.delta",
    "response.code_interpreter_call_code.done",
    "response.image_generation_call.in_progress",
    "response.image_generation_call.generating",
    "response.image_generation_call.completed",
    "response.mcp_call.in_progress",
    "response.mcp_call.completed",
    "response.mcp_call.failed",
    "response.mcp_call_arguments.delta",
    "response.mcp_call_arguments.done",
    "response.mcp_list_tools.in_progress",
    "response.mcp_list_tools.completed",
    "response.mcp_list_tools.failed",
    "response.compaction.compacting",
];

/// The members of events. Some are the stream's, and the response at the end has the others.
const MEMBERS: [&str; 20] = [
    "type",
    "sequence_number",
    "obfuscation",
    "response",
    "output_index",
    "content_index",
    "summary_index",
    "annotation_index",
    "item_id",
    "item",
    "part",
    "annotation",
    "delta",
    "text",
    "refusal",
    "arguments",
    "input",
    "name",
    "code",
    "logprobs",
];

/// Whether an event has a member that says more than `response`.
fn says_more(event: &Json<'_>, response: &Json<'_>) -> bool {
    let is_in_response = |name: &str, value| response.get(name).is_some_and(|own| same(own, value));
    event.members().iter().any(|member| {
        let is_known = member.value.is_null() || MEMBERS.contains(&&*member.name);
        !is_known && !is_in_response(&member.name, &member.value)
    })
}

/// The response in the last event, with the timings beside it.
fn timed<'a>(last: &Json<'a>) -> Option<Json<'a>> {
    let mut response = last.get("response")?.clone();
    if let Some(timings) = last.get(TIMINGS).filter(|_| !has(&response, TIMINGS)) {
        response.set(TIMINGS, timings.clone());
    }
    Some(response)
}

/// The response at the end of a complete stream; `None` if the stream said anything that the response does
/// not have.
pub(super) fn to_whole(events: &[sse::Event]) -> Option<Vec<u8>> {
    let (last, earlier) = match events.split_last()? {
        // This API has no `[DONE]`, but some servers end all their streams with one.
        (end, events) if end.data.trim() == "[DONE]" => events.split_last()?,
        split => split,
    };
    let last = Json::parse(last.data.as_bytes()).ok()?;
    let response = timed(&last)?;
    let ended = format!("response.{}", response.get("status")?.as_str()?);
    let kind = last.get("type")?.as_str()?;
    let is_end = kind == ended && matches!(kind, "response.completed" | "response.incomplete");
    if !is_end || says_more(&last, &response) {
        return None;
    }
    let Json::Array(output) = response.get("output")? else { return None };
    earlier.iter().all(|event| is_in(&response, output, event)).then_some(())?;

    let mut out = Vec::new();
    response.write(&mut out);
    Some(out)
}

/// Whether the output at the end has what an event said: not every server repeats in its last event what it
/// has streamed.
fn is_in(response: &Json<'_>, output: &[Json<'_>], event: &sse::Event) -> bool {
    let Ok(json) = Json::parse(event.data.as_bytes()) else { return false };
    let kind = json.get("type").and_then(Json::as_str).unwrap_or_default();
    if json.is_null() {
        return true;
    }
    if !KNOWN.contains(&kind) || says_more(&json, response) {
        return false;
    }
    let number = |name| json.get(name).and_then(Json::as_u64).and_then(|index| usize::try_from(index).ok());
    if !has(&json, "output_index") {
        return true;
    }
    let Some(item) = number("output_index").and_then(|index| output.get(index)) else { return false };
    let part = |list, index: usize| item.get(list).and_then(|parts| parts.items().get(index));
    let place = match (number("content_index"), number("summary_index")) {
        (Some(index), _) => part("content", index),
        (_, Some(index)) => part("summary", index),
        _ => Some(item),
    };
    let Some(place) = place else { return false };
    let empty = |list: &Json<'_>| list.items().is_empty();
    match kind.rsplit('.').next() {
        Some("done") => {
            let texts = ["text", "refusal", "arguments", "input", "code", "logprobs"];
            let has = |name: &&str| json.get(name).is_none_or(|own| covers(place.get(name), own));
            json.get("item").is_none_or(|done| has_all(item, done))
                && json.get("part").is_none_or(|part| covers(Some(place), part))
                && texts.iter().all(has)
        }
        Some("delta") => json.get("logprobs").is_none_or(empty) || !place.get("logprobs").is_none_or(empty),
        _ => json.get("annotation").is_none_or(|added| {
            let annotations = place.get("annotations").map_or(&[][..], Json::items);
            annotations.iter().any(|annotation| covers(Some(annotation), added))
        }),
    }
}

/// Whether an item at the end says all that it said when it was done.
fn has_all(item: &Json<'_>, done: &Json<'_>) -> bool {
    done.members().iter().all(|member| match &*member.name {
        // Some servers make these again each time they write an item.
        "id" | "encrypted_content" => true,
        name => covers(item.get(name), &member.value),
    })
}

/// Whether `value` says all that `earlier` says. Null and an empty list say nothing.
fn covers(value: Option<&Json<'_>>, earlier: &Json<'_>) -> bool {
    match (value, earlier) {
        (_, Json::Null) => true,
        (None | Some(Json::Null), Json::Array(earlier)) => earlier.is_empty(),
        (None | Some(Json::Null), _) => false,
        (Some(Json::Object(_)), Json::Object(members)) => members
            .iter()
            .all(|member| covers(value.and_then(|value| value.get(&member.name)), &member.value)),
        (Some(Json::Array(items)), Json::Array(earlier)) => {
            let are_covered = || items.iter().zip(earlier).all(|(item, earlier)| covers(Some(item), earlier));
            earlier.is_empty() || items.len() == earlier.len() && are_covered()
        }
        (Some(value), earlier) => value == earlier,
    }
}

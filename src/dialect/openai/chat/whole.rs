//! From a chat's stream to its document (platform.openai.com/docs/api-reference/chat/object).

use super::rules::{CHOICE, NAMES};
use crate::{
    dialect::{
        merge,
        openai::{value_mut, whole},
    },
    http::sse,
    json::{Json, Member},
};

/// The document that says what a complete stream says.
pub(super) fn to_whole(events: &[sse::Event]) -> Option<Vec<u8>> {
    let (whole, mut choices) = whole::merged(events, CHOICE, NAMES)?;
    for choice in &mut choices {
        complete(merge::members_of(choice)?)?;
    }
    Some(whole::write(whole, choices))
}

/// Makes a choice of a document from what the chunks said about it.
fn complete(choice: &mut Vec<Member<'_>>) -> Option<()> {
    // The document's name for `delta`. In chunks it is null at most.
    choice.retain(|member| member.name != "message");
    ensure(choice, 1, "delta", Json::Object(Vec::new()));
    let delta = choice.iter_mut().find(|member| member.name == "delta")?;
    delta.name = "message".into();
    let message = merge::members_of(&mut delta.value)?;
    // An answer is always the assistant's.
    ensure(message, 0, "role", Json::text("assistant"));
    // A document always has these two, null if there is nothing.
    ensure(message, 1, "content", Json::Null);
    ensure(message, 2, "refusal", Json::Null);
    if let Some(Json::Array(calls)) = value_mut(message, "tool_calls") {
        calls.sort_by_key(merge::index_of);
        for call in calls {
            // In chunks, the number says which call a part is of. In a document, calls are whole.
            merge::members_of(call)?.retain(|member| member.name != "index");
        }
    }
    Some(())
}

fn ensure<'a>(members: &mut Vec<Member<'a>>, place: usize, name: &'static str, default: Json<'a>) {
    match members.iter_mut().find(|member| member.name == name) {
        Some(member) if member.value.is_null() => member.value = default,
        Some(_) => {}
        None => members.insert(place.min(members.len()), Member::new(name, default)),
    }
}

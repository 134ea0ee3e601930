//! The text of a request and of a response, where there is nothing but text.

use crate::{
    dialect::{
        answer_text::text_of_parts,
        question::{Messages, NoQuestion, refuse_kept},
    },
    json::Json,
};

const MESSAGES: Messages = Messages {
    list: "input",
    content: "content",
    roles: &["system", "developer", "user", "assistant"],
    texts: &["input_text", "output_text", "text"],
    thoughts: &["refusal"],
};

/// Where the text is that the user has asked last.
pub(super) fn question(body: &Json<'_>) -> Result<String, NoQuestion> {
    refuse_kept(body, &["previous_response_id", "conversation", "prompt"])?;
    match body.get("input") {
        Some(Json::String(_)) => Ok("/input".to_owned()),
        Some(Json::Array(items)) => {
            items.iter().try_for_each(check)?;
            MESSAGES.text_of_last(items)
        }
        _ => Err(NoQuestion::NoText),
    }
}

/// Whether an item of the input is a message of text, or what the model thought.
fn check(item: &Json<'_>) -> Result<(), NoQuestion> {
    match item.get("type").and_then(Json::as_str) {
        Some("message") => MESSAGES.check(item),
        None if item.get("role").is_some() => MESSAGES.check(item),
        Some("reasoning") => Ok(()),
        // Its type may be left out.
        Some("item_reference") | None => Err(NoQuestion::Conversation),
        Some(kind) if kind.contains("call") => Err(NoQuestion::ToolResults),
        Some(_) => Err(NoQuestion::Media),
    }
}

/// The text of a response with these items.
pub(super) fn answer_text(items: &[Json<'_>]) -> Option<String> {
    let text = |item: &Json<'_>| match item.get("type").and_then(Json::as_str)? {
        "message" => text_of_parts(item.get("content")?, &["output_text"], &[]),
        "reasoning" => Some(String::new()),
        _ => None,
    };
    items.iter().map(text).collect()
}

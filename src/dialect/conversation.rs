//! Conversations: which requests name one, and answers that open one.

use std::ops::Range;

use bytes::Bytes;

use super::sse::Framing;
use crate::{json::Json, policy::Reason};

/// The members that name a conversation by a text or a number.
const IDS: [&str; 3] = ["conversation_id", "session_id", "thread_id"];
/// The member that names one by a text, or by an object with an `id`.
const OBJECT: &str = "conversation";

/// Whether a request's or an answer's body names a conversation.
pub fn names_conversation(body: &Json<'_>) -> bool {
    !id_spans(body).is_empty()
}

/// Where the ids are in the text that `json` was read from.
fn id_spans(json: &Json<'_>) -> Vec<Range<usize>> {
    let mut spans: Vec<_> = IDS
        .iter()
        .filter_map(|name| json.member(name))
        .filter(|member| matches!(member.value, Json::String(_) | Json::Number(_)))
        .map(|member| member.span.clone())
        .collect();
    match json.member(OBJECT) {
        Some(member) if member.value.is_object() => {
            let id = member.value.member("id").filter(|id| !id.value.is_null());
            spans.extend(id.map(|id| id.span.clone()));
        }
        Some(member) if matches!(member.value, Json::String(_)) => spans.push(member.span.clone()),
        _ => {}
    }
    spans
}

/// The body with the ids of the conversation that it opens set to null; `None` where it opens none.
///
/// # Errors
/// Where an id cannot be taken out: such an answer is for its own caller only.
pub(super) fn without_opened(framing: Framing, body: &[u8]) -> Result<Option<Bytes>, Reason> {
    let mut spans = Vec::new();
    if let Some(events) = framing.events(body) {
        for event in events {
            let Ok(json) = Json::parse(event.data.as_bytes()) else { continue };
            let ids = id_spans(&json);
            match event.span {
                Some(at) => spans.extend(ids.into_iter().map(|id| at.start + id.start..at.start + id.end)),
                // The data is on several lines, and what was read is a copy of it.
                None if !ids.is_empty() => return Err(Reason::OpensConversation),
                None => {}
            }
        }
    } else if let Ok(json) = Json::parse(body) {
        spans = id_spans(&json);
    }
    if spans.is_empty() {
        return Ok(None);
    }
    spans.sort_by_key(|span| span.start);
    Ok(Some(with_nulls(body, &spans)))
}

fn with_nulls(body: &[u8], spans: &[Range<usize>]) -> Bytes {
    let mut out = Vec::with_capacity(body.len());
    let mut at = 0;
    for span in spans {
        out.extend_from_slice(&body[at..span.start]);
        out.extend_from_slice(b"null");
        at = span.end;
    }
    out.extend_from_slice(&body[at..]);
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nulled(framing: Framing, body: &'static str) -> Option<String> {
        let body = Bytes::from_static(body.as_bytes());
        without_opened(framing, &body)
            .expect("ids on one line")
            .map(|out| String::from_utf8(out.to_vec()).expect("UTF-8"))
    }

    #[test]
    fn requests_name_conversations() {
        for (text, expected) in [
            (r#"{"query":"q","conversation_id":"c"}"#, true),
            (r#"{"query":"q","session_id":7}"#, true),
            (r#"{"query":"q","conversation":{"id":"c"}}"#, true),
            (r#"{"query":"q","conversation":"c"}"#, true),
            (r#"{"query":"q","conversation_id":null}"#, false),
            (r#"{"query":"q","conversation":{}}"#, false),
            (r#"{"previous_response_id":"r"}"#, false),
        ] {
            assert_eq!(names_conversation(&Json::parse(text.as_bytes()).expect("JSON")), expected, "{text}");
        }
    }

    #[test]
    fn opened_ids_are_nulled_and_all_else_is_unchanged() {
        assert_eq!(
            nulled(Framing::Whole, r#"{ "answer" : "a", "conversation_id" : "c\u0031", "session_id":4 }"#)
                .as_deref(),
            Some(r#"{ "answer" : "a", "conversation_id" : null, "session_id":null }"#)
        );
        assert_eq!(
            nulled(Framing::Whole, r#"{"conversation":{"id":"c","turn":1},"answer":"a"}"#).as_deref(),
            Some(r#"{"conversation":{"id":null,"turn":1},"answer":"a"}"#)
        );
        assert_eq!(nulled(Framing::Whole, r#"{"answer":"conversation_id"}"#), None);
        assert_eq!(
            nulled(Framing::Events, "data: {\"thread_id\": \"t\"}\n\ndata: x\n\ndata: [DONE]\n\n").as_deref(),
            Some("data: {\"thread_id\": null}\n\ndata: x\n\ndata: [DONE]\n\n")
        );
    }
}

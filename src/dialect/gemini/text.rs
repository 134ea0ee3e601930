//! The text of a request and of an answer, where there is nothing but text.

use crate::{
    dialect::question::{Messages, NoQuestion, refuse_kept},
    json::Json,
};

/// Parts have no type; the first message may have no role.
const CONTENTS: Messages =
    Messages { list: "contents", content: "parts", roles: &["user", "model"], texts: &[], thoughts: &[] };

/// Where the text is that the user has asked last.
pub(super) fn question(body: &Json<'_>) -> Result<String, NoQuestion> {
    refuse_kept(body, &["cachedContent", "cached_content"])?;
    let modalities = super::setting(body, ["responseModalities", "response_modalities"]);
    let is_text =
        |modality: &Json<'_>| modality.as_str().is_some_and(|name| name.eq_ignore_ascii_case("text"));
    if !modalities.map_or(&[][..], Json::items).iter().all(is_text) {
        return Err(NoQuestion::Media);
    }
    CONTENTS.last_text(body)
}

/// The text of the only candidate, without what the model thought.
pub(super) fn answer_text(answer: &Json<'_>) -> Option<String> {
    let [candidate] = answer.get("candidates")?.items() else { return None };
    candidate.get("content")?.get("parts")?.items().iter().map(said).collect()
}

/// What a part says; `None` if it is more than a text.
fn said<'j>(part: &'j Json<'_>) -> Option<&'j str> {
    let is_known = |name: &str| matches!(name, "text" | "thought" | "thoughtSignature");
    let is_text = part.members().iter().all(|member| is_known(&member.name));
    let text = part.get("text")?.as_str().filter(|_| is_text)?;
    let is_thought = part.get("thought").and_then(Json::as_bool) == Some(true);
    Some(if is_thought { "" } else { text })
}

//! What the values look like that tell of a client alone. Each function knows one shape, and takes nothing else.

use crate::json::Json;

/// Whether a value, which is a member of the object behind it, has the shape.
pub(super) type Shape = fn(&Json<'_>, &Json<'_>) -> bool;

pub(super) fn is_text(value: &Json<'_>, _object: &Json<'_>) -> bool {
    value.as_str().is_some()
}

/// A text beside a member that Codex alone sends.
pub(super) fn is_text_of_codex(value: &Json<'_>, object: &Json<'_>) -> bool {
    let is_codex = |name: &str| object.get(name).is_some_and(|value| value.as_str().is_some());
    value.as_str().is_some() && ["x-codex-installation-id", "x-codex-window-id"].into_iter().any(is_codex)
}

/// The id of an item of Responses that the client has made, with all that the item says beside it: a message that is
/// no model's, or what a tool has said.
pub(super) fn is_id_of_clients_item(value: &Json<'_>, item: &Json<'_>) -> bool {
    let text = |name: &str| item.get(name).and_then(Json::as_str);
    let has = |name: &str| item.get(name).is_some_and(|value| !value.is_null());
    let is_whole = match text("type") {
        Some("message") | None => {
            matches!(text("role"), Some("user" | "system" | "developer")) && has("content")
        }
        Some("function_call_output" | "custom_tool_call_output") => has("call_id") && has("output"),
        Some(_) => false,
    };
    is_whole && value.as_str().is_some()
}

/// Whether no item of the list refers to another one by its id.
pub(super) fn has_no_reference(list: &Json<'_>) -> bool {
    let is_reference = |item: &Json<'_>| item.get("type").and_then(Json::as_str) == Some("item_reference");
    !list.items().iter().any(is_reference)
}

/// What the lines that Claude Code puts before its system prompt begin with.
const BILLING: &str = "x-anthropic-billing-header: ";

/// The names in such a line; the first two are always there.
const BILLING_FIELDS: [&str; 4] = ["cc_version", "cc_entrypoint", "cch", "cc_workload"];

/// The whole text of a block of text, if that is one line of known fields: version, entry point, a hash of the
/// request, and how urgent it is.
pub(super) fn is_billing_line(value: &Json<'_>, block: &Json<'_>) -> bool {
    let is_block = block.get("type").and_then(Json::as_str) == Some("text");
    is_block && value.as_str().is_some_and(is_billing_text)
}

pub(super) fn is_billing_text(text: &str) -> bool {
    let Some(fields) = text.strip_prefix(BILLING).and_then(|rest| rest.strip_suffix(';')) else {
        return false;
    };
    let mut seen = [false; BILLING_FIELDS.len()];
    let all_known = fields.split("; ").all(|field| {
        let Some((name, value)) = field.split_once('=') else { return false };
        let Some(at) = BILLING_FIELDS.iter().position(|own| *own == name) else { return false };
        !std::mem::replace(&mut seen[at], true) && is_token(value)
    });
    all_known && seen[0] && seen[1]
}

/// A longer text is no id.
const MAX_TOKEN: usize = 64;

fn is_token(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'+');
    (1..=MAX_TOKEN).contains(&text.len()) && text.bytes().all(is_plain)
}

/// Anthropic's `metadata.user_id` as Claude Code fills it: the device, the account and the session, either as JSON or
/// as `user_…_account_…_session_…`. What other clients write there may be a user that a service knows.
pub(super) fn is_coding_session(value: &Json<'_>, _metadata: &Json<'_>) -> bool {
    value.as_str().is_some_and(is_session_text)
}

pub(super) fn is_session_text(text: &str) -> bool {
    if text.starts_with('{') {
        let Ok(json) = Json::parse(text.as_bytes()) else { return false };
        let part = |name: &str| json.get(name).and_then(Json::as_str);
        let [device, account, session] = ["device_id", "account_uuid", "session_id"].map(part);
        return json.members().len() == 3
            && device.is_some_and(is_hash)
            && account.is_some_and(|account| account.is_empty() || is_uuid(account))
            && session.is_some_and(is_uuid);
    }
    let parts = text.strip_prefix("user_").and_then(|rest| rest.split_once("_account_"));
    let Some((device, (account, session))) =
        parts.and_then(|(device, rest)| Some((device, rest.split_once("_session_")?)))
    else {
        return false;
    };
    is_hash(device) && (account.is_empty() || is_uuid(account)) && is_uuid(session)
}

fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36 && uuid::Uuid::parse_str(text).is_ok()
}

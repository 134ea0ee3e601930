//! The formats of a route's keys.

use std::sync::Arc;

use http::Uri;

use super::{
    quote::quote,
    suggest::{closest, did_you_mean},
    value::{DURATION, TEXT, Value, decimal, list_of, one_of, refuse_repeats},
};
use crate::{
    cache::route::{ConversationPlace, Invalidates, Replay, SettleUntil, kind::Kind, pattern::Pattern},
    dialect::StreamEnd,
    http::sse::Framing,
    json::{canonical::Normalize, condition::Condition, mask::Mask, pointer::Pointer},
};

/// The texts of valid patterns.
pub(super) fn patterns(value: &Value) -> Result<Vec<String>, String> {
    const TAKES: &str = "METHOD PATH, or a list of them";
    let texts = match value {
        Value::List(_) => value.texts(TAKES)?,
        _ => vec![value.text(TAKES)?],
    };
    if texts.is_empty() {
        return Err(format!("takes {TAKES}; found an empty list"));
    }
    texts.iter().try_for_each(|text| text.parse::<Pattern>().map(|_| ()))?;
    refuse_repeats(&texts)?;
    Ok(texts.into_iter().map(str::to_owned).collect())
}

pub(super) fn kind(value: &Value) -> Result<Kind, String> {
    one_of(value, &Kind::ALL.map(|kind| (kind.as_str(), kind)))
}

/// Kinds, and `tag:{name}` for a name of all `patterns`.
pub(super) fn invalidates(value: &Value, patterns: &[Pattern]) -> Result<Vec<Invalidates>, String> {
    let Value::List(items) = value else {
        return Err(
            value.mismatch("a list of kinds, and of tags in the path, as in [\"query\", \"tag:{id}\"]")
        );
    };
    let item = |item: &Value| match item {
        Value::Text(text) if text.starts_with("tag:") => {
            let name = text["tag:".len()..].strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
            let name = name.ok_or_else(|| {
                format!(
                    "{} names no part of the path; write \"tag:{{id}}\" for {{id}} in the match",
                    quote(text)
                )
            })?;
            in_all(name, patterns).map(Invalidates::TagInPath)
        }
        item => kind(item).map(Invalidates::Kind),
    };
    items.iter().map(item).collect()
}

/// A name that each of `patterns` has.
fn in_all(name: &str, patterns: &[Pattern]) -> Result<String, String> {
    let has_it = |pattern: &&Pattern| pattern.names().any(|own| own == name);
    match patterns.iter().find(|pattern| !has_it(pattern)) {
        None => Ok(name.to_owned()),
        Some(other) => {
            Err(format!("the match has no `{{{name}}}`{}", did_you_mean(closest(name, other.names()))))
        }
    }
}

/// What divides the bodies of answers; `None` for what their media type says.
pub(super) fn framing(value: &Value) -> Result<Option<Framing>, String> {
    const KNOWN: [(&str, Option<Framing>); 4] = [
        ("auto", None),
        ("sse", Some(Framing::Events)),
        ("ndjson", Some(Framing::Lines)),
        ("text", Some(Framing::Text)),
    ];
    one_of(value, &KNOWN)
}

/// Pointers into a body, `{name}` for a name of all `patterns`, `?name` for a parameter of the query.
pub(super) fn conversation(value: &Value, patterns: &[Pattern]) -> Result<Vec<ConversationPlace>, String> {
    let takes = "a list of JSON pointers, `{name}` for a part of the path, or `?name` for a query parameter";
    list_of(value, takes, |text| {
        if let Some(name) = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            return in_all(name, patterns).map(ConversationPlace::Path);
        }
        match text.strip_prefix('?') {
            Some(name) if !name.is_empty() => Ok(ConversationPlace::Query(name.to_owned())),
            _ => text.parse().map(ConversationPlace::Body),
        }
    })
}

pub(super) fn parameters(value: &Value) -> Result<Vec<String>, String> {
    list_of(value, "a list of query parameters, as in [\"q\"]", |name| Ok(name.to_owned()))
}

pub(super) fn masks(value: &Value) -> Result<Vec<Mask>, String> {
    list_of(value, "a list of regular expressions", str::parse)
}

pub(super) fn replay(value: &Value) -> Result<Replay, String> {
    const NAMED: [(&str, Replay); 2] = [("at-once", Replay::AtOnce), ("recorded", Replay::Recorded)];
    match (one_of(value, &NAMED), (DURATION.parse)(value)) {
        (Ok(replay), _) => Ok(replay),
        (_, Ok(gap)) => Ok(Replay::Every(gap)),
        (_, Err(_)) => Err(value.mismatch("\"at-once\", \"recorded\", or a duration as in \"20ms\"")),
    }
}

/// The APIs know temperatures up to 2.
pub(super) fn temperature(value: &Value) -> Result<f64, String> {
    decimal(value, 2.0, "a temperature from 0 to 2, as in 1.0")
}

pub(super) fn words(value: &Value) -> Result<Vec<String>, String> {
    list_of(value, "a list of words, as in [\"finished\"]", |word| Ok(word.to_owned()))
}

/// Pointers into an answer, and the names of all `patterns` that are written as `{name}`. Without a pointer, the dialect's
/// own count.
pub(super) fn tags(
    value: &Value,
    patterns: &[Pattern],
) -> Result<(Option<Vec<Pointer>>, Vec<String>), String> {
    let (mut pointers, mut names) = (Vec::new(), Vec::new());
    let takes = "a list of JSON pointers, and of `{name}` for parts of the path";
    for text in value.texts(takes)? {
        match text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            Some(name) => names.push(in_all(name, patterns)?),
            None => pointers.push(text.parse()?),
        }
    }
    Ok(((names.is_empty() || !pointers.is_empty()).then_some(pointers), names))
}

pub(super) fn pointers(value: &Value) -> Result<Vec<Pointer>, String> {
    list_of(value, "a list of JSON pointers", str::parse)
}

/// A pointer to a list in a request's body.
pub(super) fn batch(value: &Value) -> Result<Pointer, String> {
    names_alone(value.text("a JSON pointer to a list, as in \"/inputs\"")?)
}

/// Pointers to lists in an answer; an empty text is the answer itself.
pub(super) fn batch_answer(value: &Value) -> Result<Arc<[Pointer]>, String> {
    const TAKES: &str =
        "a JSON pointer to a list, or a list of them, as in \"/outputs\"; \"\" is the whole answer";
    let texts = match value {
        Value::Text(text) if text.is_empty() => return Ok([Pointer::whole()].into()),
        Value::List(_) => value.texts(TAKES)?,
        _ => vec![value.text(TAKES)?],
    };
    if texts.is_empty() {
        return Err(format!("takes {TAKES}; found an empty list"));
    }
    refuse_repeats(&texts)?;
    texts.into_iter().map(names_alone).collect()
}

/// A pointer that leads to one value.
fn names_alone(text: &str) -> Result<Pointer, String> {
    let pointer: Pointer = text.parse()?;
    if pointer.is_of_names() {
        Ok(pointer)
    } else {
        Err(format!("{} leads to several values; write the pointer to the list itself", quote(text)))
    }
}

pub(super) fn conditions(value: &Value) -> Result<Vec<Condition>, String> {
    const TAKES: &str = "a list of conditions, as in [\"/status = \\\"ok\\\"\"]";
    let Value::List(items) = value else { return Err(value.mismatch(TAKES)) };
    let condition = |item: &Value| match item {
        Value::List(_) => list_of(item, TAKES, str::parse).map(Condition::any_of),
        item => item.text(TAKES)?.parse(),
    };
    items.iter().map(condition).collect()
}

/// The question whether a service is done, and the conditions of a "yes".
pub(super) fn settle_until(value: &Value) -> Result<SettleUntil, String> {
    const TAKES: &str = "a GET and conditions, as in [\"GET /documents/status\", \"/busy = false\"]";
    let Value::List(items) = value else { return Err(value.mismatch(TAKES)) };
    let target = items.first().and_then(|item| item.text(TAKES).ok()?.strip_prefix("GET "));
    let target =
        target.map(str::trim).filter(|target| target.starts_with('/') && target.parse::<Uri>().is_ok());
    match (target, items.get(1..).unwrap_or_default()) {
        (Some(target), rest @ [_, ..]) => {
            let conditions = conditions(&Value::List(rest.to_vec()))?;
            Ok(SettleUntil { target: target.to_owned(), conditions })
        }
        _ => Err(format!("takes {TAKES}")),
    }
}

/// A text with the beginning of a condition is one; `eof` is the end of the body.
pub(super) fn stream_end(value: &Value) -> Result<StreamEnd, String> {
    match (TEXT.parse)(value)? {
        text if text == "eof" => Ok(StreamEnd::Eof),
        text if text.starts_with(['/', '!', '@']) => text.parse().map(StreamEnd::Event),
        text => Ok(StreamEnd::Named(text)),
    }
}

pub(super) fn normalize(value: &Value) -> Result<Vec<Normalize>, String> {
    const KNOWN: [(&str, Normalize); 4] = [
        ("trim", Normalize::Trim),
        ("collapse", Normalize::Collapse),
        ("casefold", Normalize::Casefold),
        ("nfc", Normalize::Nfc),
    ];
    let Value::List(items) = value else {
        return Err(value.mismatch("a list of trim, collapse, casefold and nfc"));
    };
    items.iter().map(|item| one_of(item, &KNOWN)).collect()
}

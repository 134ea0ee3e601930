//! Accounts and differences for people to read.

use super::{
    compare::Difference,
    explanation::{Content, Covered, Explanation, Input, Outcome},
};

/// The longest value that is shown whole where two are compared, in characters.
const SHOWN: usize = 60;

/// Differences beyond this many are counted.
const LISTED: usize = 40;

/// What the proxy makes of a request, a line for each thing.
pub(super) fn explanation(explanation: &Explanation) -> String {
    let query = explanation.query.as_ref().map_or_else(String::new, |query| format!("?{query}"));
    let mut text = line("request", &format!("{} {}{query}", explanation.method, explanation.path));
    match &explanation.outcome {
        Outcome::PassThrough { passed } => {
            text += &line("passed", &format!("to the upstream as it is: {passed}"));
            text += &line("key", "none");
        }
        Outcome::Own { own } => {
            text += &line("answered", &format!("by sidecache itself: {own}"));
            text += &line("key", "none");
        }
        Outcome::Covered(own) => text += &covered(own),
    }
    text
}

fn covered(own: &Covered) -> String {
    let origin = if own.builtin { "built in" } else { "file" };
    let mut text = line("route", &format!("{} ({origin})", own.route));
    let kept =
        own.ttl.map_or_else(|| "kept as the upstream says".to_owned(), |ttl| format!("kept for {ttl} s"));
    text += &line("kind", &format!("{}, {kept}", own.kind));
    text += &line("dialect", own.dialect);
    text += &line("scope", &own.scope);
    for (index, (name, value)) in own.headers.iter().enumerate() {
        text += &line(if index == 0 { "headers" } else { "" }, &format!("{name}: {value}"));
    }
    if !own.left_out.is_empty() {
        text += &line("left out", &own.left_out.join(", "));
    }
    text += &match &own.body {
        Content::Json { normal_form, .. } => line("body", normal_form),
        Content::Bytes { bytes: 0, .. } => line("body", "none"),
        Content::Bytes { bytes, blake3 } => line("body", &format!("{bytes} bytes, {blake3}")),
    };
    if let Some(reason) = own.bypass {
        text += &line("bypass", &format!("{reason}: the store is not asked"));
    }
    match &own.inputs[..] {
        [] | [_] => text += &line("key", own.key.as_deref().unwrap_or("none")),
        // Each has an entry of its own.
        inputs => {
            for Input { input, key } in inputs {
                text += &line("key", &format!("{key}  {}", short(Some(input))));
            }
        }
    }
    text
}

fn line(label: &str, text: &str) -> String {
    format!("{label:9} {text}\n")
}

/// Which parts make two keys differ.
pub(super) fn differences(found: &[Difference]) -> String {
    let mut text = String::from("the keys differ:\n");
    for difference in found.iter().take(LISTED) {
        let Difference { part, at, left, right } = difference;
        let place = format!("{part} {at}");
        text += &format!(
            "  {:24} {}  |  {}\n",
            place.trim_end(),
            short(left.as_deref()),
            short(right.as_deref())
        );
    }
    if found.len() > LISTED {
        text += &format!("  and {} more; --json has all of them\n", found.len() - LISTED);
    }
    text
}

fn short(value: Option<&str>) -> String {
    let Some(value) = value else { return "(none)".to_owned() };
    match value.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &value[..end]),
        None => value.to_owned(),
    }
}

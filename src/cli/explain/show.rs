//! Writes explanations and differences as text.

use super::{
    compare::Difference,
    explanation::{Content, Covered, Explanation, FormPart, Input, Outcome, Tried},
    meaning,
};

/// The longest value that a comparison shows whole, in characters.
const MAX_VALUE: usize = 60;

/// The most differences that are listed. The others are counted.
const MAX_LISTED: usize = 40;

pub(super) fn show_explanation(explanation: &Explanation) -> String {
    let query = explanation.query.as_ref().map_or_else(String::new, |query| format!("?{query}"));
    let mut text = line("request", &format!("{} {}{query}", explanation.method, explanation.path));
    for Tried { route, unmet } in &explanation.tried {
        text += &line("tried", &format!("{route}: {unmet} does not hold"));
    }
    match &explanation.outcome {
        Outcome::PassThrough { passed } => {
            text += &line("passed", &format!("to the upstream as it is: {passed}"));
            text += &line("key", "none");
        }
        Outcome::OwnPage { own } => {
            text += &line("answered", &format!("by sidecache itself: {own}"));
            text += &line("key", "none");
        }
        Outcome::Covered(covered) => text += &show_covered(covered),
    }
    text
}

fn show_covered(covered: &Covered) -> String {
    let mut text = line("route", &format!("{} ({})", covered.route, covered.origin));
    let lifetime =
        covered.ttl.map_or_else(|| "kept as the upstream says".to_owned(), |ttl| format!("kept for {ttl} s"));
    text += &line("kind", &format!("{}, {lifetime}", covered.kind));
    text += &line("dialect", covered.dialect);
    text += &line("scope", &covered.scope);
    if let Some(caller) = &covered.caller {
        text += &line("caller", caller);
    }
    if let Some(epoch) = &covered.epoch {
        text += &line("epoch", epoch);
    }
    for (index, (name, value)) in covered.headers.iter().enumerate() {
        text += &line(if index == 0 { "headers" } else { "" }, &format!("{name}: {value}"));
    }
    if !covered.left_out.is_empty() {
        text += &line("left out", &covered.left_out.join(", "));
    }
    text += &match &covered.body {
        Content::Json { normal_form, .. } => line("body", normal_form),
        Content::Bytes { bytes: 0, .. } => line("body", "none"),
        Content::Bytes { bytes, blake3 } => line("body", &format!("{bytes} bytes, {blake3}")),
        Content::Parts { parts } => show_parts(parts),
    };
    if let Some(reason) = covered.bypass {
        text += &line("bypass", &format!("{reason}: the store is not asked"));
    }
    match &covered.inputs[..] {
        [] | [_] => text += &line("key", covered.key.as_deref().unwrap_or("none")),
        // Each input has its own entry.
        inputs => {
            for Input { input, key } in inputs {
                text += &line("key", &format!("{key}  {}", shorten(Some(input))));
            }
        }
    }
    if let Some(answer) = &covered.meaning {
        text += &meaning::show(answer);
    }
    text
}

/// A line for each part.
fn show_parts(parts: &[FormPart]) -> String {
    let lines = parts
        .iter()
        .enumerate()
        .map(|(index, part)| line(if index == 0 { "parts" } else { "" }, &part.to_string()));
    lines.collect()
}

pub(super) fn line(label: &str, text: &str) -> String {
    format!("{label:9} {text}\n")
}

pub(super) fn show_differences(found: &[Difference]) -> String {
    let mut text = String::from("the keys differ:\n");
    for difference in found.iter().take(MAX_LISTED) {
        let Difference { part, at, left, right } = difference;
        let place = format!("{part} {at}");
        text += &format!(
            "  {:24} {}  |  {}\n",
            place.trim_end(),
            shorten(left.as_deref()),
            shorten(right.as_deref())
        );
    }
    if found.len() > MAX_LISTED {
        text += &format!("  and {} more; --json has all of them\n", found.len() - MAX_LISTED);
    }
    text
}

fn shorten(value: Option<&str>) -> String {
    let Some(value) = value else { return "(none)".to_owned() };
    match value.char_indices().nth(MAX_VALUE) {
        Some((end, _)) => format!("{}…", &value[..end]),
        None => value.to_owned(),
    }
}

//! Finds the parts of two requests that make their keys differ.

use serde::Serialize;

use super::explanation::{Content, Covered, Explanation, FormPart, Input};
use crate::json::{Json, canonical};

#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Difference {
    /// `route`, `dialect`, `method`, `path`, `query`, `scope`, `identity`, `header`, `body`, `part` or `input`.
    pub(super) part: &'static str,
    /// The header's name; in a body, the JSON pointer; the index of an input.
    pub(super) at: String,
    /// `None` if that request does not have the part.
    pub(super) left: Option<String>,
    pub(super) right: Option<String>,
}

/// Everything that differs. Both requests have keys.
pub(super) fn differences(
    left: (&Explanation, &Covered),
    right: (&Explanation, &Covered),
) -> Vec<Difference> {
    let (left_request, left) = left;
    let (right_request, right) = right;
    let mut found = Vec::new();
    let mut text = |part, left: Option<String>, right: Option<String>| {
        if left != right {
            found.push(Difference { part, at: String::new(), left, right });
        }
    };
    text("route", Some(route(left)), Some(route(right)));
    text("dialect", Some(left.dialect.to_owned()), Some(right.dialect.to_owned()));
    text("method", Some(left_request.method.clone()), Some(right_request.method.clone()));
    text("path", Some(left.in_key.path.clone()), Some(right.in_key.path.clone()));
    text("query", left.in_key.query.clone(), right.in_key.query.clone());
    if left.route == right.route {
        text("scope", Some(left.scope.clone()), Some(right.scope.clone()));
    }
    text("identity", left.identity.clone(), right.identity.clone());
    compare_headers(&left.headers, &right.headers, &mut found);
    match (&left.body, &right.body) {
        (Content::Json { form: left, .. }, Content::Json { form: right, .. }) => {
            let left = canonical::read(left);
            let right = canonical::read(right);
            compare_json("", left.as_ref(), right.as_ref(), &mut found);
        }
        (Content::Parts { parts: left }, Content::Parts { parts: right }) => {
            compare_parts(left, right, &mut found);
        }
        (left, right) => {
            let left = Some(describe_body(left));
            let right = Some(describe_body(right));
            if left != right {
                found.push(Difference { part: "body", at: String::new(), left, right });
            }
        }
    }
    if found.is_empty() {
        compare_inputs(&left.inputs, &right.inputs, &mut found);
    }
    found
}

/// Compares the inputs at each index. Their keys contain everything else, too, so that this says something
/// only if all else is equal.
fn compare_inputs(left: &[Input], right: &[Input], found: &mut Vec<Difference>) {
    for index in 0..left.len().max(right.len()) {
        let left = left.get(index);
        let right = right.get(index);
        if left.map(|input| &input.key) != right.map(|input| &input.key) {
            let text = |input: Option<&Input>| input.map(|input| input.input.clone());
            let at = index.to_string();
            found.push(Difference { part: "input", at, left: text(left), right: text(right) });
        }
    }
}

/// Compares the parts at each place.
fn compare_parts(left: &[FormPart], right: &[FormPart], found: &mut Vec<Difference>) {
    for index in 0..left.len().max(right.len()) {
        let (left, right) = (left.get(index), right.get(index));
        if left == right {
            continue;
        }
        let mut texts = [left, right].map(|part| part.map(FormPart::to_string));
        if texts[0] == texts[1] {
            // They differ in what else their heads say.
            texts = [left, right].map(|part| part.map(|part| part.head.replace("\r\n", ", ")));
        }
        let [left, right] = texts;
        found.push(Difference { part: "part", at: index.to_string(), left, right });
    }
}

fn route(covered: &Covered) -> String {
    format!("{}{}", covered.in_key.route, if covered.builtin { " (built in)" } else { "" })
}

fn describe_body(content: &Content) -> String {
    match content {
        Content::Json { normal_form, .. } => normal_form.clone(),
        Content::Bytes { bytes, blake3 } => format!("{bytes} bytes, {blake3}"),
        Content::Parts { parts } => parts.iter().map(FormPart::to_string).collect::<Vec<_>>().join("; "),
    }
}

fn compare_headers(left: &[(String, String)], right: &[(String, String)], found: &mut Vec<Difference>) {
    let mut names: Vec<_> = left.iter().chain(right).map(|(name, _)| name).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let joined_lines = |all: &[(String, String)]| {
            let lines: Vec<_> =
                all.iter().filter(|(own, _)| own == name).map(|(_, line)| line.as_str()).collect();
            (!lines.is_empty()).then(|| lines.join(" | "))
        };
        let left = joined_lines(left);
        let right = joined_lines(right);
        if left != right {
            found.push(Difference { part: "header", at: name.clone(), left, right });
        }
    }
}

/// Compares two values at the pointer `at`.
fn compare_json(at: &str, left: Option<&Json<'_>>, right: Option<&Json<'_>>, found: &mut Vec<Difference>) {
    match (left, right) {
        (Some(Json::Object(a)), Some(Json::Object(b))) => {
            let mut names: Vec<_> = a.iter().chain(b).map(|member| &*member.name).collect();
            names.sort_unstable();
            names.dedup();
            for name in names {
                let at = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
                compare_json(
                    &at,
                    left.and_then(|json| json.get(name)),
                    right.and_then(|json| json.get(name)),
                    found,
                );
            }
        }
        (Some(Json::Array(a)), Some(Json::Array(b))) => {
            for index in 0..a.len().max(b.len()) {
                compare_json(&format!("{at}/{index}"), a.get(index), b.get(index), found);
            }
        }
        _ if left == right => {}
        _ => {
            let left = left.map(Json::to_json);
            let right = right.map(Json::to_json);
            found.push(Difference { part: "body", at: at.to_owned(), left, right });
        }
    }
}

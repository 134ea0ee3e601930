//! Which parts of two requests make their keys differ.

use serde::Serialize;

use super::explanation::{Content, Covered, Explanation, Input, written};
use crate::json::{Json, canonical};

/// A part of the key that differs.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Difference {
    /// `route`, `dialect`, `method`, `path`, `query`, `header`, `body` or `input`.
    pub(super) part: &'static str,
    /// The header's name; in a body, the JSON pointer; the place of an input.
    pub(super) at: String,
    /// Nothing where the part is not there.
    pub(super) left: Option<String>,
    pub(super) right: Option<String>,
}

/// Everything that differs between two requests that have keys.
pub(super) fn differences(
    left: (&Explanation, &Covered),
    right: (&Explanation, &Covered),
) -> Vec<Difference> {
    let ((a, left), (b, right)) = (left, right);
    let mut found = Vec::new();
    let mut text = |part, left: Option<String>, right: Option<String>| {
        if left != right {
            found.push(Difference { part, at: String::new(), left, right });
        }
    };
    text("route", Some(route(left)), Some(route(right)));
    text("dialect", Some(left.dialect.to_owned()), Some(right.dialect.to_owned()));
    text("method", Some(a.method.clone()), Some(b.method.clone()));
    text("path", Some(a.path.clone()), Some(b.path.clone()));
    text("query", a.query.clone(), b.query.clone());
    headers(&left.headers, &right.headers, &mut found);
    match (&left.body, &right.body) {
        (Content::Json { form: left, .. }, Content::Json { form: right, .. }) => {
            let (left, right) = (canonical::read(left), canonical::read(right));
            json("", left.as_ref(), right.as_ref(), &mut found);
        }
        (left, right) => {
            let (left, right) = (Some(whole(left)), Some(whole(right)));
            if left != right {
                found.push(Difference { part: "body", at: String::new(), left, right });
            }
        }
    }
    if found.is_empty() {
        inputs(&left.inputs, &right.inputs, &mut found);
    }
    found
}

/// Each with the other's in the same place. Their keys differ with everything else too, so that they tell nothing but
/// where all else is the same.
fn inputs(left: &[Input], right: &[Input], found: &mut Vec<Difference>) {
    for place in 0..left.len().max(right.len()) {
        let (left, right) = (left.get(place), right.get(place));
        if left.map(|input| &input.key) != right.map(|input| &input.key) {
            let text = |input: Option<&Input>| input.map(|input| input.input.clone());
            let at = place.to_string();
            found.push(Difference { part: "input", at, left: text(left), right: text(right) });
        }
    }
}

fn route(covered: &Covered) -> String {
    format!("{}{}", covered.route, if covered.builtin { " (built in)" } else { "" })
}

fn whole(content: &Content) -> String {
    match content {
        Content::Json { normal_form, .. } => normal_form.clone(),
        Content::Bytes { bytes, blake3 } => format!("{bytes} bytes, {blake3}"),
    }
}

fn headers(left: &[(String, String)], right: &[(String, String)], found: &mut Vec<Difference>) {
    let mut names: Vec<_> = left.iter().chain(right).map(|(name, _)| name).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let lines = |all: &[(String, String)]| {
            let lines: Vec<_> =
                all.iter().filter(|(own, _)| own == name).map(|(_, line)| line.as_str()).collect();
            (!lines.is_empty()).then(|| lines.join(" | "))
        };
        let (left, right) = (lines(left), lines(right));
        if left != right {
            found.push(Difference { part: "header", at: name.clone(), left, right });
        }
    }
}

/// Both values stand at the pointer `at`.
fn json(at: &str, left: Option<&Json<'_>>, right: Option<&Json<'_>>, found: &mut Vec<Difference>) {
    match (left, right) {
        (Some(Json::Object(a)), Some(Json::Object(b))) => {
            let mut names: Vec<_> = a.iter().chain(b).map(|member| &*member.name).collect();
            names.sort_unstable();
            names.dedup();
            for name in names {
                let at = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
                json(&at, left.and_then(|json| json.get(name)), right.and_then(|json| json.get(name)), found);
            }
        }
        (Some(Json::Array(a)), Some(Json::Array(b))) => {
            for index in 0..a.len().max(b.len()) {
                json(&format!("{at}/{index}"), a.get(index), b.get(index), found);
            }
        }
        _ if left == right => {}
        _ => {
            let (left, right) = (left.map(written), right.map(written));
            found.push(Difference { part: "body", at: at.to_owned(), left, right });
        }
    }
}

//! `GET /suggest`: what keeps requests from hitting, and the lines for the configuration that would change it.
//!
//! Names are shown, values never.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{
    cache::{
        insight::{
            almost_hits::AlmostHit,
            parts::PartKind,
            uncovered::{BodyType, UncoveredPath},
        },
        route::Route,
    },
    proxy::state::{Live, Shared},
};

/// The most suggestions of each kind.
const MAX: usize = 50;

pub(super) fn suggest(live: &Live, shared: &Shared) -> Value {
    let (almost_hits, uncovered) = shared.insight.report();
    let almost_hits: Vec<_> = almost_hits.iter().take(MAX).map(|found| almost_hit(live, found)).collect();
    let uncovered: Vec<_> = uncovered.iter().take(MAX).map(uncovered_path).collect();
    json!({"almost_hits": almost_hits, "uncovered": uncovered})
}

fn almost_hit(live: &Live, found: &AlmostHit) -> Value {
    let line = line(found);
    let routes: Vec<_> = live.routes.iter().filter(|route| route.label() == found.route).collect();
    json!({
        "route": found.route,
        "part": part(found),
        "misses": found.count,
        "share": found.share,
        "line": line.map(|line| in_route(&routes, line)),
        "means": means(found),
    })
}

/// The part in words.
fn part(found: &AlmostHit) -> String {
    let name = &found.name;
    match found.kind {
        PartKind::Credential => format!("credentials in `{name}`"),
        PartKind::Header => format!("header `{name}`"),
        PartKind::Query => format!("query parameter `{name}`"),
        PartKind::Member if name.is_empty() => "the body".to_owned(),
        PartKind::Member => format!("member `{name}`"),
        PartKind::Text(_) if name.is_empty() => "a part of the body's text".to_owned(),
        PartKind::Text(_) => format!("a part of the text `{name}`"),
    }
}

/// The key of a route that leaves the part out; `None` if that would not help.
fn line(found: &AlmostHit) -> Option<String> {
    Some(match found.kind {
        PartKind::Credential if found.is_new_each_time => return None,
        PartKind::Credential => "scope = \"shared\"".to_owned(),
        PartKind::Header => format!("ignore_headers = [{}]", quoted(&found.name)),
        PartKind::Query => {
            let others: Vec<_> = found.other_parameters.iter().map(|name| quoted(name)).collect();
            format!("vary_by = [{}]", others.join(", "))
        }
        PartKind::Member => format!("ignore = [{}]", quoted(&found.name)),
        PartKind::Text(nonce) => format!("mask = ['{}']", nonce.pattern()),
    })
}

fn means(found: &AlmostHit) -> &'static str {
    match (found.kind, found.is_new_each_time) {
        (PartKind::Credential, true) => {
            "most requests have credentials that the service has not seen before; no answer can be shared before it accepts them"
        }
        (PartKind::Credential, false) => {
            "callers, or one caller's tokens that rotate, ask the same; those whose credentials the service accepted lately would share answers"
        }
        (PartKind::Query, _) => {
            "only the named query parameters would count; requests that differ in others would share answers"
        }
        (_, true) => "nearly every request has another value; requests with other values would share answers",
        (_, false) => {
            "requests with other values would share answers: only if the answer does not depend on it"
        }
    }
}

/// The line, in a table of its own where these routes, which have one name, are built in.
fn in_route(routes: &[&Arc<Route>], line: String) -> String {
    let Some(route) = routes.first().filter(|route| route.builtin) else { return line };
    let patterns: Vec<_> = routes.iter().map(|route| quoted(route.pattern.as_str())).collect();
    let patterns = match &patterns[..] {
        [one] => one.clone(),
        several => format!("[{}]", several.join(", ")),
    };
    let dialect = route.dialect.map(|dialect| format!("dialect = {}\n", quoted(dialect.as_str())));
    format!(
        "[[route]]\nmatch = {patterns}\nkind = {}\n{}{line}",
        quoted(route.kind.as_str()),
        dialect.filter(|_| route.kind.as_str() == "query").unwrap_or_default()
    )
}

/// A text as TOML writes it.
fn quoted(text: &str) -> String {
    Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

fn uncovered_path(found: &UncoveredPath) -> Value {
    let UncoveredPath { method, path, requests, repeats, question, answer } = found;
    json!({
        "method": method,
        "path": path,
        "requests": requests,
        "repeats": repeats,
        "questions": body_type(*question),
        "answers": body_type(*answer),
        "line": route_line(found),
    })
}

const fn body_type(body_type: BodyType) -> &'static str {
    match body_type {
        BodyType::Json => "json",
        BodyType::Stream => "stream",
        BodyType::Other => "other",
    }
}

/// A route for such requests; `None` where they seem to change something, or where a route would save nothing.
fn route_line(found: &UncoveredPath) -> Option<String> {
    let kind = match (&*found.method, found.question) {
        ("GET", _) => "document",
        ("POST", BodyType::Json) => "query",
        _ => return None,
    };
    (found.repeats > 0).then(|| {
        let pattern = quoted(&format!("{} {}", found.method, found.path));
        let end = match found.answer {
            BodyType::Stream => "\n# Its streams: stream_end = what ends one, if it is no dialect's own (docs/CONFIGURATION.md).",
            _ => "",
        };
        format!("[[route]]\nmatch = {pattern}\nkind = \"{kind}\"{end}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::insight::nonce::Nonce;

    fn found(kind: PartKind, name: &str) -> AlmostHit {
        AlmostHit {
            route: "r".to_owned(),
            kind,
            name: name.to_owned(),
            count: 9,
            share: 0.5,
            is_new_each_time: true,
            other_parameters: vec!["q".to_owned(), "top \"k\"".to_owned()],
        }
    }

    #[test]
    fn each_line_loads_in_a_route() {
        for (kind, name, expected) in [
            (PartKind::Credential, "authorization", "scope = \"shared\""),
            (PartKind::Header, "x-run-id", "ignore_headers = [\"x-run-id\"]"),
            (PartKind::Query, "_", "vary_by = [\"q\", \"top \\\"k\\\"\"]"),
            (PartKind::Member, "/a/*/b~1\"\u{7f}\n", "ignore = [\"/a/*/b~1\\\"\\u007f\\n\"]"),
            (PartKind::Text(Nonce::Digits), "/query", r"mask = ['\d{9,}']"),
            (
                PartKind::Text(Nonce::Time),
                "/query",
                r"mask = ['\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?']",
            ),
            (
                PartKind::Text(Nonce::Uuid),
                "/query",
                "mask = ['[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}']",
            ),
            (PartKind::Text(Nonce::Hex), "/query", "mask = ['[0-9a-fA-F]{12,}']"),
        ] {
            let line = line(&AlmostHit { is_new_each_time: false, ..found(kind, name) }).expect("a line");
            assert_eq!(line, expected);
            let text = format!(
                "upstream.url = \"http://127.0.0.1\"\n[[route]]\nmatch = \"POST /a\"\nkind = \"query\"\n{line}"
            );
            let inputs = crate::config::Inputs { file: Some(("s.toml".into(), text)), ..Default::default() };
            assert!(crate::config::load(&inputs).is_ok(), "{line}");
        }
        assert_eq!(line(&found(PartKind::Credential, "authorization")), None, "they must be accepted first");
    }
}

//! What the path and the query of a request say: the model, the form of the answer, and credentials.
//!
//! The API's two methods differ in nothing but the form of their answer, so both have one key.

use std::borrow::Cow;

use http::{HeaderName, header};

use crate::dialect::ask::Form;

/// How the path of a request for a document ends.
const DOCUMENT: &str = ":generateContent";

/// How the path of a request for a stream ends.
const STREAM: &str = ":streamGenerateContent";

/// How the paths of this API end.
pub(in crate::dialect) const ENDINGS: &[&str] = &[DOCUMENT, STREAM];

/// The parameters that choose how an answer is written (cloud.google.com/apis/docs/system-parameters).
const FORMATS: [&str; 2] = ["alt", "$alt"];

/// The parameters that hold credentials, each with the header that it replaces (the same page, and the list of
/// standard parameters at generativelanguage.googleapis.com/$discovery/rest).
static CREDENTIALS: [(&str, HeaderName); 4] = [
    ("key", HeaderName::from_static("x-goog-api-key")),
    ("$key", HeaderName::from_static("x-goog-api-key")),
    ("access_token", header::AUTHORIZATION),
    ("oauth_token", header::AUTHORIZATION),
];

/// The form that a request to `path` with `query` asks for. Without `alt=sse`, a stream is one JSON list. What else a
/// service may write is not known here; a gateway in between may know `alt` alone.
pub(in crate::dialect) fn form(path: &str, query: &str) -> Form {
    let is_format = |pair: &&str| FORMATS.contains(&&*decoded(pair).0);
    let pairs: Vec<&str> = query.split('&').filter(is_format).collect();
    let (name, format) = pairs.first().map(|pair| decoded(pair)).unwrap_or_default();
    let streams = path.ends_with(STREAM);
    match (streams, pairs.len(), &*name, &*format) {
        (false, 0, ..) | (false, 1, "alt", "json") => Form::default(),
        (true, 0, ..) | (true, 1, "alt", "json") => Form::LIST,
        (true, 1, "alt", "sse") => Form::EVENTS,
        // The pairs as they came: no two lists of them are written alike.
        _ => Form::odd(format!("{streams} {}", pairs.join("&")).as_bytes()),
    }
}

/// The name and the value of a parameter.
fn decoded(pair: &str) -> (Cow<'_, str>, Cow<'_, str>) {
    form_urlencoded::parse(pair.as_bytes()).next().unwrap_or_default()
}

/// The path in the key.
pub(in crate::dialect) fn path_in_key(path: &str) -> Cow<'_, str> {
    match path.strip_suffix(STREAM) {
        Some(model) => Cow::Owned(format!("{model}{DOCUMENT}")),
        None => Cow::Borrowed(path),
    }
}

/// Whether the parameter `name` chooses the form.
pub(in crate::dialect) fn chooses_form(name: &str) -> bool {
    FORMATS.contains(&name)
}

/// The header that the parameter `name` replaces, if it holds a credential.
pub(in crate::dialect) fn credential(name: &str) -> Option<&'static HeaderName> {
    CREDENTIALS.iter().find(|(own, _)| *own == name).map(|(_, header)| header)
}

/// The model that the path names.
pub(super) fn model(path: &str) -> Option<&str> {
    let last = path.rsplit('/').next()?;
    ENDINGS.iter().find_map(|ending| last.strip_suffix(ending)).filter(|model| !model.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_and_alt_choose_the_form() {
        let stream = "/v1beta/models/m:streamGenerateContent";
        let document = "/v1beta/models/m:generateContent";
        for (path, query, expected) in [
            (document, "", Form::default()),
            (document, "key=k", Form::default()),
            (document, "alt=json", Form::default()),
            (stream, "", Form::LIST),
            (stream, "key=k&alt=json", Form::LIST),
            (stream, "alt=sse", Form::EVENTS),
            (stream, "%61lt=s%73e&key=k", Form::EVENTS),
        ] {
            assert_eq!(form(path, query), expected, "{path} {query}");
        }
        let mut odd = Vec::new();
        for (path, query) in [
            (document, "alt=sse"),
            (stream, "alt=proto"),
            (stream, "alt=SSE"),
            (stream, "alt="),
            (stream, "alt=sse&alt=json"),
            (stream, "alt=json&alt=sse"),
            (stream, "$alt=sse"),
            (stream, "%24alt=json"),
            (document, "$alt=json"),
            (stream, "$alt=sse&alt=sse"),
            (stream, "alt=sse&alt=sse"),
            (stream, "alt=sse%26alt%3Dsse"),
        ] {
            let form = form(path, query);
            assert!(form.odd && !odd.contains(&form.id), "{path} {query}");
            odd.push(form.id);
        }
    }

    #[test]
    fn the_path_names_the_model() {
        for (path, expected) in [
            ("/v1beta/models/gemini-2.5-flash:generateContent", Some("gemini-2.5-flash")),
            ("/v1/tunedModels/mine:streamGenerateContent", Some("mine")),
            ("/v1/projects/p/locations/l/publishers/google/models/g@001:generateContent", Some("g@001")),
            ("/v1beta/models/:generateContent", None),
            ("/ask", None),
        ] {
            assert_eq!(model(path), expected, "{path}");
        }
    }

    #[test]
    fn both_methods_have_one_path_in_the_key() {
        let key = "/v1/models/m:generateContent";
        assert_eq!(path_in_key(key), key);
        assert_eq!(path_in_key("/v1/models/m:streamGenerateContent"), key);
        assert_eq!(
            path_in_key("/v1/models/m:streamGenerateContent/x"),
            "/v1/models/m:streamGenerateContent/x"
        );
    }
}

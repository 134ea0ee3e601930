//! Parses the body of `POST /purge`: which entries it is about. Pure.

use super::call::{parse_key, parse_kind};
use crate::{
    cache::{
        invalidation::{Target, glob},
        key::{Key, namespace::Namespace},
        route::kind::Kind,
    },
    json::{Json, Member},
};

/// The longest pattern, in bytes. Each lookup may try it.
const MAX_PATTERN: usize = 256;

const SELECTORS: &str = "kind, key, tag, pattern, \"all\": true";

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Purge {
    pub(super) selection: Selection,
    /// Whether to count only.
    pub(super) dry_run: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Selection {
    One(Key),
    /// All entries that depend on the target.
    Many(Target),
}

impl Purge {
    /// Parses exactly one of `kind`, `key`, `tag`, `pattern` and `"all": true`, and `dry_run`.
    ///
    /// # Errors
    /// A text that says what is wrong, and what it should be.
    pub(super) fn parse(text: &[u8], namespace: Namespace) -> Result<Self, String> {
        let json = Json::parse(text).map_err(|error| format!("the body is no JSON: {error}"))?;
        if !json.is_object() {
            return Err(format!("the body is no JSON object with one of {SELECTORS}"));
        }
        let mut selection = None;
        let mut dry_run = false;
        for Member { name, value, .. } in json.members() {
            let text = || value.as_str().ok_or_else(|| format!("{name}: is no text"));
            let selected = match &**name {
                "dry_run" => {
                    dry_run = value.as_bool().ok_or("dry_run: is neither true nor false")?;
                    continue;
                }
                "kind" => Selection::Many(Target::Kind(parse_kind(text()?)?)),
                "key" => Selection::One(parse_key(text()?, namespace)?),
                "tag" if text()?.is_empty() => return Err("tag: is empty".to_owned()),
                "tag" => Selection::Many(Target::Tag(text()?.to_owned())),
                "pattern" => parse_pattern(text()?, namespace)?,
                "all" if value.as_bool() == Some(true) => Selection::Many(Target::All),
                "all" => return Err("all: can only be true".to_owned()),
                _ => return Err(format!("{name:?} is no member: one of {SELECTORS}, and dry_run")),
            };
            if selection.replace(selected).is_some() {
                return Err(format!("give only one of {SELECTORS}"));
            }
        }
        let selection = selection.ok_or_else(|| format!("give one of {SELECTORS}"))?;
        Ok(Self { selection, dry_run })
    }
}

/// Parses a pattern for whole keys, or for keys without their namespace.
fn parse_pattern(text: &str, namespace: Namespace) -> Result<Selection, String> {
    if text.len() > MAX_PATTERN {
        return Err(format!("pattern: is longer than {MAX_PATTERN} bytes"));
    }
    let whole = text.strip_prefix(&*namespace).and_then(|rest| rest.strip_prefix(':'));
    let local = if describes_keys(text) { Some(text) } else { whole.filter(|rest| describes_keys(rest)) };
    let local = local.ok_or_else(|| {
        format!("pattern: {text:?} describes no key of {namespace}; write one as in \"query:*\" or \"{namespace}:query:*\"")
    })?;
    // In the invalidation log, a whole kind takes less than a pattern.
    Ok(match local.strip_suffix(":*").and_then(Kind::from_name) {
        _ if local == "*" => Selection::Many(Target::All),
        Some(kind) => Selection::Many(Target::Kind(kind)),
        None if glob::is_literal(local) => Selection::One(parse_key(local, namespace)?),
        None => Selection::Many(Target::Pattern(local.to_owned())),
    })
}

/// Whether a key without its namespace can begin as the pattern does. A pattern that matches no key is a
/// mistake, and an error says so better than a count of 0.
fn describes_keys(pattern: &str) -> bool {
    let beginning = pattern.split(['*', '?', '[', ']', '\\']).next().unwrap_or_default();
    Kind::ALL.into_iter().any(|kind| {
        let kind = format!("{kind}:");
        let digest = beginning.strip_prefix(&kind);
        let is_hex = |digest: &str| digest.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        kind.starts_with(beginning) || digest.is_some_and(is_hex)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Purge, String> {
        Purge::parse(text.as_bytes(), "ns".into())
    }

    #[test]
    fn one_selector_is_taken() {
        let hex = "0f".repeat(32);
        let key = Key::parse("ns".into(), &format!("query:{hex}")).expect("a key");
        let pattern = |text: &str| Selection::Many(Target::Pattern(text.to_owned()));
        for (text, selection) in [
            (r#"{"all": true}"#.to_owned(), Selection::Many(Target::All)),
            (r#"{"kind": "document"}"#.to_owned(), Selection::Many(Target::Kind(Kind::Document))),
            (r#"{"tag": "a*"}"#.to_owned(), Selection::Many(Target::Tag("a*".to_owned()))),
            (format!(r#"{{"key": "query:{hex}"}}"#), Selection::One(key.clone())),
            (format!(r#"{{"key": "ns:query:{hex}"}}"#), Selection::One(key.clone())),
            (format!(r#"{{"pattern": "ns:query:{hex}"}}"#), Selection::One(key)),
            (r#"{"pattern": "*"}"#.to_owned(), Selection::Many(Target::All)),
            (r#"{"pattern": "ns:*"}"#.to_owned(), Selection::Many(Target::All)),
            (r#"{"pattern": "query:*"}"#.to_owned(), Selection::Many(Target::Kind(Kind::Query))),
            (r#"{"pattern": "ns:query:*"}"#.to_owned(), Selection::Many(Target::Kind(Kind::Query))),
            (r#"{"pattern": "query:0f*"}"#.to_owned(), pattern("query:0f*")),
            (r#"{"pattern": "ns:[qe]*:0?"}"#.to_owned(), pattern("[qe]*:0?")),
            (r#"{"pattern": "*\\a"}"#.to_owned(), pattern("*\\a")),
        ] {
            assert_eq!(parse(&text), Ok(Purge { selection, dry_run: false }), "{text}");
        }
        assert!(parse(r#"{"dry_run": true, "all": true}"#).is_ok_and(|purge| purge.dry_run));
        assert!(parse(r#"{"all": true, "dry_run": false}"#).is_ok_and(|purge| !purge.dry_run));
    }

    #[test]
    fn a_namespace_with_the_name_of_a_kind_is_no_kind() {
        let selection =
            |text: &str| Purge::parse(text.as_bytes(), "query".into()).map(|purge| purge.selection);
        let kind = Ok(Selection::Many(Target::Kind(Kind::Query)));
        assert_eq!(selection(r#"{"pattern": "query:*"}"#), kind);
        assert_eq!(selection(r#"{"pattern": "query:query:*"}"#), kind);
    }

    #[test]
    fn anything_else_is_refused() {
        let hex = "0f".repeat(32);
        for (text, expected) in [
            (String::new(), "no JSON"),
            ("[]".to_owned(), "no JSON object"),
            ("{}".to_owned(), "give one of"),
            (r#"{"dry_run": true}"#.to_owned(), "give one of"),
            (r#"{"all": false}"#.to_owned(), "can only be true"),
            (r#"{"all": "true"}"#.to_owned(), "can only be true"),
            (r#"{"all": true, "all": true}"#.to_owned(), "a repeated member"),
            (r#"{"all": true, "kind": "query"}"#.to_owned(), "only one"),
            (r#"{"kind": "queries"}"#.to_owned(), "no kind"),
            (r#"{"kind": ["query"]}"#.to_owned(), "kind: is no text"),
            (r#"{"tag": ""}"#.to_owned(), "tag: is empty"),
            (r#"{"tag": 7}"#.to_owned(), "tag: is no text"),
            (r#"{"key": "query:0f"}"#.to_owned(), "no key"),
            (format!(r#"{{"key": "other-ns:query:{hex}"}}"#), "no key"),
            (r#"{"all": true, "dry_run": 1}"#.to_owned(), "dry_run"),
            (r#"{"all": true, "dryrun": true}"#.to_owned(), "\"dryrun\" is no member"),
            (r#"{"pattern": "other-ns:*"}"#.to_owned(), "describes no key"),
            (r#"{"pattern": "ns:_:*"}"#.to_owned(), "describes no key"),
            (r#"{"pattern": "_:*"}"#.to_owned(), "describes no key"),
            (r#"{"pattern": "ns:ns:*"}"#.to_owned(), "describes no key"),
            (r#"{"pattern": "query:xyz*"}"#.to_owned(), "describes no key"),
            (r#"{"pattern": ""}"#.to_owned(), "no key"),
            (r#"{"pattern": "query:0f"}"#.to_owned(), "no key"),
            (format!(r#"{{"pattern": "*{hex}*{hex}*{hex}*{hex}"}}"#), "longer"),
        ] {
            let error = parse(&text).expect_err(&text);
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}

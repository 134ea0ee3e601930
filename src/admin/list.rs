//! `GET /entries`: pages of entries, filtered and sorted.

use form_urlencoded::parse as parameters;
use serde_json::{Value, json};

use super::{
    call::parse_kind,
    entries::{age_and_remaining_ttl, describe},
    error::AdminError,
};
use crate::{
    cache::invalidation::{Target, TargetId},
    proxy::state::{Live, Shared},
    store::{Cursor, ListQuery, ListedEntry, Sort},
};

/// How many entries a list has by default.
const DEFAULT_LIMIT: usize = 50;
const MAX_LIMIT: usize = 1000;

/// What a list is asked for.
///
/// # Errors
/// A text that says what is wrong, and what it should be.
pub(super) fn parse(query: &str) -> Result<ListQuery, String> {
    let mut list =
        ListQuery { kind: None, route: None, tag: None, sort: None, cursor: None, limit: DEFAULT_LIMIT };
    for (name, value) in parameters(query.as_bytes()) {
        match &*name {
            "kind" => list.kind = Some(parse_kind(&value)?),
            "route" => list.route = Some(value.into_owned()),
            "tag" => list.tag = TargetId::from_targets(&[Target::Tag(value.into_owned())]).pop(),
            "sort" => list.sort = Some(parse_sort(&value)?),
            "cursor" => list.cursor = Some(parse_cursor(&value)?),
            "limit" => list.limit = parse_limit(&value)?,
            _ => return Err(format!("{name:?} is no parameter: kind, route, tag, sort, cursor, limit")),
        }
    }
    match list.cursor {
        Some(cursor) if cursor.sort != list.sort => {
            Err("cursor: belongs to a list with another sort".to_owned())
        }
        _ => Ok(list),
    }
}

fn parse_sort(text: &str) -> Result<Sort, String> {
    let names = || Sort::ALL.map(Sort::as_str).join(", ");
    Sort::from_name(text).ok_or_else(|| format!("sort: {text:?} is none of {}", names()))
}

fn parse_cursor(text: &str) -> Result<Cursor, String> {
    Cursor::parse(text).ok_or_else(|| format!("cursor: {text:?} came with no list"))
}

fn parse_limit(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=MAX_LIMIT).contains(number));
    number.ok_or_else(|| format!("limit: {text:?} is no number from 1 to {MAX_LIMIT}"))
}

/// The answer.
pub(super) async fn list(live: &Live, shared: &Shared, query: ListQuery) -> Result<Value, AdminError> {
    let list = shared.store.list(live.classify_context.namespace, query).await?;
    let entries: Vec<_> = list.entries.iter().map(item).collect();
    let mut answer = json!({"entries": entries, "more": list.more});
    if list.partial {
        answer["partial"] = true.into();
    }
    if let Some(cursor) = list.cursor {
        answer["cursor"] = cursor.to_string().into();
    }
    Ok(answer)
}

fn item(entry: &ListedEntry) -> Value {
    let ListedEntry { key, stored_at, ttl, size, hits, description } = entry;
    let (age, remaining) = age_and_remaining_ttl(*stored_at, *ttl);
    let mut item = json!({
        "key": key.name(), "kind": key.kind().as_str(), "age": age, "ttl": remaining, "size": size, "hits": hits,
    });
    if let Some(description) = description {
        describe(&mut item, &description.request, &description.tags);
    }
    item
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::route::kind::Kind;

    #[test]
    fn a_query_says_which_entries_in_which_order() {
        let plain =
            ListQuery { kind: None, route: None, tag: None, sort: None, cursor: None, limit: DEFAULT_LIMIT };
        assert_eq!(parse(""), Ok(plain.clone()));
        let hex = "0f".repeat(32);
        let cursor = Cursor::parse(&format!("hits.7.{hex}")).expect("a cursor");
        let wanted = ListQuery {
            kind: Some(Kind::Other),
            route: Some("POST /chat".to_owned()),
            tag: TargetId::from_targets(&[Target::Tag("a b".to_owned())]).pop(),
            sort: Some(Sort::Hits),
            cursor: Some(cursor),
            limit: 1000,
        };
        let query = format!("limit=1000&kind=other&route=POST+%2Fchat&tag=a%20b&sort=hits&cursor={cursor}");
        assert_eq!(parse(&query), Ok(wanted));
        assert_eq!(parse("cursor=walk.7").map(|list| list.cursor), Ok(Cursor::parse("walk.7")));
    }

    #[test]
    fn anything_else_is_refused() {
        for (query, expected) in [
            ("limit=0", "no number from 1 to 1000"),
            ("limit=1001", "no number from 1 to 1000"),
            ("kind=queries", "no kind"),
            ("sort=name", "none of hits, age, size"),
            ("cursor=7", "came with no list"),
            ("cursor=walk.7&sort=hits", "another sort"),
            ("page=2", "no parameter: kind, route, tag, sort, cursor, limit"),
        ] {
            let error = parse(query).expect_err(query);
            assert!(error.contains(expected), "{query}: {error}");
        }
    }
}

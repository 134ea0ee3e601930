//! Calls about entries: listed, shown, put by hand, removed.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::{error::AdminError, new_entry::NewEntry};
use crate::{
    cache::{
        entry::Entry,
        invalidation::{Target, TargetId, Version},
        key::Key,
        route::kind::Kind,
    },
    dialect::{BY_HAND, Form},
    proxy::state::{Live, Shared},
    store::{ListedEntry, StoreError},
    time::{rfc3339, unix_millis},
};

/// `GET /entries`
pub(super) async fn list(
    live: &Live,
    shared: &Shared,
    kind: Option<Kind>,
    limit: usize,
) -> Result<Value, AdminError> {
    let list = shared.store.list(live.classify_context.namespace, kind, limit).await?;
    let entries: Vec<_> = list.entries.iter().map(listed).collect();
    Ok(json!({"entries": entries, "more": list.more}))
}

fn listed(entry: &ListedEntry) -> Value {
    let ListedEntry { key, stored_at, ttl, size, hits } = entry;
    let (age, left) = age_and_rest(*stored_at, *ttl);
    json!({
        "key": key.name(), "kind": key.kind().as_str(), "age": age, "ttl": left, "size": size, "hits": hits,
    })
}

/// The seconds since an entry was stored, and those that it is fresh yet; these are negative once it is stale.
fn age_and_rest(stored_at: u64, ttl: Duration) -> (u64, i64) {
    let age = unix_millis(SystemTime::now()).saturating_sub(stored_at);
    let ttl = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
    (age / 1000, ttl.saturating_sub_unsigned(age).div_euclid(1000))
}

/// `GET /entries/KEY`
pub(super) async fn show(shared: &Shared, key: &Key) -> Result<Value, AdminError> {
    let entry = shared.store.peek(key).await?.ok_or_else(none)?;
    let (age, left) = age_and_rest(entry.stored_at, entry.ttl);
    let stored_at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(entry.stored_at));
    let mut shown = json!({
        "key": key.name(),
        "kind": key.kind().as_str(),
        "status": entry.status.as_u16(),
        "headers": headers(&entry),
        "stored_at": rfc3339(stored_at.unwrap_or(SystemTime::UNIX_EPOCH)),
        "age": age,
        "ttl": left,
        "tags": entry.tags,
    });
    match std::str::from_utf8(&entry.body) {
        Ok(text) => shown["body"] = text.into(),
        Err(_) => shown["body_base64"] = STANDARD.encode(&entry.body).into(),
    }
    Ok(shown)
}

/// Each header has a text; one that came more than once has a list.
fn headers(entry: &Entry) -> Map<String, Value> {
    let mut headers = Map::new();
    for (name, value) in &entry.headers {
        let value = Value::from(String::from_utf8_lossy(value.as_bytes()));
        match headers.get_mut(name.as_str()) {
            None => {
                headers.insert(name.to_string(), value);
            }
            Some(Value::Array(lines)) => lines.push(value),
            Some(first) => *first = Value::Array(vec![first.take(), value]),
        }
    }
    headers
}

/// `PUT /entries/KEY`
pub(super) async fn put(live: &Live, shared: &Shared, key: &Key, text: &[u8]) -> Result<Value, AdminError> {
    let draft = NewEntry::read(text).map_err(AdminError::bad)?;
    let limit = live.config.store.max_entry;
    if draft.body.len() > limit {
        let message = format!("the entry's body is larger than store.max_entry, {limit} bytes");
        return Err(AdminError::new(StatusCode::PAYLOAD_TOO_LARGE, message));
    }
    let ttl = draft.ttl.unwrap_or(live.config.ttls.ttl(key.kind()));
    if ttl.is_zero() {
        return Err(AdminError::bad(
            "the ttl is 0, which stores nothing: give one in seconds, or as in \"30m\"",
        ));
    }
    let replaced = shared.store.peek(key).await?;
    let began = begin(shared, key).await?;
    let target_ids = target_ids(&draft.tags, replaced.as_deref());
    let entry = Entry {
        stored_at: unix_millis(SystemTime::now()),
        ttl,
        began,
        target_ids,
        tags: draft.tags,
        form: BY_HAND,
        ..Entry::new(draft.status, draft.headers, draft.body)
    };
    shared.store.put(key, Arc::new(entry), ttl).await?;
    Ok(json!({"stored": true, "key": key.name()}))
}

/// The place in the order of retirements at which an entry put by hand begins: no answer that is still coming may take
/// its place. Only where there is one is it retired, as many entries may be put, and the order is bounded.
async fn begin(shared: &Shared, key: &Key) -> Result<Version, StoreError> {
    if shared.in_flight.is_running(key.id()) {
        return shared.store.invalidate(&[Target::Key(*key.digest())]).await;
    }
    shared.store.now().ok_or(StoreError::Unavailable)
}

/// What an entry put by hand depends on: its tags, and what its request depends on, as far as the entry in whose place
/// it comes tells.
fn target_ids(tags: &[String], replaced: Option<&Entry>) -> Vec<TargetId> {
    let of =
        |tags: &[String]| TargetId::from_targets(&tags.iter().cloned().map(Target::Tag).collect::<Vec<_>>());
    let mut target_ids = of(tags);
    if let Some(replaced) = replaced {
        let told = of(&replaced.tags);
        target_ids.extend(replaced.target_ids.iter().filter(|target_id| !told.contains(target_id)));
    }
    target_ids
}

/// `DELETE /entries/KEY`
pub(super) async fn remove(shared: &Shared, key: &Key) -> Result<Value, AdminError> {
    if take(shared, key).await? { Ok(json!({"removed": true})) } else { Err(none()) }
}

/// Removes the entry under `key`, with what is kept beside it in another form, and sees to it that no answer that is
/// still coming brings it back; whether there was one.
pub(super) async fn take(shared: &Shared, key: &Key) -> Result<bool, AdminError> {
    let found = shared.store.peek(key).await?;
    shared.store.invalidate(&[Target::Key(*key.digest())]).await?;
    shared.store.remove(key).await?;
    for form in Form::KNOWN_IDS {
        // By now nobody finds it; this gives its space back.
        shared.store.remove(&key.beside(form)).await?;
    }
    Ok(found.is_some())
}

fn none() -> AdminError {
    AdminError::not_found("there is no entry under this key")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn headers_are_told_whole() {
        let header = |name, value| (HeaderName::from_static(name), HeaderValue::from_static(value));
        let lines = [header("a", "1"), header("b", "2"), header("a", "3"), header("a", "4")];
        let entry = Entry::new(StatusCode::OK, lines.into_iter().collect(), Bytes::new());
        assert_eq!(Value::from(headers(&entry)), json!({"a": ["1", "3", "4"], "b": "2"}));
    }

    #[test]
    fn what_the_request_depends_on_stays() {
        let target_id = |target| TargetId::from_targets(&[target]);
        let (old, path) = (target_id(Target::Tag("old".into())), target_id(Target::Path("/d".into())));
        let replaced = Entry {
            tags: vec!["old".to_owned()],
            target_ids: [old, path.clone()].concat(),
            ..Entry::new(StatusCode::OK, HeaderMap::new(), Bytes::new())
        };
        let new = target_id(Target::Tag("new".into()));
        assert_eq!(target_ids(&["new".to_owned()], Some(&replaced)), [new.clone(), path].concat());
        assert_eq!(target_ids(&["new".to_owned()], None), new);
    }

    #[test]
    fn ages_and_rests_are_whole_seconds() {
        let now = unix_millis(SystemTime::now());
        let (age, rest) = age_and_rest(now - 10_500, Duration::from_secs(60));
        assert_eq!((age, rest), (10, 49));
        assert_eq!(age_and_rest(now - 10_500, Duration::from_secs(5)).1, -6);
        assert_eq!(age_and_rest(now + 10_000, Duration::MAX).0, 0);
    }
}

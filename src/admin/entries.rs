//! The calls about single entries: show, put by hand, remove.

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
        entry::{Entry, RequestLabel},
        invalidation::{Target, TargetId, Version},
        key::Key,
    },
    dialect::{BY_HAND, Form},
    proxy::state::{Live, Shared},
    store::StoreError,
    time::{rfc3339, unix_millis},
};

/// The seconds since an entry was stored, and those for which it is still fresh, negative once it is stale.
/// `stored_at` is in milliseconds since 1970.
pub(super) fn age_and_remaining_ttl(stored_at: u64, ttl: Duration) -> (u64, i64) {
    let age = unix_millis(SystemTime::now()).saturating_sub(stored_at);
    let ttl = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
    (age / 1000, ttl.saturating_sub_unsigned(age).div_euclid(1000))
}

/// `GET /entries/KEY`
pub(super) async fn show(shared: &Shared, key: &Key) -> Result<Value, AdminError> {
    let entry = shared.store.peek(key).await?.ok_or_else(no_entry)?;
    let (age, remaining) = age_and_remaining_ttl(entry.stored_at, entry.ttl);
    let stored_at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(entry.stored_at));
    let mut shown = json!({
        "key": key.name(),
        "kind": key.kind().as_str(),
        "status": entry.status.as_u16(),
        "headers": headers_as_json(&entry),
        "stored_at": rfc3339(stored_at.unwrap_or(SystemTime::UNIX_EPOCH)),
        "age": age,
        "ttl": remaining,
    });
    describe(&mut shown, &entry.request, &entry.tags);
    match std::str::from_utf8(&entry.body) {
        Ok(text) => shown["body"] = text.into(),
        Err(_) => shown["body_base64"] = STANDARD.encode(&entry.body).into(),
    }
    Ok(shown)
}

/// Adds to `shown` what its request was, if there was one, and its tags.
pub(super) fn describe(shown: &mut Value, request: &RequestLabel, tags: &[String]) {
    if let Some((path, route)) = request.parts() {
        shown["path"] = path.into();
        shown["route"] = route.into();
    }
    shown["tags"] = tags.into();
}

/// A header that came once is a text, one that came more often a list.
fn headers_as_json(entry: &Entry) -> Map<String, Value> {
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
pub(super) async fn put(live: &Live, shared: &Shared, key: &Key, body: &[u8]) -> Result<Value, AdminError> {
    let new = NewEntry::parse(body).map_err(AdminError::bad_request)?;
    let limit = live.config.store.max_entry;
    if new.body.len() > limit {
        let message = format!("the entry's body is larger than store.max_entry, {limit} bytes");
        return Err(AdminError::new(StatusCode::PAYLOAD_TOO_LARGE, message));
    }
    let ttl = new.ttl.unwrap_or(live.config.ttls.ttl(key.kind()));
    if ttl.is_zero() {
        return Err(AdminError::bad_request(
            "the ttl is 0, which stores nothing: give one in seconds, or as in \"30m\"",
        ));
    }
    let replaced = shared.store.peek(key).await?;
    let began = version_of_new_entry(shared, key).await?;
    let target_ids = target_ids(&new.tags, replaced.as_deref());
    let entry = Entry {
        stored_at: unix_millis(SystemTime::now()),
        ttl,
        began,
        target_ids,
        request: replaced.map(|replaced| replaced.request.clone()).unwrap_or_default(),
        tags: new.tags,
        form: BY_HAND,
        ..Entry::new(new.status, new.headers, new.body)
    };
    shared.store.put(key, Arc::new(entry), ttl).await?;
    Ok(json!({"stored": true, "key": key.name()}))
}

/// The version at which an entry put by hand begins.
///
/// A fill that runs must not replace the entry, so it is invalidated. Without one nothing is invalidated:
/// operators may put many entries, and the invalidation log is bounded.
async fn version_of_new_entry(shared: &Shared, key: &Key) -> Result<Version, StoreError> {
    if shared.in_flight.is_running(key.id()) {
        return shared.store.invalidate(&[Target::Key(*key.digest())]).await;
    }
    shared.store.now().ok_or(StoreError::Unavailable)
}

/// What an entry put by hand depends on: its tags, and what its request depends on. The latter is known only
/// if it replaces another entry.
fn target_ids(tags: &[String], replaced: Option<&Entry>) -> Vec<TargetId> {
    let mut target_ids = target_ids_of_tags(tags);
    if let Some(replaced) = replaced {
        let of_old_tags = target_ids_of_tags(&replaced.tags);
        target_ids.extend(replaced.target_ids.iter().filter(|target_id| !of_old_tags.contains(target_id)));
    }
    target_ids
}

fn target_ids_of_tags(tags: &[String]) -> Vec<TargetId> {
    TargetId::from_targets(&tags.iter().cloned().map(Target::Tag).collect::<Vec<_>>())
}

/// `DELETE /entries/KEY`
pub(super) async fn remove(shared: &Shared, key: &Key) -> Result<Value, AdminError> {
    if remove_all_forms(shared, key).await? { Ok(json!({"removed": true})) } else { Err(no_entry()) }
}

/// Removes the entry under `key` in all its forms, and invalidates a fill that could bring it back. Returns
/// whether there was an entry.
pub(super) async fn remove_all_forms(shared: &Shared, key: &Key) -> Result<bool, AdminError> {
    let found = shared.store.peek(key).await?;
    shared.store.invalidate(&[Target::Key(*key.digest())]).await?;
    shared.store.remove(key).await?;
    for form in Form::KNOWN_IDS {
        // Nobody finds these any more. This frees their space.
        shared.store.remove(&key.beside(form)).await?;
    }
    Ok(found.is_some())
}

fn no_entry() -> AdminError {
    AdminError::not_found("there is no entry under this key")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn all_lines_of_a_header_are_shown() {
        let header = |name, value| (HeaderName::from_static(name), HeaderValue::from_static(value));
        let lines = [header("a", "1"), header("b", "2"), header("a", "3"), header("a", "4")];
        let entry = Entry::new(StatusCode::OK, lines.into_iter().collect(), Bytes::new());
        assert_eq!(Value::from(headers_as_json(&entry)), json!({"a": ["1", "3", "4"], "b": "2"}));
    }

    #[test]
    fn a_new_entry_depends_on_what_its_request_depends_on() {
        let target_id = |target| TargetId::from_targets(&[target]);
        let old = target_id(Target::Tag("old".into()));
        let path = target_id(Target::Path("/d".into()));
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
    fn age_and_remaining_ttl_are_whole_seconds() {
        let now = unix_millis(SystemTime::now());
        let (age, remaining) = age_and_remaining_ttl(now - 10_500, Duration::from_secs(60));
        assert_eq!((age, remaining), (10, 49));
        assert_eq!(age_and_remaining_ttl(now - 10_500, Duration::from_secs(5)).1, -6);
        assert_eq!(age_and_remaining_ttl(now + 10_000, Duration::MAX).0, 0);
    }
}

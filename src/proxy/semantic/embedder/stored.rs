//! Vectors of an endpoint in the store: entries of the kind `embedding`, so that they are encrypted, end with their TTL, and
//! replicas share them. Vectors of a model in this process are not stored: to make one again takes no longer than to ask Redis.

use std::{sync::Arc, time::SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::{Terms, endpoint::Endpoint, identity::Identity};
use crate::{
    cache::{
        entry::{Entry, RequestLabel},
        invalidation::Version,
        key::Key,
        route::kind::Kind,
        semantic::vector::Vector,
    },
    json::canonical::write_part,
    request::ClassifyContext,
    store::Store,
    time::unix_millis,
};

/// What the route of such an entry is called.
const ROUTE: &str = "semantic";

/// The key of the vector that this endpoint, if it is the embedder `identity`, gives `text`.
pub(super) fn key(context: &ClassifyContext, endpoint: &Endpoint, identity: &Identity, text: &str) -> Key {
    let url = endpoint.url();
    let mut parts = Vec::with_capacity(text.len() + 256);
    for part in ["semantic vector", &url.to_string(), endpoint.model(), &identity.to_string(), text] {
        write_part(part.as_bytes(), &mut parts);
    }
    context.key(Kind::Embedding, blake3::hash(&parts))
}

/// The vector under `key`. A store that cannot be asked has none.
pub(super) async fn find(store: &Store, key: &Key) -> Option<Vector> {
    let entry = store.get(key).await.ok().flatten()?;
    Vector::from_bytes(&entry.body)
}

/// Stores a vector that was asked for at `began`, unless nobody knows whether it is invalidated. Nobody waits for that.
pub(super) fn keep(
    terms: &Terms<'_>,
    key: Key,
    endpoint: &Endpoint,
    vector: &Vector,
    began: Option<Version>,
) {
    let Some(began) = began.filter(|_| !terms.ttl.is_zero()) else { return };
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    let entry = Entry {
        stored_at: unix_millis(SystemTime::now()),
        ttl: terms.ttl,
        began,
        request: RequestLabel::new(endpoint.url().path(), ROUTE),
        model: Some(endpoint.model().to_owned()),
        ..Entry::new(StatusCode::OK, headers, Bytes::from(vector.to_bytes()))
    };
    let life = entry.life();
    terms.store.put_later(key, Arc::new(entry), life);
}

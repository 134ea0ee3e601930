//! The question of a request that may be answered by meaning. Pure.
//!
//! Its partition is the key of the same request with nothing for the text that was asked last. So all that is in a key counts
//! there exactly as in the key.

use std::{net::IpAddr, sync::Arc};

use http::{Method, request::Parts};

use super::{CacheRequest, Classifier, ClassifyContext, body::BodyContext, head::RequestHead};
use crate::{
    cache::{
        key::{Body, BodyDigest, Key},
        rfc9111::conditional::Conditions,
        route::{Mode, Route, Scope, kind::Kind},
        semantic::{
            guards::Signature,
            question::{CallerId, Ineligible, Partition, Question},
        },
    },
    dialect::temperature,
    json::{Json, canonical::counting_text},
};

/// A request that missed, as it was classified.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) route: &'a Arc<Route>,
    pub(crate) cache_request: &'a CacheRequest,
    pub(crate) classify_context: &'a ClassifyContext,
    /// The client's, as they were classified.
    pub(crate) parts: &'a Parts,
    /// What the body says.
    pub(crate) body: &'a [u8],
    pub(crate) peer: IpAddr,
}

impl Asked<'_> {
    /// The question.
    ///
    /// # Errors
    /// Why the request takes no part.
    pub(crate) fn question(&self) -> Result<Question, Ineligible> {
        let key = self.key()?;
        let mut json = Json::parse(self.body).map_err(|_| Ineligible::NoText)?;
        self.refuse_conversation(&json)?;
        let (dialect, route) = (self.cache_request.dialect, &**self.route);
        let way = dialect.question(&json, route.text.as_deref())?;
        // Whoever goes on from this answer would go on from another question.
        if self.cache_request.ask.is_kept_by_service {
            return Err(Ineligible::Conversation);
        }
        let text = way.last_text(&json).ok_or(Ineligible::NoText)?;
        let max_temperature = route.semantic.map_or(f64::INFINITY, |semantic| semantic.max_temperature);
        if temperature(&json).is_some_and(|temperature| temperature > max_temperature) {
            return Err(Ineligible::Temperature);
        }
        let counting = counting_text(&text, &route.normalize, &route.mask);
        Ineligible::check_length(&counting)?;
        way.set_text(&mut json, "");
        let rest = self.key_of(&json);
        // The route leaves the text out of its keys.
        if rest == *key {
            return Err(Ineligible::NoText);
        }
        // Capitals count for names, though they may not count for the key.
        let signature = Signature::new(&counting_text(&text, &[], &route.mask));
        let caller = caller(route, self.cache_request, self.peer);
        Ok(Question { partition: partition(&rest), text: counting, signature, caller })
    }

    /// Its key, if the request asks for a whole answer that is stored.
    fn key(&self) -> Result<&Key, Ineligible> {
        let CacheRequest { key, bypass, batch, range, conditions, ask, .. } = self.cache_request;
        let is_whole = range.is_none() && *conditions == Conditions::default();
        let is_plain = self.route.mode == Mode::Ttl
            && self.route.kind == Kind::Query
            && self.parts.method != Method::HEAD;
        match key {
            Some(_) if ask.choices > 1 => Err(Ineligible::SeveralAnswers),
            Some(key) if bypass.is_none() && batch.is_none() && is_whole && is_plain => Ok(key),
            _ => Err(Ineligible::NotStored),
        }
    }

    fn refuse_conversation(&self, json: &Json<'_>) -> Result<(), Ineligible> {
        let CacheRequest { conversations, own_ids, is_turn, .. } = self.cache_request;
        let body_context = BodyContext {
            route: self.route,
            path: self.parts.uri.path(),
            resources: &self.classify_context.resources,
            log_questions: false,
        };
        let names_one = !conversations.is_empty() || !own_ids.is_empty() || *is_turn;
        if names_one || body_context.names_conversation(json) {
            Err(Ineligible::Conversation)
        } else {
            Ok(())
        }
    }

    /// The key of this request with the body `json`.
    fn key_of(&self, json: &Json<'_>) -> Key {
        let Self { route, cache_request, classify_context, parts, .. } = *self;
        let CacheRequest { dialect, caller, owner, .. } = cache_request;
        let head = RequestHead::new(route, parts);
        let classifier = Classifier { head: &head, parts, classify_context };
        let digest = BodyDigest::new(route, *dialect, Body::Json(json));
        let key = classifier.key(*dialect, digest, caller.as_deref());
        owner.as_ref().map_or_else(|| key.clone(), |owner| key.variant(owner.as_bytes()))
    }
}

/// Who asks, where that matters: by the credentials; without any, by the address. A client with IPv6 has a whole network of
/// addresses.
pub(crate) fn caller(route: &Route, cache_request: &CacheRequest, peer: IpAddr) -> Option<CallerId> {
    if route.scope != Scope::Shared {
        return None;
    }
    let digest = match (&cache_request.credentials, peer.to_canonical()) {
        (Some(credentials), _) => blake3::hash(credentials.as_bytes()),
        (None, IpAddr::V4(address)) => blake3::hash(&address.octets()),
        (None, IpAddr::V6(address)) => blake3::hash(
            &address.segments()[..4].iter().flat_map(|part| part.to_be_bytes()).collect::<Vec<_>>(),
        ),
    };
    Some(CallerId(u64::from_le_bytes(*digest.as_bytes().first_chunk().unwrap_or(&[0; 8]))))
}

/// No key has the digest of a partition.
fn partition(key: &Key) -> Partition {
    Partition(*blake3::keyed_hash(key.digest(), b"partition").as_bytes())
}

#[cfg(test)]
mod tests;

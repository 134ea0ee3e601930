//! What a request on a cacheable route asks for, and whether the store may be asked. Pure.
//!
//! [`classify`] makes a [`CacheRequest`] of a request's head and body. Where a body can be read in two ways,
//! the request goes to the upstream, and its answer is not stored.

pub(crate) mod batch;
pub(crate) mod body;
mod choices;
pub(crate) mod client_body;
pub(crate) mod connection;
pub(crate) mod cover;
pub(crate) mod dispatch;
pub(crate) mod half_close;
pub(crate) mod head;
pub(crate) mod parse_cache;
pub(crate) mod semantic;

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;

pub(crate) use self::choices::Choices;
use crate::{
    cache::{
        encryption::Encryption,
        identity::{Caller, Identities},
        invalidation::{
            Target, TargetId,
            resource::{Resource, Resources},
        },
        key::{Body, BodyDigest, InputDigests, Key, namespace::Namespace},
        request_directives::RequestDirectives,
        rfc9111::{conditional::Conditions, range::Range},
        route::{Mode, Scope, kind::Kind},
    },
    dialect::{Ask, BatchApi, Dialect, Inputs, OwnId, RequestIds, form_as_json},
    http::{content_coding::ContentCoding, headers, multipart},
    json::{Json, JsonError},
    reason::Reason,
    request::{
        batch::Batch,
        body::{BodyContext, ParsedBody, RawBody},
        dispatch::PassThroughReason,
        head::RequestHead,
        parse_cache::{BodyId, ParseCache},
    },
};

/// A request on a cacheable route, after it was read.
#[derive(Clone, Debug)]
pub(crate) struct CacheRequest {
    /// Why the store is not asked; `None` if it is.
    pub(crate) bypass: Option<Reason>,
    /// The key that the answer is stored under; `None` if it is not stored.
    pub(crate) key: Option<Key>,
    /// The inputs of a batch, which have an entry each; then `key` is their joint key.
    pub(crate) batch: Option<Arc<Batch>>,
    pub(crate) dialect: Dialect,
    pub(crate) ask: Ask,
    pub(crate) directives: RequestDirectives,
    pub(crate) conditions: Conditions,
    /// The part of a stored response that it asks for.
    pub(crate) range: Option<Range>,
    /// The digest of its credentials.
    pub(crate) credentials: Option<blake3::Hash>,
    /// Who sent it, where the scope asks that.
    pub(crate) caller: Option<Box<Caller>>,
    /// The digest of the credentials that are in its key although the route's entries are shared: the service keeps the
    /// answer for this caller alone.
    pub(crate) owner: Option<blake3::Hash>,
    /// What its answer depends on besides its key and what the answer itself names.
    pub(crate) targets: Vec<Target>,
    /// The conversations in which it is a turn.
    pub(crate) conversations: Vec<String>,
    /// The ids of conversations that are not in its key.
    pub(crate) own_ids: Vec<OwnId>,
    /// Whether it changes a conversation: then its answer is only for the clients that ask while it is
    /// running.
    pub(crate) is_turn: bool,
    pub(crate) model: Option<String>,
    /// The text of the question, if that is logged.
    pub(crate) question_text: Option<String>,
    /// The body that goes upstream, if it is not the client's.
    pub(crate) upstream_body: Option<Bytes>,
}

impl CacheRequest {
    /// The ids that it brings along.
    pub(crate) fn ids(&self) -> RequestIds<'_> {
        RequestIds::new(&self.conversations, &self.own_ids)
    }

    pub(crate) fn target_ids(&self) -> Vec<TargetId> {
        TargetId::from_targets(&self.targets)
    }
}

/// What [`classify`] needs besides the route and the request.
#[derive(Debug)]
pub(crate) struct ClassifyContext {
    pub(crate) namespace: Namespace,
    /// A text in every key.
    pub(crate) epoch: Option<String>,
    /// Hides the names of keys from the store, if that is set.
    pub(crate) encryption: Option<Arc<Encryption>>,
    /// Whether the client's `Host` goes upstream.
    pub(crate) host_counts: bool,
    pub(crate) log_questions: bool,
    pub(crate) resources: Resources,
    pub(crate) parse_cache: ParseCache,
    pub(crate) choices: Choices,
    pub(crate) identities: Arc<Identities>,
}

impl ClassifyContext {
    /// The key of what has this digest: in the epoch, and under a name that the store cannot read.
    pub(crate) fn key(&self, kind: Kind, digest: blake3::Hash) -> Key {
        let key = Key::new(self.namespace, kind, digest);
        let key = match &self.epoch {
            Some(epoch) => key.in_epoch(epoch),
            None => key,
        };
        match &self.encryption {
            Some(encryption) => key.with_hidden_name(encryption),
            None => key,
        }
    }
}

/// Reads a request that a route covers by its method and path, and by its conditions. `head` was read from `parts`, which
/// are without the connection's headers.
///
/// # Errors
/// If the built-in route is not for such a body, or the route does not cache: it is passed through.
pub(crate) fn classify(
    head: &RequestHead,
    parts: &Parts,
    body: &RawBody<'_>,
    classify_context: &ClassifyContext,
) -> Result<Box<CacheRequest>, PassThroughReason> {
    let route = &head.route;
    let classifier = Classifier { head, parts, classify_context };
    // The inputs of a batch have entries of their own, so the whole body is not remembered.
    let remembers = head.reads_json(body) && !route.may_be_batch() && route.caches(&parts.method);
    let body_id = remembers.then(|| body.id(&classify_context.parse_cache));
    if let Some(parsed) =
        body_id.and_then(|id| classify_context.parse_cache.recall(&id, route, parts.uri.path()))
    {
        return Ok(Box::new(classifier.cache_request(parsed, None)));
    }
    if let Some(why) = PassThroughReason::of_route(route, &parts.method) {
        return Err(why);
    }
    classifier.read(body, body_id).map(Box::new)
}

const fn parse_reason(error: JsonError) -> Reason {
    match error {
        JsonError::Syntax(_) | JsonError::NotUtf8 => Reason::RequestNotJson,
        JsonError::RepeatedMember => Reason::RequestRepeatedMember,
        JsonError::LoneSurrogate => Reason::RequestLoneSurrogate,
        JsonError::TooDeep => Reason::RequestTooDeep,
    }
}

struct Classifier<'a> {
    head: &'a RequestHead,
    parts: &'a Parts,
    classify_context: &'a ClassifyContext,
}

impl<'a> Classifier<'a> {
    /// Reads a body that is not remembered.
    ///
    /// # Errors
    /// If it shows that a built-in route does not cover the request.
    fn read(&self, body: &RawBody<'_>, body_id: Option<BodyId>) -> Result<CacheRequest, PassThroughReason> {
        let Self { head, parts, classify_context } = self;
        let route = &head.route;
        let opaque = |refused: Option<Reason>| {
            // A refused request has no key.
            let counts = if refused.is_none() { body.bytes } else { &[] };
            Ok(self.cache_request(ParsedBody::opaque(self.body_context(), &parts.headers, counts), refused))
        };
        let is_unread = (body.is_encoded && route.mode == Mode::Ttl).then_some(Reason::RequestEncoded);
        if let Some(dialect) = head.form_dialect() {
            return if is_unread.is_some() { opaque(is_unread) } else { self.form(dialect, body.bytes) };
        }
        if !head.wants_json(body.bytes) {
            return opaque(is_unread);
        }
        if !head.is_json {
            return if route.builtin {
                Err(PassThroughReason::NotJson)
            } else {
                opaque(Some(Reason::RequestNotJson))
            };
        }
        if is_unread.is_some() {
            return opaque(is_unread);
        }
        let json = match body.json() {
            Ok(json) => json,
            Err(error) => return opaque(Some(parse_reason(*error))),
        };
        let dialect = route.dialect_for(parts.uri.path(), json);
        let fits = dialect.fits(json, route.model_elsewhere) && !(route.builtin && dialect == Dialect::Json);
        match (fits, route.builtin) {
            (true, _) if let Some(inputs) = self.inputs(dialect, body.bytes, json) => {
                Ok(self.batch(dialect, body.bytes, json, inputs))
            }
            (true, _) if self.refuses_odd_inputs(dialect) => Ok(self.odd_inputs(dialect, body.bytes, json)),
            (true, _) => {
                let parsed =
                    ParsedBody::new(self.body_context(), dialect, json, body.bytes, Body::Json(json));
                if let Some(id) = body_id {
                    classify_context.parse_cache.remember(id, route, parts.uri.path(), &parsed);
                }
                Ok(self.cache_request(parsed, None))
            }
            (false, true) => Err(PassThroughReason::NotInDialect),
            (false, false) => opaque(Some(Reason::RequestNotInDialect)),
        }
    }

    /// A request that is a form. The service may read one that is not written in the usual way in its own.
    fn form(&self, dialect: Dialect, body: &[u8]) -> Result<CacheRequest, PassThroughReason> {
        let Self { head, parts: Parts { headers, .. }, .. } = self;
        let parts = multipart::parts(headers, body);
        let form = parts.as_deref().map(|parts| (form_as_json(parts), Body::Parts(parts)));
        match form.filter(|(json, _)| dialect.fits(json, head.route.model_elsewhere)) {
            Some((json, counts)) => {
                let parsed = ParsedBody::new(self.body_context(), dialect, &json, body, counts);
                Ok(self.cache_request(parsed, None))
            }
            None if head.route.builtin => Err(PassThroughReason::NotInDialect),
            None => {
                let parsed = ParsedBody::opaque(self.body_context(), headers, &[]);
                Ok(self.cache_request(parsed, Some(Reason::RequestNotInDialect)))
            }
        }
    }

    fn body_context(&self) -> BodyContext<'a> {
        BodyContext {
            route: &self.head.route,
            path: self.parts.uri.path(),
            resources: &self.classify_context.resources,
            log_questions: self.classify_context.log_questions,
        }
    }

    fn cache_request(&self, parsed: ParsedBody, refused: Option<Reason>) -> CacheRequest {
        let RequestHead { route, directives, conditions, range, credentials, .. } = self.head;
        let in_background = parsed.ask.runs_in_background.then_some(Reason::RequestBackground);
        let refused = refused.or(self.head.refused).or(in_background);
        let mut conversations = parsed.conversations;
        conversations.extend_from_slice(&self.head.conversations);
        let caller = match &route.scope {
            Scope::Identity(scope) => {
                let caller = self.classify_context.identities.caller(scope, &self.parts.headers);
                Some(Box::new(caller.with_query(self.head.in_query.as_ref())))
            }
            _ => None,
        };
        let mut key = refused.is_none().then(|| self.key(parsed.dialect, parsed.digest, caller.as_deref()));
        let owner = self.owner(&parsed.ask);
        if let Some(owner) = &owner {
            key = key.map(|key| key.variant(owner.as_bytes()));
        }
        let mut is_turn = !conversations.is_empty() && route.mode == Mode::Ttl;
        if let (true, Some(named)) = (is_turn, &self.head.idempotency_key) {
            // A repeat of this turn gets the same answer.
            key = key.map(|key| key.variant(named.as_bytes()));
            is_turn = false;
        }
        // If the answer is not stored, the upstream evaluates the conditions.
        let conditions = key.as_ref().map(|_| conditions.clone());
        let targets = self.targets(&conversations, key.as_ref());
        let uri = &self.parts.uri;
        CacheRequest {
            // Under `mode = "rfc9111"`, the upstream may confirm the stored response.
            bypass: refused
                .or((directives.no_cache && route.mode != Mode::Rfc9111).then_some(Reason::RequestNoCache)),
            key,
            batch: None,
            dialect: parsed.dialect,
            ask: parsed.dialect.asked_at(parsed.ask, uri.path(), uri.query()),
            directives: *directives,
            conditions: conditions.unwrap_or_default(),
            range: range.clone(),
            credentials: caller.as_ref().map_or(*credentials, |caller| caller.credentials),
            caller,
            owner,
            targets,
            conversations,
            own_ids: parsed.own_ids,
            is_turn,
            model: parsed.model,
            question_text: parsed.question_text,
            upstream_body: parsed.upstream_body,
        }
    }

    /// Whether the request holds for its very body alone.
    fn is_signed(&self) -> bool {
        headers::cover_body(&self.parts.headers)
    }

    /// Whether a request whose inputs cannot be found one by one is not cached.
    fn refuses_odd_inputs(&self, dialect: Dialect) -> bool {
        dialect.batch_api().is_some_and(BatchApi::is_per_input)
    }

    fn odd_inputs(&self, dialect: Dialect, body: &[u8], json: &Json<'_>) -> CacheRequest {
        let read = ParsedBody::new(self.body_context(), dialect, json, body, Body::Json(json));
        let reason = if self.is_signed() { Reason::RequestSigned } else { Reason::RequestNotInDialect };
        self.cache_request(read, Some(reason))
    }

    /// A request whose `inputs` have an entry each.
    fn batch(&self, dialect: Dialect, body: &[u8], json: &Json<'_>, inputs: Inputs) -> CacheRequest {
        let shared = Body::Shared(json, inputs.unshared());
        let parsed = ParsedBody::new(self.body_context(), dialect, json, body, shared);
        let mut cache_request = self.cache_request(parsed, None);
        cache_request.ask.inputs = inputs.count();
        if let Some(shared) = cache_request.key.take() {
            let route = &self.head.route;
            let digests = InputDigests::new(route, inputs.unshared());
            let key = |input| shared.derived(|shared| digests.digest(shared, input));
            let keys: Vec<_> = inputs.values(json).iter().map(key).collect();
            let batch = Batch::new(inputs, keys);
            cache_request.key = Key::joint(batch.keys());
            cache_request.batch = Some(Arc::new(batch));
        }
        cache_request
    }

    /// The inputs of a request, where each has an entry of its own. A request that names a conversation is one request,
    /// and so is its answer.
    fn inputs(&self, dialect: Dialect, body: &[u8], json: &Json<'_>) -> Option<Inputs> {
        let inputs = Inputs::find(self.head.route.division(dialect)?, body, json)?;
        let is_alone = self.head.conversations.is_empty() && !self.body_context().names_conversation(json);
        let may_change = inputs.may_be_cut() || self.head.coding != ContentCoding::Plain;
        (is_alone && !(may_change && self.is_signed())).then_some(inputs)
    }

    /// The credentials of a caller for whom alone the service keeps the answer, where others could have it too. A route
    /// with `opens = []` says that no answer belongs to one caller; one with headers for its scope says who the caller is.
    fn owner(&self, ask: &Ask) -> Option<blake3::Hash> {
        let RequestHead { route, credentials, .. } = self.head;
        let is_shared = route.scope == Scope::Shared && !route.opens.is_never();
        credentials.filter(|_| ask.is_kept_by_service && is_shared)
    }

    fn targets(&self, conversations: &[String], key: Option<&Key>) -> Vec<Target> {
        let mut targets = self.targets_of_kind(conversations);
        if self.head.route.mode == Mode::Rfc9111 {
            // An invalidation of the target concerns all its variants.
            targets.extend(key.map(|key| Target::Key(*key.digest())));
            targets.push(Resource::path_target(self.parts.uri.path()));
        }
        targets
    }

    fn targets_of_kind(&self, conversations: &[String]) -> Vec<Target> {
        let route = &self.head.route;
        let path = self.parts.uri.path();
        let mut targets: Vec<_> = match route.kind {
            kind @ (Kind::Document | Kind::Conversation) => {
                Resource::new(kind, &route.pattern, path).view_targets()
            }
            _ => conversations.iter().cloned().map(Target::Conversation).collect(),
        };
        targets.extend(Resource::tags_by_route(route, path));
        targets
    }

    fn key(&self, dialect: Dialect, body: BodyDigest, caller: Option<&Caller>) -> Key {
        let host_counts = self.classify_context.host_counts;
        let digest = self.head.key_digest(self.parts, host_counts, (dialect, body), caller);
        self.classify_context.key(self.head.route.kind, digest)
    }
}

#[cfg(test)]
mod tests;

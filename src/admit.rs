//! What a request on a cacheable route asks for, and whether the store may be asked. Pure.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, header, request::Parts, uri::PathAndQuery};

use crate::{
    batch::Batch,
    conditional::Conditions,
    config::Config,
    dialect::{Ask, Dialect, Inputs, conversations},
    generations::{Mark, Subject},
    headers::{self, CREDENTIALS},
    json::{Json, JsonError},
    key::{self, Body, Key},
    policy::{Directives, Reason},
    range::Range,
    resource::{Resource, Resources},
    route::{Kind, Mode, Route},
    sealing::Sealing,
};

/// A request on a cacheable route, read.
#[derive(Clone, Debug)]
pub struct Inquiry {
    /// Why the store is not asked; `None` where it is.
    pub bypass: Option<Reason>,
    /// Under what its answer is kept; `None` where it is not.
    pub key: Option<Key>,
    /// The inputs that each have an entry of their own; then `key` is what they are known under together.
    pub batch: Option<Arc<Batch>>,
    /// What its bodies mean.
    pub dialect: Dialect,
    /// The answer that it asks for.
    pub ask: Ask,
    /// What it asks of the cache.
    pub directives: Directives,
    /// On which conditions it wants the answer.
    pub conditions: Conditions,
    /// The part of it that a stored response can give.
    pub range: Option<Range>,
    /// The digest of its credentials; `None` where it has none.
    pub credentials: Option<blake3::Hash>,
    /// What its answer depends on, besides its key and what the answer itself tells.
    pub subjects: Vec<Subject>,
    /// The conversations that it is a turn of.
    pub conversations: Vec<String>,
    /// The model that it names.
    pub model: Option<String>,
    /// The text of its question, where that is to be logged.
    pub question: Option<String>,
    /// The body that goes upstream, where it is not the caller's own.
    pub upstream_body: Option<Bytes>,
}

impl Inquiry {
    /// The ids of what its answer depends on, as far as that is known before the answer.
    pub fn marks(&self) -> Vec<Mark> {
        Mark::all(&self.subjects)
    }
}

/// What decides besides the route and the request.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The first part of every key.
    pub namespace: Arc<str>,
    /// What names keys, where the store is not to know what they stand for.
    pub sealing: Option<Arc<Sealing>>,
    /// Whether the caller's `Host` goes upstream.
    pub host_counts: bool,
    /// Whether questions are logged.
    pub log_questions: bool,
    /// Where documents and conversations are.
    pub resources: Resources,
}

impl Terms {
    /// What `config` says.
    pub fn new(config: &Config) -> Self {
        Self {
            namespace: config.store.namespace.as_str().into(),
            sealing: config.store.sealing().map(Arc::new),
            host_counts: config.upstream.preserve_host,
            log_questions: config.log.queries,
            resources: Resources::of(&config.routes),
        }
    }
}

/// Reads a request that `route` covers by its method and path; `None` where its body shows that a built-in
/// route does not cover it. `parts` are without the connection's headers.
///
/// What is ambiguous goes to the upstream, and nothing of it is stored.
pub fn admit(route: &Route, parts: &Parts, body: &[u8], terms: &Terms) -> Option<Inquiry> {
    let reader = Reader { route, parts, terms };
    let opaque = |refused| Some(reader.inquiry(Dialect::None, &Json::Null, Body::Bytes(body), refused));
    if route.mode == Mode::Rfc9111 {
        return opaque(None);
    }
    let wants_json = route.dialect.is_none_or(Dialect::is_json) && (route.builtin || !body.is_empty());
    if !wants_json {
        return opaque(None);
    }
    if !headers::is_json(&parts.headers) {
        return if route.builtin { None } else { opaque(Some(Reason::RequestNotJson)) };
    }
    if parts.headers.contains_key(header::CONTENT_ENCODING) {
        return opaque(Some(Reason::RequestEncoded));
    }
    let json = match Json::parse(body) {
        Ok(json) => json,
        Err(error) => return opaque(Some(parse_reason(error))),
    };
    let dialect = Dialect::recognise(route, parts.uri.path(), &json);
    let fits = dialect.fits(&json) && !(route.builtin && dialect == Dialect::Json);
    match (fits, route.builtin) {
        (true, _) if dialect == Dialect::Embedding => Some(reader.batch(body, &json)),
        (true, _) => {
            let inquiry = reader.inquiry(dialect, &json, Body::Json(&json), None);
            let upstream_body = Dialect::body_that_asks(&inquiry.ask, body, &json);
            Some(Inquiry { upstream_body, ..inquiry })
        }
        (false, true) => None,
        (false, false) => opaque(Some(Reason::RequestNotInDialect)),
    }
}

const fn parse_reason(error: JsonError) -> Reason {
    match error {
        JsonError::Syntax(_) | JsonError::NotUtf8 => Reason::RequestNotJson,
        JsonError::RepeatedMember => Reason::RequestRepeatedMember,
        JsonError::LoneSurrogate => Reason::RequestLoneSurrogate,
        JsonError::TooDeep => Reason::RequestTooDeep,
    }
}

struct Reader<'a> {
    route: &'a Route,
    parts: &'a Parts,
    terms: &'a Terms,
}

impl Reader<'_> {
    fn inquiry(&self, dialect: Dialect, json: &Json<'_>, body: Body<'_>, refused: Option<Reason>) -> Inquiry {
        let Self { route, parts, terms } = self;
        let follows = route.mode == Mode::Rfc9111;
        let directives = match (route.honor_request_cache_control, follows) {
            (false, _) => Directives::default(),
            (true, false) => Directives::of(&parts.headers),
            (true, true) => Directives::with_pragma(&parts.headers),
        };
        let refused = refused.or_else(|| refusal(route, parts, &directives));
        let key = refused.is_none().then(|| self.key(dialect, body));
        // What is not kept is the upstream's to judge.
        let conditions = key.as_ref().map(|_| Conditions::of(&parts.method, &parts.headers));
        let conversations = self.conversations(json);
        let subjects = self.subjects(&conversations, key.as_ref());
        Inquiry {
            // Where the upstream is followed, it may confirm what is stored.
            bypass: refused.or((directives.no_cache && !follows).then_some(Reason::RequestNoCache)),
            key,
            batch: None,
            dialect,
            ask: dialect.ask(json, route.usage, !conversations.is_empty()),
            directives,
            conditions: conditions.unwrap_or_default(),
            range: if follows { Range::of(&parts.method, &parts.headers) } else { None },
            credentials: credentials(&parts.headers),
            subjects,
            conversations,
            model: json.get("model").and_then(Json::as_str).map(str::to_owned),
            question: terms.log_questions.then(|| dialect.question(json)).flatten(),
            upstream_body: None,
        }
    }

    /// A request for vectors. Where it cannot be told what each input alone would be answered with, it is not cached.
    fn batch(&self, body: &[u8], json: &Json<'_>) -> Inquiry {
        let Some(inputs) = Inputs::find(body, json) else {
            return self.inquiry(
                Dialect::Embedding,
                json,
                Body::Json(json),
                Some(Reason::RequestNotInDialect),
            );
        };
        let shared = Body::Shared(json, inputs.unshared_members());
        let mut inquiry = self.inquiry(Dialect::Embedding, json, shared, None);
        inquiry.ask.inputs = inputs.count();
        if let Some(shared) = inquiry.key.take() {
            let key = |input| shared.sibling(|shared| key::input_digest(self.route, shared, input));
            let keys: Vec<_> = inputs.values(json).iter().map(key).collect();
            let batch = Batch::new(inputs, keys);
            inquiry.key = Key::together(batch.keys());
            inquiry.batch = Some(Arc::new(batch));
        }
        inquiry
    }

    /// The conversations that a question is a turn of: those that it names, and those whose paths it is below of.
    fn conversations(&self, json: &Json<'_>) -> Vec<String> {
        if self.route.kind != Kind::Query {
            return Vec::new();
        }
        let above = self.terms.resources.at_or_above(self.parts.uri.path()).into_iter();
        let above = above.filter(|resource| resource.kind == Kind::Conversation).map(|resource| resource.id);
        conversations(json, &self.route.ignore).into_iter().chain(above).collect()
    }

    fn subjects(&self, conversations: &[String], key: Option<&Key>) -> Vec<Subject> {
        let mut subjects = self.subjects_of_kind(conversations);
        if self.route.mode == Mode::Rfc9111 {
            // Each variant goes with its target.
            subjects.extend(key.map(|key| Subject::Key(*key.digest())));
            subjects.push(Resource::path(self.parts.uri.path()));
        }
        subjects
    }

    fn subjects_of_kind(&self, conversations: &[String]) -> Vec<Subject> {
        match self.route.kind {
            kind @ (Kind::Document | Kind::Conversation) => {
                Resource::named(kind, &self.route.pattern, self.parts.uri.path()).seen()
            }
            _ => conversations.iter().cloned().map(Subject::Conversation).collect(),
        }
    }

    fn key(&self, dialect: Dialect, body: Body<'_>) -> Key {
        let key = Key::new(Arc::clone(&self.terms.namespace), self.route.kind, self.digest(dialect, body));
        match &self.terms.sealing {
            Some(sealing) => key.named(sealing),
            None => key,
        }
    }

    fn digest(&self, dialect: Dialect, body: Body<'_>) -> blake3::Hash {
        key::digest(&key::Request {
            route: self.route,
            dialect,
            method: &self.parts.method,
            target: self.parts.uri.path_and_query().map_or("/", PathAndQuery::as_str),
            headers: &self.parts.headers,
            host_counts: self.terms.host_counts,
            body,
        })
    }
}

/// Why the store is not asked, though the request is one of its route's.
fn refusal(route: &Route, parts: &Parts, directives: &Directives) -> Option<Reason> {
    if route.ttl.is_zero() {
        return Some(Reason::TtlZero);
    }
    if directives.no_store {
        return Some(Reason::RequestNoStore);
    }
    let has = |name: HeaderName| parts.headers.contains_key(name);
    match route.mode {
        Mode::Ttl if has(header::CONTENT_ENCODING) => return Some(Reason::RequestEncoded),
        // RFC 9111, section 4.3.2: they are not a cache's to evaluate.
        Mode::Rfc9111 if has(header::IF_MATCH) || has(header::IF_UNMODIFIED_SINCE) => {
            return Some(Reason::RequestPrecondition);
        }
        // Where the upstream is followed, a stored response may have the part that is asked for.
        Mode::Rfc9111 if Range::of(&parts.method, &parts.headers).is_some() => return None,
        Mode::Ttl | Mode::Rfc9111 => {}
    }
    has(header::RANGE).then_some(Reason::RequestRange)
}

/// The digest of a request's credentials; `None` where it has none.
pub fn credentials(headers: &HeaderMap) -> Option<blake3::Hash> {
    let mut found = Vec::new();
    for name in CREDENTIALS {
        for value in headers.get_all(name) {
            crate::normal::write_part(name.as_bytes(), &mut found);
            crate::normal::write_part(value.as_bytes(), &mut found);
        }
    }
    (!found.is_empty()).then(|| blake3::hash(&found))
}

//! What a JSON body says on a route. Pure.

use std::{cell::OnceCell, hash::Hash};

use bytes::Bytes;
use http::HeaderMap;

use crate::{
    cache::{
        invalidation::resource::Resources,
        key::{Body, BodyDigest},
        route::{ConversationPlace, Route, kind::Kind},
    },
    dialect::{Ask, Dialect, OwnId, conversations, own_ids},
    http::{content_coding::ContentCoding, multipart},
    json::{Json, JsonError, canonical::LeftOut},
    request::parse_cache::{BodyId, ParseCache},
};

/// A body with more text than this is not remembered. In bytes.
const WORTH_REMEMBERING: usize = 1024;

/// A body that may be JSON. It is parsed at the first look, whichever route looks.
pub(crate) struct RawBody<'a> {
    pub(crate) bytes: &'a [u8],
    /// Whether the bytes are compressed, and nobody knows what they say.
    pub(crate) is_encoded: bool,
    json: OnceCell<Result<Json<'a>, JsonError>>,
    id: OnceCell<BodyId>,
}

impl<'a> RawBody<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, is_encoded: false, json: OnceCell::new(), id: OnceCell::new() }
    }

    /// A body that came with this `coding`; `decoded` is what it says, if that can be read.
    pub(crate) fn received(body: &'a [u8], coding: ContentCoding, decoded: Option<&'a Bytes>) -> Self {
        let is_encoded = coding != ContentCoding::Plain && decoded.is_none();
        Self { is_encoded, ..Self::new(decoded.map_or(body, |decoded| decoded)) }
    }

    pub(crate) fn json(&self) -> &Result<Json<'a>, JsonError> {
        self.json.get_or_init(|| Json::parse(self.bytes))
    }

    /// Its name in `parse_cache`, which is always the same one.
    pub(super) fn id(&self, parse_cache: &ParseCache) -> BodyId {
        *self.id.get_or_init(|| parse_cache.body_id(self.bytes))
    }
}

/// Everything that matters of a body that was read.
#[derive(Clone, Debug)]
pub(crate) struct ParsedBody {
    pub(crate) dialect: Dialect,
    /// The body's part of the key.
    pub(crate) digest: BodyDigest,
    pub(crate) ask: Ask,
    /// The conversations in which it is a turn.
    pub(crate) conversations: Vec<String>,
    /// The ids of conversations that are not in its key.
    pub(crate) own_ids: Vec<OwnId>,
    pub(crate) model: Option<String>,
    /// The text of the question, if that is logged.
    pub(crate) question_text: Option<String>,
    /// The body that goes upstream, if it is not the client's.
    pub(crate) upstream_body: Option<Bytes>,
}

/// Where a body was sent, and what that says about reading it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyContext<'a> {
    pub(crate) route: &'a Route,
    pub(crate) path: &'a str,
    pub(crate) resources: &'a Resources,
    pub(crate) log_questions: bool,
}

impl ParsedBody {
    /// Reads `json`, whose text is `text`, as a request of `dialect`; `counts` is what counts for the key.
    pub(crate) fn new(
        context: BodyContext<'_>,
        dialect: Dialect,
        json: &Json<'_>,
        text: &[u8],
        counts: Body<'_>,
    ) -> Self {
        let conversations = context.conversations(json, &dialect.left_out(json));
        let ask = dialect.ask(json, context.route.usage, context.route.stream_default);
        Self {
            dialect,
            digest: BodyDigest::new(context.route, dialect, counts),
            ask,
            conversations,
            own_ids: context.own_ids(json),
            model: dialect.model(json, context.path),
            question_text: context.log_questions.then(|| dialect.question_text(json)).flatten(),
            upstream_body: ask.upstream_body(text, json),
        }
    }

    /// A body that counts by its bytes, or by its parts, whatever they say. Without a body, the question is in the URL: the route still
    /// says what the answer means.
    pub(crate) fn opaque(context: BodyContext<'_>, headers: &HeaderMap, bytes: &[u8]) -> Self {
        let of_service =
            context.route.dialect.filter(|dialect| matches!(dialect, Dialect::Rag | Dialect::Json));
        let dialect = of_service.filter(|_| bytes.is_empty()).unwrap_or(Dialect::None);
        let parts = multipart::parts(headers, bytes);
        let counts = parts.as_deref().map_or(Body::Bytes(bytes), Body::Parts);
        Self::new(context, dialect, &Json::Null, bytes, counts)
    }

    /// Everything but the digest of what counts.
    pub(crate) fn common(&self) -> impl Hash + PartialEq + '_ {
        let Self { dialect, digest, ask, conversations, own_ids, model, question_text, upstream_body } = self;
        (dialect, digest.taken_as(), ask, conversations, own_ids, model, question_text, upstream_body)
    }

    /// Whether it takes little room, and most of it is common to many bodies.
    pub(crate) fn is_small(&self) -> bool {
        let texts = self.conversations.iter().chain(&self.model).chain(&self.question_text);
        self.upstream_body.is_none()
            && self.own_ids.is_empty()
            && texts.map(String::len).sum::<usize>() <= WORTH_REMEMBERING
    }
}

impl BodyContext<'_> {
    /// The conversations in which a question is a turn: those that it names, and those that its path is
    /// below.
    fn conversations(&self, json: &Json<'_>, left_out: &[LeftOut]) -> Vec<String> {
        if self.route.kind != Kind::Query {
            return Vec::new();
        }
        let named = match &self.route.conversation {
            None => conversations(json, &self.route.ignore, left_out),
            Some(places) => {
                let mut found = Vec::new();
                for place in places {
                    if let ConversationPlace::Body(pointer) = place {
                        pointer.collect(json, &mut found);
                    }
                }
                found.retain(|id| !id.trim().is_empty());
                found
            }
        };
        let above = self.resources.at_or_above(self.path).into_iter();
        let above = above.filter(|resource| resource.kind == Kind::Conversation).map(|resource| resource.id);
        named.into_iter().chain(above).collect()
    }

    /// Whether a question names a conversation, be it one that the route ignores.
    pub(crate) fn names_conversation(&self, json: &Json<'_>) -> bool {
        !self.conversations(json, &[]).is_empty() || !self.own_ids(json).is_empty()
    }

    fn own_ids(&self, json: &Json<'_>) -> Vec<OwnId> {
        if self.route.kind == Kind::Query { own_ids(json, &self.route.ignore) } else { Vec::new() }
    }
}

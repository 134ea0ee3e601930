//! What a JSON body says on a route. Pure.

use std::hash::Hash;

use bytes::Bytes;

use crate::{
    cache::{
        invalidation::resource::Resources,
        key::{Body, BodyDigest},
        route::{Route, kind::Kind},
    },
    dialect::{Ask, Dialect, conversations},
    json::Json,
};

/// More text than this is not worth remembering, in bytes.
const WORTH_REMEMBERING: usize = 1024;

/// What a body says: all of it that matters once it was read.
#[derive(Clone, Debug)]
pub(crate) struct ParsedBody {
    /// What its bodies mean.
    pub(crate) dialect: Dialect,
    /// What of it is in the request's key.
    pub(crate) digest: BodyDigest,
    /// The answer that it asks for.
    pub(crate) ask: Ask,
    /// The conversations that it is a turn of.
    pub(crate) conversations: Vec<String>,
    /// The model that it names.
    pub(crate) model: Option<String>,
    /// The text of its question, where that is to be logged.
    pub(crate) question_text: Option<String>,
    /// The body that goes upstream, where it is not the caller's own.
    pub(crate) upstream_body: Option<Bytes>,
}

/// Where a body was sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyContext<'a> {
    /// The route that covers the request.
    pub(crate) route: &'a Route,
    /// The request's path.
    pub(crate) path: &'a str,
    /// Where documents and conversations are.
    pub(crate) resources: &'a Resources,
    /// Whether questions are logged.
    pub(crate) log_questions: bool,
}

impl ParsedBody {
    /// Reads `json`, whose text is `text`, as a request of `dialect`; `counts` is what of it counts.
    pub(crate) fn new(
        context: BodyContext<'_>,
        dialect: Dialect,
        json: &Json<'_>,
        text: &[u8],
        counts: Body<'_>,
    ) -> Self {
        let conversations = context.conversations(json);
        let ask = dialect.ask(json, context.route.usage);
        Self {
            dialect,
            digest: BodyDigest::new(context.route, dialect, counts),
            ask,
            conversations,
            model: json.get("model").and_then(Json::as_str).map(str::to_owned),
            question_text: context.log_questions.then(|| dialect.question_text(json)).flatten(),
            upstream_body: ask.upstream_body(text, json),
        }
    }

    /// A body whose bytes count, whatever they say.
    pub(crate) fn opaque(context: BodyContext<'_>, bytes: &[u8]) -> Self {
        Self::new(context, Dialect::None, &Json::Null, bytes, Body::Bytes(bytes))
    }

    /// All of it but the digest of what counts.
    pub(crate) fn common(&self) -> impl Hash + PartialEq + '_ {
        let Self { dialect, digest, ask, conversations, model, question_text, upstream_body } = self;
        (dialect, digest.taken_as(), ask, conversations, model, question_text, upstream_body)
    }

    /// Whether it takes little memory.
    pub(crate) fn is_small(&self) -> bool {
        let texts = self.conversations.iter().chain(&self.model).chain(&self.question_text);
        self.upstream_body.is_none() && texts.map(String::len).sum::<usize>() <= WORTH_REMEMBERING
    }
}

impl BodyContext<'_> {
    /// The conversations that a question is a turn of: those that it names, and those whose paths it is below of.
    fn conversations(&self, json: &Json<'_>) -> Vec<String> {
        if self.route.kind != Kind::Query {
            return Vec::new();
        }
        let above = self.resources.at_or_above(self.path).into_iter();
        let above = above.filter(|resource| resource.kind == Kind::Conversation).map(|resource| resource.id);
        conversations(json, &self.route.ignore).into_iter().chain(above).collect()
    }
}

//! Routes: which requests a rule covers, and how their answers are cached.
//!
//! A [`Route`] is data. The method and the path alone decide which one covers a request; whether the body
//! fits as well, [`crate::dialect`] decides. Pure.

pub(crate) mod kind;
pub(crate) mod pattern;

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, Method};

use crate::{
    cache::{
        identity::{IdentityScope, ScopePart},
        route::{
            kind::{Kind, KindTtls},
            pattern::Pattern,
        },
        semantic::SemanticRoute,
    },
    dialect::{
        Ask, BatchApi, BatchLists, Dialect, Division, JudgeOptions, Opens, RequestIds, StreamEnd,
        usage::{UsageOnHit, UsageSetting},
    },
    http::{
        headers::{self, HeaderPattern},
        sse::{Event, Framing},
    },
    json::{Json, canonical::Normalize, condition::Condition, mask::Mask, pointer::Pointer},
};

/// Who may share an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Only callers with the same credentials.
    Credential,
    /// Every caller whose credentials the upstream accepts.
    Shared,
    /// Callers that send the same values in these headers.
    Headers(Vec<HeaderName>),
    /// Callers who are the same by what their credentials say of them.
    Identity(Arc<IdentityScope>),
}

impl Scope {
    /// Of a list.
    pub(crate) fn from_parts(parts: Vec<ScopePart>) -> Self {
        let header = |part: &ScopePart| match part {
            ScopePart::Header(name) => Some(name.clone()),
            _ => None,
        };
        let headers = parts.iter().filter_map(header).collect();
        IdentityScope::new(parts).map_or(Self::Headers(headers), |scope| Self::Identity(Arc::new(scope)))
    }
}

/// What decides how long an answer is fresh, and everything else about storing it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The route.
    Ttl,
    /// The upstream, by RFC 9111.
    Rfc9111,
}

/// What happens to an answer that sets a cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetCookie {
    /// Stored without the cookie.
    Strip,
    /// Not stored.
    Skip,
}

/// The id and the time of creation of a hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Those of the recorded answer.
    Recorded,
    /// New ones.
    Fresh,
}

/// The pace at which a hit streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replay {
    /// As fast as the client reads.
    AtOnce,
    /// At the pace of the recorded stream.
    Recorded,
    /// With this time between two events.
    Every(Duration),
}

/// What happens to an answer that all its clients have left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnAbandon {
    /// It is read to its end and stored.
    Finish,
    /// The connection to the upstream is closed.
    Cancel,
}

/// What a success on a route invalidates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invalidates {
    /// All entries of a kind.
    Kind(Kind),
    /// The entries with the tag that this name of the pattern has in the path.
    TagInPath(String),
}

/// When a service has done what it has answered already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settle {
    /// After this time.
    pub(crate) after: Duration,
    /// And not before its answer to this says so.
    pub(crate) until: Option<SettleUntil>,
}

/// The question whether a service has done what it has answered already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SettleUntil {
    /// The path and the query of a `GET`.
    pub(crate) target: String,
    /// At least one; all must hold of its answer.
    pub(crate) conditions: Vec<Condition>,
}

/// Where a request names a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConversationPlace {
    /// In its body.
    Body(Pointer),
    /// In its path, under this name of the pattern.
    Path(String),
    /// In its query, as this parameter.
    Query(String),
}

/// The number under which a process counts the requests of a route. 0 is for requests without one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RouteNumber(pub(crate) u16);

/// A rule: which requests it covers, and how their answers are cached.
#[derive(Clone, Debug)]
pub struct Route {
    /// The name, which is part of the key.
    pub name: String,
    /// The requests that it covers.
    pub pattern: Pattern,
    /// What its answers are.
    pub kind: Kind,
    /// What the bodies mean; if `None`, path and body decide.
    pub dialect: Option<Dialect>,
    /// `false` passes everything through.
    pub cache: bool,
    /// What decides how long an answer is fresh.
    pub mode: Mode,
    /// How long an answer is fresh. Where the upstream decides that, how long an answer stays stored after
    /// that. Zero caches nothing.
    pub ttl: Duration,
    /// Who may share its entries.
    pub scope: Scope,
    /// Request headers left out of the key, beyond the built-in list.
    pub ignore_headers: Vec<HeaderPattern>,
    /// What happens to answers that set a cookie.
    pub set_cookie: SetCookie,
    /// Response headers that a hit leaves out.
    pub drop_headers: Vec<HeaderPattern>,
    /// Body members left out of the key.
    pub ignore: Vec<Pointer>,
    /// Where the question's text is; if `None`, the dialect decides.
    pub text: Option<Vec<Pointer>>,
    /// What does not count in that text.
    pub normalize: Vec<Normalize>,
    /// Whether answers that call tools are stored.
    pub cache_tool_calls: bool,
    /// Whether `Cache-Control` and `X-Cache-TTL` of a request are honoured.
    pub honor_request_cache_control: bool,
    /// What a request's body must say, all of it; if it does not, the next route is tried.
    pub when: Vec<Condition>,
    /// What an answer says that is an error, whatever its status.
    pub error: Vec<Condition>,
    /// What an answer must say, all of it.
    pub require: Vec<Condition>,
    /// What ends this route's streams; if `None`, the dialect decides.
    pub stream_end: Option<StreamEnd>,
    /// What divides the bodies of its answers; if `None`, their media type says it.
    pub framing: Option<Framing>,
    /// Whether an answer is a stream if the request does not say; if `None`, the dialect decides.
    pub stream_default: Option<bool>,
    /// Where a request names the conversations that it is a turn of; if `None`, it does so under the known names.
    pub conversation: Option<Vec<ConversationPlace>>,
    /// The ids that its answers have for one client alone.
    pub opens: Opens,
    /// The query parameters that count for the key; if `None`, all do.
    pub vary_by: Option<Vec<String>>,
    /// What does not count in any text of a body.
    pub mask: Vec<Mask>,
    /// The list whose elements have an entry each, and the lists of answers.
    pub batch: Option<BatchLists>,
    /// Whether each document that is ranked has an entry of its own.
    pub per_item: bool,
    /// How its questions are answered by meaning, too; `None` if they are not.
    pub(crate) semantic: Option<SemanticRoute>,
    /// Further words that end an answer well.
    pub good_ends: Vec<String>,
    /// Whether the upstream is asked for a stream's usage.
    pub usage: UsageSetting,
    /// What a hit says of the tokens that it took.
    pub usage_on_hit: UsageOnHit,
    /// The id and the time of creation of a hit.
    pub identity: Identity,
    /// The pace of a stream that is a hit.
    pub replay: Replay,
    /// What happens to an answer that all its clients have left.
    pub on_abandon: OnAbandon,
    /// How long after its TTL an answer is served while the upstream is asked again.
    pub stale_while_revalidate: Duration,
    /// How long after that an answer is served if the upstream fails.
    pub stale_if_error: Duration,
    /// Where an answer names what it depends on; if `None`, the dialect decides.
    pub tags: Option<Vec<Pointer>>,
    /// The names of the pattern that an answer depends on, besides that.
    pub path_tags: Vec<String>,
    /// What a success invalidates.
    pub invalidates: Vec<Invalidates>,
    /// How long that takes the service; `None` if it is done when it answers.
    pub settle: Option<Settle>,
    /// Whether it is built in. Such a route covers a `POST` only if the body has everything that the
    /// dialect's API requires.
    pub builtin: bool,
    /// What people call it, if it is built in.
    pub(crate) short_name: Option<&'static str>,
    /// The number under which the process counts its requests.
    pub(crate) number: RouteNumber,
    /// The flag or the variable that gave it; `None` if the file has it, or if it is built in.
    pub given_by: Option<&'static str>,
    /// Whether the model may be named elsewhere than in the body.
    pub model_elsewhere: bool,
}

fn is_plain_text(headers: &HeaderMap) -> bool {
    headers::media_type(headers).is_some_and(|media| media == "text/plain")
}

/// The path of an Azure deployment, which names the model
/// (learn.microsoft.com/azure/ai-services/openai/reference).
const AZURE: &str = " /openai/deployments/{name}/";

/// The search of a vector store. An answer depends on the whole store.
const SEARCH: &str = "POST /**/v1/vector_stores/{id}/search";

/// How long OpenAI may take to index a file that was added to a vector store, or taken out of it, in most cases. Its API
/// tells by the file's `status`, which the client asks for.
const INDEXING: Duration = Duration::from_secs(60);

/// The built-in routes for what changes what answers were made of: match, how long the service works on it, and a short
/// name for people. Nothing of them is cached, and what depends on `{id}` is invalidated.
const BUILTIN_CHANGES: [(&str, Duration, &str); 9] = [
    ("DELETE /**/v1/responses/{id}", Duration::ZERO, "openai-response"),
    ("DELETE /**/v1/files/{id}", INDEXING, "openai-file"),
    ("POST /**/v1/vector_stores/{id}", INDEXING, "openai-store-changed"),
    ("DELETE /**/v1/vector_stores/{id}", INDEXING, "openai-store-deleted"),
    ("POST /**/v1/vector_stores/{id}/files", INDEXING, "openai-store-file-added"),
    ("POST /**/v1/vector_stores/{id}/files/{file}", INDEXING, "openai-store-file-changed"),
    ("DELETE /**/v1/vector_stores/{id}/files/{file}", INDEXING, "openai-store-file-deleted"),
    ("POST /**/v1/vector_stores/{id}/file_batches", INDEXING, "openai-store-batch-added"),
    ("POST /**/v1/vector_stores/{id}/file_batches/{batch}/cancel", INDEXING, "openai-store-batch-cancelled"),
];

/// The built-in routes: match, kind, dialect, and a short name for people.
const BUILTIN: [(&str, Kind, Option<Dialect>, &str); 38] = [
    (
        "POST /openai/deployments/{name}/chat/completions",
        Kind::Query,
        Some(Dialect::OpenAiChat),
        "azure-chat",
    ),
    (
        "POST /openai/deployments/{name}/completions",
        Kind::Query,
        Some(Dialect::OpenAiCompletions),
        "azure-completions",
    ),
    ("POST /**/chat/completions", Kind::Query, Some(Dialect::OpenAiChat), "openai-chat"),
    ("POST /**/v1/completions", Kind::Query, Some(Dialect::OpenAiCompletions), "openai-completions"),
    ("POST /**/v1/responses", Kind::Query, Some(Dialect::OpenAiResponses), "openai-responses"),
    (
        "POST /**/v1/audio/transcriptions",
        Kind::Query,
        Some(Dialect::OpenAiTranscription),
        "openai-transcriptions",
    ),
    (
        "POST /**/v1/audio/translations",
        Kind::Query,
        Some(Dialect::OpenAiTranscription),
        "openai-translations",
    ),
    ("POST /**/v1/audio/speech", Kind::Query, Some(Dialect::OpenAiSpeech), "openai-speech"),
    (SEARCH, Kind::Query, Some(Dialect::OpenAiSearch), "openai-search"),
    ("POST /**/v1/messages", Kind::Query, Some(Dialect::Anthropic), "anthropic-messages"),
    ("POST /**/{model}:generateContent", Kind::Query, Some(Dialect::Gemini), "gemini"),
    ("POST /**/{model}:streamGenerateContent", Kind::Query, Some(Dialect::Gemini), "gemini"),
    ("POST /**/v2/chat", Kind::Query, Some(Dialect::CohereChat), "cohere-chat"),
    ("POST /api/chat", Kind::Query, None, "api-chat"),
    ("POST /api/generate", Kind::Query, None, "api-generate"),
    ("POST /api/v1/chat", Kind::Query, None, "api-v1-chat"),
    ("POST /api/v1/query", Kind::Query, None, "api-v1-query"),
    ("POST /**/v1/embeddings", Kind::Embedding, Some(Dialect::Embedding), "openai-embeddings"),
    (
        "POST /openai/deployments/{name}/embeddings",
        Kind::Embedding,
        Some(Dialect::Embedding),
        "azure-embeddings",
    ),
    ("POST /api/embed", Kind::Embedding, Some(Dialect::Embedding), "api-embed"),
    ("POST /api/embeddings", Kind::Embedding, Some(Dialect::Embedding), "api-embeddings"),
    ("POST /embed", Kind::Embedding, Some(Dialect::TeiEmbed), "tei-embed"),
    ("POST /embed_sparse", Kind::Embedding, Some(Dialect::TeiEmbedSparse), "tei-embed-sparse"),
    ("POST /**/v2/embed", Kind::Embedding, Some(Dialect::CohereEmbed), "cohere-embed"),
    (
        "POST /**/v1/models/{model}:embedContent",
        Kind::Embedding,
        Some(Dialect::GeminiEmbed),
        "gemini-v1-embed",
    ),
    (
        "POST /**/v1beta/models/{model}:embedContent",
        Kind::Embedding,
        Some(Dialect::GeminiEmbed),
        "gemini-embed",
    ),
    (
        "POST /**/v1/models/{model}:batchEmbedContents",
        Kind::Embedding,
        Some(Dialect::GeminiBatchEmbed),
        "gemini-v1-batch-embed",
    ),
    (
        "POST /**/v1beta/models/{model}:batchEmbedContents",
        Kind::Embedding,
        Some(Dialect::GeminiBatchEmbed),
        "gemini-batch-embed",
    ),
    ("POST /**/v1/moderations", Kind::Query, Some(Dialect::OpenAiModerations), "openai-moderations"),
    ("POST /rerank", Kind::Rerank, None, "rerank"),
    ("POST /reranking", Kind::Rerank, None, "reranking"),
    ("POST /**/v1/rerank", Kind::Rerank, None, "v1-rerank"),
    ("POST /**/v1/reranking", Kind::Rerank, None, "v1-reranking"),
    ("POST /**/v2/rerank", Kind::Rerank, None, "v2-rerank"),
    ("POST /score", Kind::Rerank, Some(Dialect::Score), "score"),
    ("POST /**/v1/score", Kind::Rerank, Some(Dialect::Score), "v1-score"),
    ("GET /api/v1/documents/{id}", Kind::Document, Some(Dialect::None), "api-v1-documents"),
    ("GET /api/v1/conversations/{id}", Kind::Conversation, Some(Dialect::None), "api-v1-conversations"),
];

impl Route {
    /// Whether answers to `method` are cached. A pattern with `*` for its method covers those that change
    /// something, too, and their answers are not. A `POST` counts as a question, but not to a document or a
    /// conversation. Under `mode = "rfc9111"`, the safe methods are cached.
    pub(crate) fn caches(&self, method: &Method) -> bool {
        if self.mode == Mode::Rfc9111 {
            return self.cache && matches!(method.as_str(), "GET" | "HEAD" | "QUERY");
        }
        let is_question = || !matches!(self.kind, Kind::Document | Kind::Conversation);
        self.cache
            && (self.pattern.names_method()
                || [Method::GET, Method::HEAD].contains(method)
                || (method == Method::POST && is_question()))
    }

    /// Whether the route itself says which answers are good.
    pub(crate) const fn judges_answers(&self) -> bool {
        !self.error.is_empty() || !self.require.is_empty()
    }

    /// Whether the route says that an event of a stream is an error.
    pub(crate) fn is_error(&self, event: &Event) -> bool {
        !self.error.is_empty() && {
            let json = Json::parse(event.data.as_bytes()).ok();
            self.error.iter().any(|condition| condition.holds_in_event(&event.name, json.as_ref()))
        }
    }

    /// What divides a body with these headers.
    pub fn framing(&self, headers: &HeaderMap) -> Framing {
        match self.framing {
            Some(Framing::Lines) => Framing::Lines,
            // A service that streams still sends documents, its failures first of all.
            Some(framing) if !headers::is_json(headers) => framing,
            // Plain text that ends with its body.
            None if self.stream_end == Some(StreamEnd::Eof) && is_plain_text(headers) => Framing::Text,
            _ => Framing::from_headers(headers),
        }
    }

    /// How to judge an answer to `ask` on this route. `ids` are those of the request, if the answer may open a
    /// conversation.
    pub fn judging<'a>(&'a self, ask: &'a Ask, ids: Option<RequestIds<'a>>) -> JudgeOptions<'a> {
        JudgeOptions {
            ask,
            batch: self.batch.as_ref(),
            cache_tool_calls: self.cache_tool_calls,
            error: &self.error,
            require: &self.require,
            stream_end: self.stream_end.as_ref(),
            good_ends: &self.good_ends,
            tags: self.tags.as_deref(),
            ids: ids.map(|ids| (ids, &self.opens)),
        }
    }

    /// Whether a request may have several inputs, each with an entry of its own.
    pub(crate) fn may_be_batch(&self) -> bool {
        let is_per_input = |dialect: Dialect| dialect.batch_api().is_some_and(BatchApi::is_per_input);
        self.batch.is_some()
            || self.per_item
            || self.kind == Kind::Embedding
            || self.dialect.is_some_and(is_per_input)
    }

    /// What divides requests in this dialect, if each of their inputs has an entry of its own here.
    pub(crate) fn division(&self, dialect: Dialect) -> Option<Division<'_>> {
        let of_api =
            || dialect.batch_api().filter(|api| api.is_per_input() || self.per_item).map(Division::Api);
        self.batch.as_ref().map(Division::Lists).or_else(of_api)
    }

    /// The dialect of a JSON request that the route covers: the route's own, or else the one that path and
    /// body show.
    pub fn dialect_for(&self, path: &str, body: &Json<'_>) -> Dialect {
        match (self.dialect, self.kind) {
            (Some(dialect), _) => dialect,
            (None, _) if self.batch.is_some() => Dialect::Json,
            (None, Kind::Embedding) => self.first_that_fits(Dialect::OF_EMBEDDINGS, body),
            (None, Kind::Rerank) => self.first_that_fits(Dialect::OF_SCORES, body),
            (None, Kind::Query) => Dialect::candidates(path)
                .find(|dialect| dialect.fits(body, self.model_elsewhere))
                .unwrap_or(Dialect::Json),
            (None, Kind::Document | Kind::Conversation | Kind::Other) => Dialect::Json,
        }
    }

    /// The first of these dialects that a request fits; the first of all if it fits none.
    fn first_that_fits<const N: usize>(&self, dialects: [Dialect; N], body: &Json<'_>) -> Dialect {
        let fits = |dialect: &Dialect| dialect.fits(body, self.model_elsewhere);
        dialects.into_iter().find(fits).unwrap_or(dialects[0])
    }

    /// The dialect that a request to `path` has, if its body is of that dialect.
    pub(crate) fn dialect_at(&self, path: &str) -> Option<Dialect> {
        match (self.dialect, self.kind) {
            (Some(dialect), _) => Some(dialect),
            (None, Kind::Query) => Dialect::candidates(path).next(),
            // The body decides, and only Gemini's takes credentials elsewhere than in headers.
            (None, Kind::Embedding) => Some(Dialect::GeminiEmbed),
            (None, _) => None,
        }
    }

    /// What it is called where people read it: its name, or a short one if it is built in.
    pub(crate) fn label(&self) -> &str {
        self.short_name.unwrap_or(&self.name)
    }

    /// Where it comes from, in a word for operators.
    pub(crate) const fn origin(&self) -> &'static str {
        match self.given_by {
            Some(given_by) => given_by,
            None if self.builtin => "built in",
            None => "file",
        }
    }

    /// A route with every setting at its default; its name is its pattern.
    ///
    /// # Errors
    /// If `pattern` cannot be read. The text says why.
    pub fn new(pattern: &str, kind: Kind, ttl: Duration, scope: Scope) -> Result<Self, String> {
        let parsed = pattern.parse()?;
        Ok(Self { name: pattern.to_owned(), ..Self::with_pattern(parsed, kind, ttl, scope) })
    }

    /// A route with every setting at its default, and without a name.
    pub(crate) fn with_pattern(pattern: Pattern, kind: Kind, ttl: Duration, scope: Scope) -> Self {
        Self {
            name: String::new(),
            pattern,
            kind,
            dialect: None,
            cache: true,
            mode: Mode::Ttl,
            ttl,
            scope,
            ignore_headers: Vec::new(),
            set_cookie: match kind {
                kind if kind.is_a_models() => SetCookie::Strip,
                _ => SetCookie::Skip,
            },
            drop_headers: vec![HeaderPattern::prefix("x-ratelimit-")],
            ignore: Vec::new(),
            text: None,
            normalize: Vec::new(),
            cache_tool_calls: true,
            honor_request_cache_control: true,
            when: Vec::new(),
            error: Vec::new(),
            require: Vec::new(),
            stream_end: None,
            framing: None,
            stream_default: None,
            conversation: None,
            opens: Opens::default(),
            vary_by: None,
            mask: Vec::new(),
            batch: None,
            per_item: false,
            semantic: None,
            good_ends: Vec::new(),
            usage: UsageSetting::AsAsked,
            usage_on_hit: UsageOnHit::Recorded,
            identity: Identity::Recorded,
            replay: Replay::AtOnce,
            on_abandon: OnAbandon::Finish,
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            tags: None,
            path_tags: Vec::new(),
            invalidates: Vec::new(),
            settle: None,
            builtin: false,
            short_name: None,
            number: RouteNumber::default(),
            given_by: None,
            model_elsewhere: true,
        }
    }
}

/// The built-in routes with these TTLs and this scope.
pub(crate) fn builtin(ttls: &KindTtls, scope: &Scope) -> Vec<Route> {
    let changes = BUILTIN_CHANGES.into_iter().filter_map(|(pattern, settles, short_name)| {
        let route = Route::new(pattern, Kind::Other, ttls.ttl(Kind::Other), scope.clone()).ok()?;
        let settle = (!settles.is_zero()).then_some(Settle { after: settles, until: None });
        let invalidates = vec![Invalidates::TagInPath("id".to_owned())];
        let short_name = Some(short_name);
        Some(Route { cache: false, builtin: true, short_name, invalidates, settle, ..route })
    });
    BUILTIN
        .into_iter()
        .filter_map(|(pattern, kind, dialect, short_name)| {
            let route = Route::new(pattern, kind, ttls.ttl(kind), scope.clone()).ok()?;
            let short_name = Some(short_name);
            Some(Route {
                dialect,
                builtin: true,
                short_name,
                model_elsewhere: pattern.contains(AZURE),
                path_tags: if pattern == SEARCH { vec!["id".to_owned()] } else { Vec::new() },
                ..route
            })
        })
        .chain(changes)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_route_is_there() {
        let second = Duration::from_secs(1);
        let ttls = KindTtls {
            query: second,
            embedding: second * 2,
            rerank: second * 6,
            document: second * 3,
            conversation: second * 4,
            default: second * 5,
        };
        let routes = builtin(&ttls, &Scope::Credential);
        assert_eq!(routes.len(), BUILTIN.len() + BUILTIN_CHANGES.len());
        assert!(routes.iter().all(|route| route.builtin && route.ttl == ttls.ttl(route.kind)));
    }
}

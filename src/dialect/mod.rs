//! What bodies mean: one file a dialect, behind one trait.
//!
//! A dialect tells what a request of its shape requires, where the question's text is, which form of the
//! answer is asked for, and whether an answer, JSON or stream, is complete and worth keeping.

mod answer;
mod anthropic;
mod choices;
mod conversation;
pub mod convert;
mod embedding;
mod ends;
mod events;
mod failure;
mod identity;
mod ollama;
mod openai;
mod plain;
mod rag;
pub mod usage;

use bytes::Bytes;

pub use answer::{Answer, Judging};
pub use conversation::conversations;
pub use convert::{BY_HAND, FORMS, Form, Placement, Served, Stored, place, serve};
pub use embedding::{Fault, Inputs, Vectors};
pub use identity::renewed;

use self::answer::{Document, Refusal, Rules};
use crate::{
    dialect::usage::UsageSetting,
    http::sse::{self, Framing},
    json::{Json, pointer::Pointer},
    reason::Reason,
};

/// A shape of requests and answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// OpenAI Chat Completions.
    OpenAiChat,
    /// OpenAI Completions.
    OpenAiCompletions,
    /// OpenAI Responses.
    OpenAiResponses,
    /// Anthropic Messages.
    Anthropic,
    /// Ollama `/api/chat`.
    OllamaChat,
    /// Ollama `/api/generate`.
    OllamaGenerate,
    /// A question under `query`, `question` or `message`.
    Rag,
    /// Vectors for texts, OpenAI's or Ollama's way.
    Embedding,
    /// Some JSON.
    Json,
    /// Any bytes.
    None,
}

impl Dialect {
    /// The dialects a route's `dialect` can name.
    pub const NAMED: [Self; 9] = [
        Self::OpenAiChat,
        Self::OpenAiCompletions,
        Self::OpenAiResponses,
        Self::Anthropic,
        Self::OllamaChat,
        Self::OllamaGenerate,
        Self::Rag,
        Self::Json,
        Self::None,
    ];

    /// The name used in settings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OpenAiChat => "openai-chat",
            Self::OpenAiCompletions => "openai-completions",
            Self::OpenAiResponses => "openai-responses",
            Self::Anthropic => "anthropic",
            Self::OllamaChat => "ollama-chat",
            Self::OllamaGenerate => "ollama-generate",
            Self::Rag => "rag",
            Self::Embedding => "embedding",
            Self::Json => "json",
            Self::None => "none",
        }
    }

    fn shape(self) -> &'static dyn Shape {
        match self {
            Self::OpenAiChat => &openai::chat::OpenAiChat,
            Self::OpenAiCompletions => &openai::completions::OpenAiCompletions,
            Self::OpenAiResponses => &openai::responses::OpenAiResponses,
            Self::Anthropic => &anthropic::Anthropic,
            Self::OllamaChat => &ollama::Ollama { text: ollama::Text::Message },
            Self::OllamaGenerate => &ollama::Ollama { text: ollama::Text::Response },
            Self::Rag => &rag::Rag,
            Self::Embedding => &embedding::Embedding,
            Self::Json => &plain::Plain::Json,
            Self::None => &plain::Plain::Bytes,
        }
    }

    /// The dialects that a question sent to `path` may have, the likeliest first.
    pub fn candidates(path: &str) -> impl Iterator<Item = Self> {
        Self::by_path(path).into_iter().chain([Self::Rag, Self::OpenAiChat])
    }

    fn by_path(path: &str) -> Option<Self> {
        const ENDINGS: [(&str, Dialect); 6] = [
            ("/chat/completions", Dialect::OpenAiChat),
            ("/completions", Dialect::OpenAiCompletions),
            ("/v1/responses", Dialect::OpenAiResponses),
            ("/v1/messages", Dialect::Anthropic),
            ("/api/chat", Dialect::OllamaChat),
            ("/api/generate", Dialect::OllamaGenerate),
        ];
        ENDINGS.into_iter().find(|(ending, _)| path.ends_with(ending)).map(|(_, dialect)| dialect)
    }

    /// Whether a request's body has all that the dialect's API requires. `model_elsewhere` tells whether the model may be
    /// named elsewhere, as Azure names it in the path.
    pub fn fits(self, body: &Json<'_>, model_elsewhere: bool) -> bool {
        self.shape().fits(body, model_elsewhere)
    }

    /// Whether requests are JSON.
    pub const fn is_json(self) -> bool {
        !matches!(self, Self::None)
    }

    /// Whether the dialect has a `stream` member, and so both forms of an answer.
    pub const fn has_stream_member(self) -> bool {
        !matches!(self, Self::Rag | Self::Embedding | Self::Json | Self::None)
    }

    /// Whether it is the API of a vendor of models, which speaks the language of the question and no other.
    pub const fn is_a_vendors(self) -> bool {
        self.has_stream_member() || matches!(self, Self::Embedding)
    }

    /// Where the question's text is.
    pub fn text(self) -> Vec<Pointer> {
        self.shape().text().iter().filter_map(|pointer| pointer.parse().ok()).collect()
    }

    /// The text of a request's question: the last text there is.
    pub fn question_text(self, body: &Json<'_>) -> Option<String> {
        self.text().iter().filter_map(|pointer| pointer.last_text(body)).next_back()
    }

    /// What a request asks for, as far as the answer is judged and served by it.
    pub fn ask(self, body: &Json<'_>, usage: UsageSetting) -> Ask {
        let shape = self.shape();
        let has_forms = self.has_stream_member();
        let form = if has_forms { Form::of(body, shape.streams_by_default()) } else { Form::default() };
        let asks = usage == UsageSetting::Ask && matches!(self, Self::OpenAiChat | Self::OpenAiCompletions);
        Ask {
            form,
            upstream_form: if asks { form.told_usage() } else { form },
            sets_limit: shape.sets_limit(body),
            wants_json: shape.wants_json(body),
            choices: shape.choices(body),
            runs_on: shape.runs_on(body),
            inputs: 0,
            takes_text: body.get("encoding_format").is_some_and(|format| format.as_str() != Some("float")),
        }
    }

    /// Whether an answer that is one document may be read by those who wait for it only once it was judged: before, it
    /// may be a failure, or somebody's own.
    pub const fn judges_documents(self) -> bool {
        !matches!(self, Self::None)
    }

    /// The request's body, asking for the stream's usage too, where `ask` says that the upstream is asked for it
    /// and the caller did not.
    pub fn body_that_asks(ask: &Ask, body: &[u8], json: &Json<'_>) -> Option<Bytes> {
        (ask.form != ask.upstream_form).then(|| openai::usage::asked(body, json).into())
    }
}

/// What a request asks for, as far as the answer is judged and served by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ask {
    /// The form of the answer.
    pub form: Form,
    /// The form that the upstream is asked for; it may tell more.
    pub upstream_form: Form,
    /// Whether the request limits the answer's length.
    pub sets_limit: bool,
    /// Whether the answer's text is to be JSON.
    pub wants_json: bool,
    /// How many choices the answer is to have.
    pub choices: u64,
    /// Whether the request is answered before the work is done, which goes on under the answer's id.
    pub runs_on: bool,
    /// How many vectors the request asks for.
    pub inputs: usize,
    /// Whether it may get them as base64.
    pub takes_text: bool,
}

impl Ask {
    /// What is done to the upstream's answer for the caller, where anything is.
    pub fn edit_for_caller(&self) -> Option<Edit> {
        self.hides_usage().then_some(Edit { named: None, hides_usage: true })
    }

    /// What is done to it for those who read it along. `named` are the conversations that they named, where an answer
    /// may open another one.
    pub fn edit_for_others(&self, named: Option<&[String]>) -> Option<Edit> {
        let edit = Edit { named: named.map(<[String]>::to_vec), hides_usage: self.hides_usage() };
        (edit.named.is_some() || edit.hides_usage).then_some(edit)
    }

    fn hides_usage(&self) -> bool {
        self.form != self.upstream_form
    }
}

/// What is done to a running answer for some of those who read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// The ids that the answer opens, beside these, are taken out.
    named: Option<Vec<String>>,
    /// The usage that a caller did not ask for is taken out.
    hides_usage: bool,
}

impl Edit {
    /// Whether it may change an answer that is divided so.
    pub fn changes(&self, framing: Framing) -> bool {
        // A document always tells its usage.
        self.named.is_some() || framing == Framing::Events
    }

    /// Whole events of an answer, or a whole document, edited.
    ///
    /// # Errors
    /// Where that cannot be done.
    pub fn apply(&self, framing: Framing, whole: Bytes) -> Result<Bytes, Reason> {
        let whole = match &self.named {
            Some(named) => conversation::without_opened(framing, &whole, named)?.unwrap_or(whole),
            None => whole,
        };
        let hides_usage = self.hides_usage && framing == Framing::Events;
        Ok(if hides_usage { openai::usage::hidden(&whole).into() } else { whole })
    }
}

/// One dialect.
trait Shape {
    /// Whether a request's body has all that the API requires, its model aside where that may be named elsewhere.
    fn fits(&self, body: &Json<'_>, model_elsewhere: bool) -> bool;

    /// Where the question's text is, as JSON pointers.
    fn text(&self) -> &'static [&'static str];

    /// Where an answer, or an event of its stream, tells what it depends on, as JSON pointers.
    fn tags(&self) -> &'static [&'static str] {
        &[]
    }

    /// Whether a request without a `stream` member asks for a stream.
    fn streams_by_default(&self) -> bool {
        false
    }

    /// Whether the request limits the answer's length.
    fn sets_limit(&self, _body: &Json<'_>) -> bool {
        false
    }

    /// Whether the request wants JSON for the answer's text.
    fn wants_json(&self, _body: &Json<'_>) -> bool {
        false
    }

    /// How many choices the request asks for.
    fn choices(&self, _body: &Json<'_>) -> u64 {
        1
    }

    /// Whether the request is answered before the work is done.
    fn runs_on(&self, _body: &Json<'_>) -> bool {
        false
    }

    /// Whether a stream ends with this event, whatever comes behind it. Asked of each event as it comes, so it looks for
    /// a word before it reads JSON.
    fn ends_with(&self, event: &sse::Event, named: Option<&str>) -> bool;

    /// Judges an answer that is one document.
    fn document(&self, document: &Document<'_>, rules: &Rules<'_>) -> Answer {
        match document.json() {
            Some(json) => self.whole(json, rules),
            None => Answer::not_stored(Reason::Invalid),
        }
    }

    /// The same, of one that was read as JSON.
    fn whole(&self, _json: &Json<'_>, _rules: &Rules<'_>) -> Answer {
        Answer::not_stored(Reason::Invalid)
    }

    /// Judges an answer that is a stream of events.
    fn stream(&self, events: &[sse::Event], rules: &Rules<'_>) -> Answer;

    /// The media type of its streams.
    fn stream_media(&self) -> &'static str {
        "text/event-stream"
    }

    /// The stream that says what the answer `whole` says, its usage only where the request asks for that;
    /// `None` where the dialect has no streams, or a stream would lose or invent something.
    fn to_stream(&self, _whole: &Json<'_>, _with_usage: bool) -> Option<Vec<u8>> {
        None
    }

    /// The whole answer that says what a complete stream says; `None` where the dialect has no streams, or it
    /// would lose or invent something.
    fn to_whole(&self, _events: &[sse::Event]) -> Option<Vec<u8>> {
        None
    }

    /// The same complete stream for a request that does, or does not, ask for its usage; `None` where that was
    /// never told, or the dialect knows no such request.
    fn with_usage(&self, _events: &[sse::Event], _with_usage: bool) -> Option<Vec<u8>> {
        None
    }
}

/// Whether `json` has a member `name` that is a text with something in it.
fn has_text(json: &Json<'_>, name: &str) -> bool {
    json.get(name).and_then(Json::as_str).is_some_and(|text| !text.is_empty())
}

/// Whether `json` has a member `name` that is not null.
fn has(json: &Json<'_>, name: &str) -> bool {
    json.get(name).is_some_and(|value| !value.is_null())
}

/// Whether `json` is a list with something in it.
fn is_filled(list: Option<&Json<'_>>) -> bool {
    list.is_some_and(|list| !list.items().is_empty())
}

/// Whether a request asks for JSON in the way of OpenAI's `response_format` and its kin: an object whose `type` is
/// `json_object` or `json_schema` (platform.openai.com/docs/guides/structured-outputs).
fn is_json_format(format: Option<&Json<'_>>) -> bool {
    let kind = format.and_then(|format| format.get("type")).and_then(Json::as_str);
    matches!(kind, Some("json_object" | "json_schema"))
}

/// Whether `name` is one of `known`, which are in lower case, but for its case and for `_` and `-`.
fn is_one_of(name: &str, known: &[&str]) -> bool {
    let plain =
        || name.bytes().filter(|byte| !matches!(byte, b'_' | b'-')).map(|byte| byte.to_ascii_lowercase());
    known.iter().any(|known| plain().eq(known.bytes()))
}

/// A copy of the text under `name`.
fn text_of(json: &Json<'_>, name: &str) -> Option<String> {
    json.get(name)?.as_str().map(str::to_owned)
}

//! What each dialect is: the struct that implements its [`Api`], its family, and where its requests are sent.
//!
//! Each table is a `match` without a wildcard, so the compiler names every line that a new dialect needs. The
//! family is no method of [`Api`]: every key depends on it, and a `match` costs no call through a pointer.

use std::borrow::Cow;

use http::HeaderName;

use super::{
    anthropic,
    api::Api,
    ask::{Ask, Form},
    batch::{self, BatchApi, Batched},
    cohere, gemini,
    name::Dialect,
    ollama, openai, plain, rag,
    usage::UsageSetting,
};
use crate::json::{Json, pointer::Pointer};

/// What of a request chooses the form of its answer.
#[derive(Clone, Copy)]
enum FormChoice {
    /// Nothing: the service alone knows its forms.
    Nothing,
    /// The body's member `stream`, with `stream_options`.
    Members,
    /// The end of the path, and a parameter of the query.
    Target,
}

/// What several dialects have in common.
#[derive(Clone, Copy)]
enum Family {
    /// A vendor's API that generates text, in more than one form, which this chooses.
    Generation(FormChoice),
    /// A vendor's API for vectors, scores or verdicts, which has no streams.
    Batches,
    /// A vendor's API whose requests are JSON, and whose answers have the form that the whole request says.
    OneForm,
    /// A vendor's API whose requests are forms (RFC 7578).
    Forms,
    /// JSON of a service's own.
    ServiceJson,
    /// Any bytes.
    Bytes,
}

impl Dialect {
    pub(super) fn api(self) -> &'static dyn Api {
        match self {
            Self::OpenAiChat => &openai::chat::OpenAiChat,
            Self::OpenAiCompletions => &openai::completions::OpenAiCompletions,
            Self::OpenAiResponses => &openai::responses::OpenAiResponses,
            Self::OpenAiTranscription => &openai::transcription::Transcription,
            Self::OpenAiSpeech => &openai::speech::Speech,
            Self::OpenAiSearch => &openai::search::VectorStoreSearch,
            Self::Anthropic => &anthropic::Anthropic,
            Self::CohereChat => &cohere::Cohere,
            Self::OllamaChat => &ollama::Ollama { text: ollama::TextMember::Message },
            Self::OllamaGenerate => &ollama::Ollama { text: ollama::TextMember::Response },
            Self::Gemini => &gemini::Gemini,
            Self::Rag => &rag::Rag,
            Self::Embedding => &Batched(&batch::EMBEDDING),
            Self::TeiEmbed => &Batched(&batch::TEI_EMBED),
            Self::TeiEmbedSparse => &Batched(&batch::TEI_EMBED_SPARSE),
            Self::CohereEmbed => &Batched(&batch::COHERE_EMBED),
            Self::GeminiEmbed => &Batched(&batch::GEMINI_EMBED),
            Self::GeminiBatchEmbed => &Batched(&batch::GEMINI_BATCH_EMBED),
            Self::OpenAiModerations => &Batched(&batch::MODERATION),
            Self::Rerank => &Batched(&batch::RERANK),
            Self::TeiRerank => &Batched(&batch::TEI_RERANK),
            Self::Score => &Batched(&batch::SCORE),
            Self::Json => &plain::Plain::Json,
            Self::None => &plain::Plain::Bytes,
        }
    }

    /// The description of an API whose requests have several inputs.
    pub(crate) fn batch_api(self) -> Option<&'static BatchApi> {
        self.api().batch_api()
    }

    const fn family(self) -> Family {
        match self {
            Self::OpenAiChat
            | Self::OpenAiCompletions
            | Self::OpenAiResponses
            | Self::Anthropic
            | Self::CohereChat
            | Self::OllamaChat
            | Self::OllamaGenerate => Family::Generation(FormChoice::Members),
            Self::Gemini => Family::Generation(FormChoice::Target),
            Self::OpenAiTranscription => Family::Forms,
            Self::OpenAiSpeech | Self::OpenAiSearch => Family::OneForm,
            Self::Embedding
            | Self::TeiEmbed
            | Self::TeiEmbedSparse
            | Self::CohereEmbed
            | Self::GeminiEmbed
            | Self::GeminiBatchEmbed
            | Self::OpenAiModerations
            | Self::Rerank
            | Self::TeiRerank
            | Self::Score => Family::Batches,
            Self::Rag | Self::Json => Family::ServiceJson,
            Self::None => Family::Bytes,
        }
    }

    const fn form_choice(self) -> FormChoice {
        match self.family() {
            Family::Generation(choice) => choice,
            _ => FormChoice::Nothing,
        }
    }

    /// How the paths end that only this API has.
    const fn path_endings(self) -> &'static [&'static str] {
        match self {
            Self::OpenAiChat => &["/chat/completions"],
            Self::OpenAiCompletions => &["/completions"],
            Self::OpenAiResponses => &["/v1/responses"],
            Self::Anthropic => &["/v1/messages"],
            Self::CohereChat => &["/v2/chat"],
            Self::OllamaChat => &["/api/chat"],
            Self::OllamaGenerate => &["/api/generate"],
            Self::Gemini => gemini::target::ENDINGS,
            // A route names the first three of these.
            Self::OpenAiTranscription
            | Self::OpenAiSpeech
            | Self::OpenAiSearch
            | Self::Rag
            | Self::Embedding
            | Self::TeiEmbed
            | Self::TeiEmbedSparse
            | Self::CohereEmbed
            | Self::GeminiEmbed
            | Self::GeminiBatchEmbed
            | Self::OpenAiModerations
            | Self::Rerank
            | Self::TeiRerank
            | Self::Score
            | Self::Json
            | Self::None => &[],
        }
    }

    /// The dialects that a request for vectors may have.
    pub(crate) const OF_EMBEDDINGS: [Self; 5] =
        [Self::Embedding, Self::TeiEmbed, Self::CohereEmbed, Self::GeminiEmbed, Self::GeminiBatchEmbed];

    /// The dialects that a request for scores may have.
    pub(crate) const OF_SCORES: [Self; 3] = [Self::Rerank, Self::TeiRerank, Self::Score];

    /// The dialects that a question sent to `path` may have, the likeliest first.
    pub(crate) fn candidates(path: &str) -> impl Iterator<Item = Self> {
        let ends = |dialect: &Self| dialect.path_endings().iter().any(|ending| path.ends_with(ending));
        // In this order, since `/chat/completions` ends in `/completions` too.
        Self::NAMED.into_iter().find(ends).into_iter().chain([Self::Rag, Self::OpenAiChat])
    }

    /// Whether requests are JSON.
    pub(crate) const fn is_json(self) -> bool {
        !matches!(self.family(), Family::Bytes | Family::Forms)
    }

    /// Whether requests are forms.
    pub(crate) const fn is_form(self) -> bool {
        matches!(self.family(), Family::Forms)
    }

    /// Whether an answer has more than one form, each of which may be made of another one.
    pub(crate) const fn has_forms(self) -> bool {
        matches!(self.family(), Family::Generation(_))
    }

    /// The members of a body that choose the form of the answer. They are not in the key.
    pub(crate) const fn form_members(self) -> &'static [&'static str] {
        match self.form_choice() {
            FormChoice::Members => &["stream", "stream_options"],
            FormChoice::Target | FormChoice::Nothing => &[],
        }
    }

    /// The path in the key, which is the same for all forms.
    pub(crate) fn path_in_key(self, path: &str) -> Cow<'_, str> {
        match self.form_choice() {
            FormChoice::Target => gemini::target::path_in_key(path),
            FormChoice::Members | FormChoice::Nothing => Cow::Borrowed(path),
        }
    }

    /// Whether any parameter of the query may not be in the key: all of Google's APIs take credentials there.
    pub(crate) const fn reads_query(self) -> bool {
        matches!(self, Self::Gemini | Self::GeminiEmbed | Self::GeminiBatchEmbed)
    }

    /// Whether the query's parameter `name` is not in the key as it is: it chooses the form, or is a credential.
    pub(crate) fn leaves_out_parameter(self, name: &str) -> bool {
        let chooses_form =
            matches!(self.form_choice(), FormChoice::Target) && gemini::target::chooses_form(name);
        chooses_form || self.credential_in_query(name).is_some()
    }

    /// The header that the query's parameter `name` replaces, if it holds a credential in this API.
    pub(crate) fn credential_in_query(self, name: &str) -> Option<&'static HeaderName> {
        if self.reads_query() { gemini::target::credential(name) } else { None }
    }

    /// Whether this is the API of a vendor of models, whose answers are in the language of the question,
    /// whatever `Accept-Language` says.
    pub(crate) const fn is_a_vendors(self) -> bool {
        !matches!(self.family(), Family::ServiceJson | Family::Bytes)
    }

    /// Whether followers may read an answer that is one document only after it was judged. Before that, it
    /// may be a failure, or the leader's own.
    pub(crate) const fn judges_documents(self) -> bool {
        !matches!(self.family(), Family::Bytes)
    }

    /// Whether a request's body has all that the dialect's API requires. With `model_elsewhere`, something
    /// else may name the model, as the path does with Azure.
    pub fn fits(self, body: &Json<'_>, model_elsewhere: bool) -> bool {
        self.api().fits(body, model_elsewhere)
    }

    /// Where the question's text is.
    pub(crate) fn text(self) -> Vec<Pointer> {
        self.api().text().iter().filter_map(|pointer| pointer.parse().ok()).collect()
    }

    /// The text of a request's question: the last text there is.
    pub fn question_text(self, body: &Json<'_>) -> Option<String> {
        self.text().iter().filter_map(|pointer| pointer.last_text(body)).next_back()
    }

    /// The model that a request to `path` names.
    pub(crate) fn model(self, body: &Json<'_>, path: &str) -> Option<String> {
        self.api().model(body, path)
    }

    /// `ask`, which the body says, for a request to this path and query: in some APIs these choose the form. Bodies are
    /// remembered, so what the query says comes on top.
    #[must_use]
    pub fn asked_at(self, ask: Ask, path: &str, query: Option<&str>) -> Ask {
        match self.form_choice() {
            FormChoice::Target => {
                let form = gemini::target::form(path, query.unwrap_or_default());
                Ask { form, upstream_form: form, ..ask }
            }
            FormChoice::Members | FormChoice::Nothing => ask,
        }
    }

    /// What a request's body asks for, as far as that decides how its answer is judged and served.
    /// `stream_default` says whether it is a stream where the request does not; if `None`, the API says it.
    pub fn ask(self, body: &Json<'_>, usage: UsageSetting, stream_default: Option<bool>) -> Ask {
        let api = self.api();
        let streams_by_default = stream_default.unwrap_or_else(|| api.streams_by_default());
        let form = match self.form_choice() {
            FormChoice::Members => Form::asked_for(body, streams_by_default),
            FormChoice::Target | FormChoice::Nothing => Form::default(),
        };
        let adds_usage = usage == UsageSetting::Ask && api.can_ask_for_usage();
        Ask {
            form,
            upstream_form: if adds_usage { form.with_usage() } else { form },
            sets_limit: api.sets_limit(body),
            wants_json: api.wants_json(body),
            choices: api.choices(body),
            runs_in_background: api.runs_in_background(body),
            is_kept_by_service: api.is_kept_by_service(body),
            inputs: 0,
            ranks: api.ranks(body),
            takes_base64: body.get("encoding_format").is_some_and(|format| format.as_str() != Some("float")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_ending_comes_first() {
        let first = |path| Dialect::candidates(path).next();
        assert_eq!(first("/v1/chat/completions"), Some(Dialect::OpenAiChat));
        assert_eq!(first("/v1/completions"), Some(Dialect::OpenAiCompletions));
        assert_eq!(first("/cohere/v2/chat"), Some(Dialect::CohereChat));
        assert_eq!(first("/api/chat"), Some(Dialect::OllamaChat));
        assert_eq!(first("/api/v1/query"), Some(Dialect::Rag));
        assert_eq!(first("/v1beta/models/m:generateContent"), Some(Dialect::Gemini));
        assert_eq!(first("/v1beta/models/m:streamGenerateContent"), Some(Dialect::Gemini));
    }

    #[test]
    fn every_dialect_can_be_named_but_one() {
        let mut names: Vec<_> =
            Dialect::NAMED.into_iter().chain([Dialect::Embedding]).map(Dialect::as_str).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Dialect::None as usize + 1);
    }
}

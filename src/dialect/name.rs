//! The dialects, and what each is called. The name is in the settings and in every key, so it never changes.

/// An API: what its requests and answers look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// OpenAI Chat Completions.
    OpenAiChat,
    /// OpenAI Completions.
    OpenAiCompletions,
    /// OpenAI Responses.
    OpenAiResponses,
    /// OpenAI's transcriptions and translations of speech, whose requests are forms.
    OpenAiTranscription,
    /// OpenAI's speech.
    OpenAiSpeech,
    /// The search of OpenAI's vector stores.
    OpenAiSearch,
    /// Anthropic Messages.
    Anthropic,
    /// Cohere Chat, version 2.
    CohereChat,
    /// Ollama `/api/chat`.
    OllamaChat,
    /// Ollama `/api/generate`.
    OllamaGenerate,
    /// Gemini `generateContent` and `streamGenerateContent`.
    Gemini,
    /// A question under `query`, `question` or `message`.
    Rag,
    /// Vectors for texts, OpenAI's or Ollama's way.
    Embedding,
    /// Vectors of Text Embeddings Inference.
    TeiEmbed,
    /// Sparse vectors of Text Embeddings Inference.
    TeiEmbedSparse,
    /// Vectors of Cohere's second API.
    CohereEmbed,
    /// One vector of Gemini.
    GeminiEmbed,
    /// Vectors of Gemini.
    GeminiBatchEmbed,
    /// OpenAI Moderations.
    OpenAiModerations,
    /// Documents ranked by their scores, Cohere's way.
    Rerank,
    /// The same, Text Embeddings Inference's way.
    TeiRerank,
    /// Scores of pairs of texts, vLLM's way.
    Score,
    /// Some JSON.
    Json,
    /// Any bytes. The last one: the length of [`Dialect::NAMED`] depends on that.
    None,
}

impl Dialect {
    /// The dialects that a route's `dialect` can name: all but `Embedding`, which follows from a route's
    /// kind. A dialect that is missing here does not compile, since the length counts all that come before
    /// `None`.
    pub const NAMED: [Self; Self::None as usize] = [
        Self::OpenAiChat,
        Self::OpenAiCompletions,
        Self::OpenAiResponses,
        Self::OpenAiTranscription,
        Self::OpenAiSpeech,
        Self::OpenAiSearch,
        Self::Anthropic,
        Self::CohereChat,
        Self::OllamaChat,
        Self::OllamaGenerate,
        Self::Gemini,
        Self::Rag,
        Self::TeiEmbed,
        Self::TeiEmbedSparse,
        Self::CohereEmbed,
        Self::GeminiEmbed,
        Self::GeminiBatchEmbed,
        Self::OpenAiModerations,
        Self::Rerank,
        Self::TeiRerank,
        Self::Score,
        Self::Json,
        Self::None,
    ];

    /// The name in settings and keys.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::OpenAiChat => "openai-chat",
            Self::OpenAiCompletions => "openai-completions",
            Self::OpenAiResponses => "openai-responses",
            Self::OpenAiTranscription => "openai-transcription",
            Self::OpenAiSpeech => "openai-speech",
            Self::OpenAiSearch => "openai-search",
            Self::Anthropic => "anthropic",
            Self::CohereChat => "cohere-chat",
            Self::OllamaChat => "ollama-chat",
            Self::OllamaGenerate => "ollama-generate",
            Self::Gemini => "gemini",
            Self::Rag => "rag",
            Self::Embedding => "embedding",
            Self::TeiEmbed => "tei-embed",
            Self::TeiEmbedSparse => "tei-embed-sparse",
            Self::CohereEmbed => "cohere-embed",
            Self::GeminiEmbed => "gemini-embed",
            Self::GeminiBatchEmbed => "gemini-batch-embed",
            Self::OpenAiModerations => "openai-moderations",
            Self::Rerank => "rerank",
            Self::TeiRerank => "tei-rerank",
            Self::Score => "score",
            Self::Json => "json",
            Self::None => "none",
        }
    }
}

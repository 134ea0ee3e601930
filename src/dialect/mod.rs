//! What bodies mean.

mod pointer;

pub use pointer::Pointer;

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
}

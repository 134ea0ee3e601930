//! The APIs whose requests have several inputs, each as a description: what a request must have, where its inputs are,
//! and how the answer lists what belongs to each.

use super::shape::{AnswerForm, ItemForm, ListForm, Order, Role, Ties};
use crate::reason::Reason;

/// An API.
#[derive(Debug)]
pub struct BatchApi {
    /// Members besides the inputs that a request must have, not null.
    pub(super) requires: &'static [&'static str],
    /// Whether a request must name the model, unless something else does.
    pub(super) needs_model: bool,
    /// Where a request may have its inputs: in one of these.
    pub(super) sources: &'static [Source],
    /// Members that say how many results the answer may have at most. A request has one of them, or none.
    pub(super) limits: &'static [&'static str],
    /// Members that do not count for an entry, besides the inputs and the limits.
    pub(super) unshared: &'static [&'static str],
    pub(super) answer: AnswerForm,
    /// Where the question's text is, as JSON pointers.
    pub(super) text: &'static [&'static str],
    /// Where the text of an input is, as JSON pointers into the input.
    pub(super) input_text: &'static [&'static str],
    /// Whether each input has an entry of its own on every route. Else the route says it (`per_item`).
    pub(super) is_per_input: bool,
    /// Whether a request of this API whose inputs are in an unknown form is one of this API all the same.
    pub(super) takes_odd_inputs: bool,
}

/// Where a request may have its inputs.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) member: &'static str,
    /// What goes with it: the same for all inputs, or else there is an input for each of these.
    pub(super) beside: Option<&'static str>,
    pub(super) form: InputForm,
}

/// What the inputs are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InputForm {
    /// A text or the tokens of one, or a list of either.
    TextsOrTokens,
    /// A text or a list of texts; a list of objects is one input of several parts.
    TextsOrParts,
    /// A list of texts.
    TextList,
    /// A list of objects.
    ObjectList,
    /// A list of texts and objects.
    DocumentList,
    /// A document, or a list of them.
    Documents,
    /// An object.
    Object,
}

impl BatchApi {
    /// Whether each input has an entry of its own on every route.
    pub(crate) const fn is_per_input(&self) -> bool {
        self.is_per_input
    }

    /// Whether its answers are scores.
    pub(super) fn is_of_scores(&self) -> bool {
        self.answer.lists.iter().any(|list| matches!(list.item, ItemForm::Score(_)))
    }
}

const fn source(member: &'static str, form: InputForm) -> Source {
    Source { member, beside: None, form }
}

const fn pair(beside: &'static str, member: &'static str) -> Source {
    Source { member, beside: Some(beside), form: InputForm::Documents }
}

const fn part(at: &'static [&'static str], item: ItemForm) -> ListForm {
    ListForm { at, item, role: Role::Part }
}

const fn echo(at: &'static [&'static str]) -> ListForm {
    ListForm { at, item: ItemForm::Any, role: Role::Echo }
}

const fn single(at: &'static [&'static str], item: ItemForm) -> ListForm {
    ListForm { at, item, role: Role::Single }
}

/// The answers of an API for vectors, in the order of the inputs.
const fn vectors(lists: &'static [ListForm], costs: &'static [&'static [&'static str]]) -> AnswerForm {
    AnswerForm { lists, is_side_by_side: false, order: Order::Inputs, costs, unread: Reason::UnreadVectors }
}

const fn scores(lists: &'static [ListForm], order: Order) -> AnswerForm {
    AnswerForm { lists, is_side_by_side: false, order, costs: COHERE_COSTS, unread: Reason::UnreadScores }
}

const COHERE_COSTS: &[&[&str]] = &[&["usage"], &["meta", "billed_units"], &["meta", "tokens"]];

/// OpenAI's `/v1/embeddings` (platform.openai.com/docs/api-reference/embeddings), and Ollama's `/api/embed` and
/// `/api/embeddings` (github.com/ollama/ollama, docs/api.md).
pub(in crate::dialect) const EMBEDDING: BatchApi = BatchApi {
    requires: &[],
    needs_model: true,
    sources: &[source("input", InputForm::TextsOrTokens), source("prompt", InputForm::TextsOrTokens)],
    limits: &[],
    unshared: &["user"],
    answer: vectors(
        &[
            part(&["data"], ItemForm::NumberedVector("embedding")),
            part(&["embeddings"], ItemForm::Vector),
            single(&["embedding"], ItemForm::Vector),
        ],
        &[&["usage"], &["total_duration"], &["load_duration"], &["prompt_eval_count"]],
    ),
    text: &["/input", "/input/*", "/prompt"],
    input_text: &[""],
    is_per_input: true,
    takes_odd_inputs: true,
};

/// Text Embeddings Inference, `/embed` (huggingface.github.io/text-embeddings-inference).
pub(in crate::dialect) const TEI_EMBED: BatchApi = tei(&[part(&[], ItemForm::Numbers)]);

/// Text Embeddings Inference, `/embed_sparse`.
pub(in crate::dialect) const TEI_EMBED_SPARSE: BatchApi = tei(&[part(&[], ItemForm::Sparse)]);

const TEI_INPUTS: &[Source] = &[source("inputs", InputForm::TextsOrTokens)];

const fn tei(lists: &'static [ListForm]) -> BatchApi {
    BatchApi {
        requires: &[],
        needs_model: false,
        sources: TEI_INPUTS,
        limits: &[],
        unshared: &[],
        answer: vectors(lists, &[]),
        text: &["/inputs", "/inputs/*"],
        input_text: &[""],
        is_per_input: true,
        takes_odd_inputs: false,
    }
}

/// Cohere's `/v2/embed` (docs.cohere.com/reference/embed): lists side by side, one for each type.
pub(in crate::dialect) const COHERE_EMBED: BatchApi = BatchApi {
    requires: &["input_type"],
    needs_model: true,
    sources: &[
        source("texts", InputForm::TextList),
        source("inputs", InputForm::ObjectList),
        source("images", InputForm::TextList),
    ],
    limits: &[],
    unshared: &[],
    answer: AnswerForm {
        lists: &[
            part(&["embeddings", "float"], ItemForm::Numbers),
            part(&["embeddings", "int8"], ItemForm::Numbers),
            part(&["embeddings", "uint8"], ItemForm::Numbers),
            part(&["embeddings", "binary"], ItemForm::Numbers),
            part(&["embeddings", "ubinary"], ItemForm::Numbers),
            part(&["embeddings", "base64"], ItemForm::Base64),
            echo(&["texts"]),
            echo(&["images"]),
            echo(&["inputs"]),
        ],
        is_side_by_side: true,
        order: Order::Inputs,
        costs: COHERE_COSTS,
        unread: Reason::UnreadVectors,
    },
    text: &["/texts/*"],
    input_text: &[""],
    is_per_input: true,
    takes_odd_inputs: false,
};

/// Gemini's `:embedContent` (ai.google.dev/api/embeddings).
pub(in crate::dialect) const GEMINI_EMBED: BatchApi = BatchApi {
    requires: &[],
    needs_model: false,
    sources: &[source("content", InputForm::Object)],
    limits: &[],
    unshared: &[],
    answer: vectors(&[single(&["embedding"], ItemForm::VectorIn("values"))], GEMINI_COSTS),
    text: &["/content/parts/*/text"],
    input_text: &["/parts/*/text"],
    is_per_input: true,
    takes_odd_inputs: false,
};

/// Gemini's `:batchEmbedContents`: each of its requests is one to `:embedContent`.
pub(in crate::dialect) const GEMINI_BATCH_EMBED: BatchApi = BatchApi {
    requires: &[],
    needs_model: false,
    sources: &[source("requests", InputForm::ObjectList)],
    limits: &[],
    unshared: &[],
    answer: vectors(&[part(&["embeddings"], ItemForm::VectorIn("values"))], GEMINI_COSTS),
    text: &["/requests/*/content/parts/*/text"],
    input_text: &["/content/parts/*/text"],
    is_per_input: true,
    takes_odd_inputs: false,
};

const GEMINI_COSTS: &[&[&str]] = &[&["usageMetadata"]];

/// OpenAI's `/v1/moderations` (platform.openai.com/docs/api-reference/moderations). `model` may be missing.
pub(in crate::dialect) const MODERATION: BatchApi = BatchApi {
    requires: &[],
    needs_model: false,
    sources: &[source("input", InputForm::TextsOrParts)],
    limits: &[],
    unshared: &[],
    answer: AnswerForm {
        lists: &[part(&["results"], ItemForm::Verdict("flagged"))],
        is_side_by_side: false,
        order: Order::Inputs,
        costs: &[&["usage"]],
        unread: Reason::UnreadBatch,
    },
    text: &["/input", "/input/*"],
    input_text: &[""],
    is_per_input: true,
    takes_odd_inputs: false,
};

/// Reranking as Cohere (docs.cohere.com/reference/rerank), Jina, Voyage (docs.voyageai.com/reference/reranker-api, with
/// `top_k` and `data`), vLLM, llama.cpp and many more have it.
pub(in crate::dialect) const RERANK: BatchApi = BatchApi {
    requires: &["query"],
    needs_model: false,
    sources: &[source("documents", InputForm::DocumentList)],
    limits: &["top_n", "top_k"],
    unshared: &["user"],
    answer: scores(
        &[
            part(&["results"], ItemForm::Score("relevance_score")),
            part(&["data"], ItemForm::Score("relevance_score")),
        ],
        Order::Score(Ties::FirstFirst),
    ),
    text: &["/query"],
    input_text: &[],
    is_per_input: false,
    takes_odd_inputs: false,
};

/// Reranking as Text Embeddings Inference has it.
pub(in crate::dialect) const TEI_RERANK: BatchApi = BatchApi {
    requires: &["query"],
    needs_model: false,
    sources: &[source("texts", InputForm::TextList)],
    limits: &[],
    unshared: &[],
    answer: scores(&[part(&[], ItemForm::Score("score"))], Order::Score(Ties::LastFirst)),
    text: &["/query"],
    input_text: &[],
    is_per_input: false,
    takes_odd_inputs: false,
};

/// vLLM's `/score` (docs.vllm.ai, pooling models): one text, and each of those beside it.
pub(in crate::dialect) const SCORE: BatchApi = BatchApi {
    requires: &[],
    needs_model: false,
    sources: &[
        pair("text_1", "text_2"),
        pair("data_1", "data_2"),
        pair("queries", "documents"),
        pair("queries", "items"),
    ],
    limits: &[],
    unshared: &["user"],
    answer: scores(&[part(&["data"], ItemForm::Score("score"))], Order::Inputs),
    text: &["/text_1", "/data_1", "/queries"],
    input_text: &[],
    is_per_input: false,
    takes_odd_inputs: false,
};

//! What the bodies of each API mean: what a request must have, where its question is, which form of the
//! answer it asks for, and whether an answer is complete and worth storing.
//!
//! - `name.rs`: the [`Dialect`]s and their names; `registry.rs`: what each of them is.
//! - `api.rs`: the trait that each API implements, in a file or folder of its own.
//! - `ask.rs`: what a request asks for; `answer.rs`, `judge.rs`: what an answer is worth.
//! - `question.rs`, `answer_text.rs`: the text that was asked last, and what an answer says, for hits by meaning.
//! - `batch/`: requests with several inputs: embeddings, reranking, moderations, a route's lists.
//! - `convert.rs`: one form of an answer from the other; `list.rs`: a stream as one JSON list; `edit.rs`, `identity.rs`, `zero_usage.rs`: what is changed in
//!   a body.
//! - `client_info/`: what clients say about themselves, which is not in the key.
//! - `ends.rs`, `failure.rs`, `choices.rs`, `events.rs`, `merge.rs`, `usage.rs`,
//!   `conversation/`: what several APIs share. `form.rs`: a form as JSON.
//!
//! CONTRIBUTING says how to add a dialect.

mod answer;
mod answer_text;
mod anthropic;
mod api;
mod ask;
mod batch;
mod choices;
mod client_info;
mod cohere;
mod conversation;
mod convert;
mod edit;
mod ends;
mod events;
mod failure;
mod form;
mod gemini;
mod identity;
mod judge;
mod list;
mod merge;
mod name;
mod ollama;
mod openai;
mod plain;
mod question;
mod rag;
mod registry;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
pub(crate) mod usage;
mod zero_usage;

pub use self::ask::Ask;
pub(crate) use self::batch::BatchLists;
pub(crate) use self::batch::Unshared;
pub use self::conversation::RequestIds;
pub(crate) use self::convert::Placement;
pub use self::convert::{Rendered, StoredAnswer, place, serve};
pub use self::name::Dialect;
pub(crate) use self::{
    answer::{Answer, JudgeOptions, StreamEnd},
    ask::Form,
    batch::{Answers, AnswersError, BatchApi, Division, Inputs, Shape},
    conversation::{
        Instead, Opens, OwnId, Slot, SlotFill, TakenOut, conversations, fill, is_conversation_name, own_ids,
    },
    convert::BY_HAND,
    edit::Edit,
    form::form_as_json,
    identity::renewed,
    question::{NoQuestion, temperature},
    zero_usage::with_zero_usage,
};

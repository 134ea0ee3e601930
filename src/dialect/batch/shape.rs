//! How the answer to a batch is written: the lists that have a part for each input, as a description.
//!
//! An API is such a description (`apis.rs`), and so are the lists that a route names.

use std::sync::Arc;

use super::{apis::BatchApi, layout::AnswersError};
use crate::{
    json::pointer::{Pointer, Token},
    reason::Reason,
};

/// The lists that a route names with `batch` and `batch_answer`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchLists {
    /// The list of inputs in a request's body.
    pub request: Pointer,
    /// The lists in an answer that have one element for each input, in the same order. The first one must be
    /// there.
    pub answers: Arc<[Pointer]>,
}

/// How the answer to a batch is written.
#[derive(Clone, Debug)]
pub(crate) enum Shape {
    /// As this API writes it.
    Api(&'static BatchApi),
    /// Lists in these places, with an element for each input.
    Lists(Arc<[Pointer]>),
}

/// The answers of an API.
#[derive(Debug)]
pub(super) struct AnswerForm {
    pub(super) lists: &'static [ListForm],
    /// Whether there may be several lists of the role `Part` side by side. Else there is one.
    pub(super) is_side_by_side: bool,
    pub(super) order: Order,
    /// Where the answer says what it cost: a member, or a member of a member.
    pub(super) costs: &'static [&'static [&'static str]],
    /// Why an answer that does not fit is not stored.
    pub(super) unread: Reason,
}

/// A list of an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct ListForm {
    /// The names on the way to it. Without one, it is the whole answer.
    pub(super) at: &'static [&'static str],
    pub(super) item: ItemForm,
    pub(super) role: Role,
}

/// What a list is in its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// It has what was asked for.
    Part,
    /// No list: the one thing that was asked for.
    Single,
    /// It goes along with the others where it is there (of a route).
    Beside,
    /// It repeats the inputs. It may be empty.
    Echo,
}

/// What belongs to one input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ItemForm {
    /// Anything.
    Any,
    /// Anything but null.
    NotNull,
    /// A vector: numbers, or base64 where the request asks for that.
    Vector,
    /// A vector of numbers.
    Numbers,
    /// A vector as base64.
    Base64,
    /// A list of `{"index", "value"}`, which may be empty.
    Sparse,
    /// An object with a vector of this name.
    VectorIn(&'static str),
    /// An object with a vector of this name and, in most, its number.
    NumberedVector(&'static str),
    /// An object with its number and a score of this name.
    Score(&'static str),
    /// An object with a boolean of this name.
    Verdict(&'static str),
}

impl ItemForm {
    /// Whether items say which input they are for.
    pub(super) const fn is_numbered(self) -> bool {
        matches!(self, Self::NumberedVector(_) | Self::Score(_))
    }
}

/// In which order an answer has its items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// In the order of the inputs.
    Inputs,
    /// The highest score first.
    Score(Ties),
}

/// Which of two items with the same score comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ties {
    /// The one whose input does: a stable sort of the scores, downwards (vLLM).
    FirstFirst,
    /// The other one: a stable sort upwards, which is reversed (Text Embeddings Inference).
    LastFirst,
}

/// A list to look for.
#[derive(Debug)]
pub(super) struct Place<'a> {
    pub(super) at: Vec<&'a str>,
    pub(super) item: ItemForm,
    pub(super) role: Role,
}

/// What is looked for beside `usage` on a route with lists: `usage`, and the costs of Ollama.
const COSTS_ANYWHERE: &[&[&str]] =
    &[&["usage"], &["total_duration"], &["load_duration"], &["prompt_eval_count"]];

impl Shape {
    /// The shape of the answers on a route that names these lists.
    pub(crate) fn of_lists(lists: &BatchLists) -> Self {
        Self::Lists(Arc::clone(&lists.answers))
    }

    /// The lists to look for.
    pub(super) fn places(&self) -> Vec<Place<'_>> {
        match self {
            Self::Api(api) => {
                let place =
                    |form: &ListForm| Place { at: form.at.to_vec(), item: form.item, role: form.role };
                api.answer.lists.iter().map(place).collect()
            }
            Self::Lists(pointers) => pointers.iter().enumerate().map(named_place).collect(),
        }
    }

    /// Whether objects on the way to lists may have other members.
    pub(super) const fn is_open(&self) -> bool {
        matches!(self, Self::Lists(_))
    }

    pub(super) const fn is_side_by_side(&self) -> bool {
        match self {
            Self::Api(api) => api.answer.is_side_by_side,
            Self::Lists(_) => false,
        }
    }

    pub(super) const fn order(&self) -> Order {
        match self {
            Self::Api(api) => api.answer.order,
            Self::Lists(_) => Order::Inputs,
        }
    }

    pub(super) const fn costs(&self) -> &'static [&'static [&'static str]] {
        match self {
            Self::Api(api) => api.answer.costs,
            Self::Lists(_) => COSTS_ANYWHERE,
        }
    }

    /// Whether an answer to the client's own request may have to be put into the order of its inputs.
    pub(crate) fn may_be_reordered(&self) -> bool {
        match self {
            Self::Api(api) => {
                let lists = api.answer.lists.iter();
                lists.map(|list| list.item).any(|item| matches!(item, ItemForm::NumberedVector(_)))
            }
            Self::Lists(_) => false,
        }
    }

    /// Why an answer with this fault is not stored.
    pub(crate) const fn reason(&self, fault: AnswersError) -> Reason {
        match (self, fault) {
            (_, AnswersError::Error) => Reason::AnswerError,
            (Self::Api(api), _) => api.answer.unread,
            (Self::Lists(_), _) => Reason::UnreadBatch,
        }
    }
}

/// The place of the list that a route names at `pointer`, which has names alone. The first list has what was asked for;
/// the elements of further ones may be ids that were taken out.
fn named_place((number, pointer): (usize, &Pointer)) -> Place<'_> {
    let at = pointer.tokens().iter().filter_map(|token| match token {
        Token::Name(name) => Some(name.as_str()),
        Token::Any => None,
    });
    let (item, role) = match number {
        0 => (ItemForm::NotNull, Role::Part),
        _ => (ItemForm::Any, Role::Beside),
    };
    Place { at: at.collect(), item, role }
}

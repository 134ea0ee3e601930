//! Walks over an answer with vectors, and notes where they are and what the answer cost.

use std::ops::Range;

use bytes::Bytes;

use super::layout::{AnswersError, Item, Layout, List, Replacement};
use crate::{
    dialect::usage::{Usage, read_usage, zeroed},
    json::{Json, JsonError, Parser},
};

/// Members beside `usage` that say what an answer cost (Ollama).
const COSTS: [&str; 3] = ["total_duration", "load_duration", PROMPT_COUNT];
const PROMPT_COUNT: &str = "prompt_eval_count";

/// What an answer has.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Its lists, the elements in the order of the text.
    pub(super) lists: Vec<List>,
    /// Where it says what it cost, and what it says there if it cost nothing.
    pub(super) costs: Vec<Replacement>,
    pub(super) model: Option<String>,
    pub(super) usage: Option<Usage>,
    has_error: bool,
}

impl Scan {
    /// Finds the vectors.
    pub(super) fn vectors(text: &Bytes) -> Result<Self, AnswersError> {
        let mut scan = Self::default();
        Parser::over(text, |parser| parser.members(|parser, name| scan.member(text, parser, &name)))
            .map_err(|_| AnswersError::Unread)?;
        scan.accepted()
    }

    /// # Errors
    /// The answer reports an error.
    pub(super) fn accepted(self) -> Result<Self, AnswersError> {
        if self.has_error { Err(AnswersError::Error) } else { Ok(self) }
    }

    fn member(&mut self, text: &[u8], parser: &mut Parser<'_>, name: &str) -> Result<(), JsonError> {
        let is_list = parser.next_token() == Some(b'[');
        let mut items = Vec::new();
        match name {
            "data" if is_list => {
                let span = parser.elements(|parser| object(parser).map(|item| items.push(item)))?;
                self.place_at(Layout::Objects, span, items)
            }
            "embeddings" if is_list => {
                let span = parser.elements(|parser| plain(parser).map(|item| items.push(item)))?;
                self.place_at(Layout::Plain, span, items)
            }
            "embedding" => {
                let item = plain(parser)?;
                self.place_at(Layout::Single, item.span.clone(), vec![item])
            }
            _ => {
                let span = parser.skip()?;
                self.other(name, &text[span.clone()], span)
            }
        }
    }

    /// An answer has its vectors in one place.
    fn place_at(&mut self, layout: Layout, span: Range<usize>, items: Vec<Item>) -> Result<(), JsonError> {
        if !self.lists.is_empty() {
            return Err(JsonError::RepeatedMember);
        }
        self.lists.push(List { number: 0, layout, span, items, measure: None });
        Ok(())
    }

    /// Reads a member of the answer that has nothing for single inputs.
    pub(super) fn other(&mut self, name: &str, text: &[u8], span: Range<usize>) -> Result<(), JsonError> {
        match name {
            "error" => self.has_error |= !matches!(text, b"null" | b"false"),
            "model" => self.model = Json::parse(text)?.as_str().map(str::to_owned),
            "usage" => {
                let usage = Json::parse(text)?;
                self.usage = read_usage(&Json::object([("usage", usage.clone())]));
                self.cost(usage, span);
            }
            _ if COSTS.contains(&name) => {
                let cost = Json::parse(text)?;
                if name == PROMPT_COUNT {
                    self.usage = cost.as_u64().map(usage_of_prompt);
                }
                self.cost(cost, span);
            }
            _ => {}
        }
        Ok(())
    }

    fn cost(&mut self, cost: Json<'_>, span: Range<usize>) {
        let mut free = Vec::new();
        zeroed(cost).write(&mut free);
        self.costs.push((span, free));
    }
}

/// The usage where only the tokens of the inputs are counted.
fn usage_of_prompt(count: u64) -> Usage {
    Usage { prompt: Some(count), total: Some(count), ..Usage::default() }
}

/// A vector without an object around it.
fn plain(parser: &mut Parser<'_>) -> Result<Item, JsonError> {
    let span = parser.skip()?;
    Ok(Item { vector: Some(span.clone()), span, index: None })
}

/// An object with a vector and its number.
fn object(parser: &mut Parser<'_>) -> Result<Item, JsonError> {
    let mut index = None;
    let mut vector = None;
    let span = parser.members(|parser, name| {
        let value = parser.skip()?;
        let known = match &*name {
            "index" => &mut index,
            "embedding" => &mut vector,
            _ => return Ok(()),
        };
        match known.replace(value) {
            None => Ok(()),
            Some(_) => Err(JsonError::RepeatedMember),
        }
    })?;
    if vector.is_none() {
        return Err(JsonError::Syntax(span.start));
    }
    Ok(Item { span, index, vector })
}

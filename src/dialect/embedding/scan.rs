//! Walks over an answer, and notes where its vectors are and what it cost.

use std::ops::Range;

use bytes::Bytes;

use super::layout::{Item, Layout, Replacement, VectorsError};
use crate::{
    dialect::usage::{Usage, read_usage},
    json::{Json, JsonError, Member, Parser},
};

/// Members beside `usage` that say what an answer cost (Ollama).
const COSTS: [&str; 3] = ["total_duration", "load_duration", PROMPT_COUNT];
const PROMPT_COUNT: &str = "prompt_eval_count";

/// What an answer has.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// The layout of its vectors, and where they all are.
    pub(super) place: Option<(Layout, Range<usize>)>,
    /// The vectors, in the order of the text.
    pub(super) items: Vec<Item>,
    /// Where it says what it cost, and what it says there if it cost nothing.
    pub(super) costs: Vec<Replacement>,
    pub(super) model: Option<String>,
    pub(super) usage: Option<Usage>,
    has_error: bool,
}

impl Scan {
    pub(super) fn read(text: &Bytes) -> Result<Self, VectorsError> {
        let mut scan = Self::default();
        Parser::over(text, |parser| parser.members(|parser, name| scan.member(text, parser, &name)))
            .map_err(|_| VectorsError::Unread)?;
        if scan.has_error { Err(VectorsError::Error) } else { Ok(scan) }
    }

    fn member(&mut self, text: &[u8], parser: &mut Parser<'_>, name: &str) -> Result<(), JsonError> {
        let is_list = parser.next_token() == Some(b'[');
        match name {
            "data" if is_list => {
                let items = &mut self.items;
                let span = parser.elements(|parser| object(parser).map(|item| items.push(item)))?;
                self.place_at(Layout::Objects, span)
            }
            "embeddings" if is_list => {
                let items = &mut self.items;
                let span = parser.elements(|parser| plain(parser).map(|item| items.push(item)))?;
                self.place_at(Layout::Plain, span)
            }
            "embedding" => {
                let item = plain(parser)?;
                let span = item.span.clone();
                self.items.push(item);
                self.place_at(Layout::Single, span)
            }
            _ => {
                let span = parser.skip()?;
                self.other(name, &text[span.clone()], span)
            }
        }
    }

    /// An answer has its vectors in one place.
    fn place_at(&mut self, layout: Layout, span: Range<usize>) -> Result<(), JsonError> {
        match self.place.replace((layout, span)) {
            None => Ok(()),
            Some(_) => Err(JsonError::RepeatedMember),
        }
    }

    fn other(&mut self, name: &str, text: &[u8], span: Range<usize>) -> Result<(), JsonError> {
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
const fn usage_of_prompt(count: u64) -> Usage {
    Usage { prompt: Some(count), completion: None, total: Some(count) }
}

/// A vector without an object around it.
fn plain(parser: &mut Parser<'_>) -> Result<Item, JsonError> {
    let span = parser.skip()?;
    Ok(Item { vector: span.clone(), span, index: None })
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
    let vector: Range<usize> = vector.ok_or(JsonError::Syntax(span.start))?;
    Ok(Item { span, index, vector })
}

/// The value with zero for each number.
fn zeroed(json: Json<'_>) -> Json<'_> {
    match json {
        Json::Number(_) => Json::Number("0"),
        Json::Array(items) => Json::Array(items.into_iter().map(zeroed).collect()),
        Json::Object(members) => Json::Object(
            members.into_iter().map(|member| Member { value: zeroed(member.value), ..member }).collect(),
        ),
        other => other,
    }
}

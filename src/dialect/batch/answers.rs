//! The answer to a batch: where it has what belongs to each input, and answers put together from the parts of
//! several. Vectors are never parsed or converted: their bytes are the upstream's.

use bytes::Bytes;

use super::{
    layout::{AnswersError, Item, Layout, List, Replacement},
    lists,
    measure::Measure,
    scan::Scan,
    shape::Shape,
};
use crate::{
    dialect::{ask::Ask, usage::Usage},
    json::splice::Splicer,
};

/// Room for an index that is added, and more.
const ROOM_FOR_INDEX: usize = 32;

/// An answer, and where it has what belongs to each input.
#[derive(Clone, Debug)]
pub(crate) struct Answers {
    text: Bytes,
    /// At least one. All have the same number of elements.
    lists: Vec<List>,
    /// Where the answer says what it cost, and what it says there if it cost nothing.
    costs: Vec<Replacement>,
    /// The model that gave it.
    pub(crate) model: Option<String>,
    /// The tokens that it took.
    pub(crate) usage: Option<Usage>,
}

impl Answers {
    /// Reads the answer to a request that asks for this.
    ///
    /// # Errors
    /// The answer does not have one element for each input, or its vectors are not all of the same length.
    pub(crate) fn read(shape: &Shape, text: &Bytes, ask: &Ask) -> Result<Self, AnswersError> {
        let answers = Self::find(shape, text, ask.inputs, Measure::parse)?;
        let has_base64 = |list: &List| matches!(list.measure, Some(Measure::Base64(_)));
        if !ask.takes_base64 && answers.lists.iter().any(has_base64) {
            return Err(AnswersError::Unread);
        }
        Ok(answers)
    }

    /// Reads a stored answer to one input, which was checked before it was stored.
    ///
    /// # Errors
    /// The answer has nothing for an input.
    pub(crate) fn stored(shape: &Shape, text: &Bytes) -> Result<Self, AnswersError> {
        Self::find(shape, text, 1, Measure::parse_known)
    }

    fn find(
        shape: &Shape,
        text: &Bytes,
        inputs: usize,
        measure: fn(&[u8]) -> Option<Measure>,
    ) -> Result<Self, AnswersError> {
        let Scan { mut lists, costs, model, usage, .. } = match shape {
            Shape::Vectors => Scan::vectors(text)?,
            Shape::Lists(places) => lists::read(places, text)?,
        };
        if lists.first().is_none_or(|list| list.number > 0) {
            return Err(AnswersError::Unread);
        }
        for list in &mut lists {
            list.check(text, inputs, measure)?;
        }
        Ok(Self { text: text.clone(), lists, costs, model, usage })
    }

    /// Whether such an answer can be one to several inputs.
    pub(crate) fn is_list(&self) -> bool {
        self.lists.iter().all(|list| list.layout != Layout::Single)
    }

    /// Whether one answer can have the parts of both: one model made them, and their vectors have one length and one
    /// notation.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.model == other.model
            && self.lists.len() == other.lists.len()
            && self.lists.iter().zip(&other.lists).all(|(own, other)| own.is_like(other))
    }

    /// The answer to a request for the input at this place alone. It cost nothing.
    pub(crate) fn alone(&self, place: usize) -> Bytes {
        self.put_together(&[(self, place)], &self.costs)
    }

    /// This answer, but with the parts at `places`, in that order. `None` if the answers that these are from are
    /// not alike.
    pub(crate) fn with(&self, places: &[(&Self, usize)]) -> Option<Bytes> {
        let is_own = |(at, (of, place)): (usize, &(&Self, usize))| std::ptr::eq(*of, self) && *place == at;
        let is_whole = |list: &List| {
            places.len() == list.items.len() && list.items.is_sorted_by_key(|item| item.span.start)
        };
        if places.iter().enumerate().all(is_own) && self.lists.iter().all(is_whole) {
            return Some(self.text.clone());
        }
        let alike = places.iter().all(|(of, _)| self.is_like(of));
        (alike && (self.is_list() || places.len() == 1)).then(|| self.put_together(places, &[]))
    }

    /// The text with these parts in place of its own, and with `edits`.
    fn put_together(&self, places: &[(&Self, usize)], edits: &[Replacement]) -> Bytes {
        let written: Vec<_> = (0..self.lists.len()).map(|list| self.written(list, places)).collect();
        let mut edits: Vec<_> = edits.iter().map(|(span, bytes)| (span, &bytes[..])).collect();
        edits.extend(self.lists.iter().zip(&written).map(|(list, bytes)| (&list.span, &bytes[..])));
        edits.sort_unstable_by_key(|(span, _)| span.start);
        let added: usize = written.iter().map(Vec::len).sum();
        let mut splicer = Splicer::with_capacity(&self.text, self.text.len() + added);
        for (span, bytes) in edits {
            splicer.replace(span.clone(), bytes);
        }
        splicer.finish().into()
    }

    /// The parts of one list as an answer of this layout has them.
    fn written(&self, list: usize, places: &[(&Self, usize)]) -> Vec<u8> {
        let layout = self.lists[list].layout;
        let lengths =
            places.iter().map(|(of, place)| of.lists[list].items[*place].span.len() + ROOM_FOR_INDEX);
        let mut out = Vec::with_capacity(lengths.sum());
        for (index, (of, place)) in places.iter().enumerate() {
            match (layout, index) {
                (Layout::Single, _) => {}
                (_, 0) => out.push(b'['),
                _ => out.push(b','),
            }
            of.lists[list].write(&of.text, *place, index, &mut out);
        }
        if layout != Layout::Single {
            out.push(b']');
        }
        out
    }
}

impl List {
    /// Finds how its vectors are written, and puts the items into the order of the inputs.
    ///
    /// # Errors
    /// It does not have one item for each input, or the vectors are not alike.
    fn check(
        &mut self,
        text: &[u8],
        inputs: usize,
        measure: fn(&[u8]) -> Option<Measure>,
    ) -> Result<(), AnswersError> {
        if self.items.len() != inputs {
            return Err(AnswersError::Count(self.items.len()));
        }
        let mut vectors = self.items.iter().filter_map(|item| item.vector.clone());
        if let Some(first) = vectors.next() {
            self.measure = measure(&text[first]);
            if self.measure.is_none() || vectors.any(|vector| measure(&text[vector]) != self.measure) {
                return Err(AnswersError::Unread);
            }
        }
        if self.layout == Layout::Objects {
            self.items = in_order(text, std::mem::take(&mut self.items))?;
        }
        Ok(())
    }

    /// Writes the item at this place with the number `index`.
    fn write(&self, text: &[u8], place: usize, index: usize, out: &mut Vec<u8>) {
        let Item { span, index: number, .. } = &self.items[place];
        match number {
            Some(number) => {
                out.extend_from_slice(&text[span.start..number.start]);
                out.extend_from_slice(index.to_string().as_bytes());
                out.extend_from_slice(&text[number.end..span.end]);
            }
            None if self.layout == Layout::Objects => {
                out.extend_from_slice(format!("{{\"index\":{index},").as_bytes());
                out.extend_from_slice(&text[span.start + 1..span.end]);
            }
            None => out.extend_from_slice(&text[span.clone()]),
        }
    }
}

/// The items in the order of the inputs. An item without a number, since some services leave out a zero, gets
/// the place that no other one has.
fn in_order(text: &[u8], items: Vec<Item>) -> Result<Vec<Item>, AnswersError> {
    let mut ordered: Vec<Option<Item>> = items.iter().map(|_| None).collect();
    let mut unnumbered = None;
    for item in items {
        let Some(span) = &item.index else {
            if unnumbered.replace(item).is_some() {
                return Err(AnswersError::Order);
            }
            continue;
        };
        let index = std::str::from_utf8(&text[span.clone()]).ok().and_then(|index| index.parse().ok());
        let place: &mut Option<Item> =
            index.and_then(|index: usize| ordered.get_mut(index)).ok_or(AnswersError::Order)?;
        if place.replace(item).is_some() {
            return Err(AnswersError::Order);
        }
    }
    if let (Some(item), Some(free)) = (unnumbered, ordered.iter_mut().find(|place| place.is_none())) {
        *free = Some(item);
    }
    // There are as many places as items, and no place is taken twice.
    Ok(ordered.into_iter().flatten().collect())
}

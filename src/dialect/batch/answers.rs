//! The answer to a batch: where it has what belongs to each input, and answers put together from the parts of
//! several. Vectors are never parsed or converted: their bytes are the upstream's.

use std::ops::Range;

use bytes::Bytes;

use super::{
    layout::{AnswersError, Item, Layout, List, Replacement},
    measure::Measure,
    ranking,
    scan::Scan,
    shape::{ItemForm, Order, Shape},
};
use crate::{
    dialect::{
        ask::{Ask, Ranks},
        usage::Usage,
    },
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
    order: Order,
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
        let forms = shape.places();
        let is_refused = |list: &List| match forms[list.number].item {
            ItemForm::Numbers | ItemForm::VectorIn(_) => list.is_base64(),
            ItemForm::Base64 => !list.is_base64(),
            _ => !ask.takes_base64 && list.is_base64(),
        };
        if answers.lists.iter().any(is_refused) { Err(AnswersError::Unread) } else { Ok(answers) }
    }

    /// Reads a stored answer to one input, which was checked before it was stored.
    ///
    /// # Errors
    /// The answer has nothing for an input.
    pub(crate) fn stored(shape: &Shape, text: &Bytes) -> Result<Self, AnswersError> {
        Self::find(shape, text, 1, Measure::parse_known)
    }

    /// Reads the answer to a request that ranks documents, as one answer to all of them.
    ///
    /// # Errors
    /// The answer does not have as many results as were asked for, each of another one of the documents.
    pub(crate) fn ranked(
        shape: &Shape,
        text: &Bytes,
        ranks: Ranks,
    ) -> Result<(Option<String>, Option<Usage>), AnswersError> {
        let Scan { lists, costs, model } = Scan::read(shape, text)?;
        ranking::check(text, &lists, ranks)?;
        Ok((model, costs.usage))
    }

    fn find(
        shape: &Shape,
        text: &Bytes,
        inputs: usize,
        measure: fn(&[u8]) -> Option<Measure>,
    ) -> Result<Self, AnswersError> {
        let Scan { mut lists, costs, model } = Scan::read(shape, text)?;
        let order = shape.order();
        for list in &mut lists {
            list.check(text, inputs, measure)?;
            if matches!(order, Order::Score(_)) && !ranking::is_sorted(&list.items) {
                return Err(AnswersError::Order);
            }
            if list.layout == Layout::Objects {
                list.items = in_order(text, std::mem::take(&mut list.items))?;
            }
        }
        Ok(Self { text: text.clone(), lists, order, costs: costs.places, model, usage: costs.usage })
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
        self.put_together(&[(self, place)], usize::MAX, &self.costs)
    }

    /// This answer, but with the parts at `places`, one for each input, and of ranked ones at most `limit`. `None` if the
    /// answers that these are from are not alike.
    pub(crate) fn with(&self, places: &[(&Self, usize)], limit: Option<usize>) -> Option<Bytes> {
        let is_own = |(at, (of, place)): (usize, &(&Self, usize))| std::ptr::eq(*of, self) && *place == at;
        let is_whole = |list: &List| {
            let is_in_order = self.is_ranked() || list.items.is_sorted_by_key(|item| item.span.start);
            places.len() == list.items.len() && is_in_order
        };
        if limit.is_none() && places.iter().enumerate().all(is_own) && self.lists.iter().all(is_whole) {
            return Some(self.text.clone());
        }
        let alike = places.iter().all(|(of, _)| self.is_like(of));
        let limit = limit.unwrap_or(usize::MAX);
        (alike && (self.is_list() || places.len() == 1)).then(|| self.put_together(places, limit, &[]))
    }

    const fn is_ranked(&self) -> bool {
        matches!(self.order, Order::Score(_))
    }

    /// The text with these parts in place of its own, at most `limit` of them, and with `edits`.
    fn put_together(&self, places: &[(&Self, usize)], limit: usize, edits: &[Replacement]) -> Bytes {
        let written: Vec<_> = (0..self.lists.len()).map(|list| self.written(list, places, limit)).collect();
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

    /// The parts of one list as an answer of this layout has them, in its order.
    fn written(&self, list: usize, places: &[(&Self, usize)], limit: usize) -> Vec<u8> {
        let layout = self.lists[list].layout;
        let order = match self.order {
            Order::Inputs => (0..places.len()).collect(),
            Order::Score(ties) => ranking::order(places.iter().map(|place| item(list, place).score), ties),
        };
        let lengths = places.iter().map(|place| item(list, place).span.len() + ROOM_FOR_INDEX);
        let mut out = Vec::with_capacity(lengths.sum());
        for (count, index) in order.into_iter().take(limit).enumerate() {
            match (layout, count) {
                (Layout::Single, _) => {}
                (_, 0) => out.push(b'['),
                _ => out.push(b','),
            }
            let (of, place) = places[index];
            of.lists[list].write(&of.text, place, index, &mut out);
        }
        if layout != Layout::Single {
            out.push(b']');
        }
        out
    }
}

/// What an answer has in one of its lists at this place.
fn item<'a>(list: usize, (of, place): &(&'a Answers, usize)) -> &'a Item {
    &of.lists[list].items[*place]
}

impl List {
    const fn is_base64(&self) -> bool {
        matches!(self.measure, Some(Measure::Base64(_)))
    }

    /// Finds how its vectors are written.
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
        let place: &mut Option<Item> =
            number(text, span).and_then(|index| ordered.get_mut(index)).ok_or(AnswersError::Order)?;
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

/// The whole number that is written there.
pub(super) fn number(text: &[u8], span: &Range<usize>) -> Option<usize> {
    std::str::from_utf8(&text[span.clone()]).ok()?.parse().ok()
}

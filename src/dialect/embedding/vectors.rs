//! The vectors of an answer: where each is, and answers put together from the vectors of several. The numbers
//! are never parsed or converted: their bytes are the upstream's.

use std::ops::Range;

use bytes::Bytes;

use super::{measure::Measure, scan::Scan};

use crate::{
    dialect::{
        embedding::layout::{Item, Layout, Replacement, VectorsError},
        usage::Usage,
    },
    json::splice::Splicer,
};

/// Room for an index that is added, and more.
const ROOM_FOR_INDEX: usize = 32;

/// An answer, and where its vectors are.
#[derive(Clone, Debug)]
pub(crate) struct Vectors {
    text: Bytes,
    layout: Layout,
    /// Where all of them are: a list with its brackets, or the one vector.
    span: Range<usize>,
    /// In the order of the inputs.
    items: Vec<Item>,
    /// How they are written, and how long each is; `None` if there are none.
    measure: Option<Measure>,
    /// Where the answer says what it cost, and what it says there if it cost nothing.
    costs: Vec<Replacement>,
    /// The model that made them.
    pub(crate) model: Option<String>,
    /// The tokens that they took.
    pub(crate) usage: Option<Usage>,
}

impl Vectors {
    /// Reads the answer to a request with this many inputs. With `takes_base64`, the vectors may be base64.
    ///
    /// # Errors
    /// The answer does not have one vector for each input, all of the same length.
    pub(crate) fn read(text: &Bytes, inputs: usize, takes_base64: bool) -> Result<Self, VectorsError> {
        let vectors = Self::find(text, inputs, Measure::parse)?;
        match vectors.measure {
            Some(Measure::Base64(_)) if !takes_base64 => Err(VectorsError::Unread),
            _ => Ok(vectors),
        }
    }

    /// Reads a stored answer to one input, which was checked before it was stored.
    ///
    /// # Errors
    /// The answer has no vector.
    pub(crate) fn stored(text: &Bytes) -> Result<Self, VectorsError> {
        Self::find(text, 1, Measure::parse_known)
    }

    fn find(
        text: &Bytes,
        inputs: usize,
        measure: fn(&[u8]) -> Option<Measure>,
    ) -> Result<Self, VectorsError> {
        let scan = Scan::read(text)?;
        let (layout, span) = scan.place.ok_or(VectorsError::Unread)?;
        if scan.items.len() != inputs {
            return Err(VectorsError::Count(scan.items.len()));
        }
        let mut measures = scan.items.iter().map(|item| measure(&text[item.vector.clone()]));
        let first = measures.next().flatten();
        if first.is_none() || measures.any(|other| other != first) {
            return Err(VectorsError::Unread);
        }
        let items = in_order(text, layout, scan.items)?;
        Ok(Self {
            text: text.clone(),
            layout,
            span,
            items,
            measure: first,
            costs: scan.costs,
            model: scan.model,
            usage: scan.usage,
        })
    }

    /// Whether an answer of this layout can have several vectors.
    pub(crate) fn is_list(&self) -> bool {
        self.layout != Layout::Single
    }

    /// Whether one answer can have the vectors of both: one model made them, and they have one length and one
    /// notation.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.layout == other.layout && self.measure == other.measure && self.model == other.model
    }

    /// The answer to a request for the vector at this place alone. It cost nothing.
    pub(crate) fn alone(&self, place: usize) -> Bytes {
        self.put_together(&[(self, place)], &self.costs)
    }

    /// This answer, but with the vectors at `places`, in that order. `None` if the answers that these are
    /// from are not alike.
    pub(crate) fn with(&self, places: &[(&Self, usize)]) -> Option<Bytes> {
        let is_own = |(at, (of, place)): (usize, &(&Self, usize))| std::ptr::eq(*of, self) && *place == at;
        if places.len() == self.items.len()
            && places.iter().enumerate().all(is_own)
            && self.items.is_sorted_by_key(|item| item.span.start)
        {
            return Some(self.text.clone());
        }
        let alike = places.iter().all(|(of, _)| self.is_like(of));
        (alike && (self.is_list() || places.len() == 1)).then(|| self.put_together(places, &[]))
    }

    /// The text with these vectors in place of its own, and with `edits`.
    fn put_together(&self, places: &[(&Self, usize)], edits: &[Replacement]) -> Bytes {
        let vectors = self.written(places);
        let mut edits: Vec<_> = edits.iter().map(|(span, bytes)| (span, &bytes[..])).collect();
        edits.push((&self.span, &vectors));
        edits.sort_unstable_by_key(|(span, _)| span.start);
        let length = self.text.len() - self.span.len() + vectors.len();
        let mut splicer = Splicer::with_capacity(&self.text, length);
        for (span, bytes) in edits {
            splicer.replace(span.clone(), bytes);
        }
        splicer.finish().into()
    }

    /// These vectors as an answer of this layout has them.
    fn written(&self, places: &[(&Self, usize)]) -> Vec<u8> {
        let lengths = places.iter().map(|(of, place)| of.items[*place].span.len() + ROOM_FOR_INDEX);
        let mut out = Vec::with_capacity(lengths.sum());
        for (index, (of, place)) in places.iter().enumerate() {
            match (self.layout, index) {
                (Layout::Single, _) => {}
                (_, 0) => out.push(b'['),
                _ => out.push(b','),
            }
            of.write(*place, index, &mut out);
        }
        if self.is_list() {
            out.push(b']');
        }
        out
    }

    /// Writes the item at this place with the number `index`.
    fn write(&self, place: usize, index: usize, out: &mut Vec<u8>) {
        let Item { span, index: number, .. } = &self.items[place];
        match number {
            Some(number) => {
                out.extend_from_slice(&self.text[span.start..number.start]);
                out.extend_from_slice(index.to_string().as_bytes());
                out.extend_from_slice(&self.text[number.end..span.end]);
            }
            None if self.layout == Layout::Objects => {
                out.extend_from_slice(format!("{{\"index\":{index},").as_bytes());
                out.extend_from_slice(&self.text[span.start + 1..span.end]);
            }
            None => out.extend_from_slice(&self.text[span.clone()]),
        }
    }
}

/// The items in the order of the inputs. An item without a number, since some services leave out a zero, gets
/// the place that no other one has.
fn in_order(text: &[u8], layout: Layout, items: Vec<Item>) -> Result<Vec<Item>, VectorsError> {
    if layout != Layout::Objects {
        return Ok(items);
    }
    let mut ordered: Vec<Option<Item>> = items.iter().map(|_| None).collect();
    let mut unnumbered = None;
    for item in items {
        let Some(span) = &item.index else {
            if unnumbered.replace(item).is_some() {
                return Err(VectorsError::Order);
            }
            continue;
        };
        let index = std::str::from_utf8(&text[span.clone()]).ok().and_then(|index| index.parse().ok());
        let place: &mut Option<Item> =
            index.and_then(|index: usize| ordered.get_mut(index)).ok_or(VectorsError::Order)?;
        if place.replace(item).is_some() {
            return Err(VectorsError::Order);
        }
    }
    if let (Some(item), Some(free)) = (unnumbered, ordered.iter_mut().find(|place| place.is_none())) {
        *free = Some(item);
    }
    // There are as many places as items, and no place is taken twice.
    Ok(ordered.into_iter().flatten().collect())
}

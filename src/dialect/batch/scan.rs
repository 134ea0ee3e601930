//! Walks over an answer, and notes where the lists of its shape are and what it cost.

use std::ops::Range;

use bytes::Bytes;

use super::{
    costs::Costs,
    items,
    layout::{AnswersError, Item, Layout, List},
    shape::{Place, Role, Shape},
};
use crate::json::{Json, JsonError, Parser};

/// What an answer has.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Its lists, in the order of the shape, the elements in the order of the text.
    pub(super) lists: Vec<List>,
    pub(super) costs: Costs,
    pub(super) model: Option<String>,
}

/// The rest of the way to a place, and which place that is.
type Trail<'a> = (usize, &'a [&'a str]);

impl Scan {
    /// Finds the lists of the shape.
    ///
    /// # Errors
    /// The answer reports an error, or does not have them.
    pub(super) fn read(shape: &Shape, text: &Bytes) -> Result<Self, AnswersError> {
        let places = shape.places();
        let trails: Vec<_> = places.iter().map(|place| &place.at[..]).enumerate().collect();
        let mut walk = Walk { text, shape, places: &places, scan: Self::default(), has_error: false };
        let walked = Parser::over(text, |parser| walk.top(parser, &trails));
        walked.map_err(|_| AnswersError::Unread)?;
        if walk.has_error {
            return Err(AnswersError::Error);
        }
        let mut scan = walk.scan;
        scan.lists.sort_unstable_by_key(|list| list.number);
        let parts = scan.lists.iter().filter(|list| places[list.number].role.is_asked_for()).count();
        let is_whole = if shape.is_side_by_side() { parts > 0 } else { parts == 1 };
        if is_whole { Ok(scan) } else { Err(AnswersError::Unread) }
    }
}

impl Role {
    /// Whether such a list has what was asked for.
    const fn is_asked_for(self) -> bool {
        matches!(self, Self::Part | Self::Single)
    }
}

struct Walk<'t> {
    text: &'t [u8],
    shape: &'t Shape,
    places: &'t [Place<'t>],
    scan: Scan,
    has_error: bool,
}

impl Walk<'_> {
    /// Reads the document.
    fn top(&mut self, parser: &mut Parser<'_>, trails: &[Trail<'_>]) -> Result<(), JsonError> {
        if let Some(number) = here(trails)
            && parser.next_token() != Some(b'{')
        {
            return self.place(parser, number);
        }
        parser.members(|parser, name| match below(trails, &name)[..] {
            [] => {
                let span = parser.skip()?;
                self.other(&name, span)
            }
            ref deeper => self.value(parser, &name, deeper),
        })?;
        Ok(())
    }

    /// Reads a value that has lists in it, or is one.
    fn value(&mut self, parser: &mut Parser<'_>, name: &str, trails: &[Trail<'_>]) -> Result<(), JsonError> {
        if let Some(number) = here(trails) {
            return self.place(parser, number);
        }
        if parser.next_token() != Some(b'{') {
            let span = parser.skip()?;
            return self.other(name, span);
        }
        parser.members(|parser, name| match below(trails, &name)[..] {
            [] if self.shape.is_open() || parser.next_token() == Some(b'n') => parser.skip().map(drop),
            // A list of unknown meaning might belong to single inputs.
            [] => Err(JsonError::Syntax(parser.skip()?.start)),
            ref deeper => self.value(parser, &name, deeper),
        })?;
        Ok(())
    }

    /// Reads what is in the place of a list.
    fn place(&mut self, parser: &mut Parser<'_>, number: usize) -> Result<(), JsonError> {
        let Place { item, role, .. } = self.places[number];
        match (parser.next_token(), role) {
            (Some(b'n'), Role::Part | Role::Beside | Role::Echo) => return parser.skip().map(drop),
            // `data` of another meaning; its absence shows.
            (Some(other), Role::Part) if other != b'[' && !self.shape.is_open() => {
                return parser.skip().map(drop);
            }
            (_, Role::Single) => {
                let item = items::read(item, self.text, parser)?;
                return self.add(List {
                    number,
                    layout: Layout::Single,
                    span: item.span.clone(),
                    items: vec![item],
                    measure: None,
                });
            }
            _ => {}
        }
        let mut found: Vec<Item> = Vec::new();
        let span = parser.elements(|parser| {
            found.push(items::read(item, self.text, parser)?);
            Ok(())
        })?;
        if role == Role::Echo && found.is_empty() {
            return Ok(());
        }
        let layout = if item.is_numbered() { Layout::Objects } else { Layout::Plain };
        self.add(List { number, layout, span, items: found, measure: None })
    }

    /// An answer has each list in one place.
    fn add(&mut self, list: List) -> Result<(), JsonError> {
        if self.scan.lists.iter().any(|known| known.number == list.number) {
            return Err(JsonError::RepeatedMember);
        }
        self.scan.lists.push(list);
        Ok(())
    }

    /// Reads a member of the answer that has nothing for single inputs.
    fn other(&mut self, name: &str, span: Range<usize>) -> Result<(), JsonError> {
        let text = &self.text[span.clone()];
        match name {
            "error" => self.has_error |= !matches!(text, b"null" | b"false"),
            "model" => self.scan.model = Json::parse(text)?.as_str().map(str::to_owned),
            _ => self.scan.costs.read(self.shape.costs(), name, text, span)?,
        }
        Ok(())
    }
}

/// The place that the trails have reached.
fn here(trails: &[Trail<'_>]) -> Option<usize> {
    trails.iter().find(|(_, rest)| rest.is_empty()).map(|(number, _)| *number)
}

/// The trails that go on with the member `name`, behind it.
fn below<'a>(trails: &[Trail<'a>], name: &str) -> Vec<Trail<'a>> {
    let go_on = |(number, rest): &Trail<'a>| match rest.split_first()? {
        (own, rest) if *own == name => Some((*number, rest)),
        _ => None,
    };
    trails.iter().filter_map(go_on).collect()
}

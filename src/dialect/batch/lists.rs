//! Walks over an answer to the lists that a route names.

use bytes::Bytes;

use super::{
    layout::{AnswersError, Item, Layout, List},
    scan::Scan,
};
use crate::json::{
    JsonError, Parser,
    pointer::{Pointer, Token},
};

/// The rest of the way to a list, and which list that is.
type Trail<'a> = (usize, &'a [Token]);

/// Finds the lists at `places`.
pub(super) fn read(places: &[Pointer], text: &Bytes) -> Result<Scan, AnswersError> {
    let trails: Vec<_> = places.iter().map(Pointer::tokens).enumerate().collect();
    let mut walk = Walk { text, scan: Scan::default() };
    Parser::over(text, |parser| walk.top(parser, &trails)).map_err(|_| AnswersError::Unread)?;
    walk.scan.lists.sort_unstable_by_key(|list| list.number);
    walk.scan.accepted()
}

struct Walk<'t> {
    text: &'t [u8],
    scan: Scan,
}

impl Walk<'_> {
    /// Reads the document.
    fn top(&mut self, parser: &mut Parser<'_>, trails: &[Trail<'_>]) -> Result<(), JsonError> {
        if let Some((number, _)) = trails.iter().find(|(_, rest)| rest.is_empty()) {
            return self.list(parser, *number);
        }
        parser.members(|parser, name| match below(trails, &name)[..] {
            [] => {
                let span = parser.skip()?;
                self.scan.other(&name, &self.text[span.clone()], span)
            }
            ref deeper => self.value(parser, deeper),
        })?;
        Ok(())
    }

    /// Reads a value that has lists in it, or is one.
    fn value(&mut self, parser: &mut Parser<'_>, trails: &[Trail<'_>]) -> Result<(), JsonError> {
        if let Some((number, _)) = trails.iter().find(|(_, rest)| rest.is_empty()) {
            return self.list(parser, *number);
        }
        if parser.next_token() != Some(b'{') {
            return parser.skip().map(drop);
        }
        parser.members(|parser, name| match below(trails, &name)[..] {
            [] => parser.skip().map(drop),
            ref deeper => self.value(parser, deeper),
        })?;
        Ok(())
    }

    fn list(&mut self, parser: &mut Parser<'_>, number: usize) -> Result<(), JsonError> {
        if parser.next_token() == Some(b'n') {
            return parser.skip().map(drop);
        }
        let mut items = Vec::new();
        let span = parser.elements(|parser| {
            let is_null = parser.next_token() == Some(b'n');
            let span = parser.skip()?;
            // The elements of further lists may be ids that were taken out.
            if is_null && number == 0 {
                return Err(JsonError::Syntax(span.start));
            }
            items.push(Item { span, index: None, vector: None });
            Ok(())
        })?;
        if self.scan.lists.iter().any(|list| list.number == number) {
            return Err(JsonError::RepeatedMember);
        }
        self.scan.lists.push(List { number, layout: Layout::Plain, span, items, measure: None });
        Ok(())
    }
}

/// The trails that go on with the member `name`, behind it.
fn below<'a>(trails: &[Trail<'a>], name: &str) -> Vec<Trail<'a>> {
    let go_on = |(number, rest): &Trail<'a>| match rest.split_first()? {
        (Token::Name(own), rest) if own == name => Some((*number, rest)),
        _ => None,
    };
    trails.iter().filter_map(go_on).collect()
}

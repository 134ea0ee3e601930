//! Reads what belongs to one input. Numbers are not converted, but for scores, which are compared.

use std::ops::Range;

use super::{layout::Item, shape::ItemForm};
use crate::json::{JsonError, Parser};

/// Reads the next value of `text` as an item of this form.
///
/// # Errors
/// The value does not have this form.
pub(super) fn read(form: ItemForm, text: &[u8], parser: &mut Parser<'_>) -> Result<Item, JsonError> {
    match form {
        ItemForm::Any => parser.skip().map(Item::at),
        ItemForm::NotNull => not_null(parser),
        ItemForm::Vector | ItemForm::Numbers | ItemForm::Base64 => {
            let span = parser.skip()?;
            Ok(Item { vector: Some(span.clone()), ..Item::at(span) })
        }
        ItemForm::Sparse => sparse(text, parser),
        ItemForm::VectorIn(name) => {
            let ([vector], span) = members(parser, [name])?;
            Ok(Item { vector: Some(needed(vector, &span)?), ..Item::at(span) })
        }
        ItemForm::NumberedVector(name) => {
            let ([index, vector], span) = members(parser, ["index", name])?;
            Ok(Item { index, vector: Some(needed(vector, &span)?), ..Item::at(span) })
        }
        ItemForm::Score(name) => {
            let ([index, score], span) = members(parser, ["index", name])?;
            let (index, score) = (needed(index, &span)?, needed(score, &span)?);
            let number = number(&text[score]).ok_or(JsonError::Syntax(span.start))?;
            Ok(Item { index: Some(index), score: Some(number), ..Item::at(span) })
        }
        ItemForm::Verdict(name) => {
            let ([verdict], span) = members(parser, [name])?;
            let verdict = needed(verdict, &span)?;
            if matches!(&text[verdict], b"true" | b"false") {
                Ok(Item::at(span))
            } else {
                Err(JsonError::Syntax(span.start))
            }
        }
    }
}

fn not_null(parser: &mut Parser<'_>) -> Result<Item, JsonError> {
    let is_null = parser.next_token() == Some(b'n');
    let span = parser.skip()?;
    if is_null { Err(JsonError::Syntax(span.start)) } else { Ok(Item::at(span)) }
}

/// Where members of an object are, those that it has.
type Places<const N: usize> = [Option<Range<usize>>; N];

/// Reads an object, and says where the members of these names are.
fn members<const N: usize>(
    parser: &mut Parser<'_>,
    names: [&str; N],
) -> Result<(Places<N>, Range<usize>), JsonError> {
    let mut found = [const { None }; N];
    let span = parser.members(|parser, name| {
        let value = parser.skip()?;
        let Some(known) = names.iter().position(|own| *own == name) else { return Ok(()) };
        match found[known].replace(value) {
            None => Ok(()),
            Some(_) => Err(JsonError::RepeatedMember),
        }
    })?;
    Ok((found, span))
}

fn needed(found: Option<Range<usize>>, object: &Range<usize>) -> Result<Range<usize>, JsonError> {
    found.ok_or(JsonError::Syntax(object.start))
}

/// The value of a finite number of JSON.
fn number(text: &[u8]) -> Option<f64> {
    // Quotes and words are no numbers, but `inf` would parse.
    let is_number = text.first().is_some_and(|first| first.is_ascii_digit() || *first == b'-');
    let number: f64 = std::str::from_utf8(text).ok().filter(|_| is_number)?.parse().ok()?;
    number.is_finite().then_some(number)
}

/// A list of positions with their values (Text Embeddings Inference).
fn sparse(text: &[u8], parser: &mut Parser<'_>) -> Result<Item, JsonError> {
    let span = parser.elements(|parser| {
        let ([index, value], span) = members(parser, ["index", "value"])?;
        let are_numbers =
            [index, value].into_iter().all(|part| part.is_some_and(|part| number(&text[part]).is_some()));
        if are_numbers { Ok(()) } else { Err(JsonError::Syntax(span.start)) }
    })?;
    Ok(Item::at(span))
}

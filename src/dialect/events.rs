//! Streams of typed events: Anthropic, Cohere and OpenAI Responses name each event twice, in its `event` line and in the
//! `type` of its data. And texts in pieces.

use std::ops::Range;

use crate::{
    http::sse,
    json::{Json, Member, write_string},
};

/// The most bytes of a text in one event. A whole text would be a line that some clients refuse: aiohttp
/// reads none over 64 KiB, nor does Go's `bufio.Scanner`.
const PIECE: usize = 4096;

/// An event that is being written.
#[must_use]
pub(super) struct Event<'o> {
    out: &'o mut Vec<u8>,
}

impl<'o> Event<'o> {
    pub(super) fn new(name: &str, out: &'o mut Vec<u8>) -> Self {
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\ndata: {\"type\":");
        write_string(name, out);
        Self { out }
    }

    pub(super) fn member(self, name: &str, value: &Json<'_>) -> Self {
        self.out.push(b',');
        write_string(name, self.out);
        self.out.push(b':');
        value.write(self.out);
        self
    }

    pub(super) fn number(self, name: &str, value: usize) -> Self {
        self.member(name, &Json::Number(&value.to_string()))
    }

    pub(super) fn text(self, name: &str, value: &str) -> Self {
        self.member(name, &Json::text(value))
    }

    pub(super) fn end(self) {
        self.out.extend_from_slice(b"}\n\n");
    }
}

/// The type of an event that has one, and its data; `None` within, if the data is null, and says nothing. `None` if it is no
/// such event, or if its two names differ.
pub(super) fn typed(event: &sse::Event) -> Option<Option<(String, Json<'_>)>> {
    let json = Json::parse(event.data.as_bytes()).ok()?;
    if json.is_null() {
        return Some(None);
    }
    let kind = json.get("type")?.as_str()?.to_owned();
    (event.name.is_empty() || event.name == kind).then_some(Some((kind, json)))
}

/// Cuts a text into pieces for a stream; an empty text into none.
pub(super) fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let end = (0..=PIECE.min(rest.len())).rev().find(|at| rest.is_char_boundary(*at))?;
        let (piece, more) = rest.split_at(end);
        rest = more;
        Some(piece).filter(|piece| !piece.is_empty())
    })
}

/// Cuts base64 into pieces that are base64 each. What is no base64 stays in one piece.
pub(super) fn base64_pieces(text: &str) -> Vec<&str> {
    let is_whole = |at| matches!(text.get(..at), Some(start) if start.is_ascii() && !start.contains('='));
    // All pieces but the last have `PIECE` bytes, a multiple of the four that encode three.
    if is_whole(text.len().saturating_sub(4)) { pieces(text).collect() } else { vec![text] }
}

/// A piece of a text, and which of its tokens go with it.
pub(super) type Piece<'a> = (&'a str, Range<usize>);

/// Cuts a text into its tokens; `None` if the tokens are not the text (a character may be split over two).
pub(super) fn by_token<'a>(text: &'a str, tokens: &[Option<&str>]) -> Option<Vec<Piece<'a>>> {
    let tokens: Vec<&str> = tokens.iter().copied().collect::<Option<_>>()?;
    if tokens.concat() != text {
        return None;
    }
    let mut cut = Vec::with_capacity(tokens.len());
    let mut rest = text;
    for (place, token) in tokens.iter().enumerate() {
        let (own, more) = rest.split_at(token.len());
        let mut pieces = pieces(own);
        cut.push((pieces.next().unwrap_or_default(), place..place + 1));
        cut.extend(pieces.map(|piece| (piece, place + 1..place + 1)));
        rest = more;
    }
    Some(cut)
}

/// Cuts a text into its tokens. If these are not the text, cuts it into pieces, and all tokens go with the
/// first.
pub(super) fn pieces_with_tokens<'a>(text: &'a str, tokens: &[Option<&str>]) -> Vec<Piece<'a>> {
    let end = tokens.len();
    if end > 0
        && let Some(cut) = by_token(text, tokens)
    {
        return cut;
    }
    let mut left = 0..end;
    let mut cut: Vec<_> = pieces(text).map(|piece| (piece, std::mem::replace(&mut left, end..end))).collect();
    if !left.is_empty() {
        cut.push(("", left));
    }
    cut
}

/// A copy of an object in which some members have another value.
pub(super) fn altered<'a>(json: &Json<'a>, alter: impl Fn(&Member<'a>) -> Option<Json<'a>>) -> Json<'a> {
    let members = json.members().iter();
    Json::Object(
        members
            .map(|member| {
                let value = alter(member).unwrap_or_else(|| member.value.clone());
                Member::new(member.name.clone(), value)
            })
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_base64_is_not_cut() {
        let long = "QUJD".repeat(3000);
        assert_eq!(base64_pieces(&format!("{long}QQ==")).len(), 3);
        for other in [format!("QQ=={long}"), format!("ü{long}")] {
            assert_eq!(base64_pieces(&other), [other.as_str()]);
        }
        assert_eq!(base64_pieces("QQ=="), ["QQ=="]);
    }

    proptest! {
        #[test]
        fn pieces_are_the_text_and_short(text in "[aü😀]{0,40}", times in 1..400_usize) {
            let text = text.repeat(times);
            let cut: Vec<_> = pieces(&text).collect();
            prop_assert_eq!(&cut.concat(), &text);
            prop_assert!(cut.iter().all(|piece| (1..=PIECE).contains(&piece.len())));
        }

        #[test]
        fn pieces_of_base64_are_base64(text in "[A-Za-z0-9+/]{0,40}", times in 1..400_usize) {
            let mut text = text.repeat(times);
            text.truncate(text.len() / 4 * 4);
            let cut = base64_pieces(&text);
            prop_assert!(cut.iter().all(|piece| piece.len() % 4 == 0 && piece.len() <= PIECE));
            prop_assert_eq!(cut.concat(), text);
        }

        /// Each token goes with one piece, in its order, and if the tokens are the text, with the piece that
        /// begins with it.
        #[test]
        fn tokens_stay_with_their_pieces(
            tokens in proptest::collection::vec("[aü😀]{0,3}", 0..8),
            times in 1..3000_usize,
            fits: bool,
        ) {
            let tokens: Vec<_> = tokens.iter().map(|token| token.repeat(times)).collect();
            let text = if fits { tokens.concat() } else { format!("{}x", tokens.concat()) };
            let told: Vec<_> = tokens.iter().map(|token| Some(token.as_str())).collect();
            let cut = pieces_with_tokens(&text, &told);
            prop_assert!(cut.iter().all(|(piece, _)| piece.len() <= PIECE));
            let places: Vec<_> = cut.iter().flat_map(|(_, told)| told.clone()).collect();
            prop_assert_eq!(places, (0..tokens.len()).collect::<Vec<_>>());
            for (piece, told) in cut.iter().filter(|_| fits) {
                prop_assert!(told.clone().all(|place| tokens[place].starts_with(piece)));
            }
            prop_assert_eq!(cut.iter().map(|(piece, _)| *piece).collect::<String>(), text);
        }
    }
}

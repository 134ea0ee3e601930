//! How a stream of typed events is written: Anthropic's and OpenAI's Responses both name each event twice,
//! in its `event` line and in its data's `type`.

use crate::json::{Json, Member, write_string};

/// The length in bytes of the pieces that a text is streamed in, at most. All at once would be a line that
/// some clients refuse: aiohttp reads none over 64 KiB, nor does Go's `bufio.Scanner`.
const PIECE: usize = 4096;

/// One event on its way into a stream.
#[must_use]
pub(in crate::dialect) struct Event<'o> {
    out: &'o mut Vec<u8>,
}

impl<'o> Event<'o> {
    /// Begins an event of this type.
    pub(in crate::dialect) fn new(name: &str, out: &'o mut Vec<u8>) -> Self {
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\ndata: {\"type\":");
        write_string(name, out);
        Self { out }
    }

    /// A member with some value.
    pub(in crate::dialect) fn member(self, name: &str, value: &Json<'_>) -> Self {
        self.out.push(b',');
        write_string(name, self.out);
        self.out.push(b':');
        value.write(self.out);
        self
    }

    /// A member that is a whole number.
    pub(in crate::dialect) fn number(self, name: &str, value: usize) -> Self {
        self.member(name, &Json::Number(&value.to_string()))
    }

    /// A member that is a text.
    pub(in crate::dialect) fn text(self, name: &str, value: &str) -> Self {
        self.member(name, &Json::text(value))
    }

    /// Ends the event.
    pub(in crate::dialect) fn end(self) {
        self.out.extend_from_slice(b"}\n\n");
    }
}

/// Cuts a text into pieces to be streamed; an empty one into none.
pub(in crate::dialect) fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let end = (0..=PIECE.min(rest.len())).rev().find(|at| rest.is_char_boundary(*at))?;
        let (piece, more) = rest.split_at(end);
        rest = more;
        Some(piece).filter(|piece| !piece.is_empty())
    })
}

/// A copy of an object in which some members have another value, each in its old place.
pub(in crate::dialect) fn altered<'a>(
    json: &Json<'a>,
    alter: impl Fn(&Member<'a>) -> Option<Json<'a>>,
) -> Json<'a> {
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

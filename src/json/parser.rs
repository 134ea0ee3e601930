//! The parser: one pass over the text, which makes no value that is not asked for.

use std::{borrow::Cow, collections::HashSet, ops::Range};

use memchr::memchr2;

use super::{Json, JsonError, MAX_DEPTH, Member};

/// Reads values from a text, one after the other. It can also walk over a document and make a value only of
/// some parts.
#[derive(Debug)]
pub(crate) struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    /// Reads the one value of the document `text` with `read`.
    ///
    /// # Errors
    /// The text is no JSON, or `read` failed.
    pub(crate) fn over<T>(
        text: &'a [u8],
        read: impl FnOnce(&mut Self) -> Result<T, JsonError>,
    ) -> Result<T, JsonError> {
        let text = std::str::from_utf8(text).map_err(|_| JsonError::NotUtf8)?;
        let mut parser = Self { text, at: 0 };
        let value = read(&mut parser)?;
        if parser.next_token().is_none() { Ok(value) } else { Err(parser.fault()) }
    }

    const fn fault(&self) -> JsonError {
        JsonError::Syntax(self.at)
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Where the parser is in the text, in bytes: behind [`Parser::next_token`], at the next value.
    pub(crate) const fn position(&self) -> usize {
        self.at
    }

    /// The first byte of the next value, which shows its type.
    pub(crate) fn next_token(&mut self) -> Option<u8> {
        self.space();
        self.peek()
    }

    fn expect(&mut self, byte: u8) -> Result<(), JsonError> {
        if self.next_token() == Some(byte) {
            self.at += 1;
            Ok(())
        } else {
            Err(self.fault())
        }
    }

    pub(super) fn value(&mut self, depth: usize) -> Result<Json<'a>, JsonError> {
        if depth > MAX_DEPTH {
            return Err(JsonError::TooDeep);
        }
        match self.next_token() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => self.string().map(Json::String),
            Some(b'-' | b'0'..=b'9') => self.number().map(Json::Number),
            Some(b't') => self.literal("true", Json::Bool(true)),
            Some(b'f') => self.literal("false", Json::Bool(false)),
            Some(b'n') => self.literal("null", Json::Null),
            _ => Err(self.fault()),
        }
    }

    fn literal(&mut self, word: &str, value: Json<'a>) -> Result<Json<'a>, JsonError> {
        if self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            Ok(value)
        } else {
            Err(self.fault())
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json<'a>, JsonError> {
        let mut members = Vec::new();
        self.members(|parser, name| {
            parser.space();
            let start = parser.at;
            let value = parser.value(depth + 1)?;
            members.push(Member { name, value, span: start..parser.at });
            Ok(())
        })?;
        if has_repeats(&members) { Err(JsonError::RepeatedMember) } else { Ok(Json::Object(members)) }
    }

    fn array(&mut self, depth: usize) -> Result<Json<'a>, JsonError> {
        let mut items = Vec::new();
        self.elements(|parser| {
            items.push(parser.value(depth + 1)?);
            Ok(())
        })?;
        Ok(Json::Array(items))
    }

    /// Reads an object, and returns where it was. `each` reads the value of the member of that name; it has
    /// to notice repeated ones.
    ///
    /// # Errors
    /// The next value is no object, or `each` failed.
    pub(crate) fn members(
        &mut self,
        mut each: impl FnMut(&mut Self, Cow<'a, str>) -> Result<(), JsonError>,
    ) -> Result<Range<usize>, JsonError> {
        self.expect(b'{')?;
        let start = self.at - 1;
        if self.next_token() == Some(b'}') {
            self.at += 1;
            return Ok(start..self.at);
        }
        loop {
            if self.next_token() != Some(b'"') {
                return Err(self.fault());
            }
            let name = self.string()?;
            self.expect(b':')?;
            each(self, name)?;
            match self.next_token() {
                Some(b',') => self.at += 1,
                Some(b'}') => break,
                _ => return Err(self.fault()),
            }
        }
        self.at += 1;
        Ok(start..self.at)
    }

    /// Reads an array, and returns where it was. `each` reads an element.
    ///
    /// # Errors
    /// The next value is no array, or `each` failed.
    pub(crate) fn elements(
        &mut self,
        mut each: impl FnMut(&mut Self) -> Result<(), JsonError>,
    ) -> Result<Range<usize>, JsonError> {
        self.expect(b'[')?;
        let start = self.at - 1;
        if self.next_token() == Some(b']') {
            self.at += 1;
            return Ok(start..self.at);
        }
        loop {
            each(self)?;
            match self.next_token() {
                Some(b',') => self.at += 1,
                Some(b']') => break,
                _ => return Err(self.fault()),
            }
        }
        self.at += 1;
        Ok(start..self.at)
    }

    /// Skips a value, and returns where it was.
    ///
    /// # Errors
    /// The next thing is no value.
    pub(crate) fn skip(&mut self) -> Result<Range<usize>, JsonError> {
        self.skip_at(0)
    }

    fn skip_at(&mut self, depth: usize) -> Result<Range<usize>, JsonError> {
        if depth > MAX_DEPTH {
            return Err(JsonError::TooDeep);
        }
        match self.next_token() {
            Some(b'{') => self.members(|parser, _| parser.skip_at(depth + 1).map(drop)),
            Some(b'[') => self.elements(|parser| parser.skip_at(depth + 1).map(drop)),
            _ => {
                let start = self.at;
                self.value(depth)?;
                Ok(start..self.at)
            }
        }
    }

    fn number(&mut self) -> Result<&'a str, JsonError> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits()?,
            _ => return Err(self.fault()),
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(&self.text[start..self.at])
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let rest = &self.text.as_bytes()[self.at..];
        let count = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
        self.at += count;
        if count > 0 { Ok(()) } else { Err(self.fault()) }
    }

    /// Reads a string; the next byte is its opening quote.
    fn string(&mut self) -> Result<Cow<'a, str>, JsonError> {
        self.at += 1;
        let plain = self.plain()?;
        if self.peek() == Some(b'"') {
            self.at += 1;
            return Ok(Cow::Borrowed(plain));
        }
        let mut text = plain.to_owned();
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Cow::Owned(text));
                }
                Some(b'\\') => {
                    self.at += 1;
                    text.push(self.escape()?);
                }
                _ => text.push_str(self.plain()?),
            }
        }
    }

    /// The text up to the next quote or backslash.
    fn plain(&mut self) -> Result<&'a str, JsonError> {
        let start = self.at;
        let rest = &self.text.as_bytes()[start..];
        let plain = &rest[..memchr2(b'"', b'\\', rest).unwrap_or(rest.len())];
        // A control character must be escaped (RFC 8259, section 7). The search for the least byte becomes
        // SIMD.
        if plain.iter().fold(u8::MAX, |least, byte| least.min(*byte)) < 0x20 {
            self.at += plain.iter().take_while(|byte| **byte >= 0x20).count();
            return Err(self.fault());
        }
        self.at += plain.len();
        if self.peek().is_some() { Ok(&self.text[start..self.at]) } else { Err(self.fault()) }
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        let byte = self.peek().ok_or_else(|| self.fault())?;
        self.at += 1;
        Ok(match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode_escape(),
            _ => return Err(self.fault()),
        })
    }

    fn unicode_escape(&mut self) -> Result<char, JsonError> {
        let first = self.hex4()?;
        if (0xdc00..0xe000).contains(&first) {
            return Err(JsonError::LoneSurrogate);
        }
        if !(0xd800..0xdc00).contains(&first) {
            return char::from_u32(first).ok_or(JsonError::LoneSurrogate);
        }
        if !self.text.as_bytes()[self.at..].starts_with(b"\\u") {
            return Err(JsonError::LoneSurrogate);
        }
        self.at += 2;
        let second = self.hex4()?;
        if !(0xdc00..0xe000).contains(&second) {
            return Err(JsonError::LoneSurrogate);
        }
        char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)).ok_or(JsonError::LoneSurrogate)
    }

    fn hex4(&mut self) -> Result<u32, JsonError> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4).ok_or_else(|| self.fault())?;
        let mut value = 0;
        for digit in digits {
            value = value * 16 + char::from(*digit).to_digit(16).ok_or_else(|| self.fault())?;
        }
        self.at += 4;
        Ok(value)
    }
}

/// Where the elements of the array at `span` of `text` are; `None` if there is no array.
pub(crate) fn element_spans(text: &[u8], span: &Range<usize>) -> Option<Vec<Range<usize>>> {
    let mut spans = Vec::new();
    let note = |parser: &mut Parser<'_>| {
        let own = parser.skip()?;
        spans.push(span.start + own.start..span.start + own.end);
        Ok(())
    };
    Parser::over(text.get(span.clone())?, |parser| parser.elements(note)).ok()?;
    Some(spans)
}

fn has_repeats(members: &[Member<'_>]) -> bool {
    if members.len() <= 16 {
        return (1..members.len())
            .any(|i| members[..i].iter().any(|earlier| earlier.name == members[i].name));
    }
    let mut seen = HashSet::with_capacity(members.len());
    members.iter().any(|member| !seen.insert(member.name.as_ref()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_have_their_places() {
        let text = br#" {"a": [1, "x,]", {"b":[2]}] , "c":-1.5e3} "#;
        let mut found = Vec::new();
        let whole = Parser::over(text, |parser| {
            parser.members(|parser, name| match &*name {
                "a" => parser.elements(|parser| parser.skip().map(|span| found.push(span))).map(drop),
                _ => parser.skip().map(|span| found.push(span)),
            })
        });
        let texts: Vec<_> = found.iter().map(|span| String::from_utf8_lossy(&text[span.clone()])).collect();
        assert_eq!(texts, ["1", r#""x,]""#, r#"{"b":[2]}"#, "-1.5e3"]);
        assert_eq!(whole, Ok(1..text.len() - 1));
    }

    proptest! {
        /// What is skipped is what the parser takes for one value, and nothing else.
        #[test]
        fn skips_what_is_a_value(text in r#"[\[\]{},:"a-b\\u0-9eE.+ \-tn]{0,24}"#) {
            let skipped = Parser::over(text.as_bytes(), Parser::skip);
            match Json::parse(text.as_bytes()) {
                Ok(_) => prop_assert!(skipped.is_ok_and(|span| text[span] == *text.trim_matches(' '))),
                // Names are not compared.
                Err(JsonError::RepeatedMember) => prop_assert!(skipped.is_ok()),
                Err(error) => prop_assert_eq!(skipped, Err(error)),
            }
        }
    }
}

//! JSON exactly as it was written (RFC 8259).
//!
//! A general-purpose parser loses what a cache key must not lose: repeated members collapse into one, and
//! numbers that a double cannot hold become equal. This parser keeps members in order and numbers as text,
//! knows where in the text a value is, and refuses every document that two parsers might read differently.
//! `serde_json` does none of this.

pub(crate) mod canonical;
pub(crate) mod condition;
pub(crate) mod headers;
pub(crate) mod mask;
mod parser;
pub(crate) mod pointer;
pub(crate) mod splice;

use std::{borrow::Cow, ops::Range};

pub(crate) use self::parser::{Parser, element_spans};

/// A document that is nested deeper is refused, which bounds the stack.
pub(crate) const MAX_DEPTH: usize = 128;

/// A value, which borrows from the text that it was read from.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Json<'a> {
    /// `null`
    #[default]
    Null,
    /// `true`, `false`
    Bool(bool),
    /// The number's own text.
    Number(&'a str),
    /// A string with its escapes resolved.
    String(Cow<'a, str>),
    /// The elements.
    Array(Vec<Json<'a>>),
    /// The members, in the order of the text. No name is there twice.
    Object(Vec<Member<'a>>),
}

/// A member of an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Member<'a> {
    /// The name, escapes resolved.
    pub(crate) name: Cow<'a, str>,
    /// The value.
    pub(crate) value: Json<'a>,
    /// Where the value's text is in the document, in bytes.
    pub(crate) span: Range<usize>,
}

/// Why a text is not accepted as JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// The text is no JSON; the offset in bytes.
    #[error("no JSON at byte {0}")]
    Syntax(usize),
    /// The text is not UTF-8.
    #[error("not UTF-8")]
    NotUtf8,
    /// An object has two members of the same name.
    #[error("a repeated member")]
    RepeatedMember,
    /// A string has half a surrogate pair.
    #[error("half a surrogate pair")]
    LoneSurrogate,
    /// The document is nested more than 128 deep.
    #[error("nested more than {MAX_DEPTH} deep")]
    TooDeep,
}

impl<'a> Json<'a> {
    /// Reads one document.
    ///
    /// # Errors
    /// The text is no JSON, or JSON that two parsers might read differently.
    pub fn parse(text: &'a [u8]) -> Result<Self, JsonError> {
        Parser::over(text, |parser| parser.value(0))
    }

    /// The value of the member `name`, if this is an object that has one.
    pub(crate) fn get(&self, name: &str) -> Option<&Self> {
        self.member(name).map(|member| &member.value)
    }

    pub(crate) fn member(&self, name: &str) -> Option<&Member<'a>> {
        match self {
            Self::Object(members) => members.iter().find(|member| member.name == name),
            _ => None,
        }
    }

    pub(crate) fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The elements; none if this is no array.
    pub(crate) fn items(&self) -> &[Self] {
        match self {
            Self::Array(items) => items,
            _ => &[],
        }
    }

    pub(crate) const fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// The value, if this is a whole number that fits.
    pub(crate) fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Number(text) => text.parse().ok(),
            _ => None,
        }
    }

    pub(crate) const fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    pub(crate) const fn is_object(&self) -> bool {
        matches!(self, Self::Object(_))
    }

    /// The members; none if this is no object.
    pub(crate) fn members(&self) -> &[Member<'a>] {
        match self {
            Self::Object(members) => members,
            _ => &[],
        }
    }

    /// The document as JSON.
    pub(crate) fn to_json(&self) -> String {
        let mut text = Vec::new();
        self.write(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    }

    pub(crate) fn text(text: impl Into<Cow<'a, str>>) -> Self {
        Self::String(text.into())
    }

    pub(crate) fn object(members: impl IntoIterator<Item = (&'a str, Self)>) -> Self {
        Self::Object(members.into_iter().map(|(name, value)| Member::new(name, value)).collect())
    }

    /// Gives the member `name` this value, in its place or else at the end. Nothing happens if this is no
    /// object.
    pub(crate) fn set(&mut self, name: impl Into<Cow<'a, str>>, value: Self) {
        let Self::Object(members) = self else { return };
        let name = name.into();
        match members.iter_mut().find(|member| member.name == name) {
            Some(member) => *member = Member::new(name, value),
            None => members.push(Member::new(name, value)),
        }
    }

    /// Writes the value as JSON without white space: members in their order, numbers as they were.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.extend_from_slice(b"null"),
            Self::Bool(true) => out.extend_from_slice(b"true"),
            Self::Bool(false) => out.extend_from_slice(b"false"),
            Self::Number(number) => out.extend_from_slice(number.as_bytes()),
            Self::String(text) => write_string(text, out),
            Self::Array(items) => {
                out.push(b'[');
                for (place, item) in items.iter().enumerate() {
                    if place > 0 {
                        out.push(b',');
                    }
                    item.write(out);
                }
                out.push(b']');
            }
            Self::Object(members) => {
                out.push(b'{');
                for (place, member) in members.iter().enumerate() {
                    if place > 0 {
                        out.push(b',');
                    }
                    write_string(&member.name, out);
                    out.push(b':');
                    member.value.write(out);
                }
                out.push(b'}');
            }
        }
    }
}

impl<'a> Member<'a> {
    /// A member that was not read from a text.
    pub(crate) fn new(name: impl Into<Cow<'a, str>>, value: Json<'a>) -> Self {
        Self { name: name.into(), value, span: 0..0 }
    }
}

/// Writes a string with the escapes that RFC 8259, section 7, requires. Characters that some readers of lines
/// take for the end of a line (Python's `str.splitlines`, and so `httpx`) are escaped too.
pub(crate) fn write_string(text: &str, out: &mut Vec<u8>) {
    const LINE_ENDS: [char; 3] = ['\u{85}', '\u{2028}', '\u{2029}'];
    let start = out.len();
    // Writing into a vector cannot fail.
    let _ = serde_json::to_writer(&mut *out, text);
    if text.contains(LINE_ENDS) {
        let written = String::from_utf8_lossy(&out[start..])
            .replace(LINE_ENDS[0], "\\u0085")
            .replace(LINE_ENDS[1], "\\u2028")
            .replace(LINE_ENDS[2], "\\u2029");
        out.truncate(start);
        out.extend_from_slice(written.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn refuses_what_parsers_read_differently() {
        for (text, error) in [
            (&br#"{"a":1,"a":2}"#[..], JsonError::RepeatedMember),
            (br#"{"a":1,"\u0061":2}"#, JsonError::RepeatedMember),
            (br#""\ud800""#, JsonError::LoneSurrogate),
            (br#""\udc00""#, JsonError::LoneSurrogate),
            (br#""\ud800\u0041""#, JsonError::LoneSurrogate),
            (b"\"\xff\"", JsonError::NotUtf8),
            (b"{\"a\":\"\x01\"}", JsonError::Syntax(6)),
            (b"01", JsonError::Syntax(1)),
            (b"1 2", JsonError::Syntax(2)),
            (b"[1,]", JsonError::Syntax(3)),
            (b"", JsonError::Syntax(0)),
            (b"\xef\xbb\xbf{}", JsonError::Syntax(0)),
            (b"NaN", JsonError::Syntax(0)),
        ] {
            assert_eq!(Json::parse(text), Err(error), "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn finds_repeats_among_many_members() {
        let mut names: Vec<String> = (0..100).map(|i| format!("\"m{i}\":{i}")).collect();
        assert!(Json::parse(format!("{{{}}}", names.join(",")).as_bytes()).is_ok());
        names.push("\"m7\":0".to_owned());
        let text = format!("{{{}}}", names.join(","));
        assert_eq!(Json::parse(text.as_bytes()), Err(JsonError::RepeatedMember));
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(Json::parse(nested(MAX_DEPTH).as_bytes()).is_ok());
        assert_eq!(Json::parse(nested(100_000).as_bytes()), Err(JsonError::TooDeep));
        assert_eq!(Json::parse("{\"a\":".repeat(100_000).as_bytes()), Err(JsonError::TooDeep));
    }

    #[test]
    fn spans_are_the_values_text() {
        let text = br#"{"id" : "a\u0062", "n":[1, 2] }"#;
        let json = Json::parse(text).expect("JSON");
        let span = |name| json.member(name).map(|member| &text[member.span.clone()]);
        assert_eq!(span("id"), Some(&br#""a\u0062""#[..]));
        assert_eq!(span("n"), Some(&b"[1, 2]"[..]));
        assert_eq!(json.get("id").and_then(Json::as_str), Some("ab"));
    }

    #[test]
    fn a_member_is_set_in_its_place() {
        let mut json = Json::parse(br#"{"a":1,"b":2.50}"#).expect("JSON");
        json.set("a", Json::Null);
        json.set("c", Json::text("x"));
        let mut out = Vec::new();
        json.write(&mut out);
        assert_eq!(String::from_utf8_lossy(&out), r#"{"a":null,"b":2.50,"c":"x"}"#);
    }

    #[test]
    fn nothing_written_ends_a_line() {
        let text = "\"a\u{85}b\u{2028}c\u{2029}\n\r\u{b}\u{c}\u{1c}é";
        let mut out = Vec::new();
        write_string(text, &mut out);
        let written = String::from_utf8(out).expect("UTF-8");
        assert!(
            !written.contains(['\u{85}', '\u{2028}', '\u{2029}', '\n', '\r', '\u{b}', '\u{c}', '\u{1c}'])
        );
        assert_eq!(Json::parse(written.as_bytes()).expect("JSON").as_str(), Some(text));
    }

    fn to_serde(json: &Json<'_>) -> serde_json::Value {
        match json {
            Json::Null => serde_json::Value::Null,
            Json::Bool(value) => (*value).into(),
            Json::Number(text) => text.parse().map(serde_json::Value::Number).expect("a number"),
            Json::String(text) => text.as_ref().into(),
            Json::Array(items) => items.iter().map(to_serde).collect(),
            Json::Object(members) => serde_json::Value::Object(
                members.iter().map(|m| (m.name.clone().into_owned(), to_serde(&m.value))).collect(),
            ),
        }
    }

    proptest! {
        /// What is written reads as what it was.
        #[test]
        fn written_text_reads_the_same(text in r#"[\[\]{},:"a-b\\u0-9eE.+ \-tn]{0,24}"#) {
            if let Ok(json) = Json::parse(text.as_bytes()) {
                let mut out = Vec::new();
                json.write(&mut out);
                prop_assert_eq!(to_serde(&Json::parse(&out).expect("JSON")), to_serde(&json));
            }
        }

        /// On whatever both take for JSON, both read the same; and whatever serde_json refuses is refused.
        #[test]
        fn reads_as_serde_json_does(text in r#"[\[\]{},:"a-b\\u0-9eE.+ \-tn]{0,24}"#) {
            match (Json::parse(text.as_bytes()), serde_json::from_str::<serde_json::Value>(&text)) {
                (Ok(ours), Ok(theirs)) => prop_assert_eq!(to_serde(&ours), theirs),
                // A number out of a double's range is JSON all the same.
                (Ok(_), Err(error)) => prop_assert!(error.to_string().contains("out of range"), "{error}"),
                (Err(JsonError::Syntax(_)), Ok(value)) => prop_assert!(false, "{value} was refused"),
                (Err(_), _) => {}
            }
        }

        #[test]
        fn no_input_panics(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Json::parse(&bytes);
        }
    }
}

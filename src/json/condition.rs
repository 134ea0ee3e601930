//! Conditions of routes: what a body, an answer or an event of a stream must say.
//!
//! | written | holds if |
//! | --- | --- |
//! | `POINTER` | the value is there, and not null |
//! | `!POINTER` | it is not there, or null |
//! | `POINTER = JSON` | it is there, and equal |
//! | `POINTER != JSON` | it is there, and something else |
//! | `POINTER ~ "REGEX"` | it is a text, and a part of it matches; in a stream, the texts of all events in one |
//! | `POINTER !~ "REGEX"` | it is a text, and no part of it matches |
//! | `@event = "TEXT"` | the event of a stream has this name |
//!
//! A pointer with `*` leads to several values, and a condition holds if it holds for one of them.

use std::str::FromStr;

use regex_lite::Regex;

use crate::json::{
    Json, canonical,
    pointer::{Pointer, Token},
};

/// A condition, as a route writes it.
#[derive(Clone, Debug)]
pub struct Condition {
    text: String,
    test: Test,
}

impl PartialEq for Condition {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Condition {}

#[derive(Clone, Debug)]
enum Test {
    Present(Pointer),
    Absent(Pointer),
    /// The canonical form of the value.
    Equals(Pointer, Vec<u8>),
    Differs(Pointer, Vec<u8>),
    Matches(Pointer, Regex),
    MatchesNot(Pointer, Regex),
    EventName(String),
    AnyOf(Vec<Condition>),
}

impl Condition {
    /// The condition that holds if one of `conditions` does.
    pub(crate) fn any_of(conditions: Vec<Self>) -> Self {
        let texts: Vec<_> = conditions.iter().map(Self::as_str).collect();
        Self { text: texts.join(" or "), test: Test::AnyOf(conditions) }
    }

    /// The condition as it was written.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it holds for a document.
    pub(crate) fn holds(&self, json: &Json<'_>) -> bool {
        self.holds_in_event("", Some(json))
    }

    /// Whether it holds for an event of a stream, whose data is `json`, if that is JSON.
    pub(crate) fn holds_in_event(&self, name: &str, json: Option<&Json<'_>>) -> bool {
        let any = |pointer: &Pointer, is: &dyn Fn(Option<&Json<'_>>) -> bool| {
            json.is_some_and(|json| any(pointer.tokens(), Some(json), is))
        };
        match &self.test {
            Test::Present(pointer) => any(pointer, &is_present),
            Test::Absent(pointer) => any(pointer, &|found| !is_present(found)),
            Test::Equals(pointer, value) => {
                any(pointer, &|found| found.is_some_and(|found| form(found) == *value))
            }
            Test::Differs(pointer, value) => any(pointer, &|found| {
                found.is_some_and(|found| is_present(Some(found)) && form(found) != *value)
            }),
            Test::Matches(pointer, regex) => {
                any(pointer, &|found| text(found).is_some_and(|t| regex.is_match(t)))
            }
            Test::MatchesNot(pointer, regex) => {
                any(pointer, &|found| text(found).is_some_and(|t| !regex.is_match(t)))
            }
            Test::EventName(own) => own == name,
            Test::AnyOf(conditions) => conditions.iter().any(|own| own.holds_in_event(name, json)),
        }
    }

    /// Where the text is that it is about, if it is about the text of a whole stream.
    pub(crate) const fn text_pointer(&self) -> Option<&Pointer> {
        match &self.test {
            Test::Matches(pointer, _) | Test::MatchesNot(pointer, _) => Some(pointer),
            _ => None,
        }
    }

    /// Whether it holds for the text of a whole stream.
    pub(crate) fn holds_for_text(&self, text: &str) -> bool {
        match &self.test {
            Test::Matches(_, regex) => regex.is_match(text),
            Test::MatchesNot(_, regex) => !text.is_empty() && !regex.is_match(text),
            _ => false,
        }
    }
}

fn text<'j>(found: Option<&'j Json<'j>>) -> Option<&'j str> {
    found.and_then(Json::as_str)
}

fn is_present(found: Option<&Json<'_>>) -> bool {
    found.is_some_and(|found| !found.is_null())
}

/// What two values share only if they mean the same.
fn form(json: &Json<'_>) -> Vec<u8> {
    let mut form = Vec::new();
    canonical::write(json, &canonical::Rules::default(), &mut form);
    form
}

/// Whether `is` says yes to one of the values that `tokens` lead to. A way that ends too early leads to `None`.
fn any(tokens: &[Token], json: Option<&Json<'_>>, is: &dyn Fn(Option<&Json<'_>>) -> bool) -> bool {
    let Some((first, rest)) = tokens.split_first() else { return is(json) };
    match (first, json) {
        (Token::Any, Some(Json::Array(items))) if !items.is_empty() => {
            items.iter().any(|item| any(rest, Some(item), is))
        }
        (Token::Any, _) => is(None),
        (Token::Name(name), Some(Json::Array(items))) => {
            let item = name.parse::<usize>().ok().and_then(|index| items.get(index));
            if item.is_some() { any(rest, item, is) } else { is(None) }
        }
        (Token::Name(name), json) => match json.and_then(|json| json.get(name)) {
            Some(member) => any(rest, Some(member), is),
            None => is(None),
        },
    }
}

impl FromStr for Condition {
    type Err = String;

    /// The error says what is wrong, and how a condition is written.
    fn from_str(text: &str) -> Result<Self, String> {
        Ok(Self { text: text.to_owned(), test: parse(text.trim())? })
    }
}

/// Where the first operator is. In a pointer, a digit follows each `~`.
fn operator(text: &str) -> Option<usize> {
    let is_one = |(at, byte): (usize, &u8)| match byte {
        b'=' => true,
        b'~' => !matches!(text.as_bytes().get(at + 1), Some(b'0'..=b'9')) && text[..at].ends_with([' ', '!']),
        _ => false,
    };
    text.as_bytes().iter().enumerate().position(is_one)
}

fn parse(text: &str) -> Result<Test, String> {
    if let Some(rest) = text.strip_prefix("@event") {
        let name = rest.trim_start().strip_prefix('=').map(|value| Json::parse(value.trim().as_bytes()));
        return match name {
            Some(Ok(Json::String(name))) => Ok(Test::EventName(name.into_owned())),
            _ => Err(format!("`{text}` is no condition: write @event = \"NAME\"")),
        };
    }
    if let Some(pointer) = text.strip_prefix('!') {
        return Ok(Test::Absent(pointer.trim().parse()?));
    }
    let Some(at) = operator(text) else { return Ok(Test::Present(text.parse()?)) };
    let (before, value) = (&text[..at], &text[at + 1..]);
    let (pointer, differs) = match before.strip_suffix('!') {
        Some(pointer) => (pointer, true),
        None => (before, false),
    };
    let value = value.trim();
    let json = Json::parse(value.as_bytes()).map_err(|_| {
        format!("`{text}`: {value} is no JSON; write a text in quotation marks, as in /event = \"done\"")
    })?;
    let pointer: Pointer = pointer.trim().parse()?;
    if text[at..].starts_with('~') {
        let Json::String(regex) = &json else {
            return Err(format!(
                "`{text}`: write a regular expression in quotation marks, as in /answer ~ \"^Error\""
            ));
        };
        let regex = Regex::new(regex).map_err(|error| format!("`{text}`: {error}"))?;
        return Ok(if differs { Test::MatchesNot(pointer, regex) } else { Test::Matches(pointer, regex) });
    }
    let value = form(&json);
    Ok(if differs { Test::Differs(pointer, value) } else { Test::Equals(pointer, value) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &[u8] =
        br#"{"code":0,"status":"ok","error":null,"data":{"id":"a","n":1.50},"hits":[{"id":"x"},
        {"id":null,"score":2}],"none":[],"flag":false,"a/b":1}"#;

    #[test]
    fn each_form_of_a_condition() {
        let json = Json::parse(ANSWER).expect("JSON");
        for (condition, expected) in [
            ("/code", true),
            ("/error", false),
            ("/missing", false),
            ("/flag", true),
            ("/a~1b = 1", true),
            ("!/error", true),
            ("!/missing", true),
            ("!/missing/deeper", true),
            ("!/code", false),
            ("! /code", false),
            ("/code = 0", true),
            ("/code=0", true),
            ("/code = 0.0", false),
            ("/data/n = 1.5", false),
            ("/code = 1", false),
            ("/code = \"0\"", false),
            ("/code != 0", false),
            ("/code != 1", true),
            ("/missing != 1", false),
            ("/error != 1", false),
            ("/error = null", true),
            ("/missing = null", false),
            ("/status = \"ok\"", true),
            ("/status != \"ok\"", false),
            ("/flag = false", true),
            ("/data = {\"n\":1.50,\"id\":\"a\"}", true),
            ("/data/id", true),
            ("/data/id/deeper", false),
            ("/hits/*/id", true),
            ("!/hits/*/id", true),
            ("/hits/*/id = \"x\"", true),
            ("/hits/*/id = \"y\"", false),
            ("/hits/*/score != 1", true),
            ("/hits/1/score = 2", true),
            ("/hits/2", false),
            ("/none/*", false),
            ("!/none/*", true),
            ("/none/*/id != 1", false),
            ("/status/*", false),
            ("/none = []", true),
            ("@event = \"done\"", false),
            ("/status ~ \"^o\"", true),
            ("/status ~ \"x\"", false),
            ("/status !~ \"^o\"", false),
            ("/status !~ \"=\"", true),
            ("/code ~ \"0\"", false),
            ("/missing !~ \"x\"", false),
            ("/hits/*/id ~ \"x\"", true),
        ] {
            assert_eq!(
                condition.parse::<Condition>().expect("a condition").holds(&json),
                expected,
                "{condition}"
            );
        }
    }

    #[test]
    fn events_have_names_and_data() {
        let json = Json::parse(b"{\"type\":\"end\"}").expect("JSON");
        for (condition, name, data, expected) in [
            ("@event = \"done\"", "done", None, true),
            ("@event=\"done\"", "done", Some(&json), true),
            ("@event = \"done\"", "", Some(&json), false),
            ("/type = \"end\"", "", Some(&json), true),
            ("/type = \"end\"", "end", None, false),
            ("!/error", "", None, false),
        ] {
            let condition: Condition = condition.parse().expect("a condition");
            assert_eq!(condition.holds_in_event(name, data), expected, "{condition:?} {name}");
        }
    }

    #[test]
    fn what_is_no_condition_is_explained() {
        for (text, part) in [
            ("", "must begin with `/`"),
            ("code = 0", "must begin with `/`"),
            ("/code = zero", "zero is no JSON"),
            ("/code = ", "is no JSON"),
            ("/code == 0", "is no JSON"),
            ("!code", "must begin with `/`"),
            ("/a ~ b", "b is no JSON"),
            ("/a ~ 1", "write a regular expression"),
            ("/a ~ \"(\"", "/a ~"),
            ("@event", "write @event"),
            ("@event = done", "write @event"),
            ("@name = \"done\"", "must begin with `/`"),
            ("/a~2", "write `~` as `~0`"),
        ] {
            let error = text.parse::<Condition>().expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}

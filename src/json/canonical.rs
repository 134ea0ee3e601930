//! The normal form of a JSON body: bytes that two bodies share only if they mean the same.
//!
//! A value is written as a tag, its length and its bytes, so that no two values have the same bytes. Members
//! are sorted by name, and numbers stay as text. The route says which members are left out, and what does not
//! count in the text of a question.

use std::borrow::Cow;

use caseless::Caseless;
use unicode_normalization::UnicodeNormalization;

use crate::json::{
    Json, Member,
    mask::{self, Mask},
    pointer::{Pointer, Token},
};

/// A difference in the text of a question that does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Normalize {
    /// White space at either end.
    Trim,
    /// How long a run of white space is.
    Collapse,
    /// Upper and lower case (Unicode default case folding).
    Casefold,
    /// Composed and decomposed forms of a character (Unicode NFC).
    Nfc,
}

impl Normalize {
    /// The name in settings.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Trim => "trim",
            Self::Collapse => "collapse",
            Self::Casefold => "casefold",
            Self::Nfc => "nfc",
        }
    }
}

/// A member of one document that does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Where its value begins in the text, in bytes.
    pub(crate) at: usize,
    /// Whether it counts that there is such a member.
    pub(crate) leaves_place: bool,
}

/// What does not count in a body.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules<'a> {
    /// What is left out.
    pub ignore: &'a [Pointer],
    /// Members of the document itself that are left out.
    pub ignore_members: &'a [&'a str],
    /// Further members that are left out, in the order of the text.
    pub left_out: &'a [LeftOut],
    /// Where the question's text is.
    pub text: &'a [Pointer],
    /// What does not count in that text.
    pub normalize: &'a [Normalize],
    /// What does not count in any text.
    pub mask: &'a [Mask],
}

/// Writes the normal form of `json` under `rules` to `out`.
pub fn write(json: &Json<'_>, rules: &Rules<'_>, out: &mut Vec<u8>) {
    let ignore: Vec<_> = rules.ignore.iter().map(Pointer::tokens).collect();
    let text: Vec<_> = match rules.normalize {
        [] => Vec::new(),
        _ => rules.text.iter().map(Pointer::tokens).collect(),
    };
    let writer = Writer { normalize: rules.normalize, mask: rules.mask, left_out: rules.left_out };
    match json {
        Json::Object(members) => {
            let counting = members.iter().filter(|member| !rules.ignore_members.contains(&&*member.name));
            writer.object(counting, &ignore, &text, out);
        }
        _ => writer.value(json, &ignore, &text, out),
    }
}

/// Writes a length and then the bytes, so that nothing behind them can be taken for a part of them.
pub(crate) fn write_part(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// The one of `left_out`, which is in the order of the text, that is `member`.
pub(crate) fn find_left_out<'l>(left_out: &'l [LeftOut], member: &Member<'_>) -> Option<&'l LeftOut> {
    let at = left_out.binary_search_by_key(&member.span.start, |left_out| left_out.at);
    at.ok().map(|at| &left_out[at])
}

/// Shown in place of something that was left out.
const LEFT_OUT: &str = "(left out)";

/// Reads a normal form back, to show what counts; `None` if `form` is something else.
pub(crate) fn read(mut form: &[u8]) -> Option<Json<'_>> {
    let value = read_value(&mut form)?;
    form.is_empty().then_some(value)
}

fn read_value<'a>(form: &mut &'a [u8]) -> Option<Json<'a>> {
    Some(match form.split_off_first()? {
        b'n' => Json::Null,
        b't' => Json::Bool(true),
        b'f' => Json::Bool(false),
        b'#' => Json::Number(read_part(form)?),
        b'"' => Json::text(read_part(form)?),
        b'_' => Json::text(LEFT_OUT),
        b'~' => {
            let count = read_count(form)?;
            let parts = (0..count).map(|_| read_part(form)).collect::<Option<Vec<_>>>()?;
            Json::text(parts.join(LEFT_OUT))
        }
        b'[' => {
            let count = read_count(form)?;
            Json::Array((0..count).map(|_| read_value(form)).collect::<Option<_>>()?)
        }
        b'{' => {
            let count = read_count(form)?;
            let mut member = || Some(Member::new(read_part(form)?, read_value(form)?));
            Json::Object((0..count).map(|_| member()).collect::<Option<_>>()?)
        }
        _ => return None,
    })
}

fn read_part<'a>(form: &mut &'a [u8]) -> Option<&'a str> {
    let len = usize::try_from(read_count(form)?).ok()?;
    std::str::from_utf8(form.split_off(..len)?).ok()
}

fn read_count(form: &mut &[u8]) -> Option<u64> {
    let (count, rest) = form.split_first_chunk()?;
    *form = rest;
    Some(u64::from_le_bytes(*count))
}

/// The rest of each pointer that leads to this value or below it.
type Trails<'a> = [&'a [Token]];

struct Writer<'a> {
    normalize: &'a [Normalize],
    mask: &'a [Mask],
    left_out: &'a [LeftOut],
}

impl Writer<'_> {
    fn value(&self, json: &Json<'_>, ignore: &Trails<'_>, text: &Trails<'_>, out: &mut Vec<u8>) {
        match json {
            Json::Null => out.push(b'n'),
            Json::Bool(true) => out.push(b't'),
            Json::Bool(false) => out.push(b'f'),
            Json::Number(number) => {
                out.push(b'#');
                write_part(number.as_bytes(), out);
            }
            Json::String(string) => self.text(string, text.iter().any(|trail| trail.is_empty()), out),
            Json::Array(items) => self.array(items, ignore, text, out),
            Json::Object(members) => self.object(members.iter(), ignore, text, out),
        }
    }

    fn text(&self, string: &str, is_question: bool, out: &mut Vec<u8>) {
        let normalized =
            |part| if is_question { normalized(part, self.normalize) } else { Cow::Borrowed(part) };
        if self.mask.is_empty() {
            out.push(b'"');
            return write_part(normalized(string).as_bytes(), out);
        }
        match &mask::parts(string, self.mask)[..] {
            [_] => {
                out.push(b'"');
                write_part(normalized(string).as_bytes(), out);
            }
            // What is masked does not count, but that something is does.
            parts => {
                out.push(b'~');
                out.extend_from_slice(&(parts.len() as u64).to_le_bytes());
                parts.iter().for_each(|part| write_part(normalized(part).as_bytes(), out));
            }
        }
    }

    fn array(&self, items: &[Json<'_>], ignore: &Trails<'_>, text: &Trails<'_>, out: &mut Vec<u8>) {
        out.push(b'[');
        out.extend_from_slice(&(items.len() as u64).to_le_bytes());
        for (index, item) in items.iter().enumerate() {
            let step = PathStep::Index(index);
            let ignore = follow(ignore, &step);
            if ends_here(&ignore) {
                // The element does not count, but that there is one does.
                out.push(b'_');
            } else {
                self.value(item, &ignore, &follow(text, &step), out);
            }
        }
    }

    fn object<'m>(
        &self,
        members: impl Iterator<Item = &'m Member<'m>>,
        ignore: &Trails<'_>,
        text: &Trails<'_>,
        out: &mut Vec<u8>,
    ) {
        let is_gone =
            |member: &Member<'_>| find_left_out(self.left_out, member).is_some_and(|own| !own.leaves_place);
        let mut counting: Vec<(&Member<'_>, Vec<&[Token]>)> = members
            .filter(|member| !is_gone(member))
            .map(|member| (member, follow(ignore, &PathStep::Name(&member.name))))
            .filter(|(_, ignore)| !ends_here(ignore))
            .collect();
        counting.sort_unstable_by(|a, b| a.0.name.cmp(&b.0.name));
        out.push(b'{');
        out.extend_from_slice(&(counting.len() as u64).to_le_bytes());
        for (member, ignore) in counting {
            write_part(member.name.as_bytes(), out);
            if find_left_out(self.left_out, member).is_some() {
                out.push(b'_');
                continue;
            }
            self.value(&member.value, &ignore, &follow(text, &PathStep::Name(&member.name)), out);
        }
    }
}

enum PathStep<'a> {
    Name(&'a str),
    Index(usize),
}

/// The trails that go on with `step`, behind that step.
fn follow<'a>(trails: &Trails<'a>, step: &PathStep<'_>) -> Vec<&'a [Token]> {
    trails
        .iter()
        .filter_map(|trail| {
            let (first, rest) = trail.split_first()?;
            let taken = match (first, step) {
                (Token::Any, PathStep::Index(_)) => true,
                (Token::Any, PathStep::Name(_)) => false,
                (Token::Name(own), PathStep::Name(name)) => own == name,
                (Token::Name(own), PathStep::Index(index)) => own.parse() == Ok(*index),
            };
            taken.then_some(rest)
        })
        .collect()
}

fn ends_here(trails: &Trails<'_>) -> bool {
    trails.iter().any(|trail| trail.is_empty())
}

/// The text of a question as it counts: without what `mask` matches, and without the differences that do not count.
pub(crate) fn counting_text(text: &str, rules: &[Normalize], mask: &[Mask]) -> String {
    let parts = mask::parts(text, mask);
    parts.iter().map(|part| normalized(part, rules)).collect::<Vec<_>>().join(" ")
}

/// `text` without the differences that do not count. The order of the rules in the settings does not matter.
fn normalized<'a>(text: &'a str, rules: &[Normalize]) -> Cow<'a, str> {
    let mut text = Cow::Borrowed(text);
    if rules.contains(&Normalize::Casefold) {
        text = Cow::Owned(text.chars().default_case_fold().collect());
    }
    // After folding, which may decompose.
    if rules.contains(&Normalize::Nfc) {
        text = Cow::Owned(text.nfc().collect());
    }
    if rules.contains(&Normalize::Collapse) {
        text = Cow::Owned(collapse(&text));
    }
    if rules.contains(&Normalize::Trim) {
        text = Cow::Owned(text.trim().to_owned());
    }
    text
}

fn collapse(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut in_space = false;
    for c in text.chars() {
        if !c.is_whitespace() {
            out.push(c);
        } else if !in_space {
            out.push(' ');
        }
        in_space = c.is_whitespace();
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn form(text: &str) -> Vec<u8> {
        form_under(text, &Rules::default())
    }

    fn form_under(text: &str, rules: &Rules<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        write(&Json::parse(text.as_bytes()).expect("JSON"), rules, &mut out);
        out
    }

    fn pointers(texts: &[&str]) -> Vec<Pointer> {
        texts.iter().map(|text| text.parse().expect("a pointer")).collect()
    }

    #[test]
    fn order_space_and_escapes_do_not_count() {
        assert_eq!(form(r#"{"a":1,"b":["x"]}"#), form("{ \"b\" : [\"\\u0078\"],\n \"a\":1 }"));
    }

    #[test]
    fn everything_else_counts() {
        for (a, b) in [
            ("18446744073709551616", "18446744073709551617"),
            ("1", "1.0"),
            ("0", "-0"),
            (r#"["a","b"]"#, r#"["a-b"]"#),
            (r#"["a","b"]"#, r#"["b","a"]"#),
            (r#"[["a"],"b"]"#, r#"[["a","b"]]"#),
            (r#"{"a":null}"#, "{}"),
            (r#"{"a":"1"}"#, r#"{"a":1}"#),
            (r#""true""#, "true"),
            ("[]", "{}"),
            (r#"{"a":{"b":1}}"#, r#"{"a":{},"b":1}"#),
        ] {
            assert_ne!(form(a), form(b), "{a} against {b}");
        }
    }

    #[test]
    fn ignored_members_are_left_out() {
        let ignore = pointers(&["/trace", "/items/*/id", "/list/1"]);
        let rules = Rules { ignore: &ignore, ..Rules::default() };
        let a = r#"{"trace":1,"items":[{"id":1,"v":2},{"id":2}],"list":["a","b"]}"#;
        let b = r#"{"items":[{"id":7,"v":2},{}],"list":["a","c"]}"#;
        assert_eq!(form_under(a, &rules), form_under(b, &rules));
        let other = r#"{"items":[{"id":7,"v":3},{}],"list":["a","c"]}"#;
        assert_ne!(form_under(a, &rules), form_under(other, &rules));
        let shorter = r#"{"items":[{"id":7,"v":2},{}],"list":["a"]}"#;
        assert_ne!(form_under(a, &rules), form_under(shorter, &rules));
    }

    #[test]
    fn text_is_normalized_where_it_is() {
        let text = pointers(&["/query"]);
        let all = [Normalize::Trim, Normalize::Collapse, Normalize::Casefold, Normalize::Nfc];
        let rules = Rules { text: &text, normalize: &all, ..Rules::default() };
        let plain = form_under(r#"{"query":"straße é","k":"A"}"#, &rules);
        assert_eq!(plain, form_under("{\"query\":\"  STRASSE \\n  E\u{301} \",\"k\":\"A\"}", &rules));
        assert_ne!(plain, form_under(r#"{"query":"straße é","k":"a"}"#, &rules));
        assert_ne!(form_under(r#"{"query":"ab"}"#, &rules), form_under(r#"{"query":"a b"}"#, &rules));
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            "[a-c\"\\\\é]{0,3}".prop_map(Into::into),
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..3).prop_map(Into::into),
                proptest::collection::btree_map("[a-c]{0,2}", inner, 0..3)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// Two documents share a form exactly where they are the same document.
        #[test]
        fn injective(a in any_json(), b in any_json()) {
            prop_assert_eq!(form(&a.to_string()) == form(&b.to_string()), a == b);
            prop_assert_eq!(form(&a.to_string()), form(&format!("{a:#}")));
        }

        /// What is shown of a form is all that is in it.
        #[test]
        fn read_back(json in any_json()) {
            let written = form(&json.to_string());
            let mut shown = Vec::new();
            read(&written).expect("a form").write(&mut shown);
            prop_assert_eq!(serde_json::from_slice::<serde_json::Value>(&shown).expect("JSON"), json);
            prop_assert_eq!(form(std::str::from_utf8(&shown).expect("UTF-8")), written);
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = read(&bytes);
        }

        #[test]
        fn members_in_any_order(map in proptest::collection::btree_map("[a-d]{1,2}", any_json(), 0..6)) {
            let member = |(name, value): (&String, &serde_json::Value)| format!("\"{name}\": {value}");
            let forward: Vec<_> = map.iter().map(member).collect();
            let backward: Vec<_> = map.iter().rev().map(member).collect();
            prop_assert_eq!(
                form(&format!("{{{}}}", forward.join(","))),
                form(&format!("{{{}}}", backward.join(",")))
            );
        }
    }
}

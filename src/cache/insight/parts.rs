//! The parts of a request that are in its key, each as a hash, and the request without each of them.
//!
//! The hashes of all parts are added up, so that the sum without one part is one subtraction, and the order of members
//! does not count.

use std::{ops::Range, sync::LazyLock};

use memchr::memchr2;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::nonce::{Nonce, nonces};
use crate::json::{
    JsonError, Parser,
    mask::{self, Mask},
};

/// A random number of this process, so that nobody can guess what a hash is of.
static SECRET: LazyLock<u64> = LazyLock::new(|| fastrand::u64(..));

/// Larger bodies are one part.
const MAX_BODY: usize = 64 * 1024;
/// A body with more members than these is one part.
const MAX_MEMBERS: usize = 200;
/// Deeper bodies are one part.
const MAX_DEPTH: usize = 64;
/// A longer text is a question or a document, whatever is in it.
const MAX_VALUE: usize = 256;

/// Members that hold what is asked: two questions differ in them.
const QUESTIONS: [&str; 20] = [
    "q",
    "query",
    "question",
    "prompt",
    "text",
    "texts",
    "content",
    "message",
    "input",
    "inputs",
    "input_value",
    "search",
    "term",
    "keywords",
    "instruction",
    "system",
    "context",
    "document",
    "documents",
    "title",
];

/// What kind of part it is. A part's name comes with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum PartKind {
    /// A header that has credentials.
    Credential,
    Header,
    Query,
    /// A member of the body; its name is a pointer.
    Member,
    /// A part of the text of a member.
    Text(Nonce),
}

/// A part that may be left out of the key.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) kind: PartKind,
    name: Range<usize>,
    /// The hash of its value.
    pub(crate) value: u64,
    /// The request without it, as long as it has it.
    pub(crate) without: u64,
    /// The request that does not have it at all.
    pub(crate) lacking: u64,
}

/// A request in parts.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    names: String,
    pub(crate) candidates: Vec<Candidate>,
    /// The whole request.
    pub(crate) whole: u64,
}

impl Parts {
    pub(crate) fn name(&self, candidate: &Candidate) -> &str {
        &self.names[candidate.name.clone()]
    }

    /// The names of all query parameters.
    pub(crate) fn query_names(&self) -> impl Iterator<Item = &str> {
        let of_query = self.candidates.iter().filter(|candidate| candidate.kind == PartKind::Query);
        of_query.map(|candidate| self.name(candidate))
    }

    /// What a store of such requests remembers of this one: the whole, it without each part, and its credentials.
    pub(crate) fn fingerprints(&self) -> impl Iterator<Item = u64> + '_ {
        let without = self.candidates.iter().map(|candidate| candidate.without);
        let credentials = self.candidates.iter().filter(|candidate| candidate.kind == PartKind::Credential);
        [self.whole].into_iter().chain(without).chain(credentials.map(|candidate| candidate.value))
    }
}

/// Takes a request apart.
#[derive(Debug)]
pub(crate) struct PartsBuilder {
    names: String,
    sum: u64,
    /// Each with the hash of its whole contribution, of its value, and of what is left of it.
    candidates: Vec<(PartKind, Range<usize>, u64, u64, u64)>,
}

impl PartsBuilder {
    /// For requests of this route.
    pub(crate) fn new(route: &str) -> Self {
        Self {
            names: String::with_capacity(256),
            sum: hash(route.as_bytes(), 0),
            candidates: Vec::with_capacity(24),
        }
    }

    /// Adds a header, a query parameter or a credential.
    pub(crate) fn add(&mut self, kind: PartKind, name: &str, value: &[u8]) {
        let start = self.names.len();
        self.names.push_str(name);
        let seed = hash(name.as_bytes(), kind_seed(kind));
        let value = hash(value, seed);
        self.sum = self.sum.wrapping_add(value);
        let is_question = kind == PartKind::Query && is_question(name);
        if !is_question {
            self.candidates.push((kind, start..self.names.len(), value, value, 0));
        }
    }

    /// Adds something that cannot be left out.
    pub(crate) fn add_fixed(&mut self, value: &[u8]) {
        self.sum = self.sum.wrapping_add(hash(value, 3));
    }

    /// Adds a body, without what `masks` match in its texts, and without the members that `is_left_out` names by their
    /// pointers, or by where their values begin.
    pub(crate) fn add_body(
        &mut self,
        body: &[u8],
        masks: &[Mask],
        is_left_out: impl Fn(&str, usize) -> bool,
    ) {
        let known = (self.sum, self.candidates.len(), self.names.len());
        let mut walk = BodyWalk {
            builder: self,
            body,
            masks,
            is_left_out,
            pointer: String::with_capacity(64),
            name: 0..0,
        };
        let is_small = body.len() <= MAX_BODY;
        let walked = is_small && Parser::over(body, |parser| walk.value(parser, 0, 0)).is_ok();
        if !walked || self.candidates.len() > known.1 + MAX_MEMBERS {
            self.candidates.truncate(known.1);
            self.names.truncate(known.2);
            self.sum = known.0.wrapping_add(hash(body, 1));
        }
    }

    /// Adds the value of a member, or an element of the member `name`; `place` is a hash of the way to it, with the numbers of elements.
    fn leaf(&mut self, value: &[u8], pointer: &str, name: &str, place: u64) {
        let own = hash(value, place);
        self.sum = self.sum.wrapping_add(own);
        let text = if value.first() == Some(&b'"') { std::str::from_utf8(value).ok() } else { None };
        let is_prose = |text: &str| text.len() > MAX_VALUE || memchr2(b' ', b'\\', text.as_bytes()).is_some();
        if text.is_some_and(is_prose) || is_question(name) {
            text.iter().for_each(|text| self.nonces(text, pointer, place, own));
        } else {
            let at = self.named(pointer);
            self.candidates.push((PartKind::Member, at, own, own, 0));
        }
    }

    /// Adds the text without each kind of nonce in it.
    fn nonces(&mut self, text: &str, pointer: &str, place: u64, own: u64) {
        let found = nonces(text);
        if found.is_empty() {
            return;
        }
        for kind in [Nonce::Uuid, Nonce::Hex, Nonce::Time, Nonce::Digits] {
            if !found.iter().any(|(nonce, _)| *nonce == kind) {
                continue;
            }
            let mut rest = String::with_capacity(text.len());
            let mut cut = String::new();
            let mut at = 0;
            for (_, range) in found.iter().filter(|(nonce, _)| *nonce == kind) {
                rest.push_str(&text[at..range.start]);
                rest.push('\0');
                cut.push_str(&text[range.clone()]);
                at = range.end;
            }
            rest.push_str(&text[at..]);
            let name = self.named(pointer);
            let kind = PartKind::Text(kind);
            let left = hash(rest.as_bytes(), place ^ kind_seed(kind));
            self.candidates.push((kind, name, own, hash(cut.as_bytes(), place), left));
        }
    }

    fn named(&mut self, name: &str) -> Range<usize> {
        let start = self.names.len();
        self.names.push_str(name);
        start..self.names.len()
    }

    pub(crate) fn finish(self) -> Parts {
        let Self { names, sum, candidates } = self;
        let candidate = |(kind, name, own, value, left): (PartKind, Range<usize>, u64, u64, u64)| {
            let rest = sum.wrapping_sub(own).wrapping_add(left);
            let seed = hash(names[name.clone()].as_bytes(), kind_seed(kind));
            Candidate { kind, name, value, without: hash(&rest.to_le_bytes(), seed), lacking: whole(rest) }
        };
        let candidates = candidates.into_iter().map(candidate).collect();
        Parts { candidates, whole: whole(sum), names }
    }
}

/// Walks over a body, and adds each value that is neither an object nor an array.
struct BodyWalk<'b, F> {
    builder: &'b mut PartsBuilder,
    body: &'b [u8],
    masks: &'b [Mask],
    is_left_out: F,
    /// The way to the value, with `*` for elements.
    pointer: String,
    /// Where the last name is in it.
    name: Range<usize>,
}

impl<F: Fn(&str, usize) -> bool> BodyWalk<'_, F> {
    fn value(&mut self, parser: &mut Parser<'_>, place: u64, depth: usize) -> Result<(), JsonError> {
        if depth > MAX_DEPTH {
            return Err(JsonError::TooDeep);
        }
        let first = parser.next_token();
        if depth > 0 && (self.is_left_out)(&self.pointer, parser.position()) {
            return parser.skip().map(drop);
        }
        let len = self.pointer.len();
        match first {
            Some(b'{') => {
                parser.members(|parser, name| {
                    self.pointer.push('/');
                    if name.contains(['~', '/']) {
                        self.pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
                    } else {
                        self.pointer.push_str(&name);
                    }
                    self.name = len + 1..self.pointer.len();
                    let walked = self.value(parser, hash(name.as_bytes(), place), depth + 1);
                    self.pointer.truncate(len);
                    walked
                })?;
            }
            Some(b'[') => {
                let mut number = 0_u64;
                let name = self.name.clone();
                parser.elements(|parser| {
                    number += 1;
                    // The last element may have had members.
                    self.name.clone_from(&name);
                    self.pointer.push_str("/*");
                    let walked = self.value(parser, hash(&number.to_le_bytes(), place), depth + 1);
                    self.pointer.truncate(len);
                    walked
                })?;
            }
            _ => {
                let span = parser.skip()?;
                self.leaf(&self.body[span], place);
            }
        }
        Ok(())
    }

    fn leaf(&mut self, value: &[u8], place: u64) {
        let masked = if self.masks.is_empty() { None } else { std::str::from_utf8(value).ok() };
        match masked {
            Some(text) => {
                let text = mask::parts(text, self.masks).join("\0");
                self.builder.leaf(text.as_bytes(), &self.pointer, &self.pointer[self.name.clone()], place);
            }
            None => self.builder.leaf(value, &self.pointer, &self.pointer[self.name.clone()], place),
        }
    }
}

fn whole(sum: u64) -> u64 {
    hash(&sum.to_le_bytes(), 2)
}

fn hash(value: &[u8], seed: u64) -> u64 {
    if seed == 0 { xxh3_64_with_seed(value, *SECRET) } else { xxh3_64_with_seed(value, seed) }
}

fn kind_seed(kind: PartKind) -> u64 {
    let number = match kind {
        PartKind::Credential => 3,
        PartKind::Header => 4,
        PartKind::Query => 5,
        PartKind::Member => 6,
        PartKind::Text(nonce) => 7 + nonce as u8,
    };
    xxh3_64(&[number]) ^ *SECRET
}

fn is_question(name: &str) -> bool {
    QUESTIONS.iter().any(|question| name.eq_ignore_ascii_case(question))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(headers: &[(&str, &str)], body: &str) -> Parts {
        let mut builder = PartsBuilder::new("r");
        headers.iter().for_each(|(name, value)| builder.add(PartKind::Header, name, value.as_bytes()));
        builder.add_body(body.as_bytes(), &[], |pointer, _| pointer == "/user");
        builder.finish()
    }

    /// The parts that alone tell two requests apart.
    fn alone(one: &Parts, two: &Parts) -> Vec<(PartKind, String)> {
        let known: Vec<_> = one.fingerprints().collect();
        let differs =
            |candidate: &&Candidate| known.contains(&candidate.without) || one.whole == candidate.lacking;
        let named = |candidate: &Candidate| (candidate.kind, two.name(candidate).to_owned());
        if one.whole == two.whole {
            Vec::new()
        } else {
            two.candidates.iter().filter(differs).map(named).collect()
        }
    }

    #[test]
    fn a_part_that_alone_differs_is_found() {
        let body = r#"{"model":"m","metadata":{"run":"r1","tags":["a","b"]},"messages":[{"role":"user","content":"What is it?"}]}"#;
        let base = parts(&[("x-a", "1"), ("x-b", "2")], body);
        let same = parts(&[("x-b", "2"), ("x-a", "1")], body);
        assert_eq!((base.whole, alone(&base, &same)), (same.whole, vec![]));
        let member = |name: &str| vec![(PartKind::Member, name.to_owned())];
        for (headers, changed, expected) in [
            (&[("x-a", "9"), ("x-b", "2")][..], body.to_owned(), vec![(PartKind::Header, "x-a".to_owned())]),
            (
                &[("x-a", "1"), ("x-b", "2"), ("x-c", "3")],
                body.to_owned(),
                vec![(PartKind::Header, "x-c".to_owned())],
            ),
            (&[("x-a", "1"), ("x-b", "2")], body.replace("r1", "r2"), member("/metadata/run")),
            (&[("x-a", "1"), ("x-b", "2")], body.replace("\"b\"", "\"c\""), member("/metadata/tags/*")),
            (&[("x-a", "1"), ("x-b", "2")], body.replace("\"m\"", "7"), member("/model")),
            (&[("x-a", "9"), ("x-b", "2")], body.replace("r1", "r2"), vec![]),
            (&[("x-a", "1"), ("x-b", "2")], body.replace("What is it?", "Who is it?"), vec![]),
            (&[("x-a", "1"), ("x-b", "2")], body.replace("What is it?", "redis"), vec![]),
        ] {
            assert_eq!(alone(&base, &parts(headers, &changed)), expected, "{headers:?} {changed}");
        }
    }

    #[test]
    fn what_is_not_in_the_key_does_not_count() {
        let whole = |body: &str| parts(&[], body).whole;
        assert_eq!(whole(r#"{"a":1,"user":{"name":"x"}}"#), whole(r#"{"user":[1,2],"a":1}"#));
        let masked = |body: &str| {
            let mut builder = PartsBuilder::new("r");
            builder.add_body(body.as_bytes(), &["run [0-9]+".parse().expect("a mask")], |_, _| false);
            builder.finish().whole
        };
        assert_eq!(masked(r#"{"a":"run 1, say"}"#), masked(r#"{"a":"run 22, say"}"#));
        assert_ne!(masked(r#"{"a":"run 1, say"}"#), masked(r#"{"a":"run 1, tell"}"#));
    }

    proptest! {
        /// Whatever the body is, it is taken apart or is one part, and the order of members does not count.
        #[test]
        fn no_body_panics(body in r#"[\[\]{}:,"ab0-9 ~/*]{0,40}|\{"a":(\[(\{"b":[0-9]\}|[0-9]|\[[0-9]\]),?(\{"c":"x y"\}|7)?\]),"d":1\}"#) {
            let one = parts(&[], &body);
            one.candidates.iter().for_each(|candidate| drop(one.name(candidate).to_owned()));
        }
    }

    #[test]
    fn an_element_behind_an_object_has_the_name_of_its_list() {
        let found = parts(&[], r#"{"tags":[{"longer_name":{"x":1}},2,[3]],"z":4}"#);
        let names: Vec<_> = found.candidates.iter().map(|candidate| found.name(candidate)).collect();
        assert_eq!(names, ["/tags/*/longer_name/x", "/tags/*", "/tags/*/*", "/z"]);
        // The list's name says that its elements are what is asked.
        let questions = parts(&[], r#"{"texts":[{"id":1},"redis"]}"#);
        assert_eq!(questions.candidates.len(), 1);
    }

    #[test]
    fn a_deep_body_is_one_part() {
        let deep = "[".repeat(30_000);
        assert_eq!(parts(&[], &deep).candidates.len(), 0);
        let deep = format!("{}1{}", "[".repeat(65), "]".repeat(65));
        assert_eq!(parts(&[], &deep).candidates.len(), 0);
    }

    #[test]
    fn a_nonce_in_a_text_is_found() {
        let asked = |nonce: &str| parts(&[], &format!(r#"{{"query":"[{nonce}] What is it?"}}"#));
        let of = |nonce| vec![(PartKind::Text(nonce), "/query".to_owned())];
        for (one, two, expected) in [
            ("1764572400", "1764572999", of(Nonce::Digits)),
            ("0b9c3a52-1111-4222-8333-444455556666", "1b9c3a52-1111-4222-8333-444455556666", of(Nonce::Uuid)),
            ("2026-12-01T07:00:00Z", "2026-12-01T07:00:09Z", of(Nonce::Time)),
            ("deadbeef0123", "deadbeef9999", of(Nonce::Hex)),
            ("1764572400", "deadbeef9999", vec![]),
            ("3.11", "3.12", vec![]),
        ] {
            assert_eq!(alone(&asked(one), &asked(two)), expected, "{one} {two}");
        }
    }

    #[test]
    fn what_cannot_be_taken_apart_is_one_part() {
        let many = format!(r#"{{"a":[{}]}}"#, (0..500).map(|n| n.to_string()).collect::<Vec<_>>().join(","));
        for body in ["no JSON", "{", "", &many, &format!("\"{}\"", "x".repeat(100_000))] {
            let one = parts(&[("x-a", "1")], body);
            assert_eq!(one.candidates.len(), 1, "{}", body.len());
            let other = parts(&[("x-a", "2")], body);
            assert_eq!(alone(&one, &other), [(PartKind::Header, "x-a".to_owned())]);
            assert_eq!(alone(&one, &parts(&[("x-a", "1")], &format!("{body} "))), []);
        }
    }
}

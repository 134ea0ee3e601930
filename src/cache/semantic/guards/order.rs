//! The order of what is compared or turned into each other: `A better than B`, `from A to B`.

use super::{
    reading::{Reading, Token},
    words::is_content,
};

/// Words between two sides that cannot change places.
const BETWEEN: &[&str] = &[
    "than", "to", "into", "from", "before", "after", "over", "with", "by", "for", "in", "of", "per", "under",
    "above", "below", "instead", "without", "against", "as", "because", "when", "while", "if", "until",
    "not", "but", "causes", "cause", "on", "at", "nach", "von", "als", "vor", "statt", "zu", "in", "que",
    "a", "à", "de", "en", "para", "por", "vers", "di", "per", "che", "da", "naar", "dan", "van",
];

/// Words that make a comparison of the word beside them.
const COMPARING: [&str; 15] = [
    "more", "less", "most", "much", "far", "even", "plus", "moins", "más", "menos", "più", "meno", "mehr",
    "mais", "meer",
];

/// So many words on each side may be what is compared.
const REACH: usize = 2;

/// What is on which side of what, each as a text to hash; and the same with the sides changed.
#[derive(Debug, Default)]
pub(super) struct Relations {
    pub(super) forward: Vec<String>,
    pub(super) backward: Vec<String>,
}

pub(super) fn find(reading: &Reading) -> Relations {
    let mut relations = Relations::default();
    for (at, token) in reading.tokens.iter().enumerate() {
        let Some(between) = BETWEEN.iter().find(|between| **between == token.lower) else { continue };
        let left: Vec<_> = side(reading.clause_before(at));
        let right: Vec<_> = side(reading.clause_from(at + 1));
        for one in &left {
            for other in right.iter().filter(|other| *other != one) {
                relations.add(between, one, other);
            }
        }
        if let (Some(direction), Some(place)) = (direction(between), right.first()) {
            relations.add_place(direction, place);
        }
    }
    relations
}

/// The words next to a relation that say something, up to the next relation.
fn side<'r>(tokens: impl Iterator<Item = &'r Token>) -> Vec<&'r str> {
    let until_next = tokens
        .take_while(|token| !matches!(&*token.lower, "than" | "to" | "into" | "from" | "instead" | "and"));
    let compares = |token: &&Token| !COMPARING.contains(&&*token.lower);
    until_next
        .filter(compares)
        .filter(|token| is_content(token) || token.raw.len() == 1 && token.raw != "a" && token.raw != "I")
        .take(REACH)
        .map(|token| &*token.stem)
        .collect()
}

/// Whether this is where something comes from, or goes to.
fn direction(between: &str) -> Option<bool> {
    match between {
        "from" | "von" | "aus" | "desde" => Some(true),
        "to" | "into" | "nach" | "naar" | "vers" => Some(false),
        _ => None,
    }
}

impl Relations {
    fn add(&mut self, between: &str, one: &str, other: &str) {
        self.forward.push(format!("{between}\n{one}\n{other}"));
        self.backward.push(format!("{between}\n{other}\n{one}"));
    }

    fn add_place(&mut self, is_source: bool, place: &str) {
        let name = |is_source: bool| format!("{}\n{place}", if is_source { "source" } else { "target" });
        self.forward.push(name(is_source));
        self.backward.push(name(!is_source));
    }
}

/// The words in their order, without articles: a text with the same words in another order says something else.
pub(super) fn sequence(reading: &Reading) -> Vec<&str> {
    let counts = |token: &&Token| !matches!(&*token.lower, "a" | "an" | "the" | "please");
    reading.tokens.iter().filter(counts).map(|token| &*token.stem).collect()
}

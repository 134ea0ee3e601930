//! A question that may be answered by meaning.

use super::guards::Signature;
use crate::dialect::NoQuestion;

/// Texts with fewer or more tokens take no part: a short one says too little, and of a long one a vector says too little.
const TOKENS: std::ops::RangeInclusive<usize> = 3..=512;

/// A longer word counts as several tokens. In letters.
const TOKEN_LETTERS: usize = 8;

/// Everything in a request's key but the last user's text. Only questions of one partition share answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Partition(pub [u8; 32]);

/// Who asked, where that matters: under a `shared` scope, a neighbour counts only if two callers asked it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallerId(pub u64);

/// A question.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) partition: Partition,
    /// The last user's text, normalized as for the key.
    pub(crate) text: String,
    pub(crate) signature: Signature,
    /// `None` except under a `shared` scope.
    pub(crate) caller: Option<CallerId>,
}

/// Why a request takes no part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ineligible {
    /// It is no question whose answer is stored: its method, its mode, a batch, or a part of an answer.
    NotStored,
    /// The dialect does not know the question's text, or it is in several pieces.
    NoText,
    /// The last message is not the user's.
    NotUsers,
    ToolResults,
    Media,
    Conversation,
    TooShort,
    TooLong,
    Temperature,
    /// It asks for several answers.
    SeveralAnswers,
}

impl Ineligible {
    pub(crate) const ALL: [Self; 10] = [
        Self::NotStored,
        Self::NoText,
        Self::NotUsers,
        Self::ToolResults,
        Self::Media,
        Self::Conversation,
        Self::TooShort,
        Self::TooLong,
        Self::Temperature,
        Self::SeveralAnswers,
    ];

    /// As in the log and in `docs/MEANING.md`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::NotStored => "not-stored",
            Self::NoText => "no-text",
            Self::NotUsers => "not-the-users",
            Self::ToolResults => "tool-results",
            Self::Media => "media",
            Self::Conversation => "conversation",
            Self::TooShort => "too-short",
            Self::TooLong => "too-long",
            Self::Temperature => "temperature",
            Self::SeveralAnswers => "several-answers",
        }
    }

    /// Why a text of this length takes no part.
    ///
    /// # Errors
    /// If it does not.
    pub(crate) fn check_length(text: &str) -> Result<(), Self> {
        match tokens(text) {
            count if count < *TOKENS.start() => Err(Self::TooShort),
            count if count > *TOKENS.end() => Err(Self::TooLong),
            _ => Ok(()),
        }
    }
}

impl From<NoQuestion> for Ineligible {
    fn from(why: NoQuestion) -> Self {
        match why {
            NoQuestion::NoText => Self::NoText,
            NoQuestion::NotUsers => Self::NotUsers,
            NoQuestion::ToolResults => Self::ToolResults,
            NoQuestion::Media => Self::Media,
            NoQuestion::Conversation => Self::Conversation,
        }
    }
}

/// How many tokens a text has, about: no model is asked. A word is one for each eight letters or digits that it begins, and so is a
/// run of other signs; in scripts without spaces each sign is one.
fn tokens(text: &str) -> usize {
    let mut count = 0;
    let mut run = (false, 0);
    for letter in text.chars() {
        if letter.is_whitespace() {
            run.1 = 0;
            continue;
        }
        let is_word = letter.is_alphanumeric();
        let stands_alone =
            matches!(letter, '\u{0e00}'..='\u{0eff}' | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}');
        if stands_alone || run.1 == 0 || run.0 != is_word || run.1 == TOKEN_LETTERS {
            count += 1;
            run = (is_word, 0);
        }
        run.1 += 1;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_counted_as_the_page_says() {
        for (text, expected) in [
            ("", 0),
            ("  \n", 0),
            ("Hi", 1),
            ("Reset it", 2),
            ("Reset it?", 3),
            ("How do I reset it?!", 6),
            ("Rechtsschutzversicherung", 3),
            ("aaaaaaaa", 1),
            ("aaaaaaaaa", 2),
            ("........", 1),
            (".........", 2),
            ("如何修改", 4),
            ("a b  c\td", 4),
        ] {
            assert_eq!(tokens(text), expected, "{text}");
        }
        let of = |count: usize| Ineligible::check_length(&"word ".repeat(count));
        assert_eq!((of(2), of(3)), (Err(Ineligible::TooShort), Ok(())));
        assert_eq!((of(512), of(513)), (Ok(()), Err(Ineligible::TooLong)));
    }

    #[test]
    fn the_page_lists_the_reasons() {
        let page = include_str!("../../../docs/MEANING.md");
        let section = page.split("\n## ").find(|section| section.starts_with("Which questions take part\n"));
        let rows = section.expect("the section").lines().filter_map(|line| line.strip_prefix("| `"));
        let names: Vec<_> = rows.filter_map(|row| row.split('`').next()).collect();
        assert_eq!(names, Ineligible::ALL.map(Ineligible::name));
    }

    #[test]
    fn each_reason_has_a_name_of_its_own() {
        let mut names: Vec<_> = Ineligible::ALL.into_iter().map(Ineligible::name).collect();
        assert!(names.iter().all(|name| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Ineligible::ALL.len());
    }
}

//! A text in pieces: what the guards look at. It is read once for all of them.

use unicode_normalization::UnicodeNormalization;

use super::{code, numbers, quotes, urls, words};

/// Words that end with a full stop, and no sentence with them.
const SHORT: [&str; 15] =
    ["mr", "mrs", "ms", "dr", "prof", "st", "no", "vs", "e.g", "i.e", "fr", "nr", "approx", "hr", "sr"];

/// What is farther away than so many words has nothing to do with a word. This also bounds the work.
const NEAR: usize = 16;

/// A word, a number, or a sign that a guard knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Token {
    /// As it is written, without the punctuation around it.
    pub(super) raw: String,
    /// In lower case; of a number, in its normal form.
    pub(super) lower: String,
    /// Without its ending.
    pub(super) stem: String,
    pub(super) is_number: bool,
    /// Whether a sentence begins with it, so that a capital says nothing.
    pub(super) begins_sentence: bool,
    /// Whether a clause ends behind it.
    pub(super) ends_clause: bool,
}

/// A text in pieces.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub(super) tokens: Vec<Token>,
    pub(super) code: Vec<String>,
    pub(super) urls: Vec<String>,
    pub(super) quotes: Vec<String>,
}

impl Reading {
    pub(super) fn new(text: &str) -> Self {
        let text: String = text.nfkc().map(plain).collect();
        let mut reading = Self::default();
        let text = code::cut_spans(&text, &mut reading.code);
        reading.quotes = quotes::find(&text);
        for line in text.lines() {
            let mut begins = true;
            let chunks: Vec<_> = line.split_whitespace().collect();
            for (at, chunk) in chunks.iter().enumerate() {
                let before = at.checked_sub(1).and_then(|at| chunks.get(at)).copied();
                if code::is_between_operands(before, chunk, chunks.get(at + 1).copied()) {
                    reading.code.push((*chunk).to_owned());
                    continue;
                }
                begins = reading.read_chunk(chunk, begins);
            }
            if let Some(last) = reading.tokens.last_mut() {
                last.ends_clause = true;
            }
        }
        numbers::join(&mut reading.tokens);
        reading
    }

    /// Reads what is between two spaces; whether a sentence begins behind it.
    fn read_chunk(&mut self, chunk: &str, begins: bool) -> bool {
        let core = chunk.trim_start_matches(is_opening).trim_end_matches(is_closing);
        let tail = chunk.trim_start_matches(is_opening).get(core.len()..).unwrap_or_default();
        let is_short = SHORT.contains(&&*core.to_lowercase()) && tail == ".";
        let ends_sentence = !is_short && tail.contains(['.', '?', '!', ':', '。', '？', '！']);
        let ends_clause = ends_sentence || tail.contains([',', ';', ')', '、', '，']);
        let before = self.tokens.len();
        if let Some(url) = urls::read(core) {
            self.urls.push(url);
        } else if let Some(code) = code::read(chunk, core) {
            self.code.push(code);
        } else {
            self.tokens.extend(words::split(core));
        }
        if let Some(first) = self.tokens.get_mut(before) {
            // A bullet or a number of a list is no beginning of its own.
            first.begins_sentence = begins || chunk.starts_with(['"', '«', '„', '(']);
        }
        if let Some(last) = self.tokens.last_mut().filter(|_| ends_clause) {
            last.ends_clause = true;
        }
        // A dash or a bullet leaves the beginning where it is.
        ends_sentence || (begins && core.is_empty())
    }

    /// The words and numbers at `from` and behind it, up to the end of the clause, as far as they are near.
    pub(super) fn clause_from(&self, from: usize) -> impl Iterator<Item = &Token> {
        let open = from.checked_sub(1).and_then(|before| self.tokens.get(before));
        let is_over = open.is_some_and(|token| token.ends_clause);
        let mut ended = is_over;
        self.tokens.iter().skip(from).take(NEAR).take_while(move |token| {
            let goes_on = !ended;
            ended |= token.ends_clause;
            goes_on
        })
    }

    /// The words and numbers before `to`, back to the beginning of the clause, as far as they are near; the last one first.
    pub(super) fn clause_before(&self, to: usize) -> impl Iterator<Item = &Token> {
        self.tokens[..to.min(self.tokens.len())]
            .iter()
            .rev()
            .take(NEAR)
            .take_while(|token| !token.ends_clause)
    }

    /// Whether one of these words is at most `within` tokens before `at`.
    pub(super) fn has_before(&self, at: usize, within: usize, words: &[&str]) -> bool {
        self.clause_before(at).take(within).any(|token| words.contains(&&*token.lower))
    }
}

/// Marks that mean the same are one.
const fn plain(letter: char) -> char {
    match letter {
        '\u{2018}' | '\u{2019}' | '\u{02bc}' | '\u{ff07}' => '\'',
        '\u{201c}' | '\u{201d}' | '\u{201e}' | '\u{201f}' => '"',
        '\u{2010}'..='\u{2015}' | '\u{2212}' => '-',
        _ => letter,
    }
}

fn is_opening(letter: char) -> bool {
    matches!(letter, '"' | '\'' | '(' | '[' | '{' | '«' | '»' | '¿' | '¡' | '*' | '•' | '「' | '『' | ',')
}

fn is_closing(letter: char) -> bool {
    matches!(
        letter,
        '"' | '\''
            | ')'
            | ']'
            | '}'
            | '«'
            | '»'
            | '*'
            | '.'
            | ','
            | ';'
            | ':'
            | '?'
            | '!'
            | '…'
            | '。'
            | '？'
            | '！'
            | '、'
            | '，'
            | '」'
            | '』'
    )
}

//! The tokens of a text by `tokenizer.json`: BERT's normal form, words, and WordPiece
//! (<https://arxiv.org/abs/1609.08144>, section 4.1), as the library `tokenizers` makes them.

use std::collections::HashMap;

use serde::Deserialize;
use unicode_normalization::UnicodeNormalization;
use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory};

pub(super) struct WordPiece {
    vocabulary: HashMap<Box<str>, u32>,
    /// Before a piece that does not begin its word.
    prefix: String,
    unknown: u32,
    first: u32,
    last: u32,
    /// Longer words are unknown.
    max_word: usize,
    normal: NormalForm,
}

#[derive(Deserialize)]
struct File {
    model: ModelSection,
    normalizer: NormalizerSection,
    pre_tokenizer: Typed,
    post_processor: PostProcessor,
}

#[derive(Deserialize)]
struct Typed {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct ModelSection {
    #[serde(rename = "type")]
    kind: Option<String>,
    vocab: HashMap<Box<str>, u32>,
    unk_token: String,
    continuing_subword_prefix: String,
    max_input_chars_per_word: usize,
}

#[derive(Deserialize)]
struct NormalizerSection {
    #[serde(rename = "type")]
    kind: String,
    #[serde(flatten)]
    normal: Option<NormalForm>,
}

/// What becomes of a text before it is cut.
#[derive(Clone, Copy, Deserialize)]
struct NormalForm {
    clean_text: bool,
    handle_chinese_chars: bool,
    /// As `lowercase` where it says nothing.
    strip_accents: Option<bool>,
    lowercase: bool,
}

/// What is put around a text. Two kinds of it say the same in BERT.
#[derive(Deserialize)]
#[serde(tag = "type")]
enum PostProcessor {
    TemplateProcessing { single: Vec<Piece> },
    BertProcessing { cls: (String, u32), sep: (String, u32) },
}

#[derive(Deserialize)]
enum Piece {
    SpecialToken { id: String },
    Sequence {},
}

impl WordPiece {
    /// Reads `tokenizer.json` for a model that knows `words` words.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(text: &[u8], words: usize) -> Result<Self, String> {
        let File { model, normalizer, pre_tokenizer, post_processor } =
            serde_json::from_slice(text).map_err(|error| format!("is no tokenizer of a BERT: {error}"))?;
        for (section, found, known) in [
            ("model", model.kind.as_deref().unwrap_or("WordPiece"), "WordPiece"),
            ("normalizer", &normalizer.kind, "BertNormalizer"),
            ("pre_tokenizer", &pre_tokenizer.kind, "BertPreTokenizer"),
        ] {
            if found != known {
                return Err(format!("{section} is {found:?}, and only {known:?} is known"));
            }
        }
        let vocabulary = model.vocab;
        if let Some((word, id)) = vocabulary.iter().find(|(_, id)| **id as usize >= words) {
            return Err(format!("{word:?} has the number {id}, and the model knows {words} words"));
        }
        let id = |word: &str| {
            vocabulary.get(word).copied().ok_or_else(|| format!("{word:?} is not in the vocabulary"))
        };
        let (first, last) = post_processor
            .around()
            .ok_or("post_processor does not put one token before a text and one after it")?;
        Ok(Self {
            unknown: id(&model.unk_token)?,
            first: id(&first)?,
            last: id(&last)?,
            prefix: model.continuing_subword_prefix,
            max_word: model.max_input_chars_per_word,
            normal: normalizer.normal.ok_or("normalizer does not say what it does")?,
            vocabulary,
        })
    }

    /// The tokens of `text`, with one before and one after it: `most` at most.
    pub(super) fn encode(&self, text: &str, most: usize) -> Vec<u32> {
        let room = most.saturating_sub(1);
        let mut tokens = vec![self.first];
        let text = self.normal.apply(text);
        for word in text.split(char::is_whitespace).flat_map(words) {
            if tokens.len() >= room {
                break;
            }
            self.add(word, &mut tokens);
        }
        tokens.truncate(room);
        tokens.push(self.last);
        tokens
    }

    /// Adds the pieces of `word`, each as long as the vocabulary allows; if one is missing, the word is unknown.
    fn add(&self, word: &str, tokens: &mut Vec<u32>) {
        let before = tokens.len();
        let mut rest = word;
        let is_long = word.chars().nth(self.max_word).is_some();
        while !rest.is_empty() && !is_long {
            let prefix = if tokens.len() > before { &*self.prefix } else { "" };
            let Some((id, length)) = self.longest(prefix, rest) else { break };
            tokens.push(id);
            rest = &rest[length..];
        }
        if !rest.is_empty() {
            tokens.truncate(before);
            tokens.push(self.unknown);
        }
    }

    /// The longest piece at the beginning of `rest`: its number and its length in bytes.
    fn longest(&self, prefix: &str, rest: &str) -> Option<(u32, usize)> {
        let mut piece = format!("{prefix}{rest}");
        while piece.len() > prefix.len() {
            if let Some(id) = self.vocabulary.get(&*piece) {
                return Some((*id, piece.len() - prefix.len()));
            }
            piece.pop();
        }
        None
    }
}

impl PostProcessor {
    fn around(self) -> Option<(String, String)> {
        match self {
            Self::BertProcessing { cls, sep } => Some((cls.0, sep.0)),
            Self::TemplateProcessing { single } => {
                let single: [Piece; 3] = single.try_into().ok()?;
                match single {
                    [
                        Piece::SpecialToken { id: first },
                        Piece::Sequence {},
                        Piece::SpecialToken { id: last },
                    ] => Some((first, last)),
                    _ => None,
                }
            }
        }
    }
}

impl NormalForm {
    fn apply(self, text: &str) -> String {
        let cleaned = text.chars().filter_map(|c| if self.clean_text { clean(c) } else { Some(c) });
        let mut spaced = String::with_capacity(text.len());
        for c in cleaned {
            if self.handle_chinese_chars && is_ideograph(c) {
                spaced.extend([' ', c, ' ']);
            } else {
                spaced.push(c);
            }
        }
        if self.strip_accents.unwrap_or(self.lowercase) {
            spaced =
                spaced.nfd().filter(|c| c.general_category() != GeneralCategory::NonspacingMark).collect();
        }
        if self.lowercase { spaced.chars().flat_map(char::to_lowercase).collect() } else { spaced }
    }
}

/// A space for all that is one, and nothing for what is not to be seen.
fn clean(c: char) -> Option<char> {
    match c {
        '\t' | '\n' | '\r' => Some(' '),
        '\0' | char::REPLACEMENT_CHARACTER => None,
        _ => match c.general_category() {
            GeneralCategory::Control | GeneralCategory::Format | GeneralCategory::PrivateUse => None,
            _ if c.is_whitespace() => Some(' '),
            _ => Some(c),
        },
    }
}

/// Punctuation marks are words of their own. Signs of ASCII such as `$` count as such.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let is_mark =
        |c: char| c.is_ascii_punctuation() || c.general_category_group() == GeneralCategoryGroup::Punctuation;
    text.split_inclusive(is_mark).flat_map(move |part| {
        let end =
            part.char_indices().next_back().filter(|(_, c)| is_mark(*c)).map_or(part.len(), |(at, _)| at);
        let (word, mark) = part.split_at(end);
        [word, mark].into_iter().filter(|part| !part.is_empty())
    })
}

/// The blocks that BERT's authors call Chinese.
fn is_ideograph(c: char) -> bool {
    matches!(c,
        '\u{4e00}'..='\u{9fff}'
        | '\u{3400}'..='\u{4dbf}'
        | '\u{20000}'..='\u{2a6df}'
        | '\u{2a700}'..='\u{2b73f}'
        | '\u{2b740}'..='\u{2b81f}'
        | '\u{2b920}'..='\u{2ceaf}'
        | '\u{f900}'..='\u{faff}'
        | '\u{2f800}'..='\u{2fa1f}')
}

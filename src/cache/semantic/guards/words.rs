//! Words: how a piece of a text is divided into them, and what is left of a word without its ending.

use super::{numbers, reading::Token};

/// Words that say little by themselves. They are never what a negation denies, nor one side of a comparison.
const SMALL: &[&str] = &[
    "a an the this that these those i im ive me my mine you your he she it its we us our they them their his her",
    "him who what which when where why how there here is are am was were be been being do does did done doing has",
    "had have having can could will would shall should may might must to of in on at by for from with into as and",
    "or but if so than then too very just yet still even ever really already any some also please about actually",
    "currently now s t ll re ve d m up out own such only always der die das den dem des ein eine einen einem einer",
    "ich mich mir du sie er es wir uns ihr mein meine meinen ist sind habe haben kann soll wird werden und oder zu",
    "mit von für auf wie wo wann warum le la les l un une de je j tu il elle nous vous ils te se ce c est sont ai",
    "mon ma mes et ou à au aux en y que qui qu comment pourquoi quand ne n pas el los las una uno mi mis yo son",
    "está del al con por para cómo qué cuándo dónde o os um uma eu meu minha é são da no na em como lo gli di che è",
    "sono ho mio mia per het een ik mijn zijn van voor met hoe wat kan",
];

/// Forms that no rule leads back to their word, with that word.
const IRREGULAR: &[&str] = &[
    "got:get gotten:get went:go gone:go goes:go made:make took:take taken:take gave:give given:give paid:pay",
    "sent:send bought:buy sold:sell lost:lose came:come saw:see seen:see knew:know known:know found:find told:tell",
    "said:say kept:keep left:leave ate:eat eaten:eat drank:drink wrote:write written:write ran:run began:begin",
    "begun:begin broke:break broken:break chose:choose chosen:choose grew:grow rose:rise risen:rise fell:fall",
    "won:win built:build lent:lend spent:spend taught:teach thought:think children:child people:person men:man",
    "women:woman feet:foot fewer:few",
];

/// Whether one of these lines of words has this word.
pub(super) fn in_lines(lines: &[&str], word: &str) -> bool {
    lines.iter().any(|line| line.split(' ').any(|own| own == word))
}

/// What stands behind this word and a colon in one of these lines.
pub(super) fn value_in_lines<'l>(lines: &[&'l str], word: &str) -> Option<&'l str> {
    let pairs = lines.iter().flat_map(|line| line.split(' ')).filter_map(|pair| pair.split_once(':'));
    pairs.filter(|(own, _)| *own == word).map(|(_, value)| value).next()
}

/// Divides a piece without spaces into words and numbers.
pub(super) fn split(piece: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    for part in piece.split(|letter: char| {
        matches!(letter, '/' | '\\' | '(' | ')' | '[' | ']' | '"' | '|' | ';' | '!' | '?')
    }) {
        split_part(part, &mut tokens);
    }
    tokens
}

fn split_part(part: &str, tokens: &mut Vec<Token>) {
    if part.chars().any(is_ideographic) {
        return split_ideographs(part, tokens);
    }
    if let Some(found) = numbers::read(part) {
        tokens.extend(found);
        return;
    }
    // `COVID-19` and `B2B` are one word; `non-refundable` is two.
    if part.bytes().any(|byte| byte.is_ascii_digit()) && part.chars().any(char::is_alphabetic) {
        let joined: String = part.chars().filter(|letter| letter.is_alphanumeric()).collect();
        tokens.push(word(&joined));
        return;
    }
    for word_part in part.split(|letter: char| !letter.is_alphanumeric() && letter != '\'') {
        let word_part = word_part.trim_matches('\'');
        // `l'abonnement`, `qu'il`, `n'est`; but `can't`, `I'm`.
        match word_part.split_once('\'') {
            Some((short, rest)) if is_elided(short) => tokens.extend([word(short), word(rest)]),
            _ if word_part.is_empty() => {}
            _ => tokens.push(word(word_part)),
        }
    }
}

fn is_elided(short: &str) -> bool {
    let short = short.to_lowercase();
    matches!(&*short, "l" | "d" | "n" | "j" | "qu" | "s" | "c" | "m" | "t" | "dell" | "all" | "un" | "nell")
}

/// Each sign is a word, since no space says where words end.
fn split_ideographs(part: &str, tokens: &mut Vec<Token>) {
    let mut rest = part;
    while let Some(first) = rest.chars().next() {
        let is_alone = is_ideographic(first);
        let end = rest.find(is_ideographic).filter(|end| *end > 0).unwrap_or(rest.len());
        let end = if is_alone { first.len_utf8() } else { end };
        let (piece, after) = rest.split_at(end);
        if is_alone {
            tokens.push(word(piece));
        } else {
            split_part(piece, tokens);
        }
        rest = after;
    }
}

pub(super) const fn is_ideographic(letter: char) -> bool {
    matches!(letter, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}')
}

pub(super) fn word(raw: &str) -> Token {
    let lower = raw.to_lowercase();
    let stem = stem(&lower);
    Token { raw: raw.to_owned(), lower, stem, ..Token::default() }
}

/// Whether a word says something by itself.
pub(super) fn is_content(token: &Token) -> bool {
    token.is_number || !in_lines(SMALL, &token.lower)
}

/// The word without the endings of English words that do not change what it is about. Two words with one stem may still be
/// different words: a stem is only compared, never shown.
pub(super) fn stem(lower: &str) -> String {
    let lower = lower.strip_suffix("'s").or_else(|| lower.strip_suffix("s'")).unwrap_or(lower);
    if let Some(base) = value_in_lines(IRREGULAR, lower) {
        return base.to_owned();
    }
    let mut word = lower.to_owned();
    if !lower.is_ascii() || lower.len() < 4 {
        return word;
    }
    if let Some(base) = lower.strip_suffix("ies") {
        word = format!("{base}y");
    } else if ["ches", "shes", "sses", "xes", "zes"].iter().any(|ending| lower.ends_with(ending)) {
        word.truncate(lower.len() - 2);
    } else if lower.ends_with('s') && !["ss", "us", "is"].iter().any(|ending| lower.ends_with(ending)) {
        word.truncate(lower.len() - 1);
    }
    for ending in ["ing", "ed"] {
        let base = word.strip_suffix(ending).filter(|base| has_vowel(base) && base.len() >= 3);
        if let Some(base) = base {
            word = undoubled(base).to_owned();
            break;
        }
    }
    if let Some(base) = word.strip_suffix("ied").or_else(|| word.strip_suffix('i')) {
        word = format!("{base}y");
    }
    match word.strip_suffix('e') {
        Some(base) if base.len() >= 3 => base.to_owned(),
        _ => word,
    }
}

fn has_vowel(text: &str) -> bool {
    text.contains(['a', 'e', 'i', 'o', 'u', 'y'])
}

/// `stopp` without its second `p`.
fn undoubled(base: &str) -> &str {
    match base.as_bytes() {
        [.., a, b] if a == b && !matches!(b, b'l' | b's' | b'z' | b'e' | b'o') => &base[..base.len() - 1],
        _ => base,
    }
}

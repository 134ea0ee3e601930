//! Negations: which words a text denies. A text that denies a word, and one that has the same word and does not, differ.

use super::{
    reading::{Reading, Token},
    words::{in_lines, is_content, stem},
};

/// What denies the word behind it, in English and other languages. Words with other meanings are left out.
const NEGATORS: &[&str] = &[
    "not no never without cannot neither nor none nobody nothing nowhere except unless excluding non minus",
    "lacking avoid avoiding w/o ain't aint cant wont dont isnt doesnt didnt havent hasnt hadnt arent wasnt",
    "werent couldnt shouldnt wouldnt mustnt nicht kein keine keinen keinem keiner keines nie niemals ohne",
    "niet geen nooit zonder ne n jamais sans aucun aucune nunca jamás tampoco ningún ninguna ninguno sin não",
    "nao sem nenhum nenhuma senza nessun nessuna nessuno mai inte ikke ikkje aldrig aldri utan uden uten",
    "ingen inget inga nigdy bez не нет никогда без ні немає ніколи değil 不 没 無 无 未 别 莫 勿",
];

/// What may stand between a negation and what it denies.
const BETWEEN: &[&str] = &[
    "longer one yet really always even still be been get way want need able seem going sure all every each",
    "more much many mehr plus più más mais meer already necessarily",
];

/// Beginnings that make the opposite of a word.
const PREFIXES: [&str; 7] = ["un", "dis", "non", "in", "im", "il", "ir"];

/// Words that only look as if they had one of these beginnings.
const NO_PREFIX: &[&str] = &[
    "under until union unique unit unite united universe university uncle understand unless discount discover",
    "display district discuss discard disease dispute distance dispatch dismiss disc dispense distress",
    "dispose disposable income incoming inform information input inside instance invoice insure insurance",
    "insured instant indeed into invest investor involve intend intent intake intern interest increase",
    "include index industry inquiry inspire invent inventory infant install instruct import impress improve",
    "important image impact imagine impose implant ill irish insight instead intense inches inch indoor",
    "inbound inline inning inner intel invite infer infrared internet international internal interview",
    "indicate individual influence initial injury inject insert inspect imply imports immediate",
];

/// Stems of what may be missing, as in `sugar-free`.
const FREE: &[&str] =
    &["sugar gluten dairy fat alcohol lactos caffein nut meat smok egg soy salt oil ad pain"];

/// Stands for a negation in a language in which it is a part of the verb. All texts in these scripts have the word.
const BY_ENDING: &str = "\u{0}negative";

/// The stems of the words that a text denies.
pub(super) fn find(reading: &Reading) -> Vec<String> {
    let mut found = Vec::new();
    let tokens = &reading.tokens;
    let is_portuguese = tokens.iter().any(|token| {
        matches!(
            &*token.lower,
            "não" | "você" | "uma" | "um" | "meu" | "minha" | "é" | "está" | "são" | "quando" | "onde"
        )
    });
    for (at, token) in tokens.iter().enumerate() {
        if let Some(base) = unprefixed(&token.lower) {
            found.push(base);
        }
        if token.lower == "free" && at > 0 && in_lines(FREE, &tokens[at - 1].stem) {
            found.push(tokens[at - 1].stem.clone());
        }
        // `pas` is behind its verb.
        if token.lower == "pas" {
            found.extend(
                reading
                    .clause_before(at)
                    .find(|token| is_content(token) && !is_negator(token))
                    .map(|token| token.stem.clone()),
            );
        }
        let is_no = token.lower == "no";
        let is_no_number =
            is_no && tokens.get(at + 1).is_some_and(|next| next.is_number && token.raw == "No");
        let is_other_word = is_no_number || (is_no && is_portuguese);
        if is_negator(token) && !is_other_word && !is_idle(reading, at) {
            found.extend(denied(reading, at));
        }
    }
    if is_denied_by_ending(reading) {
        found.push(BY_ENDING.to_owned());
    }
    found
}

fn is_negator(token: &Token) -> bool {
    token.lower.ends_with("n't") || in_lines(NEGATORS, &token.lower)
}

/// Whether the negation at `at` denies nothing: `whether or not`, `not only`.
fn is_idle(reading: &Reading, at: usize) -> bool {
    let next = reading.clause_from(at + 1).next().map(|token| &*token.lower);
    let before = reading.clause_before(at).next().map(|token| &*token.lower);
    let ends = next.is_none();
    (reading.tokens[at].lower == "not" && next == Some("only"))
        || (before == Some("or") && (ends || reading.has_before(at, 4, &["whether", "if"])))
        || (ends && matches!(before, Some("if" | "why")))
}

/// The first word behind the negation that says something; without one, the last such word before it.
fn denied(reading: &Reading, at: usize) -> Option<String> {
    let says = |token: &&Token| is_content(token) && !is_negator(token);
    let behind = || reading.clause_from(at + 1).filter(says);
    let first = behind().find(|token| !in_lines(BETWEEN, &token.lower)).or_else(|| behind().next());
    let found = first.or_else(|| reading.clause_before(at).find(says));
    found.map(|token| token.stem.clone())
}

/// `lock` for `unlock`, `harm` for `harmless`.
pub(super) fn unprefixed(lower: &str) -> Option<String> {
    if !lower.is_ascii() || in_lines(NO_PREFIX, lower) || in_lines(NO_PREFIX, &stem(lower)) {
        return None;
    }
    if let Some(base) = lower.strip_suffix("less").filter(|base| base.len() >= 3 && *base != "regard") {
        return Some(stem(base));
    }
    let base = PREFIXES.iter().find_map(|prefix| lower.strip_prefix(prefix))?;
    (base.len() >= 4 || matches!(lower, "undo" | "unfit" | "unpin" | "unban" | "unzip")).then(|| stem(base))
}

/// Japanese and Korean deny with the ending of the verb.
fn is_denied_by_ending(reading: &Reading) -> bool {
    let text: String = reading.tokens.iter().map(|token| &*token.raw).collect();
    ["ません", "ない", "ずに", "なかっ", "지 않", "지않", "없", "못"]
        .iter()
        .any(|ending| text.contains(ending))
}

/// A word that a text with such endings has in any case.
pub(super) fn word_of_script(reading: &Reading) -> Option<&'static str> {
    let has = |letter: char| matches!(letter, '\u{3040}'..='\u{30ff}' | '\u{ac00}'..='\u{d7af}');
    reading.tokens.iter().any(|token| token.raw.contains(has)).then_some(BY_ENDING)
}

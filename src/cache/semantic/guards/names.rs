//! Names: words in capitals that do not begin a sentence, acronyms, words in mixed case, and a list of what people write in
//! lower case too.

use super::{
    reading::{Reading, Token},
    words::{in_lines, is_content},
};

/// Languages, countries, and what software is written in and runs on. None of them is another word in English.
const KNOWN: &[&str] = &[
    "english french german spanish italian portuguese dutch swedish norwegian danish finnish russian",
    "ukrainian polish czech greek arabic hebrew hindi japanese chinese korean mandarin cantonese vietnamese",
    "thai indonesian latin hungarian romanian bulgarian american british canadian mexican brazilian",
    "australian indian turkish irish scottish swiss austrian france germany spain italy portugal netherlands",
    "belgium sweden norway denmark finland russia ukraine poland greece egypt israel india japan korea",
    "vietnam thailand indonesia brazil mexico canada argentina chile australia switzerland austria ireland",
    "scotland england europe africa asia america iran iraq kenya nigeria usa uk london paris berlin rome",
    "madrid tokyo beijing moscow chicago boston seattle toronto sydney melbourne dubai mumbai delhi houston",
    "dallas denver miami atlanta vienna zurich geneva prague dublin lisbon mars venus jupiter saturn neptune",
    "uranus python java javascript typescript ruby php golang kotlin perl scala haskell clojure elixir",
    "fortran cobol matlab mysql postgres postgresql sqlite mongodb redis cassandra mariadb linux macos ubuntu",
    "debian fedora android ios docker kubernetes podman aws azure gcp django flask laravel angular vue svelte",
    "numpy pytorch tensorflow github gitlab bitbucket firefox chrome safari html css sql json xml yaml csv",
    "pdf http https tcp udp ipv4 ipv6 nginx kafka rabbitmq terraform ansible jenkins npm pip maven gradle",
    "excel powerpoint outlook gmail whatsapp instagram facebook twitter linkedin youtube netflix spotify",
    "amazon ebay paypal visa mastercard iphone ipad ibuprofen paracetamol aspirin insulin sodium potassium",
    "calcium magnesium",
];

/// Capitals that are no names.
const NO_NAMES: &[&str] =
    &["i i'm i've i'd i'll ok hi hello dear thanks please yes no hey im ive asap faq fyi btw"];

/// German words before which no article is missing if a name follows.
const BEFORE_PLACES: [&str; 8] = ["in", "nach", "aus", "von", "bei", "ab", "über", "nahe"];

/// How a text writes capitals.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    /// As most languages do.
    Usual,
    /// Every noun begins with one.
    German,
    /// None, or all letters, or the first of almost every word: they say nothing.
    Uniform,
}

/// The stems of the names in a text, in lower case.
pub(super) fn find(reading: &Reading, is_used: impl Fn(usize) -> bool) -> Vec<&str> {
    let style = style(reading);
    let tokens = reading.tokens.iter().enumerate().filter(|(at, token)| !token.is_number && !is_used(*at));
    tokens.filter(|(at, token)| is_name(reading, *at, token, style)).map(|(_, token)| &*token.stem).collect()
}

fn is_name(reading: &Reading, at: usize, token: &Token, style: Style) -> bool {
    if in_lines(KNOWN, &token.lower) || has_figures(token) {
        return true;
    }
    if style == Style::Uniform || in_lines(NO_NAMES, &token.lower) {
        return style == Style::Uniform && is_mixed(&token.raw);
    }
    if is_mixed(&token.raw) || (is_acronym(&token.raw) && token.raw.chars().count() > 1) {
        return true;
    }
    let is_capital = token.raw.starts_with(char::is_uppercase) && !token.begins_sentence;
    let is_letter = token.raw.chars().count() == 1;
    match style {
        Style::German => is_capital && at > 0 && BEFORE_PLACES.contains(&&*reading.tokens[at - 1].lower),
        _ => is_capital && (is_letter || is_content(token)),
    }
}

fn style(reading: &Reading) -> Style {
    let words = || reading.tokens.iter().filter(|token| !token.is_number && token.raw.chars().count() > 1);
    let capitals = words().filter(|token| token.raw.starts_with(char::is_uppercase)).count();
    let count = words().count();
    let has_small = words().any(|token| token.raw.chars().all(char::is_lowercase));
    let content = words().filter(|token| is_content(token)).count();
    if !has_small && count > 2 || (content > 3 && count >= 5 && capitals * 10 > count * 8) {
        return Style::Uniform;
    }
    let german = [
        "der", "die", "das", "ich", "nicht", "ist", "ein", "eine", "wie", "und", "mein", "meine", "auf",
        "kann", "den", "für", "wird", "gibt",
    ];
    let in_german = words().filter(|token| german.contains(&&*token.lower)).count();
    if in_german * 6 >= count && in_german > 0 { Style::German } else { Style::Usual }
}

/// `iPhone`, `getUser`, `McCoy`.
fn is_mixed(raw: &str) -> bool {
    let mut letters = raw.chars().zip(raw.chars().skip(1));
    !raw.contains('\'') && letters.any(|(one, next)| one.is_lowercase() && next.is_uppercase())
}

/// `ATM`, `ATMs`.
fn is_acronym(raw: &str) -> bool {
    let base = raw.strip_suffix("s").unwrap_or(raw);
    base.chars().count() > 1 && base.chars().all(char::is_uppercase)
}

/// `B2B`, `MP3`, `COVID19`.
fn has_figures(token: &Token) -> bool {
    token.raw.chars().any(|letter| letter.is_ascii_digit()) && token.raw.chars().any(char::is_alphabetic)
}

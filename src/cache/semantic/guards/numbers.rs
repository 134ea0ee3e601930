//! Numbers: in digits and in words, so that `3`, `3.0` and `three` are one.

use super::{
    reading::Token,
    words::{value_in_lines, word},
};

/// Numbers in words, in the languages that guards know. Words that mean something else as well are left out, as is `one`.
const WORDS: &[&str] = &[
    "zero:0 two:2 three:3 four:4 five:5 six:6 seven:7 eight:8 nine:9 ten:10 eleven:11 twelve:12 thirteen:13",
    "fourteen:14 fifteen:15 sixteen:16 seventeen:17 eighteen:18 nineteen:19 twenty:20 thirty:30 forty:40 fifty:50",
    "sixty:60 seventy:70 eighty:80 ninety:90 dozen:12 zwei:2 drei:3 vier:4 fünf:5 sechs:6 sieben:7 acht:8 neun:9",
    "zehn:10 elf:11 zwölf:12 zwanzig:20 dreißig:30 vierzig:40 fünfzig:50 hundert:100 deux:2 trois:3 quatre:4 cinq:5",
    "sept:7 huit:8 neuf:9 dix:10 onze:11 douze:12 quinze:15 vingt:20 trente:30 quarante:40 cinquante:50 cent:100",
    "cuatro:4 cinco:5 seis:6 siete:7 ocho:8 nueve:9 diez:10 doce:12 quince:15 veinte:20 treinta:30 cuarenta:40",
    "cincuenta:50 cien:100 tres:3 dois:2 duas:2 três:3 quatro:4 sete:7 oito:8 nove:9 dez:10 doze:12 vinte:20",
    "trinta:30 quarenta:40 cinquenta:50 cem:100 due:2 tre:3 quattro:4 cinque:5 sette:7 otto:8 dieci:10 dodici:12",
    "venti:20 trenta:30 quaranta:40 cinquanta:50 cento:100 twee:2 drie:3 vijf:5 zes:6 zeven:7 negen:9 tien:10",
    "twaalf:12 twintig:20",
];

/// Words that are numbers in one language, and something else in another one.
const AMBIGUOUS: [&str; 5] = ["due", "cent", "sept", "quince", "otto"];

const SCALES: &[(&str, f64)] = &[
    ("hundred", 1e2),
    ("thousand", 1e3),
    ("million", 1e6),
    ("billion", 1e9),
    ("trillion", 1e12),
    ("k", 1e3),
    ("mn", 1e6),
    ("bn", 1e9),
    ("tausend", 1e3),
    ("mille", 1e3),
    ("mil", 1e3),
    ("millionen", 1e6),
    ("millions", 1e6),
    ("hundreds", 1e2),
    ("thousands", 1e3),
    ("billions", 1e9),
    ("lakh", 1e5),
    ("crore", 1e7),
];

const ORDINALS: &[&str] = &[
    "second:2 third:3 fourth:4 fifth:5 sixth:6 seventh:7 eighth:8 ninth:9 tenth:10 eleventh:11 twelfth:12 zweite:2",
    "zweiten:2 dritte:3 dritten:3 deuxième:2 troisième:3 segundo:2 tercero:3 terceiro:3",
];

/// Words that multiply or divide. They are numbers of their own kind.
const FACTORS: &[&str] = &[
    "half:1/2 halves:1/2 double:2x twice:2x doubling:2x doubled:2x triple:3x thrice:3x tripling:3x tripled:3x",
    "quadruple:4x quarter:1/4 quarters:1/4 thirds:1/3 single:1x solo:1x",
];

/// Signs before or behind a number that are units.
const SIGNS: [(char, &str); 9] = [
    ('$', "dollar"),
    ('€', "euro"),
    ('£', "pound"),
    ('¥', "yen"),
    ('₹', "rupee"),
    ('%', "percent"),
    ('°', "degree"),
    ('₽', "rouble"),
    ('₿', "bitcoin"),
];

/// The number in a piece that begins with one, and what is written behind it; `None` if it is something else.
pub(super) fn read(part: &str) -> Option<Vec<Token>> {
    let sign = |letter: char| SIGNS.iter().find(|(own, _)| *own == letter).map(|(_, unit)| *unit);
    let mut rest = part;
    let mut units = Vec::new();
    let negative = rest
        .strip_prefix('-')
        .filter(|rest| rest.starts_with(|first: char| first.is_ascii_digit() || sign(first).is_some()));
    rest = negative.unwrap_or(rest).trim_start_matches(['+', '~', '#']);
    if let Some(unit) = rest.chars().next().and_then(sign) {
        units.push(unit);
        rest = &rest[rest.chars().next().map_or(0, char::len_utf8)..];
    }
    if !rest.starts_with(|first: char| first.is_numeric()) {
        return None;
    }
    let digits = rest
        .find(|letter: char| !(letter.is_numeric() || matches!(letter, '.' | ',' | ':' | '-')))
        .unwrap_or(rest.len());
    let (figures, suffix) = rest.split_at(digits);
    // `10-day` and `7-zip` have words behind the dash.
    let (figures, suffix) = match figures.strip_suffix('-') {
        Some(figures) => (figures, suffix),
        None => (figures, suffix),
    };
    let figures = figures.trim_end_matches(['.', ',', ':']);
    let mut tokens = Vec::new();
    for (place, piece) in pieces(figures).into_iter().enumerate() {
        let value = plain(piece);
        let value = if place == 0 && negative.is_some() { format!("-{value}") } else { value };
        tokens.push(number(&value));
    }
    read_suffix(suffix, &mut tokens, &mut units)?;
    tokens.extend(units.into_iter().map(word));
    Some(tokens)
}

/// A range is two numbers; a date, a time or a version is one.
fn pieces(figures: &str) -> Vec<&str> {
    let is_range = figures.matches('-').count() == 1;
    if is_range { figures.split('-').filter(|piece| !piece.is_empty()).collect() } else { vec![figures] }
}

/// Reads what follows the digits: an ordinal's ending, a scale, a unit. `None` if it makes the whole another word.
fn read_suffix(suffix: &str, tokens: &mut Vec<Token>, units: &mut Vec<&'static str>) -> Option<()> {
    let lower = suffix.to_lowercase();
    let last = tokens.last_mut()?;
    match &*lower {
        "" => {}
        "st" | "nd" | "rd" | "th" | "º" | "ª" => *last = ordinal(&last.lower.clone()),
        "k" | "bn" | "mn" => scale(last, &lower),
        "m" if suffix == "M" => scale(last, "million"),
        "b" if suffix == "B" => scale(last, "billion"),
        "x" => last.lower.push('x'),
        _ if let Some((_, unit)) =
            SIGNS.iter().find(|(sign, _)| lower.trim_start_matches('-') == sign.to_string()) =>
        {
            units.push(unit)
        }
        _ if lower
            .chars()
            .all(|letter| letter.is_alphabetic() || matches!(letter, '°' | '²' | '³' | '/'))
            && is_behind_number(&lower) =>
        {
            tokens.push(word(lower.trim_start_matches('°')));
        }
        _ if suffix.starts_with(char::is_alphabetic)
            && suffix.len() > 4
            && suffix.chars().all(|letter| letter.is_alphabetic() || letter == '-') =>
        {
            tokens.extend(suffix.split('-').map(word));
        }
        _ => return None,
    }
    Some(())
}

/// Whether this is written behind a number without a space, as in `5km` and `3pm`.
fn is_behind_number(lower: &str) -> bool {
    matches!(
        lower.trim_start_matches('°'),
        "am" | "pm"
            | "h"
            | "min"
            | "s"
            | "ms"
            | "d"
            | "c"
            | "f"
            | "hrs"
            | "mins"
            | "secs"
            | "yr"
            | "y"
            | "wk"
    ) || super::units::is_unit(lower.trim_start_matches('°'))
}

fn number(value: &str) -> Token {
    Token {
        raw: value.to_owned(),
        lower: value.to_owned(),
        stem: value.to_owned(),
        is_number: true,
        ..Token::default()
    }
}

/// The first is what nobody counts.
fn ordinal(value: &str) -> Token {
    if value == "1" { word("first") } else { number(&format!("#{value}")) }
}

fn scale(token: &mut Token, scale: &str) {
    let factor = SCALES.iter().find(|(own, _)| *own == scale).map_or(1.0, |(_, factor)| *factor);
    if let Ok(value) = token.lower.parse::<f64>() {
        token.lower = in_digits(value * factor);
        token.stem.clone_from(&token.lower);
    }
}

fn in_digits(value: f64) -> String {
    format!("{}", (value * 1e6).round() / 1e6)
}

/// A number in digits without the signs between thousands, and without zeros that say nothing. Where three digits follow the
/// only sign, this may be either sign: such a number is left as it is.
fn plain(figures: &str) -> String {
    if figures.contains([':', '-']) || !figures.is_ascii() {
        return figures.to_owned();
    }
    let commas = figures.matches(',').count();
    let points = figures.matches('.').count();
    let groups = |sign: char| {
        figures
            .split(sign)
            .skip(1)
            .all(|group| group.split(['.', ',']).next().is_some_and(|group| group.len() == 3))
    };
    let text = match (commas, points) {
        (1.., 0) if groups(',') => figures.replace(',', ""),
        (1, 0) => figures.replace(',', "."),
        (1.., 1) if figures.rfind(',') < figures.find('.') => figures.replace(',', ""),
        (1, 1..) if figures.rfind('.') < figures.find(',') => figures.replace('.', "").replace(',', "."),
        (0, 2..) if groups('.') && figures.split('.').next().is_some_and(|first| first.len() <= 3) => {
            figures.replace('.', "")
        }
        (0, 0) => figures.to_owned(),
        (0, 1) if !groups('.') => figures.to_owned(),
        _ => return figures.to_owned(),
    };
    // More digits than a double keeps are compared as they are.
    match text.parse::<f64>() {
        Ok(value) if text.len() <= 15 => in_digits(value),
        _ => text,
    }
}

/// Replaces numbers in words by numbers.
pub(super) fn join(tokens: &mut Vec<Token>) {
    let mut joined: Vec<Token> = Vec::with_capacity(tokens.len());
    let all = std::mem::take(tokens);
    // A word with a letter that English does not have.
    let is_foreign = |token: &Token| !token.lower.is_ascii() && value_in_lines(WORDS, &token.lower).is_some();
    let has_other_languages = all.iter().any(is_foreign);
    let mut at = 0;
    while at < all.len() {
        let (found, used) = number_at(&all[at..], joined.last(), has_other_languages);
        match found {
            Some(found) => {
                let last = &all[at + used - 1];
                joined.push(Token {
                    begins_sentence: all[at].begins_sentence,
                    ends_clause: last.ends_clause,
                    ..found
                });
            }
            None => joined.push(all[at].clone()),
        }
        at += used.max(1);
    }
    *tokens = joined;
}

/// The number that `tokens` begin with, and how many of them it takes.
fn number_at(tokens: &[Token], before: Option<&Token>, other: bool) -> (Option<Token>, usize) {
    let first = &tokens[0];
    if let ("minus" | "negative", Some(next)) = (&*first.lower, tokens.get(1))
        && !before.is_some_and(|before| before.is_number)
        && let (Some(value), used) = number_or_word(next, &tokens[1..], other)
    {
        return (Some(number(&format!("-{value}"))), used + 1);
    }
    if let Some(factor) = value_in_lines(FACTORS, &first.lower) {
        return (Some(number(factor)), 1);
    }
    if let Some(value) = value_in_lines(ORDINALS, &first.lower) {
        let is_unit = first.lower == "second"
            && before.is_some_and(|before| {
                before.is_number || matches!(&*before.lower, "per" | "a" | "each" | "every" | "one" | "split")
            });
        return if is_unit { (None, 1) } else { (Some(ordinal(value)), 1) };
    }
    let (mut total, mut current, mut used) = (0.0, None::<f64>, 0);
    let mut in_words = false;
    for token in tokens {
        let small = small_number(token, other, current.is_some());
        let is_scale =
            SCALES.iter().find(|(own, _)| *own == token.lower && (token.lower != "k" || current.is_some()));
        if used > 0 && tokens[used - 1].ends_clause {
            break;
        }
        if let (Some(small), true) = (small, used == 0 || in_words) {
            // `twenty one`, but `two three` are two numbers.
            match current {
                Some(so_far) if so_far % 10.0 != 0.0 || small >= 10.0 && so_far < 100.0 || so_far == 0.0 => {
                    break;
                }
                so_far => current = Some(so_far.unwrap_or(0.0) + small),
            }
            in_words = !token.is_number;
        } else if let (Some((name, factor)), true) =
            (is_scale, current.is_some() || used == 0 && is_whole_scale(token, before))
        {
            let value = current.unwrap_or(1.0) * factor;
            if *name == "hundred" {
                current = Some(value);
            } else {
                total += value;
                current = Some(0.0);
            }
            in_words = true;
        } else if token.lower == "and"
            && in_words
            && tokens.get(used + 1).is_some_and(|next| small_number(next, other, true).is_some())
            && (total > 0.0 || current.is_some_and(|so_far| so_far >= 100.0))
        {
            // `two hundred and five`
        } else {
            break;
        }
        used += 1;
    }
    match current {
        Some(_) if used == 1 && tokens[0].is_number => (None, 1),
        Some(current) => (Some(number(&in_digits(total + current))), used),
        None => (None, 1),
    }
}

/// The number that `tokens` begin with, in digits or in words.
fn number_or_word(first: &Token, tokens: &[Token], other: bool) -> (Option<String>, usize) {
    if first.is_number {
        return (Some(first.lower.clone()), 1);
    }
    let (found, used) = number_at(tokens, None, other);
    (found.map(|found| found.lower), used)
}

/// `hundred` and `thousand` by themselves, as in `a hundred`; but no `hundreds of`.
fn is_whole_scale(token: &Token, before: Option<&Token>) -> bool {
    before.is_some_and(|before| matches!(&*before.lower, "a" | "one")) && !token.lower.ends_with('s')
}

fn small_number(token: &Token, other: bool, goes_on: bool) -> Option<f64> {
    if token.is_number {
        return if goes_on {
            None
        } else {
            token
                .lower
                .parse()
                .ok()
                .filter(|_| token.lower.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'))
        };
    }
    if token.lower == "one" && goes_on {
        return Some(1.0);
    }
    let is_sure = other || !AMBIGUOUS.contains(&&*token.lower);
    value_in_lines(WORDS, &token.lower).filter(|_| is_sure)?.parse().ok()
}

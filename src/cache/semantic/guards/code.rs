//! Code: what is between backticks, identifiers, paths, flags and operators.

/// The arguments of a call have no more letters.
const CALL_LETTERS: usize = 80;

/// Takes what is between backticks out of `text`.
pub(super) fn cut_spans(text: &str, found: &mut Vec<String>) -> String {
    let mut rest = text;
    let mut out = String::with_capacity(text.len());
    while let Some(start) = rest.find('`') {
        let fence = rest[start..].len() - rest[start..].trim_start_matches('`').len();
        let inner = &rest[start + fence..];
        let Some(end) = inner.find(&rest[start..start + fence]) else { break };
        out.push_str(&rest[..start]);
        out.push(' ');
        found.push(inner[..end].split_whitespace().collect::<Vec<_>>().join(" "));
        rest = inner[end..].trim_start_matches('`');
    }
    out.push_str(rest);
    cut_calls(&out, found)
}

/// Takes calls with spaces in them, as in `add(a, b)`, out of `text`.
fn cut_calls(text: &str, found: &mut Vec<String>) -> String {
    let mut rest = text;
    let mut out = String::with_capacity(text.len());
    while let Some(open) = rest.find('(') {
        let is_part = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '.' | ':');
        let name = rest[..open].len() - rest[..open].trim_end_matches(is_part).len();
        let inner = &rest[open + 1..];
        let near = inner.char_indices().take(if name > 0 { CALL_LETTERS } else { 0 });
        let close = near.into_iter().find(|(_, letter)| *letter == ')').map(|(close, _)| close);
        let close = close.filter(|close| inner[..*close].contains(','));
        let end = open + 1 + close.map_or(0, |close| close + 1);
        out.push_str(&rest[..open - if close.is_some() { name } else { 0 }]);
        match close {
            Some(_) => found.push(rest[open - name..end].split_whitespace().collect()),
            None => out.push('('),
        }
        rest = &rest[end..];
    }
    out.push_str(rest);
    out
}

/// The code in a piece without spaces: `core` is `chunk` without the punctuation around it.
pub(super) fn read(chunk: &str, core: &str) -> Option<String> {
    let plain = chunk.trim_end_matches(['.', ',', ';', ':', '?', '"', '\'']).trim_start_matches(['"', '\'']);
    let has_letter = core.chars().any(char::is_alphabetic);
    let inner = core.trim_matches('_');
    let is_call = plain.ends_with("()")
        || plain.contains("](")
        || (plain.contains('(') && plain.ends_with(')') && !plain.starts_with('('));
    let is_code = (has_letter
        && ((inner.contains('_'))
            || is_call
            || core.contains("::")
            || core.contains("->")
            || core.contains("=>")
            || plain.starts_with("--")
            || is_flag(plain)
            || is_path(plain)
            || is_dotted(core)
            || plain.starts_with(['$', '@', '#']) && plain.len() > 1
            || is_language(plain)))
        || is_operator(plain)
        || (has_letter
            && core.contains(['=', '<', '>', '&', '^', '+', '%', '|', '{', '}'])
            && core.len() > 1);
    is_code.then(|| plain.to_owned())
}

/// `-rf`, but no `-5`.
fn is_flag(text: &str) -> bool {
    text.strip_prefix('-').is_some_and(|rest| {
        rest.len() <= 12 && rest.chars().next().is_some_and(|first| first.is_ascii_alphabetic())
    })
}

/// `/etc/hosts`, `~/x`, `./x`, `C:\x`, `a\b`, and `a/b/c`; but no `and/or`.
fn is_path(text: &str) -> bool {
    let begins =
        ["/", "~/", "./", "../"].iter().any(|start| text.starts_with(start) && text.len() > start.len());
    begins || text.contains('\\') || text.matches('/').count() >= 2
}

/// `main.rs`, `os.path`, `.gitignore`: letters around a point, unless these are initials.
fn is_dotted(core: &str) -> bool {
    let parts: Vec<_> = core.split('.').collect();
    let is_name = |part: &&str| part.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '-');
    let initials = parts.iter().all(|part| part.len() <= 1);
    // A missing space behind a full stop is no code.
    let is_sentence = parts.len() == 2 && parts[1].chars().next().is_some_and(char::is_uppercase);
    parts.len() >= 2
        && !initials
        && !is_sentence
        && parts.iter().all(is_name)
        && parts.iter().any(|part| part.chars().any(|letter| letter.is_ascii_alphabetic()))
        && !parts.last().is_some_and(|last| last.is_empty())
        && !matches!(core.to_lowercase().as_str(), "e.g" | "i.e" | "a.m" | "p.m" | "u.s" | "u.k" | "etc")
        && !core.starts_with(|first: char| first.is_ascii_digit())
}

/// `C++`, `C#`, `F#`.
fn is_language(text: &str) -> bool {
    text.len() <= 4
        && (text.ends_with('+') || text.ends_with('#'))
        && text.starts_with(|first: char| first.is_ascii_alphabetic())
}

/// `==`, `<=`, `&&`; but no dash, and no `&` or `/` between words.
fn is_operator(text: &str) -> bool {
    let is_sign = |letter: char| {
        matches!(
            letter,
            '+' | '*' | '=' | '<' | '>' | '%' | '^' | '|' | '~' | '!' | '&' | '/' | '-' | '?' | ':'
        )
    };
    let is_double = text.chars().count() >= 2
        && !text.chars().all(|letter| matches!(letter, '-' | '!' | '?' | '*' | ':' | '='))
        || text == "=="
        || text == "!="
        || text == "--";
    !text.is_empty()
        && text.chars().all(is_sign)
        && (is_double || matches!(text, "+" | "*" | "=" | "<" | ">" | "^" | "%"))
}

/// Whether a minus or a slash between these pieces is an operator, and no dash.
pub(super) fn is_between_operands(before: Option<&str>, sign: &str, after: Option<&str>) -> bool {
    let is_operand = |piece: &str| {
        let piece = piece.trim_matches(|letter: char| letter.is_ascii_punctuation());
        piece.chars().count() == 1 || piece.parse::<f64>().is_ok()
    };
    matches!(sign, "-" | "/" | "&" | "%") && before.is_some_and(is_operand) && after.is_some_and(is_operand)
}

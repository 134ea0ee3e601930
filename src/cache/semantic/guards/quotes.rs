//! Quoted texts.

/// A quotation has no more letters; otherwise, a mark is alone.
const LETTERS: usize = 400;

/// The marks that begin a quotation, and those that end it.
const MARKS: [(char, char); 5] = [('"', '"'), ('«', '»'), ('»', '«'), ('「', '」'), ('『', '』')];

/// All quotations in `text`, in lower case and with single spaces.
pub(super) fn find(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(|letter| MARKS.iter().any(|(open, _)| *open == letter) || letter == '\'') {
        let open = rest[at..].chars().next().unwrap_or(' ');
        let inner = &rest[at + open.len_utf8()..];
        let end = match open {
            '\'' if begins_word(&rest[..at], inner) => single_end(inner),
            '\'' => None,
            _ => MARKS.iter().find(|(own, _)| *own == open).and_then(|(_, close)| {
                inner.char_indices().take(LETTERS).find(|(_, letter)| letter == close).map(|(end, _)| end)
            }),
        };
        rest = match end {
            Some(end) => {
                let quoted = inner[..end].split_whitespace().collect::<Vec<_>>().join(" ");
                let quoted = quoted.trim_matches(|letter: char| letter.is_ascii_punctuation()).to_lowercase();
                if !quoted.is_empty() {
                    found.push(quoted);
                }
                let after = inner[end..].chars().next().map_or(0, char::len_utf8);
                &inner[end + after..]
            }
            None => inner,
        };
    }
    found
}

/// Whether the apostrophe between these is the mark before a word, and not within one.
fn begins_word(before: &str, after: &str) -> bool {
    !before.ends_with(char::is_alphanumeric) && after.starts_with(char::is_alphanumeric)
}

/// Where an apostrophe ends a word and the quotation.
fn single_end(inner: &str) -> Option<usize> {
    let ends = |(at, _): &(usize, &str)| {
        let after = inner[at + 1..].chars().next();
        !after.is_some_and(char::is_alphanumeric)
    };
    inner.match_indices('\'').take_while(|(at, _)| *at < LETTERS).find(ends).map(|(at, _)| at)
}

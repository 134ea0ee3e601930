//! Glob patterns as Redis has them (`KEYS`, `SCAN MATCH`): `*` is any bytes, `?` any byte, `[a-c]` one of
//! these, `[^a-c]` any other, and `\` takes the next byte literally.
//!
//! Hand-written because a purge must match what Redis matches: the crate globset reads `[^a-c]` and escapes
//! differently.

/// Whether the whole `text` matches. Takes time of at most the product of both lengths.
pub fn matches(pattern: &str, text: &str) -> bool {
    let pattern = pattern.as_bytes();
    let text = text.as_bytes();
    let mut at = 0;
    let mut read = 0;
    // Behind the last `*`, and where what it matches ends: the only place to try again from.
    let mut star: Option<(usize, usize)> = None;
    while read < text.len() {
        if pattern.get(at) == Some(&b'*') {
            at += 1;
            star = Some((at, read));
        } else if let Some(next) = pattern.get(at).and_then(|_| match_one(pattern, at, text[read])) {
            at = next;
            read += 1;
        } else if let Some((behind, taken)) = star {
            (at, read) = (behind, taken + 1);
            star = Some((behind, taken + 1));
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

/// Where the pattern goes on if what it has at `at` matches `byte`.
fn match_one(pattern: &[u8], at: usize, byte: u8) -> Option<usize> {
    match pattern[at] {
        b'?' => Some(at + 1),
        b'[' => match_class(pattern, at + 1, byte),
        b'\\' if at + 1 < pattern.len() => (pattern[at + 1] == byte).then_some(at + 2),
        own => (own == byte).then_some(at + 1),
    }
}

/// Like [`match_one`], for a class whose first byte after `[` is at `at`. A class that is not closed ends
/// with the pattern.
fn match_class(pattern: &[u8], mut at: usize, byte: u8) -> Option<usize> {
    let negated = pattern.get(at) == Some(&b'^');
    at += usize::from(negated);
    let mut found = false;
    while let Some(&first) = pattern.get(at) {
        match (first, pattern.get(at + 1), pattern.get(at + 2)) {
            (b']', ..) => break,
            (b'\\', Some(&escaped), _) => {
                found |= escaped == byte;
                at += 2;
            }
            (from, Some(b'-'), Some(&to)) => {
                found |= (from.min(to)..=from.max(to)).contains(&byte);
                at += 3;
            }
            _ => {
                found |= first == byte;
                at += 1;
            }
        }
    }
    (found != negated).then_some((at + 1).min(pattern.len()))
}

/// The pattern that matches `text` and nothing else.
pub(crate) fn escape(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for c in text.chars() {
        if is_special(c) {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}

/// Whether `pattern` matches only the text that it is.
pub(crate) fn is_literal(pattern: &str) -> bool {
    !pattern.contains(is_special)
}

const fn is_special(c: char) -> bool {
    matches!(c, '*' | '?' | '[' | ']' | '\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn describes_what_redis_would() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("query:*", "query:ab", true),
            ("query:*", "other:ab", false),
            ("*:ab", "query:ab", true),
            ("q*y:*b", "query:aab", true),
            ("q*y:*c", "query:aab", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("[a-c]x", "bx", true),
            ("[c-a]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[^a-c]x", "dx", true),
            ("[ab\\]]x", "]x", true),
            ("[abc", "b", true),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
            ("**a**", "bab", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn no_pattern_takes_long() {
        let pattern = "*a".repeat(500) + "b";
        let text = "a".repeat(5000);
        assert!(!matches(&pattern, &text));
    }

    #[test]
    fn an_escaped_text_describes_itself_alone() {
        assert_eq!(escape("a-b_c.d"), "a-b_c.d");
        assert_eq!(escape("a*[b]"), "a\\*\\[b\\]");
        assert!(matches(&escape("a*[b]?\\"), "a*[b]?\\"));
        assert!(is_literal("query:0f") && !is_literal("query:*"));
    }
}

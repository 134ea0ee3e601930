//! Glob patterns as Redis has them (`KEYS`, `SCAN MATCH`): `*` any bytes, `?` any one, `[a-c]` one of these,
//! `[^a-c]` any other, `\` before a byte that means itself.

/// Whether `text` as a whole is what `pattern` describes. Takes time of at most their lengths multiplied.
pub fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut read) = (0, 0);
    // Behind the last `*`, and what it has taken so far: the only place to come back to.
    let mut star: Option<(usize, usize)> = None;
    while read < text.len() {
        if pattern.get(at) == Some(&b'*') {
            at += 1;
            star = Some((at, read));
        } else if let Some(next) = pattern.get(at).and_then(|_| one(pattern, at, text[read])) {
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

/// Where the pattern goes on after what stands at `at`, where that describes `byte`.
fn one(pattern: &[u8], at: usize, byte: u8) -> Option<usize> {
    match pattern[at] {
        b'?' => Some(at + 1),
        b'[' => class(pattern, at + 1, byte),
        b'\\' if at + 1 < pattern.len() => (pattern[at + 1] == byte).then_some(at + 2),
        own => (own == byte).then_some(at + 1),
    }
}

/// The same for a class, whose first byte after `[` is at `at`. One that is not closed ends with the pattern.
fn class(pattern: &[u8], mut at: usize, byte: u8) -> Option<usize> {
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

/// `text` as a pattern that describes it alone.
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

/// Whether `pattern` describes one text alone, which is then itself.
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
        let (pattern, text) = ("*a".repeat(500) + "b", "a".repeat(5000));
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

//! Parts of texts that do not count: a nonce, a date. A route names them by regular expressions.

use std::str::FromStr;

use regex_lite::Regex;

/// What does not count in a text.
#[derive(Clone, Debug)]
pub struct Mask {
    regex: Regex,
}

impl Mask {
    /// The regular expression, as the route writes it.
    pub(crate) fn as_str(&self) -> &str {
        self.regex.as_str()
    }
}

impl PartialEq for Mask {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Mask {}

impl FromStr for Mask {
    type Err = String;

    /// The error says what is wrong with the expression.
    fn from_str(text: &str) -> Result<Self, String> {
        let regex =
            Regex::new(text).map_err(|error| format!("`{text}` is no regular expression: {error}"))?;
        if regex.is_match("") {
            return Err(format!("`{text}` matches an empty text, and so everywhere; write + in place of *"));
        }
        Ok(Self { regex })
    }
}

/// The parts of `text` between what one of `masks` matches. If nothing does, that is the text itself.
pub(crate) fn parts<'t>(text: &'t str, masks: &[Mask]) -> Vec<&'t str> {
    let mut matches: Vec<_> =
        masks.iter().flat_map(|mask| mask.regex.find_iter(text)).map(|found| found.range()).collect();
    matches.sort_by_key(|range| (range.start, range.end));
    let mut parts = Vec::with_capacity(matches.len() + 1);
    let mut at = 0;
    for range in matches {
        // Matches that touch or overlap are one.
        if parts.is_empty() || range.start > at {
            parts.push(&text[at..range.start]);
        }
        at = at.max(range.end);
    }
    parts.push(&text[at..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masks(texts: &[&str]) -> Vec<Mask> {
        texts.iter().map(|text| text.parse().expect("a mask")).collect()
    }

    #[test]
    fn what_a_mask_matches_is_left_out() {
        for (text, regexes, expected) in [
            ("It is 2026-12-01 now", &[r"\d{4}-\d{2}-\d{2}"][..], &["It is ", " now"][..]),
            ("a1b22c", &[r"\d+"], &["a", "b", "c"]),
            ("12", &[r"\d+"], &["", ""]),
            ("1", &[r"\d", "1"], &["", ""]),
            ("x12y", &["x1", "12", "2y"], &["", ""]),
            ("abc", &["d"], &["abc"]),
            ("abc", &[], &["abc"]),
            ("", &["d"], &[""]),
        ] {
            assert_eq!(parts(text, &masks(regexes)), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_mask_is_explained() {
        for (text, part) in [("(", "is no regular expression"), ("a*", "empty text"), ("", "empty text")] {
            let error = text.parse::<Mask>().expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}

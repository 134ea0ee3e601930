//! What a terminal may be shown, and in which colours. Pure, but for [`shows_colors`].

use std::io::{IsTerminal, stdout};

/// Whether standard output takes colours: it is a terminal, and `NO_COLOR` (no-color.org) is not set.
pub(crate) fn shows_colors() -> bool {
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    stdout().is_terminal() && !no_color
}

/// A text of a client's as a terminal may have it: what is not printable, and the backslash, are escapes.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\'' | '"' => out.push(c),
            _ => out.extend(c.escape_debug()),
        }
    }
    out
}

/// The number of the colour for a word of `X-Cache`; 0 for the terminal's own.
pub(crate) fn cache_color(cache: &str) -> u8 {
    match cache {
        "HIT" => 32,
        "MISS" => 33,
        "STALE" | "SIMILAR" | "PARTIAL" | "COALESCED" => 36,
        _ => 0,
    }
}

pub(crate) fn status_color(status: u64) -> u8 {
    match status {
        500.. => 31,
        400.. => 33,
        _ => 0,
    }
}

/// `text` in a colour, if there are any.
pub(crate) fn painted(text: &str, color: u8, colored: bool) -> String {
    if colored && color > 0 { format!("\x1b[{color}m{text}\x1b[0m") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Nothing that a terminal obeys is left, and no two texts look alike.
        #[test]
        fn a_terminal_is_never_told_what_to_do(a in "[\\x00-\\xa0\u{202e}\u{2028}n\\\\]*", b in "[\\x00-\\x1f\\\\nx]*") {
            let shown = escaped(&a);
            prop_assert!(!shown.chars().any(|c| c.is_control() || ['\u{202e}', '\u{2028}'].contains(&c)), "{shown:?}");
            prop_assert_eq!(shown == escaped(&b), a == b);
        }
    }
}

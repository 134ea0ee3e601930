//! Parts of a text that look as if a machine had made them for one request: ids, times, random digits.

use std::ops::Range;

/// What such a part looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Nonce {
    Uuid,
    /// Digits and letters from `a` to `f`, at least twelve, with a digit among them.
    Hex,
    /// A date with its time (RFC 3339).
    Time,
    /// At least nine digits, as in a Unix time.
    Digits,
}

impl Nonce {
    /// The regular expression for `mask`.
    pub(crate) const fn pattern(self) -> &'static str {
        match self {
            Self::Uuid => "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}",
            Self::Hex => "[0-9a-fA-F]{12,}",
            Self::Time => r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?",
            Self::Digits => r"\d{9,}",
        }
    }
}

/// The shortest one.
const MIN_LEN: usize = 9;

/// The parts of `text` that look like this, in their order.
pub(crate) fn nonces(text: &str) -> Vec<(Nonce, Range<usize>)> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while at + MIN_LEN <= bytes.len() {
        let starts = bytes[at].is_ascii_hexdigit() && (at == 0 || !bytes[at - 1].is_ascii_alphanumeric());
        match starts.then(|| nonce_at(&bytes[at..])).flatten() {
            Some((nonce, len)) => {
                found.push((nonce, at..at + len));
                at += len;
            }
            None => at += 1,
        }
    }
    found
}

/// The one that `bytes` begin with, and its length.
fn nonce_at(bytes: &[u8]) -> Option<(Nonce, usize)> {
    let run = |is: fn(&u8) -> bool| bytes.iter().position(|byte| !is(byte)).unwrap_or(bytes.len());
    let hex = run(u8::is_ascii_hexdigit);
    // Each of them begins with four such digits; words do not.
    if hex < 4 {
        return None;
    }
    if let Some(len) = shape(bytes, b"hhhhhhhh-hhhh-hhhh-hhhh-hhhhhhhhhhhh") {
        return Some((Nonce::Uuid, len));
    }
    if let Some(len) = shape(bytes, b"dddd-dd-ddTdd:dd").or_else(|| shape(bytes, b"dddd-dd-dd dd:dd")) {
        return Some((Nonce::Time, len + time_rest(&bytes[len..])));
    }
    let digits = run(u8::is_ascii_digit);
    let ends = |len: usize| bytes.get(len).is_none_or(|byte| !byte.is_ascii_alphanumeric());
    if digits >= MIN_LEN && ends(digits) {
        return Some((Nonce::Digits, digits));
    }
    let has_digit = bytes[..hex].iter().any(u8::is_ascii_digit);
    (hex >= 12 && has_digit && ends(hex)).then_some((Nonce::Hex, hex))
}

/// The length of `shape` if `bytes` begin with it: `d` is a digit, `h` a hexadecimal one.
fn shape(bytes: &[u8], shape: &[u8]) -> Option<usize> {
    let fits = |(byte, wanted): (&u8, &u8)| match wanted {
        b'd' => byte.is_ascii_digit(),
        b'h' => byte.is_ascii_hexdigit(),
        wanted => byte == wanted,
    };
    (bytes.len() >= shape.len() && bytes.iter().zip(shape).all(fits)).then_some(shape.len())
}

/// How long the seconds and the offset behind the minutes are.
fn time_rest(bytes: &[u8]) -> usize {
    let mut len = shape(bytes, b":dd").unwrap_or(0);
    if len > 0 && bytes.get(len) == Some(&b'.') {
        let digits = bytes[len + 1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        len += if digits > 0 { 1 + digits } else { 0 };
    }
    let rest = &bytes[len..];
    let offset = shape(rest, b"Z").or_else(|| shape(rest, b"+dd:dd")).or_else(|| shape(rest, b"-dd:dd"));
    len + offset.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_machine_made_is_found_and_its_pattern_finds_the_same() {
        for (text, expected) in [
            ("run 0b9c3a52-1111-4222-8333-444455556666 of it", Some((Nonce::Uuid, 4..40))),
            ("at 2026-12-01T07:00:00.123Z, say", Some((Nonce::Time, 3..27))),
            ("2026-12-01 07:00", Some((Nonce::Time, 0..16))),
            ("2026-12-01T07:00:01+02:00.", Some((Nonce::Time, 0..25))),
            ("[1764572400] What?", Some((Nonce::Digits, 1..11))),
            ("trace=deadbeef0123 What?", Some((Nonce::Hex, 6..18))),
            ("What changed in Python 3.12?", None),
            ("Call 12345678", None),
            ("On 2026-12-01?", None),
            ("decade facade", None),
            ("abcdefabcdef", None),
            ("v1234567890abcdefgh", None),
            ("", None),
        ] {
            assert_eq!(nonces(text), expected.clone().into_iter().collect::<Vec<_>>(), "{text}");
            if let Some((nonce, range)) = expected {
                let found =
                    regex_lite::Regex::new(nonce.pattern()).expect("a pattern").find(text).expect("it");
                assert_eq!(found.range(), range, "{text}");
            }
        }
        let two = nonces("123456789 and 2026-12-01T07:00:00Z");
        assert_eq!(two.iter().map(|(nonce, _)| *nonce).collect::<Vec<_>>(), [Nonce::Digits, Nonce::Time]);
    }
}

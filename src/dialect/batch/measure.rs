//! What is known of a vector without parsing its numbers: that it is one, and how long it is.

/// How a vector is written, and how long it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measure {
    /// The count of its numbers.
    Numbers(usize),
    /// The bytes of its base64 (OpenAI's `encoding_format`).
    Base64(usize),
}

impl Measure {
    /// Measures a value of JSON; `None` if it is no vector.
    pub(super) fn parse(value: &[u8]) -> Option<Self> {
        match value {
            [b'[', numbers @ .., b']'] => {
                numbers.iter().all(|byte| IN_NUMBERS[usize::from(*byte)]).then(|| Self::parse_known(value))?
            }
            [b'"', text @ .., b'"'] => is_base64(text).then_some(Self::Base64(text.len())),
            _ => None,
        }
    }

    /// Measures a value that is known to be a vector.
    pub(super) fn parse_known(value: &[u8]) -> Option<Self> {
        match value {
            [b'[', numbers @ .., b']'] if !numbers.iter().all(u8::is_ascii_whitespace) => {
                Some(Self::Numbers(memchr::memchr_iter(b',', numbers).count() + 1))
            }
            [b'"', text @ .., b'"'] => Some(Self::Base64(text.len())),
            _ => None,
        }
    }
}

/// The bytes that an array of numbers is made of.
const IN_NUMBERS: [bool; 256] = {
    let mut table = [false; 256];
    let bytes = b"0123456789+-.eE, \t\r\n";
    let mut at = 0;
    while at < bytes.len() {
        table[bytes[at] as usize] = true;
        at += 1;
    }
    table
};

fn is_base64(text: &[u8]) -> bool {
    let digits = text.strip_suffix(b"==").or_else(|| text.strip_suffix(b"=")).unwrap_or(text);
    !digits.is_empty()
        && text.len().is_multiple_of(4)
        && digits.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_are_numbers() {
        for (value, expected) in [
            ("[1]", Some(Measure::Numbers(1))),
            ("[ -1.5e-7 ,\n2, 0]", Some(Measure::Numbers(3))),
            ("\"AAAAAA==\"", Some(Measure::Base64(8))),
            ("\"AACAPwAA\"", Some(Measure::Base64(8))),
            ("[]", None),
            ("[ ]", None),
            ("[null]", None),
            ("[1,null]", None),
            ("[\"1\"]", None),
            ("[true]", None),
            ("[[1],[2]]", None),
            ("\"\"", None),
            ("\"abc\"", None),
            ("\"not a vector\"", None),
            ("null", None),
            ("1", None),
            ("{\"float\":[1]}", None),
        ] {
            assert_eq!(Measure::parse(value.as_bytes()), expected, "{value}");
            if expected.is_some() {
                assert_eq!(Measure::parse_known(value.as_bytes()), expected, "{value}");
            }
        }
    }
}

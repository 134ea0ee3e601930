//! A request's query string as the log shows it: decoded, and with its secrets masked.

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Serialize, Serializer};

/// The words in a parameter's name that make its value a secret.
const SECRET_WORDS: [&str; 13] = [
    "key",
    "apikey",
    "token",
    "accesstoken",
    "signature",
    "sig",
    "password",
    "passwd",
    "pwd",
    "secret",
    "credential",
    "authorization",
    "jwt",
];

/// Replaces a secret.
pub(crate) const MASK: &str = "***";

/// The decoded parameters of a query string, secrets masked; a name that comes twice has a list.
#[derive(Debug, Default, Serialize)]
#[serde(transparent)]
pub(super) struct QueryParams<'a>(BTreeMap<Cow<'a, str>, Values<'a>>);

#[derive(Debug, Default)]
struct Values<'a>(Vec<Cow<'a, str>>);

impl Serialize for Values<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [one] => one.serialize(serializer),
            many => many.serialize(serializer),
        }
    }
}

impl<'a> QueryParams<'a> {
    /// Reads the part of a URL after its `?`.
    pub(super) fn parse(query: &'a str) -> Self {
        let mut params = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode(name);
            let value = if is_secret(&name) { Cow::Borrowed(MASK) } else { decode(value) };
            params.0.entry(name).or_default().0.push(value);
        }
        params
    }
}

/// Whether a parameter called `name` holds a secret: one of its words says so (`api_key`, `X-Amz-Signature`,
/// `accessToken`; not `keyword`, not `max_tokens`).
pub(crate) fn is_secret(name: &str) -> bool {
    let mut word = String::new();
    let mut after_lower = false;
    for c in name.chars() {
        if !c.is_alphanumeric() || (after_lower && c.is_uppercase()) {
            if SECRET_WORDS.contains(&word.as_str()) {
                return true;
            }
            word.clear();
        }
        after_lower = c.is_lowercase();
        if c.is_alphanumeric() {
            word.extend(c.to_lowercase());
        }
    }
    // `apiKEY` splits into no such words, so the name as a whole counts too.
    let whole =
        || name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect::<String>();
    SECRET_WORDS.contains(&word.as_str()) || SECRET_WORDS.contains(&whole().as_str())
}

/// Percent-decodes, with `+` as a space. Invalid escapes stay as they are; invalid UTF-8 becomes U+FFFD.
pub(crate) fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let digit = |i: usize| bytes.get(i).and_then(|b| char::from(*b).to_digit(16));
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while let Some(&byte) = bytes.get(i) {
        i += 1;
        match byte {
            b'+' => out.push(b' '),
            b'%' => match (digit(i), digit(i + 1)) {
                (Some(high), Some(low)) => {
                    out.push((high * 16 + low) as u8);
                    i += 2;
                }
                _ => out.push(b'%'),
            },
            other => out.push(other),
        }
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn shown(query: &str) -> String {
        serde_json::to_string(&QueryParams::parse(query)).unwrap()
    }

    #[test]
    fn parameters_are_decoded() {
        assert_eq!(shown(""), "{}");
        assert_eq!(shown("&&"), "{}");
        assert_eq!(shown("b=x+y%20z&a&c=%26%3d"), r#"{"a":"","b":"x y z","c":"&="}"#);
        assert_eq!(shown("a=1&b=2&a=3&%61="), r#"{"a":["1","3",""],"b":"2"}"#);
        assert_eq!(
            shown("a=100%&b=%zz&c=%4&d=%E4&e=%ED%A0%80"),
            concat!(
                r#"{"a":"100%","b":"%zz","c":"%4","d":""#,
                "\u{fffd}",
                r#"","e":""#,
                "\u{fffd}\u{fffd}\u{fffd}",
                r#""}"#
            )
        );
        assert_eq!(shown("a=%0D%0A%1B%22%5C"), r#"{"a":"\r\n\u001b\"\\"}"#);
    }

    #[test]
    fn secrets_are_masked() {
        for name in [
            "key",
            "api_key",
            "token",
            "access_token",
            "signature",
            "sig",
            "password",
            "secret",
            "api-key",
            "apikey",
            "KEY",
            "Api_Key",
            "apiKey",
            "apiKEY",
            "APIKEY",
            "accessToken",
            "ACCESSTOKEN",
            "X-Amz-Signature",
            "X-Amz-Security-Token",
            "client_secret",
            "refresh_token",
            "auth%5Btoken%5D",
            "%6Bey",
            "to%6ben",
            "api+key",
            "ac_cess_to_ken",
        ] {
            assert!(!shown(&format!("{name}=s3cr3t&{name}=s3cr3t")).contains("s3cr3t"), "{name}");
        }
        assert_eq!(shown("token=a&token=b"), r#"{"token":["***","***"]}"#);
        assert_eq!(shown("key"), r#"{"key":"***"}"#);
    }

    #[test]
    fn other_names_are_shown() {
        for name in ["q", "page", "keyword", "max_tokens", "monkey", "design", "signal", "secretary"] {
            assert_eq!(shown(&format!("{name}=v")), format!(r#"{{"{name}":"v"}}"#));
        }
    }

    #[test]
    fn many_parameters_take_linear_time() {
        let query = "a&".repeat(100_000);
        assert_eq!(QueryParams::parse(&query).0["a"].0.len(), 100_000);
    }
}

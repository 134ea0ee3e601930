//! Reads what an endpoint answers. Pure.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Deserialize;

#[derive(Deserialize)]
struct Answer {
    data: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    embedding: Embedding,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Embedding {
    Numbers(Vec<f32>),
    /// `encoding_format = "base64"`, which some servers choose by themselves: floats of 32 bits, little-endian.
    Base64(String),
}

/// The vector of the one text that was asked for.
///
/// # Errors
/// What is wrong, without a word of the answer, which may repeat the question.
pub(super) fn vector(body: &[u8]) -> Result<Vec<f32>, &'static str> {
    let answer: Answer = serde_json::from_slice(body).map_err(|_| "the answer has no vectors of numbers")?;
    let [Item { embedding }] =
        answer.data.try_into().map_err(|_| "the answer has not one vector for one text")?;
    match embedding {
        Embedding::Numbers(numbers) => Ok(numbers),
        Embedding::Base64(text) => {
            let bytes = BASE64_STANDARD.decode(text).map_err(|_| "the answer's vector is no base64")?;
            let (floats, rest) = bytes.as_chunks::<4>();
            if rest.is_empty() {
                Ok(floats.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
            } else {
                Err("the answer's vector has a part of a number")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_and_base64_are_read() {
        for (text, wanted) in [
            (
                r#"{"data":[{"embedding":[1,-0.5,2e-1],"index":0,"object":"embedding"}],"model":"m"}"#,
                vec![1.0, -0.5, 0.2],
            ),
            (r#"{"data":[{"embedding":"AACAPwAAAL8="}]}"#, vec![1.0, -0.5]),
            (r#"{"data":[{"embedding":[]}]}"#, vec![]),
            (r#"{"data":[{"embedding":""}]}"#, vec![]),
        ] {
            assert_eq!(vector(text.as_bytes()), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn anything_else_is_an_error() {
        for text in [
            "",
            "<html><body>502 Bad Gateway</body></html>",
            "null",
            "[]",
            "{}",
            r#"{"error":{"message":"no"}}"#,
            r#"{"data":null}"#,
            r#"{"data":[]}"#,
            r#"{"data":[{"embedding":[1]},{"embedding":[2]}]}"#,
            r#"{"data":[{"embedding":null}]}"#,
            r#"{"data":[{"embedding":[1,null]}]}"#,
            r#"{"data":[{"embedding":[1,"2"]}]}"#,
            r#"{"data":[{"embedding":["NaN"]}]}"#,
            r#"{"data":[{"embedding":[NaN]}]}"#,
            r#"{"data":[{"embedding":[[1]]}]}"#,
            r#"{"data":[{"embedding":[1e999]}]}"#,
            r#"{"data":[{"embedding":{"a":1}}]}"#,
            r#"{"data":[{"embedding":"AACAPw"}]}"#,
            r#"{"data":[{"embedding":"AACAPwA="}]}"#,
            r#"{"data":[{"embedding":"?"}]}"#,
            r#"{"data":[{"index":0}]}"#,
            r#"{"data":{"embedding":[1]}}"#,
            r#"{"data":[{"embedding":[1]}"#,
        ] {
            assert!(vector(text.as_bytes()).is_err(), "{text}");
        }
        assert!(vector(&[b'['; 100_000]).is_err());
    }

    proptest! {
        #[test]
        fn no_answer_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in r#"\{"data":\[\{"embedding":.{0,40}"#) {
            let _ = (vector(&bytes), vector(text.as_bytes()));
        }
    }
}

//! `POST /v1/embeddings`: vectors of hashed words, in OpenAI's shape.

use super::http::{Failure, Reply, json_reply, openai_body};
use super::{Service, text};
use ::http::StatusCode;
use serde::{Deserialize, Serialize};

const DEFAULT_DIMENSIONS: usize = 64;
const MAX_DIMENSIONS: usize = 4096;
const MAX_INPUTS: usize = 2048;

/// Words whose middle is the same should end up near each other; the whole word still counts most.
const TRIGRAM_WEIGHT: f32 = 0.6;

/// The vector of a text, of length one: each word, and each three letters of it, adds to a dimension that its hash
/// chooses, up or down.
pub(super) fn embed(text: &str, dimensions: usize) -> Vec<f32> {
    let mut vector = vec![0.0_f32; dimensions];
    let mut add = |feature: &str, weight: f32| {
        let hash = blake3::hash(feature.as_bytes());
        let [a, b, c, d, sign, ..] = *hash.as_bytes();
        let dimension = u32::from_le_bytes([a, b, c, d]) as usize % dimensions;
        vector[dimension] += if sign & 1 == 0 { weight } else { -weight };
    };
    for word in text::tokenize(text) {
        add(&word, 1.0);
        let letters: Vec<char> = word.chars().collect();
        for trigram in letters.windows(3).filter(|_| letters.len() > 3) {
            add(&trigram.iter().collect::<String>(), TRIGRAM_WEIGHT);
        }
    }
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|value| *value /= length);
    }
    vector
}

#[derive(Deserialize)]
struct Request {
    model: String,
    input: Input,
    dimensions: Option<usize>,
    #[serde(default)]
    encoding_format: Format,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "input must be a string or an array of strings")]
enum Input {
    One(String),
    Many(Vec<String>),
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Float,
    Base64,
}

#[derive(Serialize)]
struct Response<'a> {
    object: &'static str,
    data: Vec<Item>,
    model: &'a str,
    usage: Usage,
}

#[derive(Serialize)]
struct Item {
    object: &'static str,
    index: usize,
    embedding: Embedding,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Embedding {
    Float(Vec<f32>),
    Base64(String),
}

/// No completion, so no tokens of one.
#[derive(Serialize)]
struct Usage {
    prompt_tokens: usize,
    total_tokens: usize,
}

/// `POST /v1/embeddings`
pub(super) async fn create(service: &Service, body: &[u8]) -> Result<Reply, Failure> {
    let request: Request = openai_body(body)?;
    let inputs = match &request.input {
        Input::One(text) => std::slice::from_ref(text),
        Input::Many(texts) => texts.as_slice(),
    };
    if inputs.is_empty() || inputs.len() > MAX_INPUTS || inputs.iter().any(String::is_empty) {
        let message = format!("input must be 1 to {MAX_INPUTS} texts, none of them empty");
        return Err(Failure::openai_parameter("input", &message));
    }
    let dimensions = request.dimensions.unwrap_or(DEFAULT_DIMENSIONS);
    if !(1..=MAX_DIMENSIONS).contains(&dimensions) {
        let message = format!("dimensions must be between 1 and {MAX_DIMENSIONS}");
        return Err(Failure::openai_parameter("dimensions", &message));
    }

    let item = |(index, text): (usize, &String)| Item {
        object: "embedding",
        index,
        embedding: request.encoding_format.apply(embed(text, dimensions)),
    };
    let data = inputs.iter().enumerate().map(item).collect();
    let tokens = inputs.iter().map(|text| text::count_tokens(text)).sum();
    let usage = Usage { prompt_tokens: tokens, total_tokens: tokens };
    tokio::time::sleep(service.delay).await;
    Ok(json_reply(StatusCode::OK, &Response { object: "list", data, model: &request.model, usage }))
}

impl Format {
    fn apply(self, vector: Vec<f32>) -> Embedding {
        match self {
            Self::Float => Embedding::Float(vector),
            Self::Base64 => {
                let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
                Embedding::Base64(base64(&bytes))
            }
        }
    }
}

/// RFC 4648 with padding: three bytes are four digits of six bits.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut encoded = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let value = bits >> (18 - 6 * digit) & 63;
            encoded.push(if digit > chunk.len() { '=' } else { char::from(DIGITS[value as usize]) });
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cosine(a: &str, b: &str) -> f32 {
        embed(a, 256).iter().zip(embed(b, 256)).map(|(a, b)| a * b).sum()
    }

    #[test]
    fn vectors_have_length_one_and_know_word_forms() {
        assert!((cosine("a cached answer", "A cached answer!") - 1.0).abs() < 1e-5);
        assert!(
            cosine("caching answers", "cached answer") > cosine("caching answers", "hammer and nails") + 0.2
        );
        assert!(embed("?!", 8).iter().all(|value| *value == 0.0));
    }

    #[test]
    fn base64_is_the_standard_one() {
        let encoded = [&b""[..], b"f", b"fo", b"foo", b"foobar"].map(base64);
        assert_eq!(encoded, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYmFy"]);
    }

    #[test]
    fn input_is_one_text_or_several() {
        let read = |json: &str| openai_body::<Request>(json.as_bytes());
        assert!(read(r#"{"model": "m", "input": "a", "encoding_format": "base64"}"#).is_ok());
        assert!(read(r#"{"model": "m", "input": ["a", "b"]}"#).is_ok());
        assert!(read(r#"{"model": "m", "input": [[1, 2]]}"#).is_err());
        assert!(read(r#"{"model": "m", "input": "a", "encoding_format": "hex"}"#).is_err());
    }
}

//! A sample answer in both forms.

use bytes::Bytes;

/// What a chunk of the stream says.
const WORDS: &str = "until its time is up, ";

/// Chunks of the stream; together about 1 KiB of text.
const CHUNKS: usize = 48;

/// A chat completion.
pub(crate) fn document() -> Bytes {
    let usage = r#"{"prompt_tokens":64,"completion_tokens":176,"total_tokens":240}"#;
    let message = format!(r#"{{"role":"assistant","content":"{}"}}"#, WORDS.repeat(CHUNKS));
    let choice = format!(r#"{{"index":0,"message":{message},"logprobs":null,"finish_reason":"stop"}}"#);
    let head = r#""id":"chatcmpl-1","object":"chat.completion","created":1738406400,"model":"m""#;
    format!(r#"{{{head},"choices":[{choice}],"usage":{usage}}}"#).into()
}

/// The same as a stream that tells its usage.
pub(crate) fn stream() -> Bytes {
    let head = r#""id":"chatcmpl-1","object":"chat.completion.chunk","created":1738406400,"model":"m""#;
    let chunk = |choices: &str, usage: &str| {
        format!("data: {{{head},\"choices\":[{choices}],\"usage\":{usage}}}\n\n")
    };
    let choice =
        |delta: &str, finish: &str| format!(r#"{{"index":0,"delta":{delta},"finish_reason":{finish}}}"#);
    let mut stream = chunk(&choice(r#"{"role":"assistant","content":""}"#, "null"), "null");
    let words = format!(r#"{{"content":"{WORDS}"}}"#);
    stream.push_str(&chunk(&choice(&words, "null"), "null").repeat(CHUNKS));
    stream.push_str(&chunk(&choice("{}", r#""stop""#), "null"));
    stream.push_str(&chunk("", r#"{"prompt_tokens":64,"completion_tokens":176,"total_tokens":240}"#));
    stream.push_str("data: [DONE]\n\n");
    stream.into()
}

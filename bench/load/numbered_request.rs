//! Requests that differ by a number, which the answer repeats, so that wrong answers are noticed.

/// The text before the number, and nowhere else in a request.
const NAME: &[u8] = b"no-";
const DIGITS: usize = 10;

/// The path of every question.
const PATH: &str = "/v1/chat/completions";

/// The text that makes a question long.
const CONTEXT: &str = r"An answer is kept until its time is up.\n";

/// A request whose number can be set.
#[derive(Clone, Debug)]
pub(crate) struct NumberedRequest {
    bytes: Vec<u8>,
    at: usize,
}

impl NumberedRequest {
    /// A question of `len` bytes of JSON, under `prefix`.
    pub(crate) fn json(prefix: &str, len: usize) -> Self {
        Self::new(prefix, len, "false")
    }

    /// A question for a stream.
    pub(crate) fn stream(prefix: &str, len: usize) -> Self {
        Self::new(prefix, len, "true")
    }

    fn new(prefix: &str, len: usize, stream: &str) -> Self {
        let (begin, end) = (
            format!(
                r#"{{"model":"bench","stream":{stream},"temperature":0,"messages":[{{"role":"user","content":""#
            ),
            r#" no-0000000000"}]}"#,
        );
        let room = len.saturating_sub(begin.len() + end.len());
        let context = CONTEXT.repeat(room / CONTEXT.len()) + &" ".repeat(room % CONTEXT.len());
        let body = format!("{begin}{context}{end}");
        let head = "Host: bench\r\nContent-Type: application/json";
        Self::of(format!(
            "POST {prefix}{PATH} HTTP/1.1\r\n{head}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))
    }

    /// A request without a body, for caches that cannot use bodies in their keys.
    pub(crate) fn get() -> Self {
        Self::of(format!("GET {PATH}/no-0000000000 HTTP/1.1\r\nHost: bench\r\n\r\n"))
    }

    fn of(request: String) -> Self {
        let bytes = request.into_bytes();
        let at = memchr::memmem::rfind(&bytes, NAME).expect("a question with a number");
        Self { bytes, at }
    }

    /// Sets the number.
    pub(crate) fn set(&mut self, number: u64) {
        let digits = &mut self.bytes[self.at + NAME.len()..][..DIGITS];
        let mut rest = number;
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
    }

    /// The bytes to send.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The mark that the answer must contain.
    pub(crate) fn mark(&self) -> &[u8] {
        &self.bytes[self.at..][..NAME.len() + DIGITS]
    }
}

/// The mark of the question whose path or body `text` is.
pub(crate) fn mark(text: &[u8]) -> Option<&[u8]> {
    let at = memchr::memmem::rfind(text, NAME)?;
    text.get(at..at + NAME.len() + DIGITS)
}

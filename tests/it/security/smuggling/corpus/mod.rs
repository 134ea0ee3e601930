//! Crafted requests, made from tables.

#[rustfmt::skip] // Tables.
mod fields;
#[rustfmt::skip]
mod framing;
#[rustfmt::skip]
mod hosts;
#[rustfmt::skip]
mod targets;

/// The expected result of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is answered.
    Answered,
    /// It is refused, and the upstream sees nothing of it.
    Refused,
    /// Either.
    Whichever,
}

/// A crafted request.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// Names it, in `X-Case` too.
    pub(crate) name: String,
    pub(crate) what: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) verdict: Verdict,
}

/// A body that a chat's route covers.
pub(crate) const BODY: &str = r#"{"model": "m", "messages": [{"role": "user", "content": "Who?"}]}"#;

/// The corpus, for requests to `target`.
pub(crate) fn cases(target: &'static str) -> Vec<Case> {
    let mut corpus = Corpus { target, cases: Vec::new() };
    framing::add(&mut corpus);
    hosts::add(&mut corpus);
    targets::add(&mut corpus);
    fields::add(&mut corpus);
    corpus.cases
}

struct Corpus {
    target: &'static str,
    cases: Vec<Case>,
}

impl Corpus {
    /// Adds a request. In `template`, these stand for what a good request has:
    ///
    /// | | |
    /// | --- | --- |
    /// | `{T}` | the target |
    /// | `{H}` | the line of the host |
    /// | `{F}` | the other lines: the case's name, and the body's type |
    /// | `{B}`, `{L}`, `{X}` | the body, its length, the same in hexadecimal digits |
    /// | `{S}`, `{M}`, `{Y}` | a request that must stay hidden in this one, its length, the same in hexadecimal digits |
    fn add(&mut self, verdict: Verdict, template: impl AsRef<[u8]>) {
        let template = template.as_ref();
        let name = self.cases.len().to_string();
        let fields = format!("X-Case: {name}\r\nContent-Type: application/json\r\n");
        let hidden = format!("GET /hidden HTTP/1.1\r\nHost: a.example\r\nX-Case: in {name}\r\n\r\n");
        let size = |text: &str| (text.len().to_string(), format!("{:x}", text.len()));
        let ((length, hex), (hidden_length, hidden_hex)) = (size(BODY), size(&hidden));
        let mut bytes = template.to_vec();
        for (mark, text) in [
            ("{T}", self.target),
            ("{H}", "Host: a.example\r\n"),
            ("{F}", &fields),
            ("{B}", BODY),
            ("{L}", &length),
            ("{X}", &hex),
            ("{S}", &hidden),
            ("{M}", &hidden_length),
            ("{Y}", &hidden_hex),
        ] {
            bytes = replace(&bytes, mark.as_bytes(), text.as_bytes());
        }
        let what = template.escape_ascii().to_string().chars().take(300).collect();
        self.cases.push(Case { name, what, bytes, verdict });
    }
}

fn replace(bytes: &[u8], mark: &[u8], text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + text.len());
    let mut rest = bytes;
    while let Some(at) = rest.windows(mark.len()).position(|window| window == mark) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(text);
        rest = &rest[at + mark.len()..];
    }
    out.extend_from_slice(rest);
    out
}

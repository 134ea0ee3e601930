//! Names and values of headers, and how their lines end.

use super::{
    Corpus,
    Verdict::{Answered, Whichever},
};

const POST: &str = "POST {T} HTTP/1.1\r\n{H}{F}Content-Length: {L}\r\n";

pub(super) fn add(corpus: &mut Corpus) {
    for line in ["X-Some: 1", "x!#$%&'*+-.^_`|~: 1", "X-Some:", "X-Some: \u{e9}", "X-Some: \ta\tb \t"] {
        corpus.add(Answered, format!("{POST}{line}\r\n\r\n{{B}}"));
    }
    for byte in 0..=0x20_u8 {
        let (one, two) = (
            [b"X-A".as_slice(), &[byte], b"b: 1"].concat(),
            [b"X-A: 1".as_slice(), &[byte], b"Y: 2"].concat(),
        );
        for line in [one, two] {
            corpus.add(Whichever, [POST.as_bytes(), &line, b"\r\n\r\n{B}"].concat());
        }
    }
    for byte in *b"\"(),/:;<=>?@[\\]{}\x7f\x80\xff" {
        corpus.add(Whichever, [POST.as_bytes(), b"X-A", &[byte], b"b: 1\r\n\r\n{B}"].concat());
    }
    for line in [
        ": 1", " : 1", "X-A", "X-A 1", "X-A : 1", " X-A: 1", "\tX-A: 1", "X-A: 1\r\n b", "X-A: 1\r\n\tb: 2",
        "X-A:\r\n\r\n", "X-A: 1\r", "X-A: 1\r\r", "X-A: 1\n", "X-A: 1\n\n", "\r", "\0",
        "X-A: 1\r\n \r\nX-B: 2", "X-A: a\r\n\x0bb", ":status: 200", ":path: /evil", "X-A: 1\u{2028}X-B: 2",
        "X-A: 1\u{10a}X-B: 2",
    ] {
        corpus.add(Whichever, format!("{POST}{line}\r\n\r\n{{B}}"));
    }
    // Lines that end in a line feed alone: one request, or none.
    corpus.add(Whichever, "POST {T} HTTP/1.1\nHost: a.example\n{F}Content-Length: {L}\n\n{B}");
    corpus.add(Whichever, "POST {T} HTTP/1.1\r\n{H}{F}Content-Length: {L}\n\n{B}");
    corpus.add(Whichever, "POST {T} HTTP/1.1\r\n{H}{F}Content-Length: {L}\n\r\n{B}");
    corpus.add(Whichever, "POST {T} HTTP/1.1\r\n{H}{F}Content-Length: {L}\r\n\n{B}");
    corpus.add(Whichever, "POST {T} HTTP/1.1\r{H}{F}Content-Length: {L}\r\r{B}");
    corpus.add(Whichever, "POST {T} HTTP/1.1\r\n{H}{F}Content-Length: 0\r\n\r{S}");
    corpus.add(Whichever, "POST {T} HTTP/1.1\r\n{H}{F}Content-Length: 0\n\n{F}\r\n");
    for (count, size) in
        [(90, 10), (200, 10), (5_000, 1), (1, 60_000), (1, 70_000), (1, 1_000_000), (20, 5_000)]
    {
        let lines: String = (0..count).map(|n| format!("X-{n}: {}\r\n", "x".repeat(size))).collect();
        corpus.add(Whichever, format!("{POST}{lines}\r\n{{B}}"));
    }
    corpus.add(Whichever, format!("{POST}{}: 1\r\n\r\n{{B}}", "X".repeat(70_000)));
    for line in [
        "Connection: close", "Connection: keep-alive", "Connection: connection", "Connection: close, host",
        "Connection: \u{e9}", "Connection: a b", "Connection: ,,,", "Proxy-Connection: keep-alive",
        "Keep-Alive: timeout=5", "TE: trailers, deflate", "Trailer: Content-Length", "Upgrade: websocket",
        "Upgrade: h2c", "Max-Forwards: 0", "Via: 1.1 \u{e9}", "Expect: 100-continue", "Expect: 200-ok",
        "Range: bytes=0-", "Content-Range: bytes 0-1/2", "X-HTTP-Method-Override: DELETE",
        "X-Original-URL: /hidden", "X-Rewrite-URL: /hidden", "Content-Location: /hidden",
        "HTTP2-Settings: AAAA",
    ] {
        corpus.add(Whichever, format!("{POST}{line}\r\n\r\n{{B}}"));
    }
}

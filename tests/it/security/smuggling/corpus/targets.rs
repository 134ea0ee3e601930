//! What a request is about: its method and target.

use super::{
    Corpus,
    Verdict::{Answered, Refused, Whichever},
};

const REST: &str = "{H}{F}Content-Length: {L}\r\n\r\n{B}";

/// Targets that are not a path of this host's.
const REFUSED: [&str; 24] = [
    "http://evil.example{T}", "https://evil.example{T}", "http://a.example:81{T}",
    "http://a.example@evil.example{T}", "http://evil.example@a.example{T}",
    "http://a.example:80@evil.example{T}", "http://evil.example", "ftp://evil.example{T}",
    "http://evil.example?{T}", "http://evil.example#a.example{T}", "http://[::1]{T}",
    "gopher://evil.example{T}", "*", "a.example:80", "evil.example:443", "a.example", "http:{T}",
    "http:/a.example{T}", "http:///{T}", "@evil.example{T}", "?x=1", "#x", "ws://evil.example{T}",
    "HTTP://evil.example{T}",
];

pub(super) fn add(corpus: &mut Corpus) {
    corpus.add(Answered, format!("POST {{T}} HTTP/1.1\r\n{REST}"));
    for target in ["http://a.example{T}", "http://A.Example{T}", "{T}?", "{T}?a=b", "{T}?a=/../b", "{T}/"] {
        corpus.add(Answered, format!("POST {target} HTTP/1.1\r\n{REST}"));
    }
    for target in REFUSED {
        corpus.add(Refused, format!("POST {target} HTTP/1.1\r\n{REST}{{S}}"));
        corpus.add(Refused, format!("GET {target} HTTP/1.1\r\n{{H}}{{F}}\r\n{{S}}"));
    }
    for authority in [
        "a.example:80", "evil.example:443", "a.example", "{T}", "http://a.example{T}", "*", "127.0.0.1:22", "",
    ] {
        corpus.add(Refused, format!("CONNECT {authority} HTTP/1.1\r\n{{H}}{{F}}\r\n{{S}}"));
        corpus.add(Refused, format!("CONNECT {authority} HTTP/1.0\r\n{{H}}{{F}}\r\n{{S}}"));
    }
    for target in [
        "//evil.example{T}", "//evil.example", "///evil.example{T}", "/\\evil.example{T}",
        "\\\\evil.example{T}", "/.{T}", "/..{T}", "/x/..{T}", "/x/../..{T}", "{T}/..", "{T}/.", "{T}/../admin",
        "/%2e%2e{T}", "/%2e{T}", "/x/%2e%2e{T}", "{T}/%2e%2e/admin", "/%2f{T}", "{T}%2f..", "{T}%5c..",
        "{T}%00", "{T}%0d%0aX:%201", "{T}%20HTTP/1.1%0d%0aHost:%20evil", "{T}%", "{T}%zz", "{T}%c0%af",
        "{T}%252e%252e", "/%68ttp://evil.example", "{T};a=b", "{T};.css", "{T}#x", "{T}?a#b", "{T}?%0d%0a",
        "{T}?a=b?c", "{T}??", "{T}|x", "{T}^", "{T}<x>", "{T}\"x\"", "{T}{x}", "{T}`", "{T}'", "{T}[x]",
        "{T}?[x]", "{T}\u{e9}", "{T}?\u{e9}", "{T}\u{202e}", "{T} x", "{T}\tx", "{T}\0", "{T}\x01", "{T}\x7f",
        "{T}\rX: 1", "{T}\nX: 1", "{T}\x0bx", "{T}\x0cx", "{T}\u{85}", "{T}\u{a0}", "/{T}",
        "/http://evil.example", "/:80", "/@evil.example", "{T}\x1b[31m",
    ] {
        corpus.add(Whichever, format!("POST {target} HTTP/1.1\r\n{REST}"));
    }
    for size in [1_000, 8_000, 60_000, 70_000, 200_000] {
        corpus.add(Whichever, format!("POST {{T}}?{} HTTP/1.1\r\n{REST}", "x".repeat(size)));
    }
    for method in [
        "post", "Post", "P\0ST", "POST\t", " POST", "\tPOST", "PO ST", "POST/", "\"POST\"", "(POST)",
        "P\u{d6}ST", "POST\r", "\u{feff}POST", "", "A,B", "[POST]", "POST:", "M-SEARCH", "$",
    ] {
        corpus.add(Whichever, format!("{method} {{T}} HTTP/1.1\r\n{REST}"));
    }
    for lead in ["\r\n", "\n", "\r\n\r\n", "\r", " \r\n", "\0", "\x0b", "x\r\n", ":\r\n", "\u{feff}"] {
        corpus.add(Whichever, format!("{lead}POST {{T}} HTTP/1.1\r\n{REST}"));
    }
    for line in [
        "POST  {T} HTTP/1.1", "POST {T}  HTTP/1.1", "POST\t{T}\tHTTP/1.1", "POST {T}", "POST", "{T}",
        "POST HTTP/1.1",
    ] {
        corpus.add(Whichever, format!("{line}\r\n{REST}"));
    }
}

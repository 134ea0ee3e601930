//! The target host: `Host`.

use super::{
    Corpus,
    Verdict::{Answered, Refused, Whichever},
};

const REST: &str = "{F}Content-Length: {L}\r\n\r\n{B}{S}";

/// Invalid hosts (RFC 9112, section 3.2: 400).
const INVALID: [&str; 45] = [
    "", " ", "a b", "a\tb", "a, b", "a,b", "a;b", "u@a", "u:p@a", "@a", "a@", "a/", "a/b", "/a", "//a",
    "http://a", "a?b", "a#b", "a\\b", "a:b", "a:80:80", "a:-1", "a:+1", "a:65536", "a:99999999999", "a: 80",
    "a :80", ":", ":80", "[::1", "::1]", "[::1]x", "[]", "[g::]", "a%", "a%zz", "a\0", "a\x0b", "a\x7f", "<a>",
    "a\"b", "a{b}", "a|b", "a^b", "a`b",
];

pub(super) fn add(corpus: &mut Corpus) {
    let good = "{F}Content-Length: {L}\r\n\r\n{B}";
    for host in [
        "a.example", "A.EXAMPLE", "a.example:80", "127.0.0.1", "[::1]", "[::1]:8080", "a_b", "xn--a",
        "a.example.",
    ] {
        corpus.add(Answered, format!("POST {{T}} HTTP/1.1\r\nHost: {host}\r\n{good}"));
    }
    corpus.add(Answered, format!("POST {{T}} HTTP/1.1\r\nhOsT:a.example \t\r\n{good}"));
    corpus.add(Answered, format!("POST {{T}} HTTP/1.0\r\n{good}"));
    for host in INVALID {
        corpus.add(Refused, format!("POST {{T}} HTTP/1.1\r\nHost: {host}\r\n{REST}"));
    }
    for host in ["a\u{e9}", "\u{ff41}.example", "a\u{3002}example", "\u{2100}"] {
        corpus.add(Refused, format!("POST {{T}} HTTP/1.1\r\nHost: {host}\r\n{REST}"));
    }
    corpus.add(Refused, format!("POST {{T}} HTTP/1.1\r\n{REST}"));
    for lines in [
        "Host: a.example\r\nHost: a.example", "Host: a.example\r\nHost: evil.example",
        "Host: a.example\r\nhost:", "Host:\r\nHost: a.example",
        "Host: a.example\r\nX: 1\r\nHOST: evil.example",
    ] {
        corpus.add(Refused, format!("POST {{T}} HTTP/1.1\r\n{lines}\r\n{REST}"));
        corpus.add(Refused, format!("POST {{T}} HTTP/1.0\r\n{lines}\r\n{REST}"));
    }
    for line in [
        "Host : a.example", " Host: a.example", "Host\t: a.example", "Host a.example", "Host:\r\n a.example",
        "Host: a.example\r\n b", "X: 1\r\n Host: a.example", "Host\0: a.example", "H\u{f6}st: a.example",
        "Host: a.example\rX: 1",
    ] {
        corpus.add(Refused, format!("POST {{T}} HTTP/1.1\r\n{line}\r\n{REST}"));
    }
    // Others that some servers take for the host.
    for line in [
        "X-Forwarded-Host: evil.example", "X-Host: evil.example", "X-Forwarded-Server: evil.example",
        "X-HTTP-Host-Override: evil.example", "Forwarded: host=evil.example", ":authority: evil.example",
        "Connection: host", "Host_: evil.example", "Http-Host: evil.example",
    ] {
        corpus.add(Whichever, format!("POST {{T}} HTTP/1.1\r\n{{H}}{line}\r\n{good}"));
    }
}

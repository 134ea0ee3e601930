//! Where a body ends: lengths, codings, chunks.

use super::{
    Corpus,
    Verdict::{Answered, Refused, Whichever},
};

const POST: &str = "POST {T} HTTP/1.1\r\n{H}{F}";

pub(super) fn add(corpus: &mut Corpus) {
    lengths(corpus);
    codings(corpus);
    both(corpus);
    chunks(corpus);
    chunk_ends(corpus);
    versions(corpus);
    hidden(corpus);
}

fn lengths(corpus: &mut Corpus) {
    corpus.add(Answered, format!("{POST}Content-Length: {{L}}\r\n\r\n{{B}}"));
    for value in ["{L} ", "\t{L}\t", "0{L}", "00000000000000000000{L}", "{L}\r\nContent-Length: {L}"] {
        corpus.add(Answered, format!("{POST}content-length:{value}\r\n\r\n{{B}}"));
    }
    for value in [
        "+{L}", "-{L}", "-1", "+0", "0x{X}", "{L}.0", "{L}e0", "{L},{L}", "{L}, {L}", "{L},",
        ",{L}", "{L};{L}", "{L} {L}", "", " ", "\"{L}\"", "'{L}'", "{X}h",
        "{L}_0", "0,{L}", "{L},0", "{L}\x0b", "{L}\x0c", "{L}\0", "\u{661}", "NaN", "infinity", "chunked",
        "1 ; {L}",
    ] {
        corpus.add(Whichever, format!("{POST}Content-Length: {value}\r\n\r\n{{B}}{{S}}"));
    }
    for value in [
        "9007199254740993",
        "0009007199254740993",
        "9223372036854775808",
        "18446744073709551615",
        "18446744073709551616",
        "99999999999999999999999",
    ] {
        corpus.add(Refused, format!("{POST}Content-Length: {value}\r\n\r\n{{B}}{{S}}"));
    }
    for (one, two) in [("{L}", "0"), ("0", "{L}"), ("{L}", "+{L}"), ("1", "{L}"), ("", "{L}")] {
        corpus
            .add(Refused, format!("{POST}Content-Length: {one}\r\nContent-Length: {two}\r\n\r\n{{B}}{{S}}"));
        corpus.add(
            Refused,
            format!("{POST}content-length: {one}\r\nX: 1\r\nCONTENT-LENGTH: {two}\r\n\r\n{{B}}{{S}}"),
        );
    }
    for line in [
        "Content-Length : {L}", "Content-Length\t: {L}", " Content-Length: {L}", "Content-Length\0: {L}",
        "Content_Length: {L}", "Content-Length\x0b: {L}", "Content-Length\r: {L}", "Content-Length {L}",
        "Content-Length: {L}\rX: 1", "Content-Length:\r\n {L}", "Content-Length:\n {L}",
        "X: 1\rContent-Length: {L}", "X: 1\nContent-Length: {L}", "X: 1\0Content-Length: {L}",
        "Content-Length\u{a0}: {L}",
    ] {
        corpus.add(Whichever, format!("{POST}{line}\r\n\r\n{{B}}"));
        corpus.add(Whichever, format!("{POST}Content-Length: 0\r\n{line}\r\n\r\n{{S}}"));
    }
}

/// Codings that are not `chunked`, however they are spelled.
const OTHER_CODINGS: [&str; 41] = [
    "gzip, chunked", "gzip,chunked", "deflate, chunked", "compress, chunked", "br, chunked", "x-gzip, chunked",
    "identity, chunked", "chunked, identity", "chunked, gzip", "chunked, chunked", "chunked,chunked",
    "identity", "gzip", "trailers", "xchunked", "x-chunked", "chunkedx", "chunked-x", "cow", "chunk",
    "chunked;", "chunked; q=1", "chunked;foo=bar", "chunked ; foo", "\"chunked\"", "'chunked'", "chunked,",
    ",chunked", ", chunked", "chunked,,", "chunked\0", "\0chunked", "chunked\x0b", "\x0bchunked",
    "chunked\x0c", "chun ked", "chu\u{212a}ed", "\u{ff43}hunked", "chunked\u{a0}", "chunked\u{85}", "",
];

fn codings(corpus: &mut Corpus) {
    for line in ["Transfer-Encoding: chunked", "transfer-encoding:chunked", "TRANSFER-ENCODING: \tCHUNKED \t"]
    {
        corpus.add(Answered, format!("{POST}{line}\r\n\r\n{{X}}\r\n{{B}}\r\n0\r\n\r\n"));
    }
    for coding in OTHER_CODINGS {
        corpus.add(
            Refused,
            format!("{POST}Transfer-Encoding: {coding}\r\n\r\n{{X}}\r\n{{B}}\r\n0\r\n\r\n{{S}}"),
        );
    }
    for (one, two) in [
        ("chunked", "chunked"), ("chunked", "identity"), ("identity", "chunked"), ("gzip", "chunked"),
        ("chunked", "gzip"), ("chunked", ""), ("", "chunked"), ("cow", "chunked"),
    ] {
        let lines = format!("Transfer-Encoding: {one}\r\nTransfer-encoding: {two}\r\n");
        corpus.add(Refused, format!("{POST}{lines}\r\n{{X}}\r\n{{B}}\r\n0\r\n\r\n{{S}}"));
    }
    // Names that are almost the same: another header, or none.
    for line in [
        "Transfer-Encoding : chunked", "Transfer-Encoding\t: chunked", " Transfer-Encoding: chunked",
        "Transfer_Encoding: chunked", "Transfer-Encoding\x0b: chunked", "Transfer-Encoding\0: chunked",
        "X-Transfer-Encoding: chunked", "Transfer-Encodin: chunked", "Transfer-Encoding:\r\n chunked",
        "Transfer-Encoding:\n\tchunked", "X: 1\rTransfer-Encoding: chunked",
        "X: 1\nTransfer-Encoding: chunked", "Transfer-Encoding chunked", "\"Transfer-Encoding\": chunked",
        "Content-Encoding: chunked", "TE: chunked", "Transfer\u{2010}Encoding: chunked",
    ] {
        corpus.add(Whichever, format!("{POST}Content-Length: 5\r\n{line}\r\n\r\n0\r\n\r\n"));
        corpus.add(Whichever, format!("{POST}{line}\r\nContent-Length: {{L}}\r\n\r\n{{B}}"));
    }
}

/// A length and a coding: chunks and nothing after them, or refused.
fn both(corpus: &mut Corpus) {
    let chunked = "{X}\r\n{B}\r\n0\r\n\r\n{S}";
    for length in ["5", "0", "{L}", "99999"] {
        for coding in ["chunked", "Chunked", "\tchunked"] {
            let (length, coding) =
                (format!("Content-Length: {length}\r\n"), format!("Transfer-Encoding: {coding}\r\n"));
            corpus.add(Whichever, format!("{POST}{length}{coding}\r\n{chunked}"));
            corpus.add(Whichever, format!("{POST}{coding}{length}\r\n{chunked}"));
        }
    }
    for coding in OTHER_CODINGS {
        corpus
            .add(Refused, format!("{POST}Content-Length: 5\r\nTransfer-Encoding: {coding}\r\n\r\n{chunked}"));
    }
    corpus.add(Whichever, format!("{POST}Transfer-Encoding: chunked\r\nContent-Length: +5\r\n\r\n{chunked}"));
    for named in ["content-length", "transfer-encoding", "close, transfer-encoding", "Content-Length, Host"] {
        let lines = format!("Connection: {named}\r\nTransfer-Encoding: chunked\r\n");
        corpus.add(Answered, format!("{POST}{lines}\r\n{{X}}\r\n{{B}}\r\n0\r\n\r\n"));
        corpus.add(Answered, format!("{POST}Connection: {named}\r\nContent-Length: {{L}}\r\n\r\n{{B}}"));
        corpus.add(Whichever, format!("{POST}{lines}Content-Length: 3\r\n\r\n{chunked}"));
    }
}

fn chunks(corpus: &mut Corpus) {
    let post = format!("{POST}Transfer-Encoding: chunked\r\n\r\n");
    for size in ["{X}", "000{X}", "{X};a=b", "{X};a", "{X};a=\"b\"", "{X} ", "{X}\t", "{X} ;a", "{X};;"] {
        corpus.add(Answered, format!("{post}{size}\r\n{{B}}\r\n0\r\n\r\n"));
    }
    for size in [
        "0x{X}", "0X{X}", "+{X}", "-{X}", " {X}", "\t{X}", "{X}h", "{X}.", "{X}.0",
        "{X},{X}", "", "g", "{X}\0", "\0{X}", "{X}\x0b", "{X}\x0c", "'{X}'", "\"{X}\"", "#{X}", "{X}_0",
        "\u{661}", "-0", "+0", "0x0", "FFFFFFFFFFFFFFFF", "10000000000000000", "1000000000000000{X}",
        "80000000000000{X}", "7FFFFFFFFFFFFFFF", "100000000", "{X}\r", "{X};\r", "{X};a\rb", "{X};a\nb",
        "{X}\n", "{X};\n", "{X};a=\"\r\n\"", "{X}\r\n;a",
    ] {
        corpus.add(Whichever, format!("{post}{size}\r\n{{B}}\r\n0\r\n\r\n{{S}}"));
    }
    corpus.add(Whichever, format!("{post}{}{{X}}\r\n{{B}}\r\n0\r\n\r\n", "0".repeat(5000)));
    corpus.add(Whichever, format!("{post}{{X}};{}\r\n{{B}}\r\n0\r\n\r\n", "a".repeat(50_000)));
    // The extension of one reader is the next chunk of another.
    corpus.add(Whichever, format!("{post}{{X}};\n0\r\n\r\n{{S}}\r\n0\r\n\r\n"));
    corpus.add(Whichever, format!("{post}0;\n{{S}}0\r\n\r\n"));
    corpus.add(Whichever, format!("{post}0\n\r\n{{S}}"));
}

fn chunk_ends(corpus: &mut Corpus) {
    let post = format!("{POST}Transfer-Encoding: chunked\r\n\r\n");
    for end in [
        "", "\r", "\n", "\n\n", "\r\r\n", "\n\r\n", "..", "x\r\n", " \r\n", "\r\n\r\n", "\0\r\n", "\r\nx\r\n",
        "{S}",
    ] {
        corpus.add(Whichever, format!("{post}{{X}}\r\n{{B}}{end}0\r\n\r\n{{S}}"));
    }
    for end in [
        "0", "0\r", "0\r\n", "0\r\n\r", "0\n\n", "0\r\n\n", "0\r\r\n", "00000\r\n", "0;x\r\n", "-0\r\n\r\n",
        "",
    ] {
        corpus.add(Whichever, format!("{post}{{X}}\r\n{{B}}\r\n{end}"));
    }
    for trailer in [
        "X-Trailer: 1", "Content-Length: 5", "Transfer-Encoding: gzip", "Host: evil.example", "X: 1\rY: 2",
        "X: 1\nY: 2", " X: 1", "X : 1", "no colon", ": 1", "X: 1\0", "X: \u{e9}",
        "Authorization: Bearer other",
    ] {
        corpus.add(Whichever, format!("{post}{{X}}\r\n{{B}}\r\n0\r\n{trailer}\r\n\r\n"));
    }
    corpus.add(Whichever, format!("{post}{{X}}\r\n{{B}}\r\n0\r\n{}\r\n", "X: 1\r\n".repeat(3000)));
    corpus.add(Whichever, format!("{post}{{X}}\r\n{{B}}\r\n0\r\nX: {}\r\n\r\n", "1".repeat(100_000)));
}

fn versions(corpus: &mut Corpus) {
    let rest = "{H}{F}Content-Length: {L}\r\n\r\n{B}";
    corpus.add(Answered, format!("POST {{T}} HTTP/1.0\r\n{rest}"));
    for version in [
        "HTTP/0.9", "HTTP/1.2", "HTTP/1.10", "HTTP/1.", "HTTP/1", "HTTP/01.1", "HTTP/1.01", "HTTP/2.0",
        "HTTP/3", "HTTP/9.9", "http/1.1", "Http/1.1", "HTTP 1.1", "HTTP/1,1", "HTTPS/1.1", "XTTP/1.1",
        "HTTP/-1.1", "HTTP/1.1 ", "HTTP/1.1\t", "HTTP/1.1 HTTP/1.1", "HTTP/1.1\0", "HTTP/1.1\r", "",
        " HTTP/1.1", "\tHTTP/1.1", "SIP/2.0", "HTTP/\u{661}.1",
    ] {
        corpus.add(Whichever, format!("POST {{T}} {version}\r\n{rest}"));
    }
    corpus.add(Whichever, "GET {T}\r\n");
    corpus.add(Whichever, "GET {T}\r\n\r\n");
    let chunks = "{X}\r\n{B}\r\n0\r\n\r\n{S}";
    for connection in ["", "Connection: keep-alive\r\n", "Content-Length: 5\r\n"] {
        corpus.add(
            Refused,
            format!(
                "POST {{T}} HTTP/1.0\r\n{{H}}{{F}}{connection}Transfer-Encoding: chunked\r\n\r\n{chunks}"
            ),
        );
    }
}

/// Requests inside others, which are their bodies or nothing.
fn hidden(corpus: &mut Corpus) {
    for method in ["GET", "HEAD", "DELETE", "OPTIONS", "TRACE", "PUT", "PATCH", "QUERY", "PROPFIND"] {
        corpus
            .add(Whichever, format!("{method} {{T}} HTTP/1.1\r\n{{H}}{{F}}Content-Length: {{M}}\r\n\r\n{{S}}"));
        corpus.add(
            Whichever,
            format!("{method} {{T}} HTTP/1.1\r\n{{H}}{{F}}Transfer-Encoding: chunked\r\n\r\n{{Y}}\r\n{{S}}\r\n0\r\n\r\n"),
        );
    }
    for lines in [
        "Content-Length: {M}\r\nConnection: close", "Content-Length: {M}\r\nExpect: 100-continue",
        "Content-Length: {M}\r\nExpect: something",
        "Content-Length: {M}\r\nUpgrade: h2c\r\nConnection: upgrade, http2-settings\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
        "Content-Length: {M}\r\nUpgrade: HTTP/2.0\r\nConnection: Upgrade",
        "Content-Length: {M}\r\nContent-Encoding: gzip",
        "Content-Length: {M}\r\nContent-Type: multipart/byteranges; boundary=x",
    ] {
        corpus.add(Whichever, format!("{POST}{lines}\r\n\r\n{{S}}"));
    }
    // Refused for its host; what follows is not looked at.
    corpus.add(Refused, "POST {T} HTTP/1.1\r\n{F}Content-Length: 5\r\n\r\nhello{S}");
    corpus.add(Refused, "POST {T} HTTP/1.1\r\n{F}\r\n{S}");
    corpus.add(Refused, "CONNECT a.example:80 HTTP/1.1\r\n{H}{F}\r\n{S}");
}

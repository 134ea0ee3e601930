//! The corpus over HTTP/2: its framing is unambiguous, but its headers become those of an HTTP/1.1 request.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    Recorder,
    corpus::BODY,
    strict_parser::{Read, read},
};
use crate::support::{Sidecache, run, samples::CHAT, soon};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Types of frames, and flags (RFC 9113, section 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// What a good request has.
const GOOD: [(&str, &str); 5] = [
    (":method", "POST"),
    (":scheme", "http"),
    (":authority", "a.example"),
    (":path", "{T}"),
    ("content-type", "application/json"),
];

/// Headers that are added to it, or replace those of the same name, and must not reach the upstream.
#[rustfmt::skip]
const REFUSED: [(&str, &str); 42] = [
    ("transfer-encoding", "chunked"), ("transfer-encoding", "gzip, chunked"), ("transfer-encoding", ""),
    ("connection", "close"), ("connection", "transfer-encoding"), ("keep-alive", "timeout=5"), ("upgrade", "websocket"),
    ("proxy-connection", "keep-alive"), ("te", "gzip"),
    ("content-length", "0"), ("content-length", "1"), ("content-length", "99999"), ("content-length", "+65"),
    ("content-length", "65, 65"), ("content-length", "x"), ("content-length", ""), ("content_length", "5"),
    ("transfer_encoding", "chunked"),
    ("x-a", "1\r\ntransfer-encoding: chunked"), ("x-a", "1\ncontent-length: 0"), ("x-a", "1\r"), ("x-a", "1\0"),
    ("x-a: 1\r\nx-b", "2"), ("x-a:", "1"), ("x a", "1"), ("X-A", "1"), ("", "1"), ("x\n", "1"),
    ("host", "evil.example"), (":authority", "evil.example:"), (":authority", "u@a.example"), (":authority", "a b"),
    (":authority", ""), (":authority", "a.example/x"),
    (":path", ""), (":path", "*"), (":path", "x"), (":path", "/a b"), (":path", "/a HTTP/1.1\r\nhost: evil"), (":path", "/a\0"),
    (":method", "POST / HTTP/1.1\r\nhost: evil"), (":method", "P OST"),
];

#[test]
fn crafted_http2_requests_are_one_http1_request_or_rejected() {
    run(async {
        for target in ["/some", CHAT] {
            let recorder = Recorder::start().await;
            let sidecache = Sidecache::start(&recorder.url()).await;
            send(&sidecache, &headers(target, "good", None)).await;
            for (number, line) in REFUSED.iter().enumerate() {
                send(&sidecache, &headers(target, &format!("{number}"), Some(*line))).await;
            }
            send(&sidecache, &headers(target, "good again", None)).await;
            let mut seen = Vec::new();
            for connection in recorder.connections().await {
                match read(&connection.bytes) {
                    Read::Whole { length } if length == connection.bytes.len() => {
                        seen.push(connection.case())
                    }
                    // The streamed body did not have its announced length, so it was cut.
                    Read::Part if target != CHAT => {}
                    read => panic!("{read:?}: {}", connection.text()),
                }
            }
            assert_eq!(seen, ["good", "good again"], "{target}: of {REFUSED:?}");
        }
    });
}

fn headers(target: &str, case: &str, line: Option<(&str, &str)>) -> Vec<(String, String)> {
    let mut headers: Vec<_> = GOOD
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.replace("{T}", target)))
        .chain([("x-case".to_owned(), case.to_owned())])
        .collect();
    if let Some((name, value)) = line {
        match headers.iter_mut().find(|(own, _)| own == name) {
            Some((_, own)) => value.clone_into(own),
            None => headers.push((name.to_owned(), value.to_owned())),
        }
    }
    headers
}

/// Sends one request on a connection of its own, and waits until that is over.
async fn send(sidecache: &Sidecache, headers: &[(String, String)]) {
    let mut stream = TcpStream::connect(sidecache.address()).await.expect("a connection");
    let mut block = Vec::new();
    for (name, value) in headers {
        // A literal field, not indexed, with a new name (RFC 7541, section 6.2.2).
        block.push(0);
        for text in [name, value] {
            assert!(text.len() < 127, "longer lengths are written otherwise");
            block.push(text.len() as u8);
            block.extend_from_slice(text.as_bytes());
        }
    }
    let bytes = [
        PREFACE,
        &frame(SETTINGS, 0, 0, &[]),
        &frame(HEADERS, END_HEADERS, 1, &block),
        &frame(DATA, END_STREAM, 1, BODY.as_bytes()),
    ]
    .concat();
    // A server that has closed already is seen when reading.
    let _ = stream.write_all(&bytes).await;
    soon("the stream's end", async {
        let mut head = [0; 9];
        while stream.read_exact(&mut head).await.is_ok() {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            if stream.read_exact(&mut vec![0; length]).await.is_err() {
                return;
            }
            let [_, _, _, kind, flags, ..] = head;
            let is_last = matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0;
            if is_last || matches!(kind, RST_STREAM | GOAWAY) {
                return;
            }
        }
    })
    .await;
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend_from_slice(&[kind, flags]);
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

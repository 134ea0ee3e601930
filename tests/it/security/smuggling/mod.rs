//! A corpus of crafted requests: each is exactly one request upstream, framed in one way, or is refused.

mod corpus;
mod http2;
mod recorder;
mod rejected;
mod strict_parser;

use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};

use crate::support::{RawClient, Setup, Sidecache, run, samples::CHAT, soon};
use corpus::{BODY, Case, Verdict, cases};
use recorder::{Connection, Recorder};
use strict_parser::{Read, read};

/// Requests at a time.
const WORKERS: usize = 8;

/// A request without an answer for this long may be waiting for more bytes, so the client closes its half.
const SILENCE: Duration = Duration::from_millis(250);

/// The statuses of a rejection.
const REFUSALS: [&str; 6] = ["400", "413", "414", "431", "501", "505"];

#[test]
fn crafted_requests_are_one_request_or_rejected_when_passed_through() {
    run(judge("/some"));
}

#[test]
fn crafted_requests_are_one_request_or_rejected_on_a_cacheable_route() {
    run(judge(CHAT));
}

/// On every route, also if the same head with a good length came before.
#[test]
fn an_invalid_or_enormous_content_length_is_rejected() {
    run(async {
        let recorder = Recorder::start().await;
        let follows = "[[route]]\nmatch = \"POST /follows\"\nkind = \"other\"\nmode = \"rfc9111\"";
        let sidecache = Setup::to(&recorder.url()).config(follows).admin().start().await;
        for target in [CHAT, "/v1/embeddings", "/api/v1/documents", "/follows", "/some", "/health"] {
            for length in [
                "9007199254740993",
                "9223372036854775808",
                // The two largest that 64 bits hold are a 431, by the HTTP parser.
                "18446744073709551613",
                "18446744073709551616",
                "99999999999999999999999999",
                "+5",
                "-5",
                "5, 5",
                "5,5",
                "5 5",
                "0x5",
                "5.0",
                "",
            ] {
                let request = |length: &str| {
                    format!(
                        "POST {target} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
                    )
                };
                let mut raw = RawClient::connect(sidecache.address()).await;
                raw.send(request(length)).await;
                let received = raw.rest().await;
                assert!(received.starts_with("HTTP/1.1 400 "), "{target} {length:?}: {received:?}");
                let mut raw = RawClient::connect(sidecache.address()).await;
                raw.send(request("2") + "{}").await;
                raw.head().await;
                raw.send(request(length)).await;
                let received = raw.rest().await;
                assert!(received.contains("HTTP/1.1 400 "), "{target} {length:?} again: {received:?}");
            }
        }
        let mut raw = RawClient::connect(sidecache.admin()).await;
        raw.send("POST /purge HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9007199254740993\r\n\r\n").await;
        assert!(raw.rest().await.starts_with("HTTP/1.1 400 "));
    });
}

/// Sends the whole corpus, then looks at what came of it.
async fn judge(target: &'static str) {
    let recorder = Recorder::start().await;
    let sidecache = Sidecache::start(&recorder.url()).await;
    let corpus = Arc::new(cases(target));
    assert!(corpus.len() >= 400, "{}", corpus.len());
    let mut workers = JoinSet::new();
    for first in 0..WORKERS {
        let (corpus, server) = (Arc::clone(&corpus), sidecache.address());
        workers.spawn(async move {
            let mut received = Vec::new();
            for case in corpus.iter().skip(first).step_by(WORKERS) {
                received.push((case.clone(), send(server, &case.bytes, case.verdict).await));
                follow_up(server, target, case).await;
            }
            received
        });
    }
    let received: Vec<_> = workers.join_all().await.into_iter().flatten().collect();
    let mut seen = HashMap::<String, Vec<Connection>>::new();
    for connection in recorder.connections().await {
        if !connection.bytes.is_empty() {
            seen.entry(connection.case()).or_default().push(connection);
        }
    }
    let mut faults = Vec::new();
    for (case, received) in &received {
        let after = seen.remove(&format!("after {}", case.name)).unwrap_or_default();
        assert_eq!(after.len(), 1, "the request after {}", case.what);
        let hidden = seen.remove(&format!("in {}", case.name)).unwrap_or_default();
        let mut seen = seen.remove(&case.name).unwrap_or_default();
        seen.extend(hidden);
        if let Err(fault) = verdict(case, received, &seen, target == CHAT) {
            faults.push(format!(
                "{fault}: {}\n    received {received:?}\n    seen {:?}",
                case.what,
                seen.iter().map(Connection::text).collect::<Vec<_>>()
            ));
        }
    }
    let strays: Vec<_> = seen.values().flatten().map(Connection::text).collect();
    assert!(strays.is_empty(), "requests that nobody sent: {strays:?}");
    assert!(faults.is_empty(), "{} of {}:\n{}", faults.len(), corpus.len(), faults.join("\n"));
}

/// Whether the result of a case is right.
fn verdict(case: &Case, received: &str, seen: &[Connection], is_read_first: bool) -> Result<(), String> {
    let statuses = received.split("HTTP/1.").skip(1).map(|received| &received[2..5]);
    let statuses: Vec<_> = statuses.filter(|status| *status != "100").collect();
    // An answer to `HEAD` has no body. What comes after the request may be refused.
    let is_own = received.contains(&format!("about {}.", case.name)) || received.ends_with("\r\n\r\n");
    let is_refusal = |status: &&str| REFUSALS.contains(status);
    let is_answered = statuses.first() == Some(&"200") && is_own && statuses[1..].iter().all(is_refusal);
    let is_refused = statuses.len() <= 1 && statuses.iter().all(is_refusal);
    if seen.len() > 1 {
        return Err("sent more than once".to_owned());
    }
    let whole = match seen.first().map(|connection| (read(&connection.bytes), connection.bytes.len())) {
        None => false,
        Some((Read::Whole { length }, all)) if length == all => true,
        // A streamed body cannot be checked before it is sent; a fault in it cuts it.
        Some((Read::Part, _)) if !is_read_first => false,
        Some((read, _)) => return Err(format!("{read:?}")),
    };
    match (case.verdict, is_answered, is_refused, seen.len()) {
        (Verdict::Answered | Verdict::Whichever, true, _, 1) if whole => Ok(()),
        (Verdict::Refused | Verdict::Whichever, _, true, 0) => Ok(()),
        // Cut by sidecache, or the client left before the answer.
        (Verdict::Whichever, _, true, 1) => Ok(()),
        (verdict, ..) => Err(format!("not {verdict:?}")),
    }
}

/// Sends bytes on a connection of their own, and gives all that comes back.
async fn send(server: SocketAddr, bytes: &[u8], verdict: Verdict) -> String {
    let mut stream = TcpStream::connect(server).await.expect("a connection");
    // A server that has closed already is seen when reading.
    let _ = soon("room to write", stream.write_all(bytes)).await;
    let mut received = Vec::new();
    let patience = if verdict == Verdict::Answered { crate::support::PATIENCE } else { SILENCE };
    while !is_whole(&received) {
        match timeout(patience, stream.read_buf(&mut received)).await {
            Ok(Ok(1..)) => {}
            _ => break,
        }
    }
    let _ = stream.shutdown().await;
    let _ = soon("the connection's end", stream.read_to_end(&mut received)).await;
    String::from_utf8_lossy(&received).into_owned()
}

/// Whether a response that says its length has come whole.
fn is_whole(received: &[u8]) -> bool {
    let text = String::from_utf8_lossy(received);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    length.is_some_and(|length| length.parse() == Ok(body.len()))
}

/// A good request after a crafted one gets its own answer.
async fn follow_up(server: SocketAddr, target: &str, case: &Case) {
    let name = format!("after {}", case.name);
    let request = format!(
        "POST {target} HTTP/1.1\r\nhost: a.example\r\nx-case: {name}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{BODY}",
        BODY.len()
    );
    let received = send(server, request.as_bytes(), Verdict::Answered).await;
    assert!(
        received.starts_with("HTTP/1.1 200") && received.contains(&format!("about {name}.")),
        "{}: {received}",
        case.what
    );
}

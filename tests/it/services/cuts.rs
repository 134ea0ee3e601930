//! Answers that are cut at a byte.
//!
//! What a route says of a stream is tried with every beginning of it. What the proxy does with an answer that breaks
//! off or ends early is tried over sockets: at every byte with `SIDECACHE_CUTS=1`, which takes an hour, and otherwise
//! at some bytes and all of the last ones.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use sidecache::{
    config::{Inputs, load},
    internals::{cache::route::Route, config::routes, dialect::RequestIds, json::Json},
};

use super::{Exchange, Recordings};
use crate::support::{Script, Setup, number_from, run_within};

/// How many of the last bytes are always tried.
const LAST: usize = 12;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// The connection breaks.
    Broken,
    /// The service ends the body there.
    Ended,
}

type Cuts = Arc<Mutex<HashMap<String, (Cut, usize)>>>;

#[test]
fn a_cut_answer_is_never_stored() {
    let step = usize::try_from(number_from("SIDECACHE_CUTS", 499)).expect("a small number");
    run_within(Duration::from_secs(3600), async move {
        let mut faults = Vec::new();
        for recordings in Recordings::all() {
            let cuts = Cuts::default();
            let planned = Arc::clone(&cuts);
            let (_upstream, sidecache) = recordings
                .replayed(move |name, answer| {
                    let cut = planned.lock().unwrap().get(name).copied();
                    match cut {
                        Some((Cut::Broken, at)) => answer.chunked(&answer.body[..at]).close(),
                        Some((Cut::Ended, at)) => answer.chunked(&answer.body[..at]).end(),
                        None => Script::raw().close(),
                    }
                })
                .await;
            for (name, exchange, outcome) in recordings.stored() {
                let kinds: &[Cut] = match outcome.stored.as_str() {
                    // Nothing else says where such an answer ends.
                    "stored-eof" => &[Cut::Broken],
                    _ => &[Cut::Broken, Cut::Ended],
                };
                for cut in kinds {
                    for at in places(exchange, step) {
                        cuts.lock().unwrap().insert(name.clone(), (*cut, at));
                        let Ok(answer) = exchange.open(&sidecache.client(), name).await else { continue };
                        let cache = answer.cache().to_owned();
                        if cache == "HIT" {
                            let before = &exchange.answer.body;
                            let says_all = *cut == Cut::Ended && is_said_before(before, at);
                            if !says_all {
                                faults
                                    .push(format!("{} {name}: {cut:?} before byte {at}", recordings.preset));
                            }
                            break;
                        }
                        let _ = answer.bytes().await;
                    }
                }
            }
        }
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    });
}

#[test]
fn no_beginning_of_a_stream_is_a_whole_answer() {
    let all = Recordings::all();
    let streams = std::thread::scope(|scope| {
        let tried: Vec<_> = all.iter().map(|recordings| scope.spawn(|| try_beginnings(recordings))).collect();
        tried.into_iter().map(|tried| tried.join().expect("no panic")).sum::<usize>()
    });
    assert!(streams > 30, "only {streams} streams are tried");
}

/// Judges every beginning of each stream, and says how many streams there are.
fn try_beginnings(recordings: &Recordings) -> usize {
    let mut streams = 0;
    for (name, exchange, outcome) in recordings.stored() {
        let route = route(recordings, exchange);
        let headers = headers(&exchange.answer.headers);
        let body = Bytes::from(exchange.answer.body.clone());
        let framing = route.framing(&headers);
        if outcome.stored == "stored-eof" || framing.events(&body).is_none() {
            continue;
        }
        streams += 1;
        let request = Json::parse(&exchange.body).unwrap_or_default();
        let path = exchange.target.split('?').next().expect("a path");
        let dialect = route.dialect_for(path, &request);
        let ask = dialect.ask(&request, route.usage, route.stream_default);
        let is_whole = |body: &Bytes| {
            let judging = route.judging(&ask, Some(RequestIds::default()));
            dialect.judge(judging, framing, &headers, body).verdict.is_ok()
        };
        assert!(is_whole(&body), "{} {name}", recordings.preset);
        for at in 0..body.trim_ascii_end().len() {
            if is_whole(&body.slice(..at)) {
                assert!(is_said_before(&body, at), "{} {name}: before byte {at}", recordings.preset);
                break;
            }
        }
    }
    streams
}

/// The route that covers an exchange.
fn route(recordings: &Recordings, exchange: &Exchange) -> Route {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("request.http");
    let head: Vec<_> = exchange.headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
    let head = format!("{} {}\n{}\n", exchange.method, exchange.target, head.concat());
    std::fs::write(&file, [head.as_bytes(), &exchange.body].concat()).expect("a file");
    let file = file.to_str().expect("UTF-8");
    let setup = Setup::to("http://127.0.0.1:1").arguments(&[
        "explain",
        "--json",
        file,
        "--preset",
        &recordings.preset,
    ]);
    let explained = setup.command().output().expect("sidecache");
    let explained: serde_json::Value = serde_json::from_slice(&explained.stdout).expect("JSON");
    let flags =
        vec![("upstream.url", "http://127.0.0.1:1".to_owned()), ("presets", recordings.preset.clone())];
    let loaded = load(&Inputs { flags, ..Inputs::default() }).expect("a configuration");
    let own = routes(&loaded.config).iter().find(|route| explained["route"] == route.name.as_str());
    own.cloned().unwrap_or_else(|| panic!("{} {}: {explained}", recordings.preset, exchange.target))
}

fn headers(headers: &[(String, String)]) -> HeaderMap {
    let header = |(name, value): &(String, String)| {
        (name.parse::<HeaderName>().expect("a name"), value.parse::<HeaderValue>().expect("a value"))
    };
    headers.iter().map(header).collect()
}

/// Whether an OpenAI stream that ends before `at` says all: its choices have ended, and what is left are the usage
/// and `[DONE]`. Such a stream needs no `[DONE]` where its body ends properly.
fn is_said_before(body: &[u8], at: usize) -> bool {
    let line = body[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    let rest = String::from_utf8_lossy(&body[line..]).into_owned();
    let before = String::from_utf8_lossy(&body[..line]);
    let has_ended = before.contains("\"finish_reason\":") || before.contains("response.completed");
    has_ended
        && rest.lines().all(|line| {
            line.trim().is_empty()
                || line.contains("[DONE]")
                || line.contains("\"choices\":[]")
                || line.contains("\"delta\":{}}],\"usage\"")
        })
}

/// Where the answer is cut: before a byte that is more than white space.
fn places(exchange: &Exchange, step: usize) -> Vec<usize> {
    let len = exchange.answer.body.trim_ascii_end().len();
    (0..len).filter(|at| at % step == 0 || len - at <= LAST).collect()
}

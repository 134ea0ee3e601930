//! Answers that are cut at a byte.
//!
//! `SIDECACHE_CUTS=1` cuts at every byte, which takes some minutes. Otherwise some bytes are tried, and all
//! of the last ones.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use super::{Exchange, Recordings};
use crate::support::{Script, number_from, run_within};

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

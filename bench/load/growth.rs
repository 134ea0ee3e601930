//! Memory and throughput of a growing store.

use std::time::Duration;

use support::{process::Listening, sidecache::Options};

use crate::{
    Scale,
    comparison::Comparison,
    environment::{Environment, asks, connections, hits},
    figure::Figure,
    generator::{Load, Numbers},
    hits::SHORT,
    numbered_request::NumberedRequest,
};

/// Room for every answer of a case.
const ROOM: &str = "4GiB";

/// Room for some tens of thousands.
const TIGHT: &str = "64MiB";

/// Answers whose memory is measured, where so many are to be stored at all.
const WEIGHED: u64 = 200_000;

/// Answers that are stored before the memory is first looked at: what the first ones take along is no entry's.
const BEFORE: u64 = WEIGHED / 20;

/// Hits among many stored answers, beside hits among few.
pub(crate) fn rate(environment: &Environment, scale: &Scale) -> Option<Comparison> {
    let full = environment.sidecache(|options| Options { max_memory: ROOM, ..options });
    let few = environment.sidecache(|options| Options { max_memory: ROOM, ..options });
    store(&full, 0..scale.entries);
    let question = || NumberedRequest::json("", SHORT);
    let case = Comparison::new("a hit among many")
        .with(
            &format!("{} answers", scale.entries),
            asks(full.port, question(), Numbers::Below(scale.entries)),
        )
        .with("10 answers", hits(&few, question()))
        .bounds(0.9, 0.97);
    Some(case.keep(full).keep(few))
}

/// What an answer of 1 KiB takes in the process.
pub(crate) fn memory(environment: &Environment, scale: &Scale) -> Figure {
    let sidecache = environment.sidecache(|options| Options { max_memory: ROOM, ..options });
    let (before, all) = (BEFORE.min(scale.entries / 2), WEIGHED.min(scale.entries));
    store(&sidecache, 0..before);
    let empty = sidecache.memory().now;
    store(&sidecache, before..all);
    let kibibytes = sidecache.memory().now.saturating_sub(empty) as f64 / (all - before) as f64;
    let calls = environment.service.calls();
    store(&sidecache, 0..all);
    assert_eq!(environment.service.calls(), calls, "an answer that was weighed is not there");
    Figure {
        name: format!("memory for each of {} stored answers of 1 KiB", all - before),
        value: format!("{kibibytes:.2} KiB"),
        must: "1.6 KiB",
        aim: "1.3 KiB",
    }
}

/// What the process takes where far more is asked than it keeps.
pub(crate) fn distinct(environment: &Environment, scale: &Scale) -> Figure {
    let sidecache = environment.sidecache(|options| Options { max_memory: TIGHT, ..options });
    let quarter = scale.entries / 4;
    let mebibytes = [0, 1, 2, 3].map(|part| {
        store(&sidecache, part * quarter..(part + 1) * quarter);
        sidecache.memory().now as f64 / 1024.0
    });
    let [first, .., last] = mebibytes;
    Figure {
        name: format!("memory after {} distinct questions, a store of {TIGHT}", 4 * quarter),
        value: format!("{last:.1} MiB, after a quarter of them {first:.1} MiB"),
        must: "16 MiB more than then",
        aim: "2 MiB more",
    }
}

/// Asks each of `questions` once.
fn store(sidecache: &Listening, questions: std::ops::Range<u64>) {
    let load = Load {
        port: sidecache.port,
        question: NumberedRequest::json("", SHORT),
        numbers: Numbers::all(questions),
        is_answered: true,
        connections: connections(),
    };
    assert_eq!(load.run(Duration::from_secs(3_600)).wrong, 0, "wrong answers while the store is filled");
}

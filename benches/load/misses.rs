//! Questions that nobody asked before.

use crate::{
    Scale,
    case::{Case, Work},
    generator::Numbers,
    hits::SHORT,
    question::Question,
    stage::{CONNECTIONS, Stage, asks},
    support::{process::Listening, sidecache::Options},
};

/// Each by one caller. What a miss adds to a single call is `benches/latency`'s.
pub(crate) fn in_process(stage: &Stage, _: &Scale) -> Option<Case> {
    let sidecache = stage.sidecache(|options| options);
    let mut case = Case::new("a miss, 300 bytes").with("sidecache", new(sidecache.port, 1));
    if let Some(nginx) = &stage.nginx {
        case = case.with("nginx", new(nginx.port, 1));
    }
    case = case.with("the service itself", new(stage.service.port(), 1));
    Some(case.keep(sidecache))
}

/// Each as often as there are callers: most join the one who asks first, or come just after.
pub(crate) fn coalesced(stage: &Stage, _: &Scale) -> Option<Case> {
    let sidecache = stage.sidecache(|options| options);
    let each = CONNECTIONS as u64;
    let mut case =
        Case::new("new questions, each asked 32 times").with("sidecache", new(sidecache.port, each));
    if let Some(nginx) = &stage.nginx {
        case = case.with("nginx", new(nginx.port, each));
    }
    Some(case.keep(sidecache))
}

/// While Redis is gone.
pub(crate) fn without_redis(stage: &Stage, _: &Scale) -> Option<Case> {
    let (redis, mut gone) = (stage.redis()?, stage.redis()?);
    let behind = |redis: &Listening| {
        let redis = Some(redis.port);
        stage.sidecache(|options| Options { redis, ..options })
    };
    let (with, without) = (behind(&redis), behind(&gone));
    gone.kill();
    let case = Case::new("a miss while Redis is gone")
        .with("sidecache", new(without.port, 1))
        .with("with its Redis", new(with.port, 1));
    Some(case.keep(with).keep(without).keep(redis))
}

/// New questions to `port`, each asked `each` times.
fn new(port: u16, each: u64) -> Work {
    asks(port, Question::json("", SHORT), Numbers::each(each))
}

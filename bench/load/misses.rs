//! Misses: questions that are new.

use support::{
    process::Listening,
    sidecache::{Options, redis_url},
};

use crate::{
    Scale,
    comparison::{Comparison, Work},
    environment::{Environment, asks, connections},
    generator::Numbers,
    hits::SHORT,
    numbered_request::NumberedRequest,
};

/// Each by one caller. What a miss adds to a single call is `bench/latency`'s.
pub(crate) fn in_process(environment: &Environment, _: &Scale) -> Option<Comparison> {
    let sidecache = environment.sidecache(|options| options);
    let mut case = Comparison::new("a miss, 300 bytes").with("sidecache", new(sidecache.port, 1));
    if let Some(before) = environment.before(|options| options) {
        case = case.with("the version before", new(before.port, 1)).keep(before);
    }
    if let Some(nginx) = &environment.nginx {
        case = case.with("nginx", new(nginx.port, 1));
    }
    case = case.with("the service itself", new(environment.service.port(), 1));
    Some(case.keep(sidecache))
}

/// Each as often as there are callers: most join the one who asks first, or come just after.
pub(crate) fn coalesced(environment: &Environment, _: &Scale) -> Option<Comparison> {
    let sidecache = environment.sidecache(|options| options);
    let each = connections() as u64;
    let mut case =
        Comparison::new("new questions, each asked 32 times").with("sidecache", new(sidecache.port, each));
    if let Some(nginx) = &environment.nginx {
        case = case.with("nginx", new(nginx.port, each));
    }
    Some(case.keep(sidecache))
}

/// While Redis is gone.
pub(crate) fn without_redis(environment: &Environment, _: &Scale) -> Option<Comparison> {
    let (redis, mut gone) = (environment.redis()?, environment.redis()?);
    let behind = |redis: &Listening| {
        let url = redis_url(redis.port);
        environment.sidecache(|options| Options { redis: Some(&url), ..options })
    };
    let (with, without) = (behind(&redis), behind(&gone));
    gone.kill();
    let case = Comparison::new("a miss while Redis is gone")
        .with("sidecache", new(without.port, 1))
        .with("with its Redis", new(with.port, 1));
    Some(case.keep(with).keep(without).keep(redis))
}

/// New questions to `port`, each asked `each` times.
fn new(port: u16, each: u64) -> Work {
    asks(port, NumberedRequest::json("", SHORT), Numbers::each(each))
}

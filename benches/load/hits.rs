//! Questions that were asked before.

use crate::{
    Scale,
    case::Case,
    question::Question,
    redis_benchmark::RedisBenchmark,
    stage::{CONNECTIONS, Stage, greetings, hits},
    support::sidecache::Options,
};

/// How long a question is.
pub(crate) const SHORT: usize = 300;

/// How long one is that has a RAG prompt's context.
const LONG: usize = 64 * 1024;

/// What nginx can still keep of it: it counts a key and an answer's head together in 16 bits, and where they are
/// longer, each question is a miss.
const KEPT_BY_NGINX: usize = 64_000;

/// From the process's own store.
pub(crate) fn in_process(stage: &Stage, _: &Scale) -> Option<Case> {
    let sidecache = stage.sidecache(|options| options);
    let question = || Question::json("", SHORT);
    let mut case =
        Case::new("a hit in the process, 300 bytes").with("sidecache", hits(&sidecache, question()));
    if let Some(nginx) = &stage.nginx {
        case = case.with("nginx", hits(nginx, question())).bounds(1.0, 1.15);
    }
    if let Some(varnish) = &stage.varnish {
        case = case.with("Varnish, by GET", hits(varnish, Question::get()));
    }
    case = case.with("bare hyper, hello", greetings(&stage.hello, question())).bounds(0.7, 0.85);
    Some(case.keep(sidecache))
}

/// The same, where each request is told in a log.
pub(crate) fn logged(stage: &Stage, _: &Scale) -> Option<Case> {
    let sidecache = stage.sidecache(|options| Options { log_level: "INFO", ..options });
    let mut case = Case::new("the same, requests logged to a file")
        .with("sidecache", hits(&sidecache, Question::json("", SHORT)));
    if let Some(nginx) = &stage.nginx {
        case = case.with("nginx", hits(nginx, Question::json("/logged", SHORT))).bounds(0.6, 1.0);
    }
    Some(case.keep(sidecache))
}

/// The same with a long question.
pub(crate) fn large(stage: &Stage, _: &Scale) -> Option<Case> {
    let sidecache = stage.sidecache(|options| options);
    let mut case =
        Case::new("the same, 64 KiB").with("sidecache", hits(&sidecache, Question::json("", LONG)));
    if let Some(nginx) = &stage.nginx {
        case = case.with("nginx", hits(nginx, Question::json("/large", LONG))).bounds(3.0, 10.0);
        let kept = Question::json("/large", KEPT_BY_NGINX);
        case = case.with("nginx, 64,000 bytes", hits(nginx, kept));
    }
    case = case.with("bare hyper, hello", greetings(&stage.hello, Question::json("", LONG)));
    Some(case.keep(sidecache))
}

/// A recorded stream.
pub(crate) fn stream(stage: &Stage, _: &Scale) -> Option<Case> {
    let sidecache = stage.sidecache(|options| options);
    let question = || Question::stream("", SHORT);
    let mut case =
        Case::new("a stream of 21 events, in the process").with("sidecache", hits(&sidecache, question()));
    if let Some(nginx) = &stage.nginx {
        case = case.with("nginx", hits(nginx, question()));
    }
    Some(case.keep(sidecache))
}

/// From Redis, without the tier in front of it, and with it.
pub(crate) fn redis(stage: &Stage, _: &Scale) -> Option<Case> {
    let redis = stage.redis()?;
    let far = stage.sidecache(|options| Options { redis: Some(redis.port), ..options });
    let near =
        stage.sidecache(|options| Options { redis: Some(redis.port), near_memory: "64MiB", ..options });
    let question = || Question::json("", SHORT);
    let asked = hits(&far, question());
    asked.warm_up(std::time::Duration::ZERO);
    let len = stored_len(redis.port);
    let benchmark = RedisBenchmark { port: redis.port, len, connections: CONNECTIONS };
    let case = Case::new(&format!("a hit in Redis, {len} bytes there"))
        .with("sidecache, no tier in front", asked)
        .with("redis-benchmark, GET", crate::case::Work::Gets(benchmark))
        .bounds(0.4, 0.6)
        .with("sidecache, the tier in front", hits(&near, question()));
    Some(case.keep(far).keep(near).keep(redis))
}

/// How long a stored answer is in Redis.
fn stored_len(port: u16) -> usize {
    let client = redis::Client::open(("127.0.0.1", port)).expect("an address");
    let mut connection = client.get_connection().expect("a connection");
    let keys: Vec<String> =
        redis::cmd("KEYS").arg("sidecache:query:*").query(&mut connection).expect("the keys");
    let key = keys.first().expect("an answer that was stored");
    redis::cmd("STRLEN").arg(key).query(&mut connection).expect("its length")
}

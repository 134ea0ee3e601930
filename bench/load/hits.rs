//! Hits: questions that were asked before.

use support::{
    redis_servers::{Kind, Servers},
    sidecache::{Options, redis_url},
};

use crate::{
    Scale,
    comparison::Comparison,
    environment::{Environment, connections, greetings, hits},
    numbered_request::NumberedRequest,
    redis_benchmark::RedisBenchmark,
};

/// How long a question is.
pub(crate) const SHORT: usize = 300;

/// How long one is that has a RAG prompt's context.
const LONG: usize = 64 * 1024;

/// What nginx can still keep of it: it counts a key and an answer's head together in 16 bits, and where they are
/// longer, each question is a miss.
const KEPT_BY_NGINX: usize = 64_000;

/// From the process's own store.
pub(crate) fn in_process(environment: &Environment, _: &Scale) -> Option<Comparison> {
    let sidecache = environment.sidecache(|options| options);
    let question = || NumberedRequest::json("", SHORT);
    let mut case =
        Comparison::new("a hit in the process, 300 bytes").with("sidecache", hits(&sidecache, question()));
    if let Some(before) = environment.before(|options| options) {
        case = case.with("the version before", hits(&before, question())).keep(before);
    }
    if let Some(nginx) = &environment.nginx {
        case = case.with("nginx", hits(nginx, question())).bounds(1.0, 1.15);
    }
    if let Some(varnish) = &environment.varnish {
        case = case.with("Varnish, by GET", hits(varnish, NumberedRequest::get()));
    }
    case = case
        .with("bare hyper, hello", greetings(&environment.hello, question()))
        .bounds(0.75, 0.85)
        .with("bare hyper, an answer like a hit", greetings(&environment.same_answer, question()));
    Some(case.keep(sidecache))
}

/// The same, where each request is told in a log.
pub(crate) fn logged(environment: &Environment, _: &Scale) -> Option<Comparison> {
    let sidecache = environment.sidecache(|options| Options { log_level: "INFO", ..options });
    let mut case = Comparison::new("the same, requests logged to a file")
        .with("sidecache", hits(&sidecache, NumberedRequest::json("", SHORT)));
    if let Some(nginx) = &environment.nginx {
        case = case.with("nginx", hits(nginx, NumberedRequest::json("/logged", SHORT))).bounds(0.6, 1.0);
    }
    Some(case.keep(sidecache))
}

/// The same with a long question.
pub(crate) fn large(environment: &Environment, _: &Scale) -> Option<Comparison> {
    let sidecache = environment.sidecache(|options| options);
    let mut case = Comparison::new("the same, 64 KiB")
        .with("sidecache", hits(&sidecache, NumberedRequest::json("", LONG)));
    if let Some(nginx) = &environment.nginx {
        case = case.with("nginx", hits(nginx, NumberedRequest::json("/large", LONG))).bounds(3.0, 10.0);
        let kept = NumberedRequest::json("/large", KEPT_BY_NGINX);
        case = case.with("nginx, 64,000 bytes", hits(nginx, kept));
    }
    case = case.with("bare hyper, hello", greetings(&environment.hello, NumberedRequest::json("", LONG)));
    Some(case.keep(sidecache))
}

/// A recorded stream.
pub(crate) fn stream(environment: &Environment, _: &Scale) -> Option<Comparison> {
    let sidecache = environment.sidecache(|options| options);
    let question = || NumberedRequest::stream("", SHORT);
    let mut case = Comparison::new("a stream of 21 events, in the process")
        .with("sidecache", hits(&sidecache, question()));
    if let Some(nginx) = &environment.nginx {
        case = case.with("nginx", hits(nginx, question()));
    }
    Some(case.keep(sidecache))
}

/// From Redis, without the tier in front of it, and with it.
pub(crate) fn redis(environment: &Environment, _: &Scale) -> Option<Comparison> {
    let redis = environment.redis()?;
    let url = &redis_url(redis.port);
    let far = environment.sidecache(|options| Options { redis: Some(url), ..options });
    let near = environment.sidecache(|options| Options { redis: Some(url), near_memory: "64MiB", ..options });
    let question = || NumberedRequest::json("", SHORT);
    let asked = hits(&far, question());
    asked.warm_up(std::time::Duration::ZERO);
    let len = stored_len(redis.port);
    let benchmark = RedisBenchmark { port: redis.port, len, connections: connections() };
    let mut case = Comparison::new(&format!("a hit in Redis, {len} bytes there"))
        .with("sidecache, no tier in front", asked);
    if let Some(before) = environment.before(|options| Options { redis: Some(url), ..options }) {
        case = case.with("the version before", hits(&before, question())).keep(before);
    }
    let case = case
        .with("redis-benchmark, GET", crate::comparison::Work::Gets(benchmark))
        .bounds(0.4, 0.6)
        .with("sidecache, the tier in front", hits(&near, question()));
    Some(case.keep(far).keep(near).keep(redis))
}

/// From a cluster of three masters, beside one server.
pub(crate) fn cluster(environment: &Environment, _: &Scale) -> Option<Comparison> {
    let redis = environment.redis()?;
    let cluster = Servers::start(Kind::Cluster, environment.folder());
    let [own, whole] = [redis_url(redis.port), cluster.url()];
    let start = |url: &String| environment.sidecache(|options| Options { redis: Some(url), ..options });
    let (of_one, of_cluster) = (start(&own), start(&whole));
    let question = || NumberedRequest::json("", SHORT);
    let case = Comparison::new("a hit in Redis, no tier in front")
        .with("a cluster of three masters", hits(&of_cluster, question()))
        .with("one server", hits(&of_one, question()));
    let case = case.keep(of_one).keep(of_cluster).keep(redis);
    Some(cluster.into_processes().into_iter().fold(case, Comparison::keep))
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

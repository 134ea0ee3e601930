//! Headers about one call (ids, limits, timings) go only to the caller of that call.

use crate::support::{
    Answer, Gate, RedisServer, Script, Setup, Sidecache, Upstream, eventually, run,
    samples::{CHAT, DONE, cases, chat, chat_answer, chat_events, chat_stream},
    soon,
};

/// Headers of services, vendors and gateways about a call.
const OF_THE_CALL: [(&str, &str); 32] = [
    ("openai-processing-ms", "812"),
    ("openai-organization", "org-a"),
    ("openai-project", "proj_a"),
    ("x-ratelimit-remaining-tokens", "7"),
    ("request-id", "req_a"),
    ("anthropic-ratelimit-requests-remaining", "7"),
    ("anthropic-organization-id", "a"),
    ("apim-request-id", "a"),
    ("x-ms-region", "West US"),
    ("azureml-model-session", "d1"),
    ("x-amzn-requestid", "a"),
    ("x-amzn-bedrock-input-token-count", "7"),
    ("x-compute-time", "0.7"),
    ("x-total-time", "7"),
    ("x-litellm-call-id", "a"),
    ("x-litellm-response-cost", "0.7"),
    ("x-portkey-trace-id", "a"),
    ("helicone-id", "a"),
    ("cf-ray", "a"),
    ("x-kong-upstream-latency", "7"),
    ("x-envoy-upstream-service-time", "7"),
    ("server-timing", "db;dur=7"),
    ("traceparent", "00-a-b-01"),
    ("retry-after", "7"),
    // What the call made for its caller.
    ("location", "/threads/a/runs/b"),
    ("content-location", "/threads/a/runs/b/stream"),
    ("x-session-id", "a"),
    ("mcp-session-id", "a"),
    ("x-conversation-id", "a"),
    ("x-thread-id", "a"),
    ("x-run-id", "b"),
    ("x-chat-message-id", "c"),
];

/// Headers about the answer.
const OF_THE_ANSWER: [(&str, &str); 5] = [
    ("openai-model", "m-2"),
    ("x-litellm-model-name", "m-2"),
    ("etag", "\"a\""),
    ("content-language", "de"),
    ("x-document-id", "7"),
];

fn all() -> Vec<(&'static str, &'static str)> {
    OF_THE_CALL.into_iter().chain(OF_THE_ANSWER).collect()
}

/// Checks that an answer has all headers, or only those about the answer.
#[track_caller]
fn assert_told(answer: &Answer, of_the_call: bool, what: &str) {
    for (name, value) in OF_THE_CALL {
        assert_eq!(answer.header(name), if of_the_call { value } else { "" }, "{what}: {name}");
    }
    let has_body = !["embed", "Embed", "moderations"].iter().any(|part| what.contains(part));
    // A merged batch has no headers about a body.
    for (name, value) in OF_THE_ANSWER.into_iter().filter(|(name, _)| has_body || *name != "etag") {
        assert_eq!(answer.header(name), value, "{what}: {name}");
    }
}

async fn hits_repeat_nothing(redis: Option<&RedisServer>) {
    for case in cases() {
        let answer = case.answer.clone();
        let upstream = Upstream::start(move |_| Script::json_with(200, &all(), &answer)).await;
        let setup = Setup::to(&upstream.url());
        let sidecache = match redis {
            Some(redis) => setup.arguments(&["--redis", &redis.url()]).env("CACHE_NEAR_MEMORY", "0"),
            None => setup,
        };
        let sidecache = sidecache.config("[store]\ntimeout = \"5s\"").start().await;
        for turn in ["MISS", "HIT"] {
            let answer = sidecache.client().post(case.target, &case.question).await;
            assert_eq!(answer.cache(), turn, "{}", case.target);
            assert_told(&answer, turn == "MISS", case.target);
        }
        if let Some(redis) = redis {
            sidecache.log.stored(1).await;
            redis.cli(&["FLUSHALL"]);
        }
    }
}

#[test]
fn a_hit_from_memory_has_no_headers_of_the_first_call() {
    run(hits_repeat_nothing(None));
}

#[test]
fn a_hit_from_redis_has_no_headers_of_the_first_call() {
    run(async {
        hits_repeat_nothing(Some(&RedisServer::start())).await;
    });
}

#[test]
fn a_stream_hit_has_no_headers_of_the_first_call_in_either_form() {
    run(async {
        let mut head = all();
        head.push(("content-type", "text/event-stream"));
        head.push(("transfer-encoding", "chunked"));
        let script = chat_events().into_iter().fold(Script::raw().head(200, &head), Script::chunk).end();
        let upstream = Upstream::always(script).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        for (question, turn) in [(chat_stream(), "MISS"), (chat_stream(), "HIT"), (chat(), "HIT")] {
            let answer = sidecache.client().post(CHAT, &question).await;
            assert_eq!(answer.cache(), turn);
            let is_made = answer.header("content-type") == "application/json";
            let received = if is_made { "embedded in JSON" } else { "a stream" };
            assert_told(&answer, turn == "MISS", received);
        }
    });
}

#[test]
fn followers_get_no_headers_of_the_leaders_call() {
    run(async {
        let gate = Gate::new();
        let mut head = all();
        head.push(("content-type", "text/event-stream"));
        head.push(("transfer-encoding", "chunked"));
        let events = chat_events();
        let begun = Script::raw().head(200, &head).chunk(&events[0]).wait(&gate);
        let script = events[1..].iter().fold(begun, |script, event| script.chunk(event)).end();
        let upstream = Upstream::always(script).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let mut leader = sidecache.client().stream(CHAT, &chat_stream()).await;
        leader.until(&events[0]).await;
        let mut follower = sidecache.client().stream(CHAT, &chat_stream()).await;
        follower.until(&events[0]).await;
        gate.open();
        assert_eq!((leader.cache(), follower.cache()), ("MISS", "COALESCED"));
        for (of_the_call, streaming) in [(true, leader), (false, follower)] {
            let headers = streaming.headers.clone();
            let text = streaming.rest().await.expect("whole");
            assert!(text.ends_with(DONE));
            assert_told(&Answer { status: 200, headers, body: text.into() }, of_the_call, "a stream");
        }
    });
}

#[test]
fn a_shared_error_keeps_its_retry_after() {
    run(async {
        let gate = Gate::new();
        let refusal = Script::json_with(429, &all(), &chat_answer()).after(&gate);
        let upstream = Upstream::always(refusal).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let ask = |id: &'static str| {
            let client = sidecache.client();
            tokio::spawn(async move { client.post_with(CHAT, &[("x-request-id", id)], &chat()).await })
        };
        let leader = ask("leader");
        eventually("the call", async || (upstream.calls() == 1).then_some(())).await;
        let follower = ask("follower");
        sidecache.log.looked_up("follower").await;
        // A request joins at once after its lookup: some other requests pass meanwhile.
        for _ in 0..5 {
            sidecache.health().await;
        }
        gate.open();
        let [leader, follower] = [soon("it", leader).await, soon("it", follower).await].map(Result::unwrap);
        assert_eq!((leader.cache(), follower.cache()), ("MISS", "COALESCED"));
        for (name, own) in [("retry-after", "7"), ("x-ratelimit-remaining-tokens", ""), ("cf-ray", "")] {
            assert_eq!(follower.header(name), own, "{name}");
        }
        assert_told(&leader, true, "the leader");
    });
}

#[test]
fn rfc9111_mode_keeps_headers_of_the_call() {
    run(async {
        let mut head = all();
        head.push(("cache-control", "max-age=600"));
        let upstream = Upstream::always(Script::json_with(200, &head, &chat_answer())).await;
        let route = "[[route]]\nmatch = \"GET /page\"\nkind = \"document\"\nmode = \"rfc9111\"";
        let sidecache = Setup::to(&upstream.url()).config(route).start().await;
        for turn in ["MISS", "HIT"] {
            let answer = sidecache.client().get("/page").await;
            assert_eq!(answer.cache(), turn);
            // `drop_headers` counts on every route.
            for (name, value) in OF_THE_CALL.into_iter().filter(|(name, _)| !name.starts_with("x-ratelimit"))
            {
                assert_eq!(answer.header(name), value, "{turn}: {name}");
            }
        }
    });
}

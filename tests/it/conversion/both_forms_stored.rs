//! If neither form can be converted to the other, both are stored. An answer that serves both forms stays,
//! whichever fill ends last. In memory and in Redis.

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{Case, GEMINI, SSE, cases, expect, sent, stream_of, unknown};
use crate::support::{
    Answer, Gate, RedisServer, Script, Setup, Sidecache, Upstream, eventually, run,
    samples::{CHAT, chat_events, data},
    soon,
};

/// A case in which neither form can be converted to the other.
fn apart(case: Case) -> Case {
    let mut case = unknown(case);
    let whole = &mut case.whole;
    match case.target {
        "/v1/messages" => drop(whole["usage"].as_object_mut().expect("usage").remove("output_tokens")),
        "/v1/responses" => drop(whole["output"][0].as_object_mut().expect("an item").remove("id")),
        "/v2/chat" => whole["message"]["content"][0]["novel"] = json!("a"),
        "/api/chat" => whole["message"]["images"] = json!(["x"]),
        "/api/generate" => whole["logprobs"] = json!({"a": 1}),
        GEMINI => {
            let call = json!({"functionCall": {"name": "f", "willContinue": true}});
            whole["candidates"][0]["content"]["parts"] = json!([call]);
        }
        _ => whole["choices"][0]["logprobs"] = json!("a"),
    }
    case
}

/// A sidecache with an admin listener, with the memory store or a Redis of its own.
struct Fixture {
    sidecache: Sidecache,
    redis: Option<RedisServer>,
}

impl Fixture {
    async fn new(in_redis: bool, upstream: &Upstream) -> Self {
        let redis = in_redis.then(RedisServer::start);
        let setup = Setup::to(&upstream.url()).config("[store]\ntimeout = \"10s\"").admin();
        let setup = match &redis {
            Some(redis) => setup.arguments(&["--redis", &redis.url()]),
            None => setup,
        };
        Self { sidecache: setup.start().await, redis }
    }

    /// Sends the question, and expects this `X-Cache`.
    async fn expect(&self, case: &Case, stream: bool, cache: &str) -> Answer {
        expect(&self.sidecache.client(), case.target, &case.ask(stream), cache).await
    }

    /// Asks for a stored answer. In Redis, an answer in the other form that is just being written may hide it
    /// for a moment; then the request joins instead, without an upstream call.
    async fn found(&self, case: &Case, stream: bool) -> Answer {
        self.found_by(case.target, &case.ask(stream)).await
    }

    async fn found_by(&self, target: &str, question: &Value) -> Answer {
        let client = self.sidecache.client();
        let (target, question) = sent(target, question);
        // A document cannot join a stream that is being written: that moment is waited for, without a call.
        if self.redis.is_some() {
            let headers = [("cache-control", "only-if-cached")];
            eventually("what is written hides nothing", async || {
                (client.post_with(&target, &headers, &question).await.status == 200).then_some(())
            })
            .await;
        }
        let answer = client.post(&target, &question).await;
        let is_found = match answer.cache() {
            "HIT" => true,
            cache => cache == "COALESCED" && self.redis.is_some(),
        };
        assert!(is_found && answer.status == 200, "{}: {question}: {}", answer.cache(), answer.text());
        answer
    }
}

#[test]
fn forms_that_cannot_be_converted_are_both_stored() {
    run(async {
        for in_redis in [false, true] {
            for (case, stream_first) in cases().into_iter().map(apart).zip([true, false].into_iter().cycle())
            {
                let upstream = case.upstream().await;
                let fixture = Fixture::new(in_redis, &upstream).await;
                let first = fixture.expect(&case, stream_first, "MISS").await;
                let second = fixture.expect(&case, !stream_first, "MISS").await;
                assert_eq!(first.key(), second.key(), "one question, to those who ask");
                for _ in 0..2 {
                    let again = fixture.found(&case, stream_first).await;
                    assert_eq!((&again.body, again.key()), (&first.body, first.key()), "{}", case.target);
                    let again = fixture.found(&case, !stream_first).await;
                    assert_eq!((&again.body, again.key()), (&second.body, first.key()), "{}", case.target);
                }
                assert_eq!(upstream.calls(), 2, "{}", case.target);
            }
        }
    });
}

#[test]
fn a_purge_removes_both_forms() {
    run(async {
        for in_redis in [false, true] {
            let case = cases().into_iter().map(apart).next().expect("a case");
            let upstream = case.upstream().await;
            let fixture = Fixture::new(in_redis, &upstream).await;
            let operator = fixture.sidecache.operator();
            let key = fixture.expect(&case, false, "MISS").await.key();
            fixture.expect(&case, true, "MISS").await;
            let local = key.split_once(':').expect("a namespace").1.to_owned();
            let beginning = format!("{}*", &local[..20]);
            let purge = |body: Value| ("POST", "/purge".to_owned(), body.to_string());
            let calls = [
                ("DELETE", format!("/entries/{key}"), String::new()),
                purge(json!({"key": key})),
                purge(json!({"pattern": local})),
                purge(json!({"pattern": beginning})),
                purge(json!({"kind": "query"})),
            ];
            for (method, target, body) in calls {
                fixture.found(&case, false).await;
                fixture.found(&case, true).await;
                let headers = [("content-type", "application/json")];
                let answer = operator.request(method, &target, &headers, body.clone()).await;
                assert_eq!(answer.status, 200, "{method} {target} {body}: {}", answer.text());
                let listed = operator.get("/entries").await.json();
                assert_eq!(listed["entries"], json!([]), "{method} {target} {body}");
                fixture.expect(&case, false, "MISS").await;
                fixture.expect(&case, true, "MISS").await;
            }
            // An entry that an operator puts replaces both forms, even if it cannot be converted.
            let put =
                json!({"body": case.whole.to_string(), "headers": {"content-type": "application/json"}});
            let headers = [("content-type", "application/json")];
            let answer = operator.request("PUT", &format!("/entries/{key}"), &headers, put.to_string()).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            fixture.found(&case, false).await;
            fixture.expect(&case, true, "MISS").await;
            fixture.found(&case, true).await;
        }
    });
}

/// An upstream whose chat streams wait before their end: those without usage for `plain`, those with usage
/// for `usage`.
struct Held {
    plain: Gate,
    usage: Gate,
    upstream: Upstream,
}

impl Held {
    async fn new(case: &Case) -> Self {
        let (plain, usage) = (Gate::new(), Gate::new());
        let received = stream_of(SSE, &case.events).after(&usage);
        let mut events = case.events.clone();
        events.remove(events.len() - 2);
        let untold = stream_of(SSE, &events).after(&plain);
        let whole = Script::json(&case.whole);
        let upstream = Upstream::start(move |request| {
            let request = request.json();
            match request["stream"] == true {
                true if request["stream_options"]["include_usage"] == true => received.clone(),
                true => untold.clone(),
                false => whole.clone(),
            }
        });
        Self { upstream: upstream.await, plain, usage }
    }

    /// Asks, and waits until the upstream has the question.
    async fn lead(&self, fixture: &Fixture, case: &Case, question: Value) -> JoinHandle<Answer> {
        let (client, target) = (fixture.sidecache.client(), case.target);
        let calls = self.upstream.calls();
        let asked = tokio::spawn(async move { client.post(target, &question).await });
        let is_asked = async || (self.upstream.calls() > calls).then_some(());
        eventually("the upstream's call", is_asked).await;
        asked
    }
}

#[test]
fn the_answer_that_serves_both_forms_stays_whichever_ends_last() {
    run(async {
        for in_redis in [false, true] {
            for (case, plain_last) in
                cases().into_iter().take(2).flat_map(|case| [(case.clone(), true), (case, false)])
            {
                let held = Held::new(&case).await;
                let fixture = Fixture::new(in_redis, &held.upstream).await;
                let mut plain = case.ask(true);
                plain.as_object_mut().expect("a question").remove("stream_options");
                let without = held.lead(&fixture, &case, plain.clone()).await;
                let with = held.lead(&fixture, &case, case.ask(true)).await;
                let in_order = [(&held.plain, without), (&held.usage, with)];
                let in_order: Vec<_> =
                    if plain_last { in_order.into_iter().rev().collect() } else { in_order.into() };
                for (gate, asked) in in_order {
                    gate.open();
                    let answer = soon("an answer", asked).await.expect("no panic");
                    assert_eq!((answer.status, answer.cache()), (200, "MISS"));
                }
                fixture.found(&case, false).await;
                fixture.found(&case, true).await;
                fixture.found_by(case.target, &plain).await;
                assert_eq!(held.upstream.calls(), 2, "{}, plain last: {plain_last}", case.target);
            }
        }
    });
}

/// With `no-cache` the new answer is stored, even if it serves fewer requests than the old one.
#[test]
fn an_answer_requested_with_no_cache_replaces_the_old_one() {
    run(async {
        let case = cases().into_iter().next().expect("a case");
        let held = Held::new(&case).await;
        [&held.plain, &held.usage].into_iter().for_each(Gate::open);
        let fixture = Fixture::new(false, &held.upstream).await;
        let client = fixture.sidecache.client();
        let mut plain = case.ask(true);
        plain.as_object_mut().expect("a question").remove("stream_options");
        fixture.expect(&case, false, "MISS").await;
        expect(&client, case.target, &plain, "HIT").await;
        // The times of entries have milliseconds.
        let stored = std::time::SystemTime::now();
        eventually("a later millisecond", async || (stored.elapsed().ok()?.as_millis() > 2).then_some(()))
            .await;
        let refetched = client.post_with(CHAT, &[("cache-control", "no-cache")], &plain).await;
        assert_eq!(refetched.cache(), "BYPASS");
        let again = expect(&client, case.target, &plain, "HIT").await;
        assert_eq!(again.body, refetched.body, "the new one, as it came");
    });
}

#[test]
fn another_replica_joins_a_fill_of_the_second_form() {
    run(async {
        let case = cases().into_iter().map(apart).next().expect("a case");
        let gate = Gate::new();
        let (whole, stream) = (Script::json(&case.whole), stream_of(SSE, &case.events).after(&gate));
        let upstream = super::both(whole, stream).await;
        let redis = RedisServer::start();
        let replica = || {
            Setup::to(&upstream.url())
                .arguments(&["--redis", &redis.url()])
                .env("CACHE_NEAR_MEMORY", "0")
                .config("[store]\ntimeout = \"10s\"")
                .start()
        };
        let (one, two) = (replica().await, replica().await);
        expect(&one.client(), case.target, &case.ask(false), "MISS").await;
        let ask = |replica: &Sidecache, id: &'static str| {
            let (client, target, question) = (replica.client(), case.target, case.ask(true));
            let headers = [("x-request-id", id)];
            tokio::spawn(async move { client.post_with(target, &headers, &question).await })
        };
        let leader = ask(&one, "leader");
        eventually("the leader's call", async || (upstream.calls() == 2).then_some(())).await;
        let follower = ask(&two, "follower");
        two.log.looked_up("follower").await;
        gate.open();
        let led = soon("the leader", leader).await.expect("no panic");
        let followed = soon("the follower", follower).await.expect("no panic");
        assert_eq!((led.cache(), followed.cache()), ("MISS", "COALESCED"));
        assert_eq!(followed.text(), case.events.concat());
        expect(&two.client(), case.target, &case.ask(false), "HIT").await;
        expect(&two.client(), case.target, &case.ask(true), "HIT").await;
        assert_eq!(upstream.calls(), 2);
    });
}

/// A server that writes null for unknown members, and adds its timings.
#[test]
fn null_members_and_timings_do_not_prevent_conversion() {
    run(async {
        let chunk = |delta: Value, finish: Value, more: Value| {
            let mut chunk = json!({"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m",
                "choices": [{"index": 0, "delta": delta, "message": null, "logprobs": null, "finish_reason": finish}],
                "usage": null, "system_fingerprint": null});
            chunk.as_object_mut().expect("a chunk").extend(more.as_object().expect("members").clone());
            data(&chunk)
        };
        let said = |text: &str| json!({"role": "assistant", "content": text, "tool_calls": null});
        let taken = json!({"usage": {"total_tokens": 3}, "timings": {"ms": 1.5}, "choices": null});
        let events = [
            chunk(said("Re"), Value::Null, json!({})),
            chunk(said("dis."), json!("stop"), json!({})),
            chunk(json!({}), Value::Null, taken),
            chat_events().last().expect("an end").clone(),
        ];
        let upstream = Upstream::always(stream_of(SSE, &events)).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let client = sidecache.client();
        let case = cases().into_iter().next().expect("a case");
        expect(&client, CHAT, &case.ask(true), "MISS").await;
        let whole = expect(&client, CHAT, &case.ask(false), "HIT").await.json();
        assert_eq!(whole["choices"][0]["message"]["content"], "Redis.");
        assert_eq!((&whole["timings"]["ms"], &whole["usage"]["total_tokens"]), (&json!(1.5), &json!(3)));
        let mut plain = case.ask(true);
        plain.as_object_mut().expect("a question").remove("stream_options");
        let without = expect(&client, CHAT, &plain, "HIT").await.text();
        assert!(without.contains("\"timings\"") && !without.contains("total_tokens"), "{without}");
        assert_eq!(upstream.calls(), 1);
    });
}

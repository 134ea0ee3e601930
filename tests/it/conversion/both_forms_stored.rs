//! Two forms of which neither can be made from the other are both kept, and what serves both forms stays, whichever ends
//! last: in the process, and in Redis.

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{Case, SSE, cases, expect, stream_of, unknown};
use crate::support::{
    Answer, Gate, RedisServer, Script, Setup, Sidecache, Upstream, eventually, run,
    samples::{CHAT, chat_events, data},
    soon,
};

/// A case neither of whose forms can be made from the other.
fn apart(case: Case) -> Case {
    let mut case = unknown(case);
    let whole = &mut case.whole;
    match case.target {
        "/v1/messages" => drop(whole["usage"].as_object_mut().expect("usage").remove("output_tokens")),
        "/v1/responses" => drop(whole["output"][0].as_object_mut().expect("an item").remove("id")),
        "/api/chat" => whole["message"]["images"] = json!(["x"]),
        "/api/generate" => whole["logprobs"] = json!({"a": 1}),
        _ => whole["choices"][0]["logprobs"] = json!("a"),
    }
    case
}

/// A sidecache with its operator, in the process or on a Redis of its own.
struct Stage {
    sidecache: Sidecache,
    redis: Option<RedisServer>,
}

impl Stage {
    async fn new(in_redis: bool, upstream: &Upstream) -> Self {
        let redis = in_redis.then(RedisServer::start);
        let setup = Setup::to(&upstream.url()).config("[store]\ntimeout = \"10s\"").admin();
        let setup = match &redis {
            Some(redis) => setup.arguments(&["--redis", &redis.url()]),
            None => setup,
        };
        Self { sidecache: setup.start().await, redis }
    }

    /// Asks, and expects this of `X-Cache`.
    async fn expect(&self, case: &Case, stream: bool, cache: &str) -> Answer {
        expect(&self.sidecache.client(), case.target, &case.ask(stream), cache).await
    }

    /// Asks for what is kept. What another form's answer, on its way to Redis, hides for a moment when the store is asked
    /// first is given all the same, without a call.
    async fn found(&self, case: &Case, stream: bool) -> Answer {
        self.found_by(case.target, &case.ask(stream)).await
    }

    async fn found_by(&self, target: &str, question: &Value) -> Answer {
        let answer = self.sidecache.client().post(target, question).await;
        let is_found = match answer.cache() {
            "HIT" => true,
            cache => cache == "COALESCED" && self.redis.is_some(),
        };
        assert!(is_found && answer.status == 200, "{}: {question}: {}", answer.cache(), answer.text());
        answer
    }
}

#[test]
fn forms_that_cannot_be_made_from_each_other_are_both_kept() {
    run(async {
        for in_redis in [false, true] {
            for (case, stream_first) in cases().into_iter().map(apart).zip([true, false].into_iter().cycle())
            {
                let upstream = case.upstream().await;
                let stage = Stage::new(in_redis, &upstream).await;
                let first = stage.expect(&case, stream_first, "MISS").await;
                let second = stage.expect(&case, !stream_first, "MISS").await;
                assert_eq!(first.key(), second.key(), "one question, to those who ask");
                for _ in 0..2 {
                    let again = stage.found(&case, stream_first).await;
                    assert_eq!((&again.body, again.key()), (&first.body, first.key()), "{}", case.target);
                    let again = stage.found(&case, !stream_first).await;
                    assert_eq!((&again.body, again.key()), (&second.body, first.key()), "{}", case.target);
                }
                assert_eq!(upstream.calls(), 2, "{}", case.target);
            }
        }
    });
}

#[test]
fn who_purges_a_question_means_both_forms() {
    run(async {
        for in_redis in [false, true] {
            let case = cases().into_iter().map(apart).next().expect("a case");
            let upstream = case.upstream().await;
            let stage = Stage::new(in_redis, &upstream).await;
            let operator = stage.sidecache.operator();
            let key = stage.expect(&case, false, "MISS").await.key();
            stage.expect(&case, true, "MISS").await;
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
                stage.found(&case, false).await;
                stage.found(&case, true).await;
                let headers = [("content-type", "application/json")];
                let answer = operator.request(method, &target, &headers, body.clone()).await;
                assert_eq!(answer.status, 200, "{method} {target} {body}: {}", answer.text());
                let listed = operator.get("/entries").await.json();
                assert_eq!(listed["entries"], json!([]), "{method} {target} {body}");
                stage.expect(&case, false, "MISS").await;
                stage.expect(&case, true, "MISS").await;
            }
            // What is put by hand is the answer in all forms, made from it or not.
            let put =
                json!({"body": case.whole.to_string(), "headers": {"content-type": "application/json"}});
            let headers = [("content-type", "application/json")];
            let answer = operator.request("PUT", &format!("/entries/{key}"), &headers, put.to_string()).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            stage.found(&case, false).await;
            stage.expect(&case, true, "MISS").await;
            stage.found(&case, true).await;
        }
    });
}

/// A chat's stream without its usage, and that with it, each held at its end; and when an answer in that form is over.
struct Held {
    plain: Gate,
    usage: Gate,
    upstream: Upstream,
}

impl Held {
    async fn new(case: &Case) -> Self {
        let (plain, usage) = (Gate::new(), Gate::new());
        let told = stream_of(SSE, &case.events).after(&usage);
        let mut events = case.events.clone();
        events.remove(events.len() - 2);
        let untold = stream_of(SSE, &events).after(&plain);
        let whole = Script::json(&case.whole);
        let upstream = Upstream::start(move |request| {
            let request = request.json();
            match request["stream"] == true {
                true if request["stream_options"]["include_usage"] == true => told.clone(),
                true => untold.clone(),
                false => whole.clone(),
            }
        });
        Self { upstream: upstream.await, plain, usage }
    }

    /// Asks, and waits until the upstream has the question.
    async fn lead(&self, stage: &Stage, case: &Case, question: Value) -> JoinHandle<Answer> {
        let (client, target) = (stage.sidecache.client(), case.target);
        let calls = self.upstream.calls();
        let asked = tokio::spawn(async move { client.post(target, &question).await });
        let is_asked = async || (self.upstream.calls() > calls).then_some(());
        eventually("the upstream's call", is_asked).await;
        asked
    }
}

#[test]
fn what_serves_both_forms_stays_whichever_ends_last() {
    run(async {
        for in_redis in [false, true] {
            for (case, plain_last) in
                cases().into_iter().take(2).flat_map(|case| [(case.clone(), true), (case, false)])
            {
                let held = Held::new(&case).await;
                let stage = Stage::new(in_redis, &held.upstream).await;
                let mut plain = case.ask(true);
                plain.as_object_mut().expect("a question").remove("stream_options");
                let without = held.lead(&stage, &case, plain.clone()).await;
                let with = held.lead(&stage, &case, case.ask(true)).await;
                let in_order = [(&held.plain, without), (&held.usage, with)];
                let in_order: Vec<_> =
                    if plain_last { in_order.into_iter().rev().collect() } else { in_order.into() };
                for (gate, asked) in in_order {
                    gate.open();
                    let answer = soon("an answer", asked).await.expect("no panic");
                    assert_eq!((answer.status, answer.cache()), (200, "MISS"));
                }
                stage.found(&case, false).await;
                stage.found(&case, true).await;
                stage.found_by(case.target, &plain).await;
                assert_eq!(held.upstream.calls(), 2, "{}, plain last: {plain_last}", case.target);
            }
        }
    });
}

/// Who asks for the answer anew gets it stored, be it one that serves less.
#[test]
fn an_answer_that_was_asked_for_anew_takes_the_place_of_the_old_one() {
    run(async {
        let case = cases().into_iter().next().expect("a case");
        let held = Held::new(&case).await;
        [&held.plain, &held.usage].into_iter().for_each(Gate::open);
        let stage = Stage::new(false, &held.upstream).await;
        let client = stage.sidecache.client();
        let mut plain = case.ask(true);
        plain.as_object_mut().expect("a question").remove("stream_options");
        stage.expect(&case, false, "MISS").await;
        expect(&client, case.target, &plain, "HIT").await;
        // The entries' times are milliseconds.
        let stored = std::time::SystemTime::now();
        eventually("a later millisecond", async || (stored.elapsed().ok()?.as_millis() > 2).then_some(()))
            .await;
        let anew = client.post_with(CHAT, &[("cache-control", "no-cache")], &plain).await;
        assert_eq!(anew.cache(), "BYPASS");
        let again = expect(&client, case.target, &plain, "HIT").await;
        assert_eq!(again.body, anew.body, "the new one, as it came");
    });
}

#[test]
fn another_replica_waits_for_the_form_that_is_kept_beside() {
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

/// A server that ends its streams without `[DONE]`, has null in place of what it does not know, and tells its times.
#[test]
fn what_is_null_and_what_it_took_keep_no_answer_from_its_other_form() {
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

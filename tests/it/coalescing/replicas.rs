//! Two replicas on one Redis: they share one upstream call, and neither delays the other for long.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::support::{
    Answer, Gate, RedisServer, Script, Setup, Sidecache, Upstream, eventually, eventually_within, run,
    samples::{CHAT, QUERY, chat, chat_answer, chat_events, chat_stream, query},
    soon,
};

/// What a busy machine may add to a promised time; less than the default of `coalesce.replica_wait`.
const SLACK: Duration = Duration::from_secs(5);

/// Two replicas with their Redis and their upstream.
struct Pair {
    redis: RedisServer,
    upstream: Upstream,
    one: Sidecache,
    two: Sidecache,
}

impl Pair {
    /// With these settings; the upstream answers the first call with the first script, and so on.
    async fn start(settings: &str, scripts: Vec<Script>) -> Self {
        let (redis, upstream) = (RedisServer::start(), Upstream::in_turn(scripts).await);
        let (one, two) = (replica(&redis, &upstream, settings), replica(&redis, &upstream, settings));
        let (one, two) = (one.await, two.await);
        Self { redis, upstream, one, two }
    }

    /// Asks the first replica, and waits until the upstream has the question.
    async fn lead(&self, question: &Value) -> JoinHandle<Result<Answer, String>> {
        let calls = self.upstream.calls();
        let leader = ask(&self.one, "leader", question);
        self.asked(calls + 1).await;
        leader
    }

    /// Asks the second replica, and waits until it has found nothing in the store.
    async fn follow(&self, question: &Value) -> JoinHandle<Result<Answer, String>> {
        let follower = ask(&self.two, "follower", question);
        self.two.log.looked_up("follower").await;
        follower
    }

    async fn asked(&self, count: usize) {
        let calls = async || (self.upstream.calls() >= count).then_some(());
        eventually(&format!("{count} upstream calls"), calls).await;
    }

    /// The keys of the leases in Redis.
    fn leases(&self) -> Vec<String> {
        self.redis.cli(&["KEYS", "sidecache:_:lease:*"]).lines().map(str::to_owned).collect()
    }
}

/// A replica without a near cache, with a store timeout that even a busy machine keeps.
async fn replica(redis: &RedisServer, upstream: &Upstream, settings: &str) -> Sidecache {
    Setup::to(&upstream.url())
        .arguments(&["--redis", &redis.url()])
        .env("CACHE_NEAR_MEMORY", "0")
        .config(&format!("{settings}\n[store]\ntimeout = \"5s\""))
        .start()
        .await
}

/// Sends a question in a task of its own. It fails if its replica is killed.
fn ask(replica: &Sidecache, id: &str, question: &Value) -> JoinHandle<Result<Answer, String>> {
    ask_at(replica, CHAT, id, question)
}

fn ask_at(
    replica: &Sidecache,
    target: &'static str,
    id: &str,
    question: &Value,
) -> JoinHandle<Result<Answer, String>> {
    let (client, id, body) = (replica.client(), id.to_owned(), question.to_string());
    tokio::spawn(async move {
        let headers = [("content-type", "application/json"), ("x-request-id", id.as_str())];
        let open = client.try_open("POST", target, &headers, body).await?;
        let (status, headers) = (open.status, open.headers.clone());
        let body = open.rest().await?.into();
        Ok(Answer { status, headers, body })
    })
}

async fn received(asked: JoinHandle<Result<Answer, String>>) -> Answer {
    soon("an answer", asked).await.expect("no panic").expect("an answer")
}

/// `script`, once `gate` is open.
fn held(gate: &Gate, script: Script) -> Script {
    let mut held = Script::raw().wait(gate);
    held.steps.extend(script.steps);
    held
}

fn answer() -> Script {
    Script::json(&chat_answer())
}

#[test]
fn two_replicas_make_one_upstream_call_for_the_same_question() {
    run(async {
        let events = chat_events();
        let events: Vec<_> = events.iter().map(String::as_str).collect();
        for (question, script) in [(chat(), answer()), (chat_stream(), Script::events(&events))] {
            let go = Gate::new();
            let pair = Pair::start("", vec![held(&go, script)]).await;
            let leader = pair.lead(&question).await;
            let mut others = vec![pair.follow(&question).await];
            for index in 0..9 {
                for replica in [&pair.one, &pair.two] {
                    let id = format!("other-{index}");
                    others.push(ask(replica, &id, &question));
                    replica.log.looked_up(&id).await;
                }
            }
            go.open();
            let leader = received(leader).await;
            assert_eq!((leader.status, leader.cache()), (200, "MISS"));
            for other in others {
                let other = received(other).await;
                assert_eq!((other.status, other.cache()), (200, "COALESCED"));
                assert_eq!(other.body, leader.body);
                assert_eq!(other.header("content-type"), leader.header("content-type"));
            }
            assert_eq!(pair.upstream.calls(), 1);
            assert_eq!(pair.two.health().await["cache"]["coalesced"], 10);
            for replica in [&pair.one, &pair.two] {
                assert_eq!(replica.client().post(CHAT, &question).await.cache(), "HIT");
            }
        }
    });
}

#[test]
fn a_replica_that_dies_while_leading_delays_the_other_by_two_seconds_at_most() {
    run(async {
        let mut pair = Pair::start("", vec![Script::raw().hang(), answer()]).await;
        let leader = pair.lead(&chat()).await;
        let follower = pair.follow(&chat()).await;
        pair.one.kill();
        let calls = async || (pair.upstream.calls() == 2).then_some(());
        eventually_within(Duration::from_secs(2) + SLACK, "the other asks", calls).await;
        let follower = received(follower).await;
        assert_eq!((follower.status, follower.json()), (200, chat_answer()));
        soon("its end", leader).await.expect("no panic").expect_err("its replica is dead");
        assert_eq!(pair.two.client().post(CHAT, &chat()).await.cache(), "HIT");
    });
}

#[test]
fn a_replica_makes_its_own_call_after_replica_wait() {
    run(async {
        let go = Gate::new();
        let settings = "[coalesce]\nreplica_wait = \"300ms\"";
        let pair = Pair::start(settings, vec![held(&go, answer()), answer()]).await;
        let leader = pair.lead(&chat()).await;
        let began = Instant::now();
        // The leader's answer is still to come.
        let own = received(pair.follow(&chat()).await).await;
        assert_eq!((own.status, own.cache(), pair.upstream.calls()), (200, "MISS", 2));
        assert!(began.elapsed() >= Duration::from_millis(300), "{:?}", began.elapsed());
        go.open();
        assert_eq!(received(leader).await.status, 200);
    });
}

#[test]
fn an_unshareable_answer_releases_the_other_replica() {
    run(async {
        let (head, body, later) = (Gate::new(), Gate::new(), Gate::new());
        let text = chat_answer().to_string();
        let length = text.len().to_string();
        let headers =
            [("content-type", "application/json"), ("content-length", &length), ("cache-control", "private")];
        let in_two = Script::raw().wait(&head).head(200, &headers).wait(&body).send(&text);
        let at_once = Script::json_with(200, &[("cache-control", "private")], &chat_answer());
        let scripts = vec![in_two, at_once.clone(), held(&later, at_once.clone()), at_once];
        let pair = Pair::start("", scripts).await;
        let leader = pair.lead(&chat()).await;
        let follower = pair.follow(&chat()).await;
        head.open();
        let own = received(follower).await;
        assert_eq!((own.cache(), own.detail(), pair.upstream.calls()), ("MISS", Some("private"), 2));
        // Nor does the other replica wait for the next call.
        let next = pair.lead(&chat()).await;
        assert_eq!(pair.two.client().post(CHAT, &chat()).await.cache(), "MISS");
        assert_eq!(pair.upstream.calls(), 4);
        for key in pair.leases() {
            let left: i64 = pair.redis.cli(&["TTL", &key]).parse().expect("seconds");
            assert!((1..=60).contains(&left), "{key}: {left}");
        }
        body.open();
        later.open();
        assert_eq!(
            (received(leader).await.json(), received(next).await.json()),
            (chat_answer(), chat_answer())
        );
    });
}

#[test]
fn requests_are_answered_when_redis_dies_during_a_fill() {
    run(async {
        let go = Gate::new();
        let mut pair = Pair::start("", vec![held(&go, answer()), answer()]).await;
        let leader = pair.lead(&chat()).await;
        let follower = pair.follow(&chat()).await;
        pair.redis.kill();
        // The leader's answer is still to come.
        let follower = received(follower).await;
        assert_eq!((follower.status, follower.json()), (200, chat_answer()));
        go.open();
        let leader = received(leader).await;
        assert_eq!((leader.status, leader.json()), (200, chat_answer()));
        assert_eq!(pair.upstream.calls(), 2);
    });
}

#[test]
fn leases_are_short_lived_and_not_counted() {
    run(async {
        let go = Gate::new();
        let pair = Pair::start("", vec![held(&go, answer())]).await;
        let leader = pair.lead(&chat()).await;
        let keys = pair.leases();
        assert_eq!(keys.len(), 1, "{keys:?}");
        let left: i64 = pair.redis.cli(&["PTTL", &keys[0]]).parse().expect("milliseconds");
        assert!((1..=2000).contains(&left), "{keys:?}: {left}");
        // The lease, and the two keys of the invalidation log.
        assert_eq!(pair.redis.keys(), 3);
        assert_eq!(pair.one.health().await["cache"]["total_keys"], 0);
        go.open();
        assert_eq!(received(leader).await.status, 200);
        eventually("the lease is given back", async || pair.leases().is_empty().then_some(())).await;
        let counted = async || (pair.two.health().await["cache"]["total_keys"] == 1).then_some(());
        eventually("the answer is counted", counted).await;
    });
}

#[test]
fn after_a_failure_on_one_replica_the_other_makes_the_call() {
    run(async {
        let go = Gate::new();
        let pair = Pair::start("", vec![Script::raw().wait(&go).close(), answer()]).await;
        let leader = pair.lead(&chat()).await;
        let follower = pair.follow(&chat()).await;
        go.open();
        assert_eq!(received(leader).await.status, 502);
        let follower = received(follower).await;
        assert_eq!((follower.status, follower.json()), (200, chat_answer()));
        assert_eq!(pair.upstream.calls(), 2);
    });
}

#[test]
fn the_other_replica_does_not_get_the_id_of_a_new_conversation() {
    run(async {
        let go = Gate::new();
        let opened = json!({"answer": "Redis.", "conversation_id": "c-1", "sources": []});
        let pair = Pair::start("", vec![held(&go, Script::json(&opened))]).await;
        let leader = ask_at(&pair.one, QUERY, "leader", &query());
        pair.asked(1).await;
        let follower = ask_at(&pair.two, QUERY, "follower", &query());
        pair.two.log.looked_up("follower").await;
        go.open();
        assert_eq!(received(leader).await.json(), opened);
        let follower = received(follower).await;
        assert_eq!((follower.cache(), pair.upstream.calls()), ("COALESCED", 1));
        assert_eq!(follower.text(), opened.to_string().replace("\"c-1\"", "null"));
    });
}

#[test]
fn a_draining_replica_finishes_a_fill_for_the_other() {
    run(async {
        let go = Gate::new();
        let mut pair = Pair::start("drain_timeout = \"25s\"", vec![held(&go, answer())]).await;
        let leader = pair.lead(&chat()).await;
        let follower = pair.follow(&chat()).await;
        // The only client leaves, but the fill goes on.
        leader.abort();
        pair.one.terminate();
        pair.one.log.lifecycle("drain").await;
        go.open();
        assert!(pair.one.ended().await.success());
        let follower = received(follower).await;
        assert_eq!((follower.cache(), follower.json()), ("COALESCED", chat_answer()));
        assert_eq!(pair.two.client().post(CHAT, &chat()).await.cache(), "HIT");
        assert_eq!(pair.upstream.calls(), 1);
    });
}

#[test]
fn a_replica_waits_for_the_other_no_longer_than_first_byte_timeout() {
    run(async {
        let rest = Gate::new();
        let events = chat_events();
        let begun = Script::chunked("text/event-stream").chunk(&events[0]).wait(&rest);
        let running = events[1..].iter().fold(begun, Script::chunk).end();
        let settings = "[upstream]\nfirst_byte_timeout = \"2s\"";
        let pair = Pair::start(settings, vec![running.clone(), running]).await;
        let leader = pair.lead(&chat_stream()).await;
        let began = Instant::now();
        let follower = pair.two.client().stream(CHAT, &chat_stream()).await;
        let (took, calls) = (began.elapsed(), pair.upstream.calls());
        let limit = Duration::from_secs(2) + SLACK;
        assert!(took < limit, "{} after {took:?}, {calls} upstream calls", follower.status);
        rest.open();
        assert_eq!(received(leader).await.status, 200);
    });
}

/// A follower on the other replica gets the usage if its own request asked for it, whatever the leader asked
/// for.
#[test]
fn followers_on_either_replica_get_usage_only_if_they_asked_for_it() {
    run(async {
        let route = format!("[[route]]\nmatch = \"POST {CHAT}\"\nkind = \"query\"\nusage = \"ask\"\n");
        let events = chat_events();
        let events: Vec<_> = events.iter().map(String::as_str).collect();
        let go = Gate::new();
        let pair = Pair::start(&route, vec![held(&go, Script::events(&events))]).await;
        let plain = chat_stream();
        let mut with_usage = plain.clone();
        with_usage["stream_options"] = json!({"include_usage": true});
        let leader = pair.lead(&plain).await;
        let first_there = pair.follow(&plain).await;
        let second_there = ask(&pair.two, "second", &with_usage);
        pair.two.log.looked_up("second").await;
        go.open();
        let (leader, first, second) =
            (received(leader).await, received(first_there).await, received(second_there).await);
        for answer in [&leader, &first] {
            assert!(!answer.text().contains("total_tokens"), "{}", answer.text());
        }
        assert!(second.text().contains("\"total_tokens\":10"), "{} {}", second.cache(), second.text());
        assert!([&leader, &first, &second].iter().all(|answer| answer.text().ends_with("[DONE]\n\n")));
        assert_eq!(pair.upstream.calls(), 1);
    });
}

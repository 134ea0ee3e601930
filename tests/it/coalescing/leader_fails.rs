//! Leaders that fail: one of those who wait tries again, once, and nobody hangs.

use std::time::{Duration, Instant};

use super::*;

/// What a leader and three followers get where the upstream answers the first call so and the next ones so; and how
/// many calls it got.
async fn after(first: Script, next: Script) -> (Answer, Vec<Answer>, usize) {
    let (go, again) = (Gate::new(), Gate::new());
    let held = |gate: &Gate, script: Script| {
        let mut held = Script::raw().wait(gate);
        held.steps.extend(script.steps);
        held
    };
    let upstream = Upstream::in_turn(vec![held(&go, first), held(&again, next)]).await;
    let sidecache = Sidecache::start(&upstream.url()).await;
    let leader = leading(&sidecache.client(), &upstream, 0, CHAT, &chat()).await;
    let followers = waiting(&sidecache, 4, CHAT, &chat()).await;
    go.open();
    let leader = soon("the leader", leader).await.expect("no panic");
    asked(&upstream, 2).await;
    joined(&sidecache).await;
    again.open();
    let followers = answers(followers).await;
    (leader, followers, upstream.calls())
}

fn failing(status: u16) -> Script {
    Script::json_with(status, &[], &json!({"error": status}))
}

#[test]
fn one_follower_tries_again_where_the_leader_failed_before_its_first_byte() {
    run(async {
        for (first, status) in [(Script::raw().close(), 502), (failing(500), 500), (failing(503), 503)] {
            let (leader, followers, calls) = after(first, Script::json(&chat_answer())).await;
            assert_eq!(leader.status, status);
            assert!(followers.iter().all(|answer| answer.status == 200 && answer.json() == chat_answer()));
            assert_eq!((count(&followers, "MISS"), count(&followers, "COALESCED")), (1, 3), "{status}");
            assert_eq!(calls, 2, "{status}");
        }
    });
}

#[test]
fn nobody_tries_a_third_time() {
    run(async {
        for (first, next, status) in [
            (Script::raw().close(), Script::raw().close(), 502),
            // The second call goes over a new connection: over a used one, it could be sent once more.
            (failing(500).close(), Script::raw().close(), 502),
            (Script::raw().close(), failing(503), 503),
            (failing(503), failing(503), 503),
        ] {
            let (_, followers, calls) = after(first, next).await;
            let statuses: Vec<_> = followers.iter().map(|answer| answer.status).collect();
            assert_eq!((statuses, calls), (vec![status; 4], 2));
        }
    });
}

#[test]
fn a_refusal_is_shared_among_the_same_callers() {
    run(async {
        let go = Gate::new();
        let mut held = Script::raw().wait(&go);
        held.steps.extend(failing(400).steps);
        let upstream = Upstream::always(held).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let leader = leading(&sidecache.client(), &upstream, 0, CHAT, &chat()).await;
        let followers = waiting(&sidecache, 3, CHAT, &chat()).await;
        go.open();
        let leader = soon("the leader", leader).await.expect("no panic");
        let followers = answers(followers).await;
        assert_eq!((leader.status, leader.cache()), (400, "MISS"));
        assert_eq!(count(&followers, "COALESCED"), 3);
        assert!(followers.iter().all(|answer| answer.status == 400 && answer.body == leader.body));
        assert_eq!(upstream.calls(), 1);
        assert_eq!(sidecache.client().post(CHAT, &chat()).await.cache(), "MISS", "it is not stored");
    });
}

#[test]
fn a_cookie_of_an_answer_that_is_shared_and_not_stored_is_its_own_callers() {
    run(async {
        let path = "/api/v1/conversations/1";
        for status in [401, 503] {
            let go = Gate::new();
            let answer =
                Script::json_with(status, &[("set-cookie", "session=leader")], &json!({"error": status}));
            let upstream = Upstream::always(Script::raw().wait(&go).then(answer)).await;
            let sidecache = Sidecache::start(&upstream.url()).await;
            let get = |client: Client| tokio::spawn(async move { client.get(path).await });
            let leader = get(sidecache.client());
            asked(&upstream, 1).await;
            let follower = get(sidecache.client());
            second_joined(&sidecache).await;
            go.open();
            let leader = soon("the leader", leader).await.expect("no panic");
            let follower = soon("the follower", follower).await.expect("no panic");
            assert_eq!((leader.status, leader.header("set-cookie")), (status, "session=leader"));
            assert_eq!(follower.status, status);
            // A failure is asked for again, once; that answer is the follower's own.
            let expected = if follower.cache() == "COALESCED" { "" } else { "session=leader" };
            assert_eq!(follower.header("set-cookie"), expected);
            assert_eq!(follower.cache() == "COALESCED", status == 401);
        }
    });
}

#[test]
fn a_cut_leader_cuts_its_followers() {
    run(async {
        let cut = Gate::new();
        let events = chat_events();
        let script = Script::chunked(SSE).chunk(&events[0]).wait(&cut).chunk(&events[1]).close();
        let upstream = Upstream::always(script).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let client = sidecache.client();
        let mut readers = vec![streaming(&client, "leader").await];
        for index in 0..3 {
            readers.push(streaming(&client, &format!("follower-{index}")).await);
        }
        cut.open();
        for reader in readers {
            reader.rest().await.expect_err("a cut");
        }
        assert_eq!(upstream.calls(), 1);
        let next = streaming(&client, "next").await;
        assert_eq!((next.cache(), upstream.calls()), ("MISS", 2));
    });
}

#[test]
fn nobody_waits_longer_than_from_their_own_arrival() {
    run(async {
        let limit = Duration::from_secs(2);
        let upstream = Upstream::always(Script::raw().hang()).await;
        let sidecache =
            Setup::to(&upstream.url()).config("[upstream]\nfirst_byte_timeout = \"2s\"").start().await;
        let client = sidecache.client();
        let mut all = Vec::new();
        for turn in 0..3 {
            let client = client.clone();
            all.push(tokio::spawn(async move {
                let began = Instant::now();
                let answer = client.post(CHAT, &chat()).await;
                (answer.status, answer.json()["error"].clone(), began.elapsed())
            }));
            // The first of them leads.
            asked(&upstream, usize::from(turn == 0)).await;
        }
        for one in all {
            let (status, error, took) = soon("an answer", one).await.expect("no panic");
            assert_eq!((status, error), (504, json!("UpstreamTimeoutException")));
            assert!(took >= limit, "{took:?}");
            assert!(took < limit + Duration::from_millis(1500), "waited for two calls: {took:?}");
        }
    });
}

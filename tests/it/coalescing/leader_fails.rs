//! Leaders that fail: one follower retries, once, and no follower hangs.

use std::time::{Duration, Instant};

use super::*;

/// The answers to a leader and four followers, and the number of upstream calls, if the upstream answers the
/// first call with `first` and later ones with `next`.
async fn after(first: Script, next: Script) -> (Answer, Vec<Answer>, usize) {
    let (go, again) = (Gate::new(), Gate::new());
    let held = |gate: &Gate, script: Script| {
        let mut held = Script::raw().wait(gate);
        held.steps.extend(script.steps);
        held
    };
    let upstream = Upstream::in_turn(vec![held(&go, first), held(&again, next)]).await;
    let sidecache = Sidecache::start(&upstream.url()).await;
    let leader = start_leader(&sidecache.client(), &upstream, 0, CHAT, &chat()).await;
    let followers = start_followers(&sidecache, 4, CHAT, &chat()).await;
    go.open();
    let leader = soon("the leader", leader).await.expect("no panic");
    await_calls(&upstream, 2).await;
    let_followers_join(&sidecache).await;
    again.open();
    let followers = await_answers(followers).await;
    (leader, followers, upstream.calls())
}

fn failing(status: u16) -> Script {
    Script::json_with(status, &[], &json!({"error": status}))
}

#[test]
fn one_follower_retries_after_the_leader_failed_before_its_first_byte() {
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
fn a_failed_call_is_retried_once_only() {
    run(async {
        for (first, next, status) in [
            (Script::raw().close(), Script::raw().close(), 502),
            // The second call goes over a new connection: over a used one it could be retried.
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
fn a_400_is_shared_with_followers_and_not_stored() {
    run(async {
        let go = Gate::new();
        let mut held = Script::raw().wait(&go);
        held.steps.extend(failing(400).steps);
        let upstream = Upstream::always(held).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let leader = start_leader(&sidecache.client(), &upstream, 0, CHAT, &chat()).await;
        let followers = start_followers(&sidecache, 3, CHAT, &chat()).await;
        go.open();
        let leader = soon("the leader", leader).await.expect("no panic");
        let followers = await_answers(followers).await;
        assert_eq!((leader.status, leader.cache()), (400, "MISS"));
        assert_eq!(count(&followers, "COALESCED"), 3);
        assert!(followers.iter().all(|answer| answer.status == 400 && answer.body == leader.body));
        assert_eq!(upstream.calls(), 1);
        assert_eq!(sidecache.client().post(CHAT, &chat()).await.cache(), "MISS", "it is not stored");
    });
}

#[test]
fn followers_do_not_get_the_cookie_of_a_shared_error() {
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
            await_calls(&upstream, 1).await;
            let follower = get(sidecache.client());
            let_second_join(&sidecache).await;
            go.open();
            let leader = soon("the leader", leader).await.expect("no panic");
            let follower = soon("the follower", follower).await.expect("no panic");
            assert_eq!((leader.status, leader.header("set-cookie")), (status, "session=leader"));
            assert_eq!(follower.status, status);
            // After a 503 the follower makes its own call.
            let expected = if follower.cache() == "COALESCED" { "" } else { "session=leader" };
            assert_eq!(follower.header("set-cookie"), expected);
            assert_eq!(follower.cache() == "COALESCED", status == 401);
        }
    });
}

#[test]
fn an_upstream_cut_is_visible_to_leader_and_followers() {
    run(async {
        let cut = Gate::new();
        let events = chat_events();
        let script = Script::chunked(SSE).chunk(&events[0]).wait(&cut).chunk(&events[1]).close();
        let upstream = Upstream::always(script).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let client = sidecache.client();
        let mut readers = vec![open_stream(&client, "leader").await];
        for index in 0..3 {
            readers.push(open_stream(&client, &format!("follower-{index}")).await);
        }
        cut.open();
        for reader in readers {
            reader.rest().await.expect_err("a cut");
        }
        assert_eq!(upstream.calls(), 1);
        let next = open_stream(&client, "next").await;
        assert_eq!((next.cache(), upstream.calls()), ("MISS", 2));
    });
}

#[test]
fn the_first_byte_timeout_of_a_follower_starts_at_its_arrival() {
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
            // The first one is the leader.
            await_calls(&upstream, usize::from(turn == 0)).await;
        }
        let mut times = Vec::new();
        for one in all {
            let (status, error, took) = soon("an answer", one).await.expect("no panic");
            assert_eq!((status, error), (504, json!("UpstreamTimeoutException")));
            assert!(took >= limit, "{took:?}");
            times.push(took);
        }
        // A follower that waited for a second call would need twice the limit. A busy machine may delay one of them.
        assert!(times[1..].iter().any(|took| *took < limit + Duration::from_millis(1500)), "{times:?}");
    });
}

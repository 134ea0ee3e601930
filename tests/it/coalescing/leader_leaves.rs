//! Leaders that leave: whatever they leave behind goes on without them.

use super::*;
use crate::support::{Raw, post};

/// An answer in JSON that waits before its head, or in the middle of its body.
fn held_answer(go: &Gate, reached: &Gate, mid_body: bool) -> Script {
    let text = chat_answer().to_string();
    let length = text.len().to_string();
    let headers = [("content-type", "application/json"), ("content-length", length.as_str())];
    let (first, second) = text.split_at(text.len() / 2);
    if mid_body {
        Script::raw().head(200, &headers).send(first).tell(reached).wait(go).send(second)
    } else {
        Script::raw().tell(reached).wait(go).head(200, &headers).send(text)
    }
}

#[test]
fn what_a_leader_leaves_behind_is_finished() {
    run(async {
        for (mid_body, has_follower) in [(false, false), (false, true), (true, false), (true, true)] {
            let case = format!("in the body: {mid_body}, with a follower: {has_follower}");
            let (go, reached) = (Gate::new(), Gate::new());
            let upstream = Upstream::always(held_answer(&go, &reached, mid_body)).await;
            let sidecache = Sidecache::start(&upstream.url()).await;
            let leader = leading(&sidecache.client(), &upstream, 0, CHAT, &chat()).await;
            soon("the place where it waits", reached.passed()).await;
            let followers = waiting(&sidecache, usize::from(has_follower), CHAT, &chat()).await;
            leader.abort();
            go.open();
            for answer in answers(followers).await {
                assert_eq!((answer.cache(), answer.json()), ("COALESCED", chat_answer()), "{case}");
            }
            sidecache.log.stored(1).await;
            assert_eq!(sidecache.client().post(CHAT, &chat()).await.cache(), "HIT", "{case}");
            assert_eq!(upstream.calls(), 1, "{case}");
        }
    });
}

#[test]
fn a_leader_that_reads_nothing_starves_nobody() {
    run(async {
        // More than the sockets on the way hold; it all comes at once, and then waits before its end.
        let text = "x".repeat(7 << 20);
        let end = Gate::new();
        let events = chat_events();
        let script = events[..1].iter().fold(Script::chunked(SSE), Script::chunk);
        let script = script.chunk(data(&json!({"choices": [], "padding": text}))).wait(&end);
        let upstream = Upstream::always(events[1..].iter().fold(script, Script::chunk).end()).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let mut leader = Raw::connect(sidecache.address()).await;
        leader.send(post(CHAT, "", &chat_stream().to_string())).await;
        asked(&upstream, 1).await;
        let client = sidecache.client();
        let follower = streaming(&client, "follower").await;
        assert_eq!(follower.cache(), "COALESCED");
        end.open();
        let told = follower.rest().await.expect("whole");
        assert!(told.ends_with(events[events.len() - 1].as_str()) && told.len() > 7 << 20);
        assert_eq!(upstream.calls(), 1);
    });
}

#[test]
fn who_comes_as_an_answer_ends_asks_no_more() {
    run(async {
        const ROUNDS: usize = 60;
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let clients: Vec<_> = (0..8).map(|_| sidecache.client()).collect();
        for round in 0..ROUNDS {
            let mut question = chat();
            question["messages"][0]["content"] = format!("Question {round}?").into();
            let ask = |(place, client): (usize, &Client)| asking(client, &place.to_string(), CHAT, &question);
            let told = answers(clients.iter().enumerate().map(ask).collect()).await;
            assert!(told.iter().all(|answer| answer.json() == chat_answer()));
            assert_eq!((count(&told, "MISS"), upstream.calls()), (1, round + 1));
        }
    });
}

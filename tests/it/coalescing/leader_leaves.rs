//! Leaders that leave: their fill goes on without them.

use super::*;
use crate::support::{RawClient, post};

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
fn an_answer_is_finished_and_stored_after_its_leader_left() {
    run(async {
        for (mid_body, has_follower) in [(false, false), (false, true), (true, false), (true, true)] {
            let case = format!("in the body: {mid_body}, with a follower: {has_follower}");
            let (go, reached) = (Gate::new(), Gate::new());
            let upstream = Upstream::always(held_answer(&go, &reached, mid_body)).await;
            let sidecache = Sidecache::start(&upstream.url()).await;
            let leader = start_leader(&sidecache.client(), &upstream, 0, CHAT, &chat()).await;
            soon("the place where it waits", reached.passed()).await;
            let followers = start_followers(&sidecache, usize::from(has_follower), CHAT, &chat()).await;
            leader.abort();
            go.open();
            for answer in await_answers(followers).await {
                assert_eq!((answer.cache(), answer.json()), ("COALESCED", chat_answer()), "{case}");
            }
            sidecache.log.stored(1).await;
            assert_eq!(sidecache.client().post(CHAT, &chat()).await.cache(), "HIT", "{case}");
            assert_eq!(upstream.calls(), 1, "{case}");
        }
    });
}

#[test]
fn followers_are_served_while_their_leader_reads_nothing() {
    run(async {
        // More than the sockets on the way can hold. All of it arrives at once; then the upstream waits
        // before the end.
        let text = "x".repeat(7 << 20);
        let end = Gate::new();
        let events = chat_events();
        let script = events[..1].iter().fold(Script::chunked(SSE), Script::chunk);
        let script = script.chunk(data(&json!({"choices": [], "padding": text}))).wait(&end);
        let upstream = Upstream::always(events[1..].iter().fold(script, Script::chunk).end()).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let mut leader = RawClient::connect(sidecache.address()).await;
        leader.send(post(CHAT, "", &chat_stream().to_string())).await;
        await_calls(&upstream, 1).await;
        let client = sidecache.client();
        let follower = open_stream(&client, "follower").await;
        assert_eq!(follower.cache(), "COALESCED");
        end.open();
        let received = follower.rest().await.expect("whole");
        assert!(received.ends_with(events[events.len() - 1].as_str()) && received.len() > 7 << 20);
        assert_eq!(upstream.calls(), 1);
    });
}

#[test]
fn requests_that_arrive_as_a_fill_ends_make_no_second_call() {
    run(async {
        const ROUNDS: usize = 60;
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let clients: Vec<_> = (0..8).map(|_| sidecache.client()).collect();
        for round in 0..ROUNDS {
            let mut question = chat();
            question["messages"][0]["content"] = format!("Question {round}?").into();
            let ask =
                |(place, client): (usize, &Client)| spawn_post(client, &place.to_string(), CHAT, &question);
            let received = await_answers(clients.iter().enumerate().map(ask).collect()).await;
            assert!(received.iter().all(|answer| answer.json() == chat_answer()));
            assert_eq!((count(&received, "MISS"), upstream.calls()), (1, round + 1));
        }
    });
}

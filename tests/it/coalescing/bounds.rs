//! How many follow one answer, and what is kept for the slow ones.

use super::*;
use crate::support::{
    Raw,
    answers::{DONE, QUERY},
    measured, post,
};

#[test]
fn beyond_the_most_followers_the_next_asks_on_its_own() {
    run(async {
        let rest = Gate::new();
        let events = chat_events();
        let events: Vec<_> = events.iter().map(String::as_str).collect();
        let upstream = Upstream::in_turn(vec![held_stream(&rest), Script::events(&events)]).await;
        let sidecache = Setup::to(&upstream.url()).config("[coalesce]\nmax_followers = 2").start().await;
        let client = sidecache.client();
        let leader = streaming(&client, "leader").await;
        let followers = [streaming(&client, "one").await, streaming(&client, "two").await];
        assert!(followers.iter().all(|follower| follower.cache() == "COALESCED"));
        assert_eq!(upstream.calls(), 1);
        let own = client.post(CHAT, &chat_stream()).await;
        assert_eq!((own.cache(), upstream.calls()), ("MISS", 2));
        rest.open();
        for reader in followers.into_iter().chain([leader]) {
            assert_eq!(reader.rest().await.expect("whole"), chat_events().concat());
        }
    });
}

/// A caller that sends its question and reads no more than the beginning.
async fn slow(sidecache: &Sidecache, question: &Value) -> Raw {
    let mut raw = Raw::connect(sidecache.address()).await;
    raw.send(post(QUERY, "", &question.to_string())).await;
    raw.until("begun").await;
    raw
}

#[test]
fn a_slow_reader_holds_up_nobody() {
    run(async {
        // More than the sockets on the way hold; no round comes before the fast reader has the one before.
        let large = data(&json!({"delta": "x".repeat(65_000)})).repeat(16);
        let ends: Vec<_> = (0..24).map(|round| data(&json!({"delta": "", "round": round}))).collect();
        let question = json!({"query": "Who?", "stream": true});
        for slow_leads in [true, false] {
            let gates: Vec<_> = ends.iter().map(|_| Gate::new()).collect();
            let begun = Script::chunked(SSE).chunk("data: {\"delta\": \"begun\"}\n\n");
            let rounds = ends.iter().zip(&gates);
            let script = rounds.fold(begun, |script, (end, gate)| script.wait(gate).chunk(&large).chunk(end));
            let upstream = Upstream::always(script.chunk(DONE).end()).await;
            let sidecache =
                Setup::to(&upstream.url()).config("[coalesce]\nmax_buffer = \"2MiB\"").start().await;
            let client = sidecache.client();
            let early = if slow_leads { Some(slow(&sidecache, &question).await) } else { None };
            let mut fast = client.stream(QUERY, &question).await;
            fast.until("\n\n").await;
            let slow = match early {
                Some(early) => early,
                None => slow(&sidecache, &question).await,
            };
            for (end, gate) in ends.iter().zip(&gates).take(ends.len() - 1) {
                gate.open();
                fast.until(end).await;
            }
            gates[ends.len() - 1].open();
            let told = fast.rest().await.expect("whole");
            assert!(told.ends_with(DONE), "slow leader: {slow_leads}");
            assert!(told.len() > ends.len() * large.len());
            assert_eq!(upstream.calls(), 1);
            let cut = slow.rest().await;
            assert!(cut.len() < told.len(), "it was kept for the slow one");
            measured(format_args!(
                "{} KiB for one, cut after {} KiB for the slow one",
                told.len() >> 10,
                cut.len() >> 10
            ));
            assert!(!cut.ends_with("0\r\n\r\n"), "the cut is hidden");
        }
    });
}

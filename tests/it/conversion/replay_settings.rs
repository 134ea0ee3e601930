//! The settings of a route for replays: identity, pace, usage, tool calls.

use std::time::{Duration, Instant};

use super::*;
use crate::support::{
    Gate, Setup, eventually,
    samples::{chat_choice, chat_stream, chunk, usage_chunk},
};

/// A sidecache with these settings for chats.
async fn with(settings: &str, upstream: &Upstream) -> Sidecache {
    let route =
        format!("[[route]]\nname = \"chat\"\nmatch = \"POST {CHAT}\"\nkind = \"query\"\n{settings}\n");
    Setup::to(&upstream.url()).config(&route).start().await
}

/// The answer without the members that `identity = "fresh"` replaces.
fn anonymous(mut answer: Value) -> Value {
    let members = answer.as_object_mut().expect("an answer");
    assert!(members.remove("id").is_some() && members.remove("created").is_some());
    answer
}

#[test]
fn a_fresh_identity_is_new_on_each_hit_and_the_same_in_all_its_events() {
    run(async {
        let [case, ..] = &cases()[..] else { panic!("a case") };
        let upstream = case.upstream().await;
        let sidecache = with("identity = \"fresh\"", &upstream).await;
        let client = sidecache.client();
        let first = expect(&client, CHAT, &case.ask(true), "MISS").await;
        assert_eq!(first.text(), case.events.concat(), "the service's own answer is left alone");
        let mut ids = vec![json!("c1")];
        for _ in 0..2 {
            let hit = expect(&client, CHAT, &case.ask(true), "HIT").await;
            let (old, new) = (events_of(&first.text()), events_of(&hit.text()));
            assert!(new.iter().all(|event| event["id"] == new[0]["id"]), "{new:?}");
            assert!(new.iter().all(|event| event["created"].as_u64().is_some_and(|at| at > 1)), "{new:?}");
            ids.push(new[0]["id"].clone());
            let plain = |events: Vec<Value>| events.into_iter().map(anonymous).collect::<Vec<_>>();
            assert_eq!(plain(new), plain(old));
            assert!(hit.text().ends_with(DONE));

            let made = expect(&client, CHAT, &case.ask(false), "HIT").await.json();
            assert!(made["created"].as_u64().is_some_and(|at| at > 1), "{made}");
            ids.push(made["id"].clone());
            let expected = filled_up(case.same.clone(), &made);
            assert_eq!(anonymous(made), anonymous(expected));
        }
        ids.sort_by_key(ToString::to_string);
        ids.dedup();
        assert_eq!(ids.len(), 5, "each is another: {ids:?}");
        assert_eq!(upstream.calls(), 1);
    });
}

#[test]
fn a_stream_whose_usage_is_removed_has_no_length_and_no_etag() {
    run(async {
        let [case, ..] = &cases()[..] else { panic!("a case") };
        let headers = [("content-type", SSE), ("etag", "\"whole\"")];
        let upstream = Upstream::always(Script::whole(200, &headers, case.events.concat())).await;
        let sidecache = with("usage = \"ask\"", &upstream).await;
        let mut plain = case.ask(true);
        plain.as_object_mut().expect("a question").remove("stream_options");
        let received = expect(&sidecache.client(), CHAT, &plain, "MISS").await;
        assert!(
            !received.text().contains("total_tokens") && received.text().ends_with(DONE),
            "{}",
            received.text()
        );
        assert_eq!((received.header("content-length"), received.header("etag")), ("", ""));
    });
}

#[test]
fn by_default_a_hit_has_the_recorded_identity() {
    run(async {
        let [case, ..] = &cases()[..] else { panic!("a case") };
        let upstream = case.upstream().await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let client = sidecache.client();
        let first = expect(&client, CHAT, &case.ask(false), "MISS").await.json();
        let made = expect(&client, CHAT, &case.ask(true), "HIT").await.text();
        for event in events_of(&made) {
            assert_eq!((&event["id"], &event["created"]), (&first["id"], &first["created"]));
        }
    });
}

#[test]
fn a_stream_is_replayed_at_the_pace_it_came_in() {
    run(async {
        let gap = Duration::from_millis(120);
        let events = chat_events();
        let gates = [Gate::new(), Gate::new()];
        let script = Script::chunked(SSE).chunk(&events[0]).wait(&gates[0]).chunk(&events[1]).wait(&gates[1]);
        let upstream = Upstream::always(events[2..].iter().fold(script, Script::chunk).end()).await;
        let sidecache = with("replay = \"recorded\"", &upstream).await;
        let client = sidecache.client();
        let mut stream = client.stream(CHAT, &chat_stream()).await;
        for (event, gate) in events.iter().zip(&gates) {
            stream.until(event).await;
            let since = Instant::now();
            eventually("the gap", async || (since.elapsed() > gap).then_some(())).await;
            gate.open();
        }
        assert_eq!(stream.rest().await.expect("whole"), events.concat());

        let began = Instant::now();
        let mut replayed = client.stream(CHAT, &chat_stream()).await;
        assert_eq!(replayed.cache(), "HIT");
        replayed.until(&events[0]).await;
        replayed.until(&events[1]).await;
        // Gaps are kept in whole milliseconds.
        let millisecond = Duration::from_millis(1);
        assert!(began.elapsed() >= gap - millisecond, "{:?}", began.elapsed());
        replayed.until(&events[2..].concat()).await;
        assert!(began.elapsed() >= 2 * (gap - millisecond), "{:?}", began.elapsed());
        assert_eq!(replayed.rest().await.expect("whole"), events.concat());
        assert_eq!(upstream.calls(), 1);
    });
}

#[test]
fn a_stream_is_replayed_at_a_fixed_pace() {
    run(async {
        let gap = Duration::from_millis(20);
        for stream_first in [true, false] {
            let [case, ..] = &cases()[..] else { panic!("a case") };
            let upstream = case.upstream().await;
            let sidecache = with("replay = \"20ms\"", &upstream).await;
            let client = sidecache.client();
            expect(&client, CHAT, &case.ask(stream_first), "MISS").await;
            let began = Instant::now();
            let replayed = expect(&client, CHAT, &case.ask(true), "HIT").await;
            let took = began.elapsed();
            let gaps = u32::try_from(replayed.text().matches("data: ").count() - 1).expect("few");
            assert!(gaps >= 3 && took >= gap * gaps, "{gaps} gaps in {took:?}");
            if stream_first {
                assert_eq!(replayed.text(), case.events.concat());
            }
            // A document has no pace.
            expect(&client, CHAT, &case.ask(false), "HIT").await;
        }
    });
}

#[test]
fn answers_that_call_tools_are_stored_unless_the_route_says_otherwise() {
    run(async {
        let call =
            json!({"id": "t1", "type": "function", "function": {"name": "f", "arguments": "{\"x\":1}"}});
        let whole =
            chat_choice(json!({"role": "assistant", "content": null, "tool_calls": [call]}), "tool_calls");
        let mut begun = call;
        begun["index"] = json!(0);
        let events = [
            chunk(json!({"role": "assistant", "content": null, "tool_calls": [begun]}), None),
            chunk(json!({}), Some("tool_calls")),
            usage_chunk(),
            DONE.to_owned(),
        ];
        for (settings, second) in [("cache_tool_calls = false", "MISS"), ("", "HIT")] {
            for stream in [false, true] {
                let upstream = both(Script::json(&whole), stream_of(SSE, &events)).await;
                let sidecache = with(settings, &upstream).await;
                let client = sidecache.client();
                let mut question = chat();
                question["stream"] = json!(stream);
                let first = expect(&client, CHAT, &question, "MISS").await;
                let again = expect(&client, CHAT, &question, second).await;
                assert_eq!(again.body, first.body);
                if second == "MISS" && !stream {
                    assert_eq!(again.detail(), Some("tool-calls"));
                }
                question["stream"] = json!(!stream);
                let other = expect(&client, CHAT, &question, second).await;
                assert!(other.text().contains("tool_calls"), "{}", other.text());
                if second == "HIT" && stream {
                    assert_eq!(
                        other.json()["choices"][0]["message"]["tool_calls"],
                        whole["choices"][0]["message"]["tool_calls"]
                    );
                }
            }
        }
    });
}

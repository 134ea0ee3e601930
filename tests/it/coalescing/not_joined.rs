//! Requests that never join a flight, and answers that are not shared.

use super::*;

/// An answer whose head waits for one gate and whose body waits for another.
fn in_two(head: &Gate, body: &Gate, headers: &[(&str, &str)]) -> Script {
    let text = chat_answer().to_string();
    let length = text.len().to_string();
    let mut all = vec![JSON, ("content-length", length.as_str())];
    all.extend_from_slice(headers);
    Script::raw().wait(head).head(200, &all).wait(body).send(text)
}

#[test]
fn the_head_of_an_unshareable_answer_releases_the_followers() {
    run(async {
        for headers in [
            [("cache-control", "no-store")],
            [("cache-control", "private")],
            [("set-cookie", "a=b")],
            [("vary", "user-agent")],
        ] {
            let (head, body, later) = (Gate::new(), Gate::new(), Gate::new());
            let at_once = Script::json_with(200, &headers, &chat_answer());
            let mut scripts = vec![in_two(&head, &body, &headers)];
            scripts.extend(vec![at_once.clone(); 3]);
            scripts.extend([in_two(&later, &later, &headers), at_once]);
            let upstream = Upstream::in_turn(scripts).await;
            let sidecache =
                Setup::to(&upstream.url()).config(&chat_route("set_cookie = \"skip\"")).start().await;
            let client = sidecache.client();
            let leader = start_leader(&client, &upstream, 0, CHAT, &chat()).await;
            let followers = start_followers(&sidecache, 3, CHAT, &chat()).await;
            assert_eq!(upstream.calls(), 1);
            head.open();
            // The leader's body is still to come.
            let followers = await_answers(followers).await;
            assert_eq!((count(&followers, "MISS"), upstream.calls()), (3, 4), "{headers:?}");

            // From now on no request waits for another, even before the head.
            let held = start_leader(&client, &upstream, 4, CHAT, &chat()).await;
            let next = client.post(CHAT, &chat()).await;
            assert_eq!((next.cache(), upstream.calls()), ("MISS", 6), "{headers:?}");
            body.open();
            later.open();
            for answer in await_answers(vec![leader, held]).await {
                assert_eq!((answer.status, answer.cache(), answer.json()), (200, "MISS", chat_answer()));
            }
            assert_eq!(sidecache.health().await["cache"]["coalesced"], 0);
        }
    });
}

#[test]
fn requests_for_another_answer_never_join() {
    run(async {
        let go = Gate::new();
        let mut held = Script::raw().wait(&go);
        held.steps.extend(Script::json(&chat_answer()).steps);
        let upstream = Upstream::in_turn(vec![held, Script::json(&chat_answer())]).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let client = sidecache.client();
        let leader = start_leader(&client, &upstream, 0, CHAT, &chat()).await;
        let mut calls = 1;
        // `no-cache` comes last, since its answer is stored under the leader's key.
        for header in [
            ("authorization", "Bearer b"),
            ("x-api-key", "b"),
            ("cookie", "b"),
            ("x-tenant", "b"),
            ("cache-control", "no-store"),
            ("x-cache-ttl", "0"),
            ("cache-control", "no-cache"),
        ] {
            let own = client.post_with(CHAT, &[header], &chat()).await;
            calls += 1;
            assert_eq!((own.status, upstream.calls()), (200, calls), "{header:?}");
            assert_ne!(own.cache(), "COALESCED", "{header:?}");
        }
        go.open();
        assert_eq!(await_answers(vec![leader]).await[0].cache(), "MISS");
    });
}

#[test]
fn only_if_cached_never_waits() {
    run(async {
        let go = Gate::new();
        let mut held = Script::raw().wait(&go);
        held.steps.extend(Script::json(&chat_answer()).steps);
        let upstream = Upstream::always(held).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let client = sidecache.client();
        let leader = start_leader(&client, &upstream, 0, CHAT, &chat()).await;
        let only = [("cache-control", "only-if-cached")];
        let refused = client.post_with(CHAT, &only, &chat()).await;
        assert_eq!((refused.status, &refused.json()["error"]), (504, &json!("NotCachedException")));
        go.open();
        assert_eq!(await_answers(vec![leader]).await[0].status, 200);
        assert_eq!(client.post_with(CHAT, &only, &chat()).await.cache(), "HIT");
        assert_eq!(upstream.calls(), 1);
    });
}

#[test]
fn in_a_shared_scope_only_accepted_callers_join() {
    run(async {
        let rest = Gate::new();
        let events = held_stream(&rest);
        let upstream = Upstream::start(move |request| match request.header("authorization") {
            Some("Bearer bad") => Script::json_with(401, &[], &json!({"error": "who?"})),
            Some("Bearer new") => Script::json_with(200, &[("cache-control", "no-store")], &chat_answer()),
            _ if request.json()["stream"] == true => events.clone(),
            _ => Script::json(&chat_answer()),
        })
        .await;
        let sidecache = Setup::to(&upstream.url()).config(&chat_route("scope = \"shared\"")).start().await;
        let client = sidecache.client();
        let known = [("authorization", "Bearer known")];
        let other = json!({"model": "m", "messages": [{"role": "user", "content": "Other?"}]});
        assert_eq!(client.post_with(CHAT, &known, &other).await.status, 200);

        let open = async |authorization: &str| {
            let headers = [JSON, ("authorization", authorization)];
            client.open("POST", CHAT, &headers, chat_stream().to_string()).await
        };
        let mut leader = open("Bearer leader").await;
        leader.until(&chat_events()[0]).await;
        for (credentials, status) in [("Bearer bad", 401), ("Bearer new", 200)] {
            let calls = upstream.calls();
            let own = open(credentials).await;
            assert_eq!((own.status, upstream.calls()), (status, calls + 1), "{credentials}");
            assert_ne!(own.cache(), "COALESCED", "{credentials}");
        }
        let nobody = client.stream(CHAT, &chat_stream()).await;
        assert_ne!(nobody.cache(), "COALESCED");
        let calls = upstream.calls();
        let joined = open("Bearer known").await;
        assert_eq!((joined.cache(), upstream.calls()), ("COALESCED", calls));
        rest.open();
        assert_eq!(joined.rest().await.expect("whole"), chat_events().concat());
        assert_eq!(leader.rest().await.expect("whole"), chat_events().concat());
    });
}

/// If sidecache cannot read an answer that may have an id, followers do not get it. Invalid UTF-8 does no
/// harm.
#[test]
fn no_follower_gets_a_conversation_id_from_an_unreadable_stream() {
    run(async {
        let (query, question) = ("/api/v1/query", json!({"query": "q", "stream": true}));
        let lossy = format!("data: {{\"t\":\"{}\",\"conversation_id\":\"c-1\"}}\n\n", "\u{1}".repeat(100));
        let lossy: Vec<u8> = lossy.bytes().map(|byte| if byte == 1 { 0xff } else { byte }).collect();
        for (media, body) in [
            (SSE, b"data: {\"conversation_id\":\"c-1\"}\ndata: {\"answer\":\"a\"}\n".to_vec()),
            (SSE, b"data: {\"answer\":\"a\"}\n\ndata: {\"conversation_id\":\"c-1\"}\n".to_vec()),
            (SSE, lossy),
            ("application/ndjson", b"{\"conversation_id\":\"c-1\"}\n{\"answer\":\"a\"}\n".to_vec()),
            ("text/plain", b"{\"conversation_id\":\"c-1\"}\n{\"answer\":\"a\"}\n".to_vec()),
        ] {
            let go = Gate::new();
            let script = Script::raw().wait(&go).then(Script::whole(200, &[("content-type", media)], &body));
            let upstream = Upstream::always(script).await;
            let sidecache = Sidecache::start(&upstream.url()).await;
            let open = |client: Client| {
                let question = question.to_string();
                tokio::spawn(async move {
                    let headers = [JSON];
                    let received = client.try_open("POST", query, &headers, question).await.expect("a head");
                    let cache = received.cache().to_owned();
                    (cache, received.bytes().await)
                })
            };
            let leader = open(sidecache.client());
            await_calls(&upstream, 1).await;
            let follower = open(sidecache.client());
            let_second_join(&sidecache).await;
            go.open();
            let (cache, whole) = soon("the leader", leader).await.expect("no panic");
            assert_eq!((cache.as_str(), whole.expect("whole")), ("MISS", body.clone()), "{media}");
            let (cache, received) = soon("the follower", follower).await.expect("no panic");
            // A document is judged before it is shared, so the follower makes its own call.
            if media == "text/plain" {
                assert_eq!((cache.as_str(), upstream.calls()), ("MISS", 2));
                continue;
            }
            assert_eq!(cache, "COALESCED", "{media}");
            let received = received.unwrap_or_default();
            assert!(
                !received.windows(3).any(|window| window == b"c-1"),
                "{}",
                String::from_utf8_lossy(&received)
            );
        }
    });
}

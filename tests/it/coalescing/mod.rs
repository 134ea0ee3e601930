//! The promise: many identical questions at the same moment make one upstream call, whose answer all callers
//! read.

mod leader_fails;
mod leader_leaves;
mod limits;
mod not_joined;
mod replicas;

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::support::{
    Answer, Client, Gate, Script, Setup, Sidecache, Upstream,
    client::Streaming,
    eventually, run,
    samples::{CHAT, chat, chat_answer, chat_events, chat_stream, data},
    soon,
};

const SSE: &str = "text/event-stream";
const JSON: (&str, &str) = ("content-type", "application/json");

/// A route for chats with these settings.
fn chat_route(settings: &str) -> String {
    format!("[[route]]\nname = \"chat\"\nmatch = \"POST {CHAT}\"\nkind = \"query\"\n{settings}\n")
}

/// Posts a question with a request id, in a task of its own.
fn spawn_post(client: &Client, id: &str, target: &'static str, question: &Value) -> JoinHandle<Answer> {
    let (client, id, question) = (client.clone(), id.to_owned(), question.clone());
    tokio::spawn(async move { client.post_with(target, &[("x-request-id", &id)], &question).await })
}

/// Starts a request and waits until the upstream, which had `calls` before, has it.
async fn start_leader(
    client: &Client,
    upstream: &Upstream,
    calls: usize,
    target: &'static str,
    question: &Value,
) -> JoinHandle<Answer> {
    let leader = spawn_post(client, "leader", target, question);
    await_calls(upstream, calls + 1).await;
    leader
}

/// Gives requests that have looked up the store time to join, which they do at once: some other requests pass
/// meanwhile.
async fn let_followers_join(sidecache: &Sidecache) {
    for _ in 0..5 {
        sidecache.health().await;
    }
}

/// Waits until a second request has joined, where the requests have no ids.
async fn let_second_join(sidecache: &Sidecache) {
    eventually("it has looked up", async || (sidecache.health().await["cache"]["misses"] == 2).then_some(()))
        .await;
    let_followers_join(sidecache).await;
}

/// Starts further requests for a running question, and waits until all have joined.
async fn start_followers(
    sidecache: &Sidecache,
    count: usize,
    target: &'static str,
    question: &Value,
) -> Vec<JoinHandle<Answer>> {
    let client = sidecache.client();
    let ids: Vec<_> = (0..count).map(|index| format!("follower-{index}")).collect();
    let asked = ids.iter().map(|id| spawn_post(&client, id, target, question)).collect();
    for id in &ids {
        sidecache.log.looked_up(id).await;
    }
    let_followers_join(sidecache).await;
    asked
}

/// Waits until the upstream got its `count`th request.
async fn await_calls(upstream: &Upstream, count: usize) {
    eventually(&format!("{count} upstream calls"), async || (upstream.calls() >= count).then_some(())).await;
}

/// Waits for all answers.
async fn await_answers(asked: Vec<JoinHandle<Answer>>) -> Vec<Answer> {
    let mut all = Vec::new();
    for answer in asked {
        all.push(soon("an answer", answer).await.expect("no panic"));
    }
    all
}

/// How many answers have this `X-Cache`.
fn count(answers: &[Answer], cache: &str) -> usize {
    answers.iter().filter(|answer| answer.cache() == cache).count()
}

/// A chat stream that waits after its first event.
fn held_stream(rest: &Gate) -> Script {
    let events = chat_events();
    let begun = Script::chunked(SSE).chunk(&events[0]).wait(rest);
    events[1..].iter().fold(begun, Script::chunk).end()
}

/// Requests a chat stream with a request id, and reads its first event.
async fn open_stream(client: &Client, id: &str) -> Streaming {
    let headers = [JSON, ("x-request-id", id)];
    let mut stream = client.open("POST", CHAT, &headers, chat_stream().to_string()).await;
    stream.until(&chat_events()[0]).await;
    stream
}

#[test]
fn followers_get_what_has_arrived_and_then_the_rest() {
    run(async {
        let rest = Gate::new();
        let upstream = Upstream::always(held_stream(&rest)).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let client = sidecache.client();
        let leader = open_stream(&client, "leader").await;
        assert_eq!((leader.status, leader.cache()), (200, "MISS"));
        let mut followers = Vec::new();
        for index in 0..5 {
            let follower = open_stream(&client, &format!("follower-{index}")).await;
            assert_eq!((follower.status, follower.cache()), (200, "COALESCED"));
            assert_eq!(follower.headers["content-type"], SSE);
            let status = follower.headers["cache-status"].to_str().expect("text");
            assert!(status.starts_with("sidecache;") && status.contains("; collapsed"), "{status}");
            followers.push(follower);
        }
        rest.open();
        let received = leader.rest().await.expect("whole");
        assert_eq!(received, chat_events().concat());
        for follower in followers {
            assert_eq!(follower.rest().await.expect("whole"), received);
        }
        assert_eq!(upstream.calls(), 1);
        let health = sidecache.health().await;
        assert_eq!((&health["cache"]["coalesced"], &health["cache"]["misses"]), (&json!(5), &json!(6)));
    });
}

#[test]
fn twenty_requests_at_once_make_one_upstream_call() {
    run(async {
        let events = chat_events();
        let events: Vec<_> = events.iter().map(String::as_str).collect();
        for (question, script) in
            [(chat(), Script::json(&chat_answer())), (chat_stream(), Script::events(&events))]
        {
            let go = Gate::new();
            let mut held = Script::raw().wait(&go);
            held.steps.extend(script.steps);
            let upstream = Upstream::always(held).await;
            let sidecache = Sidecache::start(&upstream.url()).await;
            let twenty = start_followers(&sidecache, 20, CHAT, &question).await;
            go.open();
            let received = await_answers(twenty).await;
            assert_eq!((count(&received, "MISS"), count(&received, "COALESCED")), (1, 19));
            assert!(received.iter().all(|answer| answer.status == 200 && answer.body == received[0].body));
            assert_eq!(upstream.calls(), 1);
            assert_eq!(sidecache.health().await["cache"]["coalesced"], 19);
            let hit = sidecache.client().post(CHAT, &question).await;
            assert_eq!((hit.cache(), &hit.body), ("HIT", &received[0].body));
        }
    });
}

#[test]
fn followers_are_served_after_their_leader_hangs_up() {
    run(async {
        let rest = Gate::new();
        let upstream = Upstream::always(held_stream(&rest)).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        // A client of its own: dropping it closes the connection.
        let leader = open_stream(&sidecache.client(), "leader").await;
        let client = sidecache.client();
        let mut followers =
            vec![open_stream(&client, "follower-0").await, open_stream(&client, "follower-1").await];
        drop(leader);
        sidecache.log.response("leader").await;
        followers.push(open_stream(&client, "late").await);
        rest.open();
        for follower in followers {
            assert_eq!(follower.cache(), "COALESCED");
            assert_eq!(follower.rest().await.expect("whole"), chat_events().concat());
        }
        let hit = client.post(CHAT, &chat_stream()).await;
        assert_eq!((hit.cache(), hit.text()), ("HIT", chat_events().concat()));
        assert_eq!(upstream.calls(), 1);
    });
}

#[test]
fn followers_are_served_after_their_leader_hangs_up_before_the_first_byte() {
    run(async {
        for settings in ["", "on_abandon = \"cancel\""] {
            let go = Gate::new();
            let mut held = Script::raw().wait(&go);
            held.steps.extend(Script::json(&chat_answer()).steps);
            let upstream = Upstream::always(held).await;
            let sidecache = Setup::to(&upstream.url()).config(&chat_route(settings)).start().await;
            let leader = start_leader(&sidecache.client(), &upstream, 0, CHAT, &chat()).await;
            let followers = start_followers(&sidecache, 3, CHAT, &chat()).await;
            leader.abort();
            go.open();
            for answer in await_answers(followers).await {
                assert_eq!((answer.cache(), answer.json()), ("COALESCED", chat_answer()), "{settings}");
            }
            assert_eq!(sidecache.client().post(CHAT, &chat()).await.cache(), "HIT", "{settings}");
            assert_eq!(upstream.calls(), 1, "{settings}");
        }
    });
}

#[test]
fn an_answer_above_the_buffer_is_stored_though_its_client_has_left() {
    run(async {
        let rest = Gate::new();
        let upstream = Upstream::always(held_stream(&rest)).await;
        let config = format!("[coalesce]\nmax_buffer = \"64B\"\n{}", chat_route("on_abandon = \"finish\""));
        let sidecache = Setup::to(&upstream.url()).config(&config).start().await;
        drop(open_stream(&sidecache.client(), "leaves").await);
        sidecache.log.response("leaves").await;
        rest.open();
        sidecache.log.stored(1).await;
        let back = sidecache.client().stream(CHAT, &chat_stream()).await;
        assert_eq!((back.cache(), upstream.calls()), ("HIT", 1));
    });
}

#[test]
fn a_client_that_comes_back_joins_the_running_fill() {
    run(async {
        let rest = Gate::new();
        let upstream = Upstream::always(held_stream(&rest)).await;
        let sidecache =
            Setup::to(&upstream.url()).config(&chat_route("on_abandon = \"finish\"")).start().await;
        drop(open_stream(&sidecache.client(), "leaves").await);
        sidecache.log.response("leaves").await;
        let back = open_stream(&sidecache.client(), "back").await;
        assert_eq!(back.cache(), "COALESCED");
        rest.open();
        assert_eq!(back.rest().await.expect("whole"), chat_events().concat());
        assert_eq!(upstream.calls(), 1);
    });
}

/// An upstream that sends one event, and another at `more`; the gate opens when its connection is closed.
async fn two_events(more: &Gate) -> (Upstream, Gate) {
    let more = more.clone();
    Upstream::until_closed(move |mut conn| {
        let more = more.clone();
        async move {
            let request = conn.request().await?;
            conn.record(&request);
            let events = chat_events();
            conn.play(Script::chunked(SSE).chunk(&events[0]).wait(&more).chunk(&events[1])).await;
            Some(conn)
        }
    })
    .await
}

#[test]
fn on_abandon_cancel_cancels_an_abandoned_fill() {
    run(async {
        let more = Gate::new();
        let (upstream, closed) = two_events(&more).await;
        let sidecache =
            Setup::to(&upstream.url()).config(&chat_route("on_abandon = \"cancel\"")).start().await;
        let leader = open_stream(&sidecache.client(), "leader").await;
        let mut last = open_stream(&sidecache.client(), "last").await;
        assert_eq!(last.cache(), "COALESCED");
        drop(leader);
        sidecache.log.response("leader").await;
        more.open();
        last.until(&chat_events()[1]).await;
        drop(last);
        let limit = std::time::Duration::from_secs(1);
        assert!(tokio::time::timeout(limit, closed.passed()).await.is_ok(), "open after {limit:?}");
        let next = open_stream(&sidecache.client(), "next").await;
        assert_eq!((next.cache(), upstream.calls()), ("MISS", 2));
    });
}

#[test]
fn a_drain_finishes_a_fill_without_a_client() {
    run(async {
        let rest = Gate::new();
        let upstream = Upstream::always(held_stream(&rest)).await;
        let mut sidecache = Setup::to(&upstream.url()).config("drain_timeout = \"25s\"").start().await;
        drop(open_stream(&sidecache.client(), "leaves").await);
        sidecache.log.response("leaves").await;
        sidecache.terminate();
        sidecache.log.lifecycle("drain").await;
        rest.open();
        assert!(sidecache.ended().await.success());
        let is = |line: &Value| line["operation"] == "cache_store" && line["success"] == true;
        sidecache.log.wait_for("stored", is).await;
    });
}

#[test]
fn only_the_leader_gets_the_id_of_a_new_conversation() {
    run(async {
        let answer = json!({"answer": "Redis.", "conversation_id": "c-1", "sources": [{"score": 1.50}]});
        let events = [
            ": hello\n\n".to_owned(),
            data(&json!({"delta": "Re", "session_id": "c-1", "more": {"conversation_id": "kept"}})),
            data(&json!({"delta": "dis."})),
            "event: done\ndata: {\"conversation_id\": \"c-1\"}\n\n".to_owned(),
        ];
        for stream in [false, true] {
            let go = Gate::new();
            let held = match stream {
                true => events
                    .iter()
                    .fold(
                        Script::raw()
                            .wait(&go)
                            .head(200, &[("content-type", SSE), ("transfer-encoding", "chunked")]),
                        Script::chunk,
                    )
                    .end(),
                false => {
                    let mut held = Script::raw().wait(&go);
                    held.steps.extend(Script::json(&answer).steps);
                    held
                }
            };
            let upstream = Upstream::always(held).await;
            let sidecache = Sidecache::start(&upstream.url()).await;
            let client = sidecache.client();
            let question = json!({"message": "Who keeps entries?", "stream": stream});
            let leader = start_leader(&client, &upstream, 0, "/api/v1/chat", &question).await;
            let followers = start_followers(&sidecache, 3, "/api/v1/chat", &question).await;
            go.open();
            let leader = soon("the leader", leader).await.expect("no panic");
            let received = if stream { events.concat() } else { answer.to_string() };
            assert_eq!((leader.cache(), leader.text()), ("MISS", received));
            let mut others = await_answers(followers).await;
            assert_eq!(count(&others, "COALESCED"), 3);
            others.push(client.post("/api/v1/chat", &question).await);
            assert_eq!(others[3].cache(), "HIT");
            for other in others {
                let text = leader.text().replace("\"c-1\"", "null").replace("\"kept\"", "null");
                assert_eq!(other.text(), text);
            }
            assert_eq!(upstream.calls(), 1);
        }
    });
}

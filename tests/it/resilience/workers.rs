//! Connections on one, two and eight workers: what requests share, they share across workers.

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::support::{
    Answer, Client, Gate, RawClient, Script, Setup, Sidecache, Upstream, eventually, measured, run,
    samples::{CHAT, chat, chat_answer, chat_events, chat_stream},
    soon,
};

const WORKERS: [&str; 3] = ["1", "2", "8"];

/// Each is a connection of its own; together they are on all workers.
const CLIENTS: usize = 16;

async fn with_workers(workers: &str, upstream: &Upstream, config: &str) -> Sidecache {
    Setup::to(&upstream.url()).env("CACHE_WORKERS", workers).config(config).start().await
}

/// Clients whose connections are open.
async fn clients(sidecache: &Sidecache) -> Vec<Client> {
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let client = sidecache.client();
        assert_eq!(client.get("/health/live").await.status, 200);
        clients.push(client);
    }
    clients
}

/// Each client asks the same question, with its number as its request's id.
fn ask_all(clients: &[Client], question: &Value) -> Vec<JoinHandle<Answer>> {
    let ask = |(number, client): (usize, &Client)| {
        let (client, question) = (client.clone(), question.clone());
        tokio::spawn(async move {
            client.post_with(CHAT, &[("x-request-id", &format!("client-{number}"))], &question).await
        })
    };
    clients.iter().enumerate().map(ask).collect()
}

async fn answers(asked: Vec<JoinHandle<Answer>>) -> Vec<Answer> {
    let mut answers = Vec::new();
    for answer in asked {
        answers.push(soon("an answer", answer).await.expect("no panic"));
    }
    answers
}

fn count(answers: &[Answer], is: impl Fn(&Answer) -> bool) -> usize {
    answers.iter().filter(|answer| is(answer)).count()
}

#[test]
fn a_question_on_all_workers_makes_one_upstream_call() {
    run(async {
        for workers in WORKERS {
            for question in [chat(), chat_stream()] {
                let (asked, go) = (Gate::new(), Gate::new());
                let events = chat_events();
                let events: Vec<_> = events.iter().map(String::as_str).collect();
                let is_stream = question["stream"] == true;
                let answer = if is_stream { Script::events(&events) } else { Script::json(&chat_answer()) };
                let upstream = Upstream::always(Script::raw().tell(&asked).wait(&go).then(answer)).await;
                let sidecache = with_workers(workers, &upstream, "").await;
                let clients = clients(&sidecache).await;
                let asked = ask_all(&clients, &question);
                for number in 0..CLIENTS {
                    sidecache.log.looked_up(&format!("client-{number}")).await;
                }
                go.open();
                let answers = answers(asked).await;
                assert!(answers.iter().all(|answer| answer.status == 200 && answer.body == answers[0].body));
                assert_eq!(upstream.calls(), 1, "{workers} workers");
                assert_eq!(count(&answers, |answer| answer.cache() == "MISS"), 1, "{workers} workers");
            }
        }
    });
}

#[test]
fn followers_on_other_workers_are_served_after_their_leader_left() {
    run(async {
        for workers in WORKERS {
            let rest = Gate::new();
            let events = chat_events();
            let begun = Script::chunked("text/event-stream").chunk(&events[0]).wait(&rest);
            let script = events[1..].iter().fold(begun, Script::chunk).end();
            let upstream = Upstream::always(script).await;
            let sidecache = with_workers(workers, &upstream, "").await;
            let clients = clients(&sidecache).await;
            let mut streams = Vec::new();
            for client in clients {
                let id = streams.len().to_string();
                let headers = [("content-type", "application/json"), ("x-request-id", &*id)];
                let mut stream = client.open("POST", CHAT, &headers, chat_stream().to_string()).await;
                stream.until(&events[0]).await;
                streams.push((client, stream));
            }
            // With its connection.
            drop(streams.remove(0));
            sidecache.log.response("0").await;
            rest.open();
            for (_, stream) in streams {
                assert_eq!(stream.cache(), "COALESCED");
                assert_eq!(stream.rest().await.expect("whole"), events.concat(), "{workers} workers");
            }
            assert_eq!(upstream.calls(), 1);
        }
    });
}

#[test]
fn the_bound_on_upstream_requests_is_one_for_all_workers() {
    run(async {
        const BOUND: usize = 5;
        for workers in WORKERS {
            let go = Gate::new();
            let answer = Script::json(&chat_answer());
            let upstream = Upstream::always(Script::raw().wait(&go).then(answer)).await;
            let config = format!("[limits]\nmax_upstream_requests = {BOUND}");
            let sidecache = with_workers(workers, &upstream, &config).await;
            let ask = |(number, client): (usize, Client)| {
                let question =
                    json!({"model": "m", "messages": [{"role": "user", "content": number.to_string()}]});
                tokio::spawn(async move { client.post(CHAT, &question).await })
            };
            let asked: Vec<_> = clients(&sidecache).await.into_iter().enumerate().map(ask).collect();
            eventually("all have asked, or are refused", async || {
                let refused = sidecache.health().await["limits"]["max_upstream_requests"].clone();
                (upstream.calls() == BOUND && refused == CLIENTS - BOUND).then_some(())
            })
            .await;
            go.open();
            let answers = answers(asked).await;
            assert_eq!(count(&answers, |answer| answer.status == 200), BOUND, "{workers} workers");
            assert_eq!(count(&answers, |answer| answer.status == 503), CLIENTS - BOUND, "{workers} workers");
        }
    });
}

#[test]
fn a_drain_waits_for_the_requests_of_all_workers() {
    run(async {
        for workers in WORKERS {
            let go = Gate::new();
            let answer = Script::json(&chat_answer());
            let upstream = Upstream::always(Script::raw().wait(&go).then(answer)).await;
            let mut sidecache = with_workers(workers, &upstream, "").await;
            let ask = |(number, client): (usize, Client)| {
                tokio::spawn(async move { client.get(&format!("/uncovered/{number}")).await })
            };
            let asked: Vec<_> = clients(&sidecache).await.into_iter().enumerate().map(ask).collect();
            eventually("all have asked", async || (upstream.calls() == CLIENTS).then_some(())).await;
            sidecache.terminate();
            sidecache.log.lifecycle("draining").await;
            go.open();
            let answers = answers(asked).await;
            assert_eq!(count(&answers, |answer| answer.status == 200), CLIENTS, "{workers} workers");
            assert!(sidecache.ended().await.success());
        }
    });
}

#[test]
fn a_reload_counts_on_all_workers() {
    run(async {
        for workers in WORKERS {
            let upstream = Upstream::always(Script::json(&chat_answer())).await;
            let sidecache = with_workers(workers, &upstream, "").await;
            let clients = clients(&sidecache).await;
            assert_eq!(clients[0].post(CHAT, &chat()).await.cache(), "MISS");
            for client in &clients {
                assert_eq!(client.post(CHAT, &chat()).await.cache(), "HIT");
            }
            sidecache.reconfigure(&format!(
                "[upstream]\nurl = \"{}\"\n[[route]]\nmatch = \"POST {CHAT}\"\nkind = \"query\"\ncache = false\n",
                upstream.url()
            ));
            sidecache.log.lifecycle("reloaded").await;
            for client in &clients {
                assert_eq!(client.post(CHAT, &chat()).await.cache(), "PASS", "{workers} workers");
            }
        }
    });
}

#[test]
fn four_connections_keep_two_workers_busy() {
    run(async {
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let sidecache = with_workers("2", &upstream, "").await;
        let mut connections = Vec::new();
        for _ in 0..4 {
            connections.push(RawClient::connect(sidecache.address()).await);
        }
        // A worker's thread gives itself its name.
        eventually("both workers", async || (sidecache.worker_times().len() == 2).then_some(())).await;
        let mut served = [0; 2];
        for connection in &mut connections {
            let before = sidecache.worker_times();
            for _ in 0..200 {
                connection.send("GET /health/live HTTP/1.1\r\nhost: a\r\n\r\n").await;
                assert!(connection.head().await.contains("200 OK"));
            }
            let after = sidecache.worker_times();
            served[usize::from(after[1] - before[1] > after[0] - before[0])] += 1;
        }
        measured(format_args!("connections of each of two workers: {served:?}"));
        assert_eq!(served, [2, 2]);
    });
}

/// Two of them must not share the port in silence.
#[test]
fn a_second_sidecache_on_the_port_does_not_start() {
    run(async {
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let first = with_workers("2", &upstream, "").await;
        let second = Setup::to(&upstream.url()).arguments(&["--listen", &first.address().to_string()]);
        let ended = second.command().output().expect("the binary");
        assert_eq!(ended.status.code(), Some(1));
        let complaint = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(complaint.contains("another process does; stop that one"), "{complaint}");
    });
}

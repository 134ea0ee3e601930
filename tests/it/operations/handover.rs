//! A process takes over from another one: no connection is refused, no answer is cut.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{
    Client, Gate, RedisServer, Script, Setup, Sidecache, Upstream, eventually, measured, number_from, run,
    samples::{CHAT, chat, chat_answer},
    soon,
};

/// What clients saw in all.
#[derive(Default)]
struct Seen {
    answers: AtomicUsize,
    slowest: std::sync::Mutex<Duration>,
    stop: AtomicBool,
}

impl Seen {
    fn answered(&self, took: Duration) {
        self.answers.fetch_add(1, Ordering::Relaxed);
        let mut slowest = self.slowest.lock().expect("no panic");
        *slowest = took.max(*slowest);
    }

    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }
}

/// A connection for each request.
async fn connect_each_time(address: SocketAddr, seen: Arc<Seen>) {
    let body = chat().to_string();
    let request = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    while seen.goes_on() {
        let began = Instant::now();
        let mut stream = soon("a connection", TcpStream::connect(address)).await.expect("not refused");
        stream.write_all(request.as_bytes()).await.expect("open");
        let mut answer = String::new();
        soon("an answer", stream.read_to_string(&mut answer)).await.expect("not reset");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer:?}");
        let whole = chat_answer().to_string();
        assert!(answer.ends_with(&whole) || answer.ends_with(&format!("{whole}\r\n0\r\n\r\n")), "{answer:?}");
        seen.answered(began.elapsed());
    }
}

/// A client that keeps its connections.
async fn keep_connections(client: Client, seen: Arc<Seen>) {
    while seen.goes_on() {
        let began = Instant::now();
        let answer = client.post(CHAT, &chat()).await;
        assert_eq!((answer.status, answer.json()), (200, chat_answer()));
        seen.answered(began.elapsed());
    }
}

/// A sidecache on these ports that shares the first.
fn setup(upstream: &Upstream, listen: SocketAddr, admin: SocketAddr) -> Setup {
    Setup::to(&upstream.url())
        .arguments(&["--listen", &listen.to_string(), "--admin-listen", &admin.to_string()])
        .config("listen_reuse = true")
}

fn free() -> SocketAddr {
    ([127, 0, 0, 1], RedisServer::free_port()).into()
}

#[test]
fn restarts_under_load_refuse_nobody_and_cut_nothing() {
    run(async {
        let restarts = number_from("RESTARTS", 20);
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let (listen, admin) = (free(), free());
        let mut current = setup(&upstream, listen, admin).start().await;
        let seen = Arc::<Seen>::default();
        let mut clients: Vec<_> =
            (0..4).map(|_| tokio::spawn(connect_each_time(listen, Arc::clone(&seen)))).collect();
        clients.extend((0..4).map(|_| tokio::spawn(keep_connections(current.client(), Arc::clone(&seen)))));
        for _ in 0..restarts {
            let next = setup(&upstream, listen, admin).start().await;
            assert_eq!(current.stop().await.code(), Some(0));
            assert!(!current.log.text().contains("the drain's time is up"));
            current = next;
        }
        let before = seen.answers.load(Ordering::Relaxed);
        eventually("the last one answers", async || {
            (seen.answers.load(Ordering::Relaxed) > before + 100).then_some(())
        })
        .await;
        seen.stop.store(true, Ordering::Relaxed);
        for client in clients {
            client.await.expect("every answer came");
        }
        let answers = seen.answers.load(Ordering::Relaxed);
        let slowest = *seen.slowest.lock().expect("no panic");
        measured(format_args!(
            "{restarts} restarts, {answers} answers to 8 clients, none refused or cut; slowest {slowest:.1?}"
        ));
        eventually("the last one has the admin listener", async || {
            let connected = TcpStream::connect(admin).await.is_ok();
            (connected && Client::new(admin).get("/health/ready").await.status == 200).then_some(())
        })
        .await;
    });
}

#[test]
fn a_stream_ends_in_the_old_process_while_the_next_one_serves() {
    run(async {
        let go_on = Gate::new();
        let paced = Script::chunked("text/plain").chunk("begun ").wait(&go_on).chunk("and finished").end();
        let upstream = Upstream::always(paced).await;
        let (listen, admin) = (free(), free());
        let mut old = setup(&upstream, listen, admin).start().await;
        let mut stream = old.client().stream("/some", &chat()).await;
        stream.until("begun ").await;
        let next = setup(&upstream, listen, admin).start().await;
        let shared = "another process listens on";
        eventually("both are told", async || next.log.text().contains(shared).then_some(())).await;
        old.terminate();
        next.log.lifecycle("the admin listener is taken over").await;
        let health = Client::new(admin).get("/health").await;
        assert_eq!(health.status, 200, "while the old one still drains");
        let mut other = next.client().stream("/other", &chat()).await;
        other.until("begun ").await;
        go_on.open();
        assert_eq!(stream.rest().await.as_deref(), Ok("begun and finished"));
        assert_eq!(other.rest().await.as_deref(), Ok("begun and finished"));
        assert_eq!(old.ended().await.code(), Some(0));
    });
}

/// Two processes on one port by accident must not share it in silence.
#[test]
fn an_address_is_shared_only_if_both_processes_say_so() {
    run(async {
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        for (first, second) in [(false, false), (false, true), (true, false)] {
            let listen = free();
            let setup = |shares: bool| {
                let setup = Setup::to(&upstream.url()).arguments(&["--listen", &listen.to_string()]);
                if shares { setup.config("listen_reuse = true") } else { setup }
            };
            let running = setup(first).start().await;
            let refused = setup(second).command().output().expect("the binary");
            let complaint = String::from_utf8_lossy(&refused.stderr);
            assert_eq!(refused.status.code(), Some(1), "{complaint}");
            let mend = if second { "does not share it" } else { "set listen_reuse = true for both" };
            assert!(complaint.contains(&listen.to_string()) && complaint.contains(mend), "{complaint}");
            assert_eq!(running.client().post(CHAT, &chat()).await.status, 200);
        }
    });
}

#[test]
fn a_taken_admin_address_is_an_error_where_nobody_is_replaced() {
    run(async {
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let other = Sidecache::start(&upstream.url()).await;
        let refused = setup(&upstream, free(), other.address()).command().output().expect("the binary");
        let complaint = String::from_utf8_lossy(&refused.stderr);
        assert!(complaint.contains("--admin-listen"), "{complaint}");
    });
}

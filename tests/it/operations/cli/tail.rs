//! `sidecache tail`.

use std::{
    io::{BufRead, BufReader},
    process::Child,
    thread,
};

use serde_json::Value;

use super::command;
use crate::support::{
    RedisServer, Script, Setup, Sidecache, Upstream, eventually,
    logs::Lines,
    run,
    samples::{CHAT, chat, chat_answer},
};

/// `tail` as it runs; killed when dropped.
struct Tail {
    child: Child,
    output: Lines,
    complaints: Lines,
}

impl Tail {
    /// Starts it, and waits until it reads: then it shows a request.
    async fn start(sidecache: &Sidecache, arguments: &[&str]) -> Self {
        let admin = format!("http://{}", sidecache.admin());
        let setup = Setup::bare().arguments(&["tail", "--admin", &admin]).arguments(arguments);
        let mut child = setup.command().spawn().expect("the binary");
        let output = Lines::collect(child.stdout.take().expect("its output"));
        let complaints = Lines::collect(child.stderr.take().expect("its complaints"));
        let tail = Self { child, output, complaints };
        tail.shows(sidecache).await;
        tail
    }

    /// Waits until a request that is sent now is shown.
    async fn shows(&self, sidecache: &Sidecache) {
        let path = format!("/shown/{}", RedisServer::free_port());
        eventually("it reads", async || {
            sidecache.client().get(&path).await;
            self.output.text().contains(&path).then_some(())
        })
        .await;
    }

    async fn line(&self, part: &str) -> String {
        eventually(part, async || {
            self.output.text().lines().find(|line| line.contains(part)).map(str::to_owned)
        })
        .await
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn upstream() -> Upstream {
    Upstream::start(|request| match request.target.as_str() {
        CHAT => Script::json(&chat_answer()),
        _ => Script::json_with(404, &[], &serde_json::json!({"detail": "no such page"})),
    })
    .await
}

#[test]
fn requests_are_lines_without_control_characters() {
    run(async {
        let upstream = upstream().await;
        let sidecache = Setup::to(&upstream.url()).admin().start().await;
        let tail = Tail::start(&sidecache, &[]).await;
        sidecache.client().post(CHAT, &chat()).await;
        sidecache.client().get("/%1b[31m\u{9b}2J").await;
        let asked = tail.line(CHAT).await;
        let parts: Vec<_> = asked.split_whitespace().collect();
        assert_eq!(
            (parts[1], parts[2], &parts[6..]),
            ("MISS", "200", &["POST", CHAT, "openai-chat"][..]),
            "{asked}"
        );
        assert!(
            tail.line("31m").await.ends_with(r"GET    /%1b[31m\u{9b}2J  no-route"),
            "{}",
            tail.output.text()
        );
        assert!(!tail.output.text().chars().any(|c| c.is_control() && c != '\n'));
    });
}

#[test]
fn flags_choose_and_json_comes_as_it_is() {
    run(async {
        let upstream = upstream().await;
        let sidecache = Setup::to(&upstream.url()).admin().start().await;
        let tail = Tail::start(&sidecache, &["--json", "--status", "4xx", "--cache", "pass"]).await;
        sidecache.client().post(CHAT, &chat()).await;
        sidecache.client().get("/last").await;
        let line: Value = serde_json::from_str(&tail.line("/last").await).expect("JSON");
        assert_eq!((&line["status"], &line["cache"]), (&404.into(), &"PASS".into()));
        assert!(!tail.output.text().contains(CHAT));
    });
}

#[test]
fn it_connects_again_to_a_process_that_starts_again() {
    run(async {
        let upstream = upstream().await;
        let admin = format!("127.0.0.1:{}", RedisServer::free_port());
        let start = async || Setup::to(&upstream.url()).arguments(&["--admin-listen", &admin]).start().await;
        let mut sidecache = start().await;
        let tail = Tail::start(&sidecache, &[]).await;
        sidecache.stop().await;
        eventually("a note", async || tail.complaints.text().contains("nothing answers").then_some(())).await;
        let sidecache = start().await;
        tail.shows(&sidecache).await;
        let notes = tail.complaints.text();
        for note in ["the stream has ended; connecting again", "connected again"] {
            assert!(notes.contains(note), "{notes}");
        }
        // Each attempt failed in the same way.
        assert_eq!(notes.matches("nothing answers").count(), 1, "{notes}");
    });
}

#[test]
fn it_ends_quietly_when_nobody_reads() {
    run(async {
        let upstream = upstream().await;
        let sidecache = Setup::to(&upstream.url()).admin().start().await;
        let admin = format!("http://{}", sidecache.admin());
        for arguments in [&["tail", "--admin", &admin][..], &["stats", "--admin", &admin, "--watch", "1"]] {
            let setup = Setup::bare().arguments(arguments);
            let mut child = setup.command().spawn().expect("the binary");
            let mut output = BufReader::new(child.stdout.take().expect("its output"));
            let read = thread::spawn(move || output.read_line(&mut String::new()).map(|_| ()));
            let ended = eventually("the end", async || {
                sidecache.client().get("/more").await;
                child.try_wait().expect("its state")
            })
            .await;
            read.join().expect("no panic").expect("a line");
            let complaint =
                std::io::read_to_string(child.stderr.take().expect("its complaints")).expect("text");
            assert_eq!((ended.success(), &*complaint), (true, ""), "{arguments:?}");
        }
    });
}

#[test]
fn it_reports_in_one_line_why_it_cannot_read() {
    run(async {
        let upstream = upstream().await;
        let sidecache = Setup::to(&upstream.url()).admin().start().await;
        let (admin, proxy) =
            (format!("http://{}", sidecache.admin()), format!("http://{}", sidecache.address()));
        let nobody = format!("http://127.0.0.1:{}", RedisServer::free_port());
        for (arguments, received) in [
            (&["tail", "--admin", &admin, "--cache", "hot"][..], "hit, miss"),
            (&["tail", "--admin", &admin, "--status", "many"], "5xx"),
            (&["tail", "--admin", &admin, "--route", "a", "--route", "b"], "name one route"),
            (&["tail", "--admin", &nobody], "is sidecache running"),
            (&["tail", "--admin", &proxy], "no admin listener"),
            (&["tail"], "admin.listen is off"),
            (&["top", "--admin", &admin], "top needs a terminal"),
        ] {
            let ended = command(&Setup::bare().arguments(arguments), "");
            assert!(ended.one_complaint().contains(received), "{received}: {}", ended.complaint);
        }
    });
}

//! Passwords in a file that change while sidecache runs.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use tokio::time::sleep;

use crate::support::{
    RedisServer, Script, Setup, Upstream, eventually, measured, number_from, run_within,
    samples::{CHAT, chat, chat_answer},
};

/// Replaces the file as token refreshers do.
fn write(path: &Path, password: &str) {
    let next = path.with_extension("next");
    fs::write(&next, format!("{password}\n")).expect("a file");
    fs::rename(next, path).expect("a file");
}

/// The passwords of the connections that sidecache has, by the server's count of logins.
fn logins(redis: &RedisServer) -> u64 {
    let stats = redis.cli(&["INFO", "commandstats"]);
    let line = stats.lines().find(|line| line.starts_with("cmdstat_auth:calls="));
    line.and_then(|line| line.split(['=', ',']).nth(1)?.parse().ok()).unwrap_or(0)
}

fn connections(redis: &RedisServer) -> usize {
    redis.cli(&["CLIENT", "LIST"]).lines().filter(|line| line.contains("user=cache")).count()
}

#[test]
fn a_password_that_changes_fails_no_request_and_makes_no_storm() {
    let rounds = number_from("SIDECACHE_ROTATIONS", 3);
    let between = Duration::from_secs(number_from("SIDECACHE_ROTATION_SECONDS", 0));
    run_within(Duration::from_secs(60 + 10 * rounds) + between * rounds as u32, async {
        let redis = RedisServer::start();
        let user =
            |rule: &str| assert_eq!(redis.cli(&["ACL", "SETUSER", "cache", "on", "~*", "+@all", rule]), "OK");
        user(">first");
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("token");
        write(&file, "first");
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let config = format!(
            "[store]\nnear_memory = 0\nnear_staleness = \"20s\"\ntimeout = \"5s\"\nredis = {:?}\nredis_username = \"cache\"\nredis_password_file = {file:?}\n",
            redis.url()
        );
        let sidecache = Setup::to(&upstream.url()).config(&config).start().await;
        let client = sidecache.client();
        client.post(CHAT, &chat()).await;
        eventually("hits", async || (client.post(CHAT, &chat()).await.cache() == "HIT").then_some(())).await;
        let before = connections(&redis);
        let mut asked: u64 = 0;
        for round in 0..rounds {
            let (old, new) = (format!("<{}", name(round)), name(round + 1));
            let had = logins(&redis);
            // The new password comes to the file first: the server takes it only later.
            write(&file, &new);
            let answer = client.post(CHAT, &chat()).await;
            assert_eq!(answer.cache(), "HIT", "round {round}: {}", answer.header("cache-status"));
            user(&format!(">{new}"));
            eventually("live connections log in again", async || {
                let answer = client.post(CHAT, &chat()).await;
                assert_eq!(answer.cache(), "HIT", "round {round}: {}", answer.header("cache-status"));
                (logins(&redis) >= had + before as u64).then_some(())
            })
            .await;
            user(&old);
            // Connections made from now on use the new one. So does everything until the next change.
            let until = Instant::now() + between;
            loop {
                let answer = client.post(CHAT, &chat()).await;
                assert_eq!(answer.cache(), "HIT", "round {round}: {}", answer.header("cache-status"));
                asked += 1;
                if Instant::now() >= until {
                    break;
                }
                sleep(Duration::from_millis(5)).await;
            }
        }
        assert_eq!(connections(&redis), before, "the connections are those of the beginning");
        measured(format!(
            "{rounds} changes of the password, {asked} hits between them, no request failed, {before} connections"
        ));
        redis.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
        eventually("hits over new connections", async || {
            let answer = client.post(CHAT, &chat()).await;
            assert_eq!(answer.status, 200);
            (answer.cache() == "HIT").then_some(())
        })
        .await;
    });
}

fn name(round: u64) -> String {
    if round == 0 { "first".to_owned() } else { format!("token-{round}") }
}

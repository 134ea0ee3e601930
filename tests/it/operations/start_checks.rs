//! What is looked at once at the start: the limit of open files, and the clock of Redis.

use std::process::Output;

use serde_json::Value;

use crate::support::{RedisServer, Setup, Sidecache, WallClock, eventually, run};

const NOWHERE: &str = "http://127.0.0.1:9";

/// The soft limit of open files that a process has.
fn limit_of(sidecache: &Sidecache) -> u64 {
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", sidecache.pid())).expect("its limits");
    let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("a line");
    line.split_whitespace().nth(3).expect("a number").parse().expect("a number")
}

fn warnings(sidecache: &Sidecache) -> Vec<Value> {
    sidecache.log.all().into_iter().filter(|line| line["level"] == "WARNING").collect()
}

#[test]
fn the_limit_of_open_files_is_raised_as_far_as_needed() {
    run(async {
        let small = "[limits]\nmax_connections = 500\nmax_upstream_requests = 100";
        let soft = Setup::to(NOWHERE).config(small).after("ulimit -Sn 200\nulimit -Hn 2000").start().await;
        assert_eq!(limit_of(&soft), 500 + 100 + 256);
        assert!(warnings(&soft).is_empty(), "{:?}", warnings(&soft));
        let enough = Setup::to(NOWHERE).config(small).after("ulimit -n 1500").start().await;
        assert_eq!(limit_of(&enough), 1500);
        let low = Setup::to(NOWHERE).config(small).after("ulimit -Sn 200\nulimit -Hn 300").start().await;
        assert_eq!(limit_of(&low), 300);
        let warned = low.log.lifecycle("only 300 files may be open").await;
        assert_eq!((&warned["level"], &warned["needed"]), (&Value::from("WARNING"), &Value::from(856)));
        assert_eq!(warnings(&low).len(), 1, "{:?}", warnings(&low));
    });
}

#[test]
fn a_clock_that_is_not_that_of_redis_is_told_once() {
    run(async {
        let redis = RedisServer::start();
        let clock = WallClock::new();
        let setup = || clock.rule(Setup::to(NOWHERE).arguments(&["--redis", &redis.url()]));
        let check = || -> Output { setup().arguments(&["check"]).command().output().expect("it runs") };
        for (offset, word) in [(60, "s ahead of"), (-60, "s behind")] {
            clock.set(offset);
            let sidecache = setup().start().await;
            let warned = sidecache.log.lifecycle("this machine's clock is ").await;
            let message = warned["message"].as_str().expect("a text");
            assert!(message.contains(word) && message.contains(" 60."), "{message}");
            let ahead = warned["ahead_ms"].as_i64().expect("a number");
            assert!((ahead - offset * 1000).abs() < 100, "{ahead}");
            let told = String::from_utf8_lossy(&check().stderr).into_owned();
            assert!(told.contains("warning: this machine's clock is") && told.contains(word), "{told}");
        }
        clock.set(0);
        let told = String::from_utf8_lossy(&check().stderr).into_owned();
        assert!(!told.contains("clock"), "{told}");
    });
}

/// A start does not wait for the clock of a Redis that is not there; it is read once Redis has come.
#[test]
fn the_clock_of_a_late_redis_is_read_when_it_comes() {
    run(async {
        let clock = WallClock::new();
        clock.set(60);
        let mut redis = RedisServer::start();
        redis.stop();
        let setup = Setup::to(NOWHERE).arguments(&["--redis", &redis.url()]);
        let sidecache = clock.rule(setup).start().await;
        sidecache.log.lifecycle("Cache store lost").await;
        assert!(!sidecache.log.all().iter().any(|line| line["ahead_ms"].is_i64()));
        redis.restart();
        eventually("the warning", async || {
            sidecache.log.all().into_iter().find(|line| line["ahead_ms"].is_i64())
        })
        .await;
    });
}

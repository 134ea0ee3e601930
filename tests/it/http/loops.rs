//! An upstream that leads back to sidecache.

use std::net::SocketAddr;

use serde_json::json;

use crate::support::{
    RedisServer, Script, Setup, Sidecache, Upstream, run,
    samples::{CHAT, chat, chat_answer},
};

const HOP: &str = "x-sidecache-hop";

/// A sidecache at `address`, for the upstream at `other`.
async fn at(address: SocketAddr, other: SocketAddr) -> Sidecache {
    Setup::to(&format!("http://{other}")).arguments(&["--listen", &address.to_string()]).start().await
}

fn free_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], RedisServer::free_port()))
}

#[test]
fn a_request_that_comes_round_is_a_508() {
    run(async {
        let (first, second) = (free_address(), free_address());
        let (one, other) = (at(first, second).await, at(second, first).await);
        for (target, id) in [("/some", "passed"), (CHAT, "covered")] {
            let answer = one.client().post_with(target, &[("x-request-id", id)], &chat()).await;
            let body = answer.json();
            assert_eq!((answer.status, &body["error"]), (508, &json!("LoopDetectedException")), "{body}");
            assert!(body["message"].as_str().expect("a text").contains("upstream.url"), "{body}");
            let is_first = |line: &serde_json::Value| {
                line["request_id"] == *id
                    && line["event_type"] == "error"
                    && line["error_type"] == body["error"]
            };
            one.log.wait_for("the error", is_first).await;
            other.log.response(id).await;
            let asked = other.log.of(id);
            assert_eq!(
                asked.iter().filter(|line| line["event_type"] == "http_request").count(),
                1,
                "once round"
            );
        }
        assert_eq!(one.client().post(CHAT, &chat()).await.cache(), "MISS", "the error is not stored");
    });
}

#[test]
fn sidecaches_in_a_row_pass_requests_on() {
    run(async {
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let behind = Sidecache::start(&upstream.url()).await;
        let front = Sidecache::start(&format!("http://{}", behind.address())).await;
        for (target, turn) in [("/some", "PASS"), (CHAT, "MISS"), (CHAT, "HIT")] {
            let answer = front.client().post(target, &chat()).await;
            assert_eq!((answer.status, answer.cache()), (200, turn));
            let request = upstream.last();
            let ids = request.all(HOP);
            assert!(ids.len() == 2 && ids[0] != ids[1], "{ids:?}");
        }
        let answer = front.client().post_with(CHAT, &[(HOP, "of-another")], &chat()).await;
        assert_eq!(answer.cache(), "HIT", "the key does not have it");
    });
}

#[test]
fn an_upstream_that_is_the_own_listener_stops_the_start() {
    let port = RedisServer::free_port();
    for (upstream, listen, admin, setting) in [
        ("127.0.0.1", "127.0.0.1", "off", "listen (127.0.0.1:"),
        ("localhost", "0.0.0.0", "off", "listen (0.0.0.0:"),
        ("127.0.0.1", "[::]", "off", "listen ([::]:"),
        ("localhost", "", "127.0.0.1", "admin.listen (127.0.0.1:"),
    ] {
        let at = |host: &str| match host {
            "" => "127.0.0.1:0".to_owned(),
            "off" => "off".to_owned(),
            host => format!("{host}:{port}"),
        };
        for command in [&[][..], &["check"]] {
            let setup = Setup::to(&format!("http://{upstream}:{port}/base"))
                .arguments(&["--listen", &at(listen), "--admin-listen", &at(admin)])
                .arguments(command);
            let ended = setup.command().output().expect("it runs");
            let told = String::from_utf8_lossy(&ended.stderr).into_owned();
            assert_eq!(ended.status.code(), Some(1), "{told}");
            assert!(told.contains("upstream.url (http://") && told.contains(setting), "{told}");
        }
    }
}

//! What the readiness page includes.

use tokio::net::TcpListener;

use crate::support::{RedisServer, Setup, Sidecache, eventually, run};

/// The status and the text of the readiness page.
async fn ready(sidecache: &Sidecache) -> (u16, String) {
    let answer = sidecache.client().get("/health/ready").await;
    (answer.status, answer.json()["status"].as_str().expect("a status").to_owned())
}

async fn until(sidecache: &Sidecache, status: u16, text: &str) {
    eventually(text, async || (ready(sidecache).await == (status, text.to_owned())).then_some(())).await;
}

#[test]
fn readiness_includes_what_the_settings_name() {
    run(async {
        let redis = RedisServer::start();
        let nowhere = format!("http://127.0.0.1:{}", RedisServer::free_port());
        for (names, lost) in [
            ("", None),
            ("\"draining\"", None),
            ("\"store\"", Some("store lost")),
            ("\"upstream\"", Some("upstream lost")),
            ("\"draining\", \"upstream\", \"store\"", Some("store lost")),
        ] {
            let setup = Setup::to(&nowhere).config(&format!("health.ready = [{names}]"));
            let missing = format!("redis://127.0.0.1:{}", RedisServer::free_port());
            let sidecache = setup.arguments(&["--redis", &missing]).start().await;
            match lost {
                Some(text) => assert_eq!(ready(&sidecache).await, (503, text.to_owned())),
                None => assert_eq!(ready(&sidecache).await, (200, "ready".to_owned())),
            }
        }
        let sidecache = Setup::to(&nowhere)
            .config("health.ready = [\"store\"]")
            .arguments(&["--redis", &redis.url()])
            .start()
            .await;
        until(&sidecache, 200, "ready").await;
    });
}

#[test]
fn an_upstream_that_is_lost_and_back_is_one_line_each() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let setup =
            Setup::to(&format!("http://{address}")).config("health.ready = [\"draining\", \"upstream\"]");
        let sidecache = setup.start().await;
        assert_eq!(ready(&sidecache).await, (200, "ready".to_owned()));
        drop(listener);
        until(&sidecache, 503, "upstream lost").await;
        assert_eq!(sidecache.client().get("/health/live").await.status, 200);
        let _listener = TcpListener::bind(address).await.expect("the same port");
        until(&sidecache, 200, "ready").await;
        let line = sidecache.log.lifecycle("upstream back").await;
        assert_eq!((&line["level"], &line["url"]), (&"INFO".into(), &format!("http://{address}").into()));
        let text = sidecache.log.text();
        for message in ["upstream lost", "upstream back"] {
            assert_eq!(text.matches(&format!("\"message\":\"{message}\"")).count(), 1, "{text}");
        }
    });
}

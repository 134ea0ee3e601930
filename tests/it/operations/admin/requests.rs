//! `GET /requests`: the requests as they end.

use serde_json::Value;

use crate::support::{
    Client, RawClient, Script, Setup, Sidecache, Streaming, Upstream, eventually, measured, run,
    samples::{CHAT, chat, chat_answer},
    soon,
};

async fn started(setup: impl FnOnce(Setup) -> Setup) -> (Upstream, Sidecache) {
    let upstream =
        Upstream::forgetful(|request| match request.target.split('?').next().unwrap_or_default() {
            CHAT => Script::json(&chat_answer()),
            "/broken" => Script::raw().close(),
            _ => Script::json_with(404, &[], &serde_json::json!({"detail": "no such page"})),
        })
        .await;
    let sidecache = setup(Setup::to(&upstream.url())).admin().start().await;
    (upstream, sidecache)
}

async fn watched(operator: &Client, target: &str) -> Streaming {
    let reader = operator.open("GET", target, &[], "").await;
    assert_eq!(
        (reader.status, &reader.headers["content-type"]),
        (200, &"text/event-stream".parse().unwrap())
    );
    reader
}

/// The data of each event in a text of whole events.
fn events(text: &str) -> Vec<Value> {
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(|data| serde_json::from_str(data).unwrap_or_else(|error| panic!("{error}: {data}"))).collect()
}

/// Stops sidecache, and gives the events that the reader got.
async fn all(sidecache: &Sidecache, reader: Streaming) -> Vec<Value> {
    sidecache.terminate();
    events(&reader.rest().await.expect("a proper end"))
}

/// Connects a client that reads along and never reads.
async fn stalled(sidecache: &Sidecache) -> RawClient {
    let mut reader = RawClient::connect(sidecache.admin()).await;
    reader.send("GET /requests HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert!(reader.head().await.starts_with("HTTP/1.1 200 "));
    reader
}

#[test]
fn each_request_is_shown_as_it_ends() {
    run(async {
        for client in [Client::new, Client::h2c] {
            let (_upstream, sidecache) = started(|setup| setup).await;
            let reader = watched(&client(sidecache.admin()), "/requests").await;
            let answer = sidecache.client().post(&format!("{CHAT}?key=secret"), &chat()).await;
            sidecache.health().await;
            sidecache.client().get("/nothing?key=secret").await;
            let shown = all(&sidecache, reader).await;
            assert_eq!(shown.len(), 2, "{shown:?}");
            let [asked, passed] = [&shown[0], &shown[1]];
            assert_eq!(asked["method"], "POST");
            assert_eq!((&asked["path"], &passed["path"]), (&CHAT.into(), &"/nothing".into()));
            assert_eq!((&asked["status"], &passed["status"]), (&200.into(), &404.into()));
            assert_eq!((&asked["cache"], &passed["cache"]), (&answer.cache().into(), &"PASS".into()));
            assert_eq!((&asked["route"], &asked["kind"]), (&"openai-chat".into(), &"query".into()));
            assert_eq!(asked["key"], answer.key());
            assert_eq!(asked["bytes"], answer.body.len());
            assert!(asked["ms"].as_f64().is_some_and(|ms| ms > 0.0), "{asked}");
            assert!(asked["time"].as_str().is_some_and(|time| time.ends_with('Z')), "{asked}");
            assert!(passed.get("key").is_none() && passed.get("route").is_none(), "{passed}");
        }
    });
}

#[test]
fn a_reload_goes_by_and_a_stop_is_the_end() {
    run(async {
        let (_upstream, mut sidecache) = started(|setup| setup).await;
        let readers = [
            watched(&sidecache.operator(), "/requests").await,
            watched(&Client::h2c(sidecache.admin()), "/requests").await,
        ];
        let mut raw = stalled(&sidecache).await;
        sidecache.reconfigure("[log]\nlevel = \"INFO\"");
        eventually("reloaded", async || {
            sidecache.log.all().iter().any(|line| line["message"] == "reloaded").then_some(())
        })
        .await;
        sidecache.client().get("/after").await;
        raw.until("/after").await;
        sidecache.terminate();
        for reader in readers {
            let shown = events(&reader.rest().await.expect("a proper end"));
            assert_eq!(shown.len(), 1, "{shown:?}");
        }
        assert!(soon("the end", raw.rest()).await.ends_with("0\r\n\r\n"));
        assert!(sidecache.ended().await.success());
    });
}

#[test]
fn filters_choose_on_the_server() {
    run(async {
        for (filter, expected) in [
            ("route=openai-chat", &["MISS 200", "HIT 200"][..]),
            ("route=none", &["PASS 404", "PASS 502"]),
            ("cache=hit", &["HIT 200"]),
            ("status=5xx", &["PASS 502"]),
            ("status=404&cache=pass", &["PASS 404"]),
            ("status=404&cache=miss", &[]),
        ] {
            let (_upstream, sidecache) = started(|setup| setup).await;
            let reader = watched(&sidecache.operator(), &format!("/requests?{filter}")).await;
            let client = sidecache.client();
            client.post(CHAT, &chat()).await;
            client.post(CHAT, &chat()).await;
            client.get("/nothing").await;
            client.get("/broken").await;
            let shown = all(&sidecache, reader).await;
            let told =
                |event: &Value| format!("{} {}", event["cache"].as_str().unwrap_or("-"), event["status"]);
            assert_eq!(shown.iter().map(told).collect::<Vec<_>>(), expected, "{filter}");
        }
        let (_upstream, sidecache) = started(|setup| setup).await;
        let refused = sidecache.operator().get("/requests?status=many").await;
        assert_eq!(refused.status, 400, "{}", refused.text());
    });
}

#[test]
fn sixteen_read_and_who_leaves_makes_room() {
    run(async {
        let (_upstream, sidecache) = started(|setup| setup).await;
        let mut readers = Vec::new();
        for _ in 0..16 {
            readers.push(stalled(&sidecache).await);
        }
        let refused = sidecache.operator().get("/requests").await;
        assert_eq!((refused.status, refused.header("retry-after")), (503, "1"));
        // No request comes meanwhile, in which its leaving would show.
        readers.pop();
        eventually("room", async || {
            let reader = sidecache.operator().open("GET", "/requests", &[], "").await;
            (reader.status == 200).then_some(())
        })
        .await;
    });
}

#[test]
fn reading_along_needs_the_token() {
    run(async {
        let token = "a-token-of-some-length";
        let (_upstream, sidecache) = started(|setup| setup.env("ADMIN_TOKEN", token)).await;
        let operator = sidecache.operator();
        let wrong = [("authorization", "Bearer another")];
        for headers in [&[][..], &wrong] {
            assert_eq!(operator.request("GET", "/requests", headers, "").await.status, 401);
        }
        let right = format!("Bearer {token}");
        let reader = operator.open("GET", "/requests", &[("authorization", &*right)], "").await;
        sidecache.client().get("/shown").await;
        assert_eq!(all(&sidecache, reader).await[0]["path"], "/shown");
        assert_eq!(
            sidecache.client().try_open("GET", "/requests", &[], "").await.map(|it| it.status).ok(),
            None
        );
    });
}

#[test]
fn hostile_paths_cannot_leave_their_line() {
    run(async {
        let (_upstream, sidecache) = started(|setup| setup).await;
        let reader = watched(&sidecache.operator(), "/requests").await;
        let mut count = 0;
        for path in [
            "/%0a%0adata:%20x",
            "/\"},{\"a\":\"",
            "/\u{9b}31m",
            "/\u{85}data: x\u{2028}",
            "/\u{202e}gpj.exe",
            "/\\u000a\\",
            "/'<script>",
            "/a\rdata: x\r\r",
            "/a\ndata: x\n\n",
            "/\u{1b}[2J",
            "/\u{7f}",
        ] {
            let mut raw = RawClient::connect(sidecache.address()).await;
            raw.send(format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")).await;
            // Where the HTTP parser takes it, it is a request.
            count += usize::from(raw.rest().await.contains("x-request-id"));
        }
        sidecache.client().request("X-~|", "/last", &[], "").await;
        sidecache.terminate();
        let text = reader.rest().await.expect("a proper end");
        assert!(count > 4, "{count}");
        assert!(!text.chars().any(|c| c != '\n' && (c.is_control() || c == '\u{202e}')), "{text:?}");
        for line in text.lines() {
            assert!(line.is_empty() || line.starts_with("data: {\"time\":"), "{line:?}");
        }
        assert_eq!(events(&text).len(), count + 1, "{text}");
    });
}

/// Requests whose events are large, from several clients at once.
async fn flood(sidecache: &Sidecache, requests: usize) {
    let path = format!("/{}", "x".repeat(40_000));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (client, path) = (sidecache.client(), path.clone());
            tokio::spawn(async move {
                for _ in 0..requests / 4 {
                    assert_eq!(client.get(&path).await.status, 404);
                }
            })
        })
        .collect();
    for client in clients {
        client.await.expect("answers");
    }
}

#[test]
fn a_reader_that_stops_reading_costs_little_and_learns_what_it_missed() {
    const READERS: u64 = 8;
    const REQUESTS: usize = 500;
    run(async {
        let (_upstream, sidecache) = started(|setup| setup).await;
        flood(&sidecache, REQUESTS).await;
        let before = sidecache.memory();
        let mut readers = Vec::new();
        for _ in 0..READERS {
            readers.push(stalled(&sidecache).await);
        }
        flood(&sidecache, REQUESTS).await;
        let after = sidecache.memory();
        measured(format_args!("{READERS} stalled readers: {before} KiB before, {after} KiB after"));
        assert!(after < before + READERS * 1024, "{before} KiB before, {after} KiB after");
        sidecache.terminate();
        let reader = readers.pop().expect("one");
        drop(readers);
        let text = reader.rest().await;
        let counts = text.split("\"missed\": ").skip(1).filter_map(|rest| rest.split('}').next());
        let missed: usize = counts.map(|count| count.parse::<usize>().expect("a count")).sum();
        assert!(missed > 0, "nothing was missed");
        assert_eq!(missed + text.matches("\"method\":").count(), REQUESTS, "{missed} missed");
    });
}

//! What no route covers says so, and why: in `X-Cache`, in `Cache-Status`, in the log and in `/health`.

use crate::support::{
    Answer, Client, RawClient, RedisServer, Script, Setup, Sidecache, Upstream, eventually, run,
    samples::{CHAT, chat_answer},
};

const ROUTES: &str = r#"
    [[route]]
    match = "* /off/**"
    kind = "other"
    cache = false
    [[route]]
    match = "* /any/**"
    kind = "other"
    [[route]]
    match = "POST /followed"
    kind = "document"
    mode = "rfc9111"
    [[route]]
    match = "POST /when"
    kind = "query"
    when = ["/mode = \"rag\""]
    [[route]]
    match = "POST /off-when"
    kind = "query"
    cache = false
    when = ["/mode"]
"#;

const JSON: (&str, &str) = ("content-type", "application/json");
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

/// A request, and the reason why it is passed through.
type Case = (&'static str, &'static str, &'static [(&'static str, &'static str)], &'static str, &'static str);

const CASES: [Case; 14] = [
    ("GET", "/nowhere", &[], "", "no-route"),
    ("GET", CHAT, &[], "", "no-route"),
    ("POST", "/off/ask", &[JSON], "{}", "route-off"),
    ("GET", "/off/page", &[], "", "route-off"),
    ("POST", "/followed", &[JSON], "{}", "route-off"),
    ("POST", "/when", &[JSON], "{\"mode\": \"chat\"}", "no-route"),
    ("POST", "/when", &[FORM], "mode=rag", "no-route"),
    ("POST", "/off-when", &[JSON], "{\"mode\": 1}", "route-off"),
    ("PUT", "/any/thing", &[JSON], "{}", "method"),
    ("DELETE", "/any/thing", &[], "", "method"),
    ("GET", "/any/%2e%2e/thing", &[], "", "dot-segment"),
    ("POST", CHAT, &[FORM], "q=1", "not-json"),
    ("POST", CHAT, &[], "{}", "not-json"),
    ("POST", CHAT, &[JSON], "{\"messages\": []}", "not-in-dialect"),
];

#[track_caller]
fn assert_passed(answer: &Answer, status: u16, reason: &str, what: &str) {
    assert_eq!(answer.status, status, "{what}");
    for (name, expected) in
        [("x-cache", "PASS".to_owned()), ("cache-status", format!("sidecache; fwd=bypass; detail={reason}"))]
    {
        let lines: Vec<_> = answer.headers.get_all(name).iter().collect();
        assert_eq!(lines, [expected.as_str()], "{what}");
    }
}

/// Sends all of them, and checks what the client, the log and the health page say.
async fn assert_all_passed(sidecache: &Sidecache, clients: &[Client], status: u16) {
    let mut count = 0;
    for client in clients {
        for (method, target, headers, body, reason) in CASES {
            count += 1;
            let id = format!("passed-{count}");
            let headers = [headers, &[("x-request-id", id.as_str())]].concat();
            let answer = client.request(method, target, &headers, body).await;
            assert_passed(&answer, status, reason, &format!("{method} {target} {body}"));
            let line = sidecache.log.response(&id).await;
            let cache = &line["cache"];
            assert_eq!((&cache["status"], &cache["reason"]), (&"PASS".into(), &reason.into()), "{line}");
            assert_eq!(cache["kind"], serde_json::Value::Null, "{line}");
        }
    }
    let health = sidecache.client().get("/health").await;
    assert_eq!((health.cache(), health.header("cache-status")), ("", ""));
    let section = &health.json()["cache"];
    assert_eq!((&section["passed"], &section["bypassed"]), (&count.into(), &0.into()));
}

#[test]
fn each_reason_is_told_over_both_versions_of_http() {
    run(async {
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let sidecache = Setup::to(&upstream.url()).config(ROUTES).start().await;
        let clients = [sidecache.client(), Client::h2c(sidecache.address())];
        assert_all_passed(&sidecache, &clients, 200).await;
        assert_eq!(upstream.calls(), CASES.len() * 2, "nothing is stored");
    });
}

#[test]
fn errors_of_sidecaches_own_tell_it_too() {
    run(async {
        let nowhere = format!("http://127.0.0.1:{}", RedisServer::free_port());
        for normalize in ["", "[errors]\nnormalize = true\n"] {
            let config = format!("{normalize}{ROUTES}");
            let sidecache = Setup::to(&nowhere).config(&config).start().await;
            let clients = [sidecache.client(), Client::h2c(sidecache.address())];
            assert_all_passed(&sidecache, &clients, 502).await;
        }
    });
}

#[test]
fn normalized_errors_of_the_upstream_tell_it_too() {
    run(async {
        let upstream = Upstream::always(Script::json_with(503, &[], &chat_answer())).await;
        let config = format!("[errors]\nnormalize = true\n{ROUTES}");
        let sidecache = Setup::to(&upstream.url()).config(&config).start().await;
        assert_all_passed(&sidecache, &[sidecache.client()], 503).await;
    });
}

#[test]
fn an_upgrade_tells_it_whatever_route_covers_its_path() {
    run(async {
        let upstream = Upstream::always(
            Script::raw()
                .send("HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nhi"),
        )
        .await;
        let sidecache = Setup::to(&upstream.url()).config(ROUTES).start().await;
        for (count, target) in ["/nowhere", "/off/socket", "/any/socket"].into_iter().enumerate() {
            let mut raw = RawClient::connect(sidecache.address()).await;
            raw.send(format!(
                "GET {target} HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
                 x-request-id: upgrade-{count}\r\n\r\n"
            ))
            .await;
            let head = raw.head().await.to_ascii_lowercase();
            assert!(head.starts_with("http/1.1 101"), "{target}: {head}");
            for line in ["x-cache: pass", "cache-status: sidecache; fwd=bypass; detail=upgrade"] {
                assert_eq!(head.lines().filter(|own| *own == line).count(), 1, "{target}: {head}");
            }
            raw.until("hi").await;
            let line = sidecache.log.response(&format!("upgrade-{count}")).await;
            assert_eq!(line["cache"]["reason"], "upgrade", "{line}");
            let passed = async || (sidecache.health().await["cache"]["passed"] == count + 1).then_some(());
            eventually("it is counted", passed).await;
        }
    });
}

#[test]
fn what_is_refused_before_a_route_is_looked_for_tells_nothing() {
    run(async {
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let mut raw = RawClient::connect(sidecache.address()).await;
        raw.send("GET /nowhere HTTP/1.1\r\nhost: a b\r\n\r\n").await;
        let head = raw.head().await.to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 400") && !head.contains("cache"), "{head}");
        assert_eq!(sidecache.health().await["cache"]["passed"], 0);
    });
}

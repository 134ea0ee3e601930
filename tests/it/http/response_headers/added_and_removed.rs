//! What sidecache adds to responses, and what it takes out of them.

use crate::support::{
    Answer, Client, RawClient, RedisServer, Script, Setup, Sidecache, Upstream, eventually, post, run,
    samples::{CHAT, chat, chat_answer, query, query_answer},
};

async fn upstream_with(headers: &[(&str, &str)]) -> Upstream {
    Upstream::always(Script::json_with(200, headers, &chat_answer())).await
}

/// The values of a header, all lines.
fn all(answer: &Answer, name: &str) -> Vec<String> {
    answer.headers.get_all(name).iter().map(|value| value.to_str().expect("text").to_owned()).collect()
}

#[test]
fn a_valid_request_id_of_the_client_is_used() {
    run(async {
        let upstream = upstream_with(&[]).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let longest = "a".repeat(128);
        for id in ["1", "req-1", "5c1e:4/7=.+@_x", longest.as_str()] {
            for target in ["/some", CHAT] {
                let headers = [("x-request-id", id), ("cache-control", "no-store")];
                let answer = sidecache.client().post_with(target, &headers, &chat()).await;
                assert_eq!(all(&answer, "x-request-id"), [id]);
                assert_eq!(upstream.last().header("x-request-id"), Some(id));
            }
            sidecache.log.response(id).await;
        }
    });
}

#[test]
fn an_invalid_request_id_is_replaced() {
    run(async {
        let upstream = upstream_with(&[]).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let mut seen = Vec::new();
        let long = "a".repeat(129);
        for id in ["", "a b", "a\"b", "{x}", "\u{e9}", long.as_str()] {
            let answer = sidecache.client().request("GET", "/some", &[("x-request-id", id)], "").await;
            let own = answer.header("x-request-id").to_owned();
            assert!(own != id && !own.is_empty() && !seen.contains(&own), "{id:?}: {own}");
            assert_eq!(upstream.last().header("x-request-id"), Some(own.as_str()));
            sidecache.log.response(&own).await;
            seen.push(own);
        }
        let none = sidecache.client().get("/some").await;
        assert!(!none.header("x-request-id").is_empty());
    });
}

#[test]
fn the_upstreams_request_id_wins_and_the_log_has_both() {
    run(async {
        let upstream = upstream_with(&[("x-request-id", "theirs")]).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        for (target, id) in [("/some", "one"), (CHAT, "two")] {
            let answer = sidecache.client().post_with(target, &[("x-request-id", id)], &chat()).await;
            assert_eq!(all(&answer, "x-request-id"), ["theirs"]);
            assert_eq!(upstream.last().header("x-request-id"), Some(id));
            assert_eq!(sidecache.log.response(id).await["upstream_request_id"], "theirs");
        }
        // The upstream's id was for another request.
        let hit = sidecache.client().post_with(CHAT, &[("x-request-id", "three")], &chat()).await;
        assert_eq!((hit.cache(), all(&hit, "x-request-id")), ("HIT", vec!["three".to_owned()]));
        assert_eq!(sidecache.log.response("three").await.get("upstream_request_id"), None);
    });
}

#[test]
fn the_process_time_is_sidecaches_own_and_the_upstreams_is_beside_it() {
    run(async {
        let upstream = upstream_with(&[("x-process-time", "123.5")]).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        for (target, turn) in [("/some", "PASS"), (CHAT, "MISS"), (CHAT, "HIT"), ("/health", "")] {
            let answer = if target == "/health" {
                sidecache.client().get(target).await
            } else {
                sidecache.client().post(target, &chat()).await
            };
            assert_eq!(answer.cache(), turn);
            let [time] = &all(&answer, "x-process-time")[..] else { panic!("{:?}", answer.headers) };
            let seconds: f64 = time.parse().expect("seconds");
            assert!(seconds > 0.0 && seconds < 60.0, "{target} {turn}: {time}");
            let theirs = if matches!(turn, "PASS" | "MISS") { &["123.5"][..] } else { &[] };
            assert_eq!(all(&answer, "x-upstream-process-time"), theirs, "{target} {turn}");
            assert!(!answer.header("x-request-id").is_empty());
        }
    });
}

#[test]
fn the_age_of_a_hit_is_its_time_in_the_store() {
    run(async {
        let upstream = upstream_with(&[("age", "77")]).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let client = sidecache.client();
        assert_eq!(client.post("/some", &chat()).await.header("age"), "77");
        assert_eq!(client.post(CHAT, &chat()).await.header("age"), "77");
        let ages = async || {
            let hit = client.post(CHAT, &chat()).await;
            assert_eq!(hit.cache(), "HIT");
            let age = hit.header("age").parse::<u64>().expect("seconds");
            let ttl = hit.header("cache-status").split("; ").find_map(|part| part.strip_prefix("ttl="));
            (age, ttl.expect("a ttl").parse::<u64>().expect("seconds"))
        };
        let (first, ttl) = ages().await;
        assert!(first < 77 && (1790..=1800).contains(&(first + ttl)), "{first} {ttl}");
        eventually("it grows older", async || (ages().await.0 > first).then_some(())).await;
    });
}

/// What caches between the service and sidecache say: two lines, one of them with two members, and a name that a
/// sidecache there has given already.
const OF_OTHER_CACHES: [(&str, &str); 5] = [
    ("cache-status", "origin; hit"),
    ("cache-status", "\"CDN, a\"; fwd=miss, other; hit; ttl=3"),
    ("x-upstream-cache", "nearest"),
    ("x-cache", "theirs"),
    ("x-cache", "HIT from edge"),
];

/// Checks that the members of the other caches come first and ours last, over all lines, and that there is one `X-Cache`.
#[track_caller]
fn assert_kept_apart(answer: &Answer, cache: &str, ours: &str, has_upstream_cache: bool) {
    assert_eq!(all(answer, "x-cache"), [cache]);
    let lines = all(answer, "cache-status");
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert_eq!(lines[..2], [OF_OTHER_CACHES[0].1, OF_OTHER_CACHES[1].1]);
    assert!(lines[2].starts_with(ours), "{cache}: {lines:?}");
    let theirs = if has_upstream_cache { &["nearest", "theirs", "HIT from edge"][..] } else { &[] };
    assert_eq!(all(answer, "x-upstream-cache"), theirs, "{cache}");
}

#[test]
fn what_other_caches_say_is_kept_apart() {
    run(async {
        let upstream = upstream_with(&OF_OTHER_CACHES).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let miss = "sidecache; fwd=uri-miss; fwd-status=200";
        for (client, user) in [(sidecache.client(), "one"), (Client::h2c(sidecache.address()), "two")] {
            let mut question = chat();
            question["user"] = user.into();
            let passed = client.post("/some", &question).await;
            assert_kept_apart(&passed, "PASS", "sidecache; fwd=bypass; detail=no-route", true);
            let no_store = [("cache-control", "no-store")];
            let bypassed = client.post_with(CHAT, &no_store, &question).await;
            assert_kept_apart(&bypassed, "BYPASS", "sidecache; fwd=request; fwd-status=200", true);
            // The service's X-Cache tells of one call; RFC 9211 keeps its Cache-Status.
            for (cache, ours) in [("MISS", miss), ("HIT", "sidecache; hit; ttl=")] {
                let answer = client.post(CHAT, &question).await;
                assert_kept_apart(&answer, cache, ours, cache == "MISS");
                let member = all(&answer, "cache-status").pop().expect("ours");
                let key = member.split("; ").find_map(|part| part.strip_prefix("key=")).expect("a key");
                let hex = key.trim_matches('"').strip_prefix("sidecache:query:").expect("namespace and kind");
                assert!(hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()), "{key}");
            }
        }
    });
}

#[test]
fn what_other_caches_say_is_stored_where_the_service_is_followed() {
    run(async {
        let headers =
            [&OF_OTHER_CACHES[..], &[("cache-control", "max-age=600"), ("x-process-time", "7")]].concat();
        let upstream = upstream_with(&headers).await;
        let route = "[[route]]\nmatch = \"GET /page\"\nkind = \"document\"\nmode = \"rfc9111\"";
        let sidecache = Setup::to(&upstream.url()).config(route).start().await;
        for (cache, ours) in [("MISS", "sidecache; fwd=uri-miss"), ("HIT", "sidecache; hit")] {
            let answer = sidecache.client().get("/page").await;
            assert_kept_apart(&answer, cache, ours, true);
            assert_eq!(all(&answer, "x-upstream-process-time"), ["7"]);
        }
    });
}

#[test]
fn a_hit_has_no_headers_that_were_for_the_first_caller() {
    run(async {
        let headers = [
            ("set-cookie", "session=secret"),
            ("x-ratelimit-remaining", "7"),
            ("X-RateLimit-Reset", "1s"),
            ("x-served-by", "pod-1"),
            ("x-own", "kept"),
            ("etag", "\"a\""),
            ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ];
        let upstream = Upstream::always(Script::json_with(200, &headers, &query_answer())).await;
        let route = "[[route]]\nmatch = \"POST /ask\"\nkind = \"query\"\ndialect = \"rag\"\ndrop_headers = [\"X-Served-*\"]";
        let sidecache = Setup::to(&upstream.url()).config(route).start().await;
        let client = sidecache.client();
        let first = client.post("/ask", &query()).await;
        let second = client.post("/ask", &query()).await;
        assert_eq!((first.cache(), second.cache()), ("MISS", "HIT"));
        for (name, value) in headers {
            assert_eq!(first.header(name), value, "the first caller gets all");
            let dropped =
                ["set-cookie", "x-ratelimit-remaining", "X-RateLimit-Reset", "x-served-by"].contains(&name);
            assert_eq!(second.header(name), if dropped { "" } else { value }, "{name}");
        }
        assert_eq!(second.header("content-length"), second.body.len().to_string());
        assert_eq!(second.header("content-type"), "application/json");
    });
}

/// How many of the upstream's header lines a caller gets, and `X-Cache`.
async fn lines(sidecache: &Sidecache, target: &str) -> (usize, String) {
    let mut raw = RawClient::connect(sidecache.address()).await;
    raw.send(post(target, "", &chat().to_string())).await;
    let head = raw.head().await.to_ascii_lowercase();
    let cache = head.lines().find_map(|line| line.strip_prefix("x-cache: ")).unwrap_or_default();
    assert!(head.starts_with("http/1.1 200"), "{target}: {}", head.lines().next().unwrap_or_default());
    (head.lines().filter(|line| line.starts_with("x-line-")).count(), cache.to_owned())
}

#[test]
fn a_thousand_lines_arrive_from_the_upstream_and_from_either_store() {
    run(async {
        for count in [99, 300, 1000] {
            let named: Vec<_> = (0..count).map(|number| format!("x-line-{number}")).collect();
            let headers: Vec<_> = named.iter().map(|name| (name.as_str(), "1")).collect();
            let upstream = upstream_with(&headers).await;
            let sidecache = Sidecache::start(&upstream.url()).await;
            for (target, cache) in [("/some", "pass"), (CHAT, "miss"), (CHAT, "hit")] {
                assert_eq!(lines(&sidecache, target).await, (count, cache.to_owned()), "{target}");
            }
            let redis = RedisServer::start();
            let start = || {
                let config = "[store]\ntimeout = \"5s\"";
                Setup::to(&upstream.url()).arguments(&["--redis", &redis.url()]).config(config).start()
            };
            let (one, other) = (start().await, start().await);
            assert_eq!(lines(&one, CHAT).await, (count, "miss".to_owned()));
            one.log.stored(1).await;
            // The other replica gets it from Redis, and then from its near cache.
            for _ in 0..2 {
                assert_eq!(lines(&other, CHAT).await, (count, "hit".to_owned()));
            }
        }
    });
}

#[test]
fn set_cookie_strip_removes_the_cookie_from_hits() {
    run(async {
        let upstream = upstream_with(&[("set-cookie", "a=b")]).await;
        let route = "[[route]]\nmatch = \"GET /page\"\nkind = \"other\"\nset_cookie = \"strip\"";
        let sidecache = Setup::to(&upstream.url()).config(route).start().await;
        for (turn, cookie) in [("MISS", "a=b"), ("HIT", "")] {
            let answer = sidecache.client().get("/page").await;
            assert_eq!((answer.cache(), answer.header("set-cookie")), (turn, cookie));
        }
    });
}

#[test]
fn health_pages_are_answered_by_sidecache() {
    run(async {
        let upstream = upstream_with(&[]).await;
        let sidecache =
            Setup::to(&upstream.url()).config("[health]\npath = \"/_health\"").admin().start().await;
        let admin = Client::new(sidecache.admin());
        for client in [sidecache.client(), admin.clone()] {
            for (page, status) in [("", "healthy"), ("/live", "live"), ("/ready", "ready")] {
                let answer = client.get(&format!("/_health{page}")).await;
                assert_eq!((answer.status, answer.json()["status"].as_str()), (200, Some(status)));
                assert_eq!((answer.cache(), answer.header("cache-status")), ("", ""));
                assert_eq!(answer.header("cache-control"), "no-store");
            }
        }
        assert_eq!(upstream.calls(), 0);
        // All other paths go to the upstream.
        assert_eq!(sidecache.client().get("/health").await.json(), chat_answer());
        assert_eq!(sidecache.client().request("POST", "/_health", &[], "").await.status, 200);
        assert_eq!(upstream.calls(), 2);
        let stats = admin.get("/stats").await;
        assert_eq!((stats.status, &stats.json()["store"]), (200, &"memory".into()));
    });
}

#[test]
fn the_admin_listener_requires_its_token_and_a_known_host() {
    run(async {
        let upstream = upstream_with(&[]).await;
        let config = "[admin]\ntoken = \"let-me-in-please\"\nhosts = [\"ops.example\"]";
        let sidecache = Setup::to(&upstream.url()).config(config).admin().start().await;
        let client = Client::new(sidecache.admin());
        let good = ("authorization", "Bearer let-me-in-please");
        for (headers, target, status) in [
            (&[good][..], "/stats", 200),
            (&[good, ("host", "ops.example:8081")], "/stats", 200),
            (&[good, ("host", "localhost")], "/stats", 200),
            (&[good, ("host", "evil.example")], "/stats", 403),
            (&[("host", "evil.example")], "/health", 403),
            (&[], "/stats", 401),
            (&[("authorization", "Bearer let-me-in")], "/stats", 401),
            (&[], "/health", 200),
            (&[], "/health/ready", 200),
            (&[good], "/nothing", 404),
        ] {
            let answer = client.request("GET", target, headers, "").await;
            assert_eq!(answer.status, status, "{target} {headers:?}: {}", answer.text());
        }
    });
}

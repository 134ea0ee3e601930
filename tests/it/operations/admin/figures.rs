//! What the page shows: `GET /overview` and `GET /history` tell what clients got.

use serde_json::{Value, json};

use super::{BOTH_STORES, Fixture, StoreKind};
use crate::support::{
    RedisServer, Script, Setup, Upstream, eventually, run,
    samples::{CHAT, chat, chat_answer},
};

const PRICES: &str = "[[price]]\nmodel = \"*\"\ninput = 2.5\noutput = 10.0\ncurrency = \"USD\"\n";

/// The sum of a list of the history.
fn sum(history: &Value, name: &str) -> f64 {
    let list = history[name].as_array().unwrap_or_else(|| panic!("{name}: {history}"));
    list.iter().filter_map(Value::as_f64).sum()
}

/// A miss, three hits, a bypass, an answer that is not stored, a request without a route, and a failure.
async fn traffic(fixture: &Fixture) {
    for expected in ["MISS", "HIT", "HIT", "HIT"] {
        assert_eq!(fixture.asked(CHAT, &chat()).await, expected);
    }
    let headers = [("cache-control", "no-cache")];
    assert_eq!(fixture.client.post_with(CHAT, &headers, &chat()).await.cache(), "BYPASS");
    assert_eq!(fixture.client.get("/nothing").await.status, 404);
    assert_eq!(fixture.client.get("/broken").await.status, 502);
}

async fn service() -> Upstream {
    Upstream::start(|request| match request.target.as_str() {
        CHAT => Script::json(&chat_answer()),
        "/broken" => Script::raw().close(),
        _ => Script::json_with(404, &[], &json!({"detail": "no such page"})),
    })
    .await
}

#[test]
fn the_buckets_of_both_ranges_add_up_to_what_health_says() {
    run(async {
        for store in BOTH_STORES {
            let upstream = service().await;
            let fixture = Fixture::with(store, Setup::to(&upstream.url()).config(PRICES)).await;
            traffic(&fixture).await;
            fixture.sidecache.settled().await;
            let health = fixture.sidecache.health().await;
            for (range, step) in [("1h", 10.0), ("24h", 300.0)] {
                let history = fixture.operator.get(&format!("/history?range={range}")).await.json();
                assert_eq!((&history["range"], &history["step"]), (&json!(range), &json!(step)));
                let cache = &health["cache"];
                for name in ["hits", "misses", "coalesced", "bypassed", "passed"] {
                    assert_eq!(Some(sum(&history, name)), cache[name].as_f64(), "{name}: {history}");
                }
                // The health page is a request, too.
                assert_eq!((sum(&history, "requests"), sum(&history, "failed")), (8.0, 1.0), "{history}");
                assert_eq!(Some(sum(&history, "tokens_saved")), cache["tokens_saved"].as_f64(), "{history}");
                assert_eq!(history["currency"], "USD");
                for name in ["cost_saved", "cost_spent"] {
                    let expected = cache[name].as_f64().expect("a cost");
                    assert!(
                        expected > 0.0 && (sum(&history, name) - expected).abs() < 1e-9,
                        "{name}: {history}"
                    );
                }
                for name in ["hit_p50_ms", "hit_p99_ms", "miss_p50_ms", "miss_p99_ms"] {
                    assert!(sum(&history, name) > 0.0, "{name}: {history}");
                }
                let (start, until) = (history["start"].as_f64(), history["until"].as_f64());
                let length = until.expect("an end") - start.expect("a start");
                let buckets = history["hits"].as_array().expect("a list").len() as f64;
                assert!(length <= buckets * step && length >= (buckets - 1.0) * step, "{history}");
            }
        }
    });
}

#[test]
fn the_overview_tells_routes_kinds_and_reasons_with_what_to_do() {
    run(async {
        let upstream = service().await;
        let fixture = Fixture::new(StoreKind::Memory, &upstream).await;
        let before = fixture.operator.get("/overview").await.json();
        assert_eq!((&before["requests"], &before["routes"]), (&json!(0), &json!([])), "{before}");
        assert_eq!(before["listen"], fixture.sidecache.address().to_string());
        traffic(&fixture).await;
        let overview = fixture.operator.get("/overview").await.json();
        assert_eq!(overview["health"]["status"], "healthy", "{overview}");
        assert_eq!(overview["requests"], 7);
        let route = |name: &str| {
            let routes = overview["routes"].as_array().expect("a list");
            let route = routes.iter().find(|route| route["route"] == name);
            route.unwrap_or_else(|| panic!("{name}: {overview}"))
        };
        let chat = route("openai-chat");
        assert_eq!((&chat["requests"], &chat["hits"], &chat["failed"]), (&json!(5), &json!(3), &json!(0)));
        assert_eq!((&chat["cache"]["miss"], &chat["cache"]["bypass"]), (&json!(1), &json!(1)));
        let none = route("none");
        assert_eq!(
            (&none["requests"], &none["cache"]["pass"], &none["failed"]),
            (&json!(2), &json!(2), &json!(1))
        );
        let query = &overview["kinds"][0];
        assert_eq!(
            (&query["kind"], &query["hits"], &query["misses"]),
            (&json!("query"), &json!(3), &json!(1))
        );
        assert_eq!(query["times"]["hits"]["count"], 3);
        assert!(query["times"]["misses"]["p99_ms"].as_f64().is_some_and(|time| time > 0.0), "{query}");
        let bypassed = overview["bypassed"].as_array().expect("a list");
        let told: Vec<_> = bypassed.iter().map(|row| (&row["reason"], &row["count"])).collect();
        assert_eq!(told, [(&json!("no-route"), &json!(2)), (&json!("request-no-cache"), &json!(1))]);
        assert!(bypassed.iter().all(|row| row["means"].is_string() && row["do"].is_string()), "{overview}");
    });
}

/// The events of the history, each with what it was about.
async fn marks(fixture: &Fixture) -> Vec<String> {
    let history = fixture.operator.get("/history").await.json();
    let told = |mark: &Value| {
        assert!(mark["time"].as_f64() >= history["start"].as_f64(), "{history}");
        let cause = mark["cause"].as_str().map(|cause| format!(" {cause}")).unwrap_or_default();
        format!("{}{cause} {}", mark["event"].as_str().expect("a text"), mark["count"])
    };
    history["marks"].as_array().expect("a list").iter().map(told).collect()
}

/// Waits until the history has an event.
async fn marked(fixture: &Fixture, expected: &str) {
    let is_there = async || marks(fixture).await.iter().any(|mark| mark.starts_with(expected)).then_some(());
    eventually(expected, is_there).await;
}

#[test]
fn purges_reloads_and_a_lost_store_are_marked() {
    run(async {
        let upstream = service().await;
        let mut fixture = Fixture::new(StoreKind::Redis, &upstream).await;
        fixture.counted(json!({"all": true})).await;
        assert!(!marks(&fixture).await.iter().any(|mark| mark.starts_with("purge")), "a count is no purge");
        fixture.purged(json!({"tag": "a"})).await;
        fixture.purged(json!({"tag": "b"})).await;
        fixture.purged(json!({"all": true})).await;
        let told = marks(&fixture).await;
        assert!(
            told.contains(&"purge tag 2".to_owned()) && told.contains(&"purge all 1".to_owned()),
            "{told:?}"
        );
        fixture.sidecache.reconfigure("[store]\ntimeout = \"10s\"");
        marked(&fixture, "reloaded").await;
        fixture.sidecache.reconfigure("[store]\ntimeout = \"x\"");
        marked(&fixture, "reload-failed").await;
        let overview = fixture.operator.get("/overview").await.json();
        assert_eq!(overview["reload_failed"], true);
        fixture.redis.as_mut().map(RedisServer::kill);
        marked(&fixture, "store-lost").await;
        fixture.redis.as_mut().map(RedisServer::restart);
        marked(&fixture, "store-back").await;
    });
}

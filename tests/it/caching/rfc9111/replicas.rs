//! Two replicas on one Redis.

use super::{get, route, says};
use crate::support::{RedisServer, Script, Setup, Sidecache, Upstream, eventually, run};

/// A replica without a near cache, with a store timeout that even a busy machine keeps.
async fn replica(upstream: &Upstream, redis: &RedisServer) -> Sidecache {
    let config = format!("[store]\ntimeout = \"5s\"\n{}", route("scope = \"shared\""));
    let setup = Setup::to(&upstream.url()).config(&config).arguments(&["--redis", &redis.url()]);
    let sidecache = setup.env("CACHE_NEAR_MEMORY", "0").start().await;
    eventually("Redis is connected", async || {
        sidecache.health().await["cache"]["connected"].as_bool().filter(|connected| *connected)
    })
    .await;
    sidecache
}

#[test]
fn rfc9111_4_variants_and_validation_are_shared_by_replicas() {
    run(async {
        let upstream = Upstream::start(|request| {
            let foo = request.header("foo").unwrap_or("-").to_owned();
            match request.header("if-none-match") {
                Some(tag) if tag == format!("\"{foo}\"") => {
                    Script::whole(304, &[("cache-control", "max-age=60"), ("vary", "foo")], "")
                }
                _ => {
                    let tag = format!("\"{foo}\"");
                    let headers = [
                        ("cache-control", "max-age=9"),
                        ("age", "9"),
                        ("vary", "foo"),
                        ("etag", tag.as_str()),
                    ];
                    says(&headers, &foo)
                }
            }
        })
        .await;
        let redis = RedisServer::start();
        let (one, two) = (replica(&upstream, &redis).await, replica(&upstream, &redis).await);
        for foo in ["1", "2"] {
            assert_eq!(get(&one.client(), &[("foo", foo)]).await.cache(), "MISS");
        }
        one.log.stored(2).await;
        for foo in ["1", "2"] {
            let confirmed = get(&two.client(), &[("foo", foo)]).await;
            assert_eq!((confirmed.cache(), confirmed.text().as_str()), ("HIT", foo), "it confirmed it");
            let hit = get(&one.client(), &[("foo", foo)]).await;
            // The first replica may ask while the other one still writes: then it waits for that.
            assert!(["HIT", "COALESCED"].contains(&hit.cache()), "{:?}", hit.headers);
        }
        assert_eq!(upstream.calls(), 4);
        two.client().request("PUT", "/a", &[], "").await;
        let invalidated =
            async || (get(&one.client(), &[("foo", "1")]).await.cache() == "MISS").then_some(());
        eventually("it is invalid on the other replica", invalidated).await;
    });
}

//! What routes say about invalidation: where tags are, and which kinds a call invalidates.

use super::*;

#[test]
fn tags_are_read_from_the_routes_pointers_and_the_headers() {
    run(async {
        let upstream = Upstream::start(|request| {
            let body = json!({"answer": "A.", "refs": [{"doc": "a"}, {"doc": 7}]});
            match request.target.as_str() {
                "/by-pointer" => Script::json(&body),
                "/by-event" => Script::events(&[&format!("data: {body}\n\n"), "data: [DONE]\n\n"]),
                "/by-header" => Script::json_with(
                    200,
                    &[("cache-tag", "x, a"), ("surrogate-key", "k 7")],
                    &json!({"a": 1}),
                ),
                _ => Script::json(&json!({})),
            }
        })
        .await;
        let route = |path, kind| format!("[[route]]\nmatch = \"POST {path}\"\nkind = \"{kind}\"\n");
        let tags = "tags = [\"/refs/*/doc\"]\n";
        let config = route("/by-pointer", "query") + tags + &route("/by-event", "query") + tags;
        let sidecache =
            Setup::to(&upstream.url()).config(&(config + &route("/by-header", "other"))).start().await;
        let client = sidecache.client();
        for target in ["/by-pointer", "/by-event", "/by-header"] {
            for id in ["a", "7"] {
                let cache = async || client.post(target, &query()).await.cache().to_owned();
                cache().await;
                assert_eq!(cache().await, "HIT", "{target}");
                client.request("PUT", "/api/v1/documents/zzz", &[], "{}").await;
                assert_eq!(cache().await, "HIT", "{target}");
                client.request("PUT", &format!("/api/v1/documents/{id}"), &[], "{}").await;
                assert_eq!(cache().await, "MISS", "{target} {id}");
            }
        }
    });
}

#[test]
fn a_route_can_invalidate_whole_kinds() {
    run(async {
        let upstream = citing().await;
        let config = "[[route]]\nmatch = \"POST /upload\"\nkind = \"other\"\ncache = false\n\
                      invalidates = [\"query\"]\n\
                      [[route]]\nmatch = \"POST /reindex\"\nkind = \"other\"\ninvalidates = [\"document\"]";
        let sidecache = Setup::to(&upstream.url()).config(config).start().await;
        let client = sidecache.client();
        let seen = async || (cache(&client, "a").await, client.get(DOCUMENT).await.cache().to_owned());
        let texts = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        seen().await;
        assert_eq!(seen().await, texts("HIT", "HIT"));
        client.request("POST", "/upload", &[("x-refuse", "1")], "{}").await;
        assert_eq!(seen().await, texts("HIT", "HIT"), "it was refused");
        client.request("POST", "/upload", &[], "{}").await;
        assert_eq!(seen().await, texts("MISS", "HIT"));
        assert_eq!(client.post("/reindex", &json!({})).await.cache(), "MISS");
        assert_eq!(seen().await, texts("HIT", "MISS"));
        assert_eq!(client.post("/reindex", &json!({})).await.cache(), "HIT");
        assert_eq!(seen().await, texts("HIT", "HIT"), "a hit changes nothing");
    });
}

/// On cached and uncached routes alike, and also if the upstream's answer is lost.
#[test]
fn the_invalidates_setting_treats_cached_and_uncached_routes_alike() {
    run(async {
        let upstream = Upstream::start(|request| match request.header("x-outcome") {
            Some("lost") => Script::raw().close(),
            Some(status) => {
                let location = [("location", "/elsewhere")];
                Script::json_with(status.parse().expect("a status"), &location, &json!({}))
            }
            None => Script::json(&json!({"at": request.target})),
        })
        .await;
        let route = |path: &str, cache: bool| {
            format!(
                "[[route]]\nmatch = \"POST {path}\"\nkind = \"other\"\ncache = {cache}\ninvalidates = [\"document\"]\n"
            )
        };
        let config = [route("/kept", true), route("/passed", false)].concat();
        let sidecache = Setup::to(&upstream.url()).config(&config).start().await;
        let client = sidecache.client();
        let seen = async || client.get(DOCUMENT).await.cache().to_owned();
        for path in ["/kept", "/passed"] {
            for (outcome, expected) in [("200", "MISS"), ("303", "MISS"), ("lost", "MISS"), ("422", "HIT")] {
                eventually("stored", async || (seen().await == "HIT").then_some(())).await;
                client.post_with(path, &[("x-outcome", outcome)], &json!({"outcome": outcome})).await;
                assert_eq!(seen().await, expected, "{path}, {outcome}");
            }
        }
    });
}

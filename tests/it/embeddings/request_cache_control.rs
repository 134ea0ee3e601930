//! Request directives, scopes and stale answers for batches.

use serde_json::json;

use super::{
    asked,
    fake_service::{Behavior, FakeService, Fault, OPENAI},
    texts,
};
use crate::support::{Setup, Sidecache, eventually, run};

fn route(settings: &str) -> String {
    format!("[[route]]\nname = \"vectors\"\nmatch = \"POST {OPENAI}\"\nkind = \"embedding\"\n{settings}\n")
}

#[test]
fn no_cache_fetches_all_inputs_and_stores_them() {
    run(async {
        let service = FakeService::start().await;
        let sidecache = Sidecache::start(&service.upstream.url()).await;
        let client = sidecache.client();
        asked(&client, &[], &texts(&["a"])).await;
        let refetched = asked(&client, &[("cache-control", "no-cache")], &texts(&["a", "b", "a"])).await;
        assert_eq!((refetched.cache(), refetched.detail()), ("BYPASS", Some("request-no-cache")));
        assert_eq!(service.upstream.last().json(), texts(&["a", "b"]), "each once");
        assert_eq!(asked(&client, &[], &texts(&["b", "a"])).await.cache(), "HIT");
    });
}

#[test]
fn no_store_neither_reads_nor_writes() {
    run(async {
        let service = FakeService::start().await;
        let sidecache = Sidecache::start(&service.upstream.url()).await;
        let client = sidecache.client();
        for _ in 0..2 {
            let body = texts(&["a", "a"]);
            let answer = asked(&client, &[("cache-control", "no-store")], &body).await;
            assert_eq!((answer.cache(), answer.detail()), ("BYPASS", Some("request-no-store")));
            assert_eq!(service.upstream.last().json(), body, "as it is");
        }
        assert_eq!(asked(&client, &[], &texts(&["a"])).await.cache(), "MISS");
    });
}

#[test]
fn only_if_cached_answers_with_all_inputs_or_504() {
    run(async {
        let service = FakeService::start().await;
        let sidecache = Sidecache::start(&service.upstream.url()).await;
        let client = sidecache.client();
        asked(&client, &[], &texts(&["a"])).await;
        let only = [("cache-control", "only-if-cached")];
        let lacking = client.post_with(OPENAI, &only, &texts(&["a", "b"])).await;
        assert_eq!((lacking.status, &lacking.json()["error"]), (504, &json!("NotCachedException")));
        assert_eq!(lacking.header("cache-status"), "sidecache; detail=\"hits=1/2\"");
        assert_eq!(asked(&client, &only, &texts(&["a", "a"])).await.cache(), "HIT");
        assert_eq!(service.upstream.calls(), 1);
    });
}

#[test]
fn each_input_has_its_own_age_and_ttl() {
    run(async {
        let service = FakeService::start().await;
        let sidecache = Sidecache::start(&service.upstream.url()).await;
        let client = sidecache.client();
        asked(&client, &[("x-cache-ttl", "2")], &texts(&["a"])).await;
        asked(&client, &[], &texts(&["b"])).await;
        let left = |received: &str| -> u64 {
            let ttl = received.split("; ").find_map(|part| part.strip_prefix("ttl=")).expect("a ttl");
            ttl.parse().expect("seconds")
        };
        let hit = asked(&client, &[], &texts(&["b", "a"])).await;
        assert!(hit.cache() != "HIT" || left(hit.header("cache-status")) <= 2, "{:?}", hit.headers);
        let partial = eventually("one of them is stale", async || {
            let answer = asked(&client, &[("cache-control", "only-if-cached")], &texts(&["b"])).await;
            let age: u64 = answer.header("age").parse().expect("seconds");
            if age < 2 { None } else { Some(asked(&client, &[], &texts(&["a", "b"])).await) }
        })
        .await;
        assert_eq!((partial.cache(), partial.detail()), ("PARTIAL", Some("\"hits=1/2\"")));
        assert!(partial.header("age").parse::<u64>().expect("seconds") >= 2, "{:?}", partial.headers);
        // For this request one of the entries is too old.
        let fussy = asked(&client, &[("cache-control", "max-age=1")], &texts(&["a", "b"])).await;
        assert_ne!(fussy.cache(), "HIT", "{:?}", fussy.headers);
    });
}

#[test]
fn a_shared_vector_goes_only_to_accepted_callers() {
    run(async {
        let service = FakeService::start().await;
        let sidecache = Setup::to(&service.upstream.url()).config(&route("scope = \"shared\"")).start().await;
        let client = sidecache.client();
        let one = [("authorization", "Bearer one")];
        let two = [("authorization", "Bearer two")];
        assert_eq!(asked(&client, &[], &texts(&["free"])).await.cache(), "MISS");
        assert_eq!(asked(&client, &one, &texts(&["a"])).await.cache(), "MISS");
        // Not accepted yet: this caller gets the vector that was fetched without credentials; the other one
        // is fetched.
        let answer = asked(&client, &two, &texts(&["a", "free"])).await;
        assert_eq!((answer.cache(), answer.detail()), ("PARTIAL", Some("\"hits=1/2\"")));
        assert_eq!(asked(&client, &two, &texts(&["a", "free"])).await.cache(), "HIT");
        assert_eq!(asked(&client, &one, &texts(&["a", "free"])).await.cache(), "HIT");
        service.set(Behavior { fault: Fault::Status(401), ..Behavior::GOOD });
        let bad = client.post_with(OPENAI, &[("authorization", "Bearer bad")], &texts(&["a", "free"])).await;
        assert_eq!(bad.status, 401);
    });
}

#[test]
fn stale_vectors_are_served_while_the_upstream_fails() {
    run(async {
        let service = FakeService::start().await;
        let settings = route("ttl = \"1s\"\nstale_if_error = \"1h\"");
        let sidecache = Setup::to(&service.upstream.url()).config(&settings).start().await;
        let client = sidecache.client();
        asked(&client, &[], &texts(&["a", "b"])).await;
        service.set(Behavior { fault: Fault::Status(503), ..Behavior::GOOD });
        let both = texts(&["b", "a"]);
        let stale = eventually("stale ones", async || {
            Some(asked(&client, &[], &both).await).filter(|answer| answer.cache() != "HIT")
        })
        .await;
        assert_eq!(stale.cache(), "STALE", "{:?}", stale.headers);
        let lacking = client.post(OPENAI, &texts(&["a", "c"])).await;
        assert_eq!(lacking.status, 503, "not all of it is there");
    });
}

#[test]
fn stale_vectors_are_refreshed_in_the_background() {
    run(async {
        let service = FakeService::start().await;
        let settings = route("ttl = \"1s\"\nstale_while_revalidate = \"1h\"");
        let sidecache = Setup::to(&service.upstream.url()).config(&settings).start().await;
        let client = sidecache.client();
        asked(&client, &[], &texts(&["a"])).await;
        let stale = eventually("a stale one", async || {
            Some(asked(&client, &[], &texts(&["a"])).await).filter(|answer| answer.cache() != "HIT")
        })
        .await;
        assert_eq!(stale.cache(), "STALE", "{:?}", stale.headers);
        let fresh = async || (asked(&client, &[], &texts(&["a"])).await.cache() == "HIT").then_some(());
        eventually("a fresh one", fresh).await;
    });
}

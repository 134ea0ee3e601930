//! Which answers are counted: each call of the upstream once, and each hit once.

use serde_json::json;

use super::{PRICES, billionths, call_of, chat, spent_and_saved};
use crate::support::{Gate, Script, Setup, Upstream, eventually, run, samples::CHAT};

#[test]
fn who_joins_a_running_answer_neither_spends_nor_saves() {
    run(async {
        let talk = chat();
        let gate = Gate::new();
        let upstream = Upstream::always(talk.script(false).after(&gate)).await;
        let sidecache = Setup::to(&upstream.url()).config(PRICES).start().await;
        let client = sidecache.client();
        let open = async {
            for id in ["a", "b", "c"] {
                sidecache.log.looked_up(id).await;
            }
            gate.open();
        };
        let ask = async |id: &'static str| talk.ask(&client, false, id).await;
        let (a, b, c, ()) = tokio::join!(ask("a"), ask("b"), ask("c"), open);
        let mut caches = [a.cache(), b.cache(), c.cache()];
        caches.sort_unstable();
        assert_eq!(caches, ["COALESCED", "COALESCED", "MISS"]);
        assert_eq!(spent_and_saved(&sidecache).await, (talk.cost, 0));
    });
}

/// Whatever way requests go, the sums are those of the calls and of the hits.
#[test]
fn the_sums_are_those_of_the_calls_and_of_the_hits() {
    run(async {
        let talk = chat();
        let upstream = Upstream::always(talk.script(false)).await;
        let route = format!(
            "[[route]]\nmatch = \"POST {CHAT}\"\nkind = \"query\"\nttl = \"1s\"\nstale_while_revalidate = \"10m\"\n"
        );
        let sidecache = Setup::to(&upstream.url()).config(&(route + PRICES)).start().await;
        let client = sidecache.client();
        let mut caches = Vec::new();
        for directive in ["no-store", "max-age=60", "no-cache", "max-age=60", "max-age=0", "only-if-cached"] {
            let headers = [("cache-control", directive)];
            caches.push(client.post_with(CHAT, &headers, &talk.questions[0]).await.cache().to_owned());
        }
        eventually("a stale answer", async || {
            caches.push(client.post(CHAT, &talk.questions[0]).await.cache().to_owned());
            caches.last().filter(|cache| *cache == "STALE").map(|_| ())
        })
        .await;
        assert!(
            ["MISS", "BYPASS", "HIT"].iter().all(|word| caches.iter().any(|own| own == word)),
            "{caches:?}"
        );
        let hits = caches.iter().filter(|cache| ["HIT", "STALE"].contains(&cache.as_str())).count() as i64;
        let settled = eventually("the refresh has ended", async || {
            let sums = spent_and_saved(&sidecache).await;
            (sums.0 == talk.cost * upstream.calls() as i64).then_some(sums)
        });
        assert_eq!(settled.await, (talk.cost * upstream.calls() as i64, talk.cost * hits));
    });
}

#[test]
fn of_a_batch_each_input_is_spent_once_and_saved_by_each_hit() {
    run(async {
        // A thousand tokens an input.
        let upstream = Upstream::start(|request| {
            let inputs = request.json()["input"].as_array().map_or(1, Vec::len);
            let vector = |index| json!({"object": "embedding", "index": index, "embedding": [0.5]});
            let tokens = inputs * 1000;
            Script::json(
                &json!({"object": "list", "model": "m-e", "data": (0..inputs).map(vector).collect::<Vec<_>>(),
                "usage": {"prompt_tokens": tokens, "total_tokens": tokens}}),
            )
        })
        .await;
        let sidecache = Setup::to(&upstream.url()).config(PRICES).start().await;
        let client = sidecache.client();
        let one = 2_000_000;
        for (inputs, cache, spent, saved) in [
            (&["aa", "bb"][..], "MISS", 2, 0),
            (&["aa", "bb"], "HIT", 2, 2),
            (&["aa", "cc", "bb", "aa"], "PARTIAL", 3, 5),
            (&["cc"], "HIT", 3, 6),
        ] {
            let answer = client.post("/v1/embeddings", &json!({"model": "m", "input": inputs})).await;
            assert_eq!(answer.cache(), cache, "{inputs:?}");
            assert_eq!(spent_and_saved(&sidecache).await, (spent * one, saved * one), "{inputs:?}");
        }
    });
}

#[test]
fn without_a_price_or_a_usage_no_cost_is_told() {
    run(async {
        let talk = chat();
        let (_upstream, sidecache) = talk.start(false, "").await;
        let cache = sidecache.health().await["cache"].clone();
        for name in ["cost_saved", "cost_spent", "currency"] {
            assert!(cache.get(name).is_none(), "{name}");
        }
        talk.ask(&sidecache.client(), false, "no-prices").await;
        let line = call_of(&sidecache, "no-prices").await;
        assert!(line.get("cost").is_none() && line.get("currency").is_none(), "{line}");

        let mut silent = talk.document.clone();
        silent["usage"] = json!(null);
        let mut other = talk.document.clone();
        other["model"] = json!("other");
        for (id, answer) in [("silent", silent), ("other", other)] {
            let upstream = Upstream::always(Script::json(&answer)).await;
            let sidecache = Setup::to(&upstream.url()).config(PRICES).start().await;
            for _ in 0..2 {
                talk.ask(&sidecache.client(), false, id).await;
            }
            let line = call_of(&sidecache, id).await;
            assert!(line.get("cost").is_none() && line.get("currency").is_none(), "{line}");
            assert_eq!(spent_and_saved(&sidecache).await, (0, 0), "{id}");
        }
    });
}

#[test]
fn an_answer_that_failed_or_was_not_stored_is_counted_as_far_as_it_tells_its_usage() {
    run(async {
        let talk = chat();
        let mut filtered = talk.document.clone();
        filtered["choices"][0]["finish_reason"] = json!("content_filter");
        let upstream = Upstream::start(move |request| match request.header("x-case") {
            Some("filtered") => Script::json(&filtered),
            _ => Script::json_with(500, &[], &filtered),
        })
        .await;
        let sidecache = Setup::to(&upstream.url()).config(PRICES).start().await;
        for (id, case, spent) in
            [("1", "failed", 0), ("2", "filtered", talk.cost), ("3", "filtered", 2 * talk.cost)]
        {
            let headers = [("x-case", case), ("x-request-id", id)];
            let answer = sidecache.client().post_with(CHAT, &headers, &talk.questions[0]).await;
            assert_eq!(answer.cache(), "MISS", "{case}");
            if spent > 0 {
                assert_eq!(billionths(&call_of(&sidecache, id).await["cost"]), talk.cost);
            }
            assert_eq!(spent_and_saved(&sidecache).await, (spent, 0), "{case}");
        }
    });
}

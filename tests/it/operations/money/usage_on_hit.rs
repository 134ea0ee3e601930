//! What the body of a hit says of its usage.

use serde_json::Value;

use super::{Talk, chat, talks};
use crate::support::{Gate, Script, Setup, Upstream, run};

/// The file with `usage_on_hit = "zero"` on a route for each talk.
fn zero_for(talk: &Talk) -> String {
    let zero = "usage_on_hit = \"zero\"\n";
    let [one, other] = talk.targets.map(|target| target.split('?').next().unwrap_or_default());
    let patterns =
        if one == other { format!("\"POST {one}\"") } else { format!("[\"POST {one}\", \"POST {other}\"]") };
    format!("[[route]]\nmatch = {patterns}\nkind = \"query\"\n{zero}")
}

/// The text of a body with zero for each number of each usage.
fn zeroed(body: &str) -> String {
    let counts = [
        "prompt_tokens",
        "completion_tokens",
        "total_tokens",
        "cached_tokens",
        "audio_tokens",
        "reasoning_tokens",
        "input_tokens",
        "output_tokens",
        "cache_read_input_tokens",
        "cache_creation_input_tokens",
        "prompt_eval_count",
        "eval_count",
        "promptTokenCount",
        "cachedContentTokenCount",
        "candidatesTokenCount",
        "thoughtsTokenCount",
        "totalTokenCount",
        "tokenCount",
    ];
    counts.iter().fold(body.to_owned(), |text, name| {
        let name = format!("\"{name}\":");
        let pieces: Vec<_> = text.split(&name).collect();
        let zeroed =
            |piece: &&str| format!("{name}0{}", piece.trim_start_matches(|c: char| c.is_ascii_digit()));
        pieces[..1].iter().map(|piece| (*piece).to_owned()).chain(pieces[1..].iter().map(zeroed)).collect()
    })
}

#[test]
fn with_zero_a_hit_took_nothing_in_every_dialect_and_form() {
    run(async {
        for talk in talks() {
            for streams in [false, true] {
                let name = (talk.name, streams);
                let (_upstream, sidecache) = talk.start(streams, &zero_for(&talk)).await;
                let (_other, recorded) = talk.start(streams, "").await;
                let forms = if talk.converts { vec![streams, !streams] } else { vec![streams] };
                let miss = talk.ask(&sidecache.client(), streams, "miss").await;
                let told = talk.ask(&recorded.client(), streams, "miss").await;
                assert_eq!((miss.cache(), miss.text()), ("MISS", told.text()), "{name:?}");
                assert_ne!(zeroed(&told.text()), told.text(), "{name:?}");
                for form in forms {
                    let [hit, told] = [&sidecache, &recorded].map(|sidecache| {
                        let (client, talk) = (sidecache.client(), &talk);
                        async move { talk.ask(&client, form, "hit").await }
                    });
                    let (hit, told) = (hit.await, told.await);
                    assert_eq!((hit.cache(), told.cache()), ("HIT", "HIT"), "{name:?} {form}");
                    assert_eq!(hit.text(), zeroed(&told.text()), "{name:?} {form}");
                    assert_ne!(hit.text(), told.text(), "{name:?} {form}");
                }
                let log = super::call_of(&sidecache, "hit").await;
                assert_eq!(log["total_tokens"], 1050, "the log says what was saved");
            }
        }
    });
}

#[test]
fn with_zero_a_stale_answer_and_one_in_place_of_an_error_took_nothing() {
    run(async {
        for stale in ["stale_while_revalidate", "stale_if_error"] {
            let talk = chat();
            let (first, calls) = (talk.script(false).bytes(), std::sync::atomic::AtomicUsize::new(0));
            let upstream =
                Upstream::start(move |_| match calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
                    0 => Script::raw().send(&first),
                    _ => Script::whole(503, &[], "no"),
                })
                .await;
            let config = format!("{}ttl = \"1s\"\n{stale} = \"10m\"\n", zero_for(&talk));
            let sidecache = Setup::to(&upstream.url()).config(&config).start().await;
            let client = sidecache.client();
            talk.ask(&client, false, "miss").await;
            let aged =
                async || Some(talk.ask(&client, false, "x").await).filter(|answer| answer.cache() == "STALE");
            let answer = crate::support::eventually("it is stale", aged).await;
            assert_eq!(answer.text(), zeroed(&talk.document.to_string()), "{stale}");
        }
    });
}

/// They share the call of another one, which the upstream has told what it took.
#[test]
fn followers_get_what_the_upstream_says() {
    run(async {
        let talk = chat();
        let gate = Gate::new();
        let upstream = Upstream::always(talk.script(true).after(&gate)).await;
        let sidecache = Setup::to(&upstream.url()).config(&zero_for(&talk)).start().await;
        let client = sidecache.client();
        let ask = async |id: &'static str| talk.ask(&client, true, id).await;
        let all = async {
            sidecache.log.looked_up("leader").await;
            let followers = async { tokio::join!(ask("one"), ask("two")) };
            let open = async {
                sidecache.log.looked_up("one").await;
                sidecache.log.looked_up("two").await;
                gate.open();
            };
            tokio::join!(followers, open).0
        };
        let (leader, (one, two)) = tokio::join!(ask("leader"), all);
        assert_eq!([leader.cache(), one.cache(), two.cache()], ["MISS", "COALESCED", "COALESCED"]);
        for answer in [&leader, &one, &two] {
            assert_eq!(answer.text(), talk.stream);
        }
        assert_eq!(talk.ask(&client, true, "hit").await.text(), zeroed(&talk.stream));
    });
}

#[test]
fn what_describes_the_recorded_body_is_left_out_where_the_usage_is_changed() {
    run(async {
        for (answer, etag) in [(chat().document, ""), (without_usage(chat().document), "\"v\"")] {
            let headers = [("etag", "\"v\"")];
            let upstream = Upstream::always(Script::json_with(200, &headers, &answer)).await;
            let talk = chat();
            let sidecache = Setup::to(&upstream.url()).config(&zero_for(&talk)).start().await;
            for (cache, etag) in [("MISS", "\"v\""), ("HIT", etag)] {
                let answer = talk.ask(&sidecache.client(), false, cache).await;
                assert_eq!((answer.cache(), answer.header("etag")), (cache, etag));
                let length = answer.header("content-length").parse().ok();
                assert_eq!(length, Some(answer.body.len()));
            }
        }
    });
}

fn without_usage(mut answer: Value) -> Value {
    answer.as_object_mut().expect("an object").remove("usage");
    answer
}

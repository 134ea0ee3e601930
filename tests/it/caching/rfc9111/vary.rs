//! Section 4.1: several responses for one target.

use super::{counting, follow, get, says, second};
use crate::support::{Gate, Script, Upstream, run};

/// An upstream whose answers are their numbers and vary on `names`.
async fn varying(names: &str) -> Upstream {
    counting(&[("cache-control", "max-age=60"), ("vary", names)]).await
}

#[test]
fn rfc9111_4_1_each_variant_is_stored() {
    run(async {
        let upstream = varying("Foo").await;
        let sidecache = follow(&upstream).await;
        let client = sidecache.client();
        for (headers, cache, text) in [
            (&[("foo", "1")][..], "MISS", "1"),
            (&[("foo", "2")], "MISS", "2"),
            (&[], "MISS", "3"),
            (&[("foo", "1")], "HIT", "1"),
            (&[("foo", "2"), ("other", "x"), ("accept", "y")], "HIT", "2"),
            (&[], "HIT", "3"),
        ] {
            let answer = get(&client, headers).await;
            assert_eq!((answer.cache(), answer.text().as_str()), (cache, text), "{headers:?}");
            if text == "2" && cache == "MISS" {
                let received = answer.header("cache-status");
                assert!(
                    received.starts_with("sidecache; fwd=vary-miss"),
                    "RFC 9211, section 2.2: {received}"
                );
            }
        }
    });
}

#[test]
fn rfc9111_4_1_header_lines_and_white_space_are_normalised() {
    run(async {
        let upstream = varying("Foo, Accept-Language").await;
        let sidecache = follow(&upstream).await;
        let client = sidecache.client();
        let one = [("foo", "1"), ("foo", "2"), ("accept-language", "de, EN")];
        assert_eq!(get(&client, &one).await.cache(), "MISS");
        let same = [("accept-language", "DE,en"), ("foo", "1 ,  2")];
        assert_eq!(get(&client, &same).await.cache(), "HIT");
        let other = [("accept-language", "en, de"), ("foo", "1, 2")];
        assert_eq!(get(&client, &other).await.cache(), "MISS", "their order may count");
    });
}

#[test]
fn rfc9111_4_1_an_asterisk_never_matches() {
    run(async {
        let second = second(&[("cache-control", "max-age=60"), ("vary", "foo, *")]).await;
        assert_eq!((second.cache(), second.detail()), ("MISS", Some("vary")));
    });
}

#[test]
fn a_longer_vary_separates_variants_by_all_its_fields() {
    run(async {
        let script = |vary, text| says(&[("cache-control", "max-age=60"), ("vary", vary)], text);
        let upstream = Upstream::in_turn(vec![script("a", "1"), script("b", "2"), script("b", "3")]).await;
        let sidecache = follow(&upstream).await;
        let client = sidecache.client();
        for (headers, text) in [
            (&[("a", "1")][..], "1"),
            (&[("a", "2"), ("b", "1")], "2"),
            (&[("a", "2"), ("b", "2")], "3"),
            (&[("a", "2"), ("b", "1")], "2"),
        ] {
            assert_eq!(get(&client, headers).await.text(), text, "{headers:?}");
        }
    });
}

#[test]
fn a_response_without_vary_answers_every_variant() {
    run(async {
        let vary = [("cache-control", "max-age=60"), ("vary", "foo")];
        let upstream = Upstream::in_turn(vec![says(&vary, "1"), says(&vary[..1], "2")]).await;
        let sidecache = follow(&upstream).await;
        let client = sidecache.client();
        get(&client, &[("foo", "1")]).await;
        get(&client, &[("foo", "2")]).await;
        for foo in ["1", "2", "3"] {
            assert_eq!(get(&client, &[("foo", foo)]).await.text(), "2");
        }
    });
}

#[test]
fn rfc9110_12_5_3_accept_encoding_is_not_sent_upstream() {
    run(async {
        let upstream = varying("accept-encoding").await;
        let sidecache = follow(&upstream).await;
        assert_eq!(get(&sidecache.client(), &[("accept-encoding", "gzip")]).await.cache(), "MISS");
        assert!(upstream.last().header("accept-encoding").is_none());
        assert_eq!(get(&sidecache.client(), &[("accept-encoding", "br")]).await.cache(), "HIT");
    });
}

#[test]
fn rfc9111_4_1_a_request_never_joins_the_flight_of_another_variant() {
    run(async {
        let gate = Gate::new();
        let held = gate.clone();
        let upstream = Upstream::start(move |request| {
            let headers = [("cache-control", "max-age=60"), ("vary", "foo")];
            Script::raw().wait(&held).then(says(&headers, request.header("foo").unwrap_or("-")))
        })
        .await;
        let sidecache = follow(&upstream).await;
        let ask = |foo: &'static str| {
            let client = sidecache.client();
            tokio::spawn(async move { get(&client, &[("foo", foo), ("x-request-id", foo)]).await })
        };
        let both = [ask("1"), ask("2")];
        sidecache.log.looked_up("1").await;
        sidecache.log.looked_up("2").await;
        gate.open();
        for (answer, expected) in both.into_iter().zip(["1", "2"]) {
            assert_eq!(answer.await.expect("an answer").text(), expected);
        }
    });
}

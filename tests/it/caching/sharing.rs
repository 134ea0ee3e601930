//! Who shares an answer: credentials, scopes, and what is not in the key.

use serde_json::{Value, json};

use crate::support::{
    Client, Script, Setup, Sidecache, Upstream, eventually, run,
    samples::{CHAT, DONE, QUERY, cases, chat, chat_answer, data, query, query_answer},
};

/// An upstream that answers everything.
async fn counting() -> Upstream {
    Upstream::always(Script::json(&query_answer())).await
}

fn ask_route(settings: &str) -> String {
    format!(
        "[[route]]\nname = \"ask\"\nmatch = \"POST /ask\"\nkind = \"query\"\ndialect = \"rag\"\n{settings}\n"
    )
}

/// Sends each of `requests` once; returns each `X-Cache`.
async fn asked(client: &Client, requests: &[(&[(&str, &str)], Value)]) -> Vec<String> {
    let mut received = Vec::new();
    for (headers, body) in requests {
        received.push(client.post_with("/ask", headers, body).await.cache().to_owned());
    }
    received
}

#[test]
fn each_credential_has_its_own_entry() {
    run(async {
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let client = sidecache.client();
        let mut calls = 0;
        for name in [
            "Authorization",
            "Proxy-Authorization",
            "X-API-Key",
            "Api-Key",
            "X-Goog-Api-Key",
            "X-Auth-Token",
            "Cookie",
        ] {
            for value in ["one", "two"] {
                for turn in ["MISS", "HIT"] {
                    let answer = client.post_with(CHAT, &[(name, value)], &chat()).await;
                    assert_eq!(answer.cache(), turn, "{name}: {value}");
                }
                calls += 1;
                assert_eq!(upstream.calls(), calls, "{name}: {value}");
                assert_eq!(upstream.last().header(&name.to_ascii_lowercase()), Some(value));
            }
        }
        assert_eq!(client.post(CHAT, &chat()).await.cache(), "MISS", "nobody is another caller");
    });
}

#[test]
fn headers_that_change_no_answer_are_not_in_the_key() {
    run(async {
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        let client = sidecache.client();
        assert_eq!(client.post(CHAT, &chat()).await.cache(), "MISS");
        for (name, value) in [
            ("User-Agent", "x/1"),
            ("Accept", "text/event-stream"),
            ("Accept-Encoding", "gzip"),
            ("Pragma", "x"),
            ("If-None-Match", "\"a\""),
            ("Date", "today"),
            ("Referer", "https://a.example/"),
            ("Sec-Fetch-Mode", "cors"),
            ("DNT", "1"),
            ("Priority", "u=1"),
            ("Via", "1.1 a"),
            ("Forwarded", "for=1.1.1.1"),
            ("X-Forwarded-For", "1.1.1.1"),
            ("X-Real-IP", "1.1.1.1"),
            ("Idempotency-Key", "7"),
            ("X-Request-ID", "7"),
            ("X-Correlation-ID", "7"),
            ("traceparent", "00-0-0-00"),
            ("baggage", "a=b"),
            ("X-B3-TraceId", "7"),
            ("b3", "0"),
            ("X-Amzn-Trace-Id", "7"),
            ("sentry-trace", "7"),
            ("X-Datadog-Trace-Id", "7"),
            ("newrelic", "7"),
            ("X-Stainless-OS", "Linux"),
        ] {
            let answer = client.post_with(CHAT, &[(name, value)], &chat()).await;
            assert_eq!(answer.cache(), "HIT", "{name}");
        }
        for (name, value) in [("OpenAI-Beta", "x"), ("X-Tenant", "a")] {
            let answer = client.post_with(CHAT, &[(name, value)], &chat()).await;
            assert_eq!(answer.cache(), "MISS", "{name} may change the answer");
        }
    });
}

/// `Accept-Language` as Python, Node and browsers send it: none, any, the user's.
const LANGUAGES: [&[(&str, &str)]; 3] =
    [&[], &[("accept-language", "*")], &[("accept-language", "de-DE,de;q=0.9")]];

#[test]
fn clients_of_all_languages_share_a_vendors_answers() {
    run(async {
        for case in cases() {
            let answer = case.answer.clone();
            let upstream = Upstream::start(move |_| Script::json(&answer)).await;
            let sidecache = Sidecache::start(&upstream.url()).await;
            let mut received = Vec::new();
            for headers in LANGUAGES {
                let answer = sidecache.client().post_with(case.target, headers, &case.question).await;
                received.push(answer.cache().to_owned());
            }
            let is_vendors = case.answer.get("sources").is_none();
            assert_eq!(received, ["MISS", "HIT", if is_vendors { "HIT" } else { "MISS" }], "{}", case.target);
            assert_eq!(upstream.requests()[0].header("accept-language"), None);
        }
    });
}

#[test]
fn a_vendors_answer_that_varies_on_the_language_is_not_shared() {
    run(async {
        let upstream =
            Upstream::always(Script::json_with(200, &[("vary", "Accept-Language")], &chat_answer())).await;
        let sidecache = Sidecache::start(&upstream.url()).await;
        for headers in LANGUAGES {
            let answer = sidecache.client().post_with(CHAT, headers, &chat()).await;
            assert_eq!((answer.cache(), answer.detail()), ("MISS", Some("vary")));
            let said = headers.first().map(|(_, languages)| *languages);
            assert_eq!(upstream.last().header("accept-language"), said, "it is passed on");
        }
    });
}

#[test]
fn ignored_members_and_headers_are_not_in_the_key() {
    run(async {
        let upstream = counting().await;
        let config = format!(
            "ignore_headers = [\"X-Client-*\"]\n{}",
            ask_route("ignore = [\"/trace_id\", \"/parts/*/at\"]\nignore_headers = [\"x-shard\"]")
        );
        let sidecache = Setup::to(&upstream.url()).config(&config).start().await;
        let base = json!({"query": "q", "parts": [{"at": 1, "x": 1}, {"at": 2}], "trace_id": "a"});
        let same = json!({"query": "q", "parts": [{"at": 7, "x": 1}, {}]});
        let other = json!({"query": "q", "parts": [{"at": 7, "x": 2}, {}]});
        let received = asked(
            &sidecache.client(),
            &[
                (&[], base.clone()),
                (&[], same),
                (&[("x-client-version", "7"), ("X-Shard", "9")], base.clone()),
                (&[], other),
                (&[("x-clients", "7")], base),
            ],
        )
        .await;
        assert_eq!(received, ["MISS", "HIT", "HIT", "MISS", "MISS"]);
        assert_eq!(upstream.requests()[0].json()["trace_id"], "a", "the upstream gets it all the same");
    });
}

#[test]
fn a_questions_text_is_normalised_as_the_route_says() {
    run(async {
        let upstream = counting().await;
        let route = ask_route("normalize = [\"trim\", \"collapse\", \"casefold\", \"nfc\"]");
        let sidecache = Setup::to(&upstream.url()).config(&route).start().await;
        let ask = |text: &str| (&[] as &[(&str, &str)], json!({"query": text, "lang": "EN"}));
        let received = asked(
            &sidecache.client(),
            &[
                ask("Who keeps caf\u{e9}s?"),
                ask("  who\tKEEPS \n cafe\u{301}s? "),
                ask("Who keeps cafes?"),
                (&[], json!({"query": "Who keeps caf\u{e9}s?", "lang": "en"})),
            ],
        )
        .await;
        assert_eq!(received, ["MISS", "HIT", "MISS", "MISS"], "only the text is normalised");
        assert_eq!(upstream.requests()[0].json()["query"], "Who keeps caf\u{e9}s?");
    });
}

#[test]
fn a_scope_can_be_a_list_of_headers() {
    run(async {
        let upstream = counting().await;
        let route = ask_route("scope = [\"X-Tenant\", \"User-Agent\"]");
        let sidecache = Setup::to(&upstream.url()).config(&route).start().await;
        let received = asked(
            &sidecache.client(),
            &[
                (&[("x-tenant", "a"), ("user-agent", "x")], query()),
                (&[("x-tenant", "a"), ("user-agent", "x")], query()),
                (&[("x-tenant", "b"), ("user-agent", "x")], query()),
                (&[("x-tenant", "a"), ("user-agent", "y")], query()),
            ],
        )
        .await;
        assert_eq!(received, ["MISS", "HIT", "MISS", "MISS"]);
    });
}

/// An upstream that accepts the bearers `good` and `fine`.
async fn gatekeeper() -> Upstream {
    Upstream::start(|request| match request.header("authorization") {
        None | Some("Bearer good" | "Bearer fine") if !request.target.ends_with("forget") => {
            Script::json(&query_answer())
        }
        _ => Script::json_with(401, &[], &json!({"detail": "no"})),
    })
    .await
}

#[test]
fn a_shared_answer_goes_only_to_accepted_callers() {
    run(async {
        let upstream = gatekeeper().await;
        let sidecache = Setup::to(&upstream.url()).config(&ask_route("scope = \"shared\"")).start().await;
        let client = sidecache.client();
        let with = |bearer: &'static str| {
            let client = client.clone();
            async move {
                let answer = client.post_with("/ask", &[("authorization", bearer)], &query()).await;
                (answer.status, answer.cache().to_owned())
            }
        };
        assert_eq!(with("Bearer good").await, (200, "MISS".to_owned()));
        assert_eq!(with("Bearer good").await, (200, "HIT".to_owned()));
        // Not accepted yet: the upstream decides.
        assert_eq!(with("Bearer fine").await, (200, "MISS".to_owned()));
        assert_eq!(with("Bearer fine").await, (200, "HIT".to_owned()));
        assert_eq!(with("Bearer good").await, (200, "HIT".to_owned()));
        assert_eq!(with("Bearer bad").await, (401, "MISS".to_owned()));
        assert_eq!(with("Bearer bad").await, (401, "MISS".to_owned()));
        // A caller without credentials does not get an answer to a caller with credentials.
        assert_eq!(client.post("/ask", &query()).await.cache(), "MISS");
        assert_eq!(upstream.calls(), 5);
    });
}

#[test]
fn a_shared_answer_given_without_credentials_goes_to_everyone() {
    run(async {
        let upstream = gatekeeper().await;
        let sidecache = Setup::to(&upstream.url()).config(&ask_route("scope = \"shared\"")).start().await;
        let received = asked(
            &sidecache.client(),
            &[(&[], query()), (&[], query()), (&[("authorization", "Bearer unknown")], query())],
        )
        .await;
        assert_eq!(received, ["MISS", "HIT", "HIT"]);
    });
}

#[test]
fn a_401_makes_credentials_not_accepted_at_once() {
    run(async {
        let verdicts = [200, 200, 401];
        let scripts = verdicts.map(|status| Script::json_with(status, &[], &query_answer()));
        let upstream = Upstream::in_turn(scripts.to_vec()).await;
        let sidecache = Setup::to(&upstream.url()).config(&ask_route("scope = \"shared\"")).start().await;
        let client = sidecache.client();
        let ask = async |question: &Value, bearer: &str| {
            client.post_with("/ask", &[("authorization", bearer)], question).await
        };
        let other = json!({"query": "Another question?"});
        assert_eq!(ask(&query(), "Bearer one").await.cache(), "MISS");
        assert_eq!(ask(&query(), "Bearer two").await.cache(), "MISS");
        assert_eq!(ask(&query(), "Bearer one").await.cache(), "HIT");
        assert_eq!(ask(&other, "Bearer one").await.status, 401);
        let refused = ask(&query(), "Bearer one").await;
        assert_eq!((refused.status, refused.cache()), (401, "MISS"));
        // The other credentials are still accepted.
        assert_eq!(ask(&query(), "Bearer two").await.cache(), "HIT");
        assert_eq!(upstream.calls(), 4);
    });
}

#[test]
fn accepted_credentials_expire() {
    run(async {
        let upstream = gatekeeper().await;
        let config = format!("shared_auth_ttl = \"300ms\"\n{}", ask_route("scope = \"shared\""));
        let sidecache = Setup::to(&upstream.url()).config(&config).start().await;
        let client = sidecache.client();
        let ask = async || client.post_with("/ask", &[("authorization", "Bearer good")], &query()).await;
        assert_eq!(ask().await.cache(), "MISS");
        eventually("the upstream is asked again", async || (ask().await.cache() == "MISS").then_some(()))
            .await;
        assert!(upstream.calls() > 1);
    });
}

#[test]
fn the_scope_at_the_top_of_the_file_is_the_default_of_every_route() {
    run(async {
        let upstream = counting().await;
        let sidecache = Setup::to(&upstream.url()).config("scope = [\"x-tenant\"]").start().await;
        let client = sidecache.client();
        let ask = async |headers: &[(&str, &str)]| {
            client.post_with(QUERY, headers, &query()).await.cache().to_owned()
        };
        assert_eq!(ask(&[("x-tenant", "a"), ("cookie", "x")]).await, "MISS");
        assert_eq!(ask(&[("x-tenant", "b"), ("cookie", "x")]).await, "MISS");
    });
}

/// Services refuse with a 200 too, in many shapes. Such an answer neither makes its caller accepted nor
/// reaches others.
#[test]
fn a_refusal_in_a_200_does_not_make_credentials_accepted() {
    run(async {
        let error = json!({"error": {"message": "Invalid API Key"}});
        let json = [("content-type", "application/json")];
        let refusals = [
            Script::json(&json!({"code": 109, "message": "API key is invalid"})),
            Script::json(&json!({"success": false, "message": "no"})),
            Script::json(&json!({"detail": "Not authenticated"})),
            Script::json(&json!({"status": "failed", "answer": "no"})),
            Script::json(&error),
            Script::whole(200, &[("content-type", "text/plain")], "Invalid API key"),
            Script::whole(200, &json, "{\"answer\": \"A"),
            Script::events(&[&data(&error), DONE]),
            Script::events(&["event: error\ndata: no\n\n", DONE]),
            Script::events(&[&data(&json!({"answer": "half of it"}))]),
        ];
        for (number, refusal) in refusals.into_iter().enumerate() {
            let upstream = Upstream::start(move |request| match request.header("authorization") {
                Some("Bearer good") => Script::json(&query_answer()),
                _ => refusal.clone(),
            })
            .await;
            let sidecache = Setup::to(&upstream.url()).config("scope = \"shared\"").start().await;
            let client = sidecache.client();
            let ask = async |bearer: &str, question: &Value| {
                client.post_with(QUERY, &[("authorization", bearer)], question).await
            };
            let other = json!({"query": "Another question?"});
            assert_eq!(ask("Bearer good", &query()).await.cache(), "MISS");
            assert_eq!(ask("Bearer good", &query()).await.cache(), "HIT");
            for _ in 0..2 {
                assert_eq!(ask("Bearer made-up", &other).await.cache(), "MISS", "refusal {number}");
                let received = ask("Bearer made-up", &query()).await;
                assert_ne!(received.text(), query_answer().to_string(), "refusal {number}");
            }
            let own = ask("Bearer good", &other).await;
            assert_eq!(own.json(), query_answer(), "the refusal was for one: {number}");
        }
    });
}

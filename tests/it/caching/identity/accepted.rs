//! Without keys: a claim counts while the service accepts the token.

use serde_json::json;

use super::{
    Members, ROUTES, ask, bearer,
    login::{Login, claims, encoded},
    name, routes,
};
use crate::support::{Gate, RedisServer, Script, Setup, Upstream, eventually, run, samples::query_answer};

const SCOPE: &str = "[\"jwt:tenant_id\"]";

#[test]
fn a_new_token_costs_one_call_a_route_and_no_entry() {
    run(async {
        let redis = RedisServer::start();
        let url = redis.url();
        for arguments in [&[][..], &["--redis", &url]] {
            let (login, members) = (Login::new("a"), Members::default());
            let upstream = members.serve().await;
            let setup = Setup::to(&upstream.url()).arguments(arguments).config(&routes(SCOPE));
            let sidecache = setup.start().await;
            let client = sidecache.client();
            let mut calls = 0;
            for number in 0..5 {
                let token = bearer(&login.token("t", number));
                members.admit(&token, "t");
                for path in ROUTES {
                    for turn in 0..100 {
                        let answer = ask(&client, path, ["one", "two"][turn % 2], &token).await;
                        // The second question was answered to the first token.
                        let is_new = turn == 0 || (number == 0 && turn == 1);
                        let expected = if is_new { "MISS" } else { "HIT" };
                        assert_eq!(
                            (answer.cache(), &*name(&answer)),
                            (expected, "t"),
                            "{number} {path} {turn}"
                        );
                        calls += usize::from(is_new);
                    }
                }
            }
            // Two questions on each of two routes, then one call for each token and route.
            assert_eq!((calls, upstream.calls()), (2 * 2 + 4 * 2, calls));
        }
    });
}

#[test]
fn two_tenants_never_share() {
    run(async {
        let (login, members) = (Login::new("a"), Members::default());
        let upstream = members.serve().await;
        let sidecache = Setup::to(&upstream.url()).config(&routes(SCOPE)).start().await;
        let client = sidecache.client();
        for number in 0..20 {
            for tenant in ["a", "b", "c"] {
                let token = bearer(&login.token(tenant, number));
                members.admit(&token, tenant);
                for question in ["one", "two", "one"] {
                    let answer = ask(&client, ROUTES[0], question, &token).await;
                    assert_eq!(name(&answer), tenant);
                }
            }
        }
        assert_eq!(upstream.calls(), 3 * (2 + 19));
    });
}

#[test]
fn a_token_that_the_service_refuses_loses_all() {
    run(async {
        let (login, members) = (Login::new("a"), Members::default());
        let upstream = members.serve().await;
        let sidecache = Setup::to(&upstream.url()).config(&routes(SCOPE)).start().await;
        let client = sidecache.client();
        let tokens = [0, 1].map(|number| bearer(&login.token("t", number)));
        for token in &tokens {
            members.admit(token, "t");
            for path in ROUTES {
                for _ in 0..2 {
                    ask(&client, path, "one", token).await;
                }
                assert_eq!(ask(&client, path, "one", token).await.cache(), "HIT");
            }
        }
        members.revoke(&tokens[0]);
        // Something that is not stored: the service hears of the token.
        assert_eq!(ask(&client, ROUTES[0], "two", &tokens[0]).await.status, 401);
        for path in ROUTES {
            for _ in 0..20 {
                assert_eq!(ask(&client, path, "one", &tokens[0]).await.status, 401, "{path}");
            }
            assert_eq!(
                ask(&client, path, "one", &tokens[1]).await.cache(),
                "HIT",
                "the other one still counts"
            );
        }
    });
}

#[test]
fn a_token_that_is_not_accepted_joins_no_answer() {
    run(async {
        let login = Login::new("a");
        let gate = Gate::new();
        let held = gate.clone();
        let upstream = Upstream::start(move |request| match request.json()["query"].as_str() {
            Some("held") => Script::raw().wait(&held).then(Script::json(&query_answer())),
            _ => Script::json(&query_answer()),
        })
        .await;
        let sidecache = Setup::to(&upstream.url()).config(&routes(SCOPE)).start().await;
        let client = sidecache.client();
        let [known, new] = [0, 1].map(|number| bearer(&login.token("t", number)));
        ask(&client, ROUTES[0], "open", &known).await;
        let asked = |token: &str| {
            let (client, token) = (client.clone(), token.to_owned());
            tokio::spawn(async move { ask(&client, ROUTES[0], "held", &token).await.cache().to_owned() })
        };
        let leader = asked(&known);
        eventually("the call", async || (upstream.calls() == 2).then_some(())).await;
        let alone = asked(&new);
        eventually("a call of its own", async || (upstream.calls() == 3).then_some(())).await;
        let follower = asked(&known);
        gate.open();
        let received = [leader.await, alone.await, follower.await].map(|cache| cache.expect("an answer"));
        assert_eq!(received[..2], ["MISS", "MISS"]);
        assert!(["COALESCED", "HIT"].contains(&&*received[2]), "{received:?}");
        assert_eq!(upstream.calls(), 3);
    });
}

#[test]
fn what_has_no_claims_counts_whole() {
    run(async {
        let (login, members) = (Login::new("a"), Members::default());
        let upstream = members.serve().await;
        let sidecache = Setup::to(&upstream.url()).config(&routes(SCOPE)).start().await;
        let client = sidecache.client();
        let none = json!({"alg": "none"});
        let unsigned = encoded(&none, &claims("t", 0).to_string(), |_| b"none".to_vec());
        let listed = json!({"tenant_id": ["t"], "jti": 1});
        for (at, credentials) in [
            "Bearer sk-one".to_owned(),
            "Bearer sk-two".to_owned(),
            "Basic b25lOm9uZQ==".to_owned(),
            "Basic dHdvOnR3bw==".to_owned(),
            bearer(&login.sign(&listed)),
            bearer(&login.sign(&json!({"tenant_id": ["t"], "jti": 2}))),
            bearer(&login.sign(&json!({"sub": "t", "jti": 3}))),
            bearer(&unsigned),
            format!("Bearer  {}", login.token("t", 4)),
        ]
        .iter()
        .enumerate()
        {
            let own = format!("caller-{at}");
            members.admit(credentials, &own);
            for turn in ["MISS", "HIT", "HIT"] {
                let answer = ask(&client, ROUTES[0], "one", credentials).await;
                assert_eq!((answer.cache(), name(&answer)), (turn, own.clone()), "{credentials}");
            }
        }
    });
}

/// A service that looks at the key, whatever the token says.
#[test]
fn other_credentials_beside_the_token_are_not_shared() {
    run(async {
        let (login, members) = (Login::new("a"), Members::default());
        let upstream = members.serve().await;
        let sidecache = Setup::to(&upstream.url()).config(&routes(SCOPE)).start().await;
        let client = sidecache.client();
        let token = bearer(&login.token("t", 0));
        let body = json!({"query": "one"});
        for key in ["one", "two"] {
            members.admit(key, key);
            for turn in ["MISS", "HIT"] {
                let headers = [("authorization", &*token), ("x-api-key", key)];
                let answer = client.post_with(ROUTES[0], &headers, &body).await;
                assert_eq!((answer.cache(), name(&answer)), (turn, key.to_owned()));
            }
        }
        let guessed = [("authorization", &*token), ("x-api-key", "three")];
        assert_eq!(client.post_with(ROUTES[0], &guessed, &body).await.status, 401);
    });
}

#[test]
fn a_header_of_the_list_counts_beside_the_claim() {
    run(async {
        let (login, members) = (Login::new("a"), Members::default());
        let upstream = members.serve().await;
        let scope = "[\"jwt:tenant_id\", \"header:x-project\", \"user-agent\"]";
        let sidecache = Setup::to(&upstream.url()).config(&routes(scope)).start().await;
        let client = sidecache.client();
        let token = bearer(&login.token("t", 0));
        members.admit(&token, "t");
        let mut received = Vec::new();
        for (project, agent) in [("p", "1"), ("p", "1"), ("q", "1"), ("p", "2"), ("q", "1")] {
            let headers = [("authorization", &*token), ("x-project", project), ("user-agent", agent)];
            received
                .push(client.post_with(ROUTES[0], &headers, &json!({"query": "q"})).await.cache().to_owned());
        }
        assert_eq!(received, ["MISS", "HIT", "MISS", "MISS", "HIT"]);
    });
}

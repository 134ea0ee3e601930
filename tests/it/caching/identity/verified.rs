//! With keys: a claim counts while the token holds by them.

use std::{
    fs,
    sync::{Arc, Mutex},
    time::Instant,
};

use serde_json::{Value, json};

use super::{
    Members, ROUTES, ask, bearer,
    login::{Login, claims, jwks, now},
    name, routes,
};
use crate::support::{Script, Setup, Sidecache, Upstream, eventually, run};

const SCOPE: &str = "[\"jwt:tenant_id\"]";

/// A server of keys, which may change, or be gone.
#[derive(Clone)]
struct Keys(Arc<Mutex<Option<Value>>>);

impl Keys {
    fn new(set: Value) -> Self {
        Self(Arc::new(Mutex::new(Some(set))))
    }

    fn replace(&self, set: Option<Value>) {
        *self.0.lock().unwrap() = set;
    }

    async fn serve(&self) -> Upstream {
        let keys = self.clone();
        Upstream::start(move |_| match &*keys.0.lock().unwrap() {
            Some(set) => Script::json(set),
            None => Script::json_with(503, &[], &json!({})),
        })
        .await
    }
}

/// The settings of both routes and of keys at `url`.
fn settings(url: &str, more: &str) -> String {
    routes(SCOPE) + &jwks(&format!("url = \"{url}/keys?v=1\"\n{more}"))
}

/// Waits until so many keys are known.
async fn knows(sidecache: &Sidecache, keys: u64) {
    eventually("the keys", async || (sidecache.health().await["jwks"]["keys"] == keys).then_some(())).await;
}

/// The server of the login's keys, the service of these members, and sidecache, which knows the keys.
async fn started(login: &Login, members: &Members) -> (Upstream, Upstream, Sidecache) {
    let keys = Keys::new(login.set()).serve().await;
    let upstream = members.serve().await;
    let sidecache = Setup::to(&upstream.url()).config(&settings(&keys.url(), "")).start().await;
    knows(&sidecache, 1).await;
    (keys, upstream, sidecache)
}

#[test]
fn a_new_token_costs_nothing() {
    run(async {
        let (login, members) = (Login::new("a"), Members::default());
        let (keys, upstream, sidecache) = started(&login, &members).await;
        assert_eq!(keys.last().target, "/keys?v=1");
        let client = sidecache.client();
        for number in 0..10 {
            for tenant in ["a", "b"] {
                let token = bearer(&login.token(tenant, number));
                members.admit(&token, tenant);
                for path in ROUTES {
                    for turn in 0..20 {
                        let answer = ask(&client, path, "one", &token).await;
                        let expected = if (number, turn) == (0, 0) { "MISS" } else { "HIT" };
                        assert_eq!(
                            (answer.cache(), &*name(&answer)),
                            (expected, tenant),
                            "{number} {path} {turn}"
                        );
                    }
                }
            }
        }
        assert_eq!(
            (upstream.calls(), keys.calls()),
            (4, 1),
            "a call for each tenant and route, and one for the keys"
        );
    });
}

#[test]
fn a_token_that_the_service_refuses_loses_all_although_it_holds() {
    run(async {
        let (login, members) = (Login::new("a"), Members::default());
        let (_keys, _upstream, sidecache) = started(&login, &members).await;
        let client = sidecache.client();
        let [revoked, other] = [0, 1].map(|number| bearer(&login.token("t", number)));
        members.admit(&other, "t");
        for path in ROUTES {
            assert_eq!(ask(&client, path, "one", &other).await.cache(), "MISS");
            assert_eq!(
                ask(&client, path, "one", &revoked).await.cache(),
                "HIT",
                "the service has not refused it yet"
            );
        }
        assert_eq!(ask(&client, ROUTES[0], "two", &revoked).await.status, 401);
        for path in ROUTES {
            for _ in 0..20 {
                assert_eq!(ask(&client, path, "one", &revoked).await.status, 401, "{path}");
            }
            assert_eq!(ask(&client, path, "one", &other).await.cache(), "HIT");
        }
        // If the service changes its mind, it is asked once for each route.
        members.admit(&revoked, "t");
        for path in ROUTES {
            let received =
                [ask(&client, path, "one", &revoked).await, ask(&client, path, "one", &revoked).await];
            assert_eq!(received.map(|answer| answer.cache().to_owned()), ["MISS", "HIT"], "{path}");
        }
    });
}

#[test]
fn a_token_ends_on_time() {
    run(async {
        let (login, members) = (Login::new("a"), Members::default());
        let keys = Keys::new(login.set()).serve().await;
        for settings in [settings(&keys.url(), ""), routes(SCOPE)] {
            let upstream = members.serve().await;
            let sidecache = Setup::to(&upstream.url()).config(&settings).start().await;
            if settings.contains("[jwks]") {
                knows(&sidecache, 1).await;
            }
            let client = sidecache.client();
            let end = now() + 8;
            let mut payload = claims("t", 0);
            payload["exp"] = end.into();
            let token = bearer(&login.sign(&payload));
            members.admit(&token, "t");
            assert_eq!(ask(&client, ROUTES[0], "one", &token).await.cache(), "MISS");
            let mut hits = 0;
            // The service goes on to accept it.
            eventually("its end", async || {
                let began = now();
                let is_hit = ask(&client, ROUTES[0], "one", &token).await.cache() == "HIT";
                assert!(!is_hit || began < end + 1, "a hit after its end");
                hits += usize::from(is_hit);
                (!is_hit).then_some(())
            })
            .await;
            assert!(hits > 0 && now() >= end, "{hits}");
            for _ in 0..20 {
                assert_eq!(ask(&client, ROUTES[0], "one", &token).await.cache(), "MISS");
            }
        }
    });
}

#[test]
fn keys_that_change_are_found_by_a_token_that_names_one() {
    run(async {
        let (old, new, members) = (Login::new("old"), Login::new("new"), Members::default());
        let set = Keys::new(old.set());
        let keys = set.serve().await;
        let upstream = members.serve().await;
        let sidecache = Setup::to(&upstream.url()).config(&settings(&keys.url(), "")).start().await;
        knows(&sidecache, 1).await;
        let client = sidecache.client();
        let tokens = [&old, &new].map(|login| bearer(&login.token("t", 0)));
        for token in &tokens {
            members.admit(token, "t");
        }
        assert_eq!(ask(&client, ROUTES[0], "one", &tokens[0]).await.cache(), "MISS");
        set.replace(Some(json!({"keys": [old.jwk(), new.jwk()]})));
        // Nobody waits for keys: until they are there, the token counts whole.
        let first = ask(&client, ROUTES[0], "one", &tokens[1]).await;
        assert!(["MISS", "HIT"].contains(&first.cache()));
        knows(&sidecache, 2).await;
        assert_eq!(ask(&client, ROUTES[0], "one", &tokens[1]).await.cache(), "HIT");
        assert_eq!(keys.calls(), 2);
        // Anybody can name keys: the server is not asked for each.
        let (mut payload, began) = (claims("t", 0), Instant::now());
        for number in 0..200 {
            payload["jti"] = number.into();
            let head = json!({"alg": "RS256", "kid": format!("made-up-{number}")});
            let forged = bearer(&old.sign_parts(&head, &payload.to_string()));
            assert_eq!(ask(&client, ROUTES[0], "one", &forged).await.status, 401);
        }
        let most = 3 + began.elapsed().as_secs() as usize / 10;
        assert!(keys.calls() <= most, "{} of {most}", keys.calls());
    });
}

#[test]
fn known_keys_outlast_their_server() {
    run(async {
        let (login, members) = (Login::new("a"), Members::default());
        let set = Keys::new(login.set());
        let keys = set.serve().await;
        let upstream = members.serve().await;
        let config = settings(&keys.url(), "refresh = \"200ms\"");
        let sidecache = Setup::to(&upstream.url()).config(&config).start().await;
        knows(&sidecache, 1).await;
        set.replace(None);
        let failing = async || {
            let health = sidecache.health().await;
            health["jwks"]["last_error"].as_str().map(str::to_owned)
        };
        let error = eventually("a failure", failing).await;
        assert!(
            error.starts_with("jwks.url: http://127.0.0.1:")
                && error.ends_with("/keys: the server answered 503"),
            "{error}"
        );
        let calls = keys.calls();
        eventually("more of them", async || (keys.calls() > calls + 3).then_some(())).await;
        let client = sidecache.client();
        for number in 0..3 {
            let token = bearer(&login.token("t", number));
            members.admit(&token, "t");
            let expected = if number == 0 { "MISS" } else { "HIT" };
            assert_eq!(ask(&client, ROUTES[0], "one", &token).await.cache(), expected);
        }
        set.replace(Some(login.set()));
        eventually("they are there again", async || failing().await.is_none().then_some(())).await;
        let told = |text: &str| {
            sidecache
                .log
                .all()
                .iter()
                .filter(|line| line["message"].as_str().is_some_and(|message| message.starts_with(text)))
                .count()
        };
        eventually("the lines", async || (told("the keys of tokens are there again") == 1).then_some(()))
            .await;
        assert_eq!(told("the keys of tokens cannot be got again"), 1, "one line for many failures");
    });
}

#[test]
fn without_keys_claims_do_not_count_and_requests_go_on() {
    run(async {
        let (login, members) = (Login::new("a"), Members::default());
        let set = Keys::new(json!({"keys": []}));
        let keys = set.serve().await;
        let upstream = members.serve().await;
        let config = settings(&keys.url(), "refresh = \"200ms\"");
        let sidecache = Setup::to(&upstream.url()).config(&config).start().await;
        let client = sidecache.client();
        let tokens = [0, 1].map(|number| bearer(&login.token("t", number)));
        for token in &tokens {
            members.admit(token, "t");
            let received =
                [ask(&client, ROUTES[0], "one", token).await, ask(&client, ROUTES[0], "one", token).await];
            assert_eq!(received.map(|answer| answer.cache().to_owned()), ["MISS", "HIT"], "each by itself");
        }
        set.replace(Some(login.set()));
        knows(&sidecache, 1).await;
        let received = [
            ask(&client, ROUTES[0], "one", &tokens[0]).await,
            ask(&client, ROUTES[0], "one", &tokens[1]).await,
        ];
        assert_eq!(received.map(|answer| answer.cache().to_owned()), ["MISS", "HIT"], "one for both");
    });
}

#[test]
fn a_file_of_keys_is_read_again_when_it_changes() {
    run(async {
        let (old, new, members) = (Login::new("old"), Login::new("new"), Members::default());
        let upstream = members.serve().await;
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("jwks.json");
        fs::write(&path, old.set().to_string()).expect("a file");
        let config = routes(SCOPE) + &jwks(&format!("file = \"{}\"", path.display()));
        let sidecache = Setup::to(&upstream.url()).config(&config).start().await;
        let client = sidecache.client();
        let tokens = [&old, &new].map(|login| [0, 1].map(|number| bearer(&login.token("t", number))));
        for token in tokens.iter().flatten() {
            members.admit(token, "t");
        }
        let is_shared = async |tokens: &[String; 2], question: &str| {
            ask(&client, ROUTES[0], question, &tokens[0]).await;
            ask(&client, ROUTES[0], question, &tokens[1]).await.cache() == "HIT"
        };
        assert!(is_shared(&tokens[0], "one").await);
        let replace = |text: &str| {
            fs::write(dir.path().join("new"), text).expect("a file");
            fs::rename(dir.path().join("new"), &path).expect("a file");
        };
        replace(&new.set().to_string());
        let mut number = 0;
        eventually("the new keys", async || {
            number += 1;
            is_shared(&tokens[1], &format!("question {number}")).await.then_some(())
        })
        .await;
        assert!(!is_shared(&tokens[0], "another").await, "the old key is gone");
        replace("no keys");
        eventually("the fault", async || sidecache.health().await["jwks"]["last_error"].as_str().map(drop))
            .await;
        assert!(is_shared(&tokens[1], "at last").await, "a file of no use changes nothing");
    });
}

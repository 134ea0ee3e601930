//! Forged tokens over real connections: none gets an answer that was not its own. `cache::identity::tests` tries a million.

use ring::hmac;
use serde_json::{Value, json};

use super::{
    Members, ROUTES, ask, bearer,
    login::{Login, claims, encoded, jwks, now},
    name, routes,
};
use crate::support::{Client, Setup, Sidecache, eventually, run};

/// Tokens of whoever has a login and a token of their own, and the keys of the victim's login.
fn forged(login: &Login, own: &Login, victims: &str, number: usize) -> Vec<String> {
    let payload = |name: &str, value: Value| {
        let mut payload = claims("victim", number);
        payload[name] = value;
        payload
    };
    let plain = claims("victim", number).to_string();
    let hs256 = |secret: &[u8]| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let head = json!({"alg": "HS256", "kid": login.id});
        encoded(&head, &plain, |text| hmac::sign(&key, text).as_ref().to_vec())
    };
    let pem = pem(login.public());
    let parts: Vec<_> = victims.split('.').collect();
    let mut cut = victims.to_owned();
    cut.truncate(cut.len() - 1 - number % 40);
    let twice = format!(
        "{{\"tenant_id\":\"own\",{},\"tenant_id\":\"victim\"}}",
        &plain[1..plain.len() - 1].replace("\"tenant_id\":\"victim\",", "")
    );
    let head = |more: Value| {
        let mut head = json!({"alg": "RS256", "kid": login.id});
        head.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        head
    };
    vec![
        own.token("victim", number),
        encoded(&json!({"alg": "none"}), &plain, |_| vec![number as u8]),
        format!("{}.", encoded(&json!({"alg": "none"}), &plain, |_| Vec::new()).trim_end_matches('.')),
        hs256(login.public()),
        hs256(pem.as_bytes()),
        hs256(login.jwk()["n"].as_str().expect("a number").as_bytes()),
        own.sign_parts(&head(json!({"jwk": own.jwk()})), &plain),
        own.sign_parts(&head(json!({"jku": "http://127.0.0.1:1/", "x5u": "http://127.0.0.1:1/"})), &plain),
        own.sign_parts(&json!({"alg": "RS256"}), &plain),
        own.sign_parts(&json!({"alg": "RS256", "kid": "../../etc/passwd"}), &plain),
        login.sign(&payload("exp", (now() - 1 - number as u64).into())),
        login.sign(&payload("exp", (now() + 1000).to_string().into())),
        login.sign(&payload("nbf", (now() + 600 + number as u64).into())),
        login.sign(&payload("aud", format!("https://other-{number}.example.com").into())),
        login.sign(&payload("iss", format!("https://other-{number}.example.com").into())),
        login.sign_parts(&json!({"alg": "RS256", "kid": login.id}), &twice),
        cut,
        format!(
            "{}.{}.{}",
            parts[0],
            own.token("victim", number).split('.').nth(1).expect("a part"),
            parts[2]
        ),
        format!("{victims}="),
        format!("{victims}.{number}"),
    ]
}

fn pem(der: &[u8]) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    format!("-----BEGIN RSA PUBLIC KEY-----\n{}\n-----END RSA PUBLIC KEY-----\n", STANDARD.encode(der))
}

/// Sends them all; returns how many.
async fn attack(client: &Client, login: &Login, own: &Login, victims: &str) -> usize {
    let mut sent = 0;
    for number in 0..100 {
        for token in forged(login, own, victims, number) {
            let answer = ask(client, ROUTES[number % 2], "secret", &bearer(&token)).await;
            assert_eq!(answer.status, 401, "{}: {token}", answer.cache());
            sent += 1;
        }
    }
    sent
}

/// The victim's answers are stored on both routes, and hit.
async fn fill(sidecache: &Sidecache, victims: &str) {
    for path in ROUTES {
        for turn in ["MISS", "HIT"] {
            let answer = ask(&sidecache.client(), path, "secret", victims).await;
            assert_eq!((answer.cache(), &*name(&answer)), (turn, "victim"));
        }
    }
}

#[test]
fn no_forged_token_gets_an_answer() {
    run(async {
        let (login, own) = (Login::new("a"), Login::new("a"));
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("jwks.json");
        std::fs::write(&path, login.set().to_string()).expect("a file");
        let keys = jwks(&format!("file = \"{}\"", path.display()));
        for keys in ["", &keys] {
            let members = Members::default();
            let upstream = members.serve().await;
            let config = routes("[\"jwt:tenant_id\"]") + keys;
            let sidecache = Setup::to(&upstream.url()).config(&config).start().await;
            let (client, token) = (sidecache.client(), login.token("victim", 1_000_000));
            members.admit(&bearer(&token), "victim");
            let attackers = bearer(&login.token("attacker", 0));
            members.admit(&attackers, "attacker");
            fill(&sidecache, &bearer(&token)).await;
            let sent = attack(&client, &login, &own, &token).await;
            assert_eq!((sent, upstream.calls()), (2000, 2002), "each forged one was the service's to refuse");
            let answer = ask(&client, ROUTES[0], "secret", &attackers).await;
            assert_eq!(name(&answer), "attacker");
            assert_eq!(ask(&client, ROUTES[0], "secret", &bearer(&token)).await.cache(), "HIT");
        }
    });
}

/// A service that answers whoever asks has no login: what forged claims get from it is theirs alone where there are keys.
#[test]
fn a_forged_token_fills_nothing_of_others_where_there_are_keys() {
    run(async {
        let (login, own) = (Login::new("a"), Login::new("a"));
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("jwks.json");
        std::fs::write(&path, login.set().to_string()).expect("a file");
        let members = Members::default();
        let upstream = members.serve().await;
        let config = routes("[\"jwt:tenant_id\"]") + &jwks(&format!("file = \"{}\"", path.display()));
        let sidecache = Setup::to(&upstream.url()).config(&config).start().await;
        let client = sidecache.client();
        let (victims, forged) = (bearer(&login.token("t", 0)), bearer(&own.token("t", 0)));
        members.admit(&victims, "victim");
        members.admit(&forged, "forged");
        for _ in 0..2 {
            assert_eq!(name(&ask(&client, ROUTES[0], "one", &forged).await), "forged");
        }
        for _ in 0..2 {
            assert_eq!(name(&ask(&client, ROUTES[0], "one", &victims).await), "victim");
        }
        assert_eq!(name(&ask(&client, ROUTES[0], "one", &forged).await), "forged");
        eventually("no further call", async || (upstream.calls() == 2).then_some(())).await;
    });
}

//! Who counts as whom: tables, and many forged tokens.

use std::sync::atomic::{AtomicU64, Ordering};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use ring::{
    hmac,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair},
};
use serde_json::{Value, json};

use super::*;

const NOW: u64 = 1_800_000_000;
const ISSUER: &str = "https://login.example.com/";
const AUDIENCE: &str = "https://api.example.com";

/// Signs tokens with an Ed25519 key.
struct Signer {
    key: Ed25519KeyPair,
    id: &'static str,
}

impl Signer {
    fn new(id: &'static str) -> Self {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a key");
        Self { key: Ed25519KeyPair::from_pkcs8(document.as_ref()).expect("a key"), id }
    }

    fn public(&self) -> &[u8] {
        self.key.public_key().as_ref()
    }

    fn jwk(&self) -> Value {
        let x = URL_SAFE_NO_PAD.encode(self.public());
        json!({"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": self.id, "x": x})
    }

    fn sign_with(&self, head: &str, payload: &str) -> String {
        signed(head, payload, |text| self.key.sign(text).as_ref().to_vec())
    }

    fn sign(&self, payload: &Value) -> String {
        let head = json!({"alg": "EdDSA", "typ": "JWT", "kid": self.id});
        self.sign_with(&head.to_string(), &payload.to_string())
    }
}

fn signed(head: &str, payload: &str, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(head), URL_SAFE_NO_PAD.encode(payload));
    let signature = URL_SAFE_NO_PAD.encode(sign(text.as_bytes()));
    format!("{text}.{signature}")
}

fn payload(subject: &str) -> Value {
    json!({"iss": ISSUER, "aud": AUDIENCE, "sub": subject, "exp": NOW + 600, "nbf": NOW - 600})
}

fn with(subject: &str, name: &str, value: Value) -> Value {
    let mut payload = payload(subject);
    payload[name] = value;
    payload
}

fn without(subject: &str, name: &str) -> Value {
    let mut payload = payload(subject);
    payload.as_object_mut().expect("an object").remove(name);
    payload
}

fn rules() -> Rules {
    Rules { issuers: vec![ISSUER.to_owned()], audiences: vec![AUDIENCE.to_owned()], leeway: 0 }
}

fn keys(number: u64, all: &[Value]) -> KeySet {
    KeySet::parse(json!({"keys": all}).to_string().as_bytes(), number, u64::MAX).expect("keys")
}

fn verified(all: &[Value]) -> Identities {
    let identities = Identities::verified(|| NOW, rules(), || {});
    identities.set_keys(Some(keys(1, all)));
    identities
}

fn scope(parts: &[&str]) -> IdentityScope {
    let parts = parts.iter().map(|part| part.parse().expect("a part")).collect();
    IdentityScope::new(parts).expect("claims")
}

fn headers(lines: &[(&str, &str)]) -> HeaderMap {
    let line = |(name, value): &(&str, &str)| {
        (name.parse::<HeaderName>().expect("a name"), HeaderValue::from_str(value).expect("a value"))
    };
    let mut headers = HeaderMap::new();
    for (name, value) in lines.iter().map(line) {
        headers.append(name, value);
    }
    headers
}

fn bearing(token: &str) -> HeaderMap {
    headers(&[("authorization", &format!("Bearer {token}"))])
}

/// Who counts: the hash, and when they may read; or why nobody does.
fn caller(identities: &Identities, token: &str) -> Result<(blake3::Hash, Trust), Fallback> {
    let caller = identities.caller(&scope(&["jwt:sub"]), &bearing(token));
    caller.identity.map(|identity| (*identity.hash(), caller.trust))
}

#[test]
fn claims_say_who_a_caller_is() {
    let signer = Signer::new("a");
    let identities = Identities::unverified(|| NOW);
    let of = |parts: &[&str], payload: &Value| {
        let caller = identities.caller(&scope(parts), &bearing(&signer.sign(payload)));
        caller.identity.map(|identity| *identity.hash())
    };
    let mut seen: Vec<blake3::Hash> = Vec::new();
    let nested =
        json!({"iss": ISSUER, "realm_access": {"tenant": "t"}, "https://example.com/tenant": "t", "n": 1});
    for (parts, payload) in [
        (&["jwt:sub"][..], payload("a")),
        (&["jwt:sub"], payload("b")),
        (&["jwt:sub"], with("a", "iss", json!("https://other.example.com/"))),
        (&["jwt:sub"], without("a", "iss")),
        (&["jwt:sub"], with("", "sub", json!(7))),
        (&["jwt:sub"], with("", "sub", json!("7"))),
        (&["jwt:sub"], with("", "sub", json!(true))),
        (&["jwt:sub"], with("", "sub", json!("true"))),
        (&["jwt:sub", "jwt:aud"], payload("a")),
        (&["jwt:aud", "jwt:sub"], payload("a")),
        (&["jwt:/realm_access/tenant"], nested.clone()),
        (&["jwt:https://example.com/tenant"], nested.clone()),
        (&["jwt:n"], nested.clone()),
    ] {
        let hash = of(parts, &payload).unwrap_or_else(|fallback| panic!("{parts:?} {payload}: {fallback}"));
        assert!(!seen.contains(&hash), "{parts:?} {payload}");
        seen.push(hash);
    }
    // Another token of the same caller.
    assert_eq!(of(&["jwt:sub"], &with("a", "jti", json!("other"))), Ok(seen[0]));
    for (parts, payload, why) in [
        (&["jwt:tenant"][..], payload("a"), Fallback::NoClaim),
        (&["jwt:sub", "jwt:tenant"], payload("a"), Fallback::NoClaim),
        (&["jwt:realm_access.tenant"], nested.clone(), Fallback::NoClaim),
        (&["jwt:/realm_access/tenant/0"], nested.clone(), Fallback::NoClaim),
        (&["jwt:realm_access"], nested, Fallback::NoScalar),
        (&["jwt:groups"], with("a", "groups", json!(["x"])), Fallback::NoScalar),
        (&["jwt:sub"], with("a", "sub", Value::Null), Fallback::NoScalar),
        (&["jwt:sub"], payload(""), Fallback::NoScalar),
        (&["jwt:sub"], with("a", "iss", json!(1)), Fallback::NoJwt),
        (&["jwt:sub"], with("a", "exp", json!("9999999999")), Fallback::NoJwt),
        (&["jwt:sub"], with("a", "nbf", json!(-1)), Fallback::NoJwt),
        (&["jwt:sub"], with("a", "exp", json!(NOW)), Fallback::Outdated),
        (&["jwt:sub"], with("a", "exp", json!(NOW as f64 + 0.5)), Fallback::Outdated),
        (&["jwt:sub"], with("a", "nbf", json!(NOW as f64 + 0.5)), Fallback::Outdated),
    ] {
        assert_eq!(of(parts, &payload), Err(why), "{parts:?} {payload}");
    }
}

#[test]
fn what_can_be_read_in_two_ways_has_no_claims() {
    let signer = Signer::new("a");
    let head = r#"{"alg":"EdDSA"}"#;
    let token = signer.sign(&payload("a"));
    let identities = Identities::unverified(|| NOW);
    let scope = scope(&["jwt:sub"]);
    let line = |line: &str| headers(&[("authorization", line)]);
    for (what, headers, why) in [
        ("nothing", headers(&[]), Fallback::NoToken),
        (
            "two",
            headers(&[("authorization", "Bearer a.b.c"), ("authorization", "Bearer a.b.c")]),
            Fallback::Several,
        ),
        ("another scheme", line("Basic YTpi"), Fallback::NotBearer),
        ("no scheme", line(&token), Fallback::NotBearer),
        ("two spaces", line(&format!("Bearer  {token}")), Fallback::NoJwt),
        ("a tab", line(&format!("Bearer\t{token}")), Fallback::NotBearer),
        ("something behind it", line(&format!("Bearer {token} x")), Fallback::NoJwt),
        ("a second one", line(&format!("Bearer {token}, Bearer {token}")), Fallback::NoJwt),
        ("padding", line(&format!("Bearer {token}=")), Fallback::NoJwt),
        ("a further part", line(&format!("Bearer {token}.x")), Fallback::NoJwt),
        (
            "no signature",
            line(&format!("Bearer {}.", token.rsplit_once('.').expect("parts").0)),
            Fallback::NoJwt,
        ),
        ("an opaque token", line("Bearer sk-1234"), Fallback::NoJwt),
        ("a JWE", line("Bearer a.b.c.d.e"), Fallback::NoJwt),
        ("too long", line(&format!("Bearer a.{}.c", "b".repeat(20_000))), Fallback::NoJwt),
        ("a claim twice", bearing(&signer.sign_with(head, r#"{"sub":"a","sub":"b"}"#)), Fallback::NoJwt),
        (
            "a claim twice, escaped",
            bearing(&signer.sign_with(head, r#"{"sub":"a","s\u0075b":"b"}"#)),
            Fallback::NoJwt,
        ),
        ("deep twice", bearing(&signer.sign_with(head, r#"{"sub":"a","x":{"y":1,"y":2}}"#)), Fallback::NoJwt),
        ("a list", bearing(&signer.sign_with(head, "[]")), Fallback::NoJwt),
        (
            "no UTF-8",
            bearing(&signed(head, "{\"sub\":\"a\"}", |_| vec![255]).replace("eyJzdWIi", "_yJzdWIi")),
            Fallback::NoJwt,
        ),
        ("alg twice", bearing(&signer.sign_with(r#"{"alg":"none","alg":"EdDSA"}"#, "{}")), Fallback::NoJwt),
        ("no alg", bearing(&signer.sign_with("{}", r#"{"sub":"a"}"#)), Fallback::NoJwt),
        (
            "crit",
            bearing(&signer.sign_with(r#"{"alg":"EdDSA","crit":["b64"],"b64":false}"#, r#"{"sub":"a"}"#)),
            Fallback::NoJwt,
        ),
        ("none", bearing(&signer.sign_with(r#"{"alg":"none"}"#, r#"{"sub":"a"}"#)), Fallback::Unsigned),
        ("None", bearing(&signer.sign_with(r#"{"alg":"nOnE"}"#, r#"{"sub":"a"}"#)), Fallback::Unsigned),
    ] {
        assert_eq!(identities.caller(&scope, &headers).identity.err(), Some(why), "{what}");
    }
    assert!(
        identities.caller(&scope, &line(&format!("bearer {token}"))).identity.is_ok(),
        "a scheme has no case"
    );
}

#[test]
fn other_credentials_count_whole_beside_a_claim() {
    let signer = Signer::new("a");
    let identities = Identities::unverified(|| NOW);
    let scope = scope(&["jwt:sub", "header:x-project"]);
    let token = format!("Bearer {}", signer.sign(&payload("a")));
    let base = [("authorization", &*token), ("x-project", "p"), ("accept", "*/*")];
    let first = identities.caller(&scope, &headers(&base));
    for name in ["cookie", "x-api-key", "api-key", "x-goog-api-key", "x-auth-token", "proxy-authorization"] {
        let all = headers(&[&base[..], &[(name, "k")]].concat());
        let caller = identities.caller(&scope, &all);
        assert_eq!(caller.identity, first.identity);
        assert_ne!(caller.credentials, first.credentials, "{name}: each is accepted by itself");
        let others = caller.identity.expect("claims").others(&scope, &all);
        assert!(others.contains_key(name) && !others.contains_key(header::AUTHORIZATION));
    }
    let another = format!("Bearer {}", signer.sign(&with("a", "jti", json!(1))));
    let rotated = identities.caller(&scope, &headers(&[("authorization", &another)]));
    assert_eq!(rotated.identity, first.identity);
    assert_ne!(rotated.credentials, first.credentials, "a new token is accepted by itself");
}

#[test]
fn a_token_counts_if_it_holds_by_the_keys() {
    let (signer, other, unknown) = (Signer::new("a"), Signer::new("a"), Signer::new("b"));
    let identities = verified(&[signer.jwk()]);
    let is_verified = |token: &str| matches!(caller(&identities, token), Ok((_, Trust::Verified)));
    assert!(is_verified(&signer.sign(&payload("a"))));
    assert!(is_verified(&signer.sign(&with("a", "aud", json!(["x", AUDIENCE])))));
    assert!(is_verified(&signer.sign_with(r#"{"alg":"EdDSA"}"#, &payload("a").to_string())), "the only key");
    for (token, why) in [
        (other.sign(&payload("a")), Fallback::Unverified),
        (unknown.sign(&payload("a")), Fallback::Unverified),
        (signer.sign(&with("a", "aud", json!("x"))), Fallback::Unverified),
        (signer.sign(&with("a", "aud", json!([]))), Fallback::Unverified),
        (signer.sign(&with("a", "aud", json!({}))), Fallback::Unverified),
        (signer.sign(&without("a", "aud")), Fallback::Unverified),
        (signer.sign(&with("a", "iss", json!("x"))), Fallback::Unverified),
        (signer.sign(&without("a", "iss")), Fallback::Unverified),
        (signer.sign(&without("a", "exp")), Fallback::Unverified),
        (signer.sign(&with("a", "exp", json!(NOW))), Fallback::Outdated),
        (signer.sign(&with("a", "nbf", json!(NOW + 1))), Fallback::Outdated),
    ] {
        assert_eq!(caller(&identities, &token), Err(why), "{token}");
    }
}

#[test]
fn without_an_audience_a_token_must_name_none() {
    let signer = Signer::new("a");
    let identities = Identities::verified(|| NOW, Rules { audiences: Vec::new(), ..rules() }, || {});
    identities.set_keys(Some(keys(1, &[signer.jwk()])));
    assert!(caller(&identities, &signer.sign(&without("a", "aud"))).is_ok());
    assert_eq!(caller(&identities, &signer.sign(&payload("a"))), Err(Fallback::Unverified));
}

#[test]
fn the_end_of_a_token_is_seen_although_the_token_is_known() {
    static CLOCK: AtomicU64 = AtomicU64::new(NOW);
    let signer = Signer::new("a");
    let token = signer.sign(&payload("a"));
    for verifies in [false, true] {
        let clock: fn() -> u64 = || CLOCK.load(Ordering::Relaxed);
        let identities = match verifies {
            true => Identities::verified(clock, Rules { leeway: 30, ..rules() }, || {}),
            false => Identities::unverified(clock),
        };
        identities.set_keys(Some(keys(1, &[signer.jwk()])));
        let leeway = if verifies { 30 } else { 0 };
        for (seconds, counts) in
            [(0, true), (599 + leeway, true), (600 + leeway, false), (10_000, false), (0, true)]
        {
            CLOCK.store(NOW + seconds, Ordering::Relaxed);
            let found = caller(&identities, &token);
            assert_eq!(found.is_ok(), counts, "{verifies} {seconds}: {found:?}");
            let caller = identities.caller(&scope(&["jwt:sub"]), &bearing(&token));
            assert_eq!(caller.trust == Trust::Never, !counts, "{verifies} {seconds}");
        }
    }
}

#[test]
fn new_keys_count_at_once_and_old_ones_no_longer() {
    static UNKNOWN: AtomicU64 = AtomicU64::new(0);
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let identities = Identities::verified(
        || NOW,
        rules(),
        || {
            UNKNOWN.fetch_add(1, Ordering::Relaxed);
        },
    );
    let tokens = [&old, &new].map(|signer| signer.sign(&payload("a")));
    let count = || tokens.each_ref().map(|token| caller(&identities, token).is_ok());
    assert_eq!(count(), [false, false]);
    assert_eq!(UNKNOWN.load(Ordering::Relaxed), 0, "without keys, none is unknown");
    identities.set_keys(Some(keys(1, &[old.jwk()])));
    assert_eq!((count(), UNKNOWN.load(Ordering::Relaxed)), ([true, false], 1));
    assert_eq!((count(), UNKNOWN.load(Ordering::Relaxed)), ([true, false], 2), "remembered, and told again");
    identities.set_keys(Some(keys(2, &[new.jwk()])));
    assert_eq!(count(), [false, true]);
    let lapsed = KeySet::parse(json!({"keys": [new.jwk()]}).to_string().as_bytes(), 3, NOW);
    identities.set_keys(Some(lapsed.expect("keys")));
    assert_eq!(count(), [false, false]);
}

#[test]
fn only_keys_for_signatures_of_known_kinds_are_used() {
    let signer = Signer::new("a");
    let token = signer.sign(&payload("a"));
    let changed = |name: &str, value: Value| {
        let mut key = signer.jwk();
        key[name] = value;
        key
    };
    for (key, is_used) in [
        (signer.jwk(), true),
        (changed("use", json!("enc")), false),
        (changed("use", Value::Null), false),
        (changed("key_ops", json!(["sign"])), false),
        (changed("key_ops", json!(["verify"])), true),
        (changed("key_ops", json!("verify")), false),
        (changed("alg", json!("ES256")), false),
        (changed("alg", json!("HS256")), false),
        (changed("crv", json!("X25519")), false),
        (changed("kty", json!("oct")), false),
        (changed("kid", Value::Null), true),
        (changed("x5u", json!("https://attacker.example.com/")), true),
    ] {
        // A second key, so that the set is one.
        let identities = verified(&[key.clone(), Signer::new("z").jwk()]);
        let head = if key["kid"].is_null() { r#"{"alg":"EdDSA"}"# } else { r#"{"alg":"EdDSA","kid":"a"}"# };
        let token = if is_used { signer.sign_with(head, &payload("a").to_string()) } else { token.clone() };
        assert_eq!(caller(&identities, &token).is_ok(), is_used, "{key}");
    }
    for (text, why) in [
        ("", "is no JSON"),
        ("[]", "is no JWKS"),
        (r#"{"keys":{}}"#, "is no JWKS"),
        (r#"{"keys":[]}"#, "has no key of use (0 in all)"),
        (r#"{"keys":[{"kty":"oct","k":"c2VjcmV0"},1]}"#, "has no key of use (2 in all)"),
        (r#"{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}"#, "has no key of use"),
        (r#"{"keys":[{"kty":"EC","crv":"P-256","x":"AQ","y":"AQ"}]}"#, "has no key of use"),
    ] {
        let error = KeySet::parse(text.as_bytes(), 1, 1).expect_err(text);
        assert!(error.starts_with(why), "{text}: {error}");
    }
}

#[test]
fn elliptic_curves_verify() {
    let random = SystemRandom::new();
    let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key");
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random);
    let key = key.expect("a key");
    let point = key.public_key().as_ref();
    let [x, y] = [&point[1..33], &point[33..]].map(|part| URL_SAFE_NO_PAD.encode(part));
    let identities = verified(&[json!({"kty": "EC", "crv": "P-256", "kid": "e", "x": x, "y": y})]);
    let sign = |text: &[u8]| key.sign(&random, text).expect("a signature").as_ref().to_vec();
    let token = signed(r#"{"alg":"ES256","kid":"e"}"#, &payload("a").to_string(), sign);
    assert!(matches!(caller(&identities, &token), Ok((_, Trust::Verified))));
    let other = signed(r#"{"alg":"ES384","kid":"e"}"#, &payload("a").to_string(), sign);
    assert_eq!(caller(&identities, &other), Err(Fallback::Unverified), "a key has its algorithm");
}

const SIGNED: &str = "AWS4-HMAC-SHA256 Credential=ASIA1/20261201/eu-west-1/bedrock/aws4_request, \
                      SignedHeaders=host;x-amz-date;x-amz-security-token, Signature=";

#[test]
fn an_access_key_counts_with_its_session_token() {
    let identities = Identities::unverified(|| NOW);
    let scope = scope(&["aws:access-key"]);
    let of = |authorization: &str, more: &[(&str, &str)]| {
        let lines = [&[("authorization", authorization)], more].concat();
        identities.caller(&scope, &headers(&lines))
    };
    let token = [("x-amz-security-token", "secret"), ("x-amz-date", "20261201T000000Z")];
    let first = of(&format!("{SIGNED}1"), &token);
    let identity = first.identity.expect("an access key");
    let again = of(&format!("{SIGNED}2"), &[token[0], ("x-amz-date", "20261201T000001Z")]);
    assert_eq!((again.identity, again.credentials), (first.identity, first.credentials));
    assert_eq!(first.trust, Trust::IfAccepted);
    let left: Vec<_> = identity
        .others(&scope, &headers(&[&token[..], &[("authorization", SIGNED), ("x-own", "1")]].concat()))
        .keys()
        .map(ToString::to_string)
        .collect();
    assert_eq!(left, ["x-own"]);
    let other_keys = [
        (SIGNED.replace("ASIA1", "ASIA2"), token[0]),
        (SIGNED.replace("eu-west-1", "us-east-1"), token[0]),
        (SIGNED.replace("bedrock", "s3"), token[0]),
        (SIGNED.to_owned(), ("x-amz-security-token", "guessed")),
    ];
    for (line, token) in other_keys {
        let other = of(&format!("{line}1"), &[token]);
        assert!(other.identity.is_ok() && other.identity != first.identity, "{line}");
        assert_ne!(other.credentials, first.credentials, "{line}");
    }
    for (line, more) in [
        (format!("{SIGNED}1"), &[][..]),
        (format!("{SIGNED}1"), &[token[0], token[0]]),
        (format!("{SIGNED}1"), &[("x-amz-security-token", "")]),
        (format!("{}1", SIGNED.replace(";x-amz-security-token", "")), &token[..1]),
        (SIGNED.to_owned(), &token[..1]),
        (format!("{SIGNED}1, Credential=ASIA2/1/2/3/aws4_request"), &token[..1]),
        (format!("{}1", SIGNED.replace("ASIA1/", "")), &token[..1]),
        ("AWS4-ECDSA-P256-SHA256 Credential=a".to_owned(), &token[..1]),
        ("Bearer a.b.c".to_owned(), &token[..1]),
        (String::new(), &token[..1]),
    ] {
        assert!(of(&line, more).identity.is_err(), "{line} {more:?}");
    }
}

/// Tokens that somebody makes up who has a token of their own, the keys, and a signer of their own.
fn forge(kind: u64, number: u64, signer: &Signer, own: &Signer, victims: &str) -> String {
    let parts: Vec<_> = victims.split('.').collect();
    let hs256 = |secret: &[u8]| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let head = r#"{"alg":"HS256","kid":"a"}"#;
        signed(head, &payload("victim").to_string(), |text| hmac::sign(&key, text).as_ref().to_vec())
    };
    let changed = |at: usize| {
        // Another letter at some place.
        let mut parts: Vec<_> = parts.iter().map(|part| part.as_bytes().to_vec()).collect();
        let place = number as usize % parts[at].len();
        let before = parts[at][place];
        let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let other = letters.iter().cycle().skip(number as usize / 7 % 64).find(|letter| **letter != before);
        parts[at][place] = *other.expect("a letter");
        parts.iter().map(|part| String::from_utf8_lossy(part)).collect::<Vec<_>>().join(".")
    };
    let claims = payload("victim").to_string();
    let headed = |head: Value| own.sign_with(&head.to_string(), &claims);
    match kind {
        0 => changed(0),
        1 => changed(1),
        2 => changed(2),
        3 => format!("{}.{}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#), parts[1]),
        4 => signed(r#"{"alg":"none","kid":"a"}"#, &claims, |_| number.to_le_bytes().to_vec()),
        5 => hs256(signer.public()),
        6 => hs256(signer.jwk().to_string().as_bytes()),
        7 => hs256(URL_SAFE_NO_PAD.encode(signer.public()).as_bytes()),
        8 => own.sign(&with("victim", "jti", json!(number))),
        9 => signer.sign(&with("victim", "exp", json!(NOW - number % 100_000))),
        10 => signer.sign(&with("victim", "nbf", json!(NOW + 1 + number % 100_000))),
        11 => signer.sign(&with("victim", "aud", json!(format!("{AUDIENCE}{number}")))),
        12 => signer.sign(&with("victim", "iss", json!(format!("{ISSUER}{number}")))),
        13 => headed(json!({"alg": "EdDSA", "kid": "a", "jwk": own.jwk(), "n": number})),
        14 => {
            headed(json!({"alg": "EdDSA", "kid": "a", "jku": "https://attacker.example.com/", "n": number}))
        }
        15 => headed(
            json!({"alg": "EdDSA", "kid": "a", "x5u": "https://attacker.example.com/", "x5c": ["MII"], "n": number}),
        ),
        16 => headed(json!({"alg": "EdDSA", "kid": format!("../{number}")})),
        17 => headed(json!({"alg": "EdDSA", "kid": number})),
        18 => signer.sign_with(
            r#"{"alg":"EdDSA","kid":"a"}"#,
            &format!(
                r#"{{"sub":"attacker",{},"sub":"victim","jti":{number}}}"#,
                &claims[1..claims.len() - 1]
            ),
        ),
        19 => format!("{victims}{}", ["=", "==", ".", " ", "\t", "%20", ",", ";"][number as usize % 8]),
        20 => signer.sign(&with("victim", "exp", json!(format!("{}", NOW + number)))),
        21 => format!("{}.{}.{}", parts[0], URL_SAFE_NO_PAD.encode(payload("victim2").to_string()), parts[2]),
        22 => signer.sign(&with("victim", "exp", json!([NOW + number]))),
        _ => format!("{}\u{20}{}", parts[0], parts[1]),
    }
}

const KINDS: u64 = 24;

/// How many tokens are forged: `SIDECACHE_FORGED`, or so many.
fn tries() -> u64 {
    let set = std::env::var("SIDECACHE_FORGED").ok();
    set.map_or(6_000, |tries| tries.parse().expect("a number"))
}

/// No forged token reads what the victim's does: by the keys, it counts as nobody; without, as one that the service has
/// not accepted.
#[test]
fn no_forged_token_counts() {
    let (signer, own) = (Signer::new("a"), Signer::new("a"));
    let victims = signer.sign(&payload("victim"));
    let with_keys = verified(&[signer.jwk()]);
    let without_keys = Identities::unverified(|| NOW);
    let scope = scope(&["jwt:sub"]);
    let victim = without_keys.caller(&scope, &bearing(&victims));
    let is_read_as_none = AtomicU64::new(0);
    assert!(matches!(caller(&with_keys, &victims), Ok((_, Trust::Verified))));
    let tries = tries();
    std::thread::scope(|threads| {
        for thread in 0..2 {
            let (signer, own, victims, scope) = (&signer, &own, &victims, &scope);
            let (with_keys, without_keys, victim) = (&with_keys, &without_keys, &victim);
            let is_read_as_none = &is_read_as_none;
            threads.spawn(move || {
                for number in (thread..tries).step_by(2) {
                    let forged = forge(number % KINDS, number / KINDS, signer, own, victims);
                    if forged == *victims {
                        continue;
                    }
                    let Ok(line) = HeaderValue::from_str(&format!("Bearer {forged}")) else { continue };
                    let headers = HeaderMap::from_iter([(header::AUTHORIZATION, line)]);
                    let caller = with_keys.caller(scope, &headers);
                    assert!(
                        caller.identity.is_err() && caller.trust != Trust::Verified,
                        "{number}: {forged}"
                    );
                    assert_ne!(caller.credentials, victim.credentials, "{number}: {forged}");
                    let caller = without_keys.caller(scope, &headers);
                    assert_ne!(caller.credentials, victim.credentials, "{number}: {forged}");
                    assert_ne!(caller.trust, Trust::Verified, "{number}: {forged}");
                    is_read_as_none.fetch_add(u64::from(caller.identity.is_err()), Ordering::Relaxed);
                }
            });
        }
    });
    // Some are readable, and wait to be accepted.
    assert!(is_read_as_none.into_inner() < tries);
}

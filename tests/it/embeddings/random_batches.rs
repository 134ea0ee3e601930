//! Random batches against a model: no wrong vector, no wrong index, and no input is sent twice.

use std::collections::HashSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::fake_service::{
    self, AZURE, Behavior, FakeService, Fault, OLLAMA, OLLAMA_OLDER, OPENAI, cost, inputs, refusal, tokens,
    vector, vectors_of,
};
use crate::support::{Answer, RedisServer, Setup, Sidecache, random::random_steps};

/// A request, and how the service answers if it is asked.
#[derive(Clone, Debug)]
struct Step {
    target: &'static str,
    /// The numbers of the inputs; some repeat.
    numbers: Vec<u8>,
    is_list: bool,
    as_tokens: bool,
    base64: bool,
    short: bool,
    user: Option<u8>,
    pretty: bool,
    behavior: Behavior,
}

impl Step {
    fn input(&self, number: u8) -> Value {
        if self.as_tokens { json!([number, 1000]) } else { json!(format!("the \"{number}\"th, \u{e9}\\n")) }
    }

    /// The request's body.
    fn body(&self) -> Value {
        let all: Vec<_> = self.numbers.iter().map(|number| self.input(*number)).collect();
        let mut body = json!({"model": "e"});
        if self.target == OLLAMA_OLDER {
            body["prompt"] = json!(format!("the {}th", self.numbers[0]));
            return body;
        }
        body["input"] = if all.len() == 1 && !self.is_list { all[0].clone() } else { Value::Array(all) };
        if self.base64 && self.target != OLLAMA {
            body["encoding_format"] = json!("base64");
        }
        if self.short {
            body["dimensions"] = json!(2);
        }
        if let Some(user) = self.user {
            body["user"] = json!(format!("user {user}"));
        }
        body
    }
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        8 => Just(Fault::None),
        1 => prop_oneof![Just(400_u16), Just(429), Just(500), Just(503)].prop_map(Fault::Status),
        1 => Just(Fault::Short),
        1 => Just(Fault::Long),
        1 => Just(Fault::Twice),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let target = prop_oneof![4 => Just(OPENAI), 1 => Just(AZURE), 3 => Just(OLLAMA), 1 => Just(OLLAMA_OLDER)];
    let numbers = proptest::collection::vec(0..9_u8, 1..8);
    let spelling = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    let user = proptest::option::of(0..3_u8);
    (target, numbers, spelling, user, fault(), any::<bool>()).prop_map(
        |(target, numbers, (is_list, as_tokens, base64, short, pretty), user, fault, is_reversed)| Step {
            target,
            numbers,
            is_list,
            as_tokens,
            base64,
            short,
            user,
            pretty,
            behavior: Behavior { fault, is_reversed },
        },
    )
}

/// What the store must hold, by target, input and the other members in the key.
#[derive(Default)]
struct Expected {
    stored: HashSet<String>,
    hits: u64,
    misses: u64,
}

impl Expected {
    fn name(step: &Step, body: &Value, input: &Value) -> String {
        format!("{} {} {} {input}", step.target, body["encoding_format"], body["dimensions"])
    }

    /// The inputs that must go upstream: those not stored, each once, in their order.
    fn missing(&self, step: &Step, body: &Value) -> Vec<Value> {
        let mut missing: Vec<Value> = Vec::new();
        for input in inputs(body) {
            if !self.stored.contains(&Self::name(step, body, &input)) && !missing.contains(&input) {
                missing.push(input);
            }
        }
        missing
    }
}

/// Sends one request, and checks the answer and the upstream calls.
async fn check(sidecache: &Sidecache, service: &FakeService, expected: &mut Expected, step: &Step) {
    let body = step.body();
    let (all, missing) = (inputs(&body), expected.missing(step, &body));
    let hits = all.iter().filter(|input| !missing.contains(input)).count();
    (expected.hits, expected.misses) =
        (expected.hits + hits as u64, expected.misses + (all.len() - hits) as u64);
    service.set(step.behavior);
    let calls = service.upstream.calls();
    let text = if step.pretty { format!("{body:#}") } else { body.to_string() };
    let answer = sidecache.client().post_text(step.target, &[], &text).await;
    let several = all.len() > 1;
    if missing.is_empty() {
        assert_eq!(service.upstream.calls(), calls, "a stored text was sent again: {step:?}");
        assert_eq!((answer.status, answer.cache()), (200, "HIT"), "{step:?}");
        assert_eq!(answer.detail(), several.then(|| format!("\"hits={hits}/{}\"", all.len())).as_deref());
        return received(step, &body, &all, &answer, 0);
    }
    let sent = service.upstream.requests().swap_remove(calls);
    assert_eq!(inputs(&sent.json()), missing, "{step:?}");
    if missing.len() == all.len() {
        assert_eq!(sent.body, text.as_bytes(), "the caller's own bytes");
    }
    // After an unreadable answer, the client's own request is sent.
    let is_odd = matches!(step.behavior.fault, Fault::Short | Fault::Long | Fault::Twice);
    let expected_calls = if is_odd && missing.len() < all.len() { 2 } else { 1 };
    assert_eq!(service.upstream.calls(), calls + expected_calls, "{step:?}");
    let others = |body: &Value| -> Vec<_> {
        let members = body.as_object().expect("an object").clone();
        members.into_iter().filter(|(name, _)| name != "input").collect()
    };
    assert_eq!(others(&sent.json()), others(&body));
    match step.behavior.fault {
        Fault::None => {
            let told_by = if hits > 0 { "PARTIAL" } else { "MISS" };
            assert_eq!((answer.status, answer.cache()), (200, told_by), "{step:?}: {}", answer.text());
            received(step, &body, &all, &answer, tokens(&missing) as u64);
            expected.stored.extend(missing.iter().map(|input| Expected::name(step, &body, input)));
        }
        Fault::Status(status) => {
            assert_eq!((answer.status, answer.json()), (status, refusal(status)), "{step:?}");
            assert_eq!((answer.header("x-said"), answer.header("age")), ("no", ""));
        }
        Fault::Short | Fault::Long | Fault::Twice => {
            assert_eq!(service.upstream.last().body, text.as_bytes(), "{step:?}");
            let received = fake_service::answer(&service.upstream.last(), step.behavior).bytes();
            let received = String::from_utf8(received).expect("UTF-8");
            let body = received.split_once("\r\n\r\n").expect("a head").1.to_owned();
            assert_eq!((answer.status, answer.text()), (200, body), "{step:?}");
            assert!(answer.detail().is_some_and(|detail| detail.contains("unread-vectors")), "{step:?}");
            assert_eq!((answer.cache(), answer.header("age")), ("MISS", ""), "{step:?}");
        }
    }
}

/// Each vector is byte for byte that of its input, in its place.
fn received(step: &Step, body: &Value, all: &[Value], answer: &Answer, tokens: u64) {
    let vectors: Vec<_> = all.iter().map(|input| vector(input, body)).collect();
    assert_eq!(vectors_of(step.target, &answer.text()), vectors, "{step:?}: {}", answer.text());
    let received = cost(step.target, &answer.json());
    assert_eq!(received, (step.target != OLLAMA_OLDER).then_some(tokens), "{step:?}: {}", answer.text());
}

fn random_batches(cases: u32, settings: impl Fn(Setup) -> Setup) {
    random_steps(cases, step(), async |steps| {
        let service = FakeService::start().await;
        let sidecache = settings(Setup::to(&service.upstream.url())).start().await;
        let mut expected = Expected::default();
        for step in steps {
            check(&sidecache, &service, &mut expected, step).await;
        }
        let counted = sidecache.health().await["cache"]["kinds"]["embedding"].clone();
        assert_eq!((&counted["hits"], &counted["misses"]), (&json!(expected.hits), &json!(expected.misses)));
    });
}

#[test]
fn random_batches_in_process() {
    random_batches(24, |setup| setup);
}

#[test]
fn random_batches_in_redis() {
    let redis = RedisServer::start();
    random_batches(16, |setup| {
        redis.cli(&["FLUSHALL"]);
        setup
            .arguments(&["--redis", &redis.url()])
            .env("CACHE_NEAR_MEMORY", "0")
            .config("[store]\ntimeout = \"5s\"")
    });
}

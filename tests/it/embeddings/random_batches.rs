//! Random batches against a model: never a wrong vector, never a wrong index, never a text sent twice or again.

use std::collections::HashSet;

use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use serde_json::{Value, json};

use super::fake_service::{
    self, AZURE, Fault, Model, Mood, OLLAMA, OLLAMA_OLDER, OPENAI, cost, inputs, refusal, tokens, vector,
    vectors_of,
};
use crate::support::{Answer, RedisServer, Setup, Sidecache, run};

/// A request, and how the service answers if it is asked.
#[derive(Clone, Debug)]
struct Step {
    target: &'static str,
    /// Which inputs; some come more than once.
    numbers: Vec<u8>,
    is_list: bool,
    as_tokens: bool,
    base64: bool,
    short: bool,
    user: Option<u8>,
    pretty: bool,
    mood: Mood,
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
            mood: Mood { fault, is_reversed },
        },
    )
}

/// What the store must hold by now: target, input, and the other members that count.
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

    /// The inputs that must be sent: each that is not stored, once, in its order.
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

/// Sends one request, and checks all that came of it.
async fn check(sidecache: &Sidecache, model: &Model, expected: &mut Expected, step: &Step) {
    let body = step.body();
    let (all, missing) = (inputs(&body), expected.missing(step, &body));
    let hits = all.iter().filter(|input| !missing.contains(input)).count();
    (expected.hits, expected.misses) =
        (expected.hits + hits as u64, expected.misses + (all.len() - hits) as u64);
    model.set(step.mood);
    let calls = model.upstream.calls();
    let text = if step.pretty { format!("{body:#}") } else { body.to_string() };
    let answer = sidecache.client().post_text(step.target, &[], &text).await;
    let several = all.len() > 1;
    if missing.is_empty() {
        assert_eq!(model.upstream.calls(), calls, "a stored text was sent again: {step:?}");
        assert_eq!((answer.status, answer.cache()), (200, "HIT"), "{step:?}");
        assert_eq!(answer.detail(), several.then(|| format!("\"hits={hits}/{}\"", all.len())).as_deref());
        return told(step, &body, &all, &answer, 0);
    }
    let sent = model.upstream.requests().swap_remove(calls);
    assert_eq!(inputs(&sent.json()), missing, "{step:?}");
    if missing.len() == all.len() {
        assert_eq!(sent.body, text.as_bytes(), "the caller's own bytes");
    }
    // What cannot be read is asked for once more, in the caller's own words.
    let is_odd = matches!(step.mood.fault, Fault::Short | Fault::Long | Fault::Twice);
    let expected_calls = if is_odd && missing.len() < all.len() { 2 } else { 1 };
    assert_eq!(model.upstream.calls(), calls + expected_calls, "{step:?}");
    let others = |body: &Value| -> Vec<_> {
        let members = body.as_object().expect("an object").clone();
        members.into_iter().filter(|(name, _)| name != "input").collect()
    };
    assert_eq!(others(&sent.json()), others(&body));
    match step.mood.fault {
        Fault::None => {
            let told_by = if hits > 0 { "PARTIAL" } else { "MISS" };
            assert_eq!((answer.status, answer.cache()), (200, told_by), "{step:?}: {}", answer.text());
            told(step, &body, &all, &answer, tokens(&missing) as u64);
            expected.stored.extend(missing.iter().map(|input| Expected::name(step, &body, input)));
        }
        Fault::Status(status) => {
            assert_eq!((answer.status, answer.json()), (status, refusal(status)), "{step:?}");
            assert_eq!((answer.header("x-said"), answer.header("age")), ("no", ""));
        }
        Fault::Short | Fault::Long | Fault::Twice => {
            assert_eq!(model.upstream.last().body, text.as_bytes(), "{step:?}");
            let told = fake_service::answer(&model.upstream.last(), step.mood).bytes();
            let told = String::from_utf8(told).expect("UTF-8");
            let body = told.split_once("\r\n\r\n").expect("a head").1.to_owned();
            assert_eq!((answer.status, answer.text()), (200, body), "{step:?}");
            assert!(answer.detail().is_some_and(|detail| detail.contains("unread-vectors")), "{step:?}");
            assert_eq!((answer.cache(), answer.header("age")), ("MISS", ""), "{step:?}");
        }
    }
}

/// Every vector is that of its input, byte for byte, in its place.
fn told(step: &Step, body: &Value, all: &[Value], answer: &Answer, tokens: u64) {
    let vectors: Vec<_> = all.iter().map(|input| vector(input, body)).collect();
    assert_eq!(vectors_of(step.target, &answer.text()), vectors, "{step:?}: {}", answer.text());
    let told = cost(step.target, &answer.json());
    assert_eq!(told, (step.target != OLLAMA_OLDER).then_some(tokens), "{step:?}: {}", answer.text());
}

fn random_batches(cases: u32, settings: impl Fn(Setup) -> Setup) {
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let checked = runner.run(&proptest::collection::vec(step(), 1..24), |steps| {
        run(async {
            let model = Model::start().await;
            let sidecache = settings(Setup::to(&model.upstream.url())).start().await;
            let mut expected = Expected::default();
            for step in &steps {
                check(&sidecache, &model, &mut expected, step).await;
            }
            let counted = sidecache.health().await["cache"]["kinds"]["embedding"].clone();
            assert_eq!(
                (&counted["hits"], &counted["misses"]),
                (&json!(expected.hits), &json!(expected.misses))
            );
        });
        Ok(())
    });
    checked.unwrap_or_else(|error| panic!("{error}"));
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

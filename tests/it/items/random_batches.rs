//! Random requests of each API against a model: every answer is byte for byte the service's own, and what goes upstream
//! is what is missing, each once.

use std::{collections::HashSet, time::Duration};

use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use serde_json::{Value, json};

use super::{
    PER_ITEM,
    api::{Api, Options},
    fake_service::{FakeService, Fault, faulty, refusal, said},
    uncached,
};
use crate::support::{Answer, RedisServer, Setup, Sidecache, number_from, run_within};

/// A request, and how the service answers if it is asked.
#[derive(Clone, Debug)]
struct Step {
    /// The numbers of the inputs; some repeat.
    numbers: Vec<u8>,
    options: Options,
    pretty: bool,
    fault: Fault,
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        20 => Just(Fault::None),
        1 => prop_oneof![Just(400_u16), Just(429), Just(500), Just(503)].prop_map(Fault::Status),
        1 => Just(Fault::ErrorIn200),
        2 => proptest::sample::select(&Fault::ODD[..]),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let limit = proptest::option::weighted(0.5, 1..10_u8);
    let options = (0..12_u8, limit, any::<bool>(), any::<bool>())
        .prop_map(|(variant, limit, with_more, is_bare)| Options { variant, limit, with_more, is_bare });
    (proptest::collection::vec(0..30_u8, 1..9), options, any::<bool>(), fault())
        .prop_map(|(numbers, options, pretty, fault)| Step { numbers, options, pretty, fault })
}

/// What the store must hold.
#[derive(Default)]
struct Expected {
    stored: HashSet<String>,
    hits: u64,
    misses: u64,
}

/// A request, and what its answer depends on.
struct Asked<'a> {
    api: Api,
    step: &'a Step,
    body: Value,
    text: String,
    inputs: Vec<Value>,
    /// What is not stored, each once.
    missing: Vec<Value>,
}

impl<'a> Asked<'a> {
    fn new(api: Api, step: &'a Step, expected: &Expected) -> Self {
        let mut inputs: Vec<_> = step.numbers.iter().map(|number| api.input(*number)).collect();
        // No list has texts and tokens.
        inputs.retain(|input| input.is_array() == api.input(step.numbers[0]).is_array());
        if !api.is_list() {
            inputs.truncate(1);
        }
        let body = api.request(&inputs, &step.options);
        let mut missing: Vec<Value> = Vec::new();
        for input in &inputs {
            if !expected.stored.contains(&api.name(&body, input)) && !missing.contains(input) {
                missing.push(input.clone());
            }
        }
        let text = if step.pretty { format!("{body:#}") } else { body.to_string() };
        Self { api, step, body, text, inputs, missing }
    }

    fn hits(&self) -> usize {
        self.inputs.iter().filter(|input| !self.missing.contains(input)).count()
    }

    /// Whether the request wants fewer results than it has inputs.
    fn is_limited(&self) -> bool {
        self.step
            .options
            .limit
            .is_some_and(|limit| self.api.limit().is_some() && usize::from(limit) < self.inputs.len())
    }

    /// Whether the service gets the client's own request.
    fn is_own(&self) -> bool {
        self.missing.len() == self.inputs.len() && !self.is_limited()
    }

    /// The fault that the answer to `body` has.
    fn fault_in(&self, body: &Value) -> Fault {
        let good = self.api.answer(body, &self.api.inputs(body));
        match self.step.fault {
            fault @ (Fault::Status(_) | Fault::ErrorIn200) => fault,
            fault if faulty(self.api, body, &good, fault).is_some() => fault,
            _ => Fault::None,
        }
    }

    /// Asserts that the service was asked for what is missing.
    fn assert_sent(&self, sent: &Value) {
        let Self { api, body, missing, step, .. } = self;
        assert_eq!(api.inputs(sent), *missing, "{step:?}");
        let mut expected = body.clone();
        expected[api.holder()] = sent[api.holder()].clone();
        if let Some(limit) = api.limit().filter(|limit| body.get(limit).is_some() && !self.is_own()) {
            expected[limit] = json!(missing.len());
        }
        assert_eq!(*sent, expected, "{step:?}");
    }
}

/// Sends one request, and checks the answer and the upstream calls.
async fn check(api: Api, sidecache: &Sidecache, service: &FakeService, expected: &mut Expected, step: &Step) {
    let asked = Asked::new(api, step, expected);
    let hits = asked.hits();
    expected.hits += hits as u64;
    expected.misses += (asked.inputs.len() - hits) as u64;
    service.set(step.fault);
    let calls = service.upstream.calls();
    let answer = sidecache.client().post_text(api.target(), &[], &asked.text).await;
    let right = uncached(api, &asked.body, &asked.missing);
    if asked.missing.is_empty() {
        assert_eq!(service.upstream.calls(), calls, "what is stored was asked for again: {step:?}");
        assert_eq!((answer.status, answer.cache(), answer.text()), (200, "HIT", right), "{step:?}");
        let several = asked.inputs.len() > 1;
        let detail = several.then(|| format!("\"hits={hits}/{hits}\""));
        assert_eq!(answer.detail(), detail.as_deref(), "{step:?}");
        return;
    }
    let sent = service.upstream.requests().swap_remove(calls);
    asked.assert_sent(&sent.json());
    if asked.is_own() {
        assert_eq!(sent.body, asked.text.as_bytes(), "the client's own bytes");
    }
    let fault = asked.fault_in(&sent.json());
    let second = !matches!(fault, Fault::None | Fault::Status(_) | Fault::ErrorIn200) && !asked.is_own();
    assert_eq!(service.upstream.calls(), calls + 1 + usize::from(second), "{step:?}");
    match fault {
        Fault::None => {
            let told_by = if hits > 0 { "PARTIAL" } else { "MISS" };
            assert_eq!((answer.status, answer.cache(), answer.text()), (200, told_by, right), "{step:?}");
            expected.stored.extend(asked.missing.iter().map(|input| api.name(&asked.body, input)));
        }
        Fault::Status(status) => {
            assert_eq!((answer.status, answer.json()), (status, refusal(status)), "{step:?}");
            assert_eq!((answer.header("x-said"), answer.header("age")), ("no", ""));
        }
        Fault::ErrorIn200 => {
            assert_eq!((answer.status, answer.json()), (200, refusal(200)), "{step:?}");
            assert!(answer.detail().is_some_and(|detail| detail.contains("answer-error")), "{step:?}");
        }
        _ => told_without_a_cache(&asked, service, &answer, expected),
    }
}

/// After an answer that does not fit, the client gets what the service says to its own request. That may be good.
fn told_without_a_cache(asked: &Asked<'_>, service: &FakeService, answer: &Answer, expected: &mut Expected) {
    let Asked { api, step, body, .. } = asked;
    assert_eq!(service.upstream.last().body, asked.text.as_bytes(), "{step:?}");
    assert_eq!((answer.status, answer.text()), (200, said(*api, body, step.fault)), "{step:?}");
    assert_eq!(answer.header("age"), "", "{step:?}");
    let inputs: HashSet<_> = asked.inputs.iter().map(Value::to_string).collect();
    let is_stored =
        asked.fault_in(body) == Fault::None && inputs.len() == asked.inputs.len() && !asked.is_limited();
    if is_stored {
        expected.stored.extend(asked.inputs.iter().map(|input| api.name(body, input)));
    } else {
        assert!(answer.detail().is_some_and(|detail| detail.contains(api.unread())), "{step:?}: {answer:?}");
    }
}

/// Checks so many batches of each API.
fn random_batches(otherwise: u64, settings: impl Fn(Setup) -> Setup) {
    let batches = number_from("SIDECACHE_BATCHES", otherwise);
    let length = batches.min(200);
    for api in Api::ALL {
        let cases = u32::try_from(batches.div_ceil(length)).expect("a number");
        let config = Config { cases, failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
        let steps = proptest::collection::vec(step(), usize::try_from(length).expect("a number"));
        let checked = TestRunner::new(config).run(&steps, |steps| {
            run_within(Duration::from_secs(120), async {
                let service = FakeService::start().await;
                let sidecache = settings(Setup::to(&service.upstream.url()).config(PER_ITEM)).start().await;
                let mut expected = Expected::default();
                for step in &steps {
                    check(api, &sidecache, &service, &mut expected, step).await;
                }
                let counted = sidecache.health().await["cache"]["kinds"][api.kind()].clone();
                let expected = (json!(expected.hits), json!(expected.misses));
                assert_eq!((counted["hits"].clone(), counted["misses"].clone()), expected, "{api:?}");
            });
            Ok(())
        });
        checked.unwrap_or_else(|error| panic!("{api:?}: {error}"));
    }
}

#[test]
fn random_batches_in_process() {
    random_batches(60, |setup| setup);
}

#[test]
fn random_batches_in_redis() {
    let redis = RedisServer::start();
    random_batches(40, |setup| {
        redis.cli(&["FLUSHALL"]);
        setup
            .arguments(&["--redis", &redis.url()])
            .env("CACHE_NEAR_MEMORY", "0")
            .config("[store]\ntimeout = \"5s\"")
    });
}

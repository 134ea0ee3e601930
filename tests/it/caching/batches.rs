//! A route with `batch`: each element of a list has an entry of its own, and only what is missing goes upstream.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
};

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{
    Answer, Gate, Received, RedisServer, Script, Setup, Sidecache, Upstream, eventually,
    random::random_steps, run, soon,
};

const ROUTE: &str = "[[route]]\nmatch = \"POST /batch\"\nkind = \"query\"\nbatch = \"/inputs\"\n\
    batch_answer = [\"/output\", \"/metadata/run_ids\"]\nopens = [\"/metadata/run_ids/*\"]\n\
    ignore = [\"/user\", \"/inputs/*/trace\"]\n";

/// What the service says to one input.
fn said(input: &Value, shared: &Value) -> Value {
    let mut input = input.clone();
    if let Some(members) = input.as_object_mut() {
        members.remove("trace");
    }
    json!({"to": input, "with": shared, "digits": 0.5})
}

/// Answers a batch; each run has an id of its own.
fn answered(request: &Received) -> Script {
    let asked = request.json();
    let inputs = asked["inputs"].as_array().expect("inputs").clone();
    let output: Vec<_> = inputs.iter().map(|input| said(input, &asked["shared"])).collect();
    let ids: Vec<_> = inputs.iter().map(|input| format!("run of {input} for {}", asked["user"])).collect();
    Script::json(&json!({"output": output, "metadata": {"run_ids": ids}}))
}

async fn started(
    route: &str,
    answer: impl Fn(&Received) -> Script + Send + Sync + 'static,
) -> (Upstream, Sidecache) {
    let upstream = Upstream::start(answer).await;
    let sidecache = Setup::to(&upstream.url()).config(route).admin().start().await;
    (upstream, sidecache)
}

async fn ask(sidecache: &Sidecache, inputs: &Value) -> Answer {
    let answer = sidecache.client().post("/batch", &json!({"inputs": inputs})).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let expected: Vec<_> =
        inputs.as_array().into_iter().flatten().map(|input| said(input, &Value::Null)).collect();
    assert_eq!(answer.json()["output"], json!(expected));
    answer
}

#[test]
fn only_what_is_missing_goes_upstream() {
    run(async {
        let (upstream, sidecache) = started(ROUTE, answered).await;
        let first = ask(&sidecache, &json!(["a", {"q": "b"}])).await;
        assert_eq!(first.cache(), "MISS");
        let mixed = ask(&sidecache, &json!([{"q": "b"}, "c", "a", "c"])).await;
        assert_eq!((mixed.cache(), mixed.detail()), ("PARTIAL", Some("\"hits=2/4\"")));
        assert_eq!(upstream.last().json(), json!({"inputs": ["c"]}));
        let traced = ask(&sidecache, &json!([{"trace": 7, "q": "b"}, "c"])).await;
        assert_eq!(traced.cache(), "HIT", "the trace does not count");
        let other = sidecache.client().post("/batch", &json!({"inputs": ["a"], "shared": 1})).await;
        assert_eq!(other.cache(), "MISS", "what all inputs have in common counts");
        assert_eq!(upstream.calls(), 3);
    });
}

#[test]
fn ids_are_their_own_callers() {
    run(async {
        let (_upstream, sidecache) = started(ROUTE, answered).await;
        let ask = async |user: &str, inputs: &Value| {
            let body = json!({"user": user, "inputs": inputs});
            let answer = sidecache.client().post("/batch", &body).await;
            (answer.cache().to_owned(), answer.json()["metadata"]["run_ids"].clone())
        };
        let own = |input: &str| format!("run of {:?} for \"mallory\"", input);
        let first = ask("mallory", &json!(["a", "b"])).await;
        assert_eq!(first, ("MISS".to_owned(), json!([own("a"), own("b")])));
        assert_eq!(ask("alice", &json!(["b", "a"])).await, ("HIT".to_owned(), json!([null, null])));
        let mixed = ask("mallory", &json!(["b", "c"])).await;
        assert_eq!(mixed, ("PARTIAL".to_owned(), json!([null, own("c")])));
    });
}

#[test]
fn what_is_no_list_of_inputs_is_one_request() {
    run(async {
        let (upstream, sidecache) = started(ROUTE, |request| {
            Script::json(&json!({"output": [request.json()["inputs"]], "said": "Yes."}))
        })
        .await;
        for inputs in [json!([]), json!("a"), json!({"a": ["b"]}), Value::Null] {
            for expected in ["MISS", "HIT"] {
                let answer = sidecache.client().post("/batch", &json!({"inputs": inputs})).await;
                assert_eq!(answer.cache(), expected, "{inputs}");
                assert_eq!(answer.json()["output"], json!([inputs]));
            }
        }
        for body in [json!({"session_id": "s", "inputs": ["a"]}), json!({"inputs": [{"session_id": "s"}]})] {
            for _ in 0..2 {
                let answer = sidecache.client().post("/batch", &body).await;
                assert_eq!(
                    (answer.cache(), answer.detail()),
                    ("BYPASS", Some("conversation-turn")),
                    "{body}"
                );
            }
        }
        assert_eq!(upstream.calls(), 8);
    });
}

#[test]
fn an_answer_that_cannot_be_cut_is_passed_on() {
    run(async {
        for (answer, detail) in [
            (json!({"output": ["one"]}), "unread-batch"),
            (json!({"output": ["one", null]}), "unread-batch"),
            (json!({"output": ["one", "two"], "metadata": {"run_ids": [1]}}), "unread-batch"),
            (json!({"outputs": ["one", "two"]}), "unread-batch"),
            (json!({"output": ["one", "two"], "error": "no"}), "answer-error"),
        ] {
            let (upstream, sidecache) = started(ROUTE, {
                let answer = answer.clone();
                move |_| Script::json(&answer)
            })
            .await;
            for _ in 0..2 {
                let told = sidecache.client().post("/batch", &json!({"inputs": ["a", "b"]})).await;
                assert_eq!((told.json(), told.cache()), (answer.clone(), "MISS"));
                assert_eq!(told.detail(), Some(&*format!("\"hits=0/2 {detail}\"")));
                sidecache.settled().await;
            }
            assert_eq!(upstream.calls(), 2);
        }
    });
}

#[test]
fn a_stream_is_passed_on_as_it_comes() {
    run(async {
        let (gate, open) = (Gate::new(), Gate::new());
        let (_upstream, sidecache) = started(ROUTE, {
            let (gate, open) = (gate.clone(), open.clone());
            move |_| Script::chunked("text/event-stream").chunk("data: 1\n\n").tell(&open).wait(&gate).end()
        })
        .await;
        let mut stream = sidecache.client().stream("/batch", &json!({"inputs": ["a", "b"]})).await;
        stream.until("data: 1\n\n").await;
        gate.open();
        assert_eq!(stream.rest().await.as_deref(), Ok("data: 1\n\n"));
        sidecache.settled().await;
        let again = sidecache.client().post("/batch", &json!({"inputs": ["a", "b"]})).await;
        assert_eq!(again.cache(), "MISS");
    });
}

#[test]
fn the_whole_answer_may_be_the_list() {
    run(async {
        let route = "[[route]]\nmatch = \"POST /batch\"\nkind = \"embedding\"\nbatch = \"/inputs\"\nbatch_answer = \"\"\n";
        let (upstream, sidecache) = started(route, |request| {
            let inputs = request.json()["inputs"].as_array().expect("inputs").clone();
            let vectors: Vec<_> = inputs.iter().map(|input| json!([input.to_string().len(), 0.5])).collect();
            Script::json(&json!(vectors))
        })
        .await;
        for (inputs, cache, expected) in [
            (json!(["a", "bb"]), "MISS", json!([[3, 0.5], [4, 0.5]])),
            (json!(["ccc", "a"]), "PARTIAL", json!([[5, 0.5], [3, 0.5]])),
            (json!(["bb", "ccc"]), "HIT", json!([[4, 0.5], [5, 0.5]])),
        ] {
            let answer = sidecache.client().post("/batch", &json!({"inputs": inputs})).await;
            assert_eq!((answer.cache(), answer.json()), (cache, expected));
        }
        assert_eq!(upstream.calls(), 2);
    });
}

#[test]
fn requests_that_lack_the_same_inputs_make_one_call() {
    run(async {
        let gate = Gate::new();
        let (upstream, sidecache) = started(ROUTE, {
            let gate = gate.clone();
            move |request| answered(request).after(&gate)
        })
        .await;
        let asking = |id: &'static str, inputs: Value| {
            let client = sidecache.client();
            tokio::spawn(async move {
                client.post_with("/batch", &[("x-request-id", id)], &json!({"inputs": inputs})).await
            })
        };
        let leader = asking("leader", json!(["a", "b"]));
        eventually("the call", async || (upstream.calls() == 1).then_some(())).await;
        let follower = asking("follower", json!(["a", "b", "a"]));
        sidecache.log.looked_up("follower").await;
        for _ in 0..5 {
            sidecache.health().await;
        }
        gate.open();
        for (asked, inputs) in [(leader, vec!["a", "b"]), (follower, vec!["a", "b", "a"])] {
            let answer = soon("an answer", asked).await.expect("no panic").json();
            let expected: Vec<_> = inputs.iter().map(|input| said(&json!(input), &Value::Null)).collect();
            assert_eq!(answer["output"], json!(expected));
        }
        assert_eq!(upstream.calls(), 1);
    });
}

/// How the service answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Behavior {
    Good,
    Failing,
    /// The last element is not there.
    Short,
    /// The last element is `null`.
    Null,
}

fn behaving(request: &Received, behavior: Behavior) -> Script {
    let asked = request.json();
    let inputs = asked["inputs"].as_array().expect("inputs").clone();
    let mut output: Vec<_> = inputs.iter().map(|input| said(input, &asked["shared"])).collect();
    match behavior {
        Behavior::Failing => return Script::json_with(500, &[], &json!({"detail": "no"})),
        Behavior::Good => {}
        Behavior::Short => drop(output.pop()),
        Behavior::Null => *output.last_mut().expect("an output") = Value::Null,
    }
    Script::json(&json!({"output": output}))
}

/// Numbers of inputs, what they have in common, and how the service answers if it is asked.
type Step = (Vec<u8>, Option<u8>, Behavior);

fn step() -> impl Strategy<Value = Step> {
    let behavior = prop_oneof![
        8 => Just(Behavior::Good),
        1 => Just(Behavior::Failing),
        1 => Just(Behavior::Short),
        1 => Just(Behavior::Null),
    ];
    (proptest::collection::vec(0..9_u8, 1..8), proptest::option::weighted(0.2, 0..2_u8), behavior)
}

fn input(number: u8) -> Value {
    match number % 3 {
        0 => json!(format!("the \"{number}\"th, \u{e9}")),
        1 => json!({"q": number, "o": ["x", 1.5], "n": null}),
        _ => json!([number]),
    }
}

/// Sends one request, and checks the answer and what went upstream against `stored`, which is what the store has.
async fn check(sidecache: &Sidecache, upstream: &Upstream, stored: &mut HashSet<String>, step: &Step) {
    let (numbers, shared, behavior) = step;
    let inputs: Vec<_> = numbers.iter().map(|number| input(*number)).collect();
    let body = json!({"inputs": inputs, "shared": shared});
    let name = |input: &Value| format!("{input} {shared:?}");
    let mut missing: Vec<Value> = Vec::new();
    for input in &inputs {
        if !stored.contains(&name(input)) && !missing.contains(input) {
            missing.push(input.clone());
        }
    }
    let calls = upstream.calls();
    let answer = sidecache.client().post("/batch", &body).await;
    let all: Vec<_> = inputs.iter().map(|input| said(input, &body["shared"])).collect();
    if missing.is_empty() {
        assert_eq!((upstream.calls(), answer.cache()), (calls, "HIT"), "{step:?}");
        assert_eq!(answer.json()["output"], json!(all));
        return;
    }
    assert_eq!(upstream.requests()[calls].json()["inputs"], json!(missing), "{step:?}");
    match behavior {
        Behavior::Good => {
            assert_eq!(answer.json()["output"], json!(all), "{step:?}");
            stored.extend(missing.iter().map(name));
        }
        Behavior::Failing => assert_eq!(answer.status, 500),
        // The caller gets what the service says to its own request.
        Behavior::Short | Behavior::Null => {
            let told = behaving(&upstream.last(), *behavior).bytes();
            assert!(told.ends_with(&answer.body), "{step:?}: {}", answer.text());
            assert_eq!(upstream.last().json(), body, "{step:?}");
        }
    }
}

fn random_batches(cases: u32, settings: impl Fn(Setup) -> Setup) {
    random_steps(cases, step(), async |steps| {
        let behavior = Arc::new(Mutex::new(Behavior::Good));
        let current = Arc::clone(&behavior);
        let upstream = Upstream::start(move |request| behaving(request, *current.lock().unwrap())).await;
        let sidecache = settings(Setup::to(&upstream.url()).config(ROUTE)).start().await;
        let mut stored = HashSet::new();
        for step in steps {
            *behavior.lock().unwrap() = step.2;
            check(&sidecache, &upstream, &mut stored, step).await;
        }
    });
}

#[test]
fn random_batches_in_process() {
    random_batches(24, |setup| setup);
}

#[test]
fn random_batches_in_redis() {
    let redis = RedisServer::start();
    random_batches(12, |setup| {
        redis.cli(&["FLUSHALL"]);
        let nearly_no_memory = setup.arguments(&["--redis", &redis.url()]).env("CACHE_NEAR_MEMORY", "0");
        nearly_no_memory.config("[store]\ntimeout = \"5s\"")
    });
}

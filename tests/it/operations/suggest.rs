//! The promise: what keeps requests from hitting is told by its name, with the line that changes it, and no value of
//! any request is told.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use crate::support::{
    RedisServer, Script, Setup, Sidecache, Upstream, number_from, run, run_within, samples::chat_answer,
};

/// A text that is in every value of these tests, and must be in no suggestion.
const CANARY: &str = "canary";

/// What is planted into requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Planted {
    Header,
    Member,
    Nested,
    Text,
    Query,
    Credential,
}

const ALL: [Planted; 6] =
    [Planted::Header, Planted::Member, Planted::Nested, Planted::Text, Planted::Query, Planted::Credential];

impl Planted {
    /// The part that must be told first, and the line.
    const fn told(self) -> (&'static str, &'static str) {
        match self {
            Self::Header => ("header `x-run-id`", "ignore_headers = [\"x-run-id\"]"),
            Self::Member => ("member `/trace`", "ignore = [\"/trace\"]"),
            Self::Nested => {
                ("member `/options/client/*/session`", "ignore = [\"/options/client/*/session\"]")
            }
            Self::Text => (
                "a part of the text `/query`",
                "mask = ['[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}']",
            ),
            Self::Query => ("query parameter `_`", "vary_by = [\"tenant\"]"),
            Self::Credential => ("credentials in `authorization`", "scope = \"shared\""),
        }
    }
}

/// Requests that differ in the planted part each time, and in their questions.
struct Traffic {
    seed: u64,
    nonce: AtomicU64,
}

impl Traffic {
    const fn new(seed: u64) -> Self {
        Self { seed, nonce: AtomicU64::new(0) }
    }

    /// Which question comes next: a few come often.
    fn question(&self, number: u64) -> u64 {
        let hash =
            blake3::hash(&(self.seed, number).0.wrapping_add(number.wrapping_mul(0x9e37_79b9)).to_le_bytes());
        u64::from(hash.as_bytes()[0] % 16) * u64::from(hash.as_bytes()[1] % 4)
    }

    /// Sends one request; whether it hit.
    async fn ask(&self, sidecache: &Sidecache, planted: Planted, number: u64) -> bool {
        let nonce = self.nonce.fetch_add(1, Ordering::Relaxed);
        // A token is used for a while.
        let id = uuid(self.seed, if planted == Planted::Credential { nonce / 10 } else { nonce });
        let at = |place: Planted, otherwise: &str| {
            if place == planted { id.clone() } else { otherwise.to_owned() }
        };
        let question = format!("What is {CANARY} {}?", self.question(number));
        let query = if planted == Planted::Text { format!("[{id}] {question}") } else { question };
        let body = json!({
            "query": query,
            "top_k": 4,
            "trace": at(Planted::Member, CANARY),
            "options": {"client": [{"session": at(Planted::Nested, CANARY), "version": 3}]},
        });
        let target = format!("/ask?tenant={CANARY}&_={}", at(Planted::Query, CANARY));
        let authorization = format!("Bearer {}", at(Planted::Credential, CANARY));
        let run = at(Planted::Header, CANARY);
        let headers = [("x-run-id", run.as_str()), ("authorization", &authorization), ("x-team", CANARY)];
        sidecache.client().post_with(&target, &headers, &body).await.cache() == "HIT"
    }
}

/// An id of its own for each number.
fn uuid(seed: u64, number: u64) -> String {
    let hash = blake3::hash(&[seed.to_le_bytes(), number.to_le_bytes()].concat()).to_hex();
    format!("{}-{}-{}-{}-{}", &hash[..8], &hash[8..12], &hash[12..16], &hash[16..20], &hash[20..32])
}

fn route(lines: &str) -> String {
    format!(
        "[[route]]\nname = \"own\"\nmatch = \"POST /ask\"\nkind = \"query\"\nconversation = []\n{lines}\n"
    )
}

async fn suggested(sidecache: &Sidecache) -> Value {
    let answer = sidecache.operator().get("/suggest").await;
    assert_eq!(answer.status, 200);
    assert!(!answer.text().contains(CANARY), "{}", answer.text());
    answer.json()
}

/// A planted nonce is named first, with the line; with that line, the hit rate is what was promised.
async fn check(planted: Planted, seed: u64, redis: Option<&RedisServer>) {
    const REQUESTS: u64 = 150;
    let upstream = Upstream::always(Script::json(&json!({"answer": "Yes.", "sources": [{"id": 1}]}))).await;
    let started = async |lines: &str| {
        let setup = Setup::to(&upstream.url()).config(&route(lines)).admin();
        let url = redis.map(RedisServer::url);
        let setup = match &url {
            Some(url) => setup.arguments(&["--redis", url]).config("[store]\ntimeout = \"10s\""),
            None => setup,
        };
        setup.start().await
    };
    let sidecache = started("").await;
    let traffic = Traffic::new(seed);
    let mut hits = 0;
    for number in 0..REQUESTS {
        hits += u64::from(traffic.ask(&sidecache, planted, number).await);
        sidecache.settled().await;
    }
    let told = suggested(&sidecache).await;
    let first = &told["almost_hits"][0];
    let (part, line) = planted.told();
    assert_eq!(
        (&first["part"], &first["line"], &first["route"]),
        (&part.into(), &line.into(), &"own".into()),
        "{told:#}"
    );
    let promised = hits + first["misses"].as_u64().expect("a count");
    if let Some(redis) = redis {
        redis.cli(&["FLUSHALL"]);
    }
    let sidecache = started(line).await;
    let mut now = 0;
    for number in 0..REQUESTS {
        now += u64::from(traffic.ask(&sidecache, planted, number).await);
        sidecache.settled().await;
    }
    let points = 100.0 * (now as f64 - promised as f64).abs() / REQUESTS as f64;
    assert!(points <= 2.0, "{planted:?}: promised {promised}, now {now}");
    assert!(now > REQUESTS / 2, "{planted:?}: {now}");
}

#[test]
fn a_planted_nonce_is_named_first_and_its_line_does_what_was_promised() {
    let rounds = number_from("SIDECACHE_PLANTED", 1);
    run_within(std::time::Duration::from_secs(3600), async move {
        for seed in 0..rounds {
            for planted in ALL {
                check(planted, seed, None).await;
            }
        }
    });
}

#[test]
fn it_is_found_with_redis_too() {
    run(async {
        let redis = RedisServer::start();
        check(Planted::Header, 1, Some(&redis)).await;
    });
}

#[test]
fn nothing_is_told_of_questions_that_differ_or_where_it_is_switched_off() {
    run(async {
        for (memory, expected) in [("16MiB", 1), ("0", 0)] {
            let upstream = Upstream::always(Script::json(&chat_answer())).await;
            let config = format!("[insight]\nmemory = \"{memory}\"\n{}", route(""));
            let sidecache = Setup::to(&upstream.url()).config(&config).admin().start().await;
            for number in 0..30 {
                for header in [None, Some(("x-run-id", number.to_string()))] {
                    let headers: Vec<_> =
                        header.iter().map(|(name, value)| (*name, value.as_str())).collect();
                    let body = json!({"query": format!("What is {number}?")});
                    sidecache.client().post_with("/ask", &headers, &body).await;
                    sidecache.settled().await;
                }
            }
            let told = suggested(&sidecache).await;
            let parts: Vec<_> =
                told["almost_hits"].as_array().expect("a list").iter().map(|found| &found["part"]).collect();
            assert_eq!(parts.len(), expected, "{told:#}");
            assert!(parts.iter().all(|part| **part == "header `x-run-id`"), "{told:#}");
        }
    });
}

#[test]
fn uncovered_requests_are_told_with_a_route_that_hits() {
    run(async {
        let upstream = Upstream::start(|request| match request.target.as_str() {
            "/page" => Script::whole(200, &[("content-type", "text/html")], "<p>"),
            target if target.starts_with("/chat/") => Script::json(&json!({"answer": "Yes."})),
            _ => Script::json_with(404, &[], &json!({"detail": "no"})),
        })
        .await;
        let sidecache = Setup::to(&upstream.url()).admin().start().await;
        let client = sidecache.client();
        let body = json!({"message": CANARY});
        for user in 0..5 {
            client.post(&format!("/chat/{user}?k={CANARY}"), &body).await;
            client.get("/page").await;
            client.post(&format!("/none/{user}"), &body).await;
            client.request("DELETE", "/chat/7", &[], Vec::new()).await;
        }
        let told = suggested(&sidecache).await;
        let uncovered = told["uncovered"].as_array().expect("a list");
        let of = |method: &str, path: &str| {
            let found = uncovered.iter().find(|found| found["method"] == method && found["path"] == path);
            found.unwrap_or_else(|| panic!("{method} {path}: {told:#}"))
        };
        let chat = of("POST", "/chat/{id}");
        assert_eq!((&chat["requests"], &chat["repeats"]), (&5.into(), &4.into()));
        assert_eq!((&chat["questions"], &chat["answers"]), (&"json".into(), &"json".into()));
        assert_eq!(of("POST", "/none/{id}")["repeats"], 0, "it is no answer");
        assert_eq!(of("DELETE", "/chat/{id}")["line"], Value::Null, "it changes something");
        let line = chat["line"].as_str().expect("a line");
        let sidecache = Setup::to(&upstream.url()).config(line).admin().start().await;
        for expected in ["MISS", "HIT"] {
            assert_eq!(sidecache.client().post("/chat/1", &body).await.cache(), expected);
        }
    });
}

#[test]
fn the_command_prints_lines_that_load() {
    run(async {
        let upstream = Upstream::always(Script::json(&chat_answer())).await;
        let sidecache = Setup::to(&upstream.url()).admin().start().await;
        for run in 0..20 {
            let body = json!({"model": "m", "messages": [{"role": "user", "content": "Hi there"}], "metadata": {"run": run}});
            sidecache.client().post("/v1/chat/completions", &body).await;
            sidecache.client().post("/ask%1b", &json!({"query": "Hi"})).await;
            sidecache.settled().await;
        }
        let admin = format!("http://{}", sidecache.admin());
        let printed = |arguments: &[&str]| {
            let arguments = [arguments, &["--admin", &admin]].concat();
            let output = Setup::bare().arguments(&arguments).command().output().expect("it runs");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).expect("UTF-8")
        };
        let table = printed(&["suggest"]);
        assert!(table.contains("openai-chat: only member `/metadata/run` differs"), "{table}");
        assert!(table.chars().all(|c| c == '\n' || !c.is_control()), "{table:?}");
        let lines = printed(&["suggest", "--toml"]);
        let sidecache = Setup::to(&upstream.url()).config(&lines).admin().start().await;
        for (run, expected) in ["MISS", "HIT"].into_iter().enumerate() {
            let body = json!({"model": "m", "messages": [{"role": "user", "content": "Hi there"}], "metadata": {"run": run}});
            assert_eq!(
                sidecache.client().post("/v1/chat/completions", &body).await.cache(),
                expected,
                "{lines}"
            );
        }
        let json: Value = serde_json::from_str(&printed(&["suggest", "--json"])).expect("JSON");
        assert!(json["almost_hits"].is_array());
    });
}

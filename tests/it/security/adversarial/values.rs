//! What operators watch shows no value of a request and no text of an answer: suggestions, the page, metrics, live
//! requests, traces and logs. All are looked at in one run.

use serde_json::{Value, json};

use crate::support::{
    RedisServer, Script, Setup, Sidecache, Upstream, eventually, run,
    samples::{CHAT, CREDENTIALS, chat_choice},
};

/// A text that is in every value, and a number that is one.
const CANARY: &str = "canary";
const NUMBER: u64 = 7_700_123_456;

/// A value of a query parameter whose name does not sound like a secret. It is in the log, and nowhere else.
const PARAMETER: &str = "canary-parameter";

/// A value of one that sounds like a secret.
const SECRET: &str = "canary-secret";

/// All that operators get without naming an entry.
const PAGES: [&str; 8] = [
    "/",
    "/health",
    "/stats",
    "/metrics",
    "/overview",
    "/history?range=24h",
    "/suggest",
    "/entries?sort=hits",
];

/// The part of a request that is another one each time.
#[derive(Clone, Copy, PartialEq)]
enum Varied {
    Nothing,
    Header,
    Member,
    Nested,
    Text,
    Query,
    Credential,
}

const ALL: [Varied; 7] = [
    Varied::Nothing,
    Varied::Header,
    Varied::Member,
    Varied::Nested,
    Varied::Text,
    Varied::Query,
    Varied::Credential,
];

/// Sends a request to `path`, whose values are canaries.
async fn ask(sidecache: &Sidecache, path: &str, varied: Varied, number: u64) {
    let at = |place: Varied| {
        let number = if place == varied { number } else { 0 };
        format!("{CANARY}-{number:08x}-aaaa-bbbb-cccc-0123456789ab")
    };
    let text = format!("[{}] What is {CANARY}?", at(Varied::Text));
    let mut body = json!({
        "model": "m",
        "trace": at(Varied::Member),
        "options": {"client": [{"session": at(Varied::Nested), "seed": NUMBER}]},
    });
    match path {
        CHAT => body["messages"] = json!([{"role": "user", "content": text}]),
        _ => body["query"] = text.into(),
    }
    let target = format!("{path}?tenant={PARAMETER}&_={PARAMETER}-{}&api_key={SECRET}", at(Varied::Query));
    let (run, bearer) = (at(Varied::Header), format!("Bearer {}", at(Varied::Credential)));
    let own = [("x-run-id", &*run), ("authorization", &*bearer), ("user-agent", CANARY), ("referer", CANARY)];
    let headers = [&own[..], &CREDENTIALS[1..]].concat();
    sidecache.client().post_with(&target, &headers, &body).await;
}

async fn service() -> Upstream {
    Upstream::start(|request| match request.target.split('?').next() {
        Some(CHAT) => {
            Script::json(&chat_choice(json!({"role": "assistant", "content": "canary-answer"}), "stop"))
        }
        Some("/ask") => Script::json_with(200, &[("x-answer", CANARY)], &json!({"answer": "canary-answer"})),
        Some("/refused") => Script::json_with(500, &[], &json!({"error": "canary-error"})),
        Some("/cut") => Script::raw().head(200, &[("content-length", "99")]).send("canary-cut").close(),
        _ => Script::json(&json!({"page": "canary-page"})),
    })
    .await
}

/// Sends everything; each answer is stored before the next request.
async fn traffic(sidecache: &Sidecache) {
    for varied in ALL {
        for number in 0..8 {
            for path in ["/ask", CHAT] {
                ask(sidecache, path, varied, number).await;
                sidecache.settled().await;
            }
        }
    }
    for path in ["/uncovered", "/refused", "/cut"] {
        for number in 0..3 {
            ask(sidecache, path, Varied::Text, number).await;
        }
    }
}

/// All pages, each with its path.
async fn pages(sidecache: &Sidecache) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    for page in PAGES {
        let answer = sidecache.operator().get(page).await;
        assert_eq!(answer.status, 200, "{page}");
        found.push((page, answer.text()));
    }
    found
}

/// No value is in the line; but queries are in the lines of requests, with their secrets masked.
#[track_caller]
fn check_line(line: &Value) {
    let mut line = line.clone();
    if line["event_type"] == "http_request" {
        let query = line["query_params"].take().to_string();
        assert!(query.contains("***") && !query.contains(SECRET), "{query}");
    }
    let text = line.to_string();
    assert!(!text.contains(CANARY) && !text.contains(&NUMBER.to_string()), "{text}");
}

#[test]
fn no_value_is_in_what_operators_watch() {
    run(async {
        let redis = RedisServer::start();
        for in_redis in [false, true] {
            let (upstream, url) = (service().await, redis.url());
            let collector = Upstream::always(Script::whole(200, &[], "")).await;
            let setup = Setup::to(&upstream.url())
                .admin()
                .config("[[route]]\nname = \"own\"\nmatch = [\"POST /ask\", \"POST /cut\", \"POST /refused\"]\nkind = \"query\"\nconversation = []")
                .config("[[price]]\nmodel = \"*\"\ninput = 1\noutput = 2\ncurrency = \"USD\"")
                .arguments(&["--log-level", "DEBUG", "--log-file", "app.log"])
                .env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url());
            let setup = if in_redis { setup.arguments(&["--redis", &url]) } else { setup };
            let mut sidecache = setup.start().await;
            let watching = sidecache.operator().open("GET", "/requests", &[], "").await;
            traffic(&sidecache).await;

            let pages = pages(&sidecache).await;
            let told = pages.iter().map(|(_, text)| &**text).collect::<String>();
            for name in ["`x-run-id`", "`/trace`", "`/options/client/*/session`", "`/query`", "/uncovered"] {
                assert!(told.contains(name), "nothing is suggested of {name}");
            }
            let requests =
                sidecache.log.all().iter().filter(|line| line["event_type"] == "http_request").count();
            assert_eq!(sidecache.stop().await.code(), Some(0));
            let live = watching.rest().await.expect("a proper end");
            assert_eq!(live.matches("\"method\":").count(), requests);
            let texts = pages.into_iter().chain([("/requests", live)]);
            for (page, text) in texts {
                assert!(!text.contains(CANARY) && !text.contains(&NUMBER.to_string()), "{page}: {text}");
            }
            let spans: Vec<_> = collector.requests();
            assert!(!spans.is_empty());
            for export in spans {
                let text = String::from_utf8_lossy(&export.body).into_owned();
                assert!(!text.contains(CANARY), "{text}");
            }
            let ended = eventually("a line for each response", async || {
                let text = sidecache.log.text();
                let count = text.matches("\"event_type\":\"http_response\"").count();
                (count == requests).then_some(count)
            });
            assert!(ended.await > 100);
            let file = std::fs::read_to_string(sidecache.dir().join("app.log")).expect("a log");
            for line in file.lines().chain(sidecache.log.text().lines()) {
                check_line(&crate::support::logs::parse(line));
            }
            redis.cli(&["FLUSHALL"]);
        }
    });
}

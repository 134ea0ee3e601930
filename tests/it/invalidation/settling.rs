//! Services that answer a change at once and work on it later.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::json;

use crate::support::{RedisServer, Script, Setup, Sidecache, Upstream, eventually_within, run};

const ASK: &str = "[[route]]\nmatch = \"POST /ask\"\nkind = \"query\"\n";

/// A service whose index follows later: until `busy` is false, its answers are the old ones.
struct Service {
    upstream: Upstream,
    busy: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
}

impl Service {
    async fn start() -> Self {
        let busy = Arc::new(AtomicBool::new(false));
        let asked = Arc::new(AtomicUsize::new(0));
        let (is_busy, count) = (Arc::clone(&busy), Arc::clone(&asked));
        let upstream = Upstream::start(move |request| match request.target.as_str() {
            "/ask" => Script::json(&json!({"answer": "Yes.", "old": is_busy.load(Ordering::SeqCst)})),
            "/status?all=1" if request.header("authorization") != Some("Bearer k") => {
                Script::json_with(401, &[], &json!({"busy": false}))
            }
            "/status?all=1" => {
                count.fetch_add(1, Ordering::SeqCst);
                Script::json(&json!({"busy": is_busy.load(Ordering::SeqCst)}))
            }
            _ => {
                is_busy.store(true, Ordering::SeqCst);
                Script::json(&json!({"status": "accepted"}))
            }
        })
        .await;
        Self { upstream, busy, asked }
    }
}

fn routes(settle: &str) -> String {
    format!(
        "{ASK}[[route]]\nmatch = \"POST /documents\"\nkind = \"other\"\ncache = false\ninvalidates = [\"query\"]\n{settle}\n"
    )
}

async fn ask(sidecache: &Sidecache) -> (String, bool) {
    let answer = sidecache.client().post("/ask", &json!({"query": "q"})).await;
    (answer.cache().to_owned(), answer.json()["old"] == json!(true))
}

async fn change(sidecache: &Sidecache) {
    let key = [("authorization", "Bearer k")];
    assert_eq!(sidecache.client().post_with("/documents", &key, &json!({})).await.status, 200);
}

/// The old answer is never a hit, whichever replica is asked, and hits are back once the service is done.
#[test]
fn nothing_old_is_stored_until_the_service_says_that_it_is_done() {
    run(async {
        let service = Service::start().await;
        let redis = RedisServer::start();
        let until = routes("settle_until = [\"GET /status?all=1\", \"/busy = false\"]");
        let setup =
            || Setup::to(&service.upstream.url()).config(&until).arguments(&["--redis", &redis.url()]);
        let (one, other) = (setup().start().await, setup().start().await);
        assert_eq!(ask(&one).await, ("MISS".to_owned(), false));
        eventually_within(Duration::from_secs(10), "a hit", async || {
            (ask(&other).await == ("HIT".to_owned(), false)).then_some(())
        })
        .await;
        change(&one).await;
        let changed = Instant::now();
        for _ in 0..3 {
            assert_eq!(ask(&one).await, ("MISS".to_owned(), true));
        }
        let reason = one.client().post("/ask", &json!({"query": "q"})).await;
        assert_eq!(reason.detail(), Some("settling"));
        eventually_within(Duration::from_secs(20), "two questions", async || {
            assert_eq!(ask(&one).await, ("MISS".to_owned(), true), "never a hit meanwhile");
            (service.asked.load(Ordering::SeqCst) >= 2).then_some(())
        })
        .await;
        assert!(changed.elapsed() >= Duration::from_millis(3_900), "at most every two seconds");
        // This replica has not seen the change, and may have stored the old answer.
        ask(&other).await;
        service.busy.store(false, Ordering::SeqCst);
        eventually_within(Duration::from_secs(20), "hits", async || {
            let hit = ask(&one).await;
            (hit == ("HIT".to_owned(), false)).then_some(())
        })
        .await;
        eventually_within(Duration::from_secs(20), "hits", async || {
            let hit = ask(&other).await;
            (hit == ("HIT".to_owned(), false)).then_some(())
        })
        .await;
        let asked = service.asked.load(Ordering::SeqCst);
        change(&one).await;
        service.busy.store(false, Ordering::SeqCst);
        eventually_within(Duration::from_secs(20), "another question", async || {
            (service.asked.load(Ordering::SeqCst) > asked).then_some(())
        })
        .await;
    });
}

#[test]
fn a_time_lets_a_change_settle() {
    run(async {
        let service = Service::start().await;
        let sidecache = Setup::to(&service.upstream.url()).config(&routes("settle = \"1s\"")).start().await;
        let began = Instant::now();
        change(&sidecache).await;
        assert_eq!(ask(&sidecache).await, ("MISS".to_owned(), true));
        service.busy.store(false, Ordering::SeqCst);
        eventually_within(Duration::from_secs(20), "a hit", async || {
            let (cache, _) = ask(&sidecache).await;
            (cache == "HIT").then_some(())
        })
        .await;
        assert!(began.elapsed() >= Duration::from_secs(1));
        assert_eq!(ask(&sidecache).await, ("HIT".to_owned(), false));
        // What is on no such route lets nothing settle.
        let gone = sidecache.client().request("DELETE", "/documents", &[], "").await;
        assert_eq!(gone.status, 200);
        assert_eq!(ask(&sidecache).await.0, "HIT", "another method is not the route's");
    });
}

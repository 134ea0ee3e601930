//! What operators see: health, metrics, log, page, `explain` and `wrong` tell of the same hits, and of no text.

use std::process::{Command, Output};

use serde_json::{Value, json};

use super::{world::config, *};
use crate::support::{eventually, run, samples::CHAT};

/// A member of the events of a kind in the log.
fn told(world: &World, event: &str) -> Vec<Value> {
    world.sidecache.log.all().into_iter().filter(|line| line["event_type"] == event).collect()
}

/// The value of a series of `/metrics`, by its beginning.
fn sample(page: &str, series: &str) -> Option<f64> {
    let line =
        page.lines().find(|line| line.strip_prefix(series).is_some_and(|rest| rest.starts_with(' ')))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[test]
fn health_metrics_page_and_log_tell_of_the_same_hits_and_of_no_text() {
    run(async {
        let world = World::serving("").await;
        let asked = world.certify("refund").await as f64;
        let similar = world.ask(&question("refund", 100)).await;
        assert_eq!(similar.cache(), "SIMILAR");
        let refused = world.ask("please tell me about my refund of 30 euro said the heron").await;
        assert_eq!(refused.cache(), "MISS");
        world.ask("refund").await;
        world.sidecache.settled().await;
        eventually("both are counted", async || {
            let page = world.sidecache.operator().get("/metrics").await.text();
            let numbers = sample(&page, "sidecache_semantic_refused_total{guard=\"numbers\"}");
            (numbers == Some(1.0)).then_some(())
        })
        .await;

        let health = world.sidecache.health().await;
        let cache = &health["cache"];
        assert_eq!((&cache["similar"], &cache["hits"]), (&json!(1), &json!(1)));
        assert_eq!(cache["misses"].as_f64(), Some(asked + 2.0));
        let route = &health["semantic"]["routes"][0];
        assert_eq!(
            (&route["route"], &route["served"], &route["stepped_back"]),
            (&json!("chat"), &json!(1), &json!(false))
        );
        assert_eq!(
            (&health["semantic"]["mode"], &health["semantic"]["max_false_hits"]),
            (&json!("serve"), &json!(0.2))
        );

        let operator = world.sidecache.operator();
        let page = operator.get("/metrics").await.text();
        for (series, expected) in [
            ("sidecache_requests_total{route=\"chat\",kind=\"query\",cache=\"similar\",status=\"2xx\"}", 1.0),
            ("sidecache_lookups_total{kind=\"query\",result=\"similar\"}", 1.0),
            ("sidecache_lookups_total{kind=\"query\",result=\"miss\"}", asked + 2.0),
            ("sidecache_semantic_labels_total{source=\"shadow\",result=\"same\"}", asked - 1.0),
            ("sidecache_semantic_ineligible_total{reason=\"too-short\"}", 1.0),
            ("sidecache_semantic_embedder_up", 1.0),
            ("sidecache_semantic_limit", 0.2),
            ("sidecache_semantic_stepped_back{route=\"chat\"}", 0.0),
            ("sidecache_semantic_missing_labels{route=\"chat\"}", 0.0),
        ] {
            assert_eq!(sample(&page, series), Some(expected), "{series}: {page}");
        }
        let threshold = sample(&page, "sidecache_semantic_threshold{route=\"chat\"}").expect("a threshold");
        assert!((0.5..0.979).contains(&threshold), "{threshold}");
        assert!(sample(&page, "sidecache_semantic_bound{route=\"chat\"}").expect("a bound") <= 0.2);

        let overview = operator.get("/overview").await.json();
        let [hit] = &overview["similar_hits"].as_array().expect("a list")[..] else { panic!("{overview}") };
        let original = similar.header("sidecache-original").to_owned();
        assert!(similar.key().ends_with(hit["key"].as_str().expect("a key")), "{hit}");
        assert!(original.ends_with(hit["original"].as_str().expect("a key")), "{hit}");

        let labels = told(&world, "semantic_label");
        let same = labels.iter().filter(|label| label["source"] == "shadow" && label["same"] == true).count();
        assert_eq!(same as f64, asked - 1.0);
        let [line] = &told(&world, "semantic_refused")[..] else {
            panic!("{:?}", told(&world, "semantic_refused"))
        };
        assert_eq!((&line["guard"], &line["route"]), (&json!("numbers"), &json!("chat")));
        let ended = told(&world, "http_response");
        let line = ended.iter().find(|line| line["cache"]["status"] == "SIMILAR").expect("a line");
        assert_eq!(line["cache"]["original"], original);
        assert!((0.97..0.98).contains(&line["cache"]["similarity"].as_f64().expect("a number")), "{line}");

        let seen = [health.to_string(), page, overview.to_string(), world.sidecache.log.text()];
        assert!(seen.iter().all(|text| !text.contains("refund") && !text.contains("heron")));
    });
}

/// Runs a command of sidecache's against the running one.
async fn command(world: &World, arguments: &[&str], input: &str) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("sidecache.toml"), config(&world.embeddings, SERVING, "")).expect("a file");
    std::fs::write(path("question.json"), input).expect("a file");
    let mut command = Command::new(env!("CARGO_BIN_EXE_sidecache"));
    command
        .args(arguments)
        .args(["--admin", &format!("http://{}", world.sidecache.admin())])
        .current_dir(folder.path());
    let ended = tokio::task::spawn_blocking(move || command.output().expect("the binary"));
    let ended = ended.await.expect("an end");
    drop(folder);
    ended
}

/// What `explain` says of the nearest question, without the line of the key.
async fn explained(world: &World, question: &Value) -> String {
    let ended = command(world, &["explain", "--path", CHAT, "question.json"], &question.to_string()).await;
    assert!(ended.status.success(), "{ended:?}");
    let output = String::from_utf8(ended.stdout).expect("text");
    let lines = output.lines().filter(|line| line.starts_with("nearest") || line.starts_with("meaning"));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn explain_says_what_is_nearest_and_what_is_done_with_it() {
    run(async {
        let world = World::serving("").await;
        let about = |wording| chat(&question("refund", wording));
        assert_eq!(
            explained(&world, &about(0)).await,
            "meaning   no stored question shares answers with this one"
        );
        let first = world.ask(&question("refund", 0)).await;
        world.stored(1).await;
        let shown = explained(&world, &about(1)).await;
        assert!(shown.starts_with(&format!("nearest   {} 0.978, no threshold: ", first.key())), "{shown}");
        assert!(shown.ends_with("more labels at least: the service is asked"), "{shown}");

        let world = World::serving("").await;
        let stored = world.certify("refund").await;
        let calls = world.upstream.calls();
        let shown = explained(&world, &about(100)).await;
        assert!(shown.contains(" 0.978, threshold 0."), "{shown}");
        assert!(shown.ends_with("its answer is served"), "{shown}");
        let guarded = chat("please tell me about my refund of 30 euro said the heron");
        let shown = explained(&world, &guarded).await;
        assert!(shown.contains("refused by guard `numbers`"), "{shown}");
        let mut tools = chat("please tell me about my refund said the heron");
        tools["messages"]
            .as_array_mut()
            .expect("a list")
            .push(json!({"role": "tool", "tool_call_id": "a", "content": "please tell me about my refund"}));
        assert_eq!(explained(&world, &tools).await, "meaning   takes no part: tool results");
        // Nothing was asked, stored, labelled or served by that.
        assert_eq!(world.upstream.calls(), calls);
        assert_eq!(world.route().await["served"], json!(0));
        let health = world.sidecache.health().await;
        assert_eq!(health["semantic"]["entries"], json!(stored), "{health}");
        assert_eq!(world.ask(&question("refund", 100)).await.cache(), "SIMILAR");
    });
}

#[test]
fn explain_goes_on_where_nobody_answers() {
    run(async {
        let mut world = World::serving("").await;
        world.sidecache.stop().await;
        let shown = explained(&world, &chat(&question("refund", 0))).await;
        assert!(shown.starts_with("meaning   not known: nothing answers at "), "{shown}");
    });
}

#[test]
fn the_nearest_is_told_to_operators_alone_and_without_a_text() {
    run(async {
        let world = World::serving("").await;
        world.ask(&question("refund", 0)).await;
        world.stored(1).await;
        let operator = world.sidecache.operator();
        let request = json!({"path": CHAT, "body": chat(&question("refund", 1))});
        let answer = operator.post("/nearest", &request).await;
        assert_eq!((answer.status, answer.json()["takes_part"].as_bool()), (200, Some(true)), "{answer:?}");
        assert!(!answer.text().contains("refund"), "{answer:?}");
        // Another site's page cannot send this.
        let foreign = operator
            .request("POST", "/nearest", &[("content-type", "text/plain")], request.to_string())
            .await;
        assert_eq!(foreign.status, 415);
        for (body, expected) in [
            (json!({"path": "/nothing"}), json!("no-route")),
            (json!({"path": CHAT, "body": {"model": "m"}}), json!("no-text")),
            (json!({"path": CHAT, "body": chat("hi")}), json!("too-short")),
            (
                json!({"path": CHAT, "headers": {"cache-control": "no-store"}, "body": chat(&question("refund", 1))}),
                json!("request-no-store"),
            ),
        ] {
            let answer = operator.post("/nearest", &body).await.json();
            assert_eq!((&answer["takes_part"], &answer["why_not"]), (&json!(false), &expected), "{body}");
        }
        assert_eq!(operator.post("/nearest", &json!({"path": "x"})).await.status, 400);
        let off = World::start("mode = \"off\"", "").await;
        assert_eq!(off.sidecache.operator().post("/nearest", &request).await.status, 404);
        assert_eq!(off.sidecache.health().await["semantic"], Value::Null);
    });
}

#[test]
fn a_wrong_hit_is_reported_from_the_command_line() {
    run(async {
        let world = World::serving("").await;
        world.certify("refund").await;
        let similar = world.ask(&question("refund", 100)).await;
        assert_eq!(similar.cache(), "SIMILAR");
        let key = similar.key();
        let reported = command(&world, &["wrong", &key], "").await;
        assert!(reported.status.success(), "{reported:?}");
        assert!(
            String::from_utf8_lossy(&reported.stdout).starts_with("1 hit is reported as wrong"),
            "{reported:?}"
        );
        let lists = world.sidecache.operator().get("/overview").await.json();
        assert_eq!(lists["similar_hits"], json!([]));
        let again = command(&world, &["wrong", &key], "").await;
        assert!(!again.status.success());
        assert!(String::from_utf8_lossy(&again.stderr).contains("no hit by meaning"), "{again:?}");
        let labels = told(&world, "semantic_label");
        let report = labels.iter().find(|label| label["source"] == "report").expect("a line");
        assert_eq!(report["same"], false);
    });
}

//! Some hits are asked of the service all the same.

use serde_json::json;

use super::*;
use crate::support::{eventually, run, samples::CHAT};

const ALL: &str = "mode = \"serve\"\nmax_false_hits = \"20%\"\naudit = \"100%\"\ntimeout = \"5s\"";

#[test]
fn an_audited_hit_is_stored_under_its_own_key_and_labelled() {
    run(async {
        let world = World::start(ALL, "").await;
        let labels = world.certify("refund").await;
        let calls = world.upstream.calls();
        let asked = question("refund", 100);
        assert_eq!(world.ask(&asked).await.cache(), "SIMILAR");
        world.until("labels", json!(labels)).await;
        assert_eq!(world.upstream.calls(), calls + 1);
        let is_audit =
            |line: &serde_json::Value| line["event_type"] == "semantic_label" && line["source"] == "audit";
        let label = world.sidecache.log.wait_for("the audit's label", is_audit).await;
        assert_eq!(label["same"], json!(true));
        // The same question is an exact hit from now on.
        assert_eq!(world.ask(&asked).await.cache(), "HIT");
        assert_eq!(world.upstream.calls(), calls + 1);
    });
}

#[test]
fn the_share_of_audits_is_what_the_settings_say() {
    run(async {
        let world = World::start(&ALL.replace("100%", "25%"), "").await;
        world.certify("refund").await;
        let calls = world.upstream.calls();
        let mut served = 0;
        for wording in 100..260 {
            let answer = world.ask(&question("refund", wording)).await;
            served += usize::from(answer.cache() == "SIMILAR");
        }
        assert!(served > 100, "{served}");
        let audits = world.upstream.calls() - calls - (160 - served);
        // Binomial with 160 trials at 25 %: beyond this once in 10^8 runs.
        assert!((12..=80).contains(&audits), "{audits} of {served}");
    });
}

#[test]
fn an_audit_that_fails_costs_its_client_nothing() {
    run(async {
        let world = World::with(ALL, "ignore_headers = [\"x-fails\"]", |script, request| {
            if request.header("x-fails").is_some() { crate::support::Script::raw().reset() } else { script }
        })
        .await;
        let labels = world.certify("refund").await - 1;
        let asked = chat(&question("refund", 100));
        let answer = world.sidecache.client().post_with(CHAT, &[("x-fails", "1")], &asked).await;
        assert_eq!((answer.status, answer.cache()), (200, "SIMILAR"));
        let failed = async || {
            let metrics = world.sidecache.operator().get("/metrics").await.text();
            metrics
                .lines()
                .any(|line| line.contains("audit") && line.contains("failed") && line.ends_with(" 1"))
        };
        eventually("a failed audit", async || failed().await.then_some(())).await;
        assert_eq!(world.route().await["labels"], json!(labels));
    });
}

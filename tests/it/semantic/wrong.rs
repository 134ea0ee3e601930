//! A hit that somebody reported as wrong is never served again.

use serde_json::json;

use super::*;
use crate::support::{Answer, run};

async fn report(world: &World, key: &str) -> Answer {
    world.sidecache.operator().post(&format!("/entries/{key}/wrong"), &json!({})).await
}

#[test]
fn a_reported_pair_is_separate_for_good_and_counts_as_false() {
    run(async {
        for by_original in [false, true] {
            let world = World::serving("").await;
            world.certify("refund").await;
            let asked = question("refund", 100);
            let similar = world.ask(&asked).await;
            assert_eq!(similar.cache(), "SIMILAR");
            let original = similar.header("sidecache-original").to_owned();
            let key = if by_original { original.clone() } else { similar.key() };
            let reported = report(&world, &key).await;
            assert_eq!(reported.status, 200, "{reported:?}");
            world.until("false_labels", json!(1)).await;
            // It counts once.
            assert_eq!(report(&world, &key).await.status, 404);
            let again = world.ask(&asked).await;
            assert_ne!(again.header("sidecache-original"), original, "{again:?}");
        }
    });
}

#[test]
fn what_was_never_served_cannot_be_reported() {
    run(async {
        let world = World::serving("").await;
        let miss = world.ask(&question("refund", 0)).await;
        for key in [miss.key(), format!("query:{}", "0".repeat(64))] {
            assert_eq!(report(&world, &key).await.status, 404, "{key}");
        }
        assert_eq!(world.route().await["false_labels"], json!(0));
    });
}

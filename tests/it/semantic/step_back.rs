//! Once too many answers are wrong, the route is in shadow again, at any load.

use super::*;
use crate::support::{eventually, run, samples::CHAT, soon};

#[test]
fn flipped_labels_under_load_end_all_hits_within_fifty() {
    run(async {
        let world = World::serving("").await;
        world.certify("refund").await;
        // From now on no stored answer is the right one.
        world.service.changes();
        let mut wordings = 100..400;
        let mut served = 0;
        'asking: loop {
            let asked: Vec<_> = wordings
                .by_ref()
                .take(20)
                .map(|wording| world.sidecache.asking(CHAT, "load", &chat(&question("refund", wording))))
                .collect();
            if asked.is_empty() {
                break 'asking;
            }
            for answer in asked {
                let answer = soon("an answer", answer).await.expect("no panic");
                served += usize::from(answer.cache() == "SIMILAR");
            }
        }
        assert!((1..=50).contains(&served), "{served} were served");
        // It steps back, unless the new answers near each other differ before: then nothing is a hit any more in any case.
        let lines = world.sidecache.log.all();
        let steps = lines.iter().filter(|line| {
            line["message"]
                .as_str()
                .is_some_and(|text| text.starts_with("hits by meaning: too many were wrong"))
        });
        assert!(steps.count() <= 1, "each step back has one line");
        for wording in 80..100 {
            assert_eq!(world.ask(&question("refund", wording)).await.cache(), "MISS");
        }
    });
}

#[test]
fn after_a_step_back_new_labels_certify_again() {
    run(async {
        let world = World::start(&SERVING.replace("2.5%", "100%"), "").await;
        world.certify("refund").await;
        world.service.changes();
        let mut wordings = 100..400;
        let mut ask = async |topic: &str| {
            let wording = wordings.next().expect("more wordings than are needed");
            world.ask(&question(topic, wording)).await.cache().to_owned()
        };
        eventually("a step back", async || {
            ask("refund").await;
            (world.route().await["stepped_back"] == true).then_some(())
        })
        .await;
        world.service.settles();
        // The answers from then are near, and differ: so another topic.
        eventually("hits again", async || (ask("voucher").await == "SIMILAR").then_some(())).await;
    });
}

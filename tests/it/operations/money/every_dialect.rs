//! Each dialect, and both forms of its answers.

use super::{PRICES, billionths, call_of, spent_and_saved, talks};
use crate::support::run;

#[test]
fn a_call_is_spent_once_and_each_hit_saves_it() {
    run(async {
        for talk in talks() {
            for streams in [false, true] {
                let name = (talk.name, streams);
                let (upstream, sidecache) = talk.start(streams, PRICES).await;
                let client = sidecache.client();
                assert_eq!(talk.ask(&client, streams, "miss").await.cache(), "MISS", "{name:?}");
                call_of(&sidecache, "miss").await;
                assert_eq!(spent_and_saved(&sidecache).await, (talk.cost, 0), "{name:?}");
                let mut hits = vec![("hit", streams)];
                if talk.converts {
                    hits.push(("other-form", !streams));
                }
                for (id, form) in &hits {
                    let hit = talk.ask(&client, *form, id).await;
                    assert_eq!(hit.cache(), "HIT", "{name:?} {id}");
                    call_of(&sidecache, id).await;
                }
                assert_eq!(upstream.calls(), 1, "{name:?}");
                let saved = talk.cost * hits.len() as i64;
                assert_eq!(spent_and_saved(&sidecache).await, (talk.cost, saved), "{name:?}");

                let lines: Vec<_> =
                    sidecache.log.all().into_iter().filter(|line| line["event_type"] == "llm_call").collect();
                assert_eq!(lines.len(), 1 + hits.len(), "{name:?}");
                for line in lines {
                    assert_eq!(billionths(&line["cost"]), talk.cost, "{name:?} {line}");
                    assert_eq!((&line["currency"], &line["model"]), (&"USD".into(), &"m-2".into()));
                    assert_eq!(line["cached_tokens"].as_u64(), talk.cached, "{name:?} {line}");
                    let tokens = ["prompt_tokens", "completion_tokens", "total_tokens"];
                    assert_eq!(
                        tokens.map(|name| line[name].as_u64()),
                        [Some(1000), Some(50), Some(1050)],
                        "{line}"
                    );
                    assert_eq!(line["cached"], line["request_id"] != "miss");
                }
            }
        }
    });
}

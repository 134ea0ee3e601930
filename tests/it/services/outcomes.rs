//! What becomes of each recorded exchange.

use std::time::Duration;

use serde_json::Value;

use super::{RecordedAnswer, Recordings};
use crate::support::{Answer, Client, run_within};

#[test]
fn each_exchange_is_stored_or_not_as_its_preset_says() {
    run_within(Duration::from_secs(300), async {
        let mut faults = Vec::new();
        for recordings in Recordings::all() {
            let (_upstream, sidecache) = recordings.replayed(|_, answer| answer.script()).await;
            let client = sidecache.client();
            // Changes come last, since they invalidate.
            let (changes, others): (Vec<_>, Vec<_>) =
                recordings.exchanges.iter().partition(|(name, _)| is_change(&recordings, name));
            for (name, exchange) in others.into_iter().chain(changes) {
                let first = exchange.ask(&client, name).await;
                sidecache.settled().await;
                let again = exchange.ask(&client, name).await;
                let found = outcome(&exchange.answer, &first, &again);
                let expected = &recordings.outcomes[name].stored;
                let expected = expected.strip_suffix("-eof").unwrap_or(expected);
                if found != expected {
                    faults.push(format!("{} {name}: {found}, not {expected}", recordings.preset));
                }
            }
        }
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    });
}

fn is_change(recordings: &Recordings, name: &str) -> bool {
    !recordings.outcomes[name].invalidates.is_empty()
}

fn outcome(recorded: &RecordedAnswer, first: &Answer, again: &Answer) -> String {
    assert_eq!(first.status, recorded.status);
    if again.cache() != "HIT" {
        let detail = again.detail().unwrap_or_default();
        return detail.strip_prefix("last-not-stored:").unwrap_or(detail).to_owned();
    }
    if first.body == again.body {
        assert_eq!(first.body, recorded.body);
        return "stored".to_owned();
    }
    let documents = |body: &str| -> Vec<Value> {
        let data = |line: &str| serde_json::from_str(line.trim_start_matches("data:").trim()).ok();
        serde_json::from_str(body).map_or_else(|_| body.lines().filter_map(data).collect(), |one| vec![one])
    };
    let [first, again] = [first, again].map(|answer| documents(&answer.text()));
    assert_eq!(first.len(), again.len(), "{first:?} {again:?}");
    for (first, again) in first.iter().zip(&again) {
        assert_alike("", first, again);
    }
    "stored-ids".to_owned()
}

/// Asserts that two documents differ in ids alone, and in what a hit with vectors costs.
fn assert_alike(name: &str, first: &Value, again: &Value) {
    let is_id = || {
        let name = name.to_ascii_lowercase();
        name.ends_with("id") || name.ends_with("ids") || name.ends_with("token_url")
    };
    match (first, again) {
        (Value::Object(first), Value::Object(again)) => {
            for (name, value) in first {
                if name != "usage" && again.get(name) != Some(value) {
                    assert_alike(name, value, again.get(name).unwrap_or(&Value::Null));
                }
            }
        }
        (Value::Array(first), Value::Array(again)) => {
            assert_eq!(first.len(), again.len());
            first.iter().zip(again).for_each(|(first, again)| assert_alike(name, first, again));
        }
        (_, Value::Null) => assert!(is_id(), "{name}: {first}"),
        _ => assert_eq!(first, again, "{name}"),
    }
}

#[test]
fn a_change_invalidates_what_it_says() {
    run_within(Duration::from_secs(300), async {
        for recordings in Recordings::all() {
            let changes = || recordings.exchanges.iter().filter(|(name, _)| is_change(&recordings, name));
            for (change_name, change) in changes() {
                // Its own process: what settles is not stored for a while.
                let (_upstream, sidecache) = recordings.replayed(|_, answer| answer.script()).await;
                let client = sidecache.client();
                for (name, exchange, _) in recordings.stored() {
                    exchange.ask(&client, name).await;
                    sidecache.settled().await;
                    assert_eq!(
                        exchange.ask(&client, name).await.cache(),
                        "HIT",
                        "{} {name}",
                        recordings.preset
                    );
                }
                change.ask(&client, change_name).await;
                let invalidated = invalidated(&recordings, &client).await;
                let expected = &recordings.outcomes[change_name].invalidates;
                let stays = |name: &String| expected.contains(&format!("-{name}"));
                let expected: Vec<_> = match expected[0].as_str() {
                    "all" => recordings
                        .stored()
                        .map(|(name, ..)| name)
                        .filter(|name| !stays(name))
                        .cloned()
                        .collect(),
                    _ => expected.clone(),
                };
                assert_eq!(invalidated, expected, "{} {change_name}", recordings.preset);
            }
        }
    });
}

async fn invalidated(recordings: &Recordings, client: &Client) -> Vec<String> {
    let mut invalidated = Vec::new();
    for (name, exchange, _) in recordings.stored() {
        if exchange.ask(client, name).await.cache() != "HIT" {
            invalidated.push(name.clone());
        }
    }
    invalidated
}

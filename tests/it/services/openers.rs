//! Many callers who open a conversation with the same words behind one API key.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::{RecordedAnswer, Recordings};
use crate::support::{run_within, soon};

const CALLERS: usize = 1000;

/// The ids of the recorded answer that were made for its caller: what others get null for.
fn made_ids(first: &str, again: &str) -> Vec<String> {
    let texts =
        |body: &str| -> HashSet<String> { body.split('"').skip(1).step_by(2).map(str::to_owned).collect() };
    let (first, again) = (texts(first), texts(again));
    first.difference(&again).filter(|text| text.len() > 8).cloned().collect()
}

#[test]
fn of_a_thousand_openers_no_two_get_one_id() {
    run_within(Duration::from_secs(600), async {
        let mut services = 0;
        for recordings in Recordings::all() {
            let with_ids = recordings.stored().filter(|(_, _, outcome)| outcome.stored == "stored-ids");
            for (name, exchange, _) in with_ids {
                let (_upstream, sidecache) = recordings.replayed(|_, answer| answer.script()).await;
                let first = exchange.ask(&sidecache.client(), name).await.text();
                sidecache.settled().await;
                let ids = made_ids(&first, &exchange.ask(&sidecache.client(), name).await.text());
                if ids.is_empty() {
                    // Vectors: a hit costs nothing.
                    continue;
                }
                services += 1;
                let calls = Arc::new(AtomicUsize::new(0));
                let (count, made) = (Arc::clone(&calls), ids.clone());
                let (_upstream, sidecache) = recordings
                    .replayed(move |_, answer| {
                        renewed(answer, &made, count.fetch_add(1, Ordering::SeqCst)).script()
                    })
                    .await;
                let mut asking = tokio::task::JoinSet::new();
                for _ in 0..CALLERS {
                    let (client, exchange, name) = (sidecache.client(), exchange.clone(), name.clone());
                    asking.spawn(async move { exchange.ask(&client, &name).await });
                }
                let mut seen: HashSet<String> = HashSet::new();
                while let Some(answer) = soon("an answer", asking.join_next()).await {
                    let text = answer.expect("no panic").text();
                    let own: HashSet<_> = numbers(&text, &ids);
                    assert!(own.len() <= 1, "{} {name}: ids of several calls: {text}", recordings.preset);
                    for number in own {
                        assert!(seen.insert(number), "{} {name}: one id twice: {text}", recordings.preset);
                    }
                }
                assert!(!seen.is_empty(), "{} {name}: somebody has opened it", recordings.preset);
            }
        }
        assert!(services >= 5, "{services}");
    });
}

/// The answer with ids of its own.
fn renewed(answer: RecordedAnswer, ids: &[String], call: usize) -> RecordedAnswer {
    let mut text = String::from_utf8(answer.body).expect("UTF-8");
    for id in ids {
        text = text.replace(&format!("\"{id}\""), &format!("\"{id}~{call}\""));
    }
    RecordedAnswer { body: text.into_bytes(), ..answer }
}

/// The calls whose ids are in a text.
fn numbers(text: &str, ids: &[String]) -> HashSet<String> {
    let mut numbers = HashSet::new();
    for id in ids {
        for rest in text.split(&format!("\"{id}~")).skip(1) {
            numbers.insert(rest.chars().take_while(char::is_ascii_digit).collect());
        }
    }
    numbers
}

//! A service and an embeddings endpoint that several processes of sidecache are in front of.

use serde_json::{Value, json};

use super::world::{Embeddings, SERVING, Service, asked, chat, config, question};
use crate::support::{
    Answer, Script, Setup, Sidecache, Upstream, eventually,
    samples::{CHAT, chat_choice},
};

pub(super) struct Site {
    pub(super) upstream: Upstream,
    pub(super) embeddings: Embeddings,
}

impl Site {
    pub(super) async fn start() -> Self {
        let service = Service::default();
        let upstream = Upstream::start(move |request| {
            let message = json!({"role": "assistant", "content": service.says(&asked(request))});
            Script::json(&chat_choice(message, "stop"))
        })
        .await;
        Self { upstream, embeddings: Embeddings::start().await }
    }

    /// A process that serves by meaning from some labels on, with these lines under `[semantic]`.
    pub(super) fn setup(&self, semantic: &str) -> Setup {
        let config = config(&self.embeddings, &format!("{SERVING}\n{semantic}"), "");
        Setup::to(&self.upstream.url()).config(&config).admin()
    }
}

pub(super) async fn ask(sidecache: &Sidecache, text: &str) -> Answer {
    sidecache.client().post(CHAT, &chat(text)).await
}

/// What the health page says of hits by meaning.
pub(super) async fn status(sidecache: &Sidecache) -> Value {
    sidecache.health().await["semantic"].clone()
}

/// Waits until the route has so many labels, and so many of them are false.
pub(super) async fn labels(sidecache: &Sidecache, count: usize, wrong: usize) {
    let counted = async || {
        let route = status(sidecache).await["routes"][0].clone();
        (route["labels"] == json!(count) && route["false_labels"] == json!(wrong)).then_some(())
    };
    eventually(&format!("{count} labels, {wrong} of them false"), counted).await;
}

/// Waits until so many questions are stored.
pub(super) async fn stored(sidecache: &Sidecache, count: usize) {
    let is_so = async || (status(sidecache).await["entries"] == json!(count)).then_some(());
    eventually(&format!("{count} stored questions"), is_so).await;
}

/// Asks about a topic until hits are certified. Returns the number of labels; one question more is stored.
pub(super) async fn certify(sidecache: &Sidecache, topic: &str) -> usize {
    for wording in 0..100 {
        assert_eq!(ask(sidecache, &question(topic, wording)).await.cache(), "MISS", "{wording}");
        stored(sidecache, wording + 1).await;
        labels(sidecache, wording, 0).await;
        if status(sidecache).await["routes"][0]["threshold"].is_number() {
            return wording;
        }
    }
    panic!("no threshold is certified");
}

/// Asserts that a question in other words is answered from the store.
pub(super) async fn is_similar(sidecache: &Sidecache, topic: &str, wording: usize) -> Answer {
    let answer = ask(sidecache, &question(topic, wording)).await;
    assert_eq!(answer.cache(), "SIMILAR", "{answer:?}");
    answer
}

/// Asks in other words until that is answered from the store: nobody waits for a vector before one has come in time.
/// Returns the question that was, and its answer.
pub(super) async fn becomes_similar(sidecache: &Sidecache, topic: &str, first: usize) -> (String, Answer) {
    let mut wording = first;
    eventually("a hit by meaning", async || {
        wording += 1;
        let asked = question(topic, wording);
        let answer = ask(sidecache, &asked).await;
        (answer.cache() == "SIMILAR").then_some((asked, answer))
    })
    .await
}

/// Removes everything, as an operator does.
pub(super) async fn purge_all(sidecache: &Sidecache) {
    let purged = sidecache.operator().post("/purge", &json!({"all": true})).await;
    assert_eq!(purged.status, 200, "{purged:?}");
}

/// Reports a hit by meaning as wrong.
pub(super) async fn report(sidecache: &Sidecache, key: &str) {
    let reported = sidecache.operator().post(&format!("/entries/{key}/wrong"), &json!({})).await;
    assert_eq!(reported.status, 200, "{reported:?}");
}

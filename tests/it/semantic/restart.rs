//! What one process learns, the next one knows, without Redis; and nothing comes back that was invalidated.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use serde_json::json;
use tempfile::TempDir;

use super::{
    site::{Site, ask, becomes_similar, certify, is_similar, labels, purge_all, report, status, stored},
    world::question,
};
use crate::support::{Setup, Sidecache, WallClock, eventually, run};

/// A state file in a folder of its own.
struct State(TempDir);

impl State {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("semantic.state")
    }

    fn setup(&self, site: &Site) -> Setup {
        site.setup(&format!("state = {:?}", self.path()))
    }

    fn bytes(&self) -> Vec<u8> {
        fs::read(self.path()).expect("a state file")
    }
}

/// Ends an orderly way.
async fn stop(mut sidecache: Sidecache) {
    assert!(sidecache.stop().await.success());
}

/// Learns about refunds, and ends; the number of labels.
async fn learn(state: &State, site: &Site) -> usize {
    let sidecache = state.setup(site).start().await;
    let known = certify(&sidecache, "refund").await;
    stop(sidecache).await;
    known
}

/// Asserts that nothing is known.
async fn is_fresh(sidecache: &Sidecache, why: &str) {
    let status = status(sidecache).await;
    assert_eq!((&status["entries"], &status["routes"][0]["labels"]), (&json!(0), &json!(0)), "{why}");
    assert_eq!(ask(sidecache, &question("refund", 0)).await.cache(), "MISS", "{why}");
}

#[test]
fn the_next_process_serves_by_meaning_at_once() {
    run(async {
        let (site, state) = (Site::start().await, State::new());
        let known = learn(&state, &site).await;
        let calls = site.upstream.calls();
        let mode = fs::metadata(state.path()).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let next = state.setup(&site).start().await;
        labels(&next, known, 0).await;
        stored(&next, known + 1).await;
        assert_eq!(ask(&next, &question("refund", 0)).await.cache(), "HIT");
        assert_eq!(site.upstream.calls(), calls);
        let (asked, similar) = becomes_similar(&next, "refund", 100).await;
        // What is reported stays reported.
        report(&next, &similar.key()).await;
        let original = similar.header("sidecache-original").to_owned();
        stop(next).await;
        let third = state.setup(&site).start().await;
        eventually("the report is known", async || {
            (status(&third).await["routes"][0]["false_labels"] == 1).then_some(())
        })
        .await;
        let again = ask(&third, &asked).await;
        assert_ne!(again.header("sidecache-original"), original, "{again:?}");
    });
}

#[test]
fn what_was_removed_before_the_end_does_not_come_back() {
    run(async {
        let (site, state) = (Site::start().await, State::new());
        let sidecache = state.setup(&site).start().await;
        let known = certify(&sidecache, "refund").await;
        purge_all(&sidecache).await;
        stop(sidecache).await;
        let next = state.setup(&site).start().await;
        labels(&next, known, 0).await;
        assert_eq!(status(&next).await["entries"], json!(0));
        assert_eq!(ask(&next, &question("refund", 0)).await.cache(), "MISS");
    });
}

/// Asserts that no question of before is stored. The second question may be answered by the first one.
async fn nothing_is_back(sidecache: &Sidecache) {
    let first = ask(sidecache, &question("refund", 100)).await;
    assert_eq!(first.cache(), "MISS", "{first:?}");
    let second = ask(sidecache, &question("refund", 0)).await;
    if second.cache() != "MISS" {
        let original = second.header("sidecache-original").to_owned();
        assert_eq!((second.cache(), original), ("SIMILAR", first.key()), "{second:?}");
    }
}

#[test]
fn what_is_removed_after_the_start_does_not_come_back_after_a_crash() {
    run(async {
        let (site, state) = (Site::start().await, State::new());
        let known = learn(&state, &site).await;
        let whole = state.bytes().len();
        let mut next = state.setup(&site).start().await;
        assert!(state.bytes().len() < whole / 2, "no entries are in the file any more");
        stored(&next, known + 1).await;
        purge_all(&next).await;
        assert_eq!(ask(&next, &question("refund", 100)).await.cache(), "MISS");
        next.kill();
        let third = state.setup(&site).start().await;
        labels(&third, known, 0).await;
        nothing_is_back(&third).await;
    });
}

#[test]
fn an_entry_that_came_back_is_invalidated_as_any_other() {
    run(async {
        for what in [json!({"all": true}), json!({"kind": "query"}), json!({"tag": "m-2"})] {
            let (site, state) = (Site::start().await, State::new());
            let setup = || state.setup(&site).config("tags = [\"/model\"]");
            let first = setup().start().await;
            let known = certify(&first, "refund").await;
            stop(first).await;
            let next = setup().start().await;
            stored(&next, known + 1).await;
            let purged = next.operator().post("/purge", &what).await;
            assert_eq!(purged.status, 200, "{purged:?}");
            nothing_is_back(&next).await;
        }
    });
}

#[test]
fn what_has_expired_meanwhile_does_not_come_back() {
    run(async {
        // The TTL is half an hour; a restart may take a quarter of it.
        for (offset, is_back) in [(600, true), (1000, false), (3600, false), (-600, false)] {
            let (site, state, clock) = (Site::start().await, State::new(), WallClock::new());
            let first = clock.rule(state.setup(&site)).start().await;
            let known = certify(&first, "refund").await;
            stop(first).await;
            clock.set(offset);
            let next = clock.rule(state.setup(&site)).start().await;
            labels(&next, known, 0).await;
            if is_back {
                stored(&next, known + 1).await;
            }
            let found = ask(&next, &question("refund", 0)).await;
            assert_eq!(found.cache(), if is_back { "HIT" } else { "MISS" }, "{offset} s: {found:?}");
        }
    });
}

type Damage = (&'static str, fn(&Path));

const DAMAGES: [Damage; 7] = [
    ("empty", |path| fs::write(path, "").unwrap()),
    ("cut", |path| {
        let bytes = fs::read(path).unwrap();
        fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
    }),
    ("a changed bit", |path| {
        let mut bytes = fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(path, bytes).unwrap();
    }),
    ("longer", |path| {
        let bytes = fs::read(path).unwrap();
        fs::write(path, [bytes, vec![0]].concat()).unwrap();
    }),
    ("another version", |path| {
        let mut bytes = fs::read(path).unwrap();
        bytes[3] += 1;
        fs::write(path, bytes).unwrap();
    }),
    ("something else", |path| fs::write(path, vec![b'x'; 100_000]).unwrap()),
    ("a folder", |path| {
        fs::remove_file(path).unwrap();
        fs::create_dir(path).unwrap();
    }),
];

#[test]
fn a_damaged_file_is_a_line_in_the_log_and_a_fresh_start() {
    run(async {
        let (site, state) = (Site::start().await, State::new());
        learn(&state, &site).await;
        let whole = state.bytes();
        for (name, damage) in DAMAGES {
            let state = State::new();
            fs::write(state.path(), &whole).expect("a file");
            damage(&state.path());
            let sidecache = state.setup(&site).start().await;
            sidecache.log.lifecycle("hits by meaning: the state file is not used").await;
            is_fresh(&sidecache, name).await;
            stored(&sidecache, 1).await;
            stop(sidecache).await;
            // The next one finds what this one left.
            let next = state.setup(&site).start().await;
            stored(&next, 1).await;
        }
    });
}

#[test]
fn a_file_of_another_epoch_namespace_or_embedder_is_not_used() {
    run(async {
        let (site, state) = (Site::start().await, State::new());
        learn(&state, &site).await;
        let whole = state.bytes();
        let changed = [("CACHE_EPOCH", "2"), ("CACHE_NAMESPACE", "other"), ("CACHE_SEMANTIC_MODEL", "f")];
        for (variable, value) in changed {
            let state = State::new();
            fs::write(state.path(), &whole).expect("a file");
            let sidecache = state.setup(&site).env(variable, value).start().await;
            let asked = ask(&sidecache, &question("refund", 100)).await;
            assert_eq!(asked.cache(), "MISS", "{variable}");
            stored(&sidecache, 1).await;
            labels(&sidecache, 0, 0).await;
        }
    });
}

#[test]
fn a_sealed_file_shows_nothing_and_opens_with_its_key() {
    run(async {
        let [one, two] = ["1", "2"].map(|digit| digit.repeat(64));
        let (site, state) = (Site::start().await, State::new());
        let sealed = |key: &str| state.setup(&site).env("CACHE_ENCRYPTION_KEY", key);
        let canaries = ["this is all about", "chat.completion", "chat", "query:", "content-type"];
        let is_readable = |bytes: Vec<u8>| {
            canaries.map(|word| bytes.windows(word.len()).any(|window| window == word.as_bytes()))
        };
        let first = sealed(&one).start().await;
        let known = certify(&first, "refund").await;
        stop(first).await;
        let whole = state.bytes();
        assert_eq!(is_readable(whole.clone()), [false; 5]);
        for wrong in [sealed(&two), state.setup(&site)] {
            let sidecache = wrong.start().await;
            is_fresh(&sidecache, "another key").await;
            stop(sidecache).await;
            fs::write(state.path(), &whole).expect("a file");
        }
        let right = sealed(&one).start().await;
        labels(&right, known, 0).await;
        becomes_similar(&right, "refund", 100).await;
        stop(right).await;
        fs::write(state.path(), &whole).expect("a file");
        let rotated = sealed(&two).env("CACHE_ENCRYPTION_KEY_OLD", &one).start().await;
        labels(&rotated, known, 0).await;

        // Without a key, the file is as readable as its owner.
        let open = State::new();
        learn(&open, &site).await;
        assert_eq!(is_readable(open.bytes())[2..], [true; 3]);
    });
}

#[test]
fn a_process_waits_for_the_file_of_the_one_before_it() {
    run(async {
        let (site, state) = (Site::start().await, State::new());
        let first = state.setup(&site).start().await;
        let second = state.setup(&site).start().await;
        second.log.lifecycle("hits by meaning: the state file is not used").await;
        let known = certify(&first, "refund").await;
        is_fresh(&second, "the first one has not ended").await;
        stored(&second, 1).await;
        // What is removed here meanwhile does not come back from there, what is stored here stays.
        purge_all(&second).await;
        assert_eq!(ask(&second, &question("refund", 0)).await.cache(), "MISS");
        stop(first).await;
        labels(&second, known, 0).await;
        assert_eq!(ask(&second, &question("refund", 0)).await.cache(), "HIT");
        let other = ask(&second, &question("refund", 1)).await;
        assert_ne!(other.cache(), "HIT", "what is near to it now was stored here");
    });
}

#[test]
fn without_a_folder_to_write_to_everything_else_goes_on() {
    run(async {
        let site = Site::start().await;
        let sidecache = site.setup("state = \"/proc/nowhere/semantic.state\"").start().await;
        sidecache.log.lifecycle("hits by meaning: the state file is not used").await;
        certify(&sidecache, "refund").await;
        is_similar(&sidecache, "refund", 100).await;
        stop(sidecache).await;
    });
}

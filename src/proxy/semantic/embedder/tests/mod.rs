//! The embedder before servers that do well, do badly, and change.

mod server;

use std::{fs, path::Path, time::Instant};

use futures_util::future::join_all;

use self::server::{Reply, Server, other, vector_of};
use super::{calls::MAX_CALLS, identity::Identity, *};
use crate::{
    config::{Config, Inputs, load},
    proxy::state::classify_context,
    store::MemoryStore,
};

/// More than any machine needs. What is tested is done long before.
const LONG: Duration = Duration::from_secs(60);

/// An embedder, and what a request brings along.
struct Setup {
    config: Config,
    context: ClassifyContext,
    store: Store,
    timeout: Duration,
}

impl Setup {
    fn new(url: &str, timeout: Duration, more: &[(&'static str, &str)]) -> Self {
        let mut flags: Vec<(&'static str, String)> = [
            ("upstream.url", "http://127.0.0.1:1"),
            ("semantic.mode", "shadow"),
            ("semantic.embeddings", url),
            ("semantic.model", "m"),
        ]
        .map(|(key, value)| (key, value.to_owned()))
        .into();
        flags.extend(more.iter().map(|(key, value)| (*key, (*value).to_owned())));
        let config =
            load(&Inputs { flags, ..Inputs::default() }).unwrap_or_else(|errors| panic!("{errors}")).config;
        let context = classify_context(&config, "ns".into());
        Self { config, context, store: Store::Memory(MemoryStore::new(1 << 20)), timeout }
    }

    fn semantic(&self) -> SemanticConfig {
        SemanticConfig { timeout: self.timeout, ..self.config.semantic.clone().expect("settings") }
    }

    fn open(&self) -> Embedder {
        Embedder::open(&self.semantic()).unwrap_or_else(|error| panic!("{error}"))
    }

    /// An embedder that knows who it is.
    async fn known(&self) -> Embedder {
        let embedder = self.open();
        let known = |identity: &Option<Identity>| identity.is_some();
        tokio::time::timeout(LONG, embedder.identities().wait_for(known))
            .await
            .expect("in time")
            .expect("an identity");
        embedder
    }

    fn terms(&self) -> Terms<'_> {
        Terms { store: &self.store, context: &self.context, ttl: LONG, timeout: self.timeout }
    }
}

fn made(text: &str, dimension: usize) -> Result<Embedded, NoVector> {
    Ok(Embedded { vector: vector(text, dimension), is_stored: false })
}

fn stored(text: &str, dimension: usize) -> Result<Embedded, NoVector> {
    Ok(Embedded { vector: vector(text, dimension), is_stored: true })
}

fn vector(text: &str, dimension: usize) -> Vector {
    Vector::new(&vector_of(text, dimension)).expect("a vector")
}

/// Looks again until it is so.
async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < LONG, "{what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn a_text_is_embedded_once_and_then_stored() {
    let server = Server::start(Reply::Vector(8)).await;
    let setup = Setup::new(&server.url(), LONG, &[]);
    let embedder = setup.known().await;
    assert!(embedder.is_timely() && embedder.problem().is_none());
    let terms = setup.terms();
    let calls = (0..30).map(|number| embedder.embed(&terms, if number % 2 == 0 { "a" } else { "b" }));
    for (number, found) in join_all(calls).await.into_iter().enumerate() {
        assert_eq!(found, made(if number % 2 == 0 { "a" } else { "b" }, 8));
    }
    assert_eq!(server.asked(), 2);
    assert_eq!(embedder.embed(&setup.terms(), "a").await, stored("a", 8));
    assert_eq!(server.asked(), 2);
    assert!(
        server.last_head().starts_with("POST /v1/embeddings?key=sesame HTTP/1.1\r\n"),
        "{}",
        server.last_head()
    );
    // The next process finds what this one has stored, and embeds what is not stored for lack of a TTL.
    let next = setup.known().await;
    assert_eq!(next.embed(&setup.terms(), "a").await, stored("a", 8));
    for asked in [3, 4] {
        assert!(next.embed(&Terms { ttl: Duration::ZERO, ..setup.terms() }, "c").await.is_ok());
        assert_eq!(server.asked(), asked);
    }
}

#[tokio::test]
async fn whatever_a_server_does_is_no_vector_in_time() {
    let server = Server::start(Reply::Vector(8)).await;
    let timeout = Duration::from_secs(1);
    let setup = Setup::new(&server.url(), timeout, &[]);
    let embedder = setup.known().await;
    const REDIRECT: &str =
        "HTTP/1.1 307 Temporary Redirect\r\nLocation: /v1/embeddings\r\nContent-Length: 0\r\n\r\n";
    for (number, (reply, wanted)) in [
        (Reply::Hang, NoVector::TimedOut),
        (Reply::Drip, NoVector::TimedOut),
        (Reply::Endless, NoVector::Odd),
        (Reply::Close, NoVector::Failed),
        (Reply::Raw("SSH-2.0-OpenSSH_9.6\r\n"), NoVector::Failed),
        (Reply::Raw("HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\nTEXT"), NoVector::Failed),
        (Reply::Raw("HTTP/1.1 401 Who\r\nContent-Length: 0\r\n\r\n"), NoVector::Failed),
        (Reply::Raw("HTTP/1.1 429 Later\r\nContent-Length: 0\r\n\r\n"), NoVector::Failed),
        (Reply::Raw("HTTP/1.1 204 None\r\n\r\n"), NoVector::Failed),
        (Reply::Raw("HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{\"data\":[{\"embed"), NoVector::Failed),
        (Reply::Raw(REDIRECT), NoVector::Failed),
        (Reply::Body("<html>Bad Gateway</html>"), NoVector::Odd),
        (Reply::Body(""), NoVector::Odd),
        (Reply::Body(r#"{"data":[]}"#), NoVector::Odd),
        (Reply::Body(r#"{"data":[{"embedding":[]}]}"#), NoVector::Odd),
        (Reply::Body(r#"{"data":[{"embedding":[null,1,1,1,1,1,1,1]}]}"#), NoVector::Odd),
        (Reply::Body(r#"{"data":[{"embedding":["NaN",1,1,1,1,1,1,1]}]}"#), NoVector::Odd),
        (Reply::Body(r#"{"data":[{"embedding":[1e300,1,1,1,1,1,1,1]}]}"#), NoVector::Odd),
        (Reply::Body(r#"{"data":[{"embedding":[0,0,0,0,0,0,0,0]}]}"#), NoVector::Odd),
        (
            Reply::Body(r#"{"data":[{"embedding":"AADAfwAAwH8AAMB/AADAfwAAwH8AAMB/AADAfwAAwH8="}]}"#),
            NoVector::Odd,
        ),
        (Reply::Body(r#"{"data":[{"embedding":[1,1,1,1,1,1,1]}]}"#), NoVector::Odd),
    ]
    .into_iter()
    .enumerate()
    {
        let what = format!("{reply:?}");
        let (question, before) = (format!("a secret {number}"), server.asked());
        server.replies(reply.clone());
        // Only what never comes is waited for so briefly: a busy machine may be slow, too.
        let timeout = if wanted == NoVector::TimedOut { timeout } else { LONG };
        let began = Instant::now();
        let terms = Terms { timeout, ..setup.terms() };
        assert_eq!(embedder.embed(&terms, &question).await, Err(wanted), "{what}");
        // Far less than what the server takes.
        assert!(began.elapsed() < timeout + Duration::from_secs(5), "{what}");
        assert!(!embedder.is_timely(), "{what}");
        let problem = embedder.problem().unwrap_or_else(|| panic!("{what}: no problem"));
        assert!(!problem.contains("secret") && !problem.contains("sesame"), "{problem}");
        // One call; a pooled connection that breaks off is tried once more over a new one. No redirect is followed.
        assert!((1..=2).contains(&(server.asked() - before)), "{what}: {} calls", server.asked() - before);
        server.replies(Reply::Vector(8));
        let again = format!("again {number}");
        let vector = embedder.embed(&Terms { timeout: LONG, ..setup.terms() }, &again).await;
        assert!(vector.is_ok() && embedder.problem().is_none(), "{what}: {vector:?}");
    }
    assert!(server.sent() < 50_000_000, "{} bytes were taken", server.sent());
}

#[tokio::test]
async fn a_server_that_is_not_there_is_no_vector() {
    let gone = Server::start(Reply::Vector(8)).await.url();
    let setup = Setup::new(&gone, LONG, &[]);
    let embedder = setup.open();
    eventually("a problem", || embedder.problem().is_some()).await;
    assert_eq!(embedder.embed(&setup.terms(), "a").await, Err(NoVector::Failed));
    assert_eq!((embedder.identity(), embedder.is_timely()), (None, false));
    let problem = embedder.problem().unwrap_or_default();
    assert!(
        problem.starts_with("semantic.embeddings: http://127.0.0.1:") && !problem.contains("sesame"),
        "{problem}"
    );
    let tried = try_once(&setup.semantic()).await.expect("an endpoint");
    assert!(tried.is_err_and(|problem| problem.starts_with("semantic.embeddings: ")));
}

/// A text that the endpoint refuses says nothing about the next one: no attacker makes all others wait no longer.
#[tokio::test]
async fn a_refused_text_and_one_that_is_too_long_change_nothing() {
    let server = Server::start(Reply::Vector(8)).await;
    let setup = Setup::new(&server.url(), LONG, &[]);
    let embedder = setup.known().await;
    for status in ["400", "413", "422"] {
        let response = format!("HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n").leak();
        server.replies(Reply::Raw(response));
        assert_eq!(embedder.embed(&setup.terms(), status).await, Err(NoVector::Failed));
        assert!(embedder.is_timely() && embedder.problem().is_none(), "{status}");
    }
    let asked = server.asked();
    assert_eq!(embedder.embed(&setup.terms(), &"a".repeat(MAX_TEXT + 1)).await, Err(NoVector::Failed));
    assert_eq!(server.asked(), asked);
    server.replies(Reply::Vector(8));
    assert!(embedder.embed(&setup.terms(), &"a".repeat(MAX_TEXT)).await.is_ok());
}

/// A late vector ends the waiting, and its connection is there for the next one.
#[tokio::test]
async fn a_late_call_runs_to_its_end() {
    let server = Server::start(Reply::Vector(8)).await;
    let setup = Setup::new(&server.url(), Duration::from_millis(100), &[]);
    let embedder = setup.known().await;
    server.replies(Reply::Wait);
    assert_eq!(embedder.embed(&setup.terms(), "slow").await, Err(NoVector::TimedOut));
    assert!(!embedder.is_timely());
    // The same text again: the same call.
    let terms = Terms { timeout: LONG, ..setup.terms() };
    let (again, ()) = tokio::join!(embedder.embed(&terms, "slow"), async { server.open_gate(1) });
    assert_eq!((again, server.asked()), (made("slow", 8), 1));
    assert!(!embedder.is_timely(), "it came, but late");
    server.replies(Reply::Vector(8));
    assert!(embedder.embed(&terms, "fast").await.is_ok() && embedder.is_timely());
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn texts_beyond_the_bound_have_no_vector_at_once() {
    let server = Server::start(Reply::Vector(8)).await;
    let setup = Setup::new(&server.url(), LONG, &[]);
    let embedder = setup.known().await;
    server.replies(Reply::Wait);
    let texts: Vec<_> = (0..MAX_CALLS).map(|number| format!("text {number}")).collect();
    let terms = setup.terms();
    let waiting = join_all(texts.iter().map(|text| embedder.embed(&terms, text)));
    let beyond = async {
        eventually("all are asked", || server.asked() == MAX_CALLS).await;
        let beyond = embedder.embed(&terms, "one more").await;
        server.open_gate(MAX_CALLS);
        beyond
    };
    let (all, beyond) = tokio::join!(waiting, beyond);
    assert_eq!(beyond, Err(NoVector::Busy));
    assert!(all.iter().all(Result::is_ok));
    server.replies(Reply::Vector(8));
    assert!(embedder.embed(&terms, "one more").await.is_ok());
}

/// What tells embedders apart changes, and nothing of the former one is found in the store.
#[tokio::test]
async fn another_model_behind_the_same_name_is_noticed() {
    let server = Server::start(Reply::Vector(8)).await;
    let setup = Setup::new(&server.url(), LONG, &[]);
    let embedder = setup.known().await;
    let mut identities = embedder.identities();
    let first = embedder.identity().expect("an identity");
    assert!(first.starts_with("m/8/"), "{first}");
    assert_eq!(embedder.embed(&setup.terms(), "a").await, made("a", 8));
    // The same model: the identity stays.
    assert_eq!(embedder.calls.probe(LONG).await, Ok(()));
    assert!(!identities.has_changed().expect("an embedder"));
    // Another dimension: seen by the first vector, which has it looked at.
    server.replies(Reply::Vector(12));
    assert_eq!(embedder.embed(&setup.terms(), "b").await, Err(NoVector::Odd));
    tokio::time::timeout(LONG, identities.changed()).await.expect("in time").expect("a change");
    assert!(embedder.identity().is_some_and(|second| second.starts_with("m/12/")));
    assert_eq!(embedder.embed(&setup.terms(), "a").await, made("a", 12));
    // The same dimension: seen by the next probe.
    server.replies(Reply::Other(12));
    assert_eq!(embedder.calls.probe(LONG).await, Ok(()));
    tokio::time::timeout(LONG, identities.changed()).await.expect("in time").expect("a change");
    assert_eq!(embedder.embed(&setup.terms(), "a").await, made(&other("a"), 12));
}

/// Two texts in a row with one vector are looked at without waiting for the next probe.
#[tokio::test]
async fn an_embedder_that_begins_to_give_one_vector_is_found_out_soon() {
    let server = Server::start(Reply::Vector(64)).await;
    let setup = Setup::new(&server.url(), LONG, &[]);
    let embedder = setup.known().await;
    let mut identities = embedder.identities();
    server.replies(Reply::Same(64));
    for text in ["a", "b"] {
        assert_eq!(embedder.embed(&setup.terms(), text).await, made("", 64));
    }
    let gone = identities.wait_for(Option::is_none);
    tokio::time::timeout(LONG, gone).await.expect("in time").expect("an embedder");
}

/// An embedder that does not tell texts apart has no identity, from the probe on that shows it.
#[tokio::test]
async fn an_embedder_that_does_not_tell_texts_apart_is_none() {
    let server = Server::start(Reply::Vector(64)).await;
    let setup = Setup::new(&server.url(), LONG, &[]);
    let embedder = setup.known().await;
    let identity = embedder.identity();
    server.replies(Reply::Same(64));
    let told = embedder.calls.probe(LONG).await.expect_err("no embedder");
    assert!(told.contains("nearly the same vector"), "{told}");
    assert_eq!((embedder.identity(), embedder.is_timely()), (None, false));
    server.replies(Reply::Vector(64));
    assert_eq!(embedder.calls.probe(LONG).await, Ok(()));
    assert_eq!((embedder.identity(), embedder.is_timely()), (identity, true));
}

/// Two replicas whose probes differ by noise agree on one identity; another embedder is none of them.
#[tokio::test]
async fn replicas_agree_on_an_identity() {
    let server = Server::start(Reply::Vector(64)).await;
    let setup = Setup::new(&server.url(), LONG, &[]);
    let [one, two] = [setup.known().await, setup.known().await];
    let noisy: Vec<f32> =
        vector_of(identity::PROBE, 64).iter().enumerate().map(|(at, own)| own + (at % 3) as f32).collect();
    let noisy = Identity::new("m", &Vector::new(&noisy).expect("a vector"));
    two.calls.set_identity(noisy);
    let [first, second] = [&one, &two].map(|embedder| embedder.identity().expect("an identity"));
    assert_ne!(first, second);
    assert_eq!((one.recognises(&second), two.recognises(&first)), (Some(true), Some(true)));
    assert_eq!(one.identity(), two.identity());
    assert_eq!(one.identity(), Some(first.clone().min(second)));
    let other = Identity::new("m", &vector("another", 64)).to_string();
    for stranger in [other.as_str(), "", "m/64/00"] {
        assert_eq!(one.recognises(stranger), Some(false), "{stranger}");
    }
    server.replies(Reply::Hang);
    assert_eq!(setup.open().recognises(&first), None);
}

#[tokio::test]
async fn the_token_is_read_at_each_call() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    let write = |text: &str| fs::write(&file, text).expect("a file");
    let server = Server::start(Reply::Vector(8)).await;
    let path = file.to_str().expect("a path");
    let setup = Setup::new(&server.url(), LONG, &[("semantic.api_key_file", path)]);
    let refused = |why: &str| {
        let error = Endpoint::open(&endpoint(&setup)).expect_err(why).to_string();
        assert!(error.starts_with(&format!("semantic.api_key_file: {path}: ")), "{error}");
        error
    };
    refused("no file");
    for text in ["", " \n", "two words", "b\u{f6}se", "two\nlines"] {
        write(text);
        let error = refused(text);
        assert!(!error.contains("two") && error.contains("write it in one line"), "{error}");
    }
    write("one\n");
    let embedder = setup.known().await;
    for token in ["one", "two"] {
        write(token);
        assert!(embedder.embed(&setup.terms(), token).await.is_ok());
        let head = server.last_head().to_ascii_lowercase();
        assert!(head.contains(&format!("\r\nauthorization: bearer {token}")), "{head}");
    }
    fs::remove_file(Path::new(path)).expect("a file");
    assert_eq!(embedder.embed(&setup.terms(), "three").await, Err(NoVector::Failed));
    assert!(embedder.problem().is_some_and(|problem| problem.contains("semantic.api_key_file")));
}

fn endpoint(setup: &Setup) -> crate::config::ModelEndpoint {
    match setup.semantic().embeddings {
        EmbeddingSource::Endpoint(endpoint) => endpoint,
        EmbeddingSource::Local(_) => panic!("an endpoint"),
    }
}

#[test]
fn a_vector_has_a_key_of_its_text_its_embedder_and_the_settings() {
    const KEYS: [(&str, &str); 2] = [
        ("epoch", "2"),
        ("store.encryption_key", "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"),
    ];
    let setup = |url: &str, more: &[(&'static str, &str)]| Setup::new(url, LONG, more);
    let identities = ["one", "two"].map(|text| Identity::new("m", &vector(text, 8)));
    let mut keys = Vec::new();
    for setup in [
        setup("http://h/e", &[]),
        setup("http://h/f", &[]),
        setup("http://i/e", &[]),
        setup("http://h/e", &KEYS[..1]),
        setup("http://h/e", &KEYS[1..]),
    ] {
        let endpoint = Endpoint::open(&endpoint(&setup)).unwrap_or_else(|error| panic!("{error}"));
        for identity in &identities {
            for text in ["a", "b"] {
                keys.push(super::stored::key(&setup.context, &endpoint, identity, text).local());
            }
        }
        assert_eq!(
            super::stored::key(&setup.context, &endpoint, &identities[1], "b").local(),
            keys[keys.len() - 1]
        );
    }
    assert!(keys.iter().all(|key| key.starts_with("embedding:")));
    let count = keys.len();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), count);
}

//! sidecache between a client, a service that answers by topic, and an embeddings endpoint whose vectors the test chooses.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_json::{Value, json};

use crate::support::{
    Answer, Gate, Received, Script, Setup, Sidecache, Upstream, eventually,
    samples::{CHAT, chat_choice},
};

/// What questions can be about. The vectors of two topics have nothing in common.
pub(super) const TOPICS: [&str; 8] =
    ["refund", "password", "invoice", "delivery", "warranty", "newsletter", "voucher", "address"];

/// Words that make questions of one topic differ, and that no guard looks at.
const ANIMALS: [&str; 20] = [
    "otter", "badger", "heron", "salmon", "beetle", "rabbit", "pigeon", "weasel", "donkey", "lizard",
    "walrus", "magpie", "hamster", "ferret", "turtle", "panther", "gorilla", "buffalo", "penguin", "ostrich",
];
const FRUITS: [&str; 20] = [
    "mango", "cherry", "banana", "papaya", "apricot", "peach", "raisin", "quince", "melon", "lemon",
    "almond", "carrot", "tomato", "turnip", "radish", "celery", "lentil", "walnut", "pepper", "spinach",
];

/// How many dimensions vectors have: one for each topic, and one for each text that was seen.
const DIMENSIONS: usize = 700;

/// How much of a vector is its text's own: two texts of a topic have a similarity of 0.978.
const OWN: f64 = 0.15;

/// A question about a topic, in one of 400 wordings.
pub(crate) fn question(topic: &str, wording: usize) -> String {
    let (animal, fruit) = (ANIMALS[wording / 20 % 20], FRUITS[wording % 20]);
    format!("please tell me about my {topic} said the {animal} while it was eating the {fruit}")
}

/// A chat that asks this.
pub(crate) fn chat(text: &str) -> Value {
    json!({"model": "m", "messages": [{"role": "user", "content": text}]})
}

/// How the embeddings endpoint behaves.
#[derive(Clone, Debug)]
pub(super) enum Mood {
    Well,
    /// It answers once the gate is open.
    Slow(Gate),
    /// It breaks off connections.
    Dead,
    /// It answers with this status.
    Fails(u16),
    /// It answers with this in place of each vector.
    Odd(Value),
}

/// An embeddings endpoint.
pub(crate) struct Embeddings {
    pub(super) upstream: Upstream,
    mood: Arc<Mutex<Mood>>,
}

impl Embeddings {
    pub(crate) async fn start() -> Self {
        let mood = Arc::new(Mutex::new(Mood::Well));
        let current = Arc::clone(&mood);
        let seen = Mutex::new(HashMap::new());
        let upstream = Upstream::start(move |request| {
            let mood = current.lock().unwrap().clone();
            match mood {
                Mood::Well => vectors(request, |text| vector(text, &seen)),
                Mood::Slow(gate) => vectors(request, |text| vector(text, &seen)).after(&gate),
                Mood::Dead => Script::raw().reset(),
                Mood::Fails(status) => Script::json_with(status, &[], &json!({"error": {"message": "no"}})),
                Mood::Odd(odd) => vectors(request, |_| odd.clone()),
            }
        })
        .await;
        Self { upstream, mood }
    }

    pub(super) fn becomes(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    /// How many texts it was asked for.
    pub(super) fn calls(&self) -> usize {
        self.upstream.calls()
    }
}

/// The answer of the endpoint, with a vector for each input.
fn vectors(request: &Received, vector: impl Fn(&str) -> Value) -> Script {
    let asked = request.json();
    let texts: Vec<_> = match &asked["input"] {
        Value::String(text) => vec![text.as_str()],
        Value::Array(texts) => texts.iter().filter_map(Value::as_str).collect(),
        other => panic!("no input: {other}"),
    };
    let item = |(index, text): (usize, &&str)| json!({"object": "embedding", "index": index, "embedding": vector(text)});
    let data: Vec<_> = texts.iter().enumerate().map(item).collect();
    Script::json(&json!({"object": "list", "data": data, "model": asked["model"],
        "usage": {"prompt_tokens": 1, "total_tokens": 1}}))
}

/// The vector of a text: its topic, and a little of its own.
fn vector(text: &str, seen: &Mutex<HashMap<String, usize>>) -> Value {
    let mut seen = seen.lock().unwrap();
    let next = TOPICS.len() + 1 + seen.len();
    let own = *seen.entry(text.to_owned()).or_insert(next);
    assert!(own < DIMENSIONS, "too many texts");
    // What is about nothing has a topic, too. The text that no probe of an embedder is near has none.
    let nothing = (!text.contains("orchestra")).then_some(TOPICS.len());
    let topic = TOPICS.iter().position(|topic| text.contains(topic)).or(nothing);
    let component = |at: usize| match at {
        _ if Some(at) == topic => 1.0,
        _ if at == own => OWN,
        _ => 0.0,
    };
    (0..DIMENSIONS).map(component).collect::<Vec<f64>>().into()
}

/// What the service says.
#[derive(Debug, Default)]
pub(super) struct Service {
    /// What it says changes with this number.
    edition: AtomicUsize,
}

impl Service {
    /// From now on it says something else.
    pub(super) fn changes(&self) {
        self.edition.fetch_add(1, Ordering::Relaxed);
    }

    /// From now on it says again what it said at first.
    pub(super) fn settles(&self) {
        self.edition.store(0, Ordering::Relaxed);
    }

    /// Its answer to a question.
    pub(super) fn says(&self, text: &str) -> String {
        let topic = TOPICS.iter().find(|topic| text.contains(**topic)).unwrap_or(&"nothing");
        let edition = self.edition.load(Ordering::Relaxed);
        match edition {
            0 => format!("this is all about the {topic}"),
            // No two of these have the same number in them.
            _ => format!(
                "the {topic} has case {}",
                text.bytes().fold(0_u64, |sum, byte| sum * 31 % 1_000_003 + u64::from(byte))
            ),
        }
    }
}

/// The last user's text of a chat.
pub(super) fn asked(request: &Received) -> String {
    let body = request.json();
    let messages = body["messages"].as_array().cloned().unwrap_or_default();
    messages.last().and_then(|last| last["content"].as_str()).unwrap_or_default().to_owned()
}

/// All parts.
pub(super) struct World {
    pub(super) service: Arc<Service>,
    pub(super) upstream: Upstream,
    pub(super) embeddings: Embeddings,
    pub(super) sidecache: Sidecache,
}

impl World {
    /// With these lines under `[semantic]`, and these in its route.
    pub(super) async fn start(semantic: &str, route: &str) -> Self {
        Self::with(semantic, route, |script, _| script).await
    }

    /// Whose service answers as `change` makes of its usual answer.
    pub(super) async fn with(
        semantic: &str,
        route: &str,
        change: impl Fn(Script, &Received) -> Script + Send + Sync + 'static,
    ) -> Self {
        let service = Arc::<Service>::default();
        let told = Arc::clone(&service);
        let upstream = Upstream::start(move |request| {
            let message = json!({"role": "assistant", "content": told.says(&asked(request))});
            change(Script::json(&chat_choice(message, "stop")), request)
        })
        .await;
        let embeddings = Embeddings::start().await;
        let sidecache =
            Setup::to(&upstream.url()).config(&config(&embeddings, semantic, route)).admin().start().await;
        Self { service, upstream, embeddings, sidecache }
    }

    /// That serves by meaning from some 30 labels on, in time on a busy machine.
    pub(super) async fn serving(route: &str) -> Self {
        Self::start(SERVING, route).await
    }

    pub(super) async fn ask(&self, text: &str) -> Answer {
        self.sidecache.client().post(CHAT, &chat(text)).await
    }

    /// What the health page says of the route.
    pub(super) async fn route(&self) -> Value {
        self.sidecache.health().await["semantic"]["routes"][0].clone()
    }

    /// Waits until a member of the route's status has this value.
    pub(super) async fn until(&self, member: &str, value: Value) {
        let what = format!("{member} is {value}");
        eventually(&what, async || (self.route().await[member] == value).then_some(())).await;
    }

    /// Waits until so many questions are stored.
    pub(super) async fn stored(&self, count: usize) {
        let entries = async || self.sidecache.health().await["semantic"]["entries"] == json!(count);
        eventually(&format!("{count} questions"), async || entries().await.then_some(())).await;
    }

    /// Asks about a topic until hits are certified: one question that is stored, and others that it would have answered, fewer
    /// than 100. Returns how many questions that took.
    pub(super) async fn certify(&self, topic: &str) -> usize {
        self.certify_with(async |wording| self.ask(&question(topic, wording)).await).await
    }

    /// The same, with questions that somebody else asks.
    pub(super) async fn certify_with(&self, ask: impl AsyncFn(usize) -> Answer) -> usize {
        assert_eq!(ask(0).await.cache(), "MISS");
        let stored = async || self.sidecache.health().await["semantic"]["entries"].as_u64() > Some(0);
        eventually("a stored question", async || stored().await.then_some(())).await;
        for wording in 1..100 {
            assert_eq!(ask(wording).await.cache(), "MISS", "{wording}");
            self.until("labels", json!(wording)).await;
            if self.route().await["threshold"].is_number() {
                return wording + 1;
            }
        }
        panic!("nothing is certified: {}", self.route().await);
    }
}

/// Serves from some 30 labels on, and waits for vectors as long as a busy machine may need.
pub(crate) const SERVING: &str =
    "mode = \"serve\"\nmax_false_hits = \"20%\"\naudit = \"2.5%\"\ntimeout = \"5s\"";

/// A configuration file.
pub(crate) fn config(embeddings: &Embeddings, semantic: &str, route: &str) -> String {
    format!(
        "[semantic]\nembeddings = \"{}/v1/embeddings\"\nmodel = \"e\"\n{semantic}\n\
         [[route]]\nname = \"chat\"\nmatch = \"POST {CHAT}\"\nkind = \"query\"\nsemantic = true\n{route}\n",
        embeddings.upstream.url()
    )
}

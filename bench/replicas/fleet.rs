//! Replicas of sidecache on the same Redis, and what is asked of them.

use std::{fs::OpenOptions, io::Write, path::Path, thread, time::Duration};

use support::{
    client::Client,
    http::post,
    process::Listening,
    redis_servers::Servers,
    sidecache::{self, Options},
    upstream::{Plan, Upstream},
};

/// As by default.
const NEAR_MEMORY: &str = "64MiB";

/// Costs are counted here, not times: on a busy machine a miss in place of a hit would be counted too.
const PATIENT: &str = "[store]\ntimeout = \"5s\"\n";

const CHAT: &str = "/v1/chat/completions";

/// The replicas.
pub(crate) struct Fleet {
    replicas: Vec<Listening>,
}

impl Fleet {
    pub(crate) fn start(folder: &Path, upstream: &Upstream, servers: &Servers, count: usize) -> Self {
        let url = servers.url();
        let options = Options { near_memory: NEAR_MEMORY, ..Options::to(upstream.port) };
        let start = || {
            Listening::start("sidecache", |port| {
                let mut command = sidecache::command(folder, port, options);
                let settings = folder.join(format!("sidecache-{port}/sidecache.toml"));
                let mut settings = OpenOptions::new().append(true).open(settings).expect("its settings");
                settings.write_all(PATIENT.as_bytes()).expect("its settings");
                command.args(["--redis", &url]);
                command
            })
        };
        let fleet = Self { replicas: (0..count).map(|_| start()).collect() };
        fleet.until_all_hit();
        fleet
    }

    pub(crate) fn len(&self) -> usize {
        self.replicas.len()
    }

    /// A connection to the first one.
    pub(crate) fn first(&self) -> Client {
        Client::connect(self.replicas[0].port)
    }

    /// A connection to the last one, if that is another.
    pub(crate) fn last(&self) -> Option<Client> {
        (self.len() > 1).then(|| Client::connect(self.replicas[self.len() - 1].port))
    }

    /// Waits until each of them finds an answer on each of its threads: all connections are open then.
    fn until_all_hit(&self) {
        for replica in &self.replicas {
            let mut hits = 0;
            while hits < 8 {
                let mut client = Client::connect(replica.port);
                hits += usize::from(ask(&mut client, "first", false) == "HIT");
                thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

/// Asks a question, whose answer is stored or not; `X-Cache`.
pub(crate) fn ask(client: &mut Client, text: &str, no_store: bool) -> String {
    let plan = Plan { no_store, ..Plan::default() };
    let (answer, _) = client.ask(&post(CHAT, &plan.question(text)));
    assert_eq!(answer.status(), 200, "{text}");
    answer.x_cache().to_owned()
}

/// Changes a document, which invalidates what depends on it.
pub(crate) fn change(client: &mut Client, id: &str) {
    let request = String::from_utf8(post(&format!("/api/v1/documents/{id}"), "{}")).expect("text");
    let (answer, _) = client.ask(request.replacen("POST", "PUT", 1).as_bytes());
    assert_eq!(answer.status(), 200);
}

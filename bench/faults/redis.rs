//! The time of requests while Redis fails, the time until answers are stored again, and the number of log lines.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use tokio::runtime::Runtime;

use support::{
    client::Client,
    figures::{quantile, text},
    http::post,
    process::{self, Listening},
    sidecache::{self, Options},
    upstream::Plan,
};

use crate::{
    CHAT,
    test_support::{Action, Blackhole, FaultProxy, RedisServer},
};

/// What goes wrong.
#[derive(Clone, Copy)]
enum Fault {
    None,
    /// The process is killed: connections are refused.
    Killed,
    /// It is stopped, its connections open.
    Hung,
    /// From the start, the name is none; or nothing comes of connecting.
    Nameless,
    Blackhole,
    /// It has no room for more.
    Full,
    /// It is a replica.
    ReadOnly,
    /// What becomes of each command, by its name.
    Action(fn(&str) -> Action),
}

const fn late(by: u64) -> Action {
    Action::Delay(Duration::from_millis(by))
}

fn writes(name: &str, reply: &'static str) -> Action {
    if matches!(name, "SET" | "EVAL" | "EVALSHA" | "DEL") { Action::Reply(reply) } else { Action::Pass }
}

fn reads(name: &str, action: Action) -> Action {
    if matches!(name, "GET" | "MGET") { action } else { Action::Pass }
}

const FAULTS: &[(&str, Fault)] = &[
    ("well", Fault::None),
    ("refused, killed", Fault::Killed),
    ("DNS gone", Fault::Nameless),
    ("40 ms slow", Fault::Action(|_| late(40))),
    ("100 ms slow", Fault::Action(|_| late(100))),
    ("5 s slow", Fault::Action(|_| late(5000))),
    ("silent", Fault::Action(|_| Action::Hang)),
    ("hung (`SIGSTOP`)", Fault::Hung),
    ("blackholed: packets dropped", Fault::Blackhole),
    ("`NOAUTH` to everything", Fault::Action(|_| Action::Reply("-NOAUTH Authentication required.\r\n"))),
    ("`LOADING` to everything", Fault::Action(|_| Action::Reply("-LOADING Redis is loading\r\n"))),
    ("`MOVED` to everything", Fault::Action(|_| Action::Reply("-MOVED 1 127.0.0.1:1\r\n"))),
    ("`MISCONF` to everything", Fault::Action(|_| Action::Reply("-MISCONF cannot save\r\n"))),
    ("`MISCONF` to writes", Fault::Action(|name| writes(name, "-MISCONF cannot save\r\n"))),
    ("`OOM` to writes", Fault::Full),
    ("`READONLY` to writes", Fault::ReadOnly),
    ("`NOREPLICAS` to writes", Fault::Action(|name| writes(name, "-NOREPLICAS Not enough\r\n"))),
    (
        "`WRONGTYPE` to every `GET`",
        Fault::Action(|name| reads(name, Action::Reply("-WRONGTYPE wrong kind\r\n"))),
    ),
    ("a foreign value to every `GET`", Fault::Action(|name| reads(name, Action::Reply("$6\r\ntheirs\r\n")))),
    ("a stray reply, to one `GET` in 100", Fault::Action(stray)),
];

fn stray(name: &str) -> Action {
    if fastrand::u8(..100) == 0 { reads(name, Action::Duplicate) } else { Action::Pass }
}

/// A sidecache and its Redis, with a proxy between.
struct Site {
    runtime: Runtime,
    server: RedisServer,
    proxy: FaultProxy,
    blackhole: Option<Blackhole>,
}

impl Site {
    fn new(fault: Fault) -> Self {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build().expect("a runtime");
        let server = RedisServer::start();
        let proxy = runtime.block_on(FaultProxy::in_front_of(server.port()));
        let blackhole = matches!(fault, Fault::Blackhole).then(|| runtime.block_on(Blackhole::open()));
        Self { runtime, server, proxy, blackhole }
    }

    fn url(&self, fault: Fault) -> String {
        match (fault, &self.blackhole) {
            (_, Some(blackhole)) => blackhole.url(),
            // A label that is too long: nobody is asked for it (RFC 1035, 2.3.4).
            (Fault::Nameless, _) => format!("redis://{}.invalid", "a".repeat(64)),
            (Fault::Killed, _) => self.server.url(),
            _ => self.proxy.url(),
        }
    }

    fn begin(&mut self, fault: Fault) {
        match fault {
            Fault::None | Fault::Nameless | Fault::Blackhole => {}
            Fault::Killed => self.server.kill(),
            Fault::Hung => self.server.pause(),
            Fault::Full => drop(self.server.cli(&["CONFIG", "SET", "maxmemory", "1"])),
            Fault::ReadOnly => drop(self.server.cli(&["REPLICAOF", "127.0.0.1", "1"])),
            Fault::Action(rule) => self.proxy.apply(rule),
        }
    }

    fn end(&mut self, fault: Fault) {
        match fault {
            Fault::None | Fault::Nameless | Fault::Blackhole => {}
            Fault::Killed => self.server.restart(),
            Fault::Hung => self.server.resume(),
            Fault::Full => drop(self.server.cli(&["CONFIG", "SET", "maxmemory", "0"])),
            Fault::ReadOnly => drop(self.server.cli(&["REPLICAOF", "NO", "ONE"])),
            Fault::Action(_) => self.proxy.pass(),
        }
    }
}

/// What was seen of a fault.
struct Seen {
    /// All that was asked from its first moment.
    all: Vec<Duration>,
    /// The later half: by then what is to be given up was given up.
    later: Vec<Duration>,
    /// How soon after its end an answer is stored again; nothing where it has none.
    back: Option<Duration>,
    lines: usize,
}

/// Prints a row for each of the first `count` faults.
#[allow(clippy::print_stdout, reason = "the result")]
pub(crate) fn run(folder: &Path, upstream: u16, window: Duration, count: usize) {
    if !process::is_installed("redis-server") {
        return;
    }
    println!(
        "\n| Redis | p50 | p99 | worst | p50, later half | requests | hits back after | lines in the log |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    for &(name, fault) in FAULTS.iter().take(count) {
        let Seen { all, later, back, lines } = watch(folder, upstream, window, fault);
        let figure = |q| text(quantile(&all, q));
        let (median, p99, worst) = (figure(0.5), figure(0.99), figure(1.0));
        let (later, back) = (text(quantile(&later, 0.5)), back.map_or_else(String::new, text));
        println!("| {name} | {median} | {p99} | {worst} | {later} | {} | {back} | {lines} |", all.len());
    }
}

fn watch(folder: &Path, upstream: u16, window: Duration, fault: Fault) -> Seen {
    let mut site = Site::new(fault);
    let url = site.url(fault);
    let options = Options { log_level: "WARNING", ..Options::to(upstream) };
    let proxy = Listening::start("sidecache", |port| {
        let mut command = sidecache::command(folder, port, options);
        command.args(["--redis", &url]);
        command
    });
    let mut client = Client::connect(proxy.port);
    // It listens before it serves.
    client.ask(&new_question());
    let ends = !matches!(fault, Fault::Nameless | Fault::Blackhole);
    if ends {
        until_hit(&mut client);
        times(&mut client, window / 3);
    }
    site.begin(fault);
    let mut all = times(&mut client, window / 2);
    let later = times(&mut client, window / 2);
    all.extend(&later);
    let log = folder.join(format!("sidecache-{}/sidecache.log", proxy.port));
    let lines = fs::read_to_string(log).expect("its log").lines().count();
    site.end(fault);
    let back = ends.then(|| until_hit(&mut client));
    drop(proxy);
    site.runtime.shutdown_background();
    Seen { all, later, back, lines }
}

/// Asks new questions for a while: all are misses, whatever Redis does.
fn times(client: &mut Client, window: Duration) -> Vec<Duration> {
    let (began, mut times) = (Instant::now(), Vec::new());
    while began.elapsed() < window {
        let (response, took) = client.ask(&new_question());
        assert_eq!((response.status(), response.x_cache()), (200, "MISS"));
        times.push(took);
    }
    times
}

/// How long it takes until a question that is asked again and again is a hit.
fn until_hit(client: &mut Client) -> Duration {
    let (began, request) = (Instant::now(), new_question());
    while client.ask(&request).0.x_cache() != "HIT" {}
    began.elapsed()
}

fn new_question() -> Vec<u8> {
    post(CHAT, &Plan::default().question(&fastrand::u64(..).to_string()))
}

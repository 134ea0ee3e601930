//! A hundred times the callers that can be served: the rate of answers, the time of the 503s, and the recovery.

use std::{
    fs,
    path::Path,
    process::Command,
    sync::{Arc, Barrier},
    thread,
    time::{Duration, Instant},
};

use support::{
    binary,
    client::Client,
    figures::{quantile, text},
    http::post,
    process::Listening,
    upstream::Plan,
};

use crate::CHAT;

/// What the upstream is asked at once, and how long each answer takes: 80 a second.
const ROOM: usize = 8;
const ANSWER_MS: u64 = 100;

/// Callers for each place.
const CROWD: usize = 100;

/// What came of a while.
#[derive(Debug, Default)]
struct Seen {
    answered: Vec<Duration>,
    refused: Vec<Duration>,
}

/// Prints a row for what can be served, for the crowd, and for what can be served after it.
#[allow(clippy::print_stdout, reason = "the result")]
pub(crate) fn run(folder: &Path, upstream: u16, window: Duration) {
    let proxy = start(folder, upstream);
    println!(
        "\n| callers | answers a second | of the peak | p50 of an answer | 503s a second | p99 of a 503 |"
    );
    println!("| --- | --- | --- | --- | --- | --- |");
    let mut peak = None;
    for callers in [ROOM, ROOM * CROWD, ROOM] {
        let seen = ask(proxy.port, callers, window);
        let a_second = |times: &Vec<Duration>| times.len() as f64 / window.as_secs_f64();
        let answers = a_second(&seen.answered);
        let share = 100.0 * answers / *peak.get_or_insert(answers);
        let (median, refused) = (text(quantile(&seen.answered, 0.5)), a_second(&seen.refused));
        let slowest = text(quantile(&seen.refused, 0.99));
        println!("| {callers} | {answers:.1} | {share:.0} % | {median} | {refused:.0} | {slowest} |");
    }
}

fn start(folder: &Path, upstream: u16) -> Listening {
    Listening::start("sidecache", |port| {
        let home = folder.join(format!("load-{port}"));
        fs::create_dir_all(&home).expect("a folder of its own");
        // Time for all of a crowd to connect before the first asks.
        let settings = format!("[limits]\nmax_upstream_requests = {ROOM}\nheader_timeout = \"120s\"\n");
        fs::write(home.join("sidecache.toml"), settings).expect("its settings");
        let mut command = Command::new(binary::built());
        command.current_dir(&home).env_clear().env("ADMIN_LISTEN", "off");
        command.args(["--config", "sidecache.toml", "--log-level", "ERROR", "--log-file", "sidecache.log"]);
        command.args(["--listen", &format!("127.0.0.1:{port}")]);
        command.args(["--upstream", &format!("http://127.0.0.1:{upstream}")]);
        command
    })
}

/// `callers` ask new questions, each ten times a second and not before the last one was answered.
fn ask(port: u16, callers: usize, window: Duration) -> Seen {
    let together = Arc::new(Barrier::new(callers));
    let callers: Vec<_> = (0..callers)
        .map(|_| {
            let together = Arc::clone(&together);
            let caller = move || {
                let mut client = Client::connect(port);
                together.wait();
                call(&mut client, window)
            };
            thread::Builder::new().stack_size(256 * 1024).spawn(caller).expect("a thread")
        })
        .collect();
    let mut all = Seen::default();
    for caller in callers {
        let seen = caller.join().expect("answers");
        all.answered.extend(seen.answered);
        all.refused.extend(seen.refused);
    }
    all
}

fn call(client: &mut Client, window: Duration) -> Seen {
    let plan = Plan { delay_ms: ANSWER_MS, ..Plan::default() };
    let (began, mut seen) = (Instant::now(), Seen::default());
    while began.elapsed() < window {
        let next = Instant::now() + Duration::from_millis(ANSWER_MS);
        let (response, took) = client.ask(&post(CHAT, &plan.question(&fastrand::u64(..).to_string())));
        match response.status() {
            200 => seen.answered.push(took),
            503 => seen.refused.push(took),
            status => panic!("{status}"),
        }
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    seen
}

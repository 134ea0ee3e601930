//! The cases of a round.

use std::time::Duration;

use support::{
    http::{get, post},
    upstream::Plan,
};

use crate::client::Client;

/// Where everything listens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    /// The upstream.
    pub(crate) upstream: u16,
    /// A sidecache with the in-process store, which logs errors.
    pub(crate) memory: u16,
    /// The same, which logs every request.
    pub(crate) logging: u16,
    /// A sidecache of another version, where one is to be measured beside this one.
    pub(crate) before: Option<u16>,
    /// A sidecache with Redis, where that is installed.
    pub(crate) redis: Option<u16>,
    /// An nginx, where that is installed.
    pub(crate) nginx: Option<u16>,
}

/// What a case asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// A question that nobody asked before.
    New,
    /// The same question each time.
    Same,
    /// A new question, answered as a stream: how long until the first event.
    FirstEvent,
    /// A path that no route covers.
    Uncovered,
}

/// A case, and what was measured.
#[derive(Debug)]
pub(crate) struct Case {
    /// What the table calls it.
    pub(crate) name: &'static str,
    /// The direct call that stands beside it; `None` for that call itself.
    pub(crate) beside: Option<Ask>,
    /// What it asks.
    pub(crate) ask: Ask,
    /// What `X-Cache` must say for the case to be what its name says.
    expected: &'static str,
    prefix: &'static str,
    client: Client,
    /// One for each round.
    pub(crate) samples: Vec<Duration>,
}

impl Case {
    fn new(name: &'static str, port: u16, ask: Ask, expected: &'static str) -> Self {
        Self {
            name,
            beside: None,
            ask,
            expected,
            prefix: "",
            client: Client::connect(port),
            samples: Vec::new(),
        }
    }

    fn beside(self, direct: Ask) -> Self {
        Self { beside: Some(direct), ..self }
    }

    fn measure(&mut self, round: usize) -> Duration {
        let (request, streams) = match self.ask {
            Ask::New => (question(self.prefix, &format!("{round:08}"), false), false),
            Ask::Same => (question(self.prefix, "the same", false), false),
            // Not the text of a new question: an answer serves both forms.
            Ask::FirstEvent => (question(self.prefix, &format!("stream {round:08}"), true), true),
            Ask::Uncovered => (get(&format!("{}/models", self.prefix)), false),
        };
        let client = &mut self.client;
        let answered = if streams { client.follow(&request) } else { client.ask(&request) };
        let response = &answered.response;
        assert_eq!(response.status(), 200, "{}: {:?}", self.name, response.head);
        assert_eq!(response.x_cache(), self.expected, "{} in round {round}", self.name);
        if streams { answered.first_event } else { answered.took }
    }
}

/// A question of about 300 bytes.
fn question(prefix: &str, text: &str, stream: bool) -> Vec<u8> {
    let plan = Plan { stream, events: 2, gap_ms: 1, ..Plan::default() };
    let context = "Of all answers that a cache may give, which are safe?";
    post(&format!("{prefix}/v1/chat/completions"), &plan.question(&format!("{context} ({text})")))
}

/// All cases, each direct call before what stands beside it.
pub(crate) fn all(ports: &Ports) -> Vec<Case> {
    let &Ports { upstream, memory, logging, before, redis, nginx } = ports;
    let mut cases = vec![
        Case::new("direct: a question", upstream, Ask::New, ""),
        Case::new("miss, in-process store", memory, Ask::New, "MISS").beside(Ask::New),
        Case::new("miss, in-process store, request log on", logging, Ask::New, "MISS").beside(Ask::New),
        Case::new("hit, in-process store", memory, Ask::Same, "HIT").beside(Ask::New),
        Case::new("hit, in-process store, request log on", logging, Ask::Same, "HIT").beside(Ask::New),
    ];
    if let Some(redis) = redis {
        cases.push(Case::new("miss, Redis", redis, Ask::New, "MISS").beside(Ask::New));
        cases.push(Case::new("hit, Redis", redis, Ask::Same, "HIT").beside(Ask::New));
    }
    cases.extend([
        Case::new("direct: a stream's first event", upstream, Ask::FirstEvent, ""),
        Case::new("first event, miss", memory, Ask::FirstEvent, "MISS").beside(Ask::FirstEvent),
        Case::new("first event, miss, request log on", logging, Ask::FirstEvent, "MISS")
            .beside(Ask::FirstEvent),
        Case::new("direct: a GET", upstream, Ask::Uncovered, ""),
        Case::new("pass-through GET", memory, Ask::Uncovered, "PASS").beside(Ask::Uncovered),
    ]);
    if let Some(before) = before {
        cases.extend([
            Case::new("miss, the version before", before, Ask::New, "MISS").beside(Ask::New),
            Case::new("hit, the version before", before, Ask::Same, "HIT").beside(Ask::New),
            Case::new("first event, miss, the version before", before, Ask::FirstEvent, "MISS")
                .beside(Ask::FirstEvent),
        ]);
    }
    if let Some(nginx) = nginx {
        let passed = |name, ask| Case { prefix: "/uncached", ..Case::new(name, nginx, ask, "").beside(ask) };
        cases.push(passed("nginx without a cache: a question", Ask::New));
        cases.push(passed("nginx without a cache: first event", Ask::FirstEvent));
        cases.push(passed("nginx without a cache: a GET", Ask::Uncovered));
    }
    cases
}

/// Asks all cases, `rounds` times, `in_a_row` of them of each case in turn; each time in another order: a case's neighbours
/// are not always the same.
pub(crate) fn run(cases: &mut [Case], rounds: usize, in_a_row: usize) {
    // So that the first hit is one.
    for case in cases.iter_mut().filter(|case| case.ask == Ask::Same) {
        case.client.ask(&question("", "the same", false));
    }
    let warm_up = rounds / 10;
    let mut order: Vec<usize> = (0..cases.len()).collect();
    let mut random = fastrand::Rng::with_seed(1);
    let all: Vec<usize> = (0..warm_up + rounds).collect();
    for turn in all.chunks(in_a_row) {
        random.shuffle(&mut order);
        for &place in &order {
            let case = &mut cases[place];
            for &round in turn {
                let sample = case.measure(round);
                if round >= warm_up {
                    case.samples.push(sample);
                }
            }
        }
    }
}

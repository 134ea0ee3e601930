//! A comparison: several servers do the same work in turn, so that other work of the machine affects all alike.

use std::time::Duration;

use crate::sample::Sample;
use support::{figures::quantile, process::Listening};

use crate::{
    Scale,
    generator::{Load, Numbers},
    origin::Service,
    redis_benchmark::RedisBenchmark,
};

/// How long it may take to store all answers that must be hits.
const STORED_WITHIN: Duration = Duration::from_secs(3_600);

/// What is measured, and the servers.
#[derive(Debug)]
pub(crate) struct Comparison {
    /// Its name in the table.
    pub(crate) name: String,
    /// The servers; the first is compared with each of the others.
    pub(crate) contenders: Vec<Contender>,
    /// Processes that must run meanwhile.
    processes: Vec<Listening>,
}

/// A server that is measured.
#[derive(Debug)]
pub(crate) struct Contender {
    /// Its name in the table.
    pub(crate) name: String,
    /// The least ratio of the first one's rate to this one's, and the ratio that is the aim.
    pub(crate) bounds: Option<(f64, f64)>,
    /// A sample of each round.
    pub(crate) samples: Vec<Sample>,
    work: Work,
}

/// The work of a server.
#[derive(Debug)]
pub(crate) enum Work {
    /// Answers questions.
    Answers(Load),
    /// Answers `GET`s of the Redis protocol.
    Gets(RedisBenchmark),
}

impl Comparison {
    /// A comparison without servers.
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), contenders: Vec::new(), processes: Vec::new() }
    }

    /// Adds a server.
    pub(crate) fn with(mut self, name: &str, work: Work) -> Self {
        self.contenders.push(Contender { name: name.to_owned(), bounds: None, samples: Vec::new(), work });
        self
    }

    /// Sets the bounds of the last server.
    pub(crate) fn bounds(mut self, must: f64, aim: f64) -> Self {
        if let Some(last) = self.contenders.last_mut() {
            last.bounds = Some((must, aim));
        }
        self
    }

    /// Keeps `process` running until the case ends.
    pub(crate) fn keep(mut self, process: Listening) -> Self {
        self.processes.push(process);
        self
    }

    /// Measures each server in turn, in a random order in each round.
    pub(crate) fn run(&mut self, service: &Service, scale: &Scale) {
        for contender in &self.contenders {
            contender.work.warm_up(scale.window);
        }
        let mut order: Vec<usize> = (0..self.contenders.len()).collect();
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..scale.rounds {
            random.shuffle(&mut order);
            for &place in &order {
                let contender = &mut self.contenders[place];
                contender.samples.push(contender.work.measure(service, scale.window));
            }
        }
    }
}

impl Work {
    /// Stores all answers that must be hits, and then does the work for a while.
    pub(crate) fn warm_up(&self, window: Duration) {
        let Self::Answers(load) = self else { return };
        if let Numbers::Below(end) = load.numbers {
            Load { numbers: Numbers::all(0..end), ..load.clone() }.run(STORED_WITHIN);
        }
        load.run(window / 4);
    }

    fn measure(&self, service: &Service, window: Duration) -> Sample {
        match self {
            Self::Gets(benchmark) => benchmark.run(window),
            Self::Answers(load) => {
                let calls = service.calls();
                let heard = load.run(window);
                let answers = heard.times.len() as f64;
                Sample {
                    rate: answers / heard.took.as_secs_f64(),
                    p50: quantile(&heard.times, 0.5),
                    p99: quantile(&heard.times, 0.99),
                    wrong: heard.wrong,
                    calls: (service.calls() - calls) as f64 / answers,
                }
            }
        }
    }
}

//! A case: some who do the same work in turn, so that whatever else the machine does falls on all of them alike.

use std::time::Duration;

use crate::sample::Sample;
use crate::{
    Scale,
    generator::{Load, Numbers},
    origin::Service,
    redis_benchmark::RedisBenchmark,
    support::{figures::quantile, process::Listening},
};

/// How long it may take to ask each question that is to be a hit.
const STORED_WITHIN: Duration = Duration::from_secs(3_600);

/// What is measured, of whom.
#[derive(Debug)]
pub(crate) struct Case {
    /// What the table calls it.
    pub(crate) name: String,
    /// Those who are measured; the first is compared with each of the others.
    pub(crate) contenders: Vec<Contender>,
    /// What must run meanwhile.
    processes: Vec<Listening>,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Contender {
    /// What the table calls it.
    pub(crate) name: String,
    /// How many times its rate the first one's must be, and is to be.
    pub(crate) bounds: Option<(f64, f64)>,
    /// One for each round.
    pub(crate) samples: Vec<Sample>,
    work: Work,
}

/// What one does.
#[derive(Debug)]
pub(crate) enum Work {
    /// Answers questions.
    Answers(Load),
    /// Answers `GET`s of the Redis protocol.
    Gets(RedisBenchmark),
}

impl Case {
    /// One in which nobody takes part yet.
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), contenders: Vec::new(), processes: Vec::new() }
    }

    /// Adds one who takes part.
    pub(crate) fn with(mut self, name: &str, work: Work) -> Self {
        self.contenders.push(Contender { name: name.to_owned(), bounds: None, samples: Vec::new(), work });
        self
    }

    /// How many times the last one's rate the first one's must be, and is to be.
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

    /// Lets each work in turn, in an order of its own in each round.
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
    /// Has each question asked that is to be a hit, then all of it done for a while.
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

//! What `top` knows. Pure: the clocks are passed in.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::{figures::Interval, metrics::Metrics};
use crate::cli::requests::{Ended, Told};

/// What "now" means.
pub(super) const WINDOW: Duration = Duration::from_secs(10);

/// How many requests are kept to be shown.
const SHOWN: usize = 200;

/// What is learned while `top` runs.
#[derive(Debug)]
pub(super) enum News {
    Scraped(Result<Metrics, String>),
    Told(Told),
    /// Why no requests are told.
    NotTold(String),
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) url: String,
    /// The pages of the last [`WINDOW`], the oldest first.
    pages: VecDeque<(Instant, Metrics)>,
    /// The last requests, the newest first.
    pub(super) requests: VecDeque<Ended>,
    /// Requests that were not told.
    pub(super) missed: u64,
    /// Why there is no page now.
    pub(super) problem: Option<String>,
    pub(super) not_told: Option<String>,
}

impl State {
    /// Begins with a first page.
    pub(super) fn new(url: String, now: Instant, page: Metrics) -> Self {
        Self {
            url,
            pages: VecDeque::from([(now, page)]),
            requests: VecDeque::new(),
            missed: 0,
            problem: None,
            not_told: None,
        }
    }

    pub(super) fn learn(&mut self, now: Instant, news: News) {
        match news {
            News::Scraped(Ok(page)) => self.add(now, page),
            News::Scraped(Err(problem)) => self.problem = Some(problem),
            News::Told(Told::Missed(_, count)) => self.missed += count,
            News::Told(Told::Request(json)) => {
                self.not_told = None;
                if let Some(ended) = Ended::parse(&json) {
                    self.requests.truncate(SHOWN - 1);
                    self.requests.push_front(ended);
                }
            }
            News::NotTold(why) => self.not_told = Some(why),
        }
    }

    fn add(&mut self, now: Instant, page: Metrics) {
        self.problem = None;
        let start = |page: &Metrics| page.value("process_start_time_seconds");
        if self.pages.back().is_some_and(|(_, last)| start(last) != start(&page)) {
            // Another process counts from 0.
            self.pages.clear();
        }
        self.pages.push_back((now, page));
        while self.pages.len() > 2 && self.pages.get(1).is_some_and(|(at, _)| *at + WINDOW <= now) {
            self.pages.pop_front();
        }
    }

    /// The last page.
    pub(super) fn page(&self) -> &Metrics {
        static EMPTY: Metrics = Metrics::EMPTY;
        self.pages.back().map_or(&EMPTY, |(_, page)| page)
    }

    /// What happened lately; nothing while there is one page alone.
    pub(super) fn now(&self) -> Interval<'_> {
        let first = self.pages.front();
        let last = self.pages.back();
        let seconds = match (first, last) {
            (Some((from, _)), Some((to, _))) => to.duration_since(*from).as_secs_f64(),
            _ => 0.0,
        };
        Interval { from: Some(first.map_or(self.page(), |(_, page)| page)), to: self.page(), seconds }
    }

    /// What happened since the process began; `unix` are the seconds on the clock.
    pub(super) fn since_start(&self, unix: f64) -> Interval<'_> {
        Interval { from: None, to: self.page(), seconds: self.uptime(unix) }
    }

    /// In seconds.
    pub(super) fn uptime(&self, unix: f64) -> f64 {
        let start = self.page().value("process_start_time_seconds");
        start.map_or(0.0, |start| (unix - start).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(start: u64, requests: u64) -> Metrics {
        Metrics::parse(&format!(
            "process_start_time_seconds {start}\nsidecache_requests_total{{cache=\"hit\"}} {requests}\n"
        ))
    }

    #[test]
    fn rates_are_those_of_the_window() {
        let began = Instant::now();
        let at = |second| began + Duration::from_secs(second);
        let mut state = State::new("url".to_owned(), began, page(100, 1000));
        assert_eq!(state.now().requests_per_second(), 0.0, "one page says nothing of now");
        for second in 1..=60 {
            state.learn(at(second), News::Scraped(Ok(page(100, 1000 + 5 * second))));
            assert_eq!(state.now().requests_per_second(), 5.0, "{second}");
        }
        assert!(state.pages.len() <= 11, "{}", state.pages.len());
        assert_eq!(state.since_start(230.0).requests_per_second(), 10.0);
        state.learn(at(61), News::Scraped(Err("no answer".to_owned())));
        assert_eq!((state.problem.as_deref(), state.now().requests_per_second()), (Some("no answer"), 5.0));
        // It was started again.
        state.learn(at(62), News::Scraped(Ok(page(160, 3))));
        assert_eq!((state.problem.as_deref(), state.now().requests_per_second()), (None, 0.0));
        state.learn(at(63), News::Scraped(Ok(page(160, 10))));
        assert_eq!(state.now().requests_per_second(), 7.0);
    }

    #[test]
    fn the_last_requests_are_kept() {
        let mut state = State::new("url".to_owned(), Instant::now(), Metrics::default());
        state.learn(Instant::now(), News::NotTold("16 read already".to_owned()));
        for status in 0..500 {
            state.learn(Instant::now(), News::Told(Told::Request(format!("{{\"status\":{status}}}"))));
        }
        state.learn(Instant::now(), News::Told(Told::Missed(String::new(), 7)));
        assert_eq!((state.requests.len(), state.requests[0].status, state.missed), (SHOWN, 499, 7));
        assert_eq!(state.not_told, None);
    }
}

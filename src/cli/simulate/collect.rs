//! Makes a trace of the lines of a log.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::{
    line::{self, CacheInfo, Call, Line, Response},
    trace::{Answer, Request, Told, Trace},
};
use crate::{reason::Reason, store::SHARDS, time::micros};

/// What an entry takes in the in-process store besides its body, in bytes: the store's own overhead, a few headers, and
/// what the proxy notes of it. (The entries of a chat and of a query took 402 and 427.)
const BESIDE_BODY: u64 = 416;

/// The requests that are not replayed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LeftOut {
    /// Those on cached routes that did not ask the store.
    pub(super) bypassed: u64,
    /// Those for several inputs: the log does not have the key of each.
    pub(super) several_inputs: u64,
}

impl CacheInfo<'_> {
    /// The key of the entry that answered, or of the one that would have.
    fn entry(&self) -> Option<&str> {
        let key = if &*self.status == "SIMILAR" { &self.original } else { &self.key };
        key.as_ref().map(|key| &*key.0)
    }
}

/// Reads line after line.
#[derive(Debug, Default)]
pub(super) struct Collector {
    /// The routes that count; if empty, all of them.
    wanted: Vec<String>,
    /// The names of all routes in the log.
    pub(super) routes: BTreeSet<String>,
    pub(super) left_out: LeftOut,
    /// The hits by meaning, which are replayed as hits on the entries that were served.
    pub(super) by_meaning: u64,
    trace: Trace,
    /// The number of each answer, by a hash of its key.
    numbers: HashMap<u128, u32>,
    /// Of each request, a hash of its id.
    ids: Vec<u64>,
    /// What the calls of a request cost, by a hash of its id.
    costs: HashMap<u64, (f64, u32)>,
    /// Of each answer, the number of its route.
    answer_routes: Vec<u32>,
    route_numbers: HashMap<String, u32>,
    /// Of each route, how many hits told of which TTL in seconds.
    ttls: Vec<HashMap<i64, u64>>,
}

impl Collector {
    /// Collects the requests on the routes `wanted`; if there are none, all.
    pub(super) fn new(wanted: &[String]) -> Self {
        Self { wanted: wanted.to_vec(), ..Self::default() }
    }

    /// Takes a line of the log.
    ///
    /// # Errors
    /// A text for the user, if it cannot be read.
    pub(super) fn take(&mut self, line: &[u8]) -> Result<(), String> {
        match line::parse(line)? {
            Line::Response(response) => self.response(&response)?,
            Line::Call(call) => self.call(&call),
            Line::Other => {}
        }
        Ok(())
    }

    /// Takes an `http_response` line.
    ///
    /// # Errors
    /// A text for the user, if it cannot be read.
    fn response(&mut self, response: &Response<'_>) -> Result<(), String> {
        let Some((cache, kind)) =
            response.cache.as_ref().and_then(|cache| Some((cache, cache.kind.as_ref()?)))
        else {
            return Ok(());
        };
        let ended = response.ended()?;
        // Older logs do not name the route.
        let route = cache.route.as_ref().map_or(&*kind.0, |route| &*route.0);
        if !self.routes.contains(route) {
            self.routes.insert(route.to_owned());
        }
        if !self.wanted.is_empty() && !self.wanted.iter().any(|wanted| wanted == route) {
            return Ok(());
        }
        let told = told(cache, response.status_code);
        let (Some(told), Some(key)) = (told, cache.entry()) else {
            match told {
                None => self.left_out.bypassed += 1,
                Some(_) => self.left_out.several_inputs += 1,
            }
            return Ok(());
        };
        self.by_meaning += u64::from(&*cache.status == "SIMILAR");
        let answer = self.number(key.as_bytes(), route);
        let duration = i64::try_from(micros(response.duration())).unwrap_or(i64::MAX);
        let age = micros(Duration::from_secs(cache.age.unwrap_or(0)));
        self.learn(answer, told, response, duration);
        if let (Told::Hit, Some(age), Some(ttl)) = (told, cache.age, cache.ttl) {
            let route = self.answer_routes[answer as usize];
            // Both are rounded down.
            let ttl = ttl.saturating_add_unsigned(age).saturating_add(1);
            *self.ttls[route as usize].entry(ttl).or_default() += 1;
        }
        let at = ended.saturating_sub(duration);
        self.trace.requests.push(Request { at, duration, age, answer, told });
        self.ids.push(xxh3_64(response.request_id.as_bytes()));
        Ok(())
    }

    /// Takes an `llm_call` line.
    fn call(&mut self, call: &Call<'_>) {
        let Some((cost, currency)) = call.cost() else { return };
        let currencies = &mut self.trace.currencies;
        let known = currencies.iter().position(|known| known == currency);
        let number = known.unwrap_or_else(|| {
            currencies.push(currency.to_owned());
            currencies.len() - 1
        });
        let sum = self.costs.entry(xxh3_64(call.request_id.as_bytes())).or_default();
        *sum = (sum.0 + cost, number as u32);
    }

    /// The trace of all lines.
    pub(super) fn finish(self) -> Trace {
        let Self { mut trace, ids, costs, answer_routes, ttls, .. } = self;
        for (request, id) in trace.requests.iter().zip(&ids) {
            let answer = &mut trace.answers[request.answer as usize];
            answer.cost = costs.get(id).copied().or(answer.cost);
        }
        let usual = usual_duration(&trace);
        let lives: Vec<_> = ttls.iter().map(most_common).collect();
        for (answer, route) in trace.answers.iter_mut().zip(answer_routes) {
            answer.life = lives[route as usize];
            answer.size += BESIDE_BODY;
            if answer.took == 0 {
                answer.took = usual;
            }
        }
        trace.requests.sort_by_key(|request| request.at);
        trace
    }

    /// The number of the answer under `key`.
    fn number(&mut self, key: &[u8], route: &str) -> u32 {
        let next = self.trace.answers.len() as u32;
        let number = *self.numbers.entry(xxh3_128(key)).or_insert(next);
        if number == next {
            self.trace.answers.push(Answer { shard: shard(key), ..Answer::default() });
            let route = match self.route_numbers.get(route) {
                Some(number) => *number,
                None => {
                    let number = self.ttls.len() as u32;
                    self.route_numbers.insert(route.to_owned(), number);
                    self.ttls.push(HashMap::new());
                    number
                }
            };
            self.answer_routes.push(route);
        }
        number
    }

    /// Notes what a response says of its answer.
    fn learn(&mut self, answer: u32, told: Told, response: &Response<'_>, duration: i64) {
        let answer = &mut self.trace.answers[answer as usize];
        // The answer to a HEAD, a 304 and a part are shorter than what is stored.
        answer.size = answer.size.max(response.bytes);
        if matches!(told, Told::Miss | Told::Refresh) {
            answer.took = duration;
        }
    }
}

/// How a covered request was answered; `None` if it did not ask the store, and stored nothing.
fn told(cache: &CacheInfo<'_>, status: u16) -> Option<Told> {
    let reason = cache.reason.as_ref().map(|reason| &*reason.0);
    let is_success = (200..300).contains(&status) || status == 304;
    match &*cache.status {
        "HIT" | "SIMILAR" => Some(Told::Hit),
        "STALE" => Some(Told::Stale),
        "MISS" | "PARTIAL" | "COALESCED" if reason.is_some() || !is_success => Some(Told::NotStored),
        "MISS" | "PARTIAL" => Some(Told::Miss),
        "COALESCED" => Some(Told::Joined),
        "BYPASS" if reason == Some(Reason::RequestNoCache.as_str()) && is_success && cache.key.is_some() => {
            Some(Told::Refresh)
        }
        _ => None,
    }
}

/// The shard of a key: by the last byte of its hash, with which the key ends in hexadecimal digits.
fn shard(key: &[u8]) -> u8 {
    let last = key.last_chunk::<2>().and_then(|digits| std::str::from_utf8(digits).ok());
    let byte = last.and_then(|digits| u8::from_str_radix(digits, 16).ok()).unwrap_or_default();
    byte % SHARDS as u8
}

/// How long a call of the upstream usually took.
fn usual_duration(trace: &Trace) -> i64 {
    let calls = trace.requests.iter().filter(|request| request.told == Told::Miss);
    let (sum, count) = calls.fold((0, 0), |(sum, count), call| (sum + call.duration, count + 1));
    sum / count.max(1)
}

/// The TTL in microseconds that most of a route's hits told of; 0 where it had no hit.
fn most_common(ttls: &HashMap<i64, u64>) -> i64 {
    let most = ttls.iter().max_by_key(|(ttl, count)| (**count, **ttl));
    most.map_or(0, |(ttl, _)| ttl.saturating_mul(1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An `http_response` line of the request `id`, which ended `second` seconds after midnight and took one.
    fn line(id: &str, second: u32, status: u16, cache: &str) -> String {
        format!(
            r#"{{"timestamp":"1970-01-01T00:00:{second:02}.000Z","event_type":"http_response","request_id":"{id}",
            "status_code":{status},"duration_ms":1000.0,"bytes":100,"cache":{{{cache}}}}}"#
        )
    }

    fn call(id: &str, cost: &str) -> String {
        format!(r#"{{"event_type":"llm_call","request_id":"{id}","cost":{cost},"currency":"USD"}}"#)
    }

    fn collect(wanted: &[&str], lines: &[String]) -> Collector {
        let wanted: Vec<_> = wanted.iter().map(|&name| name.to_owned()).collect();
        let mut collector = Collector::new(&wanted);
        for line in lines {
            collector.take(line.as_bytes()).expect("a line");
        }
        collector
    }

    const KEY: &str = r#""kind":"query","key":"ns:query:1","route":"ask""#;

    #[test]
    fn each_status_is_told_as_health_counts_it() {
        for (status, reason, code, expected) in [
            ("HIT", None, 200, Some(Told::Hit)),
            ("HIT", None, 304, Some(Told::Hit)),
            ("STALE", None, 200, Some(Told::Stale)),
            ("MISS", None, 200, Some(Told::Miss)),
            ("MISS", Some("truncated"), 200, Some(Told::NotStored)),
            ("MISS", Some("status"), 500, Some(Told::NotStored)),
            ("MISS", None, 504, Some(Told::NotStored)),
            ("COALESCED", None, 200, Some(Told::Joined)),
            ("COALESCED", Some("no-store"), 200, Some(Told::NotStored)),
            ("BYPASS", Some("request-no-cache"), 200, Some(Told::Refresh)),
            ("BYPASS", Some("request-no-cache"), 500, None),
            ("BYPASS", Some("request-no-store"), 200, None),
            ("BYPASS", Some("ttl-zero"), 200, None),
        ] {
            let reason = reason.map(|reason| format!(r#","reason":"{reason}""#)).unwrap_or_default();
            let cache = format!(r#""status":"{status}",{KEY}{reason}"#);
            let collector = collect(&[], &[line("r", 10, code, &cache)]);
            let bypassed = u64::from(expected.is_none());
            assert_eq!(collector.left_out, LeftOut { bypassed, several_inputs: 0 }, "{cache}");
            let received = collector.finish().requests.first().map(|request| request.told);
            assert_eq!(received, expected, "{cache}");
        }
        let several = r#""status":"PARTIAL","kind":"embedding","detail":"hits=3/8""#;
        let passed = r#""status":"PASS","reason":"no-route""#;
        let collector = collect(&[], &[line("r", 10, 200, several), line("r", 11, 200, passed)]);
        assert_eq!(collector.left_out, LeftOut { bypassed: 0, several_inputs: 1 });
        assert!(collector.finish().requests.is_empty());
    }

    #[test]
    fn an_answer_has_its_size_its_duration_its_ttl_and_its_cost() {
        let hit = format!(r#""status":"HIT",{KEY},"age":3,"ttl":1796"#);
        let other = r#""status":"HIT","kind":"query","key":"ns:query:2","route":"ask","age":0,"ttl":5"#;
        let lines = [
            line("hit", 9, 200, &hit),
            line("hit-2", 8, 200, &hit),
            call("miss", "0.25"),
            call("miss", "\"0.5\""),
            line("miss", 5, 200, &format!(r#""status":"MISS",{KEY}"#)),
            line("other", 7, 200, other),
        ];
        let trace = collect(&[], &lines).finish();
        // In the order in which they came.
        let times: Vec<_> = trace.requests.iter().map(|request| request.at / 1_000_000).collect();
        assert_eq!((times, trace.currencies), (vec![4, 6, 7, 8], vec!["USD".to_owned()]));
        let [first, second] = trace.answers[..] else { panic!("{:?}", trace.answers) };
        assert_eq!((first.size, first.took), (100 + BESIDE_BODY, 1_000_000));
        assert_eq!((first.life, first.cost), (1_800_000_000, Some((0.75, 0))));
        // Of the other one no call is in the log, but of its route.
        assert_eq!((second.took, second.life, second.cost), (1_000_000, 1_800_000_000, None));
    }

    #[test]
    fn a_hit_by_meaning_is_a_hit_on_the_entry_that_was_served() {
        let similar = r#""status":"SIMILAR","kind":"query","key":"ns:query:2","original":"ns:query:1","route":"ask","age":1,"ttl":5"#;
        let lines = [line("a", 10, 200, &format!(r#""status":"MISS",{KEY}"#)), line("b", 12, 200, similar)];
        let collector = collect(&[], &lines);
        assert_eq!((collector.by_meaning, collector.left_out), (1, LeftOut::default()));
        let trace = collector.finish();
        assert_eq!(trace.answers.len(), 1);
        assert_eq!(trace.requests[1].told, Told::Hit);
    }

    #[test]
    fn only_the_wanted_routes_count() {
        let lines = [
            line("a", 10, 200, &format!(r#""status":"MISS",{KEY}"#)),
            line("b", 10, 200, r#""status":"MISS","kind":"query","key":"ns:query:2","route":"tell""#),
            line("c", 10, 200, r#""status":"MISS","kind":"document","key":"ns:document:3""#),
        ];
        for (wanted, count) in [(&[][..], 3), (&["ask"], 1), (&["ask", "document"], 2), (&["x"], 0)] {
            let collector = collect(wanted, &lines);
            assert_eq!(collector.routes.iter().collect::<Vec<_>>(), ["ask", "document", "tell"]);
            assert_eq!(collector.finish().requests.len(), count, "{wanted:?}");
        }
    }
}

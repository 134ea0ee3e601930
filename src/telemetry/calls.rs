//! Counters of model calls: the tokens and the money that they took, or that hits saved.

use super::stats::counter::Counter;
use crate::{
    cache::{price::Amount, route::kind::Kind},
    dialect::usage::Usage,
};

/// Where an answer came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AnsweredBy {
    /// The upstream: the call was made.
    Upstream,
    /// The store: the call was saved.
    Store,
}

impl AnsweredBy {
    pub(crate) const ALL: [Self; 2] = [Self::Upstream, Self::Store];
}

/// Tokens by what they cost: none of them is counted twice.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    /// Of questions, without the next ones.
    pub(crate) input: Counter,
    /// Of questions, as far as the provider's own prompt cache had them.
    pub(crate) cached_input: Counter,
    /// Of answers.
    pub(crate) output: Counter,
}

impl Tokens {
    fn add(&self, usage: &Usage) {
        let cached = usage.cached.unwrap_or(0).min(usage.input());
        self.input.add(usage.input() - cached);
        self.cached_input.add(cached);
        self.output.add(usage.output());
    }
}

/// A sum of money. Both numbers only grow, and the second one by less than a millionth of the unit at a time.
#[derive(Debug, Default)]
struct Money {
    millionths: Counter,
    rest: Counter,
}

impl Money {
    fn add(&self, amount: Amount) {
        let (millionths, rest) = amount.split();
        self.millionths.add(millionths);
        self.rest.add(rest);
    }

    fn get(&self) -> Amount {
        Amount::new(self.millionths.get(), self.rest.get())
    }
}

/// The calls that one thread counted.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    tokens: [[Tokens; AnsweredBy::ALL.len()]; Kind::ALL.len()],
    money: [Money; AnsweredBy::ALL.len()],
}

impl Calls {
    /// Counts an answer that took `usage`, and what that costs.
    pub(crate) fn count(&self, kind: Kind, by: AnsweredBy, usage: &Usage, cost: Option<Amount>) {
        self.tokens(kind, by).add(usage);
        if let Some(cost) = cost {
            self.money[by as usize].add(cost);
        }
    }

    pub(crate) fn tokens(&self, kind: Kind, by: AnsweredBy) -> &Tokens {
        &self.tokens[kind as usize][by as usize]
    }

    pub(crate) fn cost(&self, by: AnsweredBy) -> Amount {
        self.money[by as usize].get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cache::price::Currency, telemetry::stats::Stats};

    #[test]
    fn each_token_is_counted_once_by_kind_source_and_type() {
        let calls = Calls::default();
        let usage = Usage {
            prompt: Some(10),
            cached: Some(4),
            cache_write: Some(3),
            completion: Some(2),
            total: Some(12),
        };
        calls.count(Kind::Query, AnsweredBy::Upstream, &usage, None);
        calls.count(Kind::Query, AnsweredBy::Upstream, &usage, None);
        calls.count(Kind::Embedding, AnsweredBy::Store, &Usage { total: Some(5), ..Usage::default() }, None);
        // More cached than there was: no count is less than nothing.
        calls.count(Kind::Other, AnsweredBy::Store, &Usage { cached: Some(9), ..Usage::default() }, None);
        for kind in Kind::ALL {
            for by in AnsweredBy::ALL {
                let Tokens { input, cached_input, output } = calls.tokens(kind, by);
                let expected = match (kind, by) {
                    (Kind::Query, AnsweredBy::Upstream) => [12, 8, 4],
                    (Kind::Embedding, AnsweredBy::Store) => [5, 0, 0],
                    _ => [0, 0, 0],
                };
                assert_eq!([input, cached_input, output].map(Counter::get), expected, "{kind} {by:?}");
            }
        }
    }

    #[test]
    fn money_of_all_threads_is_told_once_there_is_a_currency() {
        let stats = Stats::default();
        let cost = Some(Amount::new(1, 500_000));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                let count = || {
                    let calls = &stats.here().calls;
                    for _ in 0..1000 {
                        calls.count(Kind::Query, AnsweredBy::Store, &Usage::default(), cost);
                    }
                    calls.count(Kind::Query, AnsweredBy::Upstream, &Usage::default(), cost);
                };
                scope.spawn(count);
            }
        });
        assert!(!stats.cache_section().contains_key("cost_saved"));
        let [usd, eur] = ["USD", "EUR"].map(|name| Currency::parse(name).expect("a currency"));
        assert_eq!(stats.count_in(None), Ok(()));
        assert_eq!(stats.count_in(Some(usd)), Ok(()));
        assert_eq!(stats.count_in(Some(eur)), Err(usd));
        let section = stats.cache_section();
        assert_eq!((&section["cost_saved"], &section["cost_spent"]), (&0.006.into(), &0.000_006.into()));
        assert_eq!(section["currency"], "USD");
    }
}

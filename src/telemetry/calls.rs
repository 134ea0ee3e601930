//! Counters of model calls: the tokens and the money that they took, or that hits saved.

use std::{array, sync::OnceLock};

use super::stats::counter::Counter;
use crate::{
    cache::{model::ModelNumber, price::Amount, route::kind::Kind},
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

/// The types of tokens, by what they cost: those of questions without the next ones, those that the provider's own
/// prompt cache had, and those of answers. None is counted twice.
pub(crate) const TOKEN_TYPES: [&str; 3] = ["input", "cached_input", "output"];

/// Tokens by their types.
#[derive(Debug, Default)]
struct Tokens([Counter; TOKEN_TYPES.len()]);

impl Tokens {
    fn add(&self, usage: &Usage) {
        let cached = usage.cached.unwrap_or(0).min(usage.input());
        let counts = [usage.input() - cached, cached, usage.output()];
        self.0.iter().zip(counts).for_each(|(counter, count)| counter.add(count));
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

/// The most models that are counted apart, with a place for all others.
pub(crate) const MAX_MODELS: usize = 256;

/// Which counters a call belongs to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallLabels {
    pub(crate) model: ModelNumber,
    pub(crate) kind: Kind,
    pub(crate) by: AnsweredBy,
}

/// The calls of a model that one thread counted.
#[derive(Debug, Default)]
struct ModelCalls {
    tokens: [[Tokens; AnsweredBy::ALL.len()]; Kind::ALL.len()],
    money: [Money; AnsweredBy::ALL.len()],
}

/// The calls that one thread counted, by the numbers of their models.
#[derive(Debug)]
pub(crate) struct Calls(Box<[OnceLock<Box<ModelCalls>>]>);

impl Default for Calls {
    fn default() -> Self {
        Self((0..MAX_MODELS).map(|_| OnceLock::new()).collect())
    }
}

impl Calls {
    /// Counts an answer that took `usage`, and what that costs.
    pub(crate) fn count(&self, labels: CallLabels, usage: &Usage, cost: Option<Amount>) {
        let CallLabels { model, kind, by } = labels;
        let Some(calls) = self.0.get(usize::from(model.0)) else { return };
        let calls = calls.get_or_init(Box::default);
        calls.tokens[kind as usize][by as usize].add(usage);
        if let Some(cost) = cost {
            calls.money[by as usize].add(cost);
        }
    }

    /// The tokens of a model (`None`: of all), in the order of [`TOKEN_TYPES`].
    pub(crate) fn tokens(
        &self,
        model: Option<usize>,
        kind: Kind,
        by: AnsweredBy,
    ) -> [u64; TOKEN_TYPES.len()] {
        array::from_fn(|place| {
            let counters = self.of(model).map(|calls| &calls.tokens[kind as usize][by as usize].0[place]);
            counters.map(Counter::get).sum()
        })
    }

    /// What the answers of a model (`None`: of all) cost.
    pub(crate) fn cost(&self, model: Option<usize>, by: AnsweredBy) -> Amount {
        self.of(model).map(|calls| calls.money[by as usize].get()).sum()
    }

    fn of(&self, model: Option<usize>) -> impl Iterator<Item = &ModelCalls> {
        let models = match model {
            Some(number) => self.0.get(number..=number).unwrap_or_default(),
            None => &self.0,
        };
        models.iter().filter_map(OnceLock::get).map(Box::as_ref)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cache::price::Currency, telemetry::stats::Stats};

    fn labels(model: u16, kind: Kind, by: AnsweredBy) -> CallLabels {
        CallLabels { model: ModelNumber(model), kind, by }
    }

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
        calls.count(labels(0, Kind::Query, AnsweredBy::Upstream), &usage, None);
        calls.count(labels(7, Kind::Query, AnsweredBy::Upstream), &usage, None);
        let five = Usage { total: Some(5), ..Usage::default() };
        calls.count(labels(0, Kind::Embedding, AnsweredBy::Store), &five, None);
        // More cached than there was: no count is less than nothing.
        let odd = Usage { cached: Some(9), ..Usage::default() };
        calls.count(labels(0, Kind::Other, AnsweredBy::Store), &odd, None);
        calls.count(labels(u16::MAX, Kind::Query, AnsweredBy::Upstream), &usage, None);
        assert_eq!(calls.tokens(Some(7), Kind::Query, AnsweredBy::Upstream), [6, 4, 2]);
        assert_eq!(calls.tokens(Some(8), Kind::Query, AnsweredBy::Upstream), [0, 0, 0]);
        for kind in Kind::ALL {
            for by in AnsweredBy::ALL {
                let expected = match (kind, by) {
                    (Kind::Query, AnsweredBy::Upstream) => [12, 8, 4],
                    (Kind::Embedding, AnsweredBy::Store) => [5, 0, 0],
                    _ => [0, 0, 0],
                };
                assert_eq!(calls.tokens(None, kind, by), expected, "{kind} {by:?}");
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
                        calls.count(labels(1, Kind::Query, AnsweredBy::Store), &Usage::default(), cost);
                    }
                    calls.count(labels(0, Kind::Query, AnsweredBy::Upstream), &Usage::default(), cost);
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

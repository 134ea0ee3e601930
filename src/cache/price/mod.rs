//! What calls of models cost: the `[[price]]` tables, and the sum for the tokens of an answer. Pure.
//!
//! All is counted in whole numbers, so that sums are exact: a price for a million tokens has six decimals at most, and
//! the cost of any number of tokens is a whole number of 10⁻¹² of the currency's unit.

#[cfg(test)]
mod tests;

use std::{
    iter,
    ops::{Add, Sub},
};

use crate::{cache::model::ModelPattern, dialect::usage::Usage};

/// How many parts the unit of a currency is counted in.
const PARTS: u128 = 1_000_000_000_000;

/// What a token costs, in 10⁻¹² of the currency's unit; for a million tokens, in 10⁻⁶ of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rate(u64);

/// How many decimals a price for a million tokens has at most.
pub(crate) const DECIMALS: usize = 6;

/// The highest price for a million tokens.
pub(crate) const HIGHEST: u64 = 1_000_000_000;

impl Rate {
    /// The rate of a price for a million tokens: digits, and at most [`DECIMALS`] behind a dot; `None` for any other
    /// text, and for more than [`HIGHEST`].
    pub(crate) fn per_million(text: &str) -> Option<Self> {
        let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
        let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(whole) || !is_number(decimals) || decimals.len() > DECIMALS {
            return None;
        }
        let whole: u64 = whole.parse().ok().filter(|whole| *whole <= HIGHEST)?;
        let decimals: u64 = format!("{decimals:0<DECIMALS$}").parse().ok()?;
        Some(Self(whole * 1_000_000 + decimals))
    }

    /// The price for a million tokens.
    pub(crate) fn for_a_million(self) -> Amount {
        self.of(1_000_000)
    }

    fn of(self, tokens: u64) -> Amount {
        Amount(u128::from(self.0) * u128::from(tokens))
    }
}

/// An amount of money, in 10⁻¹² of the currency's unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Amount(u128);

impl Amount {
    /// This many millionths of the unit, and this many 10⁻¹² of it.
    pub(crate) fn new(millionths: u64, rest: u64) -> Self {
        Self(u128::from(millionths) * Self::PARTS_OF_MILLIONTH + u128::from(rest))
    }

    const PARTS_OF_MILLIONTH: u128 = PARTS / 1_000_000;

    /// The whole millionths of the unit, and the 10⁻¹² of it beyond them: two numbers that can be counted.
    pub(crate) fn split(self) -> (u64, u64) {
        const PARTS: u64 = Amount::PARTS_OF_MILLIONTH as u64;
        match u64::try_from(self.0) {
            // What one answer costs; a division of 128 bits takes long.
            Ok(small) => (small / PARTS, small % PARTS),
            Err(_) => {
                let millionths = u64::try_from(self.0 / Self::PARTS_OF_MILLIONTH).unwrap_or(u64::MAX);
                (millionths, (self.0 % Self::PARTS_OF_MILLIONTH) as u64)
            }
        }
    }

    /// The amount as JSON has it, in units of the currency.
    pub(crate) fn units(self) -> f64 {
        self.0 as f64 / PARTS as f64
    }
}

impl Add for Amount {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sub for Amount {
    type Output = Self;

    /// Never less than nothing.
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl iter::Sum for Amount {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::default(), Add::add)
    }
}

/// What the tokens of a model cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Price {
    /// The models that it is for.
    pub(crate) model: ModelPattern,
    /// The tokens of a question that are not among the next two.
    pub(crate) input: Rate,
    /// Those that the provider's own prompt cache had.
    pub(crate) cached_input: Rate,
    /// Those that the provider wrote to its prompt cache.
    pub(crate) cache_write: Rate,
    /// The tokens of an answer.
    pub(crate) output: Rate,
}

impl Price {
    /// For the models that `model` names, `*` for any text. What the provider's prompt cache reads and writes costs as
    /// much as other input.
    pub(crate) fn new(model: &str, input: Rate, output: Rate) -> Self {
        Self { model: ModelPattern::new(model), input, cached_input: input, cache_write: input, output }
    }
}

/// What the tokens of `usage` cost.
pub(crate) fn cost(usage: &Usage, price: &Price) -> Amount {
    let input = usage.input();
    let cached = usage.cached.unwrap_or(0).min(input);
    let written = usage.cache_write.unwrap_or(0).min(input - cached);
    price.input.of(input - cached - written)
        + price.cached_input.of(cached)
        + price.cache_write.of(written)
        + price.output.of(usage.output())
}

/// The prices of a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Prices {
    list: Vec<Price>,
    currency: Option<Currency>,
}

/// The name of a currency: three capital letters (ISO 4217).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Currency([u8; 3]);

impl Currency {
    /// `None` if `text` is no name of a currency.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let letters: [u8; 3] = text.as_bytes().try_into().ok()?;
        letters.iter().all(u8::is_ascii_uppercase).then_some(Self(letters))
    }

    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl Prices {
    /// Prices in one currency.
    pub(crate) fn new(list: Vec<Price>, currency: Currency) -> Self {
        Self { currency: Some(currency).filter(|_| !list.is_empty()), list }
    }

    /// `None` if there are no prices.
    pub(crate) const fn currency(&self) -> Option<Currency> {
        self.currency
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Price> {
        self.list.iter()
    }

    /// What an answer of `model` costs, by the first price that is for it; `None` if none is, or if the answer does not
    /// tell its usage.
    pub(crate) fn cost(&self, model: &str, usage: &Usage) -> Option<Amount> {
        let price = self.list.iter().find(|price| price.model.matches(model))?;
        (*usage != Usage::default()).then(|| cost(usage, price))
    }
}

//! Reads the `[[price]]` tables.

use std::path::Path;

use super::{
    error::Faults,
    quote::quote,
    settings::PRICE_KEYS,
    table_reader::TableReader,
    value::{TEXT, Table, Value},
};
use crate::cache::price::{Currency, DECIMALS, HIGHEST, Price, Prices, Rate};

/// Reads the tables. All must be in the currency of the first one: only then do sums of costs mean something.
pub(super) fn read(path: &Path, tables: &[Table], faults: &mut Faults) -> Prices {
    let mut prices: Vec<Price> = Vec::new();
    let mut common: Option<(Currency, usize)> = None;
    for table in tables {
        let mut reader = TableReader { path, table, name: "price", faults };
        reader.refuse_unknown(&PRICE_KEYS);
        let (price, currency) = reader.price();
        let line = |key| reader.entry(key).map_or(table.line, |entry| entry.line);
        if let Some(currency) = currency {
            let line = line("currency");
            let (first, at) = *common.get_or_insert((currency, line));
            if currency != first {
                let (own, first) = (currency.as_str(), first.as_str());
                let message = format!(
                    "price.currency: is {own}, and {first} in line {at}; write all prices in one currency, \
                     so that their sums mean something"
                );
                reader.faults.add_in_file(path, line, &message);
            }
        }
        let Some(price) = price else { continue };
        if prices.iter().any(|own| own.model == price.model) {
            let message =
                format!("price.model: {} has a price already; leave one out", quote(price.model.as_str()));
            let line = reader.entry("model").map_or(table.line, |entry| entry.line);
            reader.faults.add_in_file(path, line, &message);
        }
        prices.push(price);
    }
    common.map(|(currency, _)| Prices::new(prices, currency)).unwrap_or_default()
}

impl TableReader<'_> {
    /// The price, and its currency. Reads every key, so that all faults are reported.
    fn price(&mut self) -> (Option<Price>, Option<Currency>) {
        let model = self.need("model", "\"gpt-4o*\"", TEXT.parse);
        let input = self.need("input", "2.50", rate);
        let cached_input = self.take("cached_input", rate);
        let cache_write = self.take("cache_write", rate);
        let output = self.need("output", "10.00", rate);
        let currency = self.need("currency", "\"USD\"", currency);
        let price = model.zip(input).zip(output).map(|((model, input), output)| {
            let mut price = Price::new(&model, input, output);
            price.cached_input = cached_input.unwrap_or(price.cached_input);
            price.cache_write = cache_write.unwrap_or(price.cache_write);
            price
        });
        (price, currency)
    }
}

/// A price for a million tokens.
fn rate(value: &Value) -> Result<Rate, String> {
    let text = match value {
        Value::Integer(number) => number.to_string(),
        Value::Fraction(text) => text.clone(),
        other => return Err(other.mismatch("a price for a million tokens, a number as in 2.50")),
    };
    Rate::per_million(&text).ok_or_else(|| {
        format!(
            "{} is no price; write what a million tokens cost, from 0 to {HIGHEST}, with at most {DECIMALS} \
             decimals, as in 2.50",
            quote(&text)
        )
    })
}

fn currency(value: &Value) -> Result<Currency, String> {
    let text = value.text("the name of a currency, as in \"USD\"")?;
    Currency::parse(text).ok_or_else(|| {
        let letters = text.to_ascii_uppercase();
        let hint = match Currency::parse(&letters) {
            Some(_) => format!("did you mean {}?", quote(&letters)),
            None => "write three capital letters, as in \"USD\"".to_owned(),
        };
        format!("{} is no currency; {hint}", quote(text))
    })
}

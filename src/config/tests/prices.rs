//! The `[[price]]` tables.

use super::*;
use crate::{cache::price::Amount, dialect::usage::Usage};

const FULL: &str = "[[price]]\nmodel = \"gpt-4o-mini*\"\ninput = 0.15\noutput = 0.6\ncurrency = \"USD\"\n\
                    [[price]]\nmodel = \"gpt-4o*\"\ninput = 2.50\ncached_input = 1.25\ncache_write = 3\n\
                    output = 10\ncurrency = \"USD\"\n";

/// What a million tokens of each kind cost.
fn rates(prices: &Prices) -> Vec<(&str, [f64; 4])> {
    let units = |price: &crate::cache::price::Price| {
        [price.input, price.cached_input, price.cache_write, price.output]
            .map(|rate| rate.for_a_million().units())
    };
    prices.iter().map(|price| (price.model.as_str(), units(price))).collect()
}

#[test]
fn prices_are_read_in_their_order() {
    let prices = config(FULL).prices;
    assert_eq!(
        rates(&prices),
        [("gpt-4o-mini*", [0.15, 0.15, 0.15, 0.6]), ("gpt-4o*", [2.5, 1.25, 3.0, 10.0])]
    );
    assert_eq!(prices.currency().map(|own| own.as_str().to_owned()), Some("USD".to_owned()));
    let usage = Usage { prompt: Some(1_000_000), ..Usage::default() };
    let cost = |model| prices.cost(model, &usage).map(Amount::units);
    assert_eq!(cost("gpt-4o-mini-2024"), Some(0.15), "the first that fits");
    assert_eq!(cost("gpt-4o-2024"), Some(2.5));
    assert_eq!(cost("gpt-4"), None);
    assert_eq!(config("").prices.currency(), None);
}

#[test]
fn a_price_may_be_written_in_many_ways() {
    for (written, units) in [
        ("0", 0.0),
        ("2", 2.0),
        ("2.5", 2.5),
        ("0.000001", 0.000_001),
        ("1_000.25", 1000.25),
        ("1000000000", 1e9),
    ] {
        let text = format!("[[price]]\nmodel = \"m\"\ninput = {written}\noutput = 1\ncurrency = \"EUR\"");
        assert_eq!(rates(&config(&text).prices)[0].1[0], units, "{written}");
    }
}

#[test]
fn each_fault_has_its_line_and_its_mend() {
    let no_price = |text: &str| {
        format!(
            "s.toml:4: price.input: \"{text}\" is no price; write what a million tokens cost, from 0 to 1000000000, \
             with at most 6 decimals, as in 2.50"
        )
    };
    let takes =
        "s.toml:4: price.input: takes a price for a million tokens, a number as in 2.50; found a text";
    for (input, fault) in [
        ("-1", no_price("-1")),
        ("-0.5", no_price("-0.5")),
        ("1e-1", no_price("1e-1")),
        ("inf", no_price("inf")),
        ("0.0000001", no_price("0.0000001")),
        ("1000000001", no_price("1000000001")),
        ("\"2.50\"", takes.to_owned()),
    ] {
        let text = format!("[[price]]\nmodel = \"m\"\ninput = {input}\noutput = 1\ncurrency = \"EUR\"");
        assert_eq!(faults(&with_upstream(&text)), fault, "{input}");
    }
    for (currency, fault) in [
        ("\"usd\"", "\"usd\" is no currency; did you mean \"USD\"?"),
        ("\"dollars\"", "\"dollars\" is no currency; write three capital letters, as in \"USD\""),
        ("3", "takes the name of a currency, as in \"USD\"; found an integer"),
    ] {
        let text = format!("[[price]]\nmodel = \"m\"\ninput = 1\noutput = 1\ncurrency = {currency}");
        assert_eq!(faults(&with_upstream(&text)), format!("s.toml:6: price.currency: {fault}"));
    }
}

#[test]
fn what_is_missing_unknown_or_twice_is_told_at_once() {
    let text = "[[price]]\nmodel = \"m\"\nimput = 1\ncurrency = \"USD\"\n\
                [[price]]\nmodel = \"m\"\ninput = 1\noutput = 1\ncurrency = \"EUR\"\n";
    let wanted = [
        "s.toml:2: price: has no `input`; write one, as in input = 2.50",
        "s.toml:2: price: has no `output`; write one, as in output = 10.00",
        "s.toml:4: price.imput: is no setting of a price; did you mean `input`?",
        "s.toml:10: price.currency: is EUR, and USD in line 5; write all prices in one currency, so that their sums mean something",
    ];
    assert_eq!(faults(&with_upstream(text)), wanted.join("\n"));
    let twice = faults(&with_upstream(&format!("{FULL}{FULL}")));
    assert!(
        twice.starts_with("s.toml:15: price.model: \"gpt-4o-mini*\" has a price already; leave one out"),
        "{twice}"
    );
    for (text, wanted) in [
        (
            "price = 3",
            "s.toml:2: price: is a list of tables; write [[price]], in double brackets, and its keys below",
        ),
        ("[prices]\na = 1", "s.toml:2: prices: is no table of settings; did you mean `[[price]]`?"),
    ] {
        assert_eq!(faults(&with_upstream(text)), wanted);
    }
}

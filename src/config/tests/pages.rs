//! `docs/CONFIGURATION.md`: its tables have every setting and every key of a route, and nothing else.

use super::*;
use crate::config::settings::{PRICE_KEYS, ROUTE_KEYS, SETTINGS};

const PAGE: &str = include_str!("../../../docs/CONFIGURATION.md");

/// The cells of all rows below a heading of this many columns that begins with `first`.
fn rows(first: &str, columns: usize) -> Vec<Vec<&'static str>> {
    let cells = |line: &'static str| -> Vec<_> {
        let line = line.strip_prefix('|').and_then(|line| line.strip_suffix('|'));
        line.unwrap_or_default().split('|').map(str::trim).collect()
    };
    let heading = format!("| {first} |");
    let mut rows = Vec::new();
    let mut lines = PAGE.lines();
    while lines.by_ref().any(|line| line.starts_with(&heading)) {
        rows.extend(lines.by_ref().skip(1).take_while(|line| line.starts_with('|')).map(cells));
    }
    assert!(rows.iter().all(|row| row.len() == columns), "{rows:?}");
    rows
}

/// A name as the page writes it, or an empty cell.
fn quoted(name: Option<&str>) -> String {
    name.map(|name| format!("`{name}`")).unwrap_or_default()
}

#[test]
fn the_tables_of_settings_say_what_the_program_says() {
    let rows = rows("setting", 5);
    let keys: Vec<_> = rows.iter().map(|row| row[0].trim_end_matches(" °").trim_matches('`')).collect();
    assert_eq!(keys, SETTINGS.map(|setting| setting.key), "one row each, in the table's order");
    for (row, setting) in rows.iter().zip(&SETTINGS) {
        let restart = if setting.reload { "" } else { " °" };
        assert_eq!(row[0], format!("`{}`{restart}", setting.key));
        assert_eq!(row[1], quoted(setting.env), "{}", setting.key);
        assert_eq!(row[2], quoted(setting.flag), "{}", setting.key);
        match setting.default {
            Some(default) => assert_eq!(row[3], format!("`{default}`"), "{}", setting.key),
            None => assert!(!row[3].is_empty() && !row[3].contains('`'), "{}: {}", setting.key, row[3]),
        }
        assert!(row[4].ends_with('.'), "{}: {}", setting.key, row[4]);
    }
}

#[test]
fn the_table_of_a_route_has_every_key_with_an_example_that_loads() {
    let rows = rows("key", 4);
    let keys: Vec<_> = rows.iter().map(|row| row[0].trim_matches('`')).collect();
    assert_eq!(keys, ROUTE_KEYS.map(|route| route.key), "one row each, in the table's order");
    for (row, key) in rows.iter().zip(keys) {
        assert!(!row[1].is_empty() && row[2].contains('.'), "{row:?}");
        let example = row[3].trim_matches('`');
        assert!(example.starts_with(&format!("{key} = ")), "{key}: {example}");
        let kind = if key == "per_item" { "kind = \"rerank\"" } else { "kind = \"query\"" };
        let required = ["match = \"POST /ask\"", kind];
        let others = required.iter().filter(|line| !line.starts_with(&format!("{key} =")));
        let table: String = others.map(|line| format!("{line}\n")).collect();
        let also = match key {
            // What settles is what the route invalidates.
            "settle" | "settle_until" => "invalidates = [\"query\"]\n",
            "batch" => "batch_answer = \"/outputs\"\n",
            "batch_answer" => "batch = \"/inputs\"\n",
            "semantic_max_temperature" => "semantic = true\n",
            _ => "",
        };
        let loaded = loaded(&format!("[[route]]\n{table}{also}{example}\n"));
        assert!(!loaded.config.routes[0].builtin, "{key}");
    }
}

#[test]
fn the_table_of_a_price_has_every_key_with_an_example_that_loads() {
    let rows = rows("price", 4);
    let keys: Vec<_> = rows.iter().map(|row| row[0].trim_matches('`')).collect();
    assert_eq!(keys, PRICE_KEYS.map(|price| price.key), "one row each, in the table's order");
    for row in &rows {
        assert!(!row[1].is_empty() && row[2].ends_with('.'), "{row:?}");
        assert!(row[3].trim_matches('`').starts_with(&format!("{} = ", row[0].trim_matches('`'))), "{row:?}");
    }
    let table: String = rows.iter().map(|row| format!("{}\n", row[3].trim_matches('`'))).collect();
    assert_eq!(config(&format!("[[price]]\n{table}")).prices.iter().count(), 1);
}

/// The first example of a table with this header.
fn example(header: &str) -> String {
    let (_, rest) = PAGE.split_once(&format!("    {header}\n")).expect("an example");
    let lines = rest.lines().take_while(|line| line.starts_with("    "));
    let table: String = lines.map(|line| format!("{}\n", line.trim_start())).collect();
    format!("{header}\n{table}")
}

#[test]
fn its_examples_of_a_route_and_of_a_price_load() {
    assert_eq!(config(&example("[[route]]")).routes[0].name, "support-chat");
    assert_eq!(
        config(&example("[[price]]")).prices.currency().map(|own| own.as_str().to_owned()),
        Some("USD".into())
    );
}

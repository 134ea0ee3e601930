//! The table of a simulation. Pure.

use std::fmt::Write;

use super::{
    replay::{Outcome, Ttl},
    rows::Rows,
};
use crate::{
    cli::stats::{grouped, show_seconds},
    config::units::{show_duration, show_size},
    telemetry::stats::{hit_rate, human_bytes},
};

/// How a TTL is shown.
pub(super) fn show_ttl(ttl: Ttl) -> String {
    match ttl {
        Ttl::AsLogged => "as logged".to_owned(),
        Ttl::Of(ttl) => show_duration(ttl),
    }
}

/// How the bound of a store is shown.
pub(super) fn show_bound(max_memory: Option<u64>) -> String {
    max_memory.map_or_else(|| "no bound".to_owned(), show_size)
}

/// A row for what the log shows, and one for each simulation.
pub(super) fn table(rows: &Rows, currencies: &[String]) -> String {
    let mut cells = vec![headings(currencies)];
    cells.push(row(["measured".to_owned(), String::new()], &rows.measured));
    for simulated in &rows.simulated {
        let names = [show_ttl(simulated.setting.ttl), show_bound(simulated.setting.max_memory)];
        cells.push(row(names, &simulated.outcome));
    }
    let width = |column: usize| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..cells[0].len()).map(width).collect();
    let mut out = String::new();
    for row in &cells {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            // To write to a String never fails, here and below.
            let _ =
                if column < 2 { write!(line, "{cell:width$}  ") } else { write!(line, "{cell:>width$}  ") };
        }
        let _ = writeln!(out, "{}", line.trim_end());
    }
    out
}

fn headings(currencies: &[String]) -> Vec<String> {
    let names =
        ["TTL", "store", "hit rate", "hits", "misses", "half older", "5% older", "memory", "time saved"];
    let names = names.into_iter().map(str::to_owned);
    names.chain(currencies.iter().map(|currency| format!("{currency} saved"))).collect()
}

fn row(names: [String; 2], outcome: &Outcome) -> Vec<String> {
    let seconds = |micros: u64| show_seconds(micros as f64 / 1e6);
    let figures = [
        hit_rate(outcome.hits, outcome.misses),
        grouped(outcome.hits),
        grouped(outcome.misses),
        seconds(outcome.half_age),
        seconds(outcome.old_age),
        outcome.peak.map_or_else(String::new, human_bytes),
        show_seconds(outcome.saved as f64 / 1e6),
    ];
    let costs = outcome.cost.iter().map(|cost| format!("{cost:.2}"));
    names.into_iter().chain(figures).chain(costs).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cli::simulate::{replay::Setting, rows::Row};

    #[test]
    fn the_table_has_a_row_for_each_setting_and_a_column_for_each_currency() {
        let outcome = Outcome {
            hits: 12_240,
            misses: 7760,
            half_age: 95_000_000,
            old_age: 3_500_000_000,
            saved: 29_876_500_000,
            cost: vec![1.234],
            peak: None,
        };
        let simulated = |ttl, max_memory| Row {
            setting: Setting { ttl, max_memory },
            outcome: Outcome { peak: Some(15_938_355), hits: 0, ..outcome.clone() },
        };
        let rows = Rows {
            measured: outcome.clone(),
            simulated: vec![
                simulated(Ttl::AsLogged, None),
                simulated(Ttl::Of(Duration::from_secs(600)), Some(1 << 20)),
            ],
        };
        let expected = "\
TTL        store     hit rate    hits  misses  half older     5% older  memory  time saved  USD saved
measured               61.20%  12,240   7,760  1 min 35 s  58 min 20 s          8 h 17 min       1.23
as logged  no bound     0.00%       0   7,760  1 min 35 s  58 min 20 s   15.2M  8 h 17 min       1.23
10m        1MiB         0.00%       0   7,760  1 min 35 s  58 min 20 s   15.2M  8 h 17 min       1.23
";
        assert_eq!(table(&rows, &["USD".to_owned()]), expected);
        let free = Rows { measured: Outcome { cost: Vec::new(), ..outcome }, simulated: Vec::new() };
        assert!(!table(&free, &[]).contains("USD"));
    }
}

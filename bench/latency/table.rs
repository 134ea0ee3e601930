//! The result, as markdown.

use std::time::Duration;

use support::{
    figures::{median, quantile, text},
    machine,
};

use crate::{cases::Case, event_delays::Events};

/// Into how many blocks a case's samples are cut.
const BLOCKS: usize = 9;

struct Row<'a> {
    name: &'a str,
    p50: Duration,
    p99: Duration,
}

impl<'a> Row<'a> {
    fn new(name: &'a str, samples: &[Duration]) -> Self {
        let figure = |q| {
            let blocks = samples.chunks(samples.len().div_ceil(BLOCKS).max(1));
            median(&blocks.map(|block| quantile(block, q)).collect::<Vec<_>>())
        };
        Self { name, p50: figure(0.5), p99: figure(0.99) }
    }

    fn line(&self, direct: Option<&Self>) -> String {
        let added = |own: Duration, direct: Duration| match own.checked_sub(direct) {
            Some(more) => format!("+{}", text(more)),
            None => format!("−{}", text(direct - own)),
        };
        let (p50, p99) = match direct {
            Some(direct) => (added(self.p50, direct.p50), added(self.p99, direct.p99)),
            None => Default::default(),
        };
        format!("| {} | {} | {} | {p50} | {p99} |", self.name, text(self.p50), text(self.p99))
    }
}

/// Prints everything that was measured.
#[allow(clippy::print_stdout, reason = "the result")]
pub(crate) fn print(cases: &[Case], events: &[Events], rounds: usize, in_a_row: usize, load: &str) {
    let (commit, machine) = (machine::commit(), machine::line());
    println!("sidecache {commit}, {rounds} rounds, {in_a_row} in a row, {machine}, load {load} before\n");
    println!("| case | p50 | p99 | p50 added | p99 added |\n| --- | --- | --- | --- | --- |");
    for case in cases {
        let direct = cases.iter().find(|other| other.beside.is_none() && Some(other.ask) == case.beside);
        let direct = direct.map(|direct| Row::new(direct.name, &direct.samples));
        println!("{}", Row::new(case.name, &case.samples).line(direct.as_ref()));
    }
    let rows: Vec<Row<'_>> = events.iter().map(|path| Row::new(path.name, &path.delays)).collect();
    for (place, row) in rows.iter().enumerate() {
        println!("{}", row.line(rows.first().filter(|_| place > 0)));
    }
}

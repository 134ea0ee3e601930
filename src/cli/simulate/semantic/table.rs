//! The tables of hits by meaning: one for each route. Pure.

use std::fmt::Write;

use super::curve::Curve;
use crate::{
    cache::semantic::{
        ledger::{CurvePoint, Label},
        rounded_similarity,
    },
    cli::stats::{grouped, show_seconds},
    telemetry::terminal::escaped,
};

/// What the labels of a route, oldest first, say.
pub(super) fn table(route: &str, labels: &[Label]) -> String {
    let curve = Curve::new(labels);
    let count = |count: usize| grouped(count as u64);
    let wrong = labels.iter().filter(|label| !label.same).count();
    let ends = labels.first().zip(labels.last());
    let span = ends.map_or(0, |(first, last)| last.at - first.at);
    let mut out = format!(
        "route         {}\nlabels        {} in {}, {} of them with another answer\n\n",
        escaped(route),
        count(labels.len()),
        show_seconds(span as f64 / 1000.0),
        count(wrong),
    );
    let mut line = |name: &str, cells: [&str; 4]| {
        let [threshold, hits, wrong, bound] = cells;
        // To write to a String never fails.
        let _ = writeln!(
            out,
            "{}",
            format!("{name:6} {threshold:>9} {hits:>8} {wrong:>8} {bound:>8}").trim_end()
        );
    };
    line("", ["threshold", "hits", "wrong", "at most"]);
    for point in &curve.points {
        let [threshold, hits, wrong] = cells(point, labels.len());
        line("", [&threshold, &hits, &wrong, &percent(point.bound)]);
    }
    line("", [""; 4]);
    line("limit", ["certifies", "hits", "wrong", "at most"]);
    for (limit, point) in &curve.certified {
        let name = format!("{:.0}%", limit * 100.0);
        match point {
            Some(point) => {
                let [threshold, hits, wrong] = cells(point, curve.window);
                line(&name, [&threshold, &hits, &wrong, &percent(point.bound)]);
            }
            None => line(&name, ["none", "", "", ""]),
        }
    }
    out
}

/// The threshold, and the shares of hits among `labels` and of wrong ones among the hits.
fn cells(point: &CurvePoint, labels: usize) -> [String; 3] {
    let share = |part: usize, all: usize| percent(part as f64 / all.max(1) as f64);
    [
        format!("{:.4}", rounded_similarity(point.threshold)),
        share(point.hits, labels),
        share(point.false_hits, point.hits),
    ]
}

fn percent(share: f64) -> String {
    format!("{:.2}%", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::semantic::{
        ledger::{LabelSource, Nearness},
        question::Partition,
    };

    /// Labels with similarities from this one on, every `nth` of which has another answer.
    fn labels(count: u64, similarity: f32, nth: u64) -> Vec<Label> {
        let label = |number: u64| Label {
            at: number * 1000,
            partition: Partition([0; 32]),
            near: Nearness { similarity: similarity + (number % 100) as f32 / 10_000.0, disagreement: 0.0 },
            same: number % nth != nth - 1,
            source: LabelSource::Shadow,
        };
        (0..count).map(label).collect()
    }

    #[test]
    fn each_threshold_has_a_row_and_so_has_each_limit() {
        let all = [labels(500, 0.805, 2), labels(2000, 0.945, u64::MAX)].concat();
        let shown = table("support\u{1b}", &all);
        let begin = "\
route         support\\u{1b}
labels        2,500 in 33 min 19 s, 250 of them with another answer

       threshold     hits    wrong  at most
          0.9900    0.00%    0.00%  100.00%
";
        assert!(shown.starts_with(begin), "{shown}");
        assert!(shown.contains("\n          0.9400   80.00%    0.00%    0.24%\n"), "{shown}");
        assert!(shown.contains("\n          0.5000  100.00%   10.00%   1"), "{shown}");
        assert!(shown.contains("\nlimit  certifies     hits    wrong  at most\n1% "), "{shown}");
        assert!(shown.contains("\n2%        0."), "{shown}");
        let few = table("a", &labels(10, 0.9, u64::MAX));
        for limit in ["1%", "2%", "3%", "5%"] {
            assert!(few.contains(&format!("\n{limit}          none\n")), "{few}");
        }
    }
}

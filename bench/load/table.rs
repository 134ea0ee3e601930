//! The result, as markdown, row by row as it comes.

use std::time::Duration;

use support::{
    figures::{median, text},
    machine,
};

use crate::{
    Scale,
    comparison::{Comparison, Contender},
    figure::Figure,
    sample::Sample,
};

/// Prints what stands above the rows.
pub(crate) fn begin(scale: &Scale) {
    let (commit, machine, load) = (machine::commit(), machine::line(), machine::load());
    let Scale { rounds, window, .. } = scale;
    let scale = format!("{rounds} rounds of {}", text(*window));
    say(&format!("sidecache {commit}, {scale}, {machine}, load {load} before\n"));
    say("| case | | answers/s | p50 | p99 | calls | wrong | ratio | must | aim |");
    say("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
}

/// Prints a row for each who took part.
pub(crate) fn rows(case: &Comparison) {
    let Some(first) = case.contenders.first() else { return };
    for (place, contender) in case.contenders.iter().enumerate() {
        let name = if place == 0 { case.name.as_str() } else { "" };
        let ratio = (place > 0).then(|| ratio(first, contender));
        say(&row(name, contender, ratio));
    }
}

/// Prints a row for what is no rate.
pub(crate) fn figure(figure: &Figure) {
    let Figure { name, value, must, aim } = figure;
    say(&format!("| {name} | sidecache: {value} |  |  |  |  |  |  | ≤ {must} | ≤ {aim} |"));
}

fn row(case: &str, contender: &Contender, ratio: Option<f64>) -> String {
    let samples = &contender.samples;
    let time = |of: fn(&Sample) -> Duration| text(median(&samples.iter().map(of).collect::<Vec<_>>()));
    let wrong: u64 = samples.iter().map(|sample| sample.wrong).sum();
    let calls = middle(samples.iter().map(|sample| sample.calls));
    let calls = if calls == 0.0 { "0".to_owned() } else { format!("{calls:.2}") };
    let times = |times: f64| format!("{times:.2} ×");
    let ratio = ratio.map_or(String::new(), times);
    let bound = |bound: Option<f64>| bound.map_or(String::new(), |bound| format!("≥ {bound} ×"));
    let (must, aim) =
        (bound(contender.bounds.map(|bounds| bounds.0)), bound(contender.bounds.map(|bounds| bounds.1)));
    let rate = thousands(middle(samples.iter().map(|sample| sample.rate)));
    let (name, p50, p99) = (&contender.name, time(|sample| sample.p50), time(|sample| sample.p99));
    format!("| {case} | {name} | {rate} | {p50} | {p99} | {calls} | {wrong} | {ratio} | {must} | {aim} |")
}

/// How many times the other's rate the first one's was, in the round in the middle.
fn ratio(first: &Contender, other: &Contender) -> f64 {
    middle(first.samples.iter().zip(&other.samples).map(|(first, other)| first.rate / other.rate))
}

fn middle(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// With a comma before each three digits.
fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|group| str::from_utf8(group).unwrap_or_default()).collect();
    groups.join(",")
}

#[allow(clippy::print_stdout, reason = "the result")]
fn say(text: &str) {
    println!("{text}");
}

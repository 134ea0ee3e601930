//! How many questions hits by meaning answer, and how many of these are wrong, on data sets with known answers.
//!
//!     cargo bench -p sidecache-bench --bench meaning -- --data DIR
//!
//! `scripts/meaning_data.py` makes DIR.

#![allow(clippy::print_stdout, reason = "the result")]

mod data;
mod rules;
mod search;
mod vcache;

use std::{
    error::Error,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
};

use data::{DataSet, Opposed};
use rules::Outcome;
use sidecache::internals::cache::semantic::Nearness;

const ORDERS: usize = 100;
/// How many of these the other rules are compared in.
const COMPARED: usize = 20;
const LIMITS: [f64; 2] = [0.01, 0.03];
const FIXED: [f32; 4] = [0.80, 0.85, 0.90, 0.95];

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().collect();
    let dir = arguments.iter().skip_while(|argument| *argument != "--data").nth(1);
    let dir = PathBuf::from(dir.ok_or("--data DIR is missing")?);
    let polarity = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/polarity.tsv");
    let polarity = data::polarity(&polarity, &dir)?;
    for name in ["banking77", "clinc150"] {
        let data = DataSet::read(&dir, name)?;
        println!("\n{name}: {} questions, {ORDERS} random orders", data.questions.len());
        search::check(&data, &order(&data, 0));
        compare(&data, &polarity);
    }
    search::time();
    Ok(())
}

/// A random order of all questions.
fn order(data: &DataSet, seed: usize) -> Vec<u32> {
    let mut order: Vec<_> = (0..data.questions.len() as u32).collect();
    fastrand::Rng::with_seed(seed as u64).shuffle(&mut order);
    order
}

/// The outcome of a rule for each order.
fn all(data: &DataSet, orders: usize, rule: impl Fn(&[u32], usize) -> Outcome + Sync) -> Vec<Outcome> {
    parallel(orders, |seed| rule(&order(data, seed), seed))
}

fn compare(data: &DataSet, polarity: &[Opposed]) {
    println!("rule                          hits   false   orders within the limit");
    let thresholds: Vec<_> =
        (50..100).step_by(2).map(|hundredths: u8| f32::from(hundredths) / 100.0).collect();
    let curve: Vec<_> = thresholds
        .iter()
        .map(|threshold| all(data, COMPARED, |order, _| rules::fixed(data, order, *threshold, true)))
        .collect();
    for limit in LIMITS {
        println!("limit {:.0} %", limit * 100.0);
        let ours = all(data, ORDERS, |order, _| rules::sidecache(data, order, limit));
        print("sidecache", &ours, limit);
        let until =
            ours.iter().map(|outcome| f64::from(outcome.until_certified.unwrap_or(outcome.questions)));
        println!(
            "  once certified              {:5.1}           after {:.0} questions; {} stepped back",
            100.0 * mean(ours.iter().map(Outcome::hit_rate_once_certified)),
            mean(until),
            ours.iter().map(|outcome| outcome.stepped_back).sum::<u32>(),
        );
        print("best fixed, with hindsight", &hindsight(&curve, limit), limit);
        print(
            "vCache's rule",
            &all(data, COMPARED, |order, seed| rules::vcache(data, order, limit, seed as u64)),
            limit,
        );
        let lowest = ours.iter().filter_map(|outcome| outcome.lowest).fold(1.0, f32::min);
        served_across(polarity, lowest);
    }
    for threshold in FIXED {
        let plain = all(data, COMPARED, |order, _| rules::fixed(data, order, threshold, false));
        print(&format!("fixed {threshold:.2}, nearest alone"), &plain, 1.0);
    }
    println!("threshold   hits   false     (fixed, neighbours agree)");
    for (threshold, outcomes) in thresholds.iter().zip(&curve) {
        println!(
            "{threshold:9.2}  {:5.1}   {:5.2}",
            100.0 * mean(outcomes.iter().map(Outcome::hit_rate)),
            100.0 * mean(outcomes.iter().map(Outcome::false_rate)),
        );
    }
}

/// For each order, what the fixed threshold with the most hits within the limit gave.
fn hindsight(curve: &[Vec<Outcome>], limit: f64) -> Vec<Outcome> {
    let best = |order: usize| {
        let within =
            curve.iter().map(|outcomes| outcomes[order]).filter(|outcome| outcome.false_rate() <= limit);
        within.max_by_key(|outcome| outcome.hits).unwrap_or_default()
    };
    (0..COMPARED).map(best).collect()
}

fn print(name: &str, outcomes: &[Outcome], limit: f64) {
    let within = outcomes.iter().filter(|outcome| outcome.false_rate() <= limit).count();
    println!(
        "  {name:26}  {:5.1}   {:5.2}   {within} of {}",
        100.0 * mean(outcomes.iter().map(Outcome::hit_rate)),
        100.0 * mean(outcomes.iter().map(Outcome::false_rate)),
        outcomes.len(),
    );
}

/// How many pairs that look alike would be served across, if one of their texts is all that is stored.
fn served_across(polarity: &[Opposed], threshold: f32) {
    let is_near = |pair: &&Opposed| {
        let similarity = pair.vectors[0].similarity(&pair.vectors[1]);
        Nearness { similarity, disagreement: 0.0 }.is_hit_at(threshold)
    };
    let near: Vec<_> = polarity.iter().filter(is_near).collect();
    let is_served = |pair: &&&Opposed| pair.signatures[1].conflict(&pair.signatures[0]).is_none();
    let served: Vec<_> = near.iter().filter(is_served).collect();
    println!(
        "  polarity set at {threshold:.3}       {} pairs, {} near enough, {} served",
        polarity.len(),
        near.len(),
        served.len(),
    );
    served.iter().for_each(|pair| println!("    {}", pair.line));
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let values: Vec<_> = values.collect();
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// The results of `work` for each number below `count`, on all cores.
fn parallel<T: Send>(count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let (next, threads) = (AtomicUsize::new(0), std::thread::available_parallelism().map_or(1, usize::from));
    let run = || {
        let mut done = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return done;
            }
            done.push((number, work(number)));
        }
    };
    let mut results: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap_or_default()).collect()
    });
    results.sort_by_key(|(number, _)| *number);
    results.into_iter().map(|(_, result)| result).collect()
}

//! `sidecache simulate`: replays sidecache's own log with other TTLs and store sizes.
//!
//! `read` reads the logs and `line` a line, `collect` makes a trace of them. `replay` runs the trace through the
//! simulated `store`, for each of the `rows`, which `table` and `svg` show. `semantic` reads the labels of hits by meaning
//! instead. It needs neither settings nor a running sidecache.

mod collect;
mod line;
mod progress;
mod read;
mod replay;
mod rows;
mod semantic;
mod store;
mod svg;
mod table;
mod trace;

use std::{collections::BTreeSet, fs, path::PathBuf, time::Duration};

use clap::Args;

use self::{
    collect::Collector,
    rows::Rows,
    trace::{Told, Trace},
};
use super::{
    Exit,
    stats::{grouped, show_seconds},
};
use crate::config::units::{parse_duration, parse_size};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Logs of sidecache, of one process or of several; `-` is standard input.
    #[arg(required = true, value_name = "LOG")]
    logs: Vec<PathBuf>,
    /// A TTL to try, for all routes; once for each [default: some from 1m to 24h].
    #[arg(long = "ttl", value_name = "DURATION", value_parser = parse_duration)]
    ttls: Vec<Duration>,
    /// A bound of the in-process store to try; once for each [default: none, and some that are too small].
    // The setting's flag is for the whole command line, so these have its type.
    #[arg(long = "max-memory", id = "max_memory", value_name = "SIZE")]
    sizes: Vec<String>,
    /// Only requests on the route of this name; once for each.
    #[arg(long = "route", value_name = "NAME")]
    routes: Vec<String>,
    /// Write the curves to this file.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Instead: what hits by meaning would have been, and how many of them wrong, at each threshold.
    #[arg(long, conflicts_with_all = ["ttls", "max_memory", "svg"])]
    semantic: bool,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let simulated = if arguments.semantic { semantic::simulate(arguments) } else { simulate(arguments) };
    match simulated {
        Ok(exit) => exit,
        Err(error) => Exit::failure(error),
    }
}

fn simulate(arguments: &Arguments) -> Result<Exit, String> {
    let size = |text: &String| parse_size(text).map_err(|error| format!("--max-memory: {error}"));
    let sizes = arguments.sizes.iter().map(size).collect::<Result<Vec<_>, _>>()?;
    let mut collector = Collector::new(&arguments.routes);
    let unreadable = read::read(&arguments.logs, |line| collector.take(line))?.report();
    let absent = absent_routes(&collector.routes, &arguments.routes);
    let left_out = collector.left_out;
    let by_meaning = collector.by_meaning;
    let trace = collector.finish();
    if trace.requests.is_empty() {
        let nothing = "the logs have no request on a cached route";
        return Err(format!("{unreadable}{}", absent.unwrap_or_else(|| nothing.to_owned())));
    }
    let rows = Rows::new(&trace, &arguments.ttls, &sizes);
    if let Some(path) = &arguments.svg {
        let written = fs::write(path, svg::svg(&rows));
        written.map_err(|error| format!("{}: cannot be written: {error}", path.display()))?;
    }
    let table = table::table(&rows, &trace.currencies);
    let mut exit = Exit::success(format!("{}{table}", summary(&trace, left_out, by_meaning)));
    exit.stderr = unreadable + &absent.unwrap_or_default();
    Ok(exit)
}

/// What to say of wanted routes that are in no line.
fn absent_routes(routes: &BTreeSet<String>, wanted: &[String]) -> Option<String> {
    let absent = wanted.iter().find(|name| !routes.contains(*name))?;
    let known: Vec<_> = routes.iter().map(String::as_str).collect();
    Some(format!("--route: no line is of a route `{absent}`; the logs have: {}", known.join(", ")))
}

/// What the log has.
fn summary(trace: &Trace, left_out: collect::LeftOut, by_meaning: u64) -> String {
    let count = |told: Told| trace.requests.iter().filter(|request| request.told == told).count() as u64;
    let ends = trace.requests.first().zip(trace.requests.last());
    let span = ends.map_or(0, |(first, last)| last.at - first.at);
    let lookups = trace.requests.len() as u64 - count(Told::Refresh);
    let mut out = format!(
        "lookups       {} in {}, for {} answers\n",
        grouped(lookups),
        show_seconds(span as f64 / 1e6),
        grouped(trace.answers.len() as u64)
    );
    for (label, number, about) in [
        ("stale", count(Told::Stale), "hits after the TTL, which a simulation has none of"),
        ("by meaning", by_meaning, "hits, replayed as hits on the entries that were served"),
        ("coalesced", count(Told::Joined), "misses that joined a running answer"),
        ("not stored", count(Told::NotStored), "misses in every row"),
        ("bypassed", left_out.bypassed, "left out: they did not ask the store"),
        (
            "several",
            left_out.several_inputs,
            "left out: requests for several inputs, of which the log has no keys",
        ),
    ] {
        if number > 0 {
            out += &format!("{label:13} {} ({about})\n", grouped(number));
        }
    }
    out + "\n"
}

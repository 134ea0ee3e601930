//! Many identical requests at the same moment: the number of upstream calls, and how long each client waits.
//!
//! ```text
//! cargo bench -p sidecache-bench --bench coalesce
//! cargo bench -p sidecache-bench --bench coalesce -- --crowd 2000 --only sidecache
//! ```
//!
//! sidecache stands beside nginx (`proxy_cache` keyed on the body, `proxy_cache_lock on`) and Varnish, where these
//! are installed. Varnish cannot cache by a request's body without a module that few packages bring: it is asked by
//! `GET` for the very same answers.

mod caller;
mod contenders;
mod replicas;
mod shared_stream;
mod thousands;
mod unshareable;

use std::{os::unix::process::CommandExt, process::Command};

use contenders::Target;
use support::{arguments::Arguments, machine, upstream::Upstream};

/// Set once the limit of open files has been raised.
const RAISED: &str = "SIDECACHE_BENCH_RAISED";

/// How much is asked.
#[derive(Debug)]
pub(crate) struct Scale {
    /// Clients in the crowd.
    crowd: usize,
    /// What all times are divided by.
    faster: u64,
    /// The only target to measure; all where there is none.
    only: Option<String>,
}

/// A row's figures, each with its name.
pub(crate) type Figures = Vec<(&'static str, String)>;

fn main() {
    if std::env::var_os(RAISED).is_none() {
        raise_file_limit();
    }
    let scale = scale();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let upstream = Upstream::start();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let header =
        format!("sidecache {}, {}, load {} before", machine::commit(), machine::line(), machine::load());
    say(&format!("{header}\n"));
    let mut columns = Vec::new();
    for (name, start) in contenders::ALL {
        if scale.only.as_deref().is_some_and(|only| only != *name) {
            continue;
        }
        let Some(target) = start(folder.path(), upstream.port) else {
            say(&format!("{name} is not installed, and left out.\n"));
            continue;
        };
        columns.push((*name, runtime.block_on(measure(&target, &upstream, &scale))));
    }
    if scale.only.as_deref().is_none_or(|only| only == "sidecache") {
        let replicas = runtime.block_on(replicas::measure(folder.path(), &upstream, &scale));
        if let (Some(figures), Some((_, rows))) = (replicas, columns.first_mut()) {
            rows.extend(figures);
        }
    }
    print(&columns);
}

/// All cases that any of the three can do.
async fn measure(target: &Target, upstream: &Upstream, scale: &Scale) -> Vec<(String, Figures)> {
    let mut rows = Vec::new();
    for (seconds, hangs_up) in [(3, false), (8, false), (3, true)] {
        let case = shared_stream::Case { seconds, hangs_up, faster: scale.faster };
        rows.push((case.name(), shared_stream::measure(target, upstream, &case).await));
    }
    rows.push((unshareable::NAME.to_owned(), unshareable::measure(target, upstream, scale).await));
    rows.push((
        format!("{} clients on one key", scale.crowd),
        thousands::measure(target, upstream, scale).await,
    ));
    rows
}

/// Starts this program again with as many open files as the system lets it have; children inherit that.
fn raise_file_limit() {
    let script = r#"ulimit -n 65536 2>/dev/null || ulimit -n "$(ulimit -Hn)"; exec "$0" "$@""#;
    let Ok(program) = std::env::current_exe() else { return };
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(program).args(std::env::args_os().skip(1)).env(RAISED, "1");
    // Where there is no shell, the limit stays as it is.
    let _ = command.exec();
}

fn scale() -> Scale {
    let arguments = Arguments::read();
    if !arguments.is_bench() {
        return Scale { crowd: 50, faster: 10, only: Some("sidecache".to_owned()) };
    }
    let crowd: usize = arguments.value("--crowd").unwrap_or(10_000);
    Scale { crowd: crowd.clamp(10, 20_000), faster: 1, only: arguments.value("--only") }
}

fn print(columns: &[(&str, Vec<(String, Figures)>)]) {
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    say(&format!("| case | | {} |\n| --- | --- |{}", names.join(" | "), " --- |".repeat(names.len())));
    let Some((_, rows)) = columns.first() else { return };
    for (case, figures) in rows {
        for (place, (figure, _)) in figures.iter().enumerate() {
            let values = columns.iter().map(|(_, rows)| {
                let row = rows.iter().find(|(name, _)| name == case);
                let value = row.and_then(|(_, figures)| figures.iter().find(|(name, _)| name == figure));
                value.map_or("", |(_, value)| value)
            });
            let values: Vec<&str> = values.collect();
            let case = if place == 0 { case } else { "" };
            say(&format!("| {case} | {figure} | {} |", values.join(" | ")));
        }
    }
}

#[allow(clippy::print_stdout, reason = "the result")]
pub(crate) fn say(text: &str) {
    println!("{text}");
}

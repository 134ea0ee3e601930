//! What replicas cost Redis: commands and bytes for a hit, a miss, a write, an invalidation and for nothing at all, and
//! connections, with 1 to 48 replicas on one server and on a cluster of three masters; and how soon a replica sees what
//! another one has changed.
//!
//! ```text
//! cargo bench -p sidecache-bench --bench replicas
//! cargo bench -p sidecache-bench --bench replicas -- --only cluster --replicas 16
//! ```
//!
//! The servers count commands and bytes themselves (`INFO stats`). What the replicas do while nothing is asked is
//! measured first, and subtracted from the rest. From the costs of few and of many replicas follow those of a thousand.

mod costs;
mod fleet;
mod model;
mod seen;

use support::{
    arguments::Arguments,
    machine, process,
    redis_servers::{Kind, Servers},
    upstream::Upstream,
};

use self::{
    costs::{Costs, Scale},
    fleet::Fleet,
};

/// How many replicas there are where nobody says it.
const REPLICAS: [usize; 4] = [1, 4, 16, 48];

fn main() {
    if !process::is_installed("redis-server") {
        say("redis-server is not installed: nothing is measured");
        return;
    }
    let arguments = Arguments::read();
    let (scale, counts) = match (arguments.is_bench(), arguments.value("--replicas")) {
        (false, _) => (Scale::SMOKE, vec![1, 2]),
        (true, Some(count)) => (Scale::FULL, vec![count]),
        (true, None) => (Scale::FULL, REPLICAS.to_vec()),
    };
    let only: Option<String> = arguments.value("--only");
    say(&format!("sidecache {}, {}, load {} before\n", machine::commit(), machine::line(), machine::load()));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let upstream = Upstream::start();
    for kind in [Kind::Server, Kind::Cluster] {
        if only.as_ref().is_some_and(|only| only != kind.name()) {
            continue;
        }
        say(&format!("{}:\n\n{}", kind.name(), costs::HEAD));
        let (mut all, mut seen) = (Vec::new(), Vec::new());
        for &count in &counts {
            let servers = Servers::start(kind, folder.path());
            let fleet = Fleet::start(folder.path(), &upstream, &servers, count);
            let costs = Costs::measure(&servers, &fleet, scale);
            say(&costs.row());
            all.push(costs);
            seen.extend(seen::text_of(&fleet, scale.changes).map(|text| format!("{count} replicas, {text}")));
        }
        say(&format!("\n{}\n\n{}", seen.join("\n"), model::text(&all)));
    }
}

#[allow(clippy::print_stdout, reason = "the result")]
fn say(text: &str) {
    println!("{text}");
}

//! From few and many replicas to a thousand: what an event costs for itself, and for each replica that hears of it.

use crate::costs::{Cost, Costs};

/// The replicas that are asked about.
const MANY: f64 = 1000.0;

/// What Redis carries out in a second on one core, as a rule: its own benchmark says 90,000 on a slow machine.
const COMMANDS: f64 = 90_000.0;

/// The entries that are asked about.
const ENTRIES: f64 = 1e9;

/// The model as text; empty without two numbers of replicas.
pub(crate) fn text(all: &[Costs]) -> String {
    let (Some(few), Some(many)) = (all.first(), all.last()) else { return String::new() };
    if few.replicas >= many.replicas {
        return String::new();
    }
    let line = |name: &str, of: fn(&Costs) -> Cost| {
        let [commands, bytes] = [|cost: Cost| cost.commands, |cost: Cost| cost.bytes].map(|part| {
            let slope = (part(of(many)) - part(of(few))) / (many.replicas - few.replicas);
            (part(of(few)) - slope * few.replicas, slope)
        });
        let at = |(fixed, slope): (f64, f64)| fixed + slope * MANY;
        format!(
            "{name}: {:.1} commands and {:.1} for each replica, {:.0} B and {:.0} B; {:.0} commands and {:.0} KiB with \
             {MANY:.0}\n",
            commands.0,
            commands.1,
            bytes.0,
            bytes.1,
            at(commands),
            at(bytes) / 1024.0
        )
    };
    let idle = many.idle.commands * MANY;
    format!(
        "{}{}{}idle: {idle:.0} commands a second with {MANY:.0} replicas, {:.1} % of {COMMANDS:.0}; {:.0} connections\n\
         an entry of 1 KiB: {:.0} B in Redis, {:.0} GiB for {ENTRIES:.0e}; {:.1} µs of Redis' processor for a command\n",
        line("a stored miss", |costs| costs.stored),
        line("the same in a burst", |costs| costs.burst),
        line("an invalidation", |costs| costs.invalidation),
        100.0 * idle / COMMANDS,
        many.connections * MANY,
        many.entry,
        many.entry * ENTRIES / f64::powi(1024.0, 3),
        many.busy * 1e6,
    )
}

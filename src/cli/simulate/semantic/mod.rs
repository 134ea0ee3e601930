//! `sidecache simulate --semantic`: what each threshold would have served by meaning, from the labels in logs.
//!
//! `labels` reads them, `curve` counts, and `table` shows it.

mod curve;
mod labels;
mod table;

use self::labels::Labels;
use super::{Arguments, absent_routes, read};
use crate::cli::Exit;

pub(super) fn simulate(arguments: &Arguments) -> Result<Exit, String> {
    let mut labels = Labels::new(&arguments.routes);
    let unreadable = read::read(&arguments.logs, |line| labels.take(line))?.report();
    let absent = absent_routes(&labels.routes, &arguments.routes);
    let by_route = labels.finish();
    if by_route.is_empty() {
        let nothing = "the logs have no labels of hits by meaning: semantic.mode and a route with `semantic = true` make them";
        return Err(format!("{unreadable}{}", absent.unwrap_or_else(|| nothing.to_owned())));
    }
    let tables: Vec<_> = by_route.iter().map(|(route, labels)| table::table(route, labels)).collect();
    let mut exit = Exit::success(tables.join("\n"));
    exit.stderr = unreadable + &absent.unwrap_or_default();
    Ok(exit)
}

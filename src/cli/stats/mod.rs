//! `sidecache stats`: shows what a running sidecache has done.

mod watch;

use std::{fmt::Write, time::Duration};

use clap::{Args, value_parser};
use serde_json::{Map, Value};

use super::{
    Exit,
    client::{AdminCall, AdminListener},
};
use crate::config::Config;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    listener: AdminListener,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Show them again each so many seconds [default: 2].
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2", value_parser = value_parser!(u64).range(1..=86_400))]
    watch: Option<u64>,
}

pub(super) async fn run(config: &Config, arguments: &Arguments) -> Exit {
    if let Some(seconds) = arguments.watch {
        return watch::run(config, arguments, Duration::from_secs(seconds)).await;
    }
    match ask(config, arguments).await {
        Ok(section) if arguments.json => Exit::success(format!("{section:#}\n")),
        Ok(section) => Exit::success(show(&section)),
        Err(error) => Exit::failure(error),
    }
}

async fn ask(config: &Config, arguments: &Arguments) -> Result<Value, String> {
    let url = arguments.listener.url();
    AdminCall { url, path: "/stats", body: None, answer_member: "hit_rate" }.send(config).await
}

/// A line for each figure, then a row for each kind.
fn show(section: &Value) -> String {
    let state = if section["connected"] == true { "connected" } else { "out of reach" };
    let hits = format!(
        "{} ({} hits, {} misses)",
        text(&section["hit_rate"]),
        text(&section["hits"]),
        text(&section["misses"])
    );
    let mut out = String::new();
    for (label, value) in [
        ("store", format!("{}, {state}", text(&section["store"]))),
        ("entries", text(&section["total_keys"])),
        ("memory", text(&section["memory_used"])),
        ("hit rate", hits),
        ("stale", text(&section["stale"])),
        ("by meaning", text(&section["similar"])),
        ("coalesced", text(&section["coalesced"])),
        ("bypassed", text(&section["bypassed"])),
        ("passed", text(&section["passed"])),
        ("store errors", text(&section["errors"])),
        ("tokens saved", text(&section["tokens_saved"])),
        ("time saved", show_seconds(section["seconds_saved"].as_f64().unwrap_or(0.0))),
    ] {
        // To write to a String never fails, here and below.
        let _ = writeln!(out, "{label:13} {value}");
    }
    if let Some(currency) = section["currency"].as_str() {
        for (label, name) in [("cost saved", "cost_saved"), ("cost spent", "cost_spent")] {
            let _ = writeln!(out, "{label:13} {:.4} {currency}", section[name].as_f64().unwrap_or(0.0));
        }
    }
    let _ = writeln!(out, "\n{:13} {:>11} {:>11} {:>9}", "kind", "hits", "misses", "hit rate");
    for (kind, figures) in section["kinds"].as_object().unwrap_or(&Map::new()) {
        let hits = text(&figures["hits"]);
        let misses = text(&figures["misses"]);
        let rate = text(&figures["hit_rate"]);
        let _ = writeln!(out, "{kind:13} {hits:>11} {misses:>11} {rate:>9}");
    }
    out
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "unknown".to_owned(),
        other => other.as_u64().map_or_else(|| other.to_string(), grouped),
    }
}

/// A number with a comma before every three digits.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A duration in its two largest units.
pub(super) fn show_seconds(seconds: f64) -> String {
    let whole = seconds as u64;
    match whole {
        0..60 => format!("{seconds:.1} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        3600..86_400 => format!("{} h {} min", whole / 3600, whole / 60 % 60),
        _ => format!("{} d {} h", whole / 86_400, whole / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_and_durations_are_easy_to_read() {
        for (number, shown) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), shown);
        }
        for (seconds, shown) in [
            (0.04, "0.0 s"),
            (59.94, "59.9 s"),
            (60.0, "1 min 0 s"),
            (29_876.5, "8 h 17 min"),
            (90_000.0, "1 d 1 h"),
        ] {
            assert_eq!(show_seconds(seconds), shown);
        }
    }

    #[test]
    fn the_table_has_all_figures() {
        let section = json!({
            "store": "redis", "connected": true, "total_keys": 1234, "memory_used": "15.2M", "hits": 8567,
            "misses": 1433, "hit_rate": "85.67%", "stale": 0, "similar": 5, "coalesced": 12, "bypassed": 310, "passed": 2048,
            "errors": 0, "tokens_saved": 1_234_567, "seconds_saved": 29876.5,
            "kinds": {"query": {"hits": 8567, "misses": 1433, "hit_rate": "85.67%"},
                "other": {"hits": 0, "misses": 0, "hit_rate": "0.00%"}},
        });
        let expected = "\
store         redis, connected
entries       1,234
memory        15.2M
hit rate      85.67% (8,567 hits, 1,433 misses)
stale         0
by meaning    5
coalesced     12
bypassed      310
passed        2,048
store errors  0
tokens saved  1,234,567
time saved    8 h 17 min

kind                 hits      misses  hit rate
query               8,567       1,433    85.67%
other                   0           0     0.00%
";
        assert_eq!(show(&section), expected);
        let unreachable = json!({"store": "redis", "connected": false, "total_keys": null});
        assert!(show(&unreachable).starts_with("store         redis, out of reach\nentries       unknown\n"));
    }
}

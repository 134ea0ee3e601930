//! `sidecache suggest`: shows what keeps requests from hitting, and the lines that would change it.

use std::fmt::Write;

use clap::Args;
use serde_json::Value;

use super::{
    Exit,
    client::{AdminCall, AdminListener},
};
use crate::{config::Config, telemetry::terminal::escaped};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Print lines for the configuration file.
    #[arg(long)]
    toml: bool,
    /// Print JSON.
    #[arg(long, conflicts_with = "toml")]
    json: bool,
    #[command(flatten)]
    listener: AdminListener,
}

pub(super) async fn run(config: &Config, arguments: &Arguments) -> Exit {
    let call = AdminCall {
        url: arguments.listener.url(),
        path: "/suggest",
        body: None,
        answer_member: "almost_hits",
    };
    match call.send(config).await {
        Ok(answer) if arguments.json => Exit::success(format!("{answer:#}\n")),
        Ok(answer) if arguments.toml => Exit::success(toml(&answer)),
        Ok(answer) => Exit::success(table(&answer)),
        Err(error) => Exit::failure(error),
    }
}

fn items<'a>(answer: &'a Value, name: &str) -> &'a [Value] {
    answer[name].as_array().map_or(&[], Vec::as_slice)
}

fn shown(value: &Value) -> String {
    escaped(value.as_str().unwrap_or_default())
}

/// A line to paste, whose backslashes are its own, without control characters, which a terminal would obey.
fn plain(line: &str) -> String {
    line.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn table(answer: &Value) -> String {
    let mut out = String::new();
    // To write to a String never fails, here and below.
    for found in items(answer, "almost_hits") {
        let share = found["share"].as_f64().unwrap_or_default() * 100.0;
        let _ = writeln!(
            out,
            "{}: only {} differs from a stored question's in {} misses, {share:.0} % of the route's.",
            shown(&found["route"]),
            shown(&found["part"]),
            found["misses"],
        );
        let _ = writeln!(out, "  Left out of the key, {}.", shown(&found["means"]));
        indent(&mut out, found);
    }
    for found in items(answer, "uncovered") {
        let _ = writeln!(
            out,
            "{} {}: no route covers it. {} requests, {} of them as before; questions: {}, answers: {}.",
            shown(&found["method"]),
            shown(&found["path"]),
            found["requests"],
            found["repeats"],
            shown(&found["questions"]),
            shown(&found["answers"]),
        );
        indent(&mut out, found);
    }
    if out.is_empty() {
        out.push_str("nothing to suggest: no miss would have been a hit but for one part, and routes cover all requests\n");
    }
    out
}

fn indent(out: &mut String, found: &Value) {
    for line in found["line"].as_str().unwrap_or_default().lines() {
        let _ = writeln!(out, "    {}", plain(line));
    }
    out.push('\n');
}

/// Lines to paste. Those for a route that the file has go into its table.
fn toml(answer: &Value) -> String {
    let mut out = String::new();
    for found in items(answer, "almost_hits") {
        let _ = writeln!(
            out,
            "# {}: {}. {}.",
            shown(&found["route"]),
            shown(&found["part"]),
            shown(&found["means"])
        );
        let line = found["line"].as_str().unwrap_or_default();
        let is_table = line.starts_with("[[route]]");
        if !is_table && !line.is_empty() {
            let _ = writeln!(out, "# Into the table of that route:");
        }
        let start = if is_table { "" } else { "#" };
        line.lines().for_each(|line| out.extend([start, &plain(line), "\n"]));
        out.push('\n');
    }
    for found in items(answer, "uncovered").iter().filter(|found| found["line"].is_string()) {
        let _ = writeln!(out, "# {} requests, {} of them as before.", found["requests"], found["repeats"]);
        let line = found["line"].as_str().unwrap_or_default();
        line.lines().for_each(|line| out.extend([&plain(line), "\n"]));
        out.push('\n');
    }
    out
}

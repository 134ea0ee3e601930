//! `sidecache entries`: lists the entries of a running sidecache.

use std::fmt::Write;

use clap::{Args, builder::PossibleValuesParser};
use form_urlencoded::Serializer;
use serde_json::Value;

use super::{
    Exit,
    client::{AdminCall, AdminListener},
    stats::{grouped, show_seconds},
};
use crate::{
    cache::route::kind::Kind,
    config::Config,
    store::Sort,
    telemetry::{stats::human_bytes, terminal::escaped},
};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Only entries of a kind: query, embedding, rerank, document, conversation or other.
    #[arg(long, value_name = "KIND", value_parser = PossibleValuesParser::new(Kind::ALL.map(Kind::as_str)), hide_possible_values = true)]
    kind: Option<String>,
    /// Only entries of the route with this name.
    // The setting's flag is for the whole command line, so this has its type.
    #[arg(long = "route", value_name = "NAME")]
    routes: Vec<String>,
    /// Only entries with this tag, as a document's id.
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,
    /// By what they are sorted, the most first: hits, age or size.
    #[arg(long, value_name = "WORD", value_parser = PossibleValuesParser::new(Sort::ALL.map(Sort::as_str)), hide_possible_values = true)]
    sort: Option<String>,
    /// How many, up to 1000 [default: 50].
    #[arg(long, value_name = "NUMBER")]
    limit: Option<String>,
    /// Go on where an earlier list ended.
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    listener: AdminListener,
}

impl Arguments {
    /// The path of the call.
    fn path(&self) -> String {
        let given = [
            ("kind", self.kind.as_ref()),
            ("route", self.routes.first()),
            ("tag", self.tag.as_ref()),
            ("sort", self.sort.as_ref()),
            ("limit", self.limit.as_ref()),
            ("cursor", self.cursor.as_ref()),
        ];
        let given = given.into_iter().filter_map(|(name, value)| Some((name, value?)));
        format!("/entries?{}", Serializer::new(String::new()).extend_pairs(given).finish())
    }
}

pub(super) async fn run(config: &Config, arguments: &Arguments) -> Exit {
    if arguments.routes.len() > 1 {
        return Exit::failure("--route: name one route, or none for all of them");
    }
    let path = arguments.path();
    let call = AdminCall { url: arguments.listener.url(), path: &path, body: None, answer_member: "entries" };
    match call.send(config).await {
        Ok(answer) if arguments.json => Exit::success(format!("{answer:#}\n")),
        Ok(answer) => Exit { stderr: remark(&answer), ..Exit::success(table(&answer)) },
        Err(error) => Exit::failure(error),
    }
}

/// What the table does not say.
fn remark(answer: &Value) -> String {
    let partial = match answer["partial"].as_bool() {
        Some(true) => "The store is large: not all of its entries were looked at.\n",
        _ => "",
    };
    match answer["cursor"].as_str() {
        Some(cursor) => format!("{partial}There may be more: --cursor {}", escaped(cursor)),
        None => partial.trim_end().to_owned(),
    }
}

/// A line for each entry: what has a fixed width first.
fn table(answer: &Value) -> String {
    let mut out =
        format!("{:>9} {:>12} {:>12} {:>7}  key, path, route, tags\n", "hits", "age", "fresh for", "size");
    for entry in answer["entries"].as_array().into_iter().flatten() {
        let number = |name: &str| entry[name].as_u64().unwrap_or_default();
        let fresh = match entry["ttl"].as_i64() {
            Some(seconds @ 0..) => show_seconds(seconds as f64),
            _ => "stale".to_owned(),
        };
        // To write to a String never fails.
        let _ = write!(
            out,
            "{:>9} {:>12} {fresh:>12} {:>7}",
            grouped(number("hits")),
            show_seconds(number("age") as f64),
            human_bytes(number("size")),
        );
        let texts = ["key", "path", "route"].into_iter().filter_map(|name| entry[name].as_str());
        let tags = entry["tags"].as_array().into_iter().flatten().filter_map(Value::as_str);
        for text in texts.chain(tags) {
            out += "  ";
            out += &escaped(text);
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_is_aligned_and_has_no_control_characters() {
        let answer = json!({"entries": [
            {"key": "ns:query:0f", "age": 61, "ttl": 1739, "size": 2048, "hits": 1234, "path": "/\u{1b}[2J", "route": "r", "tags": ["a", "b"]},
            {"key": "ns:other:0f", "age": 5, "ttl": -1, "size": 300, "hits": 0},
        ]});
        let table = table(&answer);
        let lines: Vec<_> = table.lines().skip(1).collect();
        assert_eq!(
            lines,
            [
                r"    1,234    1 min 1 s  28 min 59 s    2.0K  ns:query:0f  /\u{1b}[2J  r  a  b",
                "        0        5.0 s        stale    300B  ns:other:0f",
            ]
        );
    }

    #[test]
    fn what_is_missing_is_told() {
        assert_eq!(remark(&json!({"more": false})), "");
        assert_eq!(remark(&json!({"cursor": "walk.7"})), "There may be more: --cursor walk.7");
        assert!(remark(&json!({"partial": true})).ends_with("were looked at."));
    }
}

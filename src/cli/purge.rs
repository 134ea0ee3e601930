//! `sidecache purge`: removes entries of a running sidecache.

use std::io::{self, IsTerminal, Write};

use clap::{Args, builder::PossibleValuesParser};
use serde_json::{Value, json};

use super::{
    Exit,
    client::{AdminCall, AdminListener},
    spinner,
    stats::grouped,
};
use crate::{cache::route::kind::Kind, config::Config};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    selection: Selection,
    /// Count only.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask before all entries are removed.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    listener: AdminListener,
}

/// Exactly one of these.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Selection {
    /// The entry with this key, with or without its namespace.
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// All of a kind: query, embedding, rerank, document, conversation or other.
    #[arg(long, value_name = "KIND", value_parser = PossibleValuesParser::new(Kind::ALL.map(Kind::as_str)), hide_possible_values = true)]
    kind: Option<String>,
    /// All with this tag, as a document's id.
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,
    /// All whose keys match, as in 'query:*'.
    #[arg(long, value_name = "PATTERN")]
    pattern: Option<String>,
    /// All.
    #[arg(long)]
    all: bool,
}

impl Selection {
    /// The member of the call's body.
    fn member(&self) -> (&'static str, Value) {
        let named =
            [("key", &self.key), ("kind", &self.kind), ("tag", &self.tag), ("pattern", &self.pattern)];
        named
            .into_iter()
            .find_map(|(name, value)| Some((name, json!(value.as_ref()?))))
            .unwrap_or(("all", json!(self.all)))
    }
}

pub(super) async fn run(config: &Config, arguments: &Arguments) -> Exit {
    let target = target(config, arguments.listener.url());
    let asks = arguments.selection.all && !arguments.dry_run && !arguments.yes && io::stdin().is_terminal();
    if asks && !confirmed(&format!("Remove all entries of {target}? [y/N] ")) {
        return Exit::failure("nothing was purged");
    }
    let (name, value) = arguments.selection.member();
    let body = json!({name: value, "dry_run": arguments.dry_run});
    let call = AdminCall {
        url: arguments.listener.url(),
        path: "/purge",
        body: Some(body),
        answer_member: "purged",
    };
    let doing = if arguments.dry_run { "counting" } else { "purging" };
    match spinner::during(doing, call.send(config)).await {
        Ok(answer) => {
            let purged = answer["purged"].as_u64().unwrap_or_default();
            let entries = if purged == 1 { "entry" } else { "entries" };
            let done = if arguments.dry_run { "would be purged" } else { "purged" };
            Exit::success(format!("{} {entries} {done} ({target})\n", grouped(purged)))
        }
        Err(error) => Exit::failure(error),
    }
}

/// Whose entries they are, in words.
fn target(config: &Config, admin: Option<&str>) -> String {
    let listener = admin.map(str::to_owned).or_else(|| config.admin.listen.as_ref().map(ToString::to_string));
    let listener = listener.unwrap_or_else(|| "no admin listener".to_owned());
    match admin {
        // Its namespace is that of its own configuration.
        Some(_) => listener,
        None => format!("{listener}, namespace {}", config.store.namespace),
    }
}

/// Asks on the terminal; whether the answer is yes.
fn confirmed(question: &str) -> bool {
    let mut answer = String::new();
    let asked = io::stderr().write_all(question.as_bytes()).and_then(|()| io::stdin().read_line(&mut answer));
    asked.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}

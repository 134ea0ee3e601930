//! `sidecache reload`: has a running sidecache read its settings again.

use clap::Args;
use serde_json::{Value, json};

use super::{
    Exit,
    client::{AdminCall, AdminListener},
};
use crate::config::Config;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    listener: AdminListener,
}

pub(super) async fn run(config: &Config, arguments: &Arguments) -> Exit {
    let call = AdminCall {
        url: arguments.listener.url(),
        path: "/reload",
        body: Some(json!({})),
        answer_member: "changed",
    };
    match call.send(config).await {
        Ok(answer) => Exit::success(told(&answer)),
        Err(error) => Exit::failure(error),
    }
}

fn told(answer: &Value) -> String {
    let names = |member: &str| {
        let names: Vec<_> =
            answer[member].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        names.join(", ")
    };
    let changed = match names("changed") {
        none if none.is_empty() => "nothing changed".to_owned(),
        changed => format!("changed: {changed}"),
    };
    match names("waiting_for_restart") {
        none if none.is_empty() => format!("reloaded; {changed}\n"),
        waiting => format!("reloaded; {changed}\nneeds a restart: {waiting}\n"),
    }
}

//! `sidecache wrong`: reports a hit by meaning whose answer was wrong.

use clap::Args;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::{
    Exit,
    client::{AdminCall, AdminListener},
    stats::grouped,
};
use crate::config::Config;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The key in `Cache-Status` of the response that was wrong, with or without its namespace. The key in its
    /// `Sidecache-Original` reports all that got that answer.
    key: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    listener: AdminListener,
}

pub(super) async fn run(config: &Config, arguments: &Arguments) -> Exit {
    let path = format!("/entries/{}/wrong", utf8_percent_encode(&arguments.key, NON_ALPHANUMERIC));
    let call = AdminCall {
        url: arguments.listener.url(),
        path: &path,
        body: Some(json!({})),
        answer_member: "reported",
    };
    match call.send(config).await {
        Ok(answer) if arguments.json => Exit::success(format!("{answer:#}\n")),
        Ok(answer) => Exit::success(told(&answer)),
        Err(error) => Exit::failure(error),
    }
}

fn told(answer: &Value) -> String {
    match answer["reported"].as_u64() {
        Some(1) => {
            "1 hit is reported as wrong: that answer is never served for that question again\n".to_owned()
        }
        count => format!(
            "{} hits are reported as wrong: that answer is never served for those questions again\n",
            grouped(count.unwrap_or_default())
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_reported_is_told_in_one_line() {
        assert!(told(&json!({"reported": 1})).starts_with("1 hit is reported as wrong: "));
        assert!(told(&json!({"reported": 1234})).starts_with("1,234 hits are reported as wrong: "));
    }
}

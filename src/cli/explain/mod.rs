//! `sidecache explain`: shows what the proxy would make of a request, and why two requests do not share an
//! answer.
//!
//! `request` reads a request from a file, `explanation` says what the proxy makes of it, `compare` finds what
//! makes two keys differ, and `show` writes both as text. `meaning` asks the running sidecache for the nearest question,
//! where hits by meaning are switched on.

mod compare;
mod explanation;
mod meaning;
mod request;
mod show;

use std::{
    fs, io,
    io::Read,
    path::{Path, PathBuf},
};

use clap::Args;
use http::header;
use serde_json::json;

use self::explanation::{Covered, Explanation, Outcome};
use super::{Exit, client::AdminListener};
use crate::config::Config;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// A request: `POST /path`, headers, an empty line, the body; or a JSON body alone with --path. Standard
    /// input where there is none, or `-`. With a second one: why their keys differ.
    #[arg(num_args = 0..=2)]
    files: Vec<PathBuf>,
    /// Where a body alone is sent, by POST, as in /v1/chat/completions.
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    listener: AdminListener,
}

pub(super) async fn run(config: &Config, arguments: &Arguments) -> Exit {
    let stdin = [PathBuf::from("-")];
    let files = if arguments.files.is_empty() { &stdin[..] } else { &arguments.files };
    let mut explanations = Vec::new();
    for file in files {
        match explain(config, file, arguments).await {
            Ok(explanation) => explanations.push(explanation),
            Err(error) => return Exit::failure(format!("{}: {error}", file_name(file))),
        }
    }
    Exit::success(match (&explanations[..], arguments.json) {
        ([left, right], false) => show_pair(left, right),
        ([left, right], true) => {
            let differences =
                with_key(left).zip(with_key(right)).map(|(left, right)| compare::differences(left, right));
            let answer = json!({
                "requests": [left, right],
                "same_key": same_key(left, right),
                "differences": differences,
            });
            format!("{answer:#}\n")
        }
        (_, false) => explanations.iter().map(show::show_explanation).collect(),
        (_, true) => explanations.iter().map(|explanation| format!("{:#}\n", json!(explanation))).collect(),
    })
}

fn file_name(file: &Path) -> String {
    if file == Path::new("-") { "standard input".to_owned() } else { file.display().to_string() }
}

async fn explain(config: &Config, file: &Path, arguments: &Arguments) -> Result<Explanation, String> {
    let read = if file == Path::new("-") {
        let mut text = Vec::new();
        io::stdin().read_to_end(&mut text).map(|_| text)
    } else {
        fs::read(file)
    };
    let text = read.map_err(|error| format!("cannot be read: {error}"))?;
    let (parts, body) = request::parse(&text, arguments.path.as_deref())?;
    if config.upstream.preserve_host && !parts.headers.contains_key(header::HOST) {
        return Err("has no `Host` header, which is in the key under upstream.host = \"preserve\"".to_owned());
    }
    let limit = config.limits.max_body;
    if body.len() > limit {
        return Err(format!("the body is larger than limits.max_body, {limit} bytes: a 413"));
    }
    let mut explanation = Explanation::new(config, parts.clone(), &body);
    if let Outcome::Covered(covered) = &mut explanation.outcome
        && covered.is_by_meaning
        && config.semantic.is_some()
    {
        covered.meaning = Some(meaning::ask(config, &arguments.listener, &parts, &body).await);
    }
    Ok(explanation)
}

fn show_pair(left: &Explanation, right: &Explanation) -> String {
    let mut text = format!("{}\n{}\n", show::show_explanation(left), show::show_explanation(right));
    match (with_key(left), with_key(right)) {
        (Some(_), Some(_)) if same_key(left, right) => {
            text += "both have the same key: they share an answer\n"
        }
        (Some(left), Some(right)) => text += &show::show_differences(&compare::differences(left, right)),
        _ => text += "they share nothing: a request without a key is not answered from the store\n",
    }
    text
}

fn same_key(left: &Explanation, right: &Explanation) -> bool {
    matches!((with_key(left), with_key(right)), (Some((_, a)), Some((_, b))) if a.key == b.key)
}

/// The request, if it has a key.
fn with_key(explanation: &Explanation) -> Option<(&Explanation, &Covered)> {
    match &explanation.outcome {
        Outcome::Covered(covered) if covered.key.is_some() => Some((explanation, covered)),
        _ => None,
    }
}

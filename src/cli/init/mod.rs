//! `sidecache init`: writes a configuration for a service, from what the service says of itself.
//!
//! It asks with `GET` for the service's description, and if it has none, with `OPTIONS` for the paths of the
//! presets. It sends nothing else.

mod file;
mod guess;
mod known;
mod openapi;

use std::{
    fs::OpenOptions,
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use http::{Method, Request, StatusCode};
use serde_json::Value;
use tokio::time::timeout;

use self::{
    file::Service,
    known::{preset_for, without_names},
};
use super::{Exit, client::Client};
use crate::{
    config::{Inputs, load, preset_paths},
    proxy::body::{RequestBody, read_up_to},
};

/// Where frameworks put the description.
const DESCRIPTIONS: [&str; 6] = [
    "/openapi.json",
    "/api/openapi.json",
    "/api/v1/openapi.json",
    "/v1/openapi.json",
    "/v3/api-docs",
    "/swagger.json",
];

/// The largest description, in bytes.
const MAX_DESCRIPTION: usize = 16 * 1024 * 1024;

/// How long each answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The file that `sidecache` reads without being told.
const DEFAULT_FILE: &str = "sidecache.toml";

#[derive(Clone, Debug, Args)]
pub(super) struct Arguments {
    /// The file to write, or `-` for standard output [default: sidecache.toml].
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace the file if it is there.
    #[arg(long)]
    force: bool,
}

pub(super) async fn run(upstream: Option<&str>, arguments: &Arguments) -> Exit {
    let Some(upstream) = upstream else {
        return Exit::failure(
            "init: name the service, as in sidecache init --upstream http://127.0.0.1:8000",
        );
    };
    let service = match Client::new(upstream, 1) {
        Ok(client) => ask(&client).await,
        Err(error) => Err(format!("--upstream: {error}")),
    };
    let service = match service {
        Ok(service) => service,
        Err(error) => return Exit::failure(error),
    };
    let text = file::text(upstream.trim_end_matches('/'), &service);
    if let Err(errors) =
        load(&Inputs { file: Some((DEFAULT_FILE.into(), text.clone())), ..Inputs::default() })
    {
        return Exit::failure(format!(
            "init made a file with a fault, which is a fault of sidecache's own:\n{errors}"
        ));
    }
    let path = arguments.output.clone().unwrap_or_else(|| DEFAULT_FILE.into());
    if path == Path::new("-") {
        return Exit::success(text);
    }
    match write(&path, &text, arguments.force) {
        Ok(()) => Exit::success(summary(&service, &path)),
        Err(error) => Exit::failure(error),
    }
}

fn write(path: &Path, text: &str, force: bool) -> Result<(), String> {
    let shown = path.display();
    let mut options = OpenOptions::new();
    options.write(true).truncate(true);
    let options = if force { options.create(true) } else { options.create_new(true) };
    let mut file = options.open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            format!("{shown} is there already; name another file with -o, or replace it with --force")
        }
        _ => format!("{shown} cannot be written: {error}"),
    })?;
    file.write_all(text.as_bytes()).map_err(|error| format!("{shown} cannot be written: {error}"))
}

fn summary(service: &Service, path: &Path) -> String {
    let what = match service {
        Service::Known { preset, why } => format!("{why}: it names the preset {preset}"),
        Service::Described { guesses, .. } => {
            let sure = guesses.iter().filter(|guess| guess.is_sure).count();
            format!("{sure} routes, and {} guesses commented out", guesses.len() - sure)
        }
        Service::Unknown => "the service describes itself nowhere: name its routes in the file".to_owned(),
    };
    let path = path.display();
    let start = if path.to_string() == DEFAULT_FILE { String::new() } else { format!(" --config {path}") };
    format!("wrote {path}: {what}\nlook at it, then start: sidecache{start}\n")
}

/// Asks the service what it is.
///
/// # Errors
/// If nothing answers.
async fn ask(client: &Client) -> Result<Service, String> {
    for path in DESCRIPTIONS {
        let (status, body) = send(client, Method::GET, path).await?;
        let document = serde_json::from_slice::<Value>(&body).ok().filter(|_| status == StatusCode::OK);
        if let Some((title, operations)) = document.as_ref().and_then(openapi::read) {
            return Ok(from_description(title, operations));
        }
    }
    from_options(client).await
}

async fn send(client: &Client, method: Method, path: &str) -> Result<(StatusCode, Vec<u8>), String> {
    let mut request = Request::new(RequestBody::empty());
    *request.method_mut() = method;
    *request.uri_mut() = path.parse().map_err(|_| format!("{path} is no path"))?;
    let unreachable = |why: String| format!("{}: {why}; is the service running?", client.url());
    let answer = async {
        let response = client.send(request).await.map_err(|error| unreachable(error.message))?;
        let status = response.status();
        let body = read_up_to(response.into_body(), MAX_DESCRIPTION).await.unwrap_or_default();
        Ok((status, body.to_vec()))
    };
    timeout(PATIENCE, answer).await.unwrap_or_else(|_| Err(unreachable("no answer in 10 s".to_owned())))
}

fn from_description(title: String, operations: Vec<openapi::Operation>) -> Service {
    let paths: Vec<_> = operations
        .iter()
        .map(|operation| without_names(&format!("{} {}", operation.method, operation.path)))
        .collect();
    if let Some((preset, found)) = preset_for(|path| paths.contains(&without_names(path))) {
        return known_service(preset, &found);
    }
    let (mut guesses, mut others) = (Vec::new(), Vec::new());
    for operation in operations {
        match guess::guess(&operation) {
            // A path that no pattern can have is not written.
            Some(guess) if guess.pattern.parse::<crate::cache::route::pattern::Pattern>().is_ok() => {
                guesses.push(guess);
            }
            _ => others.push(operation),
        }
    }
    Service::Described { title, guesses, others }
}

fn known_service(preset: &'static str, found: &[&str]) -> Service {
    Service::Known { preset, why: format!("The service has the paths of {preset} ({})", found.join(", ")) }
}

/// Looks for the paths of presets: a service says 404 to `OPTIONS` of a path that it does not have.
async fn from_options(client: &Client) -> Result<Service, String> {
    let (status, _) = send(client, Method::OPTIONS, "/sidecache-looks-for-a-path-that-is-not-there").await?;
    if status != StatusCode::NOT_FOUND {
        return Ok(Service::Unknown);
    }
    let mut there = Vec::new();
    for path in preset_paths().into_iter().flat_map(|(_, paths)| paths) {
        let Some((_, plain)) = path.split_once(' ').filter(|(_, plain)| !plain.contains('{')) else {
            continue;
        };
        if !there.contains(&path) {
            let (status, _) = send(client, Method::OPTIONS, plain).await?;
            if status != StatusCode::NOT_FOUND {
                there.push(path);
            }
        }
    }
    Ok(match preset_for(|path| there.contains(&path)) {
        Some((preset, found)) => known_service(preset, &found),
        None => Service::Unknown,
    })
}

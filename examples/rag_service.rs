//! A small RAG service to put sidecache in front of.
//!
//!     cargo run --example rag_service -- --listen 127.0.0.1:8000 --delay 800ms
//!
//! It answers questions from Markdown files (by default this repository's own documentation): retrieval by BM25, the
//! answer put together from the best sentences found. Everything is computed, nothing is canned; only `--delay`
//! stands in for the seconds that a language model would take, which is what there is to save.

mod rag;

use rag::{Document, Options, Service};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

const USAGE: &str =
    "usage: rag_service [--listen 127.0.0.1:8000] [--docs DIR] [--delay 800ms] [--api-key KEY]

  --listen ADDRESS  where to listen (port 0: any free one)
  --docs DIR        folder of .md files to answer from (default: this repository's docs and README)
  --delay DURATION  how long the model seems to take: 800ms, 2s, 0
  --api-key KEY     answer 401 to whoever does not send it (Authorization: Bearer, or X-API-Key)";

const MAX_DELAY: Duration = Duration::from_secs(3600);

#[derive(Debug)]
struct Flags {
    listen: String,
    docs: Option<PathBuf>,
    delay: Duration,
    api_key: Option<String>,
}

#[tokio::main]
#[allow(clippy::print_stdout, clippy::print_stderr, reason = "a terminal program says where it listens")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--help" || argument == "-h") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let flags = match parse_flags(&arguments) {
        Ok(flags) => flags,
        Err(reason) => {
            eprintln!("rag_service: {reason}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(flags).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("rag_service: {reason}");
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::print_stdout, reason = "a terminal program says where it listens")]
async fn run(flags: Flags) -> Result<(), String> {
    let docs = choose_docs(flags.docs.as_deref())?;
    let listener = tokio::net::TcpListener::bind(&flags.listen)
        .await
        .map_err(|error| format!("cannot listen on {}: {error}", flags.listen))?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    println!("rag_service: {} documents, listening on http://{address}", docs.len());

    let service = Service::with_api_key(Options { docs, delay: flags.delay }, flags.api_key);
    rag::serve(listener, service, interrupted()).await;
    Ok(())
}

/// A folder that was named must have something in it; the default falls back on built-in documents, so that the
/// example works from wherever it was copied to.
fn choose_docs(folder: Option<&Path>) -> Result<Vec<Document>, String> {
    if let Some(folder) = folder {
        let docs =
            rag::load_docs(folder).map_err(|error| format!("cannot read {}: {error}", folder.display()))?;
        if docs.is_empty() {
            return Err(format!("no .md files in {}", folder.display()));
        }
        return Ok(docs);
    }
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut docs = rag::load_docs(&repository.join("docs")).unwrap_or_default();
    docs.extend(rag::load_doc(&repository.join("README.md")));
    Ok(if docs.is_empty() { rag::builtin_docs() } else { docs })
}

/// Ends at Ctrl-C, or at the SIGTERM that a supervisor or `kill` sends.
async fn interrupted() {
    #[cfg(unix)]
    if let Ok(mut terminate) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        return;
    }
    // Where signals cannot be watched, the service runs until it is killed.
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

fn parse_flags(arguments: &[String]) -> Result<Flags, String> {
    let mut flags = Flags {
        listen: "127.0.0.1:8000".to_owned(),
        docs: None,
        delay: Duration::from_millis(800),
        api_key: None,
    };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        // Both `--listen ADDRESS` and `--listen=ADDRESS` are usual.
        let (flag, value) = match argument.split_once('=') {
            Some((flag, value)) => (flag, Some(value.to_owned())),
            None => (argument.as_str(), rest.next().cloned()),
        };
        let value = value.ok_or_else(|| format!("{flag} needs a value"));
        match flag {
            "--listen" => flags.listen = value?,
            "--docs" => flags.docs = Some(value?.into()),
            "--delay" => flags.delay = parse_duration(&value?)?,
            "--api-key" => flags.api_key = Some(value?),
            _ => return Err(format!("unknown argument {flag}")),
        }
    }
    Ok(flags)
}

/// `800ms`, `2s`, or whole seconds without a unit: the same forms that sidecache takes.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let (digits, make): (&str, fn(u64) -> Duration) = match text.strip_suffix("ms") {
        Some(digits) => (digits, Duration::from_millis),
        None => (text.strip_suffix('s').unwrap_or(text), Duration::from_secs),
    };
    let delay =
        digits.parse().map(make).map_err(|_| format!("{text:?} is no duration: write 800ms or 2s"))?;
    if delay > MAX_DELAY { Err(format!("{text} is too long: an hour at most")) } else { Ok(delay) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(arguments: &[&str]) -> Result<Flags, String> {
        parse_flags(&arguments.iter().map(|&argument| argument.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn flags_are_read_in_both_spellings() {
        let read = flags(&["--listen", "127.0.0.1:0", "--delay=20ms"]).expect("good flags");
        assert_eq!((read.listen.as_str(), read.delay), ("127.0.0.1:0", Duration::from_millis(20)));
        assert!(flags(&["--listen"]).is_err());
        assert!(flags(&["--colour", "red"]).is_err());
    }

    #[test]
    fn durations_have_the_forms_of_sidecache() {
        assert_eq!(parse_duration("2s"), Ok(Duration::from_secs(2)));
        assert_eq!(parse_duration("0"), Ok(Duration::ZERO));
        assert!(parse_duration("soon").is_err());
        assert!(parse_duration("2000000s").is_err());
    }
}

//! `sidecache warm`: sends recorded requests through a running proxy, to fill its store.
//!
//! `reader` reads the file line by line, `line` parses a line, `journal` remembers the finished ones, so that
//! an interrupted run continues. `tally` counts the results, and `progress` shows them meanwhile.

mod journal;
mod line;
mod progress;
mod reader;
mod tally;

use std::{ffi::OsString, io, num::NonZeroUsize, path::PathBuf, process::ExitCode, sync::Arc};

use clap::Args;
use http::Request;
use http_body_util::BodyExt;
use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinSet,
};

use self::{
    journal::Journal,
    line::Line,
    progress::Progress,
    reader::{LineReader, NumberedLine},
    tally::{Outcome, Tally},
};
use super::{
    Exit,
    client::{Client, explain_error, listener_url, local_url},
};
use crate::{
    cache::status::X_CACHE,
    config::Config,
    proxy::{body::RequestBody, error::ErrorKind},
};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Requests, a JSON object a line: {"method", "path", "headers"?, "body"?}; or a log of sidecache's,
    /// whose GETs are sent.
    file: PathBuf,
    /// Requests under way at once.
    #[arg(long, value_name = "N", default_value = "4")]
    concurrency: NonZeroUsize,
    /// The running sidecache [default: what listen says].
    #[arg(long, value_name = "URL", value_parser = listener_url)]
    proxy: Option<String>,
    /// Where finished lines are noted [default: FILE.progress].
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// Send all lines, finished ones too.
    #[arg(long)]
    restart: bool,
}

impl Arguments {
    fn state(&self) -> PathBuf {
        self.state.clone().unwrap_or_else(|| {
            let mut beside = OsString::from(&self.file);
            beside.push(".progress");
            beside.into()
        })
    }
}

pub(super) async fn run(config: &Config, arguments: &Arguments) -> Exit {
    // From the beginning, so that an interrupt at any time ends with a summary.
    let Ok(mut interrupt) = signal(SignalKind::interrupt()) else {
        return Exit::failure("cannot listen for signals");
    };
    let mut run = match Run::begin(config, arguments).await {
        Ok(run) => run,
        Err(error) => return Exit::failure(error),
    };
    let stopped = tokio::select! {
        sent = run.send_all(arguments.concurrency.get(), &config.health_path) => sent.err(),
        _ = interrupt.recv() => Some("interrupted".to_owned()),
    };
    run.end(stopped)
}

struct Run {
    client: Arc<Client>,
    reader: LineReader,
    journal: Journal,
    tally: Tally,
    progress: Progress,
    running: JoinSet<Answered>,
}

/// A line's number, and the result of its request.
type Answered = (u64, Result<Outcome, Failure>);

/// Why a request failed.
#[derive(Debug)]
enum Failure {
    /// This request alone failed.
    Request(String),
    /// The proxy cannot be reached.
    Connection(String),
}

impl Run {
    async fn begin(config: &Config, arguments: &Arguments) -> Result<Self, String> {
        let file = &arguments.file;
        let url = match &arguments.proxy {
            Some(url) => url.clone(),
            None => local_url(&config.listen, config.tls.is_some(), "--proxy")?,
        };
        let client = Client::new(&url, arguments.concurrency.get())?;
        // As a JSON string, a body takes up to twice its bytes, unless it has control characters.
        let limit = 2 * config.limits.max_body as u64 + 64 * 1024;
        let unreadable = |error: io::Error| format!("{}: cannot be read: {error}", file.display());
        let reader = LineReader::open(file, limit).await.map_err(unreadable)?;
        let journal = Journal::open(&arguments.state(), file, arguments.restart)?;
        Ok(Self {
            client: Arc::new(client),
            progress: Progress::new(reader.length),
            reader,
            journal,
            tally: Tally::default(),
            running: JoinSet::new(),
        })
    }

    /// Sends the requests that are not finished.
    ///
    /// # Errors
    /// A text for the user: why the run stops.
    async fn send_all(&mut self, concurrency: usize, health_path: &str) -> Result<(), String> {
        while let Some(NumberedLine { number, text }) =
            self.reader.next().await.map_err(|error| error.to_string())?
        {
            if self.journal.contains(number) {
                self.tally.before += 1;
                self.tally.bytes_before = self.reader.at;
                continue;
            }
            match text.map(|text| line::parse(&text, health_path)) {
                Some(Ok(Line::Request(request))) => {
                    while self.running.len() >= concurrency {
                        self.settle_one().await?;
                    }
                    self.running.spawn(answer(Arc::clone(&self.client), number, *request));
                }
                Some(Ok(Line::Partial)) => self.tally.partial += 1,
                Some(Ok(Line::Other)) => {}
                Some(Err(error)) => self.tally.bad(number, &error),
                None => self.tally.bad(number, "is too long"),
            }
        }
        while !self.running.is_empty() {
            self.settle_one().await?;
        }
        Ok(())
    }

    /// Waits for one request to be answered.
    async fn settle_one(&mut self) -> Result<(), String> {
        let Some(Ok((number, outcome))) = self.running.join_next().await else { return Ok(()) };
        match outcome {
            Ok(outcome) => {
                self.tally.answered(outcome);
                self.journal.record(number)?;
            }
            Err(Failure::Request(reason)) => self.tally.failed(number, &reason),
            Err(Failure::Connection(reason)) => return Err(reason),
        }
        self.progress.show(&self.tally, self.reader.at);
        Ok(())
    }

    fn end(self, stopped: Option<String>) -> Exit {
        let mut exit = Exit::success(self.tally.summary(self.progress.elapsed()));
        self.progress.end();
        exit.stderr = self.tally.faults();
        let is_complete = stopped.is_none() && self.tally.is_good();
        let not_removed = if is_complete { self.journal.remove().err() } else { None };
        if let Some(reason) = stopped.or(not_removed) {
            exit.stderr += &format!("{reason}; the same command goes on from here\n");
        }
        if !exit.stderr.is_empty() {
            exit.code = ExitCode::FAILURE;
        }
        exit
    }
}

/// Sends a request, and reads the answer to its end.
async fn answer(client: Arc<Client>, number: u64, request: Request<RequestBody>) -> Answered {
    let response = match client.send(request).await {
        Ok(response) => response,
        Err(error) if error.kind == ErrorKind::UpstreamConnection => {
            return (number, Err(Failure::Connection(explain_error(&client, &error))));
        }
        Err(error) => return (number, Err(Failure::Request(explain_error(&client, &error)))),
    };
    let status = response.status();
    let outcome =
        Outcome::from_x_cache(response.headers().get(X_CACHE).and_then(|value| value.to_str().ok()));
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        if let Err(error) = frame {
            return (number, Err(Failure::Request(format!("the answer was cut: {error}"))));
        }
    }
    if status.is_client_error() || status.is_server_error() {
        return (number, Err(Failure::Request(format!("status {}", status.as_u16()))));
    }
    (number, Ok(outcome))
}

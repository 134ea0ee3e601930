//! `sidecache warm`: sends recorded requests through the proxy.
//!
//! - `reader`: the file, line by line
//! - `line`: what a line is
//! - `journal`: which lines are finished
//! - `tally`: what came of them
//! - `progress`: how far it has come

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
    reader::{Numbered, Reader},
    tally::{Outcome, Tally},
};
use super::{
    Ending,
    client::{Client, listener_url, unanswered},
};
use crate::{
    cache::status::X_CACHE,
    config::Config,
    proxy::{body::RequestBody, error::ErrorKind},
};

/// What `warm` is asked.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Requests, a JSON object a line: {"method", "path", "headers"?, "body"?}; or a log of sidecache's, whose
    /// GETs are sent.
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

pub(super) async fn run(config: &Config, arguments: &Arguments) -> Ending {
    // Heard from the beginning on, so that what is under way is told whenever it comes.
    let Ok(mut interrupt) = signal(SignalKind::interrupt()) else {
        return Ending::failure("cannot listen for signals");
    };
    let mut run = match Run::begin(config, arguments).await {
        Ok(run) => run,
        Err(error) => return Ending::failure(error),
    };
    let stopped = tokio::select! {
        sent = run.send_all(arguments.concurrency.get(), &config.health_path) => sent.err(),
        _ = interrupt.recv() => Some("interrupted".to_owned()),
    };
    run.end(stopped)
}

/// A run through the file.
struct Run {
    client: Arc<Client>,
    reader: Reader,
    journal: Journal,
    tally: Tally,
    progress: Progress,
    /// The requests under way.
    running: JoinSet<Answered>,
}

/// A line's number, and what came of its request.
type Answered = (u64, Result<Outcome, Failure>);

/// Why a request failed.
#[derive(Debug)]
enum Failure {
    /// It was answered badly.
    This(String),
    /// Nothing answers any more.
    All(String),
}

impl Run {
    async fn begin(config: &Config, arguments: &Arguments) -> Result<Self, String> {
        let file = &arguments.file;
        let client = Client::new(arguments.proxy.as_deref(), config.listen, arguments.concurrency.get())?;
        // In JSON a body takes up to twice its bytes, but for control characters.
        let limit = 2 * config.limits.max_body as u64 + 64 * 1024;
        let cannot = |error: io::Error| format!("{}: cannot be read: {error}", file.display());
        let reader = Reader::open(file, limit).await.map_err(cannot)?;
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

    /// Sends what is not finished.
    ///
    /// # Errors
    /// Why it cannot go on.
    async fn send_all(&mut self, concurrency: usize, health_path: &str) -> Result<(), String> {
        while let Some(Numbered { number, text }) =
            self.reader.next().await.map_err(|error| error.to_string())?
        {
            if self.journal.has(number) {
                self.tally.before += 1;
                self.tally.bytes_before = self.reader.at;
                continue;
            }
            match text.map(|text| line::read(&text, health_path)) {
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
                self.journal.note(number)?;
            }
            Err(Failure::This(reason)) => self.tally.failed(number, &reason),
            Err(Failure::All(reason)) => return Err(reason),
        }
        self.progress.show(&self.tally, self.reader.at);
        Ok(())
    }

    fn end(self, stopped: Option<String>) -> Ending {
        let mut ending = Ending::success(self.tally.summary(self.progress.elapsed()));
        self.progress.end();
        ending.complaint = self.tally.complaint();
        let unremoved = match (&stopped, self.tally.is_good()) {
            (None, true) => self.journal.remove().err(),
            _ => None,
        };
        if let Some(reason) = stopped.or(unremoved) {
            ending.complaint += &format!("{reason}; the same command goes on from here\n");
        }
        if !ending.complaint.is_empty() {
            ending.code = ExitCode::FAILURE;
        }
        ending
    }
}

/// Sends a request, and reads the answer to its end.
async fn answer(client: Arc<Client>, number: u64, request: Request<RequestBody>) -> Answered {
    let response = match client.send(request).await {
        Ok(response) => response,
        Err(error) if error.kind == ErrorKind::UpstreamConnection => {
            return (number, Err(Failure::All(unanswered(&client, &error))));
        }
        Err(error) => return (number, Err(Failure::This(unanswered(&client, &error)))),
    };
    let status = response.status();
    let outcome = Outcome::of(response.headers().get(X_CACHE).and_then(|value| value.to_str().ok()));
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        if let Err(error) = frame {
            return (number, Err(Failure::This(format!("the answer was cut: {error}"))));
        }
    }
    if status.is_client_error() || status.is_server_error() {
        return (number, Err(Failure::This(format!("status {}", status.as_u16()))));
    }
    (number, Ok(outcome))
}

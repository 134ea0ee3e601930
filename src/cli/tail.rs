//! `sidecache tail`: shows requests as they end.

use std::{
    io::{self, Write},
    time::Duration,
};

use clap::Args;

use super::{
    Exit,
    client::AdminListener,
    requests::{Ended, Requests, Told},
};
use crate::{
    config::Config,
    telemetry::{
        terminal::{cache_color, escaped, painted, shows_colors, status_color},
        watch::event::plain,
    },
};

/// The pause before the next attempt to connect.
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Only requests of the route with this name, or `none`.
    // The setting's flag is for the whole command line, so this has its type.
    #[arg(long = "route", value_name = "NAME")]
    routes: Vec<String>,
    /// Only those with this word in X-Cache: hit, miss, stale, pass, ...
    #[arg(long, value_name = "WORD")]
    cache: Option<String>,
    /// Only those with this status, as in 502 or 5xx.
    #[arg(long, value_name = "STATUS")]
    status: Option<String>,
    /// Print each event's JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    listener: AdminListener,
}

impl Arguments {
    fn filter(&self) -> Vec<(&'static str, &str)> {
        let given = [
            ("route", self.routes.first()),
            ("cache", self.cache.as_ref()),
            ("status", self.status.as_ref()),
        ];
        given.into_iter().filter_map(|(name, value)| Some((name, value?.as_str()))).collect()
    }
}

pub(super) async fn run(config: &Config, arguments: &Arguments) -> Exit {
    if arguments.routes.len() > 1 {
        return Exit::failure("--route: name one route, or none for all of them");
    }
    let open = async || Requests::open(arguments.listener.url(), &arguments.filter(), config).await;
    let mut requests = match open().await {
        Ok(requests) => requests,
        Err(error) => return Exit::failure(error),
    };
    let out = Output::new(arguments.json);
    loop {
        while let Some(told) = requests.next().await {
            // Nobody reads any more.
            if out.show(told).is_err() {
                return Exit::success(String::new());
            }
        }
        note("the stream has ended; connecting again");
        let mut last = String::new();
        requests = loop {
            tokio::time::sleep(PAUSE).await;
            match open().await {
                Ok(requests) => break requests,
                Err(error) if error != last => {
                    note(&error);
                    last = error;
                }
                Err(_) => {}
            }
        };
        note("connected again");
    }
}

/// Writes to standard error.
fn note(text: &str) {
    // An error is ignored: standard error may be closed.
    let _ = writeln!(io::stderr(), "{text}");
}

/// Standard output.
struct Output {
    json: bool,
    colored: bool,
}

impl Output {
    fn new(json: bool) -> Self {
        Self { json, colored: shows_colors() }
    }

    fn show(&self, told: Told) -> io::Result<()> {
        let line = match told {
            Told::Request(json) | Told::Missed(json, _) if self.json => plain(&json),
            Told::Missed(_, count) => {
                note(&format!("{count} more were missed: they came faster than this could write"));
                return Ok(());
            }
            Told::Request(json) => match Ended::parse(&json) {
                Some(ended) => line(&ended, self.colored),
                None => return Ok(()),
            },
        };
        let mut out = io::stdout().lock();
        writeln!(out, "{line}")?;
        out.flush()
    }
}

/// One line: what has a fixed width first.
fn line(ended: &Ended, colored: bool) -> String {
    let cache = if ended.cache.is_empty() { "-" } else { &ended.cache };
    let cache = painted(&format!("{:9}", escaped(cache)), cache_color(&ended.cache), colored);
    let status = painted(&ended.status.to_string(), status_color(ended.status.into()), colored);
    let mut line = format!(
        "{} {cache} {status} {:>8} {:>7} {:6} {}",
        ended.clock(),
        ended.took(),
        ended.size(),
        escaped(&ended.method),
        escaped(&ended.path)
    );
    for more in [&ended.route, &ended.reason].into_iter().filter(|more| !more.is_empty()) {
        line += "  ";
        line += &escaped(more);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_aligned_and_has_no_control_characters() {
        let hit = r#"{"time":"2026-12-01T07:00:00.123Z","method":"POST","path":"/v1/chat/completions",
            "status":200,"cache":"HIT","route":"openai-chat","ms":1.2,"bytes":1025}"#;
        let passed = r#"{"time":"2026-12-01T07:00:00.200Z","method":"GET","path":"/\u001b[2J\u009b\\n",
            "status":502,"cache":"PASS","reason":"no-route","ms":12345.6,"bytes":0}"#;
        let refused = r#"{"time":"2026-12-01T07:00:00.300Z","method":"GET","path":"/","status":400,"ms":0.1,"bytes":90}"#;
        let shown = |json: &str, colored| line(&Ended::parse(json).expect("a request"), colored);
        for (json, expected) in [
            (hit, "07:00:00.123 HIT       200   1.2 ms    1.0K POST   /v1/chat/completions  openai-chat"),
            (passed, r"07:00:00.200 PASS      502   12.3 s      0B GET    /\u{1b}[2J\u{9b}\\n  no-route"),
            (refused, "07:00:00.300 -         400   0.1 ms     90B GET    /"),
        ] {
            assert_eq!(shown(json, false), expected);
        }
        let colored = shown(passed, true);
        assert!(
            colored.contains("PASS      \x1b[31m502\x1b[0m ") && !colored.contains("\x1b[2J"),
            "{colored:?}"
        );
    }
}

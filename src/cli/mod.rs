//! The command line, one file a command.
//!
//! A command returns an [`Exit`], which `main` prints; only `warm`, `simulate` and `purge` also show their progress, and
//! `tail`, `top` and `stats --watch` print as they go. `serve` is the proxy. `check` and `explain` read the configuration
//! and do not need a running sidecache (`explain` asks one for the nearest question); `health`, `stats`, `entries`, `tail`, `top`, `purge`, `wrong` and `warm` call one; `simulate` reads logs.

mod check;
mod client;
mod completions;
mod entries;
mod explain;
mod health;
mod init;
mod man;
mod presets;
mod purge;
mod reload;
mod requests;
mod serve;
mod simulate;
mod spinner;
mod stats;
mod suggest;
mod tail;
mod top;
mod warm;
mod welcome;
mod wrong;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};
use tokio::runtime::Runtime;

use crate::config::{Errors, Inputs, Loaded, load};

/// A caching sidecar reverse proxy for RAG and LLM services.
///
/// Put it beside a running service and point clients at its port: repeated questions are answered from the
/// cache, everything else goes on to the service. `/health` shows the hit rate.
#[derive(Debug, Parser)]
#[command(name = "sidecache", version = env!("SIDECACHE_VERSION"), subcommand_negates_reqs = true)]
#[command(after_help = "Examples:
  sidecache --upstream http://127.0.0.1:8000
  sidecache --upstream http://127.0.0.1:8000 --redis redis://127.0.0.1:6379 --route 'POST /chat'
  sidecache --config sidecache.toml")]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the proxy (what `sidecache` does without a command).
    #[command(after_help = "Examples:
  sidecache serve --config sidecache.toml")]
    Serve,
    /// Validate the configuration, print what is in force, try the store and the upstream.
    #[command(after_help = "Examples:
  sidecache check --strict")]
    Check {
        /// Fail where the store or the upstream is out of reach.
        #[arg(long)]
        strict: bool,
    },
    /// Write a configuration for the service at --upstream.
    #[command(after_help = "Examples:
  sidecache init --upstream http://127.0.0.1:8000")]
    Init(init::Arguments),
    /// Show what the proxy would make of a request: its route, its normal form, its key.
    #[command(after_help = "Examples:
  sidecache explain --path /v1/chat/completions question.json
  sidecache explain one.http other.http")]
    Explain(explain::Arguments),
    /// List the presets, or print one.
    #[command(after_help = "Examples:
  sidecache presets
  sidecache presets lightrag")]
    Presets(presets::Arguments),
    /// Ask a running sidecache how it is; fails if it is not well, for health checks and probes.
    #[command(after_help = "Examples:
  sidecache health
  sidecache health --live")]
    Health(health::Arguments),
    /// Show what a running sidecache has done.
    #[command(after_help = "Examples:
  sidecache stats --json
  sidecache stats --watch 5")]
    Stats(stats::Arguments),
    /// List the entries of a running sidecache.
    #[command(after_help = "Examples:
  sidecache entries --sort hits --limit 20
  sidecache entries --tag 42 --json | jq -r '.entries[].key'")]
    Entries(entries::Arguments),
    /// Show what keeps requests from hitting, with lines for the configuration.
    #[command(after_help = "Examples:
  sidecache suggest
  sidecache suggest --toml >> sidecache.toml")]
    Suggest(suggest::Arguments),
    /// Show requests of a running sidecache as they end.
    #[command(after_help = "Examples:
  sidecache tail
  sidecache tail --cache miss --status 2xx
  sidecache tail --route openai-chat --json | jq .key")]
    Tail(tail::Arguments),
    /// Show what a running sidecache does now, on the whole terminal.
    #[command(after_help = "Examples:
  sidecache top
  sidecache top --admin http://127.0.0.1:8081")]
    Top(top::Arguments),
    /// Remove entries of a running sidecache.
    #[command(after_help = "Examples:
  sidecache purge --tag 42 --dry-run
  sidecache purge --pattern 'query:*'")]
    Purge(purge::Arguments),
    /// Report a hit by meaning whose answer was wrong: it counts, and is never served for that question again.
    #[command(after_help = "Examples:
  sidecache wrong query:5213e86c51b1d97a1b6b894eea2feae371fd4dfa55e2c26fff0c82be014fe61d")]
    Wrong(wrong::Arguments),
    /// Have a running sidecache read its settings again.
    #[command(after_help = "Examples:
  sidecache reload")]
    Reload(reload::Arguments),
    /// Send recorded requests through a running sidecache.
    #[command(after_help = "Examples:
  sidecache warm requests.jsonl --concurrency 8")]
    Warm(warm::Arguments),
    /// Replay a log of sidecache's with other TTLs and store sizes.
    #[command(after_help = "Examples:
  sidecache simulate logs/app.log
  sidecache simulate logs/app.log --ttl 1h --ttl 24h --max-memory 1GiB --svg curves.svg")]
    Simulate(simulate::Arguments),
    /// Print what a shell needs to complete the command line.
    #[command(after_help = "Examples:
  sidecache completions bash > /etc/bash_completion.d/sidecache
  sidecache completions zsh > ~/.zfunc/_sidecache")]
    Completions(completions::Arguments),
    /// Print the manual page of sidecache, or of a command.
    #[command(after_help = "Examples:
  sidecache man | man -l -
  sidecache man warm > sidecache-warm.1")]
    Man(man::Arguments),
}

impl Command {
    /// Values for required settings that the command does not need.
    fn assumed(&self) -> Vec<(&'static str, &'static str)> {
        match self {
            Self::Serve | Self::Check { .. } => Vec::new(),
            // These send nothing to the upstream.
            Self::Explain(_)
            | Self::Init(_)
            | Self::Presets(_)
            | Self::Health(_)
            | Self::Stats(_)
            | Self::Entries(_)
            | Self::Suggest(_)
            | Self::Tail(_)
            | Self::Top(_)
            | Self::Purge(_)
            | Self::Wrong(_)
            | Self::Reload(_)
            | Self::Warm(_)
            | Self::Simulate(_)
            | Self::Completions(_)
            | Self::Man(_) => {
                vec![("upstream.url", "http://127.0.0.1")]
            }
        }
    }
}

/// Settings; each wins over the environment, `.env`, and the file.
#[derive(Clone, Debug, Args)]
struct Flags {
    /// The configuration file [default: sidecache.toml in the working folder, if there is one].
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The service behind, as in http://127.0.0.1:8000.
    #[arg(long, global = true, value_name = "URL")]
    upstream: Option<String>,
    /// A further route, as in "POST /chat" or "POST /embed embedding 24h"; once for each.
    #[arg(long = "route", global = true, value_name = "METHOD PATH [KIND] [TTL]")]
    routes: Vec<String>,
    /// A service whose routes are built in, as in `lightrag`; once for each. `sidecache presets` lists them.
    #[arg(long = "preset", global = true, value_name = "NAME")]
    presets: Vec<String>,
    /// Where clients connect [default: 127.0.0.1:8080].
    #[arg(long, global = true, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// Where operators connect, or `off` [default: 127.0.0.1:8081].
    #[arg(long, global = true, value_name = "HOST:PORT")]
    admin_listen: Option<String>,
    /// Keep answers in this Redis, as in redis://127.0.0.1:6379.
    #[arg(long, global = true, value_name = "URL")]
    redis: Option<String>,
    /// The bound of the in-process store [default: 256MiB].
    #[arg(long, global = true, value_name = "SIZE")]
    max_memory: Option<String>,
    /// The lowest level that is logged: DEBUG, INFO, WARNING or ERROR [default: INFO].
    #[arg(long, global = true, value_name = "LEVEL")]
    log_level: Option<String>,
    /// How standard output is written: json or text [default: text on a terminal, else json].
    #[arg(long, global = true, value_name = "FORMAT")]
    log_format: Option<String>,
    /// Log to this file too.
    #[arg(long, global = true, value_name = "FILE")]
    log_file: Option<String>,
}

impl Flags {
    /// The flags on the command line: each setting's key and its value.
    fn given(&self) -> Vec<(&'static str, String)> {
        let flags = [
            ("upstream.url", &self.upstream),
            ("listen", &self.listen),
            ("admin.listen", &self.admin_listen),
            ("store.redis", &self.redis),
            ("store.max_memory", &self.max_memory),
            ("log.level", &self.log_level),
            ("log.format", &self.log_format),
            ("log.file", &self.log_file),
        ];
        let presets = (!self.presets.is_empty()).then(|| ("presets", self.presets.join(",")));
        flags.into_iter().filter_map(|(key, value)| Some((key, value.clone()?))).chain(presets).collect()
    }

    /// Reads all sources of settings. `assumed` has values for required settings without one.
    fn load(&self, assumed: Vec<(&'static str, &'static str)>) -> Result<Loaded, Errors> {
        let inputs = Inputs::gather(self.config.as_deref(), self.given())?;
        load(&Inputs { assumed, routes: self.routes.clone(), ..inputs })
    }
}

/// What the process prints at its end, and its exit code.
#[derive(Debug)]
pub struct Exit {
    /// For standard output.
    pub stdout: String,
    /// For standard error.
    pub stderr: String,
    /// 0; 1 if something failed; 2 if the command line or the configuration is wrong.
    pub code: ExitCode,
}

impl Exit {
    const fn success(stdout: String) -> Self {
        Self { stdout, stderr: String::new(), code: ExitCode::SUCCESS }
    }

    fn failure(error: impl ToString) -> Self {
        Self { stdout: String::new(), stderr: error.to_string(), code: ExitCode::FAILURE }
    }

    fn misconfigured(errors: &Errors) -> Self {
        Self { code: ExitCode::from(2), ..Self::failure(errors) }
    }
}

/// Runs the command of the command line.
pub fn run(cli: &Cli) -> Exit {
    let flags = &cli.flags;
    let command = cli.command.as_ref().unwrap_or(&Command::Serve);
    let load = || flags.load(command.assumed());
    // For commands in which `--route` names a route.
    let without_routes = || Flags { routes: Vec::new(), ..flags.clone() }.load(command.assumed());
    match command {
        Command::Serve => with_settings(load, |loaded, runtime| runtime.block_on(serve::run(loaded, flags))),
        Command::Check { strict } => {
            with_settings(load, |loaded, runtime| runtime.block_on(check::run(&loaded, *strict)))
        }
        Command::Explain(arguments) => {
            with_settings(load, |loaded, runtime| runtime.block_on(explain::run(&loaded.config, arguments)))
        }
        Command::Init(arguments) => {
            with_runtime(|runtime| runtime.block_on(init::run(flags.upstream.as_deref(), arguments)))
        }
        Command::Presets(arguments) => presets::run(arguments),
        Command::Simulate(arguments) => simulate::run(arguments),
        Command::Completions(arguments) => completions::run(arguments),
        Command::Man(arguments) => man::run(arguments),
        Command::Suggest(arguments) => {
            with_settings(load, |loaded, runtime| runtime.block_on(suggest::run(&loaded.config, arguments)))
        }
        Command::Health(arguments) => {
            with_settings(load, |loaded, runtime| runtime.block_on(health::run(&loaded.config, arguments)))
        }
        Command::Stats(arguments) => {
            with_settings(load, |loaded, runtime| runtime.block_on(stats::run(&loaded.config, arguments)))
        }
        Command::Entries(arguments) => with_settings(without_routes, |loaded, runtime| {
            runtime.block_on(entries::run(&loaded.config, arguments))
        }),
        Command::Tail(arguments) => with_settings(without_routes, |loaded, runtime| {
            runtime.block_on(tail::run(&loaded.config, arguments))
        }),
        Command::Top(arguments) => {
            with_settings(load, |loaded, runtime| runtime.block_on(top::run(&loaded.config, arguments)))
        }
        Command::Reload(arguments) => {
            with_settings(load, |loaded, runtime| runtime.block_on(reload::run(&loaded.config, arguments)))
        }
        Command::Purge(arguments) => {
            with_settings(load, |loaded, runtime| runtime.block_on(purge::run(&loaded.config, arguments)))
        }
        Command::Wrong(arguments) => {
            with_settings(load, |loaded, runtime| runtime.block_on(wrong::run(&loaded.config, arguments)))
        }
        Command::Warm(arguments) => {
            with_settings(load, |loaded, runtime| runtime.block_on(warm::run(&loaded.config, arguments)))
        }
    }
}

/// Runs a command that needs the settings, and a runtime.
fn with_settings(
    load: impl FnOnce() -> Result<Loaded, Errors>,
    command: impl FnOnce(Loaded, &Runtime) -> Exit,
) -> Exit {
    match load() {
        Ok(loaded) => with_runtime(|runtime| command(loaded, runtime)),
        Err(errors) => Exit::misconfigured(&errors),
    }
}

fn with_runtime(command: impl FnOnce(&Runtime) -> Exit) -> Exit {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Exit::failure(format!("cannot start: {error}")),
    };
    let exit = command(&runtime);
    // The drain has waited long enough for the tasks that still run.
    runtime.shutdown_background();
    exit
}

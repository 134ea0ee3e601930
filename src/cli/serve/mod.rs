//! `sidecache serve`: runs the proxy until a signal, and reloads its settings at each hangup.

mod signals;
mod systemd;

use serde_json::{Map, Value, json};
use tokio::signal::unix::{Signal, SignalKind, signal};

use self::{signals::Asked, systemd::State};
use super::{Exit, Flags, welcome};
use crate::{
    app::{App, Reloader, lifecycle},
    config::{self, Errors, Loaded, LogLevel},
    proxy::reload::{ReloadOutcome, Reloaded},
    telemetry::log::{self, Log, events},
};

pub(super) async fn run(loaded: Loaded, flags: &Flags) -> Exit {
    let inherited = match systemd::sockets() {
        Ok(inherited) => inherited,
        Err(error) => return Exit::failure(error),
    };
    let (log, _guard) = match log::init(&loaded.config.log) {
        Ok(log) => log,
        Err(error) => return Exit::failure(error),
    };
    std::panic::set_hook(Box::new(events::panicked));
    let start = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "config_file": loaded.shown_file(),
        "settings": settings(&loaded),
    });
    lifecycle(LogLevel::Info, "starting", start);
    let app = match App::bind_in(loaded.config.clone(), inherited, Some(log.clone())).await {
        Ok(app) => app,
        Err(error) => return Exit::failure(error),
    };
    let (Ok(hangup), Ok(asked)) = (signal(SignalKind::hangup()), Asked::listen()) else {
        return Exit::failure("cannot listen for signals");
    };
    welcome::print(&loaded, &app);
    log_ready(&app);
    systemd::tell(State::Ready);
    systemd::keep_watchdog();
    let flags = with_the_same_file(flags.clone(), &loaded);
    let reloads = tokio::spawn(reload_on(hangup, app.reloader(), log, loaded, flags));
    let stop = async {
        asked.stop.cancelled().await;
        systemd::tell(State::Stopping);
    };
    tokio::select! {
        () = app.run(stop) => {}
        () = asked.cut.cancelled() => {
            lifecycle(LogLevel::Warning, "asked to stop again: what still runs is cut", json!({}));
        }
    }
    reloads.abort();
    lifecycle(LogLevel::Info, "stopped", json!({}));
    Exit::success(String::new())
}

fn log_ready(app: &App) {
    let address = app.address().map(|address| address.to_string()).unwrap_or_default();
    let admin = app.admin_address().map(|address| address.to_string());
    lifecycle(LogLevel::Info, &format!("ready on {address}"), json!({"listen": address, "admin": admin}));
}

/// Every setting with its value and its source. Secrets are masked.
fn settings(loaded: &Loaded) -> Map<String, Value> {
    let member = |setting: &config::EffectiveSetting| {
        (setting.key.to_owned(), json!({"value": setting.shown, "source": setting.source.to_string()}))
    };
    loaded.effective.iter().map(member).collect()
}

/// The flags of a reload: it reads the file of the start. Were that one gone, its settings would quietly become
/// the defaults.
fn with_the_same_file(flags: Flags, started: &Loaded) -> Flags {
    Flags { config: flags.config.or_else(|| started.file.clone()), ..flags }
}

/// At each hangup, and each call of an operator, reopens the log file and reads the settings again.
async fn reload_on(mut hangup: Signal, reloader: Reloader, log: Log, started: Loaded, flags: Flags) {
    let mut calls = reloader.calls();
    let mut reload = Reload { reloader, log, running: started.clone(), started, flags };
    loop {
        tokio::select! {
            Some(()) = hangup.recv() => drop(reload.run()),
            // Who has left does not need the answer.
            Some(call) = calls.recv() => drop(call.send(reload.run())),
            else => return,
        }
    }
}

/// Reads the settings again.
struct Reload {
    reloader: Reloader,
    log: Log,
    /// The settings of the start.
    started: Loaded,
    /// Those in force.
    running: Loaded,
    flags: Flags,
}

impl Reload {
    /// Settings with a fault change nothing.
    fn run(&mut self) -> ReloadOutcome {
        systemd::tell(State::Reloading);
        self.log.reopen();
        let outcome = self.apply().inspect_err(|errors| {
            self.reloader.failed();
            lifecycle(LogLevel::Error, "reload failed: the old settings stay", json!({"errors": errors}));
        });
        systemd::tell(State::Ready);
        outcome
    }

    fn apply(&mut self) -> ReloadOutcome {
        let errors = |errors: Errors| errors.0.iter().map(ToString::to_string).collect::<Vec<_>>();
        let new = self.flags.load(Vec::new()).map_err(errors)?;
        self.reloader.reload(new.config.clone()).map_err(|error| vec![error.to_string()])?;
        self.log.set_level(new.config.log.level);
        let reloaded = Reloaded {
            changed: config::changed(&self.running, &new),
            waiting_for_restart: config::restart_only(&self.started, &new),
        };
        let members = json!({
            "changed": reloaded.changed,
            "settings": settings(&new),
            "waiting_for_restart": reloaded.waiting_for_restart,
        });
        lifecycle(LogLevel::Info, "reloaded", members);
        self.running = new;
        Ok(reloaded)
    }
}

//! `sidecache serve`: runs the proxy until a signal, and reloads its settings at each hangup.

use serde_json::{Map, Value, json};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Exit, Flags, welcome};
use crate::{
    app::{App, Reloader, lifecycle},
    config::{self, Loaded, LogLevel},
    telemetry::log::{self, Log, events},
};

pub(super) async fn run(loaded: Loaded, flags: &Flags) -> Exit {
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
    let app = match App::bind_with_log(loaded.config.clone(), Some(log.clone())).await {
        Ok(app) => app,
        Err(error) => return Exit::failure(error),
    };
    let signals =
        (signal(SignalKind::hangup()), signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    let (Ok(hangup), Ok(mut terminate), Ok(mut interrupt)) = signals else {
        return Exit::failure("cannot listen for signals");
    };
    welcome::print(&loaded, &app);
    log_ready(&app);
    let flags = with_the_same_file(flags.clone(), &loaded);
    let reloads = tokio::spawn(reload_on(hangup, app.reloader(), log, loaded, flags));
    app.run(async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
    .await;
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

/// At each hangup, reopens the log file and reads the settings again. Settings with a fault change nothing.
async fn reload_on(mut hangup: Signal, reloader: Reloader, log: Log, started: Loaded, flags: Flags) {
    let mut running = started.clone();
    while hangup.recv().await.is_some() {
        log.reopen();
        let new = match flags.load(Vec::new()) {
            Ok(new) => new,
            Err(errors) => {
                reloader.failed();
                let errors: Vec<_> = errors.0.iter().map(ToString::to_string).collect();
                lifecycle(LogLevel::Error, "reload failed: the old settings stay", json!({"errors": errors}));
                continue;
            }
        };
        let waiting_for_restart = config::restart_only(&started, &new);
        if let Err(error) = reloader.reload(new.config.clone()) {
            reloader.failed();
            let errors = [error.to_string()];
            lifecycle(LogLevel::Error, "reload failed: the old settings stay", json!({"errors": errors}));
            continue;
        }
        log.set_level(new.config.log.level);
        lifecycle(
            LogLevel::Info,
            "reloaded",
            json!({
                "changed": config::changed(&running, &new),
                "settings": settings(&new),
                "waiting_for_restart": waiting_for_restart,
            }),
        );
        running = new;
    }
}

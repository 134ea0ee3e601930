//! What signals ask of a running proxy: to stop, to stop at once, or nothing.

use std::io;

use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::{app::lifecycle, config::LogLevel};

/// What was asked so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    /// To drain.
    pub(super) stop: CancellationToken,
    /// To end although requests still run.
    pub(super) cut: CancellationToken,
}

impl Asked {
    /// Listens from now on, until the runtime ends.
    ///
    /// # Errors
    /// If the system has no room for a handler.
    pub(super) fn listen() -> io::Result<Self> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        // Without a handler, these two would end the process.
        note(signal(SignalKind::user_defined1())?, "SIGUSR1");
        note(signal(SignalKind::user_defined2())?, "SIGUSR2");
        let asked = Self::default();
        let ours = asked.clone();
        tokio::spawn(async move {
            for step in [ours.stop, ours.cut] {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                step.cancel();
            }
        });
        Ok(asked)
    }
}

/// Logs each arrival of a signal that asks for nothing.
fn note(mut received: Signal, name: &'static str) {
    tokio::spawn(async move {
        while received.recv().await.is_some() {
            let message = format!("{name} does nothing; SIGHUP reloads, SIGTERM stops");
            lifecycle(LogLevel::Info, &message, json!({"signal": name}));
        }
    });
}

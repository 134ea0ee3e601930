//! Asks whoever runs the proxy to read its settings again.

use std::sync::OnceLock;

use tokio::sync::{mpsc, oneshot};

/// What a reload has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reloaded {
    /// The settings that changed, and `route` and `price`.
    pub(crate) changed: Vec<&'static str>,
    /// The settings that differ, and need a restart.
    pub(crate) waiting_for_restart: Vec<&'static str>,
}

/// The end of a reload, or its faults: then the old settings stay.
pub(crate) type ReloadOutcome = Result<Reloaded, Vec<String>>;

/// Who asked for a reload, and waits for its end.
pub(crate) type ReloadCall = oneshot::Sender<ReloadOutcome>;

/// The way to whoever can reload. There is none where the proxy runs inside another program.
#[derive(Debug, Default)]
pub(crate) struct Reloads(OnceLock<mpsc::Sender<ReloadCall>>);

impl Reloads {
    /// The calls from now on. Only the first one who listens gets them.
    pub(crate) fn listen(&self) -> mpsc::Receiver<ReloadCall> {
        let (sender, receiver) = mpsc::channel(1);
        // A second listener gets no calls.
        let _ = self.0.set(sender);
        receiver
    }

    /// Asks for a reload, and waits for its end; `None` if nobody can reload.
    pub(crate) async fn ask(&self) -> Option<ReloadOutcome> {
        let (call, end) = oneshot::channel();
        self.0.get()?.send(call).await.ok()?;
        end.await.ok()
    }
}

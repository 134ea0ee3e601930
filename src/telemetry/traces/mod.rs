//! Traces: spans of requests and their steps, sent to a collector by OTLP over HTTP.
//!
//! ```text
//! Traces::record(span)      a worker puts a span that has ended into the queue; full: the span is dropped and counted
//!   → queue.rs              bounded; wakes nobody until a batch is there
//!   → exporter.rs           a task of the main thread: each second, or at a full batch, sends what is there
//! ```
//!
//! An exporter that cannot send drops and counts, and no request waits for it. The batch processor of the OpenTelemetry
//! SDK is not used: it has a thread of its own, wakes it for each span, and does not say how many spans it dropped.

mod exporter;
mod queue;
mod span;

use std::{sync::Arc, time::Duration};

use tokio::{sync::oneshot, task::JoinHandle, time::timeout};

pub(crate) use self::span::{Parent, Span, attribute};
use self::{
    exporter::{Exporter, ExporterError},
    queue::Queue,
};
use crate::config::OtelConfig;

/// How long a stop waits for the last spans.
const FLUSH_WAIT: Duration = Duration::from_secs(2);

/// Takes spans that have ended. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Traces(Option<Arc<Queue>>);

/// How many spans were sent and dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SpanCounts {
    pub(crate) exported: u64,
    pub(crate) dropped: u64,
}

impl Traces {
    /// Begins to export to the collector that `config` names, with a task of this runtime. Without one, nothing is
    /// recorded.
    ///
    /// # Errors
    /// If the collector is reached over TLS and the system's certificates cannot be read.
    pub(crate) fn start(config: &OtelConfig) -> Result<(Self, Option<Flush>), ExporterError> {
        let Some(endpoint) = &config.endpoint else { return Ok((Self(None), None)) };
        let queue = Arc::new(Queue::default());
        let exporter = Exporter::new(endpoint, Arc::clone(&queue))?;
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(exporter.run(stopped));
        Ok((Self(Some(queue)), Some(Flush { stop, task })))
    }

    pub(crate) const fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Records a span that has ended.
    pub(crate) fn record(&self, span: Span) {
        if let Some(queue) = &self.0 {
            queue.offer(span);
        }
    }

    /// `None` if nothing is exported.
    pub(crate) fn counts(&self) -> Option<SpanCounts> {
        self.0.as_deref().map(Queue::counts)
    }
}

/// Sends the last spans when the process ends.
#[derive(Debug)]
pub(crate) struct Flush {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Flush {
    /// Waits until the last spans are sent, for two seconds at most.
    pub(crate) async fn finish(self) {
        drop(self.stop);
        let abort = self.task.abort_handle();
        if timeout(FLUSH_WAIT, self.task).await.is_err() {
            abort.abort();
        }
    }
}

//! From a `tracing` event to a line.

use std::{cell::Cell, fmt};

use serde::Serialize;
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    subscriber::Interest,
};
use tracing_subscriber::{Layer, layer::Context};

use super::{Clock, Log, events, line::Line};
use crate::config::LogLevel;

/// The memory that a thread retains for its next line, in bytes.
const MAX_RETAINED: usize = 16 * 1024;

/// The `tracing` layer that writes the events of our loggers, and of no library.
#[derive(Debug)]
pub(super) struct JsonLayer {
    log: Log,
    clock: Clock,
}

impl JsonLayer {
    pub(super) fn new(log: Log, clock: Clock) -> Self {
        Self { log, clock }
    }
}

impl<S: Subscriber> Layer<S> for JsonLayer {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        // `never` is cached: the event of a library then costs one load of an atomic. For ours `enabled` is
        // called each time, because the level may change, and a callsite that registers meanwhile could miss
        // a rebuild of the cache.
        if is_ours(metadata) { Interest::sometimes() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        level_of(*metadata.level()).is_some_and(|level| level >= self.log.level()) && is_ours(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(match self.log.level() {
            LogLevel::Debug => LevelFilter::DEBUG,
            LogLevel::Info => LevelFilter::INFO,
            LogLevel::Warning => LevelFilter::WARN,
            LogLevel::Error => LevelFilter::ERROR,
        })
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        thread_local! {
            /// Lines are written here, one after the other.
            static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
        }
        let Some(level) = level_of(*event.metadata().level()) else { return };
        let mut buffer = BUFFER.take();
        buffer.clear();
        let line = Line::begin(&mut buffer, (self.clock)(), level, event.metadata().target());
        let mut fields = Fields { line, is_typed: false };
        event.record(&mut fields);
        fields.line.end(self.log.unreported_drops());
        self.log.write(&buffer);
        // One huge line must not hold its memory for ever.
        buffer.shrink_to(MAX_RETAINED);
        BUFFER.set(buffer);
    }
}

fn is_ours(metadata: &Metadata<'_>) -> bool {
    events::LOGGERS.contains(&metadata.target())
}

fn level_of(level: Level) -> Option<LogLevel> {
    match level {
        Level::ERROR => Some(LogLevel::Error),
        Level::WARN => Some(LogLevel::Warning),
        Level::INFO => Some(LogLevel::Info),
        Level::DEBUG => Some(LogLevel::Debug),
        _ => None,
    }
}

/// Writes the fields that belong in a line, in the order of the event, and leaves out all others.
struct Fields<'a> {
    line: Line<'a>,
    is_typed: bool,
}

impl Fields<'_> {
    fn message(&mut self, message: impl Serialize) {
        if !self.is_typed {
            self.event_type("lifecycle");
        }
        self.line.member("message", message);
    }

    fn event_type(&mut self, event_type: &str) {
        self.is_typed = true;
        self.line.member("event_type", event_type);
    }
}

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "event_type" => self.event_type(value),
            "message" => self.message(value),
            "request_id" => self.line.member("request_id", value),
            "members" => self.line.members(value),
            _ => {}
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // `info!("text {x}")` comes as format arguments. `members` must be text, since it is written as it
        // is.
        if field.name() == "message" {
            self.message(format_args!("{value:?}"));
        }
    }
}

//! From a `tracing` event to a line.

use std::fmt::{self, Write};

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    subscriber::Interest,
};
use tracing_subscriber::{Layer, layer::Context};

use super::{
    Clock, Log, events,
    line::{Line, format_line},
};
use crate::config::LogLevel;

/// The `tracing` layer that writes our loggers' events, and no library's.
#[derive(Debug)]
pub struct JsonLayer {
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
        // `never` is cached: a library's event then costs one load of an atomic. Ours are asked about each time, as
        // the level may change and a callsite that registers meanwhile could miss a rebuild of the cache.
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
        let Some(level) = level_of(*event.metadata().level()) else { return };
        let mut fields = Fields::default();
        event.record(&mut fields);
        let line = Line {
            level,
            logger: event.metadata().target(),
            event_type: fields.event_type.as_deref().unwrap_or("lifecycle"),
            message: &fields.message,
            request_id: fields.request_id.as_deref(),
            members: &fields.members,
            dropped: self.log.untold_drops(),
        };
        self.log.write(&format_line((self.clock)(), &line));
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

/// The fields of an event that reach its line; all others are left out, whoever wrote them.
#[derive(Default)]
struct Fields {
    event_type: Option<String>,
    message: String,
    request_id: Option<String>,
    members: String,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "event_type" => self.event_type = Some(value.to_owned()),
            "message" => value.clone_into(&mut self.message),
            "request_id" => self.request_id = Some(value.to_owned()),
            "members" => value.clone_into(&mut self.members),
            _ => {}
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // `info!("text {x}")` comes as format arguments. `members` only as text: it is written as it is.
        if field.name() == "message" {
            self.message.clear();
            let _ = write!(self.message, "{value:?}");
        }
    }
}

//! A span that has ended, and what the OpenTelemetry SDK makes of it.

use std::{
    borrow::Cow,
    time::{Duration, SystemTime},
};

use opentelemetry::{
    InstrumentationScope, KeyValue, Value,
    trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState},
};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

/// The span above another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parent {
    pub(crate) span_id: u64,
    /// Whether it is another process's.
    pub(crate) is_remote: bool,
}

/// A span that has ended.
#[derive(Debug)]
pub(crate) struct Span {
    pub(crate) trace_id: u128,
    pub(crate) id: u64,
    /// `None` for the first span of a trace.
    pub(crate) parent: Option<Parent>,
    pub(crate) kind: SpanKind,
    pub(crate) name: Cow<'static, str>,
    pub(crate) ended: SystemTime,
    pub(crate) took: Duration,
    pub(crate) attributes: Vec<KeyValue>,
    pub(crate) has_failed: bool,
    /// The client's `tracestate`.
    pub(crate) state: Option<String>,
}

/// An attribute, if it has a value.
pub(crate) fn attribute(name: &'static str, value: Option<impl Into<Value>>) -> Option<KeyValue> {
    value.map(|value| KeyValue::new(name, value))
}

impl Span {
    pub(super) fn into_data(self, scope: &InstrumentationScope) -> SpanData {
        // A `tracestate` that is not valid is left out (W3C Trace Context, section 3.3.1).
        let state = self.state.and_then(|state| state.parse().ok()).unwrap_or(TraceState::NONE);
        let context = SpanContext::new(
            TraceId::from_bytes(self.trace_id.to_be_bytes()),
            SpanId::from_bytes(self.id.to_be_bytes()),
            TraceFlags::SAMPLED,
            false,
            state,
        );
        let parent = self.parent.map(|parent| SpanId::from_bytes(parent.span_id.to_be_bytes()));
        SpanData {
            span_context: context,
            parent_span_id: parent.unwrap_or(SpanId::INVALID),
            parent_span_is_remote: self.parent.is_some_and(|parent| parent.is_remote),
            span_kind: self.kind,
            name: self.name,
            start_time: self.ended.checked_sub(self.took).unwrap_or(self.ended),
            end_time: self.ended,
            attributes: self.attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: if self.has_failed { Status::error("") } else { Status::Unset },
            instrumentation_scope: scope.clone(),
        }
    }

    #[cfg(test)]
    pub(super) fn example(id: u64) -> Self {
        Self {
            trace_id: 1,
            id,
            parent: None,
            kind: SpanKind::Server,
            name: "POST".into(),
            ended: SystemTime::UNIX_EPOCH + Duration::from_secs(10),
            took: Duration::from_secs(4),
            attributes: Vec::new(),
            has_failed: false,
            state: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_keeps_its_ids_and_times() {
        let state = Some("vendor=1,other=2".to_owned());
        let parent = Some(Parent { span_id: 7, is_remote: true });
        let span = Span { parent, state, has_failed: true, ..Span::example(9) };
        let data = span.into_data(&InstrumentationScope::default());
        assert_eq!(data.span_context.span_id().to_string(), "0000000000000009");
        assert_eq!(data.parent_span_id.to_string(), "0000000000000007");
        assert!(data.parent_span_is_remote);
        assert_eq!(data.span_context.trace_state().header(), "vendor=1,other=2");
        assert_eq!(data.start_time, SystemTime::UNIX_EPOCH + Duration::from_secs(6));
        assert_eq!(data.status, Status::error(""));
    }

    #[test]
    fn a_state_that_is_not_valid_is_left_out() {
        let span = Span { state: Some("no state".to_owned()), ..Span::example(9) };
        assert_eq!(span.into_data(&InstrumentationScope::default()).span_context.trace_state().header(), "");
    }
}

//! The trace that a request is part of, as `traceparent` names it (W3C Trace Context).
//!
//! The OpenTelemetry crates have a propagator for this. It wants a map of texts and a context of its own for each
//! request; these 55 characters are read in place. A test holds it to that propagator.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::hex::{read_hex, write_hex};

pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(crate) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The length of a `traceparent` of version 00, in bytes.
const LENGTH: usize = 55;

/// The flag of a trace that is recorded.
const SAMPLED: u8 = 1;

/// A span, as its children are told of it. No id is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TraceParent {
    pub(crate) trace_id: u128,
    pub(crate) span_id: u64,
    /// Whether the trace is recorded.
    pub(crate) is_sampled: bool,
}

impl TraceParent {
    /// The one that `headers` name. `None` if there is none, more than one, or one that is not valid (Trace Context,
    /// section 3.2.2).
    pub(crate) fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(TRACEPARENT).iter();
        let (Some(value), None) = (values.next(), values.next()) else { return None };
        Self::parse(value.as_bytes())
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let (text, rest) = text.split_at_checked(LENGTH)?;
        let version = read_hex(&text[..2])?;
        // A later version may say more behind another dash (section 4.1.1).
        let may_have_more = version > 0 && version < 0xff;
        if version == 0xff || !(rest.is_empty() || may_have_more && rest.starts_with(b"-")) {
            return None;
        }
        if [2, 35, 52].iter().any(|dash| text[*dash] != b'-') {
            return None;
        }
        let trace_id = read_hex(&text[3..35])?;
        let span_id = u64::try_from(read_hex(&text[36..52])?).ok()?;
        let flags = u8::try_from(read_hex(&text[53..])?).ok()?;
        (trace_id != 0 && span_id != 0).then_some(Self {
            trace_id,
            span_id,
            is_sampled: flags & SAMPLED != 0,
        })
    }

    /// The header's value, in version 00.
    pub(crate) fn to_value(self) -> Option<HeaderValue> {
        let Self { trace_id, span_id, is_sampled } = self;
        let mut text = [b'-'; LENGTH];
        text[..2].copy_from_slice(b"00");
        write_hex(&trace_id.to_be_bytes(), &mut text[3..35]);
        write_hex(&span_id.to_be_bytes(), &mut text[36..52]);
        text[53..].copy_from_slice(if is_sampled { b"01" } else { b"00" });
        HeaderValue::from_bytes(&text).ok()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use opentelemetry::{propagation::TextMapPropagator, trace::TraceContextExt};
    use opentelemetry_sdk::propagation::TraceContextPropagator;
    use proptest::prelude::*;

    use super::*;

    const EXAMPLE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn parse(text: &str) -> Option<TraceParent> {
        TraceParent::parse(text.as_bytes())
    }

    /// What the official propagator reads.
    fn official(text: &str) -> Option<TraceParent> {
        let headers = HashMap::from([("traceparent".to_owned(), text.to_owned())]);
        let context = TraceContextPropagator::new().extract(&headers);
        let span = context.span().span_context().clone();
        span.is_valid().then(|| TraceParent {
            trace_id: u128::from_be_bytes(span.trace_id().to_bytes()),
            span_id: u64::from_be_bytes(span.span_id().to_bytes()),
            is_sampled: span.is_sampled(),
        })
    }

    #[test]
    fn a_parent_is_read_and_written() {
        let parent = parse(EXAMPLE).expect("a parent");
        assert_eq!(parent.trace_id, 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c);
        assert_eq!(parent.span_id, 0xb7ad_6b71_6920_3331);
        assert!(parent.is_sampled);
        assert_eq!(parent.to_value().expect("a value"), EXAMPLE);
    }

    #[test]
    fn what_is_not_valid_is_no_parent() {
        for (text, good) in [
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", true),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03", true),
            ("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", true),
            ("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more", true),
            ("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01more", false),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more", false),
            ("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false),
            ("00-00000000000000000000000000000000-b7ad6b7169203331-01", false),
            ("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", false),
            ("00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false),
            ("00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0", false),
            ("", false),
        ] {
            assert_eq!(parse(text).is_some(), good, "{text}");
        }
    }

    #[test]
    fn two_parents_are_none() {
        let mut headers = HeaderMap::new();
        headers.append(TRACEPARENT, HeaderValue::from_static(EXAMPLE));
        assert!(TraceParent::from_headers(&headers).is_some());
        headers.append(TRACEPARENT, HeaderValue::from_static(EXAMPLE));
        assert_eq!(TraceParent::from_headers(&headers), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read_as_the_official_propagator_reads_it(
            text in "[0f][0f]-[0-9a-g]{32}-[0-9a-f]{16}-0[0-3]|00-[0-9a-f]{32}-[0-9a-f]{16}-0[0-3]",
        ) {
            prop_assert_eq!(parse(&text), official(&text));
        }
    }
}

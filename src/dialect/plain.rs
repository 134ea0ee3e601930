//! Bodies that mean nothing here beyond being JSON, or bytes.

use super::{
    Answer, Rules, Shape,
    rag::{ends_as_named, is_error},
    sse,
};
use crate::{json::Json, policy::Reason};

pub(super) struct Plain;

impl Shape for Plain {
    fn fits(&self, _body: &Json<'_>) -> bool {
        true
    }

    fn text(&self) -> &'static [&'static str] {
        &[]
    }

    fn whole(&self, _json: &Json<'_>, _rules: &Rules<'_>) -> Answer {
        Answer::new(Ok(()), None, None)
    }

    /// Ends only as the route says.
    fn stream(&self, events: &[sse::Event], rules: &Rules<'_>) -> Answer {
        for event in events {
            let json = Json::parse(event.data.as_bytes()).ok();
            if is_error(event, json.as_ref()) {
                return Answer::not_stored(Reason::ErrorEvent);
            }
            if ends_as_named(event, json.as_ref(), rules.stream_end) {
                return Answer::new(Ok(()), None, None);
            }
        }
        Answer::not_stored(Reason::NoProperEnd)
    }
}

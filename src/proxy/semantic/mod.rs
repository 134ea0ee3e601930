//! Hits by meaning in a request's life: on an exact miss the nearest stored question is found while the service is asked.
//! The service's answer is a label; enough labels certify a threshold, and from there on near questions are served.
//!
//! ```text
//! SemanticSlot    lasts as long as the process; empty while the settings switch it off
//!   → Semantic    stored questions, labels, what was served lately: changed by events alone (publish, apply)
//!   → sharing/    what other replicas and the next process hear of these events
//!
//! miss.rs         an exact miss: the question is read, and served by meaning if that is certified
//!   → pending.rs  its vector and its neighbours, beside the call of the service
//!   → label.rs    once the service has answered: a label, and one more stored question
//! ```

mod audit;
pub(crate) mod embedder;
mod judge;
mod label;
mod ledgers;
mod miss;
mod nearest;
pub(crate) mod pending;
pub(crate) mod question;
mod recent;
mod served;
mod sharing;
mod slot;
pub(crate) mod state;
pub(crate) mod status;
mod wrong;

use http::StatusCode;

pub(crate) use self::{
    label::Answered,
    miss::{answer, note_caller},
    nearest::nearest,
    slot::SemanticSlot,
    state::{Semantic, Surroundings},
    wrong::NotServed,
};
use crate::{cache::entry::Entry, proxy::context::RequestContext};

/// The text of a stored answer; `None` if it calls tools, or is not text alone.
fn answer_text(context: &RequestContext, entry: &Entry) -> Option<String> {
    let RequestContext { route, cache_request, .. } = context;
    let framing = route.framing(&entry.headers);
    (entry.status == StatusCode::OK).then(|| cache_request.dialect.answer_text(framing, &entry.body))?
}

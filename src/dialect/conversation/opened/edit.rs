//! The ids of a running answer, as one follower gets them.

use bytes::Bytes;

use super::{IdReader, RequestIds, may_name};
use crate::{
    dialect::conversation::{Opens, OwnId},
    http::sse::Framing,
    json::Json,
    reason::Reason,
};

/// What is changed of the ids in a running answer, for one follower.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::dialect) struct IdEdit {
    opens: Opens,
    /// The conversations that the follower's request names.
    named: Vec<String>,
    own_ids: Vec<OwnId>,
    /// Those of the request that the answer was made for.
    leader_ids: Vec<OwnId>,
    /// The new ids that the follower has got so far.
    new: Vec<(String, String)>,
}

impl IdEdit {
    /// For a follower with the ids `request`, of an answer that was made for a request with `leader_ids`.
    pub(in crate::dialect) fn new(request: RequestIds<'_>, leader_ids: &[OwnId], opens: &Opens) -> Self {
        Self {
            opens: opens.clone(),
            named: request.named.to_vec(),
            own_ids: request.own.to_vec(),
            leader_ids: leader_ids.to_vec(),
            new: Vec::new(),
        }
    }

    /// The body, or whole events of it, for the follower; `None` if it stays as it is.
    ///
    /// # Errors
    /// `opens-conversation` if an id cannot be taken out, or if there may be one in a part that cannot be parsed.
    pub(in crate::dialect) fn apply(
        &mut self,
        framing: Framing,
        body: &[u8],
    ) -> Result<Option<Bytes>, Reason> {
        if self.opens.pointers.is_none() && !may_name(body) {
            return Ok(None);
        }
        let request = RequestIds { named: &self.named, own: &self.leader_ids };
        let mut reader = IdReader::new(request, &self.opens);
        let mut read_to = 0;
        match framing.events(body) {
            Some(events) => {
                for event in events {
                    reader.read_event(&event)?;
                    read_to = event.end;
                }
            }
            None => {
                if let Ok(json) = Json::parse(body) {
                    reader.read_document(&json, body, 0)?;
                    read_to = body.len();
                }
            }
        }
        // A last event without its end, or no events and no document at all.
        reader.read_unparsed(&body[read_to..])?;
        reader.for_follower(body, &self.own_ids, &mut self.new)
    }
}

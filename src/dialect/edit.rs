//! What sidecache changes of a body on its way: the request asks for the usage under `usage = "ask"`, and the
//! answer loses what its reader must not see. Everything else of the body stays as it was.

use bytes::Bytes;

use super::{
    ask::Ask,
    conversation::{IdEdit, Opens, OwnId, RequestIds, Slot, fill},
    openai,
};
use crate::{http::sse::Framing, json::Json, reason::Reason};

/// What is changed of a running answer for one of its readers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Edit {
    /// The ids that were made for another client go.
    ids: Option<IdEdit>,
    /// The answer comes from the store: its slots get the reader's own ids.
    slots: Option<(Vec<Slot>, Vec<OwnId>)>,
    /// The usage goes, since the reader did not ask for it.
    hides_usage: bool,
}

impl Edit {
    /// Whether the edit may change an answer that is framed so.
    pub(crate) fn changes(&self, framing: Framing) -> bool {
        // A document always reports its usage.
        self.ids.is_some() || self.slots.is_some() || (self.hides_usage && framing == Framing::Events)
    }

    /// What of an answer that is framed so is edited at once: the slots are at their places in the whole answer.
    pub(crate) const fn framing(&self, framing: Framing) -> Framing {
        if self.slots.is_some() { Framing::Whole } else { framing }
    }

    /// The same edit, of a stored answer with `slots`, for a request with `own_ids`.
    pub(crate) fn with_slots(self, slots: &[Slot], own_ids: &[OwnId]) -> Self {
        let slots = (!slots.is_empty()).then(|| (slots.to_vec(), own_ids.to_vec()));
        // The ids of its client went before it was stored.
        Self { slots, ids: None, ..self }
    }

    /// Edits whole events of an answer, or a whole document, framed as `framing` says.
    ///
    /// # Errors
    /// `opens-conversation` if an id cannot be taken out.
    pub(crate) fn apply(&mut self, framing: Framing, whole: Bytes) -> Result<Bytes, Reason> {
        let whole = match &mut self.ids {
            Some(ids) => ids.apply(framing, &whole)?.unwrap_or(whole),
            None => whole,
        };
        let whole = match &self.slots {
            Some((slots, own_ids)) => fill(&whole, slots, own_ids),
            None => whole,
        };
        let hides_usage = self.hides_usage && framing == Framing::Events;
        Ok(if hides_usage { openai::usage::hidden(&whole).into() } else { whole })
    }
}

impl Ask {
    /// The edit of the upstream's answer for the client that asked.
    pub(crate) fn edit_for_caller(&self) -> Edit {
        Edit { hides_usage: self.hides_usage(), ..Edit::default() }
    }

    /// The edit for a follower with the ids `request`, if the answer may open a conversation. `leader_ids` are those
    /// of the request that the answer was made for.
    pub(crate) fn edit_for_follower(
        &self,
        ids: Option<(RequestIds<'_>, &Opens)>,
        leader_ids: &[OwnId],
    ) -> Edit {
        let ids = ids.map(|(request, opens)| IdEdit::new(request, leader_ids, opens));
        Edit { ids, ..self.edit_for_caller() }
    }

    /// The request's body with a wish for the stream's usage, if the upstream is asked for it and the client
    /// did not. `json` is the body, parsed.
    pub(crate) fn upstream_body(&self, body: &[u8], json: &Json<'_>) -> Option<Bytes> {
        self.hides_usage().then(|| openai::usage::asked(body, json).into())
    }

    fn hides_usage(&self) -> bool {
        self.form != self.upstream_form
    }
}

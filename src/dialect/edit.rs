//! What sidecache changes of a body on its way: the request asks for the usage under `usage = "ask"`, and the
//! answer loses what its reader must not see. Everything else of the body stays as it was.

use bytes::Bytes;

use super::{ask::Ask, conversation, openai};
use crate::{http::sse::Framing, json::Json, reason::Reason};

/// What is taken out of a running answer for some of its readers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Edit {
    /// The ids that the answer opens go, but for these, which the reader's own request names.
    named: Option<Vec<String>>,
    /// The usage goes, since the reader did not ask for it.
    hides_usage: bool,
}

impl Edit {
    /// Whether the edit may change an answer that is framed so.
    pub(crate) fn changes(&self, framing: Framing) -> bool {
        // A document always reports its usage.
        self.named.is_some() || framing == Framing::Events
    }

    /// Edits whole events of an answer, or a whole document.
    ///
    /// # Errors
    /// `opens-conversation` if an id cannot be taken out.
    pub(crate) fn apply(&self, framing: Framing, whole: Bytes) -> Result<Bytes, Reason> {
        let whole = match &self.named {
            Some(named) => conversation::without_opened(framing, &whole, named)?.unwrap_or(whole),
            None => whole,
        };
        let hides_usage = self.hides_usage && framing == Framing::Events;
        Ok(if hides_usage { openai::usage::hidden(&whole).into() } else { whole })
    }
}

impl Ask {
    /// The edit of the upstream's answer for the client that asked, if it needs one.
    pub(crate) fn edit_for_caller(&self) -> Option<Edit> {
        self.hides_usage().then_some(Edit { named: None, hides_usage: true })
    }

    /// The edit for the followers, if they need one. `named` are the conversations that their requests name,
    /// if the answer may open another one.
    pub(crate) fn edit_for_others(&self, named: Option<&[String]>) -> Option<Edit> {
        let edit = Edit { named: named.map(<[String]>::to_vec), hides_usage: self.hides_usage() };
        (edit.named.is_some() || edit.hides_usage).then_some(edit)
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

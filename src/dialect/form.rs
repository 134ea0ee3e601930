//! The two forms of an answer, and the way from one to the other.

use bytes::Bytes;

use super::{Ask, Dialect, sse::Framing};
use crate::{json::Json, normal};

/// The form of an answer that a request asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Form {
    /// A stream, or one document.
    pub stream: bool,
    /// Whether a stream is to tell its usage.
    pub with_usage: bool,
    /// Whether a stream is to be made in some way that is not known here.
    pub odd: bool,
    /// Tells this form from every other.
    pub id: u64,
}

impl Form {
    /// The form that a request in a dialect with streams asks for.
    pub(super) fn of(body: &Json<'_>, streams_by_default: bool) -> Self {
        let stream = match body.get("stream").filter(|stream| !stream.is_null()) {
            None => streams_by_default,
            Some(Json::Bool(stream)) => *stream,
            // What an upstream makes of this is its own affair.
            Some(other) => return Self { odd: true, id: odd_id(other), ..Self::default() },
        };
        if !stream {
            return Self::default();
        }
        let options = body.get("stream_options").filter(|options| !options.is_null());
        let with_usage = options.and_then(|options| options.get("include_usage")).and_then(Json::as_bool);
        let known = |member: &crate::json::Member<'_>| {
            member.name == "include_usage" && member.value.as_bool().is_some()
        };
        let odd = options.is_some_and(|options| !options.is_object() || !options.members().iter().all(known));
        let with_usage = with_usage == Some(true);
        let id = if odd { options.map_or(0, odd_id) } else { 1 + u64::from(with_usage) };
        Self { stream, with_usage, odd, id }
    }

    /// The same, with its usage told where it is a stream.
    pub(super) const fn told_usage(self) -> Self {
        if self.stream && !self.odd { Self { with_usage: true, id: 2, ..self } } else { self }
    }
}

/// Tells odd options from others, and from the ids of the known forms.
fn odd_id(options: &Json<'_>) -> u64 {
    let mut text = Vec::new();
    normal::write(options, &normal::Rules::default(), &mut text);
    u64::from_le_bytes(*blake3::hash(&text).as_bytes().first_chunk().unwrap_or(&[0; 8])) | 1 << 63
}

/// The id of an answer that nobody asked for, and that somebody put by hand: its media type tells its form.
pub const BY_HAND: u64 = u64::MAX - 1;

/// The body of a stored answer as a request gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Served {
    /// As it came.
    AsStored,
    /// As it came, but for what the caller did not ask for.
    Shown(Bytes),
    /// In another form; its media type and its body.
    Made(&'static str, Bytes),
}

/// A stored answer in the form that `ask` wants: the answer to a request with form `id`, of type `media`.
/// `None` where it is another form, and making that one would lose or invent something.
pub fn serve(dialect: Dialect, id: u64, media: &str, body: &Bytes, ask: &Ask) -> Option<Served> {
    let wanted = ask.form;
    let id = match id {
        BY_HAND => u64::from(dialect.has_stream_member() && Framing::of(media) != Framing::Whole),
        id => id,
    };
    if id == wanted.id {
        return Some(Served::AsStored);
    }
    if let (true, Some(edit)) = (id == ask.upstream_form.id, ask.edit_for_caller()) {
        // What the upstream was asked beyond the caller's question is hidden as it was from the first one.
        let framing = Framing::of(media);
        let shown = edit.apply(framing, body.clone()).ok()?;
        return Some(if framing == Framing::Whole { Served::AsStored } else { Served::Shown(shown) });
    }
    let shape = dialect.shape();
    let events = Framing::of(media).events(body);
    let (media, made) = match events {
        _ if wanted.odd => return None,
        Some(events) if wanted.stream => {
            (shape.stream_media(), shape.with_usage(&events, wanted.with_usage)?)
        }
        Some(events) => ("application/json", shape.to_whole(&events)?),
        None if wanted.stream => {
            (shape.stream_media(), shape.to_stream(&Json::parse(body).ok()?, wanted.with_usage)?)
        }
        // A document that answered a request for a stream.
        None => return Some(Served::AsStored),
    };
    Some(Served::Made(media, made.into()))
}

/// Whether a stored answer serves both forms.
pub fn serves_both(dialect: Dialect, media: &str, body: &Bytes) -> bool {
    let stream = Ask { form: Form { stream: true, id: u64::MAX, ..Form::default() }, ..Ask::default() };
    let whole = Ask { form: Form { id: u64::MAX, ..Form::default() }, ..Ask::default() };
    [stream, whole].iter().all(|ask| serve(dialect, 0, media, body, ask).is_some())
}

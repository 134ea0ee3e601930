//! What a request asks for, as far as that decides how its answer is judged and served: above all, in which
//! form.

use crate::json::{Json, Member, canonical};

/// What a request asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ask {
    /// The form of the answer.
    pub form: Form,
    /// The form that the upstream is asked for. With `usage = "ask"`, its stream reports more than the client
    /// asked for.
    pub(crate) upstream_form: Form,
    /// Whether the request limits the answer's length.
    pub(crate) sets_limit: bool,
    /// Whether the answer's text must be JSON.
    pub(crate) wants_json: bool,
    /// How many choices the request asks for.
    pub(crate) choices: u64,
    /// Whether the upstream answers before the work is done, which goes on under the answer's id.
    pub(crate) runs_in_background: bool,
    /// Whether the upstream keeps the answer for its caller, who may name it later.
    pub(crate) is_kept_by_service: bool,
    /// How many inputs the request has, if each has an entry of its own; else 0.
    pub(crate) inputs: usize,
    /// Whether vectors may come as base64.
    pub(crate) takes_base64: bool,
    /// The documents that are to be ranked.
    pub(crate) ranks: Ranks,
}

/// How many documents a request has to be ranked, and how many results it wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Ranks {
    pub(crate) documents: usize,
    pub(crate) results: usize,
}

/// The form of an answer that a request asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Form {
    /// Whether the answer is a stream. It is one document otherwise.
    pub(crate) stream: bool,
    /// Whether the stream is one JSON list.
    pub(crate) list: bool,
    /// Whether the stream reports its usage.
    pub(crate) with_usage: bool,
    /// Whether the request has options for the stream that are not known here.
    pub(crate) odd: bool,
    /// No two forms have the same one: 0 is a document, 1 a stream, 2 a stream with its usage, 3 a stream that is one
    /// list, and an odd form has a hash of its options, with the highest bit set.
    pub id: u64,
}

impl Form {
    const DOCUMENT: u64 = 0;
    const STREAM: u64 = 1;
    const STREAM_WITH_USAGE: u64 = 2;
    const STREAM_AS_LIST: u64 = 3;
    const ODD: u64 = 1 << 63;

    /// The ids of the forms that are not odd.
    pub(crate) const KNOWN_IDS: [u64; 4] =
        [Self::DOCUMENT, Self::STREAM, Self::STREAM_WITH_USAGE, Self::STREAM_AS_LIST];

    /// A stream of events, in an API whose requests do not ask for its usage.
    pub(super) const EVENTS: Self =
        Self { stream: true, list: false, with_usage: false, odd: false, id: Self::STREAM };

    /// A stream that is one JSON list.
    pub(super) const LIST: Self = Self { list: true, id: Self::STREAM_AS_LIST, ..Self::EVENTS };

    /// A form that is not known here; `options` are what asks for it.
    pub(super) fn odd(options: &[u8]) -> Self {
        Self { odd: true, id: hash(options) | Self::ODD, ..Self::default() }
    }

    /// The form that a request asks for, in a dialect where `stream` chooses it.
    pub(super) fn asked_for(body: &Json<'_>, streams_by_default: bool) -> Self {
        let stream = match body.get("stream").filter(|stream| !stream.is_null()) {
            None => streams_by_default,
            Some(Json::Bool(stream)) => *stream,
            // Each upstream reads this in its own way.
            Some(other) => return Self::odd(&normal_form(other)),
        };
        if !stream {
            return Self::default();
        }
        let options = body.get("stream_options").filter(|options| !options.is_null());
        let with_usage = options.and_then(|options| options.get("include_usage")).and_then(Json::as_bool);
        let with_usage = with_usage == Some(true);
        let id = match options.filter(|options| are_odd(options)) {
            Some(options) => Self::odd(&normal_form(options)).id,
            None if with_usage => Self::STREAM_WITH_USAGE,
            None => Self::STREAM,
        };
        Self { stream, list: false, with_usage, odd: id >= Self::ODD, id }
    }

    /// The form with this id. The id of an odd form does not say whether it is a stream: the answer does.
    pub(super) fn from_id(id: u64, is_stream: bool) -> Self {
        let odd = id >= Self::ODD;
        let stream = if odd { is_stream } else { id > Self::DOCUMENT };
        Self { stream, list: id == Self::STREAM_AS_LIST, with_usage: id == Self::STREAM_WITH_USAGE, odd, id }
    }

    /// The same form, with the usage if it is a stream.
    pub(super) const fn with_usage(self) -> Self {
        if self.stream && !self.odd {
            Self { with_usage: true, id: Self::STREAM_WITH_USAGE, ..self }
        } else {
            self
        }
    }
}

/// Whether a request's `stream_options` have more than a usual `include_usage`.
fn are_odd(options: &Json<'_>) -> bool {
    let is_known = |member: &Member<'_>| member.name == "include_usage" && member.value.as_bool().is_some();
    !options.is_object() || !options.members().iter().all(is_known)
}

fn normal_form(options: &Json<'_>) -> Vec<u8> {
    let mut text = Vec::new();
    canonical::write(options, &canonical::Rules::default(), &mut text);
    text
}

fn hash(text: &[u8]) -> u64 {
    u64::from_le_bytes(*blake3::hash(text).as_bytes().first_chunk().unwrap_or(&[0; 8]))
}

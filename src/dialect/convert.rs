//! The two forms of an answer, and the way from one to the other.

use bytes::Bytes;

use super::{Ask, Dialect};
use crate::{
    http::sse::Framing,
    json::{Json, canonical},
};

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

    /// The form with this id; an odd one is what its answer is.
    fn of_id(id: u64, is_stream: bool) -> Self {
        let odd = id >> 63 == 1;
        Self { stream: if odd { is_stream } else { id > 0 }, with_usage: id == 2, odd, id }
    }

    /// The same, with its usage told where it is a stream.
    pub(super) const fn told_usage(self) -> Self {
        if self.stream && !self.odd { Self { with_usage: true, id: 2, ..self } } else { self }
    }
}

/// Tells odd options from others, and from the ids of the known forms.
fn odd_id(options: &Json<'_>) -> u64 {
    let mut text = Vec::new();
    canonical::write(options, &canonical::Rules::default(), &mut text);
    u64::from_le_bytes(*blake3::hash(&text).as_bytes().first_chunk().unwrap_or(&[0; 8])) | 1 << 63
}

/// The ids of the forms that are known.
pub const FORMS: [u64; 3] = [0, 1, 2];

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
    let id = known_id(dialect, id, media);
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

/// The id of the form that an answer with the id `id` is in.
fn known_id(dialect: Dialect, id: u64, media: &str) -> u64 {
    match id {
        BY_HAND => u64::from(dialect.has_stream_member() && Framing::of(media) != Framing::Whole),
        id => id,
    }
}

/// An answer as it is stored.
#[derive(Clone, Copy, Debug)]
pub struct Stored<'a> {
    /// The id of the form that its request asked for.
    pub form: u64,
    /// Its media type.
    pub media: &'a str,
    /// Its body.
    pub body: &'a Bytes,
}

impl Stored<'_> {
    /// Whether it answers the request that `other` answered.
    fn serves_as(&self, dialect: Dialect, other: &Stored<'_>) -> bool {
        let is_stream = Framing::of(other.media) != Framing::Whole;
        let form = Form::of_id(known_id(dialect, other.form, other.media), is_stream);
        let ask = Ask { form, upstream_form: form, ..Ask::default() };
        serve(dialect, self.form, self.media, self.body, &ask).is_some()
    }

    fn serves_both(&self, dialect: Dialect) -> bool {
        serves_both(dialect, self.media, self.body)
    }
}

/// Where a new answer is kept while another one to the same question is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// In the place of the stored one.
    Instead,
    /// Beside the stored one: neither can be made from the other.
    Beside,
    /// Nowhere: the stored one serves more.
    Nowhere,
}

/// Where `new` is kept while `stored` is fresh: what serves both forms stays, whichever came first, and where neither
/// serves what the other one answered, neither drives the other one out.
pub fn place(dialect: Dialect, stored: &Stored<'_>, new: &Stored<'_>) -> Placement {
    if new.serves_both(dialect) {
        return Placement::Instead;
    }
    match (stored.serves_as(dialect, new), stored.serves_both(dialect)) {
        (true, true) => Placement::Nowhere,
        (false, true) => Placement::Beside,
        (_, false) if new.serves_as(dialect, stored) => Placement::Instead,
        (true, false) => Placement::Nowhere,
        (false, false) => Placement::Beside,
    }
}

/// Whether a stored answer serves both forms.
fn serves_both(dialect: Dialect, media: &str, body: &Bytes) -> bool {
    // In an id that no answer has, so that neither form is there already.
    let forms = [true, false].map(|stream| Form { stream, id: u64::MAX, ..Form::default() });
    let serves =
        |form| serve(dialect, 0, media, body, &Ask { form, upstream_form: form, ..Ask::default() }).is_some();
    forms.into_iter().all(serves)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str =
        r#"{"choices":[{"index":0,"message":{"content":"a"},"finish_reason":"stop"}],"usage":{"n":1}}"#;
    const ODD: u64 = 1 << 63 | 5;

    fn chunks(usage: &str) -> String {
        let text = r#"{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]}"#;
        format!("data: {text}\n\n{usage}data: [DONE]\n\n")
    }

    /// Answers by what they serve; what is their own has no other form.
    fn answers() -> Vec<(&'static str, u64, &'static str, Bytes)> {
        let usage = "data: {\"choices\":[],\"usage\":{\"n\":1}}\n\n";
        let novel = "data: {\"novel\":1}\n\n";
        let events = "text/event-stream";
        let told = |name, form, body: String| (name, form, events, Bytes::from(body));
        vec![
            ("document", 0, "application/json", Bytes::from(WHOLE)),
            (
                "own document",
                0,
                "application/json",
                Bytes::from(WHOLE.replace(r#""stop"}"#, r#""stop","delta":{"x":1}}"#)),
            ),
            ("stream", 1, events, Bytes::from(chunks(""))),
            told("stream with usage", 2, chunks(usage)),
            told("own stream", 1, chunks(novel)),
            told("own stream with usage", 2, chunks(&format!("{novel}{usage}"))),
            told("odd stream", ODD, chunks("")),
            told("odd stream with usage", ODD, chunks(usage)),
        ]
    }

    #[test]
    fn what_serves_more_stays_and_what_serves_else_is_kept_beside() {
        use Placement::{Beside, Instead, Nowhere};
        // By the stored one, where each of the new ones goes, in the order above.
        let expected = [
            ("document", [Instead, Nowhere, Nowhere, Instead, Nowhere, Nowhere, Beside, Instead]),
            ("own document", [Instead, Instead, Beside, Instead, Beside, Beside, Beside, Instead]),
            ("stream", [Instead, Beside, Instead, Instead, Instead, Beside, Instead, Instead]),
            ("stream with usage", [Instead, Nowhere, Nowhere, Instead, Nowhere, Nowhere, Beside, Instead]),
            ("own stream", [Instead, Beside, Instead, Instead, Instead, Beside, Instead, Instead]),
            ("own stream with usage", [Instead, Beside, Beside, Instead, Beside, Instead, Beside, Instead]),
            ("odd stream", [Instead, Beside, Nowhere, Instead, Nowhere, Beside, Instead, Instead]),
            (
                "odd stream with usage",
                [Instead, Nowhere, Nowhere, Instead, Nowhere, Nowhere, Nowhere, Instead],
            ),
        ];
        let all = answers();
        for ((name, form, media, body), (stored_name, places)) in all.iter().zip(expected) {
            assert_eq!(*name, stored_name);
            let stored = Stored { form: *form, media, body };
            for ((new_name, form, media, body), expected) in all.iter().zip(places) {
                let new = Stored { form: *form, media, body };
                let placed = place(Dialect::OpenAiChat, &stored, &new);
                assert_eq!(placed, expected, "{name}, then {new_name}");
                if expected == Beside {
                    assert!(!stored.serves_as(Dialect::OpenAiChat, &new), "{name}, then {new_name}");
                }
            }
        }
    }

    /// Whichever of two comes first, each request that one of them answered is answered from what is kept, unless what is
    /// kept serves both forms.
    #[test]
    fn no_form_is_driven_out() {
        let all = answers();
        let dialect = Dialect::OpenAiChat;
        for (first_name, form, media, body) in &all {
            let first = Stored { form: *form, media, body };
            for (second_name, form, media, body) in &all {
                let second = Stored { form: *form, media, body };
                let kept = match place(dialect, &first, &second) {
                    Placement::Instead => vec![second],
                    Placement::Beside => vec![first, second],
                    Placement::Nowhere => vec![first],
                };
                let serves = |request: &Stored<'_>| kept.iter().any(|kept| kept.serves_as(dialect, request));
                let whole = kept.iter().any(|kept| kept.serves_both(dialect));
                assert!(whole || (serves(&first) && serves(&second)), "{first_name}, then {second_name}");
            }
        }
    }
}

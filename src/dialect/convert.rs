//! The two forms of an answer, and the way from one to the other.

use bytes::Bytes;

use super::{
    ask::{Ask, Form},
    name::Dialect,
};
use crate::{http::sse::Framing, json::Json};

/// The id of an answer that nobody asked for, and that somebody put by hand: its media type tells its form.
pub(crate) const BY_HAND: u64 = u64::MAX - 1;

/// The body of a stored answer as a request gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rendered {
    /// As it came.
    AsStored,
    /// As it came, but for what the caller did not ask for.
    Edited(Bytes),
    /// In another form; its media type and its body.
    Converted(&'static str, Bytes),
}

/// A stored answer in the form that `ask` wants: the answer to a request with form `id`, of type `media`.
/// `None` where it is another form, and making that one would lose or invent something.
pub fn serve(dialect: Dialect, id: u64, media: &str, body: &Bytes, ask: &Ask) -> Option<Rendered> {
    let wanted = ask.form;
    let id = known_id(dialect, id, media);
    if id == wanted.id {
        return Some(Rendered::AsStored);
    }
    if let (true, Some(edit)) = (id == ask.upstream_form.id, ask.edit_for_caller()) {
        // What the upstream was asked beyond the caller's question is hidden as it was from the first one.
        let framing = Framing::from_media_type(media);
        let shown = edit.apply(framing, body.clone()).ok()?;
        return Some(if framing == Framing::Whole { Rendered::AsStored } else { Rendered::Edited(shown) });
    }
    let api = dialect.api();
    let events = Framing::from_media_type(media).events(body);
    let (media, made) = match events {
        _ if wanted.odd => return None,
        Some(events) if wanted.stream => (api.stream_media(), api.with_usage(&events, wanted.with_usage)?),
        Some(events) => ("application/json", api.to_whole(&events)?),
        None if wanted.stream => {
            (api.stream_media(), api.to_stream(&Json::parse(body).ok()?, wanted.with_usage)?)
        }
        // A document that answered a request for a stream.
        None => return Some(Rendered::AsStored),
    };
    Some(Rendered::Converted(media, made.into()))
}

/// The id of the form that an answer with the id `id` is in.
fn known_id(dialect: Dialect, id: u64, media: &str) -> u64 {
    match id {
        BY_HAND => {
            u64::from(dialect.has_stream_member() && Framing::from_media_type(media) != Framing::Whole)
        }
        id => id,
    }
}

/// An answer as it is stored.
#[derive(Clone, Copy, Debug)]
pub struct StoredAnswer<'a> {
    /// The id of the form that its request asked for.
    pub form: u64,
    /// Its media type.
    pub media: &'a str,
    /// Its body.
    pub body: &'a Bytes,
}

impl StoredAnswer<'_> {
    /// Whether it answers the request that `other` answered.
    fn serves_as(&self, dialect: Dialect, other: &StoredAnswer<'_>) -> bool {
        let is_stream = Framing::from_media_type(other.media) != Framing::Whole;
        let form = Form::from_id(known_id(dialect, other.form, other.media), is_stream);
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
pub fn place(dialect: Dialect, stored: &StoredAnswer<'_>, new: &StoredAnswer<'_>) -> Placement {
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
            let stored = StoredAnswer { form: *form, media, body };
            for ((new_name, form, media, body), expected) in all.iter().zip(places) {
                let new = StoredAnswer { form: *form, media, body };
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
            let first = StoredAnswer { form: *form, media, body };
            for (second_name, form, media, body) in &all {
                let second = StoredAnswer { form: *form, media, body };
                let kept = match place(dialect, &first, &second) {
                    Placement::Instead => vec![second],
                    Placement::Beside => vec![first, second],
                    Placement::Nowhere => vec![first],
                };
                let serves =
                    |request: &StoredAnswer<'_>| kept.iter().any(|kept| kept.serves_as(dialect, request));
                let whole = kept.iter().any(|kept| kept.serves_both(dialect));
                assert!(whole || (serves(&first) && serves(&second)), "{first_name}, then {second_name}");
            }
        }
    }
}

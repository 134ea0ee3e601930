//! Serves both forms of an answer from one entry. The other form is made at each hit and never stored: an
//! entry is what the upstream sent.
//!
//! A conversion loses and invents nothing. If it would, the upstream answers. Where
//! neither of two answers serves as the other one, both are stored side by side.

use bytes::Bytes;

use super::{
    ask::{Ask, Form},
    list,
    name::Dialect,
};
use crate::{
    http::sse::{self, Framing},
    json::Json,
};

const JSON: &str = "application/json";

/// The form's id of an entry that an operator put through the admin API: its media type shows its form.
pub(crate) const BY_HAND: u64 = u64::MAX - 1;

/// The body of a stored answer, as a request gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rendered {
    /// Unchanged.
    AsStored,
    /// Without what the client did not ask for.
    Edited(Bytes),
    /// In the other form: its media type and its body.
    Converted(&'static str, Bytes),
}

/// A stored answer in the form that `ask` wants. `id` is the form of the request that it answered, `framing`
/// is that of its body. `None` if a conversion would lose or invent something.
pub fn serve(dialect: Dialect, id: u64, framing: Framing, body: &Bytes, ask: &Ask) -> Option<Rendered> {
    let wanted = ask.form;
    let id = known_id(dialect, id, framing, body);
    if id == wanted.id {
        return Some(Rendered::AsStored);
    }
    if id == ask.upstream_form.id {
        // The upstream was asked for more than the client was, which is hidden as it was from the first
        // client.
        let mut edit = ask.edit_for_caller();
        return if edit.changes(framing) {
            edit.apply(framing, body.clone()).ok().map(Rendered::Edited)
        } else {
            Some(Rendered::AsStored)
        };
    }
    let api = dialect.api();
    let events = match framing.events(body) {
        _ if wanted.odd => return None,
        None if api.is_list(body) => Some(list::events(body)?),
        events => events,
    };
    let (media, converted) = match events {
        Some(events) if wanted.list => (JSON, list::write(&events)?),
        Some(events) if wanted.stream => (api.stream_media(), api.with_usage(&events, wanted.with_usage)?),
        Some(events) => (JSON, api.to_whole(&events)?),
        None if wanted.stream => {
            let stream = api.to_stream(&Json::parse(body).ok()?, wanted.with_usage)?;
            match wanted.list {
                true => (JSON, list::write(&sse::decode(&stream))?),
                false => (api.stream_media(), stream),
            }
        }
        // A document that answered a request for a stream.
        None => return Some(Rendered::AsStored),
    };
    Some(Rendered::Converted(media, converted.into()))
}

/// The id of the form that an answer is in.
fn known_id(dialect: Dialect, id: u64, framing: Framing, body: &[u8]) -> u64 {
    match id {
        BY_HAND if framing == Framing::Whole && dialect.api().is_list(body) => Form::LIST.id,
        BY_HAND => u64::from(dialect.has_forms() && framing.is_stream()),
        id => id,
    }
}

/// An answer as it is stored.
#[derive(Clone, Copy, Debug)]
pub struct StoredAnswer<'a> {
    /// The id of the form that its request asked for.
    pub form: u64,
    /// What divides its body.
    pub framing: Framing,
    /// Its body, whole.
    pub body: &'a Bytes,
}

impl StoredAnswer<'_> {
    /// Whether it answers the request that `other` answered.
    fn serves_as(&self, dialect: Dialect, other: &StoredAnswer<'_>) -> bool {
        let id = known_id(dialect, other.form, other.framing, other.body);
        let form = Form::from_id(id, other.framing.is_stream());
        let ask = Ask { form, upstream_form: form, ..Ask::default() };
        serve(dialect, self.form, self.framing, self.body, &ask).is_some()
    }

    fn serves_both(&self, dialect: Dialect) -> bool {
        serves_both(dialect, self.framing, self.body)
    }
}

/// Where a new answer is stored while another one to the same question is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// In the place of the stored one.
    Instead,
    /// Beside the stored one, since neither serves as the other.
    Beside,
    /// Nowhere, since the stored one serves more.
    Nowhere,
}

/// Where `new` is stored while `stored` is fresh. The answer that serves both forms stays, whichever came
/// first. If neither serves as the other, neither replaces the other.
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

/// Whether a stored answer serves both forms. A list of JSON serves what a stream of events does.
fn serves_both(dialect: Dialect, framing: Framing, body: &Bytes) -> bool {
    // With an id that no answer has, so that both forms have to be made.
    let forms = [true, false].map(|stream| Form { stream, id: u64::MAX, ..Form::default() });
    let serves = |form| {
        serve(dialect, 0, framing, body, &Ask { form, upstream_form: form, ..Ask::default() }).is_some()
    };
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

    /// Answers by what they serve. An "own" one has a member that keeps it from the other form.
    fn answers() -> Vec<(&'static str, u64, Framing, Bytes)> {
        let usage = "data: {\"choices\":[],\"usage\":{\"n\":1}}\n\n";
        let novel = "data: {\"novel\":1}\n\n";
        let events = Framing::Events;
        let streamed = |name, form, body: String| (name, form, events, Bytes::from(body));
        vec![
            ("document", 0, Framing::Whole, Bytes::from(WHOLE)),
            (
                "own document",
                0,
                Framing::Whole,
                Bytes::from(WHOLE.replace(r#""stop"}"#, r#""stop","delta":{"x":1}}"#)),
            ),
            ("stream", 1, events, Bytes::from(chunks(""))),
            streamed("stream with usage", 2, chunks(usage)),
            streamed("own stream", 1, chunks(novel)),
            streamed("own stream with usage", 2, chunks(&format!("{novel}{usage}"))),
            streamed("odd stream", ODD, chunks("")),
            streamed("odd stream with usage", ODD, chunks(usage)),
        ]
    }

    #[test]
    fn what_serves_more_stays_and_what_serves_else_goes_beside() {
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
        for ((name, form, framing, body), (stored_name, places)) in all.iter().zip(expected) {
            assert_eq!(*name, stored_name);
            let stored = StoredAnswer { form: *form, framing: *framing, body };
            for ((new_name, form, framing, body), expected) in all.iter().zip(places) {
                let new = StoredAnswer { form: *form, framing: *framing, body };
                let placed = place(Dialect::OpenAiChat, &stored, &new);
                assert_eq!(placed, expected, "{name}, then {new_name}");
                if expected == Beside {
                    assert!(!stored.serves_as(Dialect::OpenAiChat, &new), "{name}, then {new_name}");
                }
            }
        }
    }

    /// The same of an API with streams that are one list.
    fn listed_answers() -> Vec<(&'static str, u64, Framing, Bytes)> {
        let chunk = r#"{"candidates":[{"content":{"parts":[{"text":"a"}]},"finishReason":"STOP"}],"usageMetadata":{"totalTokenCount":1}}"#;
        let own = chunk.replace(r#"{"text":"a"}"#, r#"{"functionCall":{"name":"f","willContinue":true}}"#);
        let events = |chunk: &str| Bytes::from(format!("data: {chunk}\n\n"));
        let list = |chunk: &str| Bytes::from(format!("[{chunk}]"));
        let document = |chunk: &str| Bytes::from(chunk.to_owned());
        vec![
            ("document", 0, Framing::Whole, document(chunk)),
            ("own document", 0, Framing::Whole, document(&own)),
            ("stream", 1, Framing::Events, events(chunk)),
            ("own stream", 1, Framing::Events, events(&own)),
            ("list", 3, Framing::Whole, list(chunk)),
            ("own list", 3, Framing::Whole, list(&own)),
            ("list for a stream", 1, Framing::Whole, list(chunk)),
            ("document for a list", 3, Framing::Whole, document(chunk)),
            ("odd stream", ODD, Framing::Events, events(chunk)),
            ("document by hand", BY_HAND, Framing::Whole, document(chunk)),
            ("list by hand", BY_HAND, Framing::Whole, list(chunk)),
            ("stream by hand", BY_HAND, Framing::Events, events(chunk)),
        ]
    }

    /// Each form is served in each other one, in its own media type and framing.
    #[test]
    fn a_list_serves_what_events_serve() {
        let forms = [(Form::default(), false), (Form::EVENTS, false), (Form::LIST, true)];
        for (name, id, framing, body) in listed_answers() {
            for (form, is_list) in forms {
                let ask = Ask { form, upstream_form: form, ..Ask::default() };
                let served = serve(Dialect::Gemini, id, framing, &body, &ask);
                let is_own = name.starts_with("own");
                let is_same_kind = form.stream == (id == 1 || id == 3);
                if is_own && !is_same_kind {
                    assert_eq!(served, None, "{name} {form:?}");
                    continue;
                }
                let made = match served.unwrap_or_else(|| panic!("{name} {form:?}")) {
                    Rendered::AsStored => continue,
                    Rendered::Converted(media, made) => {
                        let expected = if form == Form::EVENTS { "text/event-stream" } else { JSON };
                        assert_eq!(media, expected, "{name} {form:?}");
                        made
                    }
                    Rendered::Edited(_) => panic!("{name} {form:?}"),
                };
                assert_eq!(made.starts_with(b"["), is_list, "{name} {form:?}");
            }
        }
    }

    /// Whichever of two answers comes first, the store serves every request that one of them answered, unless
    /// what it has serves both forms.
    #[test]
    fn no_form_is_lost() {
        for (dialect, all) in [(Dialect::OpenAiChat, answers()), (Dialect::Gemini, listed_answers())] {
            no_form_of_these_is_lost(dialect, &all);
        }
    }

    fn no_form_of_these_is_lost(dialect: Dialect, all: &[(&'static str, u64, Framing, Bytes)]) {
        for (first_name, form, framing, body) in all {
            let first = StoredAnswer { form: *form, framing: *framing, body };
            for (second_name, form, framing, body) in all {
                let second = StoredAnswer { form: *form, framing: *framing, body };
                let stored = match place(dialect, &first, &second) {
                    Placement::Instead => vec![second],
                    Placement::Beside => vec![first, second],
                    Placement::Nowhere => vec![first],
                };
                let serves = |request: &StoredAnswer<'_>| {
                    stored.iter().any(|answer| answer.serves_as(dialect, request))
                };
                let whole = stored.iter().any(|answer| answer.serves_both(dialect));
                assert!(whole || (serves(&first) && serves(&second)), "{first_name}, then {second_name}");
            }
        }
    }
}

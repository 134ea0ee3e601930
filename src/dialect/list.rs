//! A stream that is one JSON list: an element for each event, with its data. Nothing is lost in either direction.

use crate::{http::sse::Event, json::Json};

/// The events of the elements of `body`; `None` if that is no list of objects.
pub(super) fn events(body: &[u8]) -> Option<Vec<Event>> {
    let Ok(Json::Array(items)) = Json::parse(body) else { return None };
    let event =
        |item: &Json<'_>| item.is_object().then(|| Event { data: item.to_json(), ..Event::default() });
    items.iter().map(event).collect()
}

/// The list of the data of these events; `None` if one of them has a name, or data that is no JSON object.
pub(super) fn write(events: &[Event]) -> Option<Vec<u8>> {
    let mut out = b"[".to_vec();
    for (place, event) in events.iter().enumerate() {
        if place > 0 {
            out.extend_from_slice(b",\n");
        }
        object(event)?.write(&mut out);
    }
    out.extend_from_slice(b"]\n");
    Some(out)
}

/// The events as server-sent events; `None` where [`write`] makes no list either.
pub(super) fn write_events(events: &[Event]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    for event in events {
        write_event(&object(event)?, &mut out);
    }
    Some(out)
}

/// Writes an event that has no name.
pub(super) fn write_event(data: &Json<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"data: ");
    data.write(out);
    out.extend_from_slice(b"\n\n");
}

/// The object in the data of an event without a name. "message" is the name of an event that has none (WHATWG HTML,
/// section 9.2.6).
pub(super) fn object(event: &Event) -> Option<Json<'_>> {
    let is_nameless = matches!(event.name.as_str(), "" | "message");
    Json::parse(event.data.as_bytes()).ok().filter(|json| is_nameless && json.is_object())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::sse;

    fn text(bytes: Option<Vec<u8>>) -> Option<String> {
        bytes.map(|bytes| String::from_utf8(bytes).expect("UTF-8"))
    }

    #[test]
    fn a_list_is_the_same_stream() {
        let list = "[{\"a\":\"\u{2028}\\n\"},\n{\"b\":1.50}]\n";
        let stream = "data: {\"a\":\"\\u2028\\n\"}\n\ndata: {\"b\":1.50}\n\n";
        let of_list = events(list.as_bytes()).expect("events");
        assert_eq!(text(write_events(&of_list)).as_deref(), Some(stream));
        let of_stream = sse::decode(stream.as_bytes());
        assert_eq!(text(write(&of_stream)), Some(list.replace('\u{2028}', "\\u2028")));
        let in_lines = sse::decode(b"data: {\"a\":\ndata: 1}\n\n");
        assert_eq!(text(write_events(&in_lines)).as_deref(), Some("data: {\"a\":1}\n\n"));
    }

    #[test]
    fn what_is_no_list_of_objects_is_none() {
        for body in ["", "{}", "[1]", "[{}", "[{},]", "[[]]", "[null]"] {
            assert_eq!(events(body.as_bytes()), None, "{body}");
        }
        for stream in ["event: x\ndata: {}\n\n", "data: [DONE]\n\n", "data: 1\n\n", "data: {\"a\"\n\n"] {
            let events = sse::decode(stream.as_bytes());
            assert_eq!((write(&events), write_events(&events)), (None, None), "{stream}");
        }
    }
}

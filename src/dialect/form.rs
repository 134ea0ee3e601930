//! A form (RFC 7578) as JSON, so that its fields can be asked for as the members of any other request.

use crate::{http::multipart::Part, json::Json};

/// The fields of a form by their names, the first one of each name: a text; of a file, its name, if there is anything in
/// it. What is no text, or has no name, is left out.
pub(crate) fn form_as_json<'b>(parts: &[Part<'b>]) -> Json<'b> {
    let mut form = Json::Object(Vec::new());
    for part in parts {
        let Some(name) = part.name().filter(|name| form.get(name).is_none()) else { continue };
        let value = match part.file_name() {
            Some(_) if part.bytes.is_empty() => Json::Null,
            Some(file_name) => Json::object([("filename", Json::text(file_name))]),
            None => match std::str::from_utf8(part.bytes) {
                Ok(text) => Json::text(text),
                Err(_) => continue,
            },
        };
        form.set(name, value);
    }
    form
}

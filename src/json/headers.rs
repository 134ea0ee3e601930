//! HTTP headers written as JSON.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Json, Member};

/// Headers from the members of a JSON object. A value is a text, or a list of texts.
///
/// # Errors
/// The name of the first member that is no header, or has another value.
pub(crate) fn from_json(json: &Json<'_>) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for Member { name, value, .. } in json.members() {
        let wrong = || name.to_string();
        let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
        let values = if value.as_str().is_some() { std::slice::from_ref(value) } else { value.items() };
        if values.is_empty() {
            return Err(wrong());
        }
        for value in values {
            let value = value.as_str().and_then(|text| HeaderValue::from_str(text).ok()).ok_or_else(wrong)?;
            headers.append(&header, value);
        }
    }
    Ok(headers)
}

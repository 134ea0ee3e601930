//! `GET /requests`

use http::{HeaderValue, Response, header};

use super::error::AdminError;
use crate::{
    proxy::{response::body::ResponseBody, state::Shared},
    telemetry::watch::{MAX_READERS, filter::Filter},
};

/// The requests that `filter` wants, as they end, until the listener stops.
///
/// # Errors
/// 503 if too many read already.
pub(super) fn stream(shared: &Shared, filter: Filter) -> Result<Response<ResponseBody>, AdminError> {
    let too_many = || {
        AdminError::unavailable(format!(
            "{MAX_READERS} read already, and there is room for no more: end one of them"
        ))
    };
    let reader = shared.watch.read(filter).ok_or_else(too_many)?;
    let mut response = Response::new(ResponseBody::Watch(Box::new(reader)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

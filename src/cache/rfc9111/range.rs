//! Parts of a stored response, for requests with `Range` (RFC 9110, section 14; RFC 9111, section 3.3). Pure.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

/// The part of a response that a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    spec: RangeSpec,
    /// Names the response that the client has a part of; it wants no part of another one.
    if_range: Option<HeaderValue>,
}

/// What the client gets in place of the whole response.
#[derive(Debug)]
pub(crate) struct Part {
    /// 206, or 416 if there is no such part.
    pub(crate) status: StatusCode,
    /// `Content-Range`
    pub(crate) content_range: HeaderValue,
    /// The bytes of the part.
    pub(crate) body: Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RangeSpec {
    /// From the first offset to the last one, which is included, or to the end.
    From(u64, Option<u64>),
    /// The last bytes, this many.
    Last(u64),
}

impl Range {
    /// The one range of a `GET`. `None` if there is none, more than one, or one of another unit than bytes:
    /// the upstream answers those.
    pub(crate) fn from_request(method: &Method, headers: &HeaderMap) -> Option<Self> {
        let mut lines = headers.get_all(header::RANGE).into_iter();
        let (Some(range), None, &Method::GET) = (lines.next(), lines.next(), method) else { return None };
        let (unit, range) = range.to_str().ok()?.split_once('=')?;
        let (first, last) = range.trim().split_once('-')?;
        let spec = match (offset(first)?, offset(last)?) {
            (Some(first), last) if last.is_none_or(|last| first <= last) => RangeSpec::From(first, last),
            (None, Some(count)) => RangeSpec::Last(count),
            _ => return None,
        };
        let if_range = headers.get(header::IF_RANGE).cloned();
        unit.eq_ignore_ascii_case("bytes").then_some(Self { spec, if_range })
    }

    /// The part of a response. `None` if the client gets the whole, because the response is not a 200, or not
    /// the one that the client has a part of.
    pub(crate) fn slice(&self, status: StatusCode, headers: &HeaderMap, body: &Bytes) -> Option<Part> {
        if status != StatusCode::OK || !self.is_of(headers) {
            return None;
        }
        let len = body.len() as u64;
        let (status, content_range, body) = match self.within(len) {
            // Both are offsets in `body`, so they fit.
            Some((first, end)) => {
                let part = body.slice(first as usize..end as usize);
                (StatusCode::PARTIAL_CONTENT, format!("bytes {first}-{}/{len}", end - 1), part)
            }
            None => (StatusCode::RANGE_NOT_SATISFIABLE, format!("bytes */{len}"), Bytes::new()),
        };
        Some(Part { status, content_range: HeaderValue::from_str(&content_range).ok()?, body })
    }

    /// The offsets of the first byte and behind the last byte in `len` bytes; `None` if there is no such
    /// part.
    fn within(&self, len: u64) -> Option<(u64, u64)> {
        let (first, end) = match self.spec {
            RangeSpec::From(first, last) => (first, last.map_or(len, |last| last.saturating_add(1).min(len))),
            RangeSpec::Last(count) => (len.saturating_sub(count), len),
        };
        (first < end).then_some((first, end))
    }

    /// Whether `If-Range` names this response (RFC 9110, section 13.1.5), by a strong tag or by its exact
    /// date.
    fn is_of(&self, headers: &HeaderMap) -> bool {
        self.if_range.as_ref().is_none_or(|named| match named.as_bytes() {
            [b'W', ..] if named.as_bytes().starts_with(b"W/") => false,
            [b'"', ..] => headers.get(header::ETAG) == Some(named),
            _ => headers.get(header::LAST_MODIFIED) == Some(named),
        })
    }
}

/// `Some(None)` for an empty text, and `None` for a text that is not a number.
fn offset(text: &str) -> Option<Option<u64>> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text {
        "" => Some(None),
        // A number that does not fit is behind any end.
        _ => is_number.then(|| Some(text.parse().unwrap_or(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str, of: Option<&'static str>) -> Option<Range> {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, HeaderValue::from_str(text).expect("a value"));
        headers.extend(of.map(|of| (header::IF_RANGE, HeaderValue::from_static(of))));
        Range::from_request(&Method::GET, &headers)
    }

    fn cut(text: &str, of: Option<&'static str>) -> (u16, Option<String>, Bytes) {
        let body = Bytes::from_static(b"0123456789");
        let headers = HeaderMap::from_iter([(header::ETAG, HeaderValue::from_static("\"a\""))]);
        match range(text, of).expect("a range").slice(StatusCode::OK, &headers, &body) {
            Some(Part { status, content_range, body }) => {
                (status.as_u16(), Some(content_range.to_str().expect("text").to_owned()), body)
            }
            None => (200, None, body),
        }
    }

    #[test]
    fn rfc9110_14_1_2_byte_ranges() {
        for (text, status, content_range, body) in [
            ("bytes=0-3", 206, "bytes 0-3/10", "0123"),
            ("Bytes=5-", 206, "bytes 5-9/10", "56789"),
            ("bytes=8-99", 206, "bytes 8-9/10", "89"),
            ("bytes=-3", 206, "bytes 7-9/10", "789"),
            ("bytes=-99", 206, "bytes 0-9/10", "0123456789"),
            ("bytes=10-", 416, "bytes */10", ""),
            ("bytes=-0", 416, "bytes */10", ""),
            ("bytes=99999999999999999999-", 416, "bytes */10", ""),
        ] {
            assert_eq!(
                cut(text, None),
                (status, Some(content_range.to_owned()), Bytes::from(body)),
                "{text}"
            );
        }
        for text in ["bytes=3-1", "bytes=a-b", "bytes=0-1,3-4", "lines=0-1", "bytes", "bytes=-"] {
            assert_eq!(range(text, None), None, "{text}");
        }
    }

    #[test]
    fn rfc9110_13_1_5_only_of_the_same() {
        assert_eq!(cut("bytes=0-3", Some("\"a\"")).0, 206);
        for other in ["\"b\"", "W/\"a\"", "Sun, 06 Nov 1994 08:49:37 GMT"] {
            assert_eq!(cut("bytes=0-3", Some(other)).0, 200, "{other}");
        }
    }
}

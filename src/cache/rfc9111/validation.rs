//! Which header fields are stored, how a stored response is validated, and what the answer to that changes
//! (RFC 9111, sections 3.1, 3.2 and 4.3).

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::ResponseDirectives;

/// Fields of proxies, which are not stored (section 3.1). Those of the connection are removed before.
const NOT_STORED: [&str; 3] = ["proxy-authenticate", "proxy-authentication-info", "proxy-authorization"];

/// Fields that describe the stored body, which a 304 does not change (section 3.2).
const NOT_UPDATED: [HeaderName; 4] = [
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    HeaderName::from_static("content-md5"),
];

/// The fields of a response that may be stored: without those for proxies, and without those that its
/// `no-cache` or `private` names (sections 5.2.2.4, 5.2.2.7).
pub(crate) fn fields_to_store(headers: &HeaderMap) -> HeaderMap {
    let directives = ResponseDirectives::from_headers(headers);
    let may_be_stored = |name: &HeaderName| {
        let named = matches!(directives.no_cache, super::Fields::Only(_)) && directives.no_cache.covers(name);
        !(NOT_STORED.contains(&name.as_str()) || named || directives.private.covers(name))
    };
    headers.iter().filter(|(name, _)| may_be_stored(name)).fold(
        HeaderMap::new(),
        |mut stored, (name, value)| {
            stored.append(name, value.clone());
            stored
        },
    )
}

/// Whether a response can be validated (section 4.3.1).
pub(super) fn has_validator(headers: &HeaderMap) -> bool {
    headers.contains_key(header::ETAG) || headers.contains_key(header::LAST_MODIFIED)
}

/// The conditions that ask the upstream whether a stored response is still valid (section 4.3.1); none if it
/// has no validator.
pub(crate) fn conditions(stored: &HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
    let pairs = [(header::ETAG, header::IF_NONE_MATCH), (header::LAST_MODIFIED, header::IF_MODIFIED_SINCE)];
    pairs.into_iter().filter_map(|(own, condition)| Some((condition, stored.get(own)?.clone()))).collect()
}

/// The stored response's fields after a 304 has confirmed it (sections 3.2, 4.3.4): each field of the 304
/// replaces the stored one, except for those that describe the body. `None` if the 304 has another strong
/// tag: it confirms another response, and nothing is updated.
pub(crate) fn freshen(stored: &HeaderMap, revalidated: &HeaderMap) -> Option<HeaderMap> {
    let tag = |headers: &HeaderMap| headers.get(header::ETAG).filter(|tag| is_strong(tag)).cloned();
    if tag(revalidated).is_some_and(|new| Some(new) != tag(stored)) {
        return None;
    }
    let mut fields = stored.clone();
    // The age counts from the 304 on.
    fields.remove(header::AGE);
    for name in revalidated.keys().filter(|name| !NOT_UPDATED.contains(name)) {
        fields.remove(name);
        for value in revalidated.get_all(name) {
            fields.append(name, value.clone());
        }
    }
    Some(fields)
}

fn is_strong(tag: &HeaderValue) -> bool {
    !tag.as_bytes().starts_with(b"W/")
}

/// Whether the answer to a `HEAD` is about the stored response (section 4.3.5): its validators and its
/// length, if it has them, are the stored ones. `len` is the stored body's length.
pub(crate) fn matches_head(stored: &HeaderMap, len: usize, head: &HeaderMap) -> bool {
    let is_same = |name| head.get(&name).is_none_or(|value| stored.get(&name) == Some(value));
    let has_same_length =
        head.get(header::CONTENT_LENGTH).is_none_or(|value| value.as_bytes() == len.to_string().as_bytes());
    is_same(header::ETAG) && is_same(header::LAST_MODIFIED) && has_same_length
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::rfc9111::testing::map;

    #[test]
    fn rfc9111_3_1_fields_of_proxies_and_of_one_client_are_not_stored() {
        let fields = fields_to_store(&map(&[
            ("cache-control", "max-age=60, private=\"x-mine\", no-cache=\"set-cookie\""),
            ("proxy-authenticate", "Basic"),
            ("proxy-authentication-info", "a"),
            ("proxy-authorization", "b"),
            ("x-mine", "1"),
            ("set-cookie", "a=b"),
            ("x-twice", "1"),
            ("x-twice", "2"),
        ]));
        let expected = [
            ("cache-control", "max-age=60, private=\"x-mine\", no-cache=\"set-cookie\""),
            ("x-twice", "1"),
            ("x-twice", "2"),
        ];
        assert_eq!(fields, map(&expected));
        let whole = map(&[("cache-control", "no-cache"), ("x", "1")]);
        assert_eq!(fields_to_store(&whole), whole, "an unqualified no-cache names none");
    }

    #[test]
    fn rfc9111_4_3_1_validators_become_conditions() {
        let when = "Tue, 15 Nov 1994 08:12:31 GMT";
        let sent = conditions(&map(&[("etag", "W/\"a\""), ("last-modified", when)]));
        let expected = map(&[("if-none-match", "W/\"a\""), ("if-modified-since", when)]);
        assert_eq!(sent.into_iter().collect::<HeaderMap>(), expected);
        assert!(conditions(&map(&[("date", when)])).is_empty());
    }

    #[test]
    fn rfc9111_3_2_a_304_updates_all_fields_but_those_of_the_body() {
        let stored = map(&[
            ("etag", "\"a\""),
            ("x-a", "1"),
            ("x-a", "2"),
            ("x-kept", "1"),
            ("age", "9"),
            ("content-length", "5"),
            ("content-encoding", "x"),
        ]);
        let revalidated = map(&[
            ("x-a", "3"),
            ("cache-control", "max-age=9"),
            ("content-length", "0"),
            ("content-encoding", "y"),
            ("content-type", "text/html"),
        ]);
        let expected = map(&[
            ("etag", "\"a\""),
            ("x-kept", "1"),
            ("content-length", "5"),
            ("content-encoding", "x"),
            ("x-a", "3"),
            ("cache-control", "max-age=9"),
            ("content-type", "text/html"),
        ]);
        assert_eq!(freshen(&stored, &revalidated), Some(expected));
    }

    #[test]
    fn rfc9111_4_3_4_a_304_with_another_strong_tag_updates_nothing() {
        let stored = map(&[("etag", "\"a\"")]);
        assert!(freshen(&stored, &map(&[("etag", "\"b\"")])).is_none());
        assert!(freshen(&stored, &map(&[("etag", "\"a\"")])).is_some());
        assert!(freshen(&stored, &map(&[("etag", "W/\"b\"")])).is_some(), "a weak one says nothing");
    }

    #[test]
    fn rfc9111_4_3_5_a_head_tells_of_the_stored_response_where_nothing_differs() {
        let stored = map(&[("etag", "\"a\""), ("last-modified", "Tue, 15 Nov 1994 08:12:31 GMT")]);
        for (head, expected) in [
            (&[][..], true),
            (&[("etag", "\"a\""), ("content-length", "3")], true),
            (&[("etag", "\"b\"")], false),
            (&[("content-length", "4")], false),
            (&[("last-modified", "Tue, 15 Nov 1994 08:12:32 GMT")], false),
        ] {
            assert_eq!(matches_head(&stored, 3, &map(head)), expected, "{head:?}");
        }
    }
}

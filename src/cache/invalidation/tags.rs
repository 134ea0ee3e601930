//! The tags of an answer: the names of what it depends on. Pure.

use http::{HeaderMap, HeaderName};

use crate::{cache::invalidation::Target, http::headers, reason::Reason};

/// Cloudflare's and Akamai's header: tags separated by commas.
const CACHE_TAG: HeaderName = HeaderName::from_static("cache-tag");
/// Fastly's header: tags separated by white space.
const SURROGATE_KEY: HeaderName = HeaderName::from_static("surrogate-key");

/// The most tags of an entry: every lookup asks the invalidation log for each of them.
const MAX_TAGS: usize = 1000;

/// The tags of an answer, each once: those of its request, of its headers and, in `found`, of its body.
///
/// # Errors
/// If there are more than [`MAX_TAGS`].
pub(crate) fn collect(
    request: &[Target],
    headers: &HeaderMap,
    found: Vec<String>,
) -> Result<Vec<String>, Reason> {
    let own = request.iter().filter_map(|target| match target {
        Target::Tag(tag) => Some(tag.as_str()),
        _ => None,
    });
    let keys = headers.get_all(SURROGATE_KEY).into_iter().filter_map(|value| value.to_str().ok());
    let cache_tag = CACHE_TAG;
    let named = headers::list(headers, &cache_tag).chain(keys.flat_map(str::split_whitespace));
    let mut tags: Vec<String> = own.chain(named).map(str::to_owned).chain(found).collect();
    tags.retain(|tag| !tag.is_empty());
    tags.sort_unstable();
    tags.dedup();
    if tags.len() > MAX_TAGS { Err(Reason::TooManyTags) } else { Ok(tags) }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn tags_come_from_all_who_know() {
        let mut headers = HeaderMap::new();
        headers.append("cache-tag", HeaderValue::from_static("a, b c"));
        headers.append("cache-tag", HeaderValue::from_static("d"));
        headers.append("surrogate-key", HeaderValue::from_static("e  f"));
        let request = [Target::Tag("own".to_owned()), Target::Path("/own".to_owned())];
        let found = ["f", "", "g"].map(str::to_owned).to_vec();
        assert_eq!(
            collect(&request, &headers, found),
            Ok(["a", "b c", "d", "e", "f", "g", "own"].map(str::to_owned).to_vec())
        );
        let many = (0..=MAX_TAGS).map(|n| n.to_string()).collect();
        assert_eq!(collect(&[], &HeaderMap::new(), many), Err(Reason::TooManyTags));
    }
}

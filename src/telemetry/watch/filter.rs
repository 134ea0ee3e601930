//! Which events a reader wants. Pure.

use form_urlencoded::parse;

use super::event::RequestEvent;
use crate::telemetry::stats::labels::{CACHES, NONE, STATUSES};

/// Which events a reader wants: those to which all of it applies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    /// The route's name.
    route: Option<String>,
    /// The word of `X-Cache`.
    cache: Option<&'static str>,
    status: Option<Status>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    /// As in `502`.
    Code(u16),
    /// The first digit, as in `5xx`.
    Class(u16),
}

impl Filter {
    /// Reads a query such as `route=chat&cache=miss&status=5xx`.
    ///
    /// # Errors
    /// A text that says what is wrong.
    pub(crate) fn parse(query: &str) -> Result<Self, String> {
        let mut filter = Self::default();
        for (name, value) in parse(query.as_bytes()) {
            match &*name {
                "route" => filter.route = Some(value.into_owned()),
                "cache" => filter.cache = Some(parse_cache(&value)?),
                "status" => filter.status = Some(parse_status(&value)?),
                _ => return Err(format!("{name:?} is no parameter: route, cache, status")),
            }
        }
        Ok(filter)
    }

    pub(super) fn wants(&self, event: &RequestEvent<'_>) -> bool {
        let is_status = |status| match status {
            Status::Code(code) => code == event.status,
            Status::Class(class) => class == event.status / 100,
        };
        self.route.as_ref().is_none_or(|route| route == event.route.unwrap_or(NONE))
            && self.cache.is_none_or(|cache| event.cache.unwrap_or(NONE).eq_ignore_ascii_case(cache))
            && self.status.is_none_or(is_status)
    }
}

fn parse_cache(text: &str) -> Result<&'static str, String> {
    let known = CACHES.into_iter().find(|word| word.eq_ignore_ascii_case(text));
    known.ok_or_else(|| format!("cache: {text:?} is none of {}", CACHES.join(", ")))
}

fn parse_status(text: &str) -> Result<Status, String> {
    let lower = text.to_ascii_lowercase();
    let class = STATUSES.iter().zip(1..).find(|(name, _)| **name == lower);
    let code = || text.parse().ok().filter(|code| (100..=599).contains(code) && text.len() == 3);
    class
        .map(|(_, class)| Status::Class(class))
        .or_else(|| code().map(Status::Code))
        .ok_or_else(|| format!("status: {text:?} is no status; write 502, or 5xx for all of them"))
}

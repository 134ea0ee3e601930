//! A chat's log-probabilities, which go with the pieces of the texts that they are about.

use crate::json::Json;

/// The lists of log-probabilities, by the text that they are about.
pub(super) const LISTS: [&str; 2] = ["content", "refusal"];

/// The log-probabilities of a choice, for its parts one after the other.
pub(super) struct Logprobs<'a> {
    whole: &'a Json<'a>,
    /// What the next part has besides its own: all that goes with no piece of a text.
    rest: Option<Json<'a>>,
}

impl<'a> Logprobs<'a> {
    /// The log-probabilities of a choice whose texts under these names come in pieces.
    pub(super) fn new(whole: &'a Json<'a>, in_pieces: &[&'static str]) -> Self {
        let mut rest = whole.clone();
        for name in in_pieces {
            if matches!(whole.get(name), Some(Json::Array(_))) {
                rest.set(*name, Json::Array(Vec::new()));
            }
        }
        Self { whole, rest: Some(rest) }
    }

    /// What the next part has, with these items of the list `name`.
    pub(super) fn with(&mut self, own: Option<(&'static str, &'a [Json<'a>])>) -> Option<Json<'a>> {
        let Some((name, items)) = own else { return self.rest() };
        let nothing = || {
            Json::object(
                LISTS.iter().filter(|list| self.whole.get(list).is_some()).map(|list| (*list, Json::Null)),
            )
        };
        let mut logprobs = self.rest.take().unwrap_or_else(nothing);
        logprobs.set(name, Json::Array(items.to_vec()));
        Some(logprobs)
    }

    /// What no part had yet.
    pub(super) fn rest(&mut self) -> Option<Json<'a>> {
        self.rest.take()
    }
}

/// The log-probabilities of the text `name`, and their tokens.
pub(super) fn of_text<'a>(
    logprobs: Option<&'a Json<'a>>,
    name: &str,
) -> (&'a [Json<'a>], Vec<Option<&'a str>>) {
    let items = logprobs.and_then(|logprobs| logprobs.get(name)).map_or(&[][..], Json::items);
    (items, items.iter().map(|item| item.get("token").and_then(Json::as_str)).collect())
}

//! What a request of an API must have, and how it says what it asks for.

use super::apis::{BatchApi, InputForm, Source};
use crate::{
    dialect::{
        api::{has, has_text},
        ask::Ranks,
    },
    json::{Json, Member},
};

impl BatchApi {
    /// Whether a request's body has all that the API requires.
    pub(super) fn fits(&self, json: &Json<'_>, model_elsewhere: bool) -> bool {
        let has_inputs = if self.takes_odd_inputs {
            self.sources.iter().any(|source| has(json, source.member))
        } else {
            self.source(json).is_some()
        };
        let has_model = || !self.needs_model || model_elsewhere || has_text(json, "model");
        has_inputs && has_model() && self.requires.iter().all(|name| has(json, name))
    }

    /// Whether inputs in this member may be objects.
    pub(super) fn has_members(&self, member: &str) -> bool {
        self.sources.iter().any(|source| source.member == member && source.form.has_members())
    }

    /// The one source that a request has its inputs in.
    pub(super) fn source(&self, json: &Json<'_>) -> Option<&'static Source> {
        let mut present = self.sources.iter().filter(|source| has(json, source.member));
        let (source, None) = (present.next()?, present.next()) else { return None };
        let value = json.get(source.member)?;
        let holds = |value: &Json<'_>| source.form.is_one(value) || source.form.is_several(value.items());
        let is_whole = source.beside.is_none_or(|beside| json.get(beside).is_some_and(holds));
        (is_whole && holds(value)).then_some(source)
    }

    /// The member that says how many results the answer has at most, with that number; `Some(None)` if none does.
    /// `None` if services may read it in several ways.
    pub(super) fn limit<'j, 't>(&self, json: &'j Json<'t>) -> Option<Option<(&'j Member<'t>, usize)>> {
        let members = self.limits.iter().filter_map(|name| json.member(name));
        let mut present = members.filter(|member| !member.value.is_null());
        let Some(member) = present.next() else { return Some(None) };
        let results = member.value.as_u64().and_then(|results| usize::try_from(results).ok());
        match (results, present.next()) {
            (Some(results @ 1..), None) => Some(Some((member, results))),
            _ => None,
        }
    }

    /// How many documents a request has, and how many results it wants.
    pub(super) fn ranks(&self, json: &Json<'_>) -> Ranks {
        let count = |value: &Json<'_>| value.items().len().max(1);
        let members = self.sources.iter().flat_map(|source| source.beside.into_iter().chain([source.member]));
        let documents = members.filter_map(|member| json.get(member)).map(count).max().unwrap_or(0);
        let limit = self.limit(json).flatten().map_or(documents, |(_, results)| results);
        Ranks { documents, results: limit.min(documents) }
    }
}

impl InputForm {
    /// Whether a value is an input by itself.
    pub(super) fn is_one(self, value: &Json<'_>) -> bool {
        match self {
            Self::TextsOrTokens => is_text(value) || is_tokens(value),
            Self::TextsOrParts => is_text(value) || are_all(value.items(), Json::is_object),
            Self::Documents => is_document(value),
            Self::Object => value.is_object(),
            Self::TextList | Self::ObjectList | Self::DocumentList => false,
        }
    }

    /// Whether these are inputs of one kind.
    fn is_several(self, inputs: &[Json<'_>]) -> bool {
        match self {
            Self::TextsOrTokens => are_all(inputs, is_text) || are_all(inputs, is_tokens),
            Self::TextsOrParts | Self::TextList => are_all(inputs, is_text),
            Self::ObjectList => are_all(inputs, Json::is_object),
            Self::DocumentList | Self::Documents => are_all(inputs, is_document),
            Self::Object => false,
        }
    }

    /// Whether inputs may be objects.
    const fn has_members(self) -> bool {
        !matches!(self, Self::TextsOrTokens | Self::TextList)
    }
}

/// Whether there is something, and all of it is such.
fn are_all<'t>(inputs: &[Json<'t>], is_such: impl Fn(&Json<'t>) -> bool) -> bool {
    !inputs.is_empty() && inputs.iter().all(is_such)
}

const fn is_text(value: &Json<'_>) -> bool {
    matches!(value, Json::String(_))
}

/// The numbers of a text's tokens.
fn is_tokens(value: &Json<'_>) -> bool {
    are_all(value.items(), |token| matches!(token, Json::Number(_)))
}

pub(super) fn is_document(value: &Json<'_>) -> bool {
    is_text(value) || value.is_object()
}

//! How the parts of a value, which come one after the other, make the whole value.

use crate::json::{Json, Member};

/// How the parts of one value make the whole. A part that is null says nothing.
#[derive(Clone, Copy)]
pub(super) enum Rule {
    /// Texts, one after the other.
    Text,
    /// Base64 texts, one after the other, as long as that is base64 again.
    Base64,
    /// Lists, one after the other.
    List,
    /// Lists, one after the other, without repeats: a server that repeats a part may mean it as the whole.
    News,
    /// The same in every part that has it. An empty text does not count: some servers send it for "not known
    /// yet", or for "as before".
    Same,
    /// The first value counts; a zero means that it is not known yet.
    First,
    /// The last value counts: figures that grow while the answer runs.
    Last,
    /// In one part only: how several go together is not known. Empty values do not count, since they change
    /// no text, list or object.
    Once,
    /// Objects whose members have rules of their own.
    Members(&'static Members),
    /// A list whose elements come in parts, each with its `index`.
    Indexed(&'static Members),
    /// Says nothing of the answer.
    Dropped,
    /// Has no place in an answer's other form.
    Refused,
}

/// The rules of an object's members.
pub(super) struct Members {
    /// Those that the pages of the API, or of a vendor, describe.
    pub(super) known: &'static [(&'static str, Rule)],
    /// All others.
    pub(super) other: Rule,
}

/// An object with more members, or with more elements that come in parts, is no answer. This bounds the time
/// to find one.
pub(super) const MAX_PARTS: usize = 1024;

impl Members {
    pub(super) fn knows(&self, name: &str) -> bool {
        self.known.iter().any(|(known, _)| *known == name)
    }

    pub(super) fn rule(&self, name: &str) -> Rule {
        self.known.iter().find(|(known, _)| *known == name).map_or(self.other, |(_, rule)| *rule)
    }

    /// Adds an object's members to the earlier ones; `None` if it is not known how.
    pub(super) fn merge<'a>(&self, whole: &mut Vec<Member<'a>>, part: Vec<Member<'a>>) -> Option<()> {
        for Member { name, value, .. } in part {
            let rule = self.rule(&name);
            if matches!(rule, Rule::Dropped) {
                continue;
            }
            let place = match whole.iter().position(|member| member.name == name) {
                Some(place) => place,
                None if whole.len() == MAX_PARTS => return None,
                None => {
                    whole.push(Member::new(name, Json::Null));
                    whole.len() - 1
                }
            };
            rule.merge(&mut whole.get_mut(place)?.value, value)?;
        }
        Some(())
    }
}

impl Rule {
    /// Whether a single part can be `value`.
    pub(super) fn takes(self, value: &Json<'_>) -> bool {
        self.merge(&mut Json::Null, value.clone()).is_some()
    }

    /// Adds a part to the earlier ones, which are null together if there were none; `None` if it is not known
    /// how.
    pub(super) fn merge<'a>(self, whole: &mut Json<'a>, part: Json<'a>) -> Option<()> {
        if part.is_null() {
            return Some(());
        }
        match self {
            Self::Text => add_text(whole, part)?,
            Self::Base64 => {
                if !whole.as_str().is_none_or(|text| text.len() % 4 == 0 && !text.ends_with('=')) {
                    return None;
                }
                add_text(whole, part)?;
            }
            Self::List => add_items(whole, part)?,
            Self::News => {
                let (old, new) = (whole.items(), part.items());
                let are_many = old.len().max(new.len()) > MAX_PARTS && !old.is_empty() && !new.is_empty();
                if are_many || new.iter().any(|item| old.iter().any(|earlier| same(earlier, item))) {
                    return None;
                }
                add_items(whole, part)?;
            }
            Self::Same if is_blank(whole) => *whole = part,
            Self::Same if is_blank(&part) || same(whole, &part) => {}
            Self::First if matches!(whole, Json::Null | Json::Number("0")) => *whole = part,
            Self::First => {}
            Self::Last => *whole = part,
            Self::Once if whole.is_null() || is_empty(whole) => *whole = part,
            Self::Once if is_empty(&part) => {}
            Self::Members(rules) => rules.merge(members_of(whole)?, into_members(part)?)?,
            Self::Indexed(rules) => add_indexed(whole, part, rules)?,
            Self::Dropped => {}
            Self::Same | Self::Once | Self::Refused => return None,
        }
        Some(())
    }
}

fn add_text<'a>(whole: &mut Json<'a>, part: Json<'a>) -> Option<()> {
    match (whole, part) {
        (Json::String(text), Json::String(more)) => text.to_mut().push_str(&more),
        (whole @ Json::Null, part @ Json::String(_)) => *whole = part,
        _ => return None,
    }
    Some(())
}

fn add_items<'a>(whole: &mut Json<'a>, part: Json<'a>) -> Option<()> {
    match (whole, part) {
        (Json::Array(items), Json::Array(more)) => items.extend(more),
        (whole @ Json::Null, part @ Json::Array(_)) => *whole = part,
        _ => return None,
    }
    Some(())
}

fn add_indexed<'a>(whole: &mut Json<'a>, part: Json<'a>, rules: &Members) -> Option<()> {
    if whole.is_null() {
        *whole = Json::Array(Vec::new());
    }
    let (Json::Array(items), Json::Array(parts)) = (whole, part) else { return None };
    for part in parts {
        let index = part.get("index")?.as_u64()?;
        let place = match items.iter().position(|item| index_of(item) == Some(index)) {
            Some(place) => place,
            None if items.len() == MAX_PARTS => return None,
            None => {
                items.push(Json::Object(Vec::new()));
                items.len() - 1
            }
        };
        rules.merge(members_of(items.get_mut(place)?)?, into_members(part)?)?;
    }
    Some(())
}

/// The `index` of an element.
pub(super) fn index_of(item: &Json<'_>) -> Option<u64> {
    item.get("index").and_then(Json::as_u64)
}

/// The members of an object. Null becomes an object without members.
pub(super) fn members_of<'j, 'a>(json: &'j mut Json<'a>) -> Option<&'j mut Vec<Member<'a>>> {
    if json.is_null() {
        *json = Json::Object(Vec::new());
    }
    match json {
        Json::Object(members) => Some(members),
        _ => None,
    }
}

fn into_members(json: Json<'_>) -> Option<Vec<Member<'_>>> {
    match json {
        Json::Object(members) => Some(members),
        _ => None,
    }
}

/// Whether both are the same text of JSON, but for white space and escapes.
pub(super) fn same(a: &Json<'_>, b: &Json<'_>) -> bool {
    match (a, b) {
        (Json::Array(a), Json::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Json::Object(a), Json::Object(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.name == b.name && same(&a.value, &b.value))
        }
        _ => a == b,
    }
}

fn is_blank(json: &Json<'_>) -> bool {
    json.is_null() || json.as_str() == Some("")
}

fn is_empty(json: &Json<'_>) -> bool {
    match json {
        Json::String(text) => text.is_empty(),
        Json::Array(items) => items.is_empty(),
        Json::Object(members) => members.is_empty(),
        _ => false,
    }
}

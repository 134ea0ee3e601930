//! The places in a stored answer that each hit fills with ids of its own.
//!
//! The store has `null` there. Every other byte is the upstream's.

use bytes::Bytes;
use uuid::Uuid;

use super::OwnId;
use crate::json::splice::Splicer;

/// What the store has in such a place.
pub(super) const EMPTY: &[u8] = b"null";

/// A place in a stored answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Where it begins in the body, in bytes.
    pub at: usize,
    pub fill: SlotFill,
}

/// What a hit puts into a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SlotFill {
    /// A new UUID, the same one in all slots of the same number.
    New(u64),
    /// The id that the hit's own request has under this name, as in `NAMES`. Without one, the slot stays `null`.
    Own(String),
}

/// `body` with `slots` filled for a request that has `own_ids`.
pub(crate) fn fill(body: &Bytes, slots: &[Slot], own_ids: &[OwnId]) -> Bytes {
    let mut splicer = Splicer::new(body);
    let mut new: Vec<(u64, String)> = Vec::new();
    for Slot { at, fill } in slots {
        let range = *at..at.saturating_add(EMPTY.len());
        if body.get(range.clone()) != Some(EMPTY) {
            continue;
        }
        match fill {
            SlotFill::New(number) => splicer.replace(range, fresh(&mut new, number).as_bytes()),
            SlotFill::Own(name) => {
                if let Some(own) = own_ids.iter().find(|own| own.name == *name) {
                    splicer.replace(range, own.json.as_bytes());
                }
            }
        }
    }
    splicer.finish().into()
}

/// The UUID, as JSON, that `id` has got, or gets now.
pub(super) fn fresh<'f, I: PartialEq + Clone>(known: &'f mut Vec<(I, String)>, id: &I) -> &'f str {
    let at = known.iter().position(|(own, _)| own == id).unwrap_or_else(|| {
        known.push((id.clone(), format!("\"{}\"", Uuid::new_v4())));
        known.len() - 1
    });
    &known[at].1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(name: &str, json: &str) -> OwnId {
        OwnId { name: name.to_owned(), text: json.trim_matches('"').to_owned(), json: json.to_owned() }
    }

    #[test]
    fn each_hit_gets_ids_of_its_own() {
        let body = Bytes::from_static(br#"{"a":null,"b":null,"c":null,"d":null,"e":null}"#);
        let slots = [
            Slot { at: 5, fill: SlotFill::New(0) },
            Slot { at: 14, fill: SlotFill::Own("sessionid".into()) },
            Slot { at: 23, fill: SlotFill::New(1) },
            Slot { at: 32, fill: SlotFill::New(0) },
            Slot { at: 41, fill: SlotFill::Own("chatid".into()) },
        ];
        let hits = [(); 2].map(|()| fill(&body, &slots, &[own("threadid", "1"), own("sessionid", "\"s\"")]));
        for hit in &hits {
            let json: serde_json::Value = serde_json::from_slice(hit).expect("JSON");
            assert_eq!(json["b"], "s");
            assert!(json["e"].is_null());
            assert_eq!(json["a"], json["d"]);
            assert_ne!(json["a"], json["c"]);
            assert!(json["a"].as_str().is_some_and(|id| Uuid::parse_str(id).is_ok()));
        }
        assert_ne!(hits[0], hits[1]);
    }

    #[test]
    fn what_is_no_slot_is_unchanged() {
        let body = Bytes::from_static(b"{\"a\":1}");
        for at in [0, 5, 7, 1000, usize::MAX] {
            assert_eq!(fill(&body, &[Slot { at, fill: SlotFill::New(0) }], &[]), body);
        }
    }
}

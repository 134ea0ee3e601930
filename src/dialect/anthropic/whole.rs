//! From a stream of Anthropic Messages to its message
//! (platform.claude.com/docs/en/build-with-claude/streaming, "Event types").

use super::{
    TIMINGS,
    block::{Block, exactly},
};
use crate::{
    dialect::{api::has_text, events::typed},
    http::sse,
    json::Json,
};

/// The message that a complete stream says; `None` if an event says anything that is not known to be a part
/// of it.
pub(super) fn to_whole(events: &[sse::Event]) -> Option<Vec<u8>> {
    let mut draft = Draft::default();
    for event in events {
        if let Some((kind, json)) = typed(event)? {
            draft.take(&kind, json)?;
        }
    }
    draft.write()
}

/// A message, as far as the stream has come.
#[derive(Default)]
struct Draft<'e> {
    /// Null before its start.
    message: Json<'e>,
    blocks: Vec<Block<'e>>,
    /// Whether the tokens of the answer were reported at the end. The start's count of them is too early.
    counted: bool,
    stopped: bool,
}

impl<'e> Draft<'e> {
    fn take(&mut self, kind: &str, event: Json<'e>) -> Option<()> {
        if kind == "ping" {
            return Some(());
        }
        if self.stopped || (kind == "message_start") != self.message.is_null() {
            return None;
        }
        match kind {
            "message_start" => {
                let [message] = exactly(event, ["message"])?;
                // Blocks in the start would shift the indices of the others.
                let empty = match message.get("content") {
                    None | Some(Json::Null) => true,
                    Some(Json::Array(blocks)) => blocks.is_empty(),
                    Some(_) => false,
                };
                let usage = message.get("usage").unwrap_or(&Json::Null);
                let fits = message.is_object() && empty && (usage.is_object() || usage.is_null());
                self.message = message;
                fits.then_some(())
            }
            "content_block_start" => {
                let [index, block] = exactly(event, ["index", "content_block"])?;
                self.blocks.push(Block::new(block)?);
                (index.as_u64()? == self.blocks.len() as u64 - 1).then_some(())
            }
            "content_block_delta" => {
                let [index, delta] = exactly(event, ["index", "delta"])?;
                self.block(&index)?.add(delta)
            }
            "content_block_stop" => {
                let [index] = exactly(event, ["index"])?;
                self.block(&index)?.stop()
            }
            "message_delta" => self.change(event),
            "message_stop" => {
                let [] = exactly(event, [])?;
                self.stopped = true;
                Some(())
            }
            _ => None,
        }
    }

    fn block(&mut self, index: &Json<'_>) -> Option<&mut Block<'e>> {
        self.blocks.get_mut(usize::try_from(index.as_u64()?).ok()?)
    }

    /// Takes over what a `message_delta` says about the message as a whole.
    fn change(&mut self, event: Json<'e>) -> Option<()> {
        let Json::Object(members) = event else { return None };
        for member in members {
            match (&*member.name, member.value) {
                ("type", _) => {}
                ("delta", Json::Object(changes)) => {
                    for change in changes {
                        match &*change.name {
                            "stop_reason" | "stop_sequence" | "stop_details" => {
                                self.message.set(change.name, change.value);
                            }
                            "container" => update(&mut self.message, "container", change.value),
                            _ if change.value.is_null() => {}
                            _ => return None,
                        }
                    }
                }
                ("usage", Json::Object(counts)) => {
                    let earlier = self.message.get("usage").filter(|usage| usage.is_object()).cloned();
                    let mut usage = earlier.unwrap_or_else(|| Json::Object(Vec::new()));
                    for count in counts {
                        self.counted |= count.name == "output_tokens" && count.value.as_u64().is_some();
                        update(&mut usage, count.name, count.value);
                    }
                    self.message.set("usage", usage);
                }
                (name @ ("context_management" | "input_transformations" | TIMINGS), value) => {
                    update(&mut self.message, name.to_owned(), value);
                }
                (_, Json::Null) => {}
                _ => return None,
            }
        }
        Some(())
    }

    fn write(&self) -> Option<Vec<u8>> {
        if !self.stopped || !self.counted || !has_text(&self.message, "stop_reason") {
            return None;
        }
        let blocks: Option<Vec<_>> = self.blocks.iter().map(Block::whole).collect();
        let mut message: Json<'_> = self.message.clone();
        message.set("content", Json::Array(blocks?));
        let mut out = Vec::new();
        message.write(&mut out);
        Some(out)
    }
}

/// Gives a member its later value. Counts are cumulative, so a later one replaces an earlier one; null is no
/// count.
fn update<'a>(json: &mut Json<'a>, name: impl Into<std::borrow::Cow<'a, str>>, value: Json<'a>) {
    let name = name.into();
    if !value.is_null() || json.get(&name).is_none() {
        json.set(name, value);
    }
}

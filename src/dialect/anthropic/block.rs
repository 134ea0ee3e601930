//! The blocks of a message's content, and how each is streamed.

use crate::{dialect::api::has_text, json::Json};

/// How a block is streamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BlockKind {
    /// `text_delta`, and a `citations_delta` for each citation.
    Text,
    /// `thinking_delta`, and one `signature_delta`.
    Thinking,
    /// `input_json_delta`: pieces of the input's JSON.
    Tool,
    /// Whole, in its `content_block_start`.
    Whole,
}

impl BlockKind {
    /// How `block` is streamed; `None` if that is not known.
    ///
    /// A `compaction` has a delta of its own, and a `fallback` changes the message it is in: neither is
    /// known.
    pub(super) fn from_block(block: &Json<'_>) -> Option<Self> {
        match block.get("type")?.as_str()? {
            "text" => Some(Self::Text),
            "thinking" => Some(Self::Thinking),
            "tool_use" | "server_tool_use" | "mcp_tool_use" => Some(Self::Tool),
            "redacted_thinking" | "container_upload" => Some(Self::Whole),
            // `web_search_tool_result`, `code_execution_tool_result`, and their kin.
            other if other.ends_with("_tool_result") => Some(Self::Whole),
            _ => None,
        }
    }
}

/// A block, as far as the stream has come.
pub(super) struct Block<'e> {
    kind: BlockKind,
    start: Json<'e>,
    /// What the deltas added to the block's text, thinking or input.
    added: String,
    citations: Vec<Json<'e>>,
    signature: Option<Json<'e>>,
    stopped: bool,
}

impl<'e> Block<'e> {
    pub(super) fn new(start: Json<'e>) -> Option<Self> {
        let kind = BlockKind::from_block(&start)?;
        Some(Self {
            kind,
            start,
            added: String::new(),
            citations: Vec::new(),
            signature: None,
            stopped: false,
        })
    }

    /// Adds what a delta says; `None` if this block cannot have it.
    pub(super) fn add(&mut self, delta: Json<'e>) -> Option<()> {
        if self.stopped {
            return None;
        }
        let kind = delta.get("type")?.as_str()?.to_owned();
        match (self.kind, &*kind) {
            (BlockKind::Text, "text_delta") => self.append(exactly(delta, ["text"])?),
            (BlockKind::Thinking, "thinking_delta") => self.append(exactly(delta, ["thinking"])?),
            (BlockKind::Tool, "input_json_delta") => self.append(exactly(delta, ["partial_json"])?),
            (BlockKind::Text, "citations_delta") => {
                let [citation] = exactly(delta, ["citation"])?;
                self.citations.push(citation);
                Some(())
            }
            // Clients take a second signature for all of it and not for more of it, so there is no other
            // form.
            (BlockKind::Thinking, "signature_delta") if self.signature.is_none() => {
                let [signature] = exactly(delta, ["signature"])?;
                if !signature.is_null() {
                    signature.as_str()?;
                    self.signature = Some(signature);
                }
                Some(())
            }
            _ => None,
        }
    }

    fn append(&mut self, [piece]: [Json<'e>; 1]) -> Option<()> {
        if !piece.is_null() {
            self.added.push_str(piece.as_str()?);
        }
        Some(())
    }

    pub(super) fn stop(&mut self) -> Option<()> {
        (!std::mem::replace(&mut self.stopped, true)).then_some(())
    }

    /// The block at the end of its stream.
    pub(super) fn whole(&self) -> Option<Json<'_>> {
        if !self.stopped {
            return None;
        }
        let mut block: Json<'_> = self.start.clone();
        match self.kind {
            BlockKind::Whole => {}
            BlockKind::Text => {
                self.extend_text(&mut block, "text")?;
                self.extend_citations(&mut block)?;
            }
            BlockKind::Thinking => {
                self.extend_text(&mut block, "thinking")?;
                if let Some(signature) = &self.signature {
                    if has_text(&block, "signature") {
                        return None;
                    }
                    block.set("signature", signature.clone());
                }
            }
            // A tool without parameters may get no input at all.
            BlockKind::Tool if self.added.is_empty() => {}
            BlockKind::Tool => {
                let input = Json::parse(self.added.as_bytes()).ok().filter(Json::is_object)?;
                if block.get("input").is_some_and(|input| !input.members().is_empty()) {
                    return None;
                }
                block.set("input", input);
            }
        }
        Some(block)
    }

    fn extend_text(&self, block: &mut Json<'_>, name: &'static str) -> Option<()> {
        let begun = block.get(name)?;
        if begun.is_null() && self.added.is_empty() {
            return Some(());
        }
        let begun = if begun.is_null() { "" } else { begun.as_str()? };
        let text = [begun, &self.added].concat();
        block.set(name, Json::text(text));
        Some(())
    }

    fn extend_citations<'b>(&'b self, block: &mut Json<'b>) -> Option<()> {
        if self.citations.is_empty() {
            return Some(());
        }
        let mut citations = match block.get("citations") {
            None | Some(Json::Null) => Vec::new(),
            Some(Json::Array(citations)) => citations.clone(),
            Some(_) => return None,
        };
        citations.extend(self.citations.iter().cloned());
        block.set("citations", Json::Array(citations));
        Some(())
    }
}

/// The values of these members of an object. `None` if one is missing, or if the object says anything else
/// besides its type.
pub(super) fn exactly<'a, const N: usize>(json: Json<'a>, names: [&str; N]) -> Option<[Json<'a>; N]> {
    let Json::Object(members) = json else { return None };
    let mut found = [const { None }; N];
    for member in members {
        match names.iter().position(|name| member.name == *name) {
            Some(place) => found[place] = Some(member.value),
            None if member.name == "type" || member.value.is_null() => {}
            None => return None,
        }
    }
    let found: Option<Vec<_>> = found.into_iter().collect();
    found?.try_into().ok()
}

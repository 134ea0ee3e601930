//! From a stream of Cohere's Chat to its answer (docs.cohere.com/v2/docs/streaming, and the pages on streaming for RAG
//! and for tool use).

use super::{BlockKind, DONE};
use crate::{
    dialect::{api::at_most, events::typed},
    http::sse,
    json::Json,
};

/// The answer that a complete stream says; `None` if an event says anything that is not known to be a part of it.
pub(super) fn to_whole(events: &[sse::Event]) -> Option<Vec<u8>> {
    let mut draft = Draft::default();
    for event in events {
        if event.data == DONE && draft.end.is_some() {
            continue;
        }
        if let Some((kind, json)) = typed(event)? {
            draft.take(&kind, json)?;
        }
    }
    draft.write()
}

/// An answer, as far as the stream has come.
#[derive(Default)]
struct Draft<'e> {
    /// Its id and its role, from its first event on.
    start: Option<(Json<'e>, Json<'e>)>,
    content: Vec<Block>,
    plan: String,
    calls: Vec<Indexed<Call<'e>>>,
    citations: Vec<Indexed<Json<'e>>>,
    logprobs: Vec<Json<'e>>,
    /// Why it ended and what it took, at its last event.
    end: Option<(Json<'e>, Json<'e>)>,
}

/// A block of the content.
struct Block {
    kind: BlockKind,
    text: String,
    is_over: bool,
}

/// A tool call.
struct Call<'e> {
    start: Json<'e>,
    arguments: String,
}

/// What an index of the stream stands for.
struct Indexed<T> {
    index: u64,
    value: T,
    is_over: bool,
}

impl<'e> Draft<'e> {
    fn take(&mut self, kind: &str, event: Json<'e>) -> Option<()> {
        if self.end.is_some() || (kind == "message-start") != self.start.is_none() {
            return None;
        }
        match kind {
            "message-start" => self.begin(event),
            "content-start" => {
                let [_, index, delta] = at_most(event, ["type", "index", "delta"])?;
                let block = part(delta, "content")?;
                let kind = BlockKind::from_block(&block)?;
                let [_, text] = at_most(block, ["type", kind.name()])?;
                let text = text_or_null(&text)?.to_owned();
                self.content.push(Block { kind, text, is_over: false });
                (index.as_u64()? == self.content.len() as u64 - 1).then_some(())
            }
            "content-delta" => self.add_content(event),
            "content-end" => {
                let [_, index] = at_most(event, ["type", "index"])?;
                let block = self.content.get_mut(usize::try_from(index.as_u64()?).ok()?)?;
                (!std::mem::replace(&mut block.is_over, true)).then_some(())
            }
            "tool-plan-delta" => {
                let [_, delta] = at_most(event, ["type", "delta"])?;
                self.plan.push_str(text_or_null(&part(delta, "tool_plan")?)?);
                Some(())
            }
            "tool-call-start" => {
                let [_, index, delta] = at_most(event, ["type", "index", "delta"])?;
                let start = part(delta, "tool_calls")?;
                let function = start.get("function").filter(|function| function.is_object())?;
                let arguments = text_or_null(function.get("arguments").unwrap_or(&Json::Null))?.to_owned();
                open(&mut self.calls, &index, Call { start, arguments })
            }
            "tool-call-delta" => self.add_arguments(event),
            "tool-call-end" => close(&mut self.calls, event),
            "citation-start" => {
                let [_, index, delta] = at_most(event, ["type", "index", "delta"])?;
                let citation = part(delta, "citations").filter(Json::is_object)?;
                open(&mut self.citations, &index, citation)
            }
            "citation-end" => close(&mut self.citations, event),
            "message-end" => self.finish(event),
            _ => None,
        }
    }

    fn begin(&mut self, event: Json<'e>) -> Option<()> {
        let [_, id, delta] = at_most(event, ["type", "id", "delta"])?;
        let [message] = at_most(delta, ["message"])?;
        let names = ["role", "content", "tool_plan", "tool_calls", "citations"];
        let [role, content, plan, calls, citations] = at_most(message, names)?;
        // What begins with something in it would shift the indices of what follows.
        let are_empty = [content, calls, citations]
            .iter()
            .all(|list| matches!(list, Json::Null) || matches!(list, Json::Array(items) if items.is_empty()));
        self.plan.push_str(text_or_null(&plan)?);
        let fits = are_empty && !id.as_str()?.is_empty() && role.as_str()? == "assistant";
        self.start = Some((id, role));
        fits.then_some(())
    }

    fn add_content(&mut self, event: Json<'e>) -> Option<()> {
        let [_, index, delta, logprobs] = at_most(event, ["type", "index", "delta", "logprobs"])?;
        let content = part(delta, "content")?;
        let block = self.content.get_mut(usize::try_from(index.as_u64()?).ok()?)?;
        let is_of_other_kind =
            content.get("type").is_some() && BlockKind::from_block(&content) != Some(block.kind);
        let [_, piece] = at_most(content, ["type", block.kind.name()])?;
        block.text.push_str(text_or_null(&piece)?);
        if !logprobs.is_null() {
            self.logprobs.push(logprobs);
        }
        (!block.is_over && !is_of_other_kind).then_some(())
    }

    fn add_arguments(&mut self, event: Json<'e>) -> Option<()> {
        let [_, index, delta] = at_most(event, ["type", "index", "delta"])?;
        let [function] = at_most(part(delta, "tool_calls")?, ["function"])?;
        let [arguments] = at_most(function, ["arguments"])?;
        let index = index.as_u64()?;
        let call = self.calls.iter_mut().find(|call| call.index == index && !call.is_over)?;
        call.value.arguments.push_str(text_or_null(&arguments)?);
        Some(())
    }

    fn finish(&mut self, event: Json<'e>) -> Option<()> {
        let [_, id, delta] = at_most(event, ["type", "id", "delta"])?;
        let [finish_reason, usage] = at_most(delta, ["finish_reason", "usage"])?;
        let is_same = id.is_null() || self.start.as_ref().is_some_and(|(own, _)| *own == id);
        let fits = is_same && finish_reason.as_str().is_some() && (usage.is_null() || usage.is_object());
        self.end = Some((finish_reason, usage));
        fits.then_some(())
    }

    /// The answer. What is empty is left out, as the service does.
    fn write(self) -> Option<Vec<u8>> {
        let ((id, role), (finish_reason, usage)) = self.start.zip(self.end)?;
        let is_over = self.content.iter().all(|block| block.is_over)
            && self.calls.iter().all(|call| call.is_over)
            && self.citations.iter().all(|citation| citation.is_over);
        if !is_over {
            return None;
        }
        let content: Vec<_> = self.content.into_iter().map(Block::whole).collect();
        let calls: Vec<_> = self.calls.into_iter().map(|call| call.value.whole()).collect();
        let citations: Vec<_> = self.citations.into_iter().map(|citation| citation.value).collect();
        let mut message = Json::object([("role", role)]);
        for (name, items) in [("content", content), ("tool_calls", calls), ("citations", citations)] {
            if name == "tool_calls" && !self.plan.is_empty() {
                message.set("tool_plan", Json::text(self.plan.as_str()));
            }
            if !items.is_empty() {
                message.set(name, Json::Array(items));
            }
        }
        let mut answer = Json::object([("id", id), ("message", message), ("finish_reason", finish_reason)]);
        if !usage.is_null() {
            answer.set("usage", usage);
        }
        if !self.logprobs.is_empty() {
            answer.set("logprobs", Json::Array(self.logprobs));
        }
        let mut out = Vec::new();
        answer.write(&mut out);
        Some(out)
    }
}

impl Block {
    fn whole<'e>(self) -> Json<'e> {
        let name = self.kind.name();
        Json::object([("type", Json::text(name)), (name, Json::text(self.text))])
    }
}

impl<'e> Call<'e> {
    /// The call with all of its arguments. One without any has what its start says of them.
    fn whole(self) -> Json<'e> {
        let mut call = self.start;
        let function = call.get("function").cloned();
        if let (Some(mut function), false) = (function, self.arguments.is_empty()) {
            function.set("arguments", Json::text(self.arguments));
            call.set("function", function);
        }
        call
    }
}

/// What a `delta` says under this name of the message, and nothing else.
fn part<'e>(delta: Json<'e>, name: &str) -> Option<Json<'e>> {
    let [message] = at_most(delta, ["message"])?;
    let [part] = at_most(message, [name])?;
    Some(part)
}

/// A text, empty if it is null; `None` if it is anything else.
fn text_or_null<'j>(json: &'j Json<'_>) -> Option<&'j str> {
    if json.is_null() { Some("") } else { json.as_str() }
}

/// Begins what `index` stands for from now on. No two things of a stream have the same one.
fn open<T>(all: &mut Vec<Indexed<T>>, index: &Json<'_>, value: T) -> Option<()> {
    let index = index.as_u64()?;
    let is_new = all.iter().all(|own| own.index < index);
    all.push(Indexed { index, value, is_over: false });
    is_new.then_some(())
}

/// Ends what the event's index stands for.
fn close<T>(all: &mut [Indexed<T>], event: Json<'_>) -> Option<()> {
    let [_, index] = at_most(event, ["type", "index"])?;
    let index = index.as_u64()?;
    let own = all.iter_mut().find(|own| own.index == index)?;
    (!std::mem::replace(&mut own.is_over, true)).then_some(())
}

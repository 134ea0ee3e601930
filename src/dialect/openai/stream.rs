//! From one document to the chunks of a stream.

use super::{DONE, IDENTITY, Names, TIMINGS};
use crate::{
    dialect::merge,
    json::{Json, Member},
};

/// Writes the chunks of the stream that says what a document says.
pub(in crate::dialect) struct Chunks<'a> {
    /// What every chunk has.
    identity: Vec<Member<'a>>,
    /// The members of the document that are not known here, for the first chunk: the API's own client takes
    /// over all of a first chunk, and of a later one what it knows.
    unknown: Vec<Member<'a>>,
    /// For the last chunk, if the request asks for it. All others have null then.
    usage: Option<Json<'a>>,
    /// For the last chunk, whichever that is.
    timings: Option<Json<'a>>,
    /// The chunk that is written next: it may be the last.
    next: Option<Vec<Member<'a>>>,
    out: Vec<u8>,
}

impl<'a> Chunks<'a> {
    /// `None` if chunks cannot say the document.
    pub(in crate::dialect) fn new(whole: &Json<'a>, names: Names, with_usage: bool) -> Option<Self> {
        let mut identity = vec![Member::new("object", Json::text(names.chunk))];
        let mut unknown = Vec::new();
        let mut usage = None;
        let mut timings = None;
        for member in whole.members() {
            match (&*member.name, &member.value) {
                ("object", Json::String(object)) if *object == names.whole => {}
                ("choices", Json::Array(_)) | ("object" | "usage" | "error" | "obfuscation", Json::Null) => {}
                ("usage", value @ Json::Object(_)) => usage = Some(value.clone()),
                (TIMINGS, value @ Json::Object(_)) => timings = Some(value.clone()),
                // In a chunk it would be padding.
                ("object" | "usage" | "choices" | "error" | "obfuscation", _) => return None,
                (name, _) if IDENTITY.contains(&name) => identity.push(member.clone()),
                _ => unknown.push(member.clone()),
            }
        }
        let usage = if with_usage { Some(usage?) } else { None };
        Some(Self { identity, unknown, usage, timings, next: None, out: Vec::new() })
    }

    /// Writes a chunk about one choice.
    pub(in crate::dialect) fn choice(&mut self, choice: Vec<Member<'a>>) {
        let usage = self.usage.as_ref().map(|_| Json::Null);
        self.write(vec![Json::Object(choice)], usage);
    }

    /// Writes the usage, if the request asks for it, and the end. Returns the stream.
    pub(in crate::dialect) fn end(mut self) -> Vec<u8> {
        if let Some(usage) = self.usage.take() {
            self.write(Vec::new(), Some(usage));
        }
        if let Some(mut last) = self.next.take() {
            last.extend(self.timings.take().map(|timings| Member::new(TIMINGS, timings)));
            self.write_out(last);
        }
        self.out.extend_from_slice(format!("data: {DONE}\n\n").as_bytes());
        self.out
    }

    fn write(&mut self, choices: Vec<Json<'a>>, usage: Option<Json<'a>>) {
        let mut chunk = self.identity.clone();
        chunk.push(Member::new("choices", Json::Array(choices)));
        chunk.extend(usage.map(|usage| Member::new("usage", usage)));
        chunk.append(&mut self.unknown);
        if let Some(earlier) = self.next.replace(chunk) {
            self.write_out(earlier);
        }
    }

    fn write_out(&mut self, chunk: Vec<Member<'a>>) {
        self.out.extend_from_slice(b"data: ");
        Json::Object(chunk).write(&mut self.out);
        self.out.extend_from_slice(b"\n\n");
    }
}

/// One choice of a document.
pub(in crate::dialect) struct Choice<'j, 'a> {
    pub(in crate::dialect) index: Json<'a>,
    pub(in crate::dialect) finish_reason: Json<'a>,
    /// `None` if the document has no such member.
    pub(in crate::dialect) logprobs: Option<&'j Json<'a>>,
    /// The members that are not among those above.
    pub(in crate::dialect) others: Vec<&'j Member<'a>>,
}

impl<'j, 'a> Choice<'j, 'a> {
    /// A document's choices; `None` if there are none, or if they are not in order, or not finished.
    pub(in crate::dialect) fn all(whole: &'j Json<'a>) -> Option<Vec<Self>> {
        let choices = whole.get("choices")?.items();
        let in_order = choices.iter().map(merge::index_of).is_sorted_by(|a, b| a < b);
        if choices.is_empty() || !in_order {
            return None;
        }
        choices.iter().map(Self::new).collect()
    }

    fn new(choice: &'j Json<'a>) -> Option<Self> {
        merge::index_of(choice)?;
        let finish_reason = choice.get("finish_reason").filter(|reason| reason.as_str().is_some())?.clone();
        let others = choice
            .members()
            .iter()
            .filter(|member| !matches!(&*member.name, "index" | "finish_reason" | "logprobs"))
            .collect();
        Some(Self {
            index: choice.get("index")?.clone(),
            finish_reason,
            logprobs: choice.get("logprobs"),
            others,
        })
    }

    /// A part of this choice, with the member that this API has for it. A choice with log-probabilities has
    /// that member in all its parts, as the API has it.
    pub(in crate::dialect) fn part(
        &self,
        part: (&'static str, Json<'a>),
        logprobs: Option<Json<'a>>,
    ) -> Vec<Member<'a>> {
        let mut members = vec![Member::new("index", self.index.clone()), Member::new(part.0, part.1)];
        if self.logprobs.is_some() {
            members.push(Member::new("logprobs", logprobs.unwrap_or_default()));
        }
        members.push(Member::new("finish_reason", Json::Null));
        members
    }

    /// The part that ends this choice, with `others`, the members that are not known here. What servers add
    /// to a choice is about its end (`stop_reason`, `native_finish_reason`).
    pub(in crate::dialect) fn last_part(
        &self,
        part: (&'static str, Json<'a>),
        logprobs: Option<Json<'a>>,
        others: impl IntoIterator<Item = Member<'a>>,
    ) -> Vec<Member<'a>> {
        let mut members = self.part(part, logprobs);
        members.pop();
        members.push(Member::new("finish_reason", self.finish_reason.clone()));
        members.extend(others);
        members
    }
}

//! Whether an answer is complete and worth storing.

use std::collections::BTreeMap;

use super::place_of;
use crate::{
    dialect::{
        answer::{Answer, JudgeOptions, Refusal},
        api::{has, text_of},
        choices::{self, Choice},
        ends,
        usage::{Usage, read_usage_metadata},
    },
    json::Json,
    reason::Reason,
};

/// The word for an answer that goes on.
const UNENDED: &str = "FINISH_REASON_UNSPECIFIED";

/// Members of a part that say something about it, and nothing by themselves.
const ABOUT_A_PART: [&str; 5] =
    ["thought", "thoughtSignature", "videoMetadata", "mediaResolution", "partMetadata"];

/// What is known of an answer.
#[derive(Default)]
pub(super) struct Reply {
    candidates: BTreeMap<u64, Choice>,
    model: Option<String>,
    usage: Option<Usage>,
    /// Whether the question was held back.
    is_blocked: bool,
    /// Whether a chunk is not as the API writes it.
    is_broken: bool,
}

impl Reply {
    /// Adds a document, or a chunk of one.
    pub(super) fn add(&mut self, chunk: &Json<'_>, options: &JudgeOptions<'_>) {
        self.is_broken |= !chunk.is_object();
        self.is_blocked |= chunk.get("promptFeedback").is_some_and(|feedback| has(feedback, "blockReason"));
        self.model = text_of(chunk, "modelVersion").filter(|name| !name.is_empty()).or(self.model.take());
        // The counts of a chunk are those so far.
        self.usage = read_usage_metadata(chunk).or(self.usage);
        let mut seen = Vec::new();
        for (place, element) in chunk.get("candidates").map_or(&[][..], Json::items).iter().enumerate() {
            let place = place_of(element, place).filter(|place| !seen.contains(place));
            let Some(place) = place else {
                self.is_broken = true;
                continue;
            };
            seen.push(place);
            self.is_broken |= !add_candidate(self.candidates.entry(place).or_default(), element, options);
        }
    }

    /// The verdict on a document.
    pub(super) fn whole(self, options: &JudgeOptions<'_>) -> Answer {
        Answer::new(self.judge(options), self.model, self.usage)
    }

    /// The verdict on a stream: each candidate that was asked for has ended, and the usage came.
    pub(super) fn streamed(self, options: &JudgeOptions<'_>) -> Answer {
        let has_ended = |choice: &Choice| choice.finish.is_some();
        let is_complete = self.usage.is_some()
            && self.candidates.len() as u64 >= options.ask.choices.max(1)
            && self.candidates.values().all(has_ended);
        let verdict = if is_complete || self.is_blocked {
            self.judge(options)
        } else {
            Err(Reason::NoProperEnd.into())
        };
        Answer::new(verdict, self.model, self.usage)
    }

    fn judge(&self, options: &JudgeOptions<'_>) -> Result<(), Refusal> {
        if self.is_blocked {
            return Err(Reason::Filtered.into());
        }
        choices::judge(self.candidates.values(), &ends::GEMINI, options)?;
        if self.is_broken { Err(Reason::Invalid.into()) } else { Ok(()) }
    }
}

/// Reads what a chunk says of a candidate. Returns whether that is well formed.
fn add_candidate(choice: &mut Choice, element: &Json<'_>, options: &JudgeOptions<'_>) -> bool {
    let parts = element.get("content").and_then(|content| content.get("parts")).map_or(&[][..], Json::items);
    let is_well_formed = parts.iter().fold(true, |so_far, part| so_far & add_part(choice, part, options));
    match element.get("finishReason").and_then(Json::as_str) {
        None | Some("" | UNENDED) if parts.is_empty() => {}
        // It goes on, whatever it said before.
        None | Some("" | UNENDED) => choice.finish = None,
        Some(word) => choice.finish = Some(word.to_owned()),
    }
    is_well_formed
}

fn add_part(choice: &mut Choice, part: &Json<'_>, options: &JudgeOptions<'_>) -> bool {
    let is_thought = part.get("thought").and_then(Json::as_bool) == Some(true);
    let mut is_well_formed = part.is_object();
    for member in part.members().iter().filter(|member| !member.value.is_null()) {
        match &*member.name {
            "text" if is_thought => {}
            "text" => choice.say(member.value.as_str().unwrap_or_default(), options),
            "functionCall" => is_well_formed &= add_call(choice, &member.value),
            "inlineData" | "fileData" => choice.says = true,
            name if ABOUT_A_PART.contains(&name) => {}
            // Code that the service ran, a tool of its own, or something that is not known here.
            _ => {
                choice.says = true;
                choice.may_call = true;
            }
        }
    }
    is_well_formed
}

/// Reads a call of a function. Vertex AI may stream its arguments, in members of their own.
fn add_call(choice: &mut Choice, call: &Json<'_>) -> bool {
    // The arguments are an object of the document itself.
    choice.tools.insert(choice.tools.len() as u64, String::new());
    let arguments = call.get("args");
    call.is_object() && arguments.is_none_or(|arguments| arguments.is_null() || arguments.is_object())
}

//! What an answer says that it cost, and what it says in that place if it cost nothing.

use std::ops::Range;

use super::layout::Replacement;
use crate::{
    dialect::usage::{Usage, read_any_usage, zeroed},
    json::{Json, JsonError},
};

/// Ollama's count of tokens.
const PROMPT_COUNT: &str = "prompt_eval_count";

/// What was read of an answer's costs.
#[derive(Debug, Default)]
pub(super) struct Costs {
    /// Where the answer says what it cost, and what it says there if it cost nothing.
    pub(super) places: Vec<Replacement>,
    pub(super) usage: Option<Usage>,
}

impl Costs {
    /// Reads the member `name`, whose value `text` is at `span`. `paths` are those of the API's costs.
    ///
    /// # Errors
    /// It is no JSON.
    pub(super) fn read(
        &mut self,
        paths: &[&[&str]],
        name: &str,
        text: &[u8],
        span: Range<usize>,
    ) -> Result<(), JsonError> {
        for path in paths.iter().filter(|path| path[0] == name) {
            let json = Json::parse(text)?;
            match path.get(1) {
                None => {
                    self.usage = usage(name, &json).or(self.usage);
                    self.add(json, span.clone());
                }
                Some(inner) => {
                    if let Some(member) = json.member(inner) {
                        self.usage = usage(inner, &member.value).or(self.usage);
                        let place = span.start + member.span.start..span.start + member.span.end;
                        self.add(member.value.clone(), place);
                    }
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, cost: Json<'_>, span: Range<usize>) {
        let mut free = Vec::new();
        zeroed(cost).write(&mut free);
        self.places.push((span, free));
    }
}

/// The tokens that `json` tells under this name.
fn usage(name: &str, json: &Json<'_>) -> Option<Usage> {
    match name {
        PROMPT_COUNT => json.as_u64().map(of_prompt),
        // Cohere (docs.cohere.com/reference/embed).
        "billed_units" => json.get("input_tokens").and_then(Json::as_u64).map(of_prompt),
        _ => read_any_usage(&Json::object([(name, json.clone())])),
    }
}

/// The usage where only the tokens of the inputs are counted.
fn of_prompt(count: u64) -> Usage {
    Usage { prompt: Some(count), total: Some(count), ..Usage::default() }
}

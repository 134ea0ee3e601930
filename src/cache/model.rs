//! Names of models, and patterns for them: prices have one each, and `metrics.models` has those that are counted
//! apart. Pure.

use crate::cache::invalidation::glob::{escape, matches};

/// The models that a text names, `*` for any text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ModelPattern {
    /// As the configuration says it.
    text: String,
    /// What of that comes before the first `*`.
    beginning: String,
    /// The same as a glob pattern.
    pattern: String,
}

impl ModelPattern {
    pub(crate) fn new(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            beginning: text.split('*').next().unwrap_or_default().to_owned(),
            pattern: text.split('*').map(escape).collect::<Vec<_>>().join("*"),
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it names this model. Each hit may try several: their beginnings tell most of them apart.
    pub(crate) fn matches(&self, model: &str) -> bool {
        model.starts_with(&*self.beginning)
            && match self.text.len() - self.beginning.len() {
                0 => self.text.len() == model.len(),
                // The star alone.
                1 => true,
                _ => matches(&self.pattern, model),
            }
    }
}

/// The counters that calls of a model belong to. The default is that of all models that are not counted apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ModelNumber(pub(crate) u16);

/// The models that are counted apart.
#[derive(Clone, Debug, Default)]
pub(crate) struct CountedModels(Vec<(ModelPattern, ModelNumber)>);

impl CountedModels {
    /// `number` gives the number of the models that a pattern names.
    pub(crate) fn new(patterns: &[ModelPattern], number: impl Fn(&str) -> ModelNumber) -> Self {
        Self(patterns.iter().map(|pattern| (pattern.clone(), number(pattern.as_str()))).collect())
    }

    /// The number of a model, by the first pattern that names it.
    pub(crate) fn number(&self, model: Option<&str>) -> ModelNumber {
        let Some(model) = model else { return ModelNumber::default() };
        self.0
            .iter()
            .find(|(pattern, _)| pattern.matches(model))
            .map_or_else(Default::default, |(_, number)| *number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_pattern_that_names_a_model_counts() {
        let patterns = ["gpt-4o-mini", "gpt-4o*", "*-large*", "[a]"].map(ModelPattern::new);
        let number = |text: &str| {
            let place = patterns.iter().position(|pattern| pattern.as_str() == text).expect("one of them");
            ModelNumber(place as u16 + 1)
        };
        let models = CountedModels::new(&patterns, number);
        for (model, expected) in [
            ("gpt-4o-mini", 1),
            ("gpt-4o-mini-2024", 2),
            ("gpt-4o", 2),
            ("mistral-large-latest", 3),
            ("[a]", 4),
            ("a", 0),
            ("gpt-4", 0),
            ("GPT-4o", 0),
        ] {
            assert_eq!(models.number(Some(model)), ModelNumber(expected), "{model}");
        }
        assert_eq!(models.number(None), ModelNumber::default());
    }
}

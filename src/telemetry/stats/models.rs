//! The models that calls are counted under (`metrics.models`), by the patterns that name them.

use super::names::Names;
use crate::{cache::model::ModelNumber, telemetry::calls::MAX_MODELS};

/// The label of models that no pattern names.
pub(crate) const OTHER: &str = "other";

/// The patterns of `metrics.models` that the process has had.
#[derive(Debug)]
pub(crate) struct ModelNames(Names<String>);

impl Default for ModelNames {
    fn default() -> Self {
        Self(Names::new(OTHER.to_owned(), MAX_MODELS))
    }
}

impl ModelNames {
    pub(crate) fn number(&self, pattern: &str) -> ModelNumber {
        ModelNumber(self.0.number(pattern.to_owned()))
    }

    /// The labels, in the order of their numbers.
    pub(crate) fn all(&self) -> Vec<String> {
        self.0.all()
    }
}

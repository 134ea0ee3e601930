//! Reads settings by key, and collects what is in force and what is wrong.

use super::{
    NOTHING, Secret,
    error::{Errors, Faults},
    inputs::{Given, Values},
    origin::Source,
    quote::mask,
    settings::{self, SETTINGS},
    value::Format,
};

/// A setting that is in force.
#[derive(Clone, Debug)]
pub struct EffectiveSetting {
    /// As in `store.redis`.
    pub key: &'static str,
    /// The value in a uniform notation. A secret is `***`, and no value is `none`.
    pub shown: String,
    /// Where the value was written.
    pub source: Source,
    /// The value in the clear, to compare two.
    pub(super) exact: Option<Secret>,
}

pub(super) struct SettingsReader {
    given: Values,
    pub(super) faults: Faults,
    effective: Vec<EffectiveSetting>,
}

impl SettingsReader {
    pub(super) fn new(given: Values, faults: Faults) -> Self {
        Self { given, faults, effective: Vec::new() }
    }

    /// The strongest value of a setting; `None` if there is none, or if it is wrong, which is a fault.
    ///
    /// The weaker values must be right, too: one of them counts once the stronger source is gone.
    pub(super) fn take<T>(&mut self, key: &'static str, format: &Format<T>) -> Option<T> {
        let Some((Given { value, source }, weaker)) = self.given.get(key).and_then(|all| all.split_last())
        else {
            self.record(key, None, Source::Default);
            return None;
        };
        for Given { value, source } in weaker {
            if let Err(message) = (format.parse)(value) {
                self.faults.add(source, key, &message);
            }
        }
        match (format.parse)(value) {
            Ok(value) => {
                let source = source.clone();
                self.record(key, Some((format.show)(&value)), source);
                Some(value)
            }
            Err(message) => {
                self.faults.add(source, key, &message);
                None
            }
        }
    }

    /// [`take`](Self::take) for a setting that must have a value.
    pub(super) fn need<T>(&mut self, key: &'static str, format: &Format<T>) -> Option<T> {
        if !self.is_given(key) {
            let names = settings::find(key).map(|setting| [setting.flag, setting.env]);
            let ways: Vec<_> = names.into_iter().flatten().flatten().collect();
            let message = format!("is required; give {}, or `{key}` in the file", ways.join(", "));
            self.faults.add(&Source::Default, key, &message);
        }
        self.take(key, format)
    }

    /// Records the value that is in force. It replaces an earlier one.
    pub(super) fn record(&mut self, key: &'static str, exact: Option<String>, source: Source) {
        let secret = settings::find(key).is_some_and(|setting| setting.secret);
        let shown = match &exact {
            None => NOTHING.to_owned(),
            Some(_) if secret => "***".to_owned(),
            Some(url) if url.contains("://") => mask(url),
            Some(plain) => plain.clone(),
        };
        self.effective.retain(|setting| setting.key != key);
        self.effective.push(EffectiveSetting { key, shown, source, exact: exact.map(Secret::new) });
    }

    /// Whether a setting has a value, right or wrong.
    pub(super) fn is_given(&self, key: &str) -> bool {
        self.given.contains_key(key)
    }

    /// The source of a setting's strongest value.
    pub(super) fn source(&self, key: &str) -> Source {
        let strongest = self.given.get(key).and_then(|all| all.last());
        strongest.map_or(Source::Default, |given| given.source.clone())
    }

    /// Adds a fault of a setting whose value is right by itself, and wrong beside others.
    pub(super) fn fault(&mut self, key: &'static str, message: &str) {
        let source = self.source(key);
        self.faults.add(&source, key, message);
    }

    /// The settings in force, in the order of the table, or all faults.
    pub(super) fn finish(mut self) -> Result<Vec<EffectiveSetting>, Errors> {
        if !self.faults.is_empty() {
            return Err(self.faults.into_errors());
        }
        self.effective.sort_by_key(|own| SETTINGS.iter().position(|setting| setting.key == own.key));
        Ok(self.effective)
    }
}

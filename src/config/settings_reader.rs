//! Reads settings by key: what each is, where it came from, and what is wrong.

use super::{
    NOTHING, Secret,
    error::{Errors, Faults},
    inputs::{Given, Values},
    origin::Source,
    quote::mask,
    settings::{self, SETTINGS},
    value::Form,
};

/// A setting as it is in force.
#[derive(Clone, Debug)]
pub struct Effective {
    /// Its key.
    pub key: &'static str,
    /// Its value in one form, whichever way it was written; secrets are `***`, and nothing is `none`.
    pub shown: String,
    /// Where it was written.
    pub source: Source,
    /// The value in the clear, for comparing; `None` where there is none.
    pub(super) exact: Option<Secret>,
}

/// Reads values by key, and notes what is wrong and what is in force.
pub(super) struct Reader {
    given: Values,
    /// What is wrong so far.
    pub(super) faults: Faults,
    effective: Vec<Effective>,
}

impl Reader {
    /// A reader of the strongest value of each setting.
    pub(super) fn new(given: Values, faults: Faults) -> Self {
        Self { given, faults, effective: Vec::new() }
    }

    /// The value of a setting; `None` where there is none, or where it is wrong, which is noted. Values that a stronger
    /// source overrides must be good too: they count once that source is gone.
    pub(super) fn take<T>(&mut self, key: &'static str, form: &Form<T>) -> Option<T> {
        let Some((Given { value, source }, weaker)) = self.given.get(key).and_then(|all| all.split_last())
        else {
            self.note(key, None, Source::Default);
            return None;
        };
        for Given { value, source } in weaker {
            if let Err(message) = (form.read)(value) {
                self.faults.at(source, key, &message);
            }
        }
        match (form.read)(value) {
            Ok(value) => {
                let source = source.clone();
                self.note(key, Some((form.show)(&value)), source);
                Some(value)
            }
            Err(message) => {
                self.faults.at(source, key, &message);
                None
            }
        }
    }

    /// [`take`](Self::take) for a setting that must have a value.
    pub(super) fn need<T>(&mut self, key: &'static str, form: &Form<T>) -> Option<T> {
        if !self.is_given(key) {
            let names = settings::find(key).map(|setting| [setting.flag, setting.env]);
            let ways: Vec<_> = names.into_iter().flatten().flatten().collect();
            let message = format!("is required; give {}, or `{key}` in the file", ways.join(", "));
            self.faults.at(&Source::Default, key, &message);
        }
        self.take(key, form)
    }

    /// Notes what is in force, in place of what was noted before.
    pub(super) fn note(&mut self, key: &'static str, exact: Option<String>, source: Source) {
        let secret = settings::find(key).is_some_and(|setting| setting.secret);
        let shown = match &exact {
            None => NOTHING.to_owned(),
            Some(_) if secret => "***".to_owned(),
            Some(url) if url.contains("://") => mask(url),
            Some(plain) => plain.clone(),
        };
        self.effective.retain(|own| own.key != key);
        self.effective.push(Effective { key, shown, source, exact: exact.map(Secret::new) });
    }

    /// Whether a setting has a value, right or wrong.
    pub(super) fn is_given(&self, key: &str) -> bool {
        self.given.contains_key(key)
    }

    /// Where a setting's value was written.
    pub(super) fn source(&self, key: &str) -> Source {
        let strongest = self.given.get(key).and_then(|all| all.last());
        strongest.map_or(Source::Default, |given| given.source.clone())
    }

    /// Notes a fault of a setting that only others make one.
    pub(super) fn fault(&mut self, key: &'static str, message: &str) {
        let source = self.source(key);
        self.faults.at(&source, key, message);
    }

    /// What is in force, in the order of the table, or what is wrong.
    pub(super) fn finish(mut self) -> Result<Vec<Effective>, Errors> {
        if !self.faults.is_empty() {
            return Err(self.faults.into_errors());
        }
        self.effective.sort_by_key(|own| SETTINGS.iter().position(|setting| setting.key == own.key));
        Ok(self.effective)
    }
}

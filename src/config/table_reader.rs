//! Reads the keys of a table that may be there several times: a `[[route]]`, a `[[price]]`.

use std::path::Path;

use super::{
    error::Faults,
    origin::Source,
    settings::TableKey,
    suggest::{closest, did_you_mean},
    value::{Entry, Table, Value},
};

/// Reads the keys of one table.
pub(super) struct TableReader<'a> {
    pub(super) path: &'a Path,
    pub(super) table: &'a Table,
    /// What the table is: its name in double brackets.
    pub(super) name: &'static str,
    pub(super) faults: &'a mut Faults,
}

impl TableReader<'_> {
    /// Refuses keys that are not among `known`.
    pub(super) fn refuse_unknown(&mut self, known: &[TableKey]) {
        let name = self.name;
        for Entry { line, key, .. } in &self.table.entries {
            let known = || known.iter().map(|own| own.key);
            if !known().any(|own| own == key) {
                let hint = did_you_mean(closest(key, known()));
                let message = format!("{name}.{key}: is no setting of a {name}{hint}");
                self.faults.add_in_file(self.path, *line, &message);
            }
        }
    }

    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        self.table.entries.iter().find(|entry| entry.key == key)
    }

    /// The value of `key`; `None` if there is none, or if it is wrong, which is a fault.
    pub(super) fn take<T>(&mut self, key: &str, parse: impl Fn(&Value) -> Result<T, String>) -> Option<T> {
        let entry = self.table.entries.iter().find(|entry| entry.key == key)?;
        match parse(&entry.value) {
            Ok(value) => Some(value),
            Err(message) => {
                let source = Source::File { path: self.path.to_owned(), line: entry.line };
                self.faults.add(&source, &format!("{}.{key}", self.name), &message);
                None
            }
        }
    }

    /// [`take`](Self::take) for a key that must be there.
    pub(super) fn need<T>(
        &mut self,
        key: &str,
        example: &str,
        parse: impl Fn(&Value) -> Result<T, String>,
    ) -> Option<T> {
        if self.entry(key).is_none() {
            let message = format!("{}: has no `{key}`; write one, as in {key} = {example}", self.name);
            self.faults.add_in_file(self.path, self.table.line, &message);
        }
        self.take(key, parse)
    }
}

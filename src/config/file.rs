//! Reads the TOML file into values with their lines, and reports unknown keys.

use std::{collections::BTreeSet, path::Path};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    error::Faults,
    origin::Source,
    settings::{self, SETTINGS},
    suggest::{closest, did_you_mean},
    value::{Entry, Table, Value},
};

pub(super) struct FileValue {
    pub(super) key: &'static str,
    pub(super) value: Value,
    pub(super) source: Source,
}

#[derive(Default)]
pub(super) struct File {
    pub(super) values: Vec<FileValue>,
    /// The `[[route]]` tables.
    pub(super) routes: Vec<Table>,
    /// The `[[price]]` tables.
    pub(super) prices: Vec<Table>,
}

/// Reads a file. `None` if its syntax is wrong: then its keys cannot be checked.
pub(super) fn read(path: &Path, text: &str, faults: &mut Faults) -> Option<File> {
    let (document, errors) = DeTable::parse_recoverable(text);
    // One mistake often causes several errors on its line.
    let mut lines = BTreeSet::new();
    for error in &errors {
        let line = line_of(text, error.span().map_or(0, |span| span.start));
        if lines.insert(line) {
            faults.add_in_file(path, line, error.message());
        }
    }
    if !errors.is_empty() {
        return None;
    }
    let mut walk = Walk { path, file: File::default(), faults };
    walk.visit("", read_table(text, 0, document.get_ref()));
    Some(walk.file)
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count()
}

/// The parser sorts keys by name. Errors and routes go from top to bottom, so that this sorts by place.
fn read_table(text: &str, offset: usize, table: &DeTable<'_>) -> Table {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    let entry = |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| Entry {
        line: line_of(text, key.span().start),
        key: AsRef::<str>::as_ref(key.get_ref()).to_owned(),
        value: read_value(text, value),
    };
    Table { line: line_of(text, offset), entries: entries.into_iter().map(entry).collect() }
}

fn read_value(text: &str, spanned: &Spanned<DeValue<'_>>) -> Value {
    match spanned.get_ref() {
        DeValue::String(own) => Value::Text(own.to_string()),
        DeValue::Integer(own) => {
            // A number that does not fit is out of every setting's range, on its side of zero.
            let beyond = if own.as_str().starts_with('-') { i128::MIN } else { i128::MAX };
            Value::Integer(i128::from_str_radix(own.as_str(), own.radix()).unwrap_or(beyond))
        }
        DeValue::Float(own) => Value::Fraction(own.as_str().to_owned()),
        DeValue::Boolean(own) => Value::Bool(*own),
        DeValue::Datetime(_) => Value::Other("a date"),
        DeValue::Array(own) => Value::List(own.iter().map(|item| read_value(text, item)).collect()),
        DeValue::Table(own) => Value::Table(read_table(text, spanned.span().start, own)),
    }
}

/// Visits every key, and sorts it into settings, routes and faults.
struct Walk<'a> {
    path: &'a Path,
    file: File,
    faults: &'a mut Faults,
}

impl Walk<'_> {
    fn visit(&mut self, group: &str, table: Table) {
        for Entry { line, key, value } in table.entries {
            let path = if group.is_empty() { key.clone() } else { format!("{group}.{key}") };
            // A dot in a quoted key does not name a table. If it did, a setting could have two values.
            if key.contains('.') {
                self.fault(line, &format!("{path}: is no setting; write keys without quotes"));
                continue;
            }
            match (settings::find(&path), value) {
                (Some(setting), value) => {
                    let source = Source::File { path: self.path.to_owned(), line };
                    self.file.values.push(FileValue { key: setting.key, value, source });
                }
                (None, value) if path == "route" => {
                    let tables = self.tables(line, &path, value);
                    self.file.routes.extend(tables);
                }
                (None, value) if path == "price" => {
                    let tables = self.tables(line, &path, value);
                    self.file.prices.extend(tables);
                }
                (None, Value::Table(table)) if is_group(&path) => self.visit(&path, table),
                (None, _) if is_group(&path) => {
                    self.fault(line, &format!("{path}: is a table; write [{path}] and its keys below"));
                }
                (None, value) => self.unknown(line, &path, &value),
            }
        }
    }

    fn tables(&mut self, line: usize, name: &str, value: Value) -> Vec<Table> {
        let message =
            format!("{name}: is a list of tables; write [[{name}]], in double brackets, and its keys below");
        let mut tables = Vec::new();
        let Value::List(items) = value else {
            self.fault(line, &message);
            return tables;
        };
        for item in items {
            match item {
                Value::Table(table) => tables.push(table),
                _ => self.fault(line, &message),
            }
        }
        tables
    }

    fn unknown(&mut self, line: usize, path: &str, value: &Value) {
        let is_table = match value {
            Value::Table(_) => true,
            Value::List(items) => items.iter().any(|item| matches!(item, Value::Table(_))),
            _ => false,
        };
        if is_table {
            let groups = SETTINGS.iter().map(settings::Setting::group).filter(|group| !group.is_empty());
            let hint = closest(path, groups.chain(["route", "price"])).map(|name| match name {
                "route" | "price" => format!("[[{name}]]"),
                group => format!("[{group}]"),
            });
            return self
                .fault(line, &format!("{path}: is no table of settings{}", did_you_mean(hint.as_deref())));
        }
        let hint = match closest_setting(path) {
            Some(name) if !name.contains('.') && path.contains('.') => {
                format!("; did you mean `{name}`, at the top of the file?")
            }
            name => did_you_mean(name),
        };
        self.fault(line, &format!("{path}: is no setting{hint}"));
    }

    fn fault(&mut self, line: usize, message: &str) {
        self.faults.add_in_file(self.path, line, message);
    }
}

fn is_group(path: &str) -> bool {
    !path.is_empty() && SETTINGS.iter().any(|setting| setting.group() == path)
}

/// The setting that a key probably means: one with the same name in another table, or one in the same table
/// with a similar name. The first is most often a key of the top of the file, written below a table's header.
fn closest_setting(path: &str) -> Option<&'static str> {
    let (group, name) = path.rsplit_once('.').unwrap_or(("", path));
    let keys = || SETTINGS.iter().map(|setting| (setting.key, setting.name()));
    if let Some((key, _)) =
        keys().filter(|own| own.1 == name).min_by_key(|own| strsim::damerau_levenshtein(own.0, path))
    {
        return Some(key);
    }
    let near_name =
        closest(name, SETTINGS.iter().filter(|own| own.group() == group).map(settings::Setting::name))?;
    SETTINGS.iter().find(|own| own.group() == group && own.name() == near_name).map(|own| own.key)
}

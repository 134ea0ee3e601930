//! Reads the sources of settings, strongest first: flags, environment, `.env`, file, defaults.

use std::{
    cell::Cell,
    collections::BTreeMap,
    env,
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    error::{Errors, Faults},
    file::FileValue,
    origin::Source,
    settings::{self, SETTINGS, Setting},
    value::Value,
};

/// The variable with routes, `;` between them.
pub(super) const ROUTES_VARIABLE: &str = "CACHE_ROUTES";

/// The variable that names the file.
const FILE_VARIABLE: &str = "SIDECACHE_CONFIG";

/// The file that is read if none is named.
const FILE_IN_FOLDER: &str = "sidecache.toml";

/// The sources of a configuration, already read. [`load()`](super::load()) looks at nothing else.
///
/// It has no `Debug`, since it has secrets in the clear.
#[derive(Clone, Default)]
pub struct Inputs {
    /// The flags: a setting's key and its value.
    pub flags: Vec<(&'static str, String)>,
    /// The routes of the flags, each as `METHOD PATH [KIND] [TTL]`.
    pub routes: Vec<String>,
    /// Variables of the environment. Those of no setting are ignored.
    pub env: Vec<(String, String)>,
    /// The path of `.env` and its variables, in order. Of several with one name, the last counts, as in a
    /// shell.
    pub dotenv: Option<(PathBuf, Vec<(String, String)>)>,
    /// The path of the configuration file and its text.
    pub file: Option<(PathBuf, String)>,
    /// Values for settings that are required, but that this command does not need: a setting's key and its
    /// value.
    pub assumed: Vec<(&'static str, &'static str)>,
}

impl Inputs {
    /// Reads the environment, `.env` in the working folder if there is one, and the file: the one at
    /// `config_path`, or else the one that `SIDECACHE_CONFIG` names, or else `sidecache.toml` in the working
    /// folder if there is one.
    ///
    /// # Errors
    /// [`Errors`], with the reason for each source that cannot be read.
    pub fn gather(config_path: Option<&Path>, flags: Vec<(&'static str, String)>) -> Result<Self, Errors> {
        Self::gather_from(|name| env::var_os(name), Path::new(""), config_path, flags)
    }

    /// [`gather`](Self::gather), with the environment and the working folder as arguments.
    pub(super) fn gather_from(
        var: impl Fn(&str) -> Option<OsString>,
        folder: &Path,
        config_path: Option<&Path>,
        flags: Vec<(&'static str, String)>,
    ) -> Result<Self, Errors> {
        let mut faults = Faults::default();
        let mut inputs = Self { flags, ..Self::default() };
        for name in variables() {
            match var(name).map(OsString::into_string) {
                None => {}
                Some(Ok(value)) => inputs.env.push((name.to_owned(), value)),
                Some(Err(_)) => faults.add(&Source::Env(name), name, "is not valid UTF-8"),
            }
        }
        let dotenv_path = folder.join(".env");
        match fs::read_to_string(&dotenv_path) {
            Ok(text) => {
                let variables = read_dotenv(&dotenv_path, &text, &mut faults);
                inputs.dotenv = Some((dotenv_path, variables));
            }
            // A folder with the name `.env` is a Python environment.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::IsADirectory) => {}
            Err(error) => faults.add_elsewhere(dotenv_path.display().to_string(), &unreadable(&error)),
        }
        inputs.file = read_file(folder, config_path, &inputs, &mut faults);
        if faults.is_empty() { Ok(inputs) } else { Err(faults.into_errors()) }
    }
}

/// Reads the configuration file, if there is one. A file that is named must be there.
fn read_file(
    folder: &Path,
    config_path: Option<&Path>,
    inputs: &Inputs,
    faults: &mut Faults,
) -> Option<(PathBuf, String)> {
    let named = from_variables(inputs, FILE_VARIABLE).last().and_then(|given| match given.value {
        Value::Bare(path) => Some((folder.join(path), given.source)),
        _ => None,
    });
    let (path, named_by) = match (config_path, named) {
        (Some(path), _) => (path.to_owned(), Some(Source::Flag("--config"))),
        (None, Some((path, source))) => (path, Some(source)),
        (None, None) => (folder.join(FILE_IN_FOLDER), None),
    };
    match fs::read_to_string(&path) {
        Ok(text) => return Some((path, text)),
        Err(error) if named_by.is_none() && error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            let place = path.display().to_string();
            match named_by {
                // Who has set the variable may not know the path.
                Some(source @ (Source::Env(_) | Source::Dotenv { .. })) => {
                    faults.add(&source, FILE_VARIABLE, &format!("{place} {}", unreadable(&error)));
                }
                _ => faults.add_elsewhere(place, &unreadable(&error)),
            }
        }
    }
    None
}

fn unreadable(error: &io::Error) -> String {
    format!("cannot be read: {error}")
}

/// Reads the variables of a `.env`. The process's environment does not change.
///
/// The file often belongs to the service, and has lines that only the service can read. An unreadable line is
/// a fault only if it sets one of sidecache's variables.
fn read_dotenv(path: &Path, text: &str, faults: &mut Faults) -> Vec<(String, String)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let read = Cell::new(0);
    let mut items = dotenvy::from_read_iter(LineByLine { rest: text.as_bytes(), read: &read });
    let mut variables = Vec::new();
    loop {
        let first = read.get();
        match items.next() {
            None => return variables,
            Some(Ok(variable)) => variables.push(variable),
            // The error quotes the line, which may have a secret. Only the name is shown.
            Some(Err(_)) => {
                for (index, line) in text.lines().enumerate().take(read.get()).skip(first) {
                    if let Some(name) = variable_set_by(line) {
                        let message = format!("{name}: cannot be read; put the value in single quotes");
                        faults.add_in_file(path, index + 1, &message);
                    }
                }
            }
        }
    }
}

/// Returns one line a read, to show how far the buffered reader behind it has come.
struct LineByLine<'a> {
    rest: &'a [u8],
    /// The number of lines returned.
    read: &'a Cell<usize>,
}

impl io::Read for LineByLine<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let end = self.rest.iter().position(|byte| *byte == b'\n').map_or(self.rest.len(), |at| at + 1);
        let (line, rest) = self.rest.split_at(end.min(buffer.len()));
        buffer[..line.len()].copy_from_slice(line);
        if line.ends_with(b"\n") || (rest.is_empty() && !line.is_empty()) {
            self.read.set(self.read.get() + 1);
        }
        self.rest = rest;
        Ok(line.len())
    }
}

/// The variable of sidecache's that a line of `.env` sets.
fn variable_set_by(line: &str) -> Option<&'static str> {
    let line = line.trim_start();
    let line = line.strip_prefix("export ").unwrap_or(line);
    let name = line.split_once('=')?.0.trim();
    variables().find(|own| *own == name)
}

/// The names of all variables that are read.
fn variables() -> impl Iterator<Item = &'static str> {
    SETTINGS.iter().filter_map(|setting| setting.env).chain([ROUTES_VARIABLE, FILE_VARIABLE])
}

/// A value and its source.
pub(super) struct Given {
    pub(super) value: Value,
    pub(super) source: Source,
}

/// The values of each setting from all sources, the strongest last. A setting without a value has no list.
pub(super) type Values = BTreeMap<&'static str, Vec<Given>>;

pub(super) fn merge(inputs: &Inputs, file: Vec<FileValue>, faults: &mut Faults) -> Values {
    for (key, _) in &inputs.flags {
        if settings::find(key).is_none() {
            faults.add_elsewhere((*key).to_owned(), "is no setting");
        }
    }
    let mut values = Values::new();
    let mut add = |key, value| values.entry(key).or_default().push(value);
    for setting in &SETTINGS {
        if let Some(default) = setting.default {
            add(setting.key, bare(default, Source::Default));
        }
    }
    for (key, value) in &inputs.assumed {
        add(*key, bare(value, Source::Default));
    }
    for FileValue { key, value, source } in file {
        add(key, Given { value, source });
    }
    for setting in &SETTINGS {
        for stronger in values_outside_file(setting, inputs) {
            add(setting.key, stronger);
        }
    }
    values
}

/// The setting's values from `.env`, the environment and the flags, the strongest last.
fn values_outside_file(setting: &Setting, inputs: &Inputs) -> impl Iterator<Item = Given> {
    let flag = inputs.flags.iter().rev().find(|(key, _)| *key == setting.key);
    let flag = flag.map(|(_, value)| bare(value, Source::Flag(setting.flag.unwrap_or(setting.key))));
    let variables = setting.env.into_iter().flat_map(|name| from_variables(inputs, name));
    variables.chain(flag)
}

/// The values of the variable `name` in `.env` and the environment, the strongest last.
pub(super) fn from_variables(inputs: &Inputs, name: &'static str) -> impl Iterator<Item = Given> {
    let env = || Some(bare(last_value(&inputs.env, name)?, Source::Env(name)));
    let dotenv = || {
        let (path, variables) = inputs.dotenv.as_ref()?;
        Some(bare(last_value(variables, name)?, Source::Dotenv { path: path.clone(), name }))
    };
    [dotenv(), env()].into_iter().flatten()
}

/// The last value of `name`. An empty value counts as unset.
fn last_value<'a>(variables: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let (_, value) = variables.iter().rev().find(|(own, _)| own == name)?;
    (!value.trim().is_empty()).then_some(value)
}

/// Trims white space, which comes from the shell or the env file (`\r`) and is never meant.
fn bare(text: &str, source: Source) -> Given {
    Given { value: Value::Bare(text.trim().to_owned()), source }
}

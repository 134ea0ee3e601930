//! Where settings come from, strongest first: flags, environment, `.env`, file, defaults.

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
    settings::{self, SETTINGS, Setting},
    value::Value,
};

use crate::config::origin::Source;

/// Everything a configuration is made of, already read: [`load()`](super::load()) looks at nothing else.
///
/// It holds secrets in the clear, which is why it has no `Debug`.
#[derive(Clone, Default)]
pub struct Inputs {
    /// The flags that were given: a setting's key and the value.
    pub flags: Vec<(&'static str, String)>,
    /// Variables of the environment; those that are no setting's are passed over.
    pub env: Vec<(String, String)>,
    /// `.env` and its variables, in its order; the last of a name counts, as in a shell.
    pub dotenv: Option<(PathBuf, Vec<(String, String)>)>,
    /// The configuration file and its text.
    pub file: Option<(PathBuf, String)>,
    /// Settings that this command can do without, with what stands for them where nobody gives one.
    pub assumed: Vec<(&'static str, &'static str)>,
}

impl Inputs {
    /// Reads the environment, `.env` in the working folder where there is one, and the file.
    ///
    /// # Errors
    /// Where one of them cannot be read, with the reason.
    pub fn gather(config_path: Option<&Path>, flags: Vec<(&'static str, String)>) -> Result<Self, Errors> {
        Self::gather_from(|name| env::var_os(name), Path::new(".env"), config_path, flags)
    }

    /// [`gather`](Self::gather) with the environment and the place of `.env` as arguments.
    pub(super) fn gather_from(
        var: impl Fn(&str) -> Option<OsString>,
        dotenv_path: &Path,
        config_path: Option<&Path>,
        flags: Vec<(&'static str, String)>,
    ) -> Result<Self, Errors> {
        let mut faults = Faults::default();
        let mut inputs = Self { flags, ..Self::default() };
        for name in SETTINGS.iter().filter_map(|setting| setting.env) {
            match var(name).map(OsString::into_string) {
                None => {}
                Some(Ok(value)) => inputs.env.push((name.to_owned(), value)),
                Some(Err(_)) => faults.at(&Source::Env(name), name, "is not valid UTF-8"),
            }
        }
        match fs::read_to_string(dotenv_path) {
            Ok(text) => {
                inputs.dotenv = Some((dotenv_path.to_owned(), read_dotenv(dotenv_path, &text, &mut faults)));
            }
            // A folder called `.env` is a Python environment, not ours.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::IsADirectory) => {}
            Err(error) => faults.elsewhere(dotenv_path.display().to_string(), &unreadable(&error)),
        }
        if let Some(path) = config_path {
            match fs::read_to_string(path) {
                Ok(text) => inputs.file = Some((path.to_owned(), text)),
                Err(error) => faults.elsewhere(path.display().to_string(), &unreadable(&error)),
            }
        }
        if faults.is_empty() { Ok(inputs) } else { Err(faults.into_errors()) }
    }
}

fn unreadable(error: &io::Error) -> String {
    format!("cannot be read: {error}")
}

/// The variables of a `.env`.
///
/// The file is often the service's own, with lines that only its own reader understands: one that cannot
/// be read is a fault only if it sets something of ours. The process's environment stays as it is.
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
            // The error quotes what may be a secret: only names are repeated.
            Some(Err(_)) => {
                for (index, line) in text.lines().enumerate().take(read.get()).skip(first) {
                    if let Some(name) = dotenv_name(line) {
                        let message = format!("{name}: cannot be read; put the value in single quotes");
                        faults.in_file(path, index + 1, &message);
                    }
                }
            }
        }
    }
}

/// Hands out a line at a time, so that it is known how far a buffered reader has come.
struct LineByLine<'a> {
    rest: &'a [u8],
    /// How many lines were handed out.
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

/// The variable of ours that a line of `.env` sets.
fn dotenv_name(line: &str) -> Option<&'static str> {
    let line = line.trim_start();
    let line = line.strip_prefix("export ").unwrap_or(line);
    let name = line.split_once('=')?.0.trim();
    SETTINGS.iter().filter_map(|setting| setting.env).find(|own| *own == name)
}

/// A value and where it came from.
pub(super) struct Given {
    pub(super) value: Value,
    pub(super) source: Source,
}

/// Every value that a setting was given, the strongest last; a setting without one has no list.
pub(super) type Values = BTreeMap<&'static str, Vec<Given>>;

/// The values of each setting.
pub(super) fn merge(inputs: &Inputs, file: Vec<FileValue>, faults: &mut Faults) -> Values {
    for (key, _) in &inputs.flags {
        if settings::find(key).is_none() {
            faults.elsewhere((*key).to_owned(), "is no setting");
        }
    }
    let mut given = Values::new();
    let mut give = |key, value| given.entry(key).or_default().push(value);
    for setting in &SETTINGS {
        if let Some(default) = setting.default {
            give(setting.key, bare(default, Source::Default));
        }
    }
    for (key, value) in &inputs.assumed {
        give(*key, bare(value, Source::Default));
    }
    for FileValue { key, value, source } in file {
        give(key, Given { value, source });
    }
    for setting in &SETTINGS {
        for stronger in outside_file(setting, inputs) {
            give(setting.key, stronger);
        }
    }
    given
}

/// The setting's values from `.env`, the environment and the flags, the strongest last.
fn outside_file(setting: &Setting, inputs: &Inputs) -> impl Iterator<Item = Given> {
    let flag = || {
        let (_, value) = inputs.flags.iter().rev().find(|(key, _)| *key == setting.key)?;
        Some(bare(value, Source::Flag(setting.flag.unwrap_or(setting.key))))
    };
    let env = || {
        let name = setting.env?;
        Some(bare(last(&inputs.env, name)?, Source::Env(name)))
    };
    let dotenv = || {
        let (name, (path, variables)) = (setting.env?, inputs.dotenv.as_ref()?);
        Some(bare(last(variables, name)?, Source::Dotenv { path: path.clone(), name }))
    };
    [dotenv(), env(), flag()].into_iter().flatten()
}

/// The last value of `name`; an empty one counts as unset.
fn last<'a>(variables: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let (_, value) = variables.iter().rev().find(|(own, _)| own == name)?;
    (!value.trim().is_empty()).then_some(value)
}

/// White space around a value is the shell's or an env file's (`\r`), never meant.
fn bare(text: &str, source: Source) -> Given {
    Given { value: Value::Bare(text.trim().to_owned()), source }
}

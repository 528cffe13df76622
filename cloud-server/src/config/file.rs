//! The configuration file: TOML, one key for each flag, as arguments for the command line's own parser.
//!
//! So a value in the file is read and refused by the same code as one behind a flag, whoever added the flag.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction};
use toml::{Table, Value};

use super::command::setting;

/// Least likeness of two names, 0 to 1, of which one is taken for a slip of the other.
const LIKE_ENOUGH: f64 = 0.7;

/// Why a configuration file is of no use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// It cannot be read.
    #[error("{path}: {source}; name the file with --config or MSAO_CONFIG", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// It is no TOML.
    #[error("{path} is not TOML: {source}", path = path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// There is no flag of that name.
    #[error("{path}: there is no `{key}`{hint}; `msao-server --help` lists what can be set", path = path.display())]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The key as written.
        key: String,
        /// What was probably meant.
        hint: String,
    },
    /// A key stands there with dashes and with underscores.
    #[error("{path}: `{key}` is set twice, with - and with _: keep one", path = path.display())]
    Twice {
        /// The file.
        path: PathBuf,
        /// The key with dashes.
        key: String,
    },
    /// The value has another shape than the flag takes.
    #[error("{path}: `{key}` takes {expected}", path = path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// The key as written.
        key: String,
        /// What it takes.
        expected: &'static str,
    },
}

/// What a file says, by the flags' names.
#[derive(Debug)]
pub(super) struct ConfigFile {
    path: PathBuf,
    entries: Vec<(String, Value)>,
}

impl ConfigFile {
    pub(super) fn read(path: &Path) -> Result<Self, FileError> {
        let text = fs::read_to_string(path)
            .map_err(|source| FileError::Unreadable { path: path.to_owned(), source })?;
        Self::parse(path, &text)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, FileError> {
        let table: Table = text
            .parse()
            .map_err(|source| FileError::Syntax { path: path.to_owned(), source: Box::new(source) })?;
        let mut entries: Vec<(String, Value)> = Vec::new();
        for (key, value) in table {
            let key = key.replace('_', "-");
            if entries.iter().any(|(other, _)| *other == key) {
                return Err(FileError::Twice { path: path.to_owned(), key });
            }
            entries.push((key, value));
        }
        Ok(Self { path: path.to_owned(), entries })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.entries.iter().any(|(key, _)| key == name)
    }

    /// Its values as arguments of `leaf`, those left out that `is_overridden` by flag or variable; keys that only another
    /// subcommand of `root` knows are left out as well.
    pub(super) fn arguments(
        &self,
        root: &clap::Command,
        leaf: &clap::Command,
        is_overridden: impl Fn(&Arg) -> bool,
    ) -> Result<Vec<OsString>, FileError> {
        let mut arguments = Vec::new();
        for (key, value) in &self.entries {
            // A file does not name files of its own kind.
            let arg = find(leaf, key).filter(|_| key != "config");
            let Some(arg) = arg else {
                if key != "config" && settings(root).any(|name| name == key) {
                    continue;
                }
                return Err(self.unknown(root, key));
            };
            let given = self.as_arguments(arg, key, value)?;
            if !is_overridden(arg) {
                arguments.extend(given);
            }
        }
        Ok(arguments)
    }

    fn as_arguments(&self, arg: &Arg, key: &str, value: &Value) -> Result<Vec<OsString>, FileError> {
        let wrong = |expected| FileError::Shape { path: self.path.clone(), key: key.to_owned(), expected };
        let flag = |value: &Value| OsString::from(format!("--{key}={}", text(value)));
        match (arg.get_action(), value) {
            (ArgAction::SetTrue, Value::Boolean(true)) => Ok(vec![format!("--{key}").into()]),
            (ArgAction::SetTrue, Value::Boolean(false)) => Ok(Vec::new()),
            (ArgAction::SetTrue, _) => Err(wrong("true or false")),
            (ArgAction::Append, Value::Array(values)) => Ok(values.iter().map(flag).collect()),
            (_, Value::Array(_)) => Err(wrong("one value, not a list")),
            (_, value) => Ok(vec![flag(value)]),
        }
    }

    fn unknown(&self, root: &clap::Command, key: &str) -> FileError {
        let nearest = settings(root)
            .filter(|name| *name != "config")
            .map(|name| (strsim::jaro_winkler(name, key), name))
            .max_by(|one, other| one.0.total_cmp(&other.0))
            .filter(|(likeness, _)| *likeness >= LIKE_ENOUGH);
        let hint = nearest.map(|(_, name)| format!(", did you mean `{name}`?")).unwrap_or_default();
        FileError::UnknownKey { path: self.path.clone(), key: key.to_owned(), hint }
    }
}

/// The flag of a name.
fn find<'a>(command: &'a clap::Command, name: &str) -> Option<&'a Arg> {
    command.get_arguments().find(|arg| setting(arg) == Some(name))
}

/// Names of all flags of a command and those below it.
fn settings(command: &clap::Command) -> Box<dyn Iterator<Item = &str> + '_> {
    let own = command.get_arguments().filter_map(setting);
    Box::new(own.chain(command.get_subcommands().flat_map(settings)))
}

/// A value as it would be typed behind a flag; a table as the JSON that such flags take.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Table(table) => serde_json::json!(table).to_string(),
        other => other.to_string(),
    }
}

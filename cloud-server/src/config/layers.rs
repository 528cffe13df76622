//! One configuration from flags, environment, file and defaults, and where each value of it came from.
//!
//! It knows no flag by name but `--config`: whatever is declared as a flag is a key of the file and a variable too.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::FromArgMatches as _;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches};

use super::command::{Cli, command, setting};
use super::file::{ConfigFile, FileError};

/// Where a value came from, the strongest first.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// The command line.
    Flag,
    /// A variable of the environment.
    Environment,
    /// The configuration file.
    File(PathBuf),
    /// Nobody set it.
    Default,
}

/// One thing that can be set, and how it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The flag's name without dashes in front; the key in the file.
    pub name: String,
    /// As it was written, one for each of several values; none where it is not set.
    pub values: Vec<String>,
    /// Whether it takes several values.
    pub is_list: bool,
    /// Whether it must not be shown.
    pub is_secret: bool,
    /// Who said so.
    pub source: Source,
}

/// The command line, completed from environment and file.
#[derive(Debug)]
pub struct Loaded {
    /// What to do, and how.
    pub cli: Cli,
    /// Every setting of that command, in the order of its help.
    pub settings: Vec<Setting>,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The command line or the environment; also the wish for help.
    #[error(transparent)]
    Arguments(#[from] clap::Error),
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// A value in the file.
    #[error("{path}: {source}", path = path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, in the words for the flag of its name.
        source: clap::Error,
    },
}

/// Reads the configuration for `arguments`, of which the first is the program's name.
///
/// # Errors
/// When a flag, a variable or the file says something that cannot be, or help was asked for.
pub fn load(arguments: impl IntoIterator<Item = OsString>) -> Result<Loaded, LoadError> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let command = command();
    let (leaf, position) = leaf(&command, &arguments);
    let first = command.clone().ignore_errors(true).try_get_matches_from(&arguments)?;
    let given = leaf_matches(&first);
    let path = has(leaf, "config").then(|| given.get_one::<PathBuf>("config").cloned()).flatten();
    let file = path.map(|path| ConfigFile::read(&path)).transpose()?;

    let mut complete = arguments.clone();
    if let Some(file) = &file {
        let is_overridden = |arg: &Arg| {
            let source = given.value_source(arg.get_id().as_str());
            matches!(source, Some(ValueSource::CommandLine | ValueSource::EnvVariable))
        };
        let more = file.arguments(&command, leaf, is_overridden)?;
        complete.splice(position..position, more);
    }
    let matches = command.clone().try_get_matches_from(&complete).map_err(|error| match &file {
        Some(file) if command.clone().try_get_matches_from(&arguments).is_ok() => {
            LoadError::Value { path: file.path().to_owned(), source: error }
        }
        _ => error.into(),
    })?;
    let settings = leaf
        .get_arguments()
        .filter_map(|arg| describe(arg, leaf_matches(&matches), given, file.as_ref()))
        .collect();
    Ok(Loaded { cli: Cli::from_arg_matches(&matches)?, settings })
}

/// The subcommand that is called, and the position in the arguments behind its name.
fn leaf<'a>(mut command: &'a clap::Command, arguments: &[OsString]) -> (&'a clap::Command, usize) {
    let mut position = arguments.len().min(1);
    while let Some(below) = arguments.get(position).and_then(|name| command.find_subcommand(name)) {
        (command, position) = (below, position + 1);
    }
    (command, position)
}

fn leaf_matches(mut matches: &ArgMatches) -> &ArgMatches {
    while let Some((_, below)) = matches.subcommand() {
        matches = below;
    }
    matches
}

fn has(command: &clap::Command, id: &str) -> bool {
    command.get_arguments().any(|arg| arg.get_id() == id)
}

fn describe(
    arg: &Arg,
    matches: &ArgMatches,
    given: &ArgMatches,
    file: Option<&ConfigFile>,
) -> Option<Setting> {
    let name = setting(arg).filter(|name| *name != "config")?.to_owned();
    let id = arg.get_id().as_str();
    let raw = matches.get_raw(id).into_iter().flatten();
    let values = raw.map(|value| value.to_string_lossy().into_owned()).collect();
    let source = match (given.value_source(id), file) {
        (Some(ValueSource::CommandLine), _) => Source::Flag,
        (Some(ValueSource::EnvVariable), _) => Source::Environment,
        (_, Some(file)) if file.has(&name) => Source::File(file.path().to_owned()),
        _ => Source::Default,
    };
    let is_list = matches!(arg.get_action(), clap::ArgAction::Append);
    Some(Setting { is_list, is_secret: is_secret(arg, &name), name, values, source })
}

/// Whether a value is to be kept from terminals and logs: the flag hides its variable's value from the help, or is named
/// like a secret.
fn is_secret(arg: &Arg, name: &str) -> bool {
    arg.is_hide_env_values_set() || ["secret", "password", "token"].iter().any(|word| name.ends_with(word))
}

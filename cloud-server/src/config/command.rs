//! The command line: what the program is told to do, and the flags that go with it.

use clap::builder::OsStr;
use clap::{Arg, ArgAction, CommandFactory as _, Parser, Subcommand};

use super::ServerConfig;
use crate::access::KeysCommand;
use crate::calibrate_speech::CalibrateSpeechCommand;
use crate::convert::ConvertCommand;
use crate::hub::FetchCommand;

/// Serves the MSAO page, the edge model's weights, and answers of the cloud model.
#[derive(Debug, Parser)]
#[command(name = "msao-server", version, args_conflicts_with_subcommands = true)]
#[command(
    after_help = "Each flag is also a key of the file that --config names, and a variable: --max-batch is max-batch \
                        in the file and MSAO_MAX_BATCH in the environment. A flag counts more than a variable, that more \
                        than the file, and the file more than the default."
)]
pub struct Cli {
    /// What to do; to serve, unless told otherwise.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Flags without a subcommand.
    #[command(flatten)]
    pub server: ServerConfig,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve until told to stop; the same as no subcommand
    Serve(Box<ServerConfig>),
    /// Check address, page, checkpoints, memory and model, and say what is wrong
    Doctor(Box<ServerConfig>),
    /// Print the configuration in force as TOML, with where each value came from
    Config(Box<ServerConfig>),
    /// Fetch checkpoints from the hub into its cache, and say where they are and under which licence
    Fetch(FetchCommand),
    /// Make, list and revoke API keys
    Keys(KeysCommand),
    /// Convert a published checkpoint's weights to f16, int8 or 4-bit groups
    Convert(ConvertCommand),
    /// Find from which confidence on a speech model's words stand, on recordings whose words are known
    CalibrateSpeech(CalibrateSpeechCommand),
}

/// The command line with what holds for every flag alike: its variable, and commas between several values.
pub(super) fn command() -> clap::Command {
    with_variables(Cli::command())
}

fn with_variables(command: clap::Command) -> clap::Command {
    command.mut_args(with_variable).mut_subcommands(with_variables)
}

fn with_variable(mut arg: Arg) -> Arg {
    let Some(name) = setting(&arg).map(variable) else { return arg };
    if arg.get_env().is_none() {
        arg = arg.env(OsStr::from(name));
    }
    if matches!(arg.get_action(), ArgAction::Append) && arg.get_value_delimiter().is_none() {
        arg = arg.value_delimiter(',');
    }
    arg
}

/// The long name of a flag that sets something, unlike `--help`.
pub(super) fn setting(arg: &Arg) -> Option<&str> {
    let sets = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append | ArgAction::SetTrue);
    arg.get_long().filter(|_| sets)
}

/// The variable of a flag.
fn variable(name: &str) -> String {
    format!("MSAO_{}", name.replace('-', "_").to_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_has_the_variable_of_its_name() {
        let command = command();
        command.clone().debug_assert();
        let commands = std::iter::once(&command).chain(command.get_subcommands());
        for arg in commands.flat_map(clap::Command::get_arguments) {
            if let Some(name) = setting(arg) {
                assert_eq!(arg.get_env(), Some(variable(name).as_ref()), "--{name}");
            }
        }
    }
}

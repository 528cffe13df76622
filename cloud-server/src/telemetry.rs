//! The server's log: what is told, in which form, and to whom.

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// What an operator can say about the log.
#[derive(Debug, Clone, Args)]
pub struct LogOptions {
    /// What is logged: a level, or one for each part, such as info,msao_server::engine=debug
    #[arg(long = "log", env = "MSAO_LOG", default_value = "info", value_parser = checked_filter)]
    pub filter: String,
    /// Lines for people, or one JSON object a line
    #[arg(long = "log-format", env = "MSAO_LOG_FORMAT", value_enum, default_value_t = LogFormat::Pretty)]
    pub format: LogFormat,
}

/// The form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// One JSON object a line, for log collectors.
    Json,
}

fn checked_filter(filter: &str) -> Result<String, ParseError> {
    EnvFilter::try_new(filter).map(|_valid| filter.to_owned())
}

/// Begins to log to the standard error; call it once.
pub fn start(options: &LogOptions) {
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(&options.filter))
        .with_writer(std::io::stderr);
    match options.format {
        LogFormat::Pretty => subscriber.init(),
        LogFormat::Json => subscriber.json().flatten_event(true).init(),
    }
}

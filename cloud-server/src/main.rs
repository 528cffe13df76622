//! `msao-server`: reads its configuration and does what it is told; unless told otherwise, it serves.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use msao_server::config::{Command, LoadError, Loaded, load, to_toml};
use msao_server::doctor::{self, Verdict};
use msao_server::{serve, telemetry};

fn main() -> ExitCode {
    let loaded = match load(std::env::args_os()) {
        Ok(loaded) => loaded,
        Err(LoadError::Arguments(error)) => error.exit(),
        Err(error) => {
            tell(&format!("error: {error}"));
            return ExitCode::from(2);
        }
    };
    match run(loaded) {
        Ok(code) => code,
        Err(error) => {
            tell(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(Loaded { cli, settings }: Loaded) -> anyhow::Result<ExitCode> {
    match cli.command.unwrap_or_else(|| Command::Serve(Box::new(cli.server))) {
        Command::Serve(config) => {
            let _telemetry = telemetry::start(&config.log)?;
            serve(&config).map(|()| ExitCode::SUCCESS)
        }
        Command::Doctor(config) => {
            let verdict = doctor::examine(&config, |finding| {
                // Whoever closed the output does not want to hear more.
                let _ = writeln!(std::io::stdout(), "{finding}");
            });
            Ok(if verdict == Verdict::Bad { ExitCode::FAILURE } else { ExitCode::SUCCESS })
        }
        Command::Config(_) => {
            std::io::stdout().write_all(to_toml(&settings).as_bytes()).context("cannot write to stdout")?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Convert(convert) => {
            convert.run(&mut std::io::stderr())?;
            Ok(ExitCode::SUCCESS)
        }
        Command::CalibrateSpeech(calibrate) => {
            calibrate.run(&mut std::io::stderr())?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Fetch(fetch) => {
            fetch.run(&mut std::io::stdout(), &mut std::io::stderr())?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Keys(keys) => {
            keys.run(&mut std::io::stdout(), &mut std::io::stderr())?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// To the standard error; if nobody listens there, nobody can be told.
fn tell(message: &str) {
    let _ = writeln!(std::io::stderr(), "{message}");
}

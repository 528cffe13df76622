//! Measurements of the running MSAO system.
//!
//! `cargo run -p msao-bench -- figures` measures what the README's table says: download sizes, the time from
//! navigation to the first answer, and the speed of both models. It needs what `cargo xtask page` builds, the
//! server's binary, and Chromium. Nothing is measured that a visitor does not get: the shipped page, the shipped
//! weights, a fresh browser profile for every run.

mod browser;
mod figures;
mod machine;
mod native;
mod sizes;
mod summary;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Measures the running MSAO system.
#[derive(Debug, Parser)]
#[command(name = "msao-bench", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure the README's figures and write them to bench/figures.json and bench/figures.md
    Figures {
        /// Visits, each in a fresh browser; the median is reported
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
        runs: u16,
    },
}

fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Figures { runs } => figures::measure(runs.into()),
    }
}

//! Measurements of the running MSAO system.
//!
//! `cargo run -p msao-bench -- figures` measures what the README's table says: download sizes, the time from
//! navigation to the first answer, and the speed of both models. It needs what `cargo xtask page` builds, the
//! server's binary, and Chromium. Nothing is measured that a visitor does not get: the shipped page, the shipped
//! weights, a fresh browser profile for every run.
//!
//! `cargo xtask eval` makes an evaluation set and runs `eval` on it.

mod browser;
mod eval;
mod figures;
mod machine;
mod native;
mod sizes;
mod summary;

use std::path::PathBuf;

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
    /// Measure MAS, speculation and risk control on an evaluation set; writes planner/RESULTS.md
    Eval {
        /// Folder of the set, as models/training/make_eval.py writes it
        #[arg(long)]
        set: PathBuf,
        /// At most so many questions
        #[arg(long)]
        questions: Option<usize>,
    },
}

fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Figures { runs } => figures::measure(runs.into()),
        Command::Eval { set, questions } => eval::measure(&set, questions),
    }
}

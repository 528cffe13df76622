//! Measurements of the running MSAO system.
//!
//! `cargo run -p msao-bench -- figures` measures what the README's table says: download sizes, the time from
//! navigation to the first answer, and the speed of both models. It needs what `cargo xtask page` builds, the
//! server's binary, and Chromium. Nothing is measured that a visitor does not get: the shipped page, the shipped
//! weights, a fresh browser profile for every run.
//!
//! `cargo xtask eval` makes an evaluation set and runs `eval` on it.

mod browser;
mod clock;
mod datasets;
mod eval;
mod figures;
mod link;
mod load;
mod machine;
mod native;
mod picture;
mod record;
mod report;
mod run;
mod simulate;
mod sizes;
mod split;
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
        /// Let the compared answers be what risk control starts from: writes confidence.json beside the edge's weights
        #[arg(long)]
        calibrate: bool,
    },
    /// Simulate the paper's setting or many clients from step times; writes simulated.json and simulated.md
    Simulate(simulate::Options),
    /// Compare policies over networks; writes journal.jsonl and machine.json
    Run(run::Arguments),
    /// Emulate a network in front of a server, until interrupted
    Link(link::Arguments),
    /// Serve the cloud's half of the layer-wise split, until interrupted
    SplitServer(split::Arguments),
    /// Measure requests a second at saturation; writes load.json
    Load(load::Arguments),
    /// Keep the server at a steady rate, and see whether its memory grows; writes soak.json
    Soak(load::SoakArguments),
    /// Turn journals into figures with intervals; writes RESULTS.md, results.json and plots
    Report(report::Arguments),
    #[command(flatten)]
    Datasets(datasets::Command),
}

fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Figures { runs } => figures::measure(runs.into()),
        Command::Eval { set, questions, calibrate } => eval::measure(&set, questions, calibrate),
        Command::Simulate(options) => simulate::run(&options),
        Command::Run(arguments) => run::run(&arguments),
        Command::Link(arguments) => link::run(&arguments),
        Command::SplitServer(arguments) => split::run(&arguments),
        Command::Load(arguments) => load::run(&arguments),
        Command::Soak(arguments) => load::soak(&arguments),
        Command::Report(arguments) => report::run(&arguments),
        Command::Datasets(command) => datasets::run(&command),
    }
}

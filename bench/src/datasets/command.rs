//! `msao-bench vqa`, `mmbench`, and their scores alone.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};

use super::{
    answer::{self, Output, VqaFiles},
    cloud::CloudAnswerer,
    mmbench, vqa,
};

/// The user's own data.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Answer VQAv2 with a running server; run it again to go on after a cut
    Vqa {
        #[command(flatten)]
        files: VqaFiles,
        #[command(flatten)]
        output: Output,
        #[command(flatten)]
        server: Server,
    },
    /// Answer MMBench with a running server; run it again to go on after a cut
    Mmbench {
        /// Such as MMBench_DEV_EN.tsv
        #[arg(long)]
        tsv: PathBuf,
        #[command(flatten)]
        output: Output,
        #[command(flatten)]
        server: Server,
    },
    /// Score answers to VQAv2 as its official evaluator does
    ScoreVqa {
        /// Such as v2_mscoco_val2014_annotations.json
        #[arg(long)]
        annotations: PathBuf,
        /// In the official form: [{"question_id": 42, "answer": "red"}]
        #[arg(long)]
        results: PathBuf,
    },
    /// Score answers to MMBench by CircularEval
    ScoreMmbench {
        /// The TSV with a column "prediction", rotations included
        #[arg(long)]
        predictions: PathBuf,
    },
}

/// Who answers.
#[derive(Debug, Args)]
pub(crate) struct Server {
    /// Where msao-server listens
    #[arg(long, default_value = "127.0.0.1:8080")]
    server: String,
}

/// Does what the command says.
///
/// # Errors
/// If a file cannot be used, or whoever answers goes.
pub(crate) fn run(command: &Command) -> Result<()> {
    match command {
        Command::Vqa { files, output, server } => {
            if let Some(accuracy) = answer::vqa(files, output, &mut CloudAnswerer::connect(&server.server)?)?
            {
                eprint!("{accuracy}");
            }
        }
        Command::Mmbench { tsv, output, server } => {
            eprint!("{}", answer::mmbench(tsv, output, &mut CloudAnswerer::connect(&server.server)?)?);
        }
        Command::ScoreVqa { annotations, results } => {
            eprint!("{}", vqa::score(annotations, &vqa::read(results)?)?);
        }
        Command::ScoreMmbench { predictions } => {
            eprint!("{}", mmbench::score(&mmbench::read(predictions)?));
        }
    }
    Ok(())
}

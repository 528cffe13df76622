//! `msao-bench vqa`, `mmbench`, and their scores alone.

use std::{path::PathBuf, time::Duration};

use anyhow::Result;
use clap::{Args, Subcommand};

use super::{
    answer::{self, Output, VqaFiles},
    cloud::CloudAnswerer,
    mmbench,
    openai::{OpenAiAnswerer, Patience},
    policy::PolicyAnswerer,
    run::Answerer,
    vqa,
};
use crate::{
    link::Scenario,
    run::{BenchPolicy, ModelOptions, Models, SideSettings},
};

/// The user's own data.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Answer VQAv2, score it, and say what it took; run it again to go on after a cut
    Vqa {
        #[command(flatten)]
        files: VqaFiles,
        #[command(flatten)]
        output: Output,
        #[command(flatten)]
        who: Who,
    },
    /// Answer MMBench, score it, and say what it took; run it again to go on after a cut
    Mmbench {
        /// Such as MMBench_DEV_EN.tsv
        #[arg(long)]
        tsv: PathBuf,
        #[command(flatten)]
        output: Output,
        #[command(flatten)]
        who: Who,
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

/// Who answers: a running server, unless a model or a policy is named.
#[derive(Debug, Args)]
pub(crate) struct Who {
    /// Where msao-server listens
    #[arg(long, default_value = "127.0.0.1:8080", conflicts_with_all = ["model", "policy"])]
    server: String,
    /// Answer under a policy, with a server and an edge that are started here; without it the target alone answers,
    /// on whole pictures
    #[arg(long)]
    policy: Option<BenchPolicy>,
    /// Network between edge and server under a policy
    #[arg(long, default_value = "20ms-200mbit", requires = "policy")]
    network: Scenario,
    #[command(flatten)]
    models: ModelOptions,
    /// Questions under way at a time, at an OpenAI-compatible server
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    concurrency: u16,
    /// Seconds after which a question has failed
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout_s: u64,
}

impl Who {
    fn answerers(&self) -> Result<Vec<Box<dyn Answerer>>> {
        let timeout = Duration::from_secs(self.timeout_s);
        if let Some(policy) = self.policy {
            let settings = SideSettings {
                models: Models::of(&self.models)?,
                server_cpus: None,
                edge_cpus: None,
                timeout,
                replays: false,
                splits: policy == BenchPolicy::LayerSplit,
            };
            return Ok(vec![Box::new(PolicyAnswerer::start(policy, self.network, &settings)?)]);
        }
        if let Some(upstream) = self.models.upstream()? {
            let client = OpenAiAnswerer::connect(upstream, timeout, Patience::default())?;
            let clients = client.several(self.concurrency.into());
            return Ok(clients.into_iter().map(|client| Box::new(client) as Box<dyn Answerer>).collect());
        }
        if self.models.are_given() {
            return Ok(vec![Box::new(CloudAnswerer::start(&Models::of(&self.models)?)?)]);
        }
        Ok(vec![Box::new(CloudAnswerer::connect(&self.server)?)])
    }
}

/// Does what the command says.
///
/// # Errors
/// If a file cannot be used, or whoever answers goes.
pub(crate) fn run(command: &Command) -> Result<()> {
    match command {
        Command::Vqa { files, output, who } => {
            if let Some(accuracy) = answer::vqa(files, output, &mut who.answerers()?)? {
                eprint!("{accuracy}");
            }
        }
        Command::Mmbench { tsv, output, who } => {
            eprint!("{}", answer::mmbench(tsv, output, &mut who.answerers()?)?);
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

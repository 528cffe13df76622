//! What every load test needs: the server, held to its processors, and the scripts of policies.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Result, ensure};
use clap::Args;
use msao_tests::{cloud::CloudClient, server::Server};

use super::{outcome::LoadSettings, recording::Recorder, script::Script};
use crate::{
    link::Scenario,
    run::{self, BenchPolicy, ClientSettings, Edge, ModelOptions, Models, Request, RequestSet},
};

/// Name of the server's program.
pub(super) const SERVER: &str = "msao-server";
/// After so long a request of the recording has failed.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Which requests, and who asks and answers them.
#[derive(Debug, Args)]
pub(super) struct StageOptions {
    /// Folder of the requests, as models/training/make_eval.py writes it; without it the shipped samples are asked
    #[arg(long)]
    set: Option<PathBuf>,
    /// Requests that arrivals are drawn from, at most
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1000))]
    requests: u16,
    /// Network of the recording; load itself comes without one
    #[arg(long, default_value = "20ms-200mbit")]
    network: Scenario,
    #[command(flatten)]
    models: ModelOptions,
    /// Seconds of arrivals at each rate of a search; more where fewer than 40 requests would reach the server
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=600))]
    seconds: u16,
    /// Sessions that are open; a server takes 64 and queues 16 unless MSAO_MAX_SESSIONS and MSAO_QUEUE say otherwise
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..=500))]
    pub(super) sessions: u16,
    /// Processors of the server, such as 0-3
    #[arg(long)]
    server_cpus: Option<String>,
    /// Processors of everything else
    #[arg(long)]
    client_cpus: Option<String>,
    /// Folder of load.json and soak.json; searches that it has already are not made again
    #[arg(long, default_value = "target/bench/run")]
    pub(super) out: PathBuf,
}

/// What all policies of a test share.
pub(super) struct Stage<'a> {
    options: &'a StageOptions,
    models: Models,
    requests: Vec<Request>,
}

impl<'a> Stage<'a> {
    /// Reads models and requests.
    ///
    /// # Errors
    /// If a checkpoint or the set is missing.
    pub(super) fn of(options: &'a StageOptions) -> Result<Self> {
        Ok(Self { options, models: Models::of(&options.models)?, requests: requests(options)? })
    }

    /// How it is measured.
    pub(super) fn settings(&self) -> LoadSettings {
        LoadSettings {
            models: Some(self.models.to_string()),
            network: Some(self.options.network.to_string()),
            requests: self.requests.len(),
            seconds: f64::from(self.options.seconds),
            sessions: self.options.sessions.into(),
            server_cpus: self.options.server_cpus.clone(),
        }
    }

    /// What is started inherits the processors of who starts it: first the server's, then ours.
    ///
    /// # Errors
    /// If its program is missing, or there are no such processors.
    pub(super) fn start_server(&self) -> Result<Server> {
        hold(self.options.server_cpus.as_ref())?;
        let server = Server::start_with(&self.models.server_flags())?;
        hold(self.options.client_cpus.as_ref())?;
        Ok(server)
    }

    /// The scripts of every policy that can be measured with these models.
    ///
    /// # Errors
    /// If no request is left that the target can answer, or one fails.
    pub(super) fn record(&mut self, policies: &[BenchPolicy]) -> Result<Vec<(BenchPolicy, Vec<Script>)>> {
        let server = self.start_server()?;
        let running = CloudClient::connect(server.address())?.model;
        if running.audio.is_none() {
            self.requests.retain(|request| request.prompt.audio.is_none());
            eprintln!("requests with a recording are left out: the target cannot hear");
            ensure!(!self.requests.is_empty(), "no request is left; give a --set with pictures");
        }
        let policies = self.models.able(policies, &running);
        eprintln!("recording {} requests a policy ...", self.requests.len());
        let settings = ClientSettings {
            edge: Arc::new(Edge::start(&self.models.edge.folder)?),
            judged: self.models.judged(&running.name)?.map(Arc::new),
            timeout: TIMEOUT,
            replays: false,
        };
        let mut recorder = Recorder::start(server.address(), self.options.network, settings)?;
        policies.into_iter().map(|policy| Ok((policy, recorder.record(policy, &self.requests)?))).collect()
    }
}

/// Holds this process to processors, where some are named.
fn hold(processors: Option<&String>) -> Result<()> {
    if let Some(processors) = processors {
        ensure!(run::pin(processors)?, "processors cannot be held: there is no `taskset` here");
    }
    Ok(())
}

/// The requests that arrivals are drawn from.
fn requests(options: &StageOptions) -> Result<Vec<Request>> {
    let set = options.set.as_deref();
    let mut set = set.map_or_else(RequestSet::gallery, |folder: &Path| RequestSet::folder(folder))?;
    let mut requests = Vec::new();
    for index in 0..set.len() {
        if requests.len() == usize::from(options.requests) {
            break;
        }
        requests.extend(set.load(index)?);
    }
    ensure!(!requests.is_empty(), "the set is empty; make it with `cargo xtask bench`");
    Ok(requests)
}

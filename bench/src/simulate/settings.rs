//! The settings that are simulated: the paper's, and growing numbers of clients at one server.

use anyhow::Result;
use msao_planner::cost::{TokenFlops, WireSizes};
use serde::{Deserialize, Serialize};

use super::outcome::Outcome;
use super::pace::EVEN;
use super::scenario::{Contender, Load, Network, Scenario, ServerSettings};
use super::times::StepTimes;
use super::workload::Workload;
use super::world::simulate;

/// Requests of an unloaded client.
const UNLOADED_REQUESTS: usize = 6_000;
/// Clients that ask without a pause, so that the server is never idle.
const SATURATING_CLIENTS: usize = 1_000;
/// Questions of each client under load. The first third is not counted.
const REQUESTS_PER_CLIENT: usize = 6;
/// Questions of a given rate.
const OFFERED_REQUESTS: usize = 20_000;
/// Fewest requests of a simulation.
const LEAST_REQUESTS: usize = 3_000;

/// Step times with what else a pair of models brings; the form of the file of measured ones.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PairTimes {
    /// Milliseconds of each step.
    pub(crate) times: StepTimes,
    /// Operations of one token of each model.
    pub(crate) token_flops: TokenFlops,
    /// Most requests that share a pass.
    pub(crate) max_batch: usize,
}

/// What all simulations of a report share.
#[derive(Debug, Clone)]
pub(crate) struct Base {
    pub(crate) pair: PairTimes,
    pub(crate) workload: Workload,
    pub(crate) seed: u64,
}

/// One setting, with the figures of all contenders.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Setting {
    /// As tables show it.
    pub(crate) title: String,
    pub(crate) clients: usize,
    pub(crate) network: Network,
    pub(crate) load: Load,
    pub(crate) outcomes: Vec<Outcome>,
}

impl Base {
    /// One client that asks, reads the answer for a second, and asks again.
    pub(crate) fn unloaded(&self, title: String, network: Network) -> Result<Setting> {
        self.run(title, network, Load::Closed { think_ms: 1_000.0 }, 1, UNLOADED_REQUESTS)
    }

    /// More clients than the server can serve.
    pub(crate) fn saturated(&self, title: String, network: Network) -> Result<Setting> {
        let requests = SATURATING_CLIENTS * REQUESTS_PER_CLIENT;
        self.run(title, network, Load::Closed { think_ms: 0.0 }, SATURATING_CLIENTS, requests)
    }

    /// So many clients, each of which thinks about an answer for a time.
    pub(crate) fn with_clients(
        &self,
        title: String,
        network: Network,
        clients: usize,
        think_ms: f64,
    ) -> Result<Setting> {
        let requests = clients.saturating_mul(REQUESTS_PER_CLIENT).max(LEAST_REQUESTS);
        self.run(title, network, Load::Closed { think_ms }, clients, requests)
    }

    /// Questions that come at this rate, whoever is being served.
    pub(crate) fn offered(&self, title: String, network: Network, requests_per_s: f64) -> Result<Setting> {
        self.run(title, network, Load::Open { requests_per_s }, SATURATING_CLIENTS, OFFERED_REQUESTS)
    }

    fn run(
        &self,
        title: String,
        network: Network,
        load: Load,
        clients: usize,
        requests: usize,
    ) -> Result<Setting> {
        let splits = self.pair.times.split.is_some();
        let contenders = Contender::ALL.into_iter().filter(|it| splits || *it != Contender::LayerSplit);
        let outcomes = contenders
            .map(|contender| {
                simulate(&Scenario {
                    contender,
                    workload: &self.workload,
                    times: self.pair.times,
                    paces: &EVEN,
                    token_flops: self.pair.token_flops,
                    wire: WireSizes::default(),
                    network,
                    load,
                    server: ServerSettings {
                        max_batch: self.pair.max_batch,
                        holds_draft_model: true,
                        max_draft_tokens: 8,
                    },
                    always_looks: false,
                    clients,
                    requests,
                    seed: self.seed,
                })
            })
            .collect::<Result<_>>()?;
        Ok(Setting { title, clients, network, load, outcomes })
    }
}

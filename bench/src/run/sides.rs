//! Both sides of a run: the real server as a process of its own, and the edge in this one.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use msao_protocol::ModelInfo;
use msao_tests::{cloud::CloudClient, server::Server};

use super::{
    client::{Client, ClientSettings},
    cpus,
    edge::Edge,
    models::{Models, Target},
    policy::BenchPolicy,
    request::RequestSet,
    runner::PolicyRunner,
    split_side::SplitSide,
};
use crate::link::{Link, Scenario};

/// How both sides are run.
#[derive(Debug, Clone)]
pub(crate) struct SideSettings {
    /// What both run.
    pub(crate) models: Models,
    /// Processors of the server, and those of everything else.
    pub(crate) server_cpus: Option<String>,
    pub(crate) edge_cpus: Option<String>,
    /// After so long a request has failed.
    pub(crate) timeout: Duration,
    /// Whether each verified answer is held to the target's own on the same kept inputs.
    pub(crate) replays: bool,
    /// Whether the layer-wise split is asked for.
    pub(crate) splits: bool,
}

/// Both sides, running.
pub(crate) struct Sides {
    client: ClientSettings,
    split: Option<SplitSide>,
    server: Server,
    /// What the server says it runs.
    pub(crate) target: ModelInfo,
    /// Whether processes were held to their processors.
    pub(crate) pinned: bool,
}

impl Sides {
    /// Starts the server, then loads the edge.
    ///
    /// # Errors
    /// If a program or a checkpoint is missing, or there are no such processors.
    pub(crate) fn start(settings: &SideSettings) -> Result<Self> {
        // What is started inherits the processors of who starts it: first the server's, then the edge's.
        let pin = |processors: &Option<String>| processors.as_deref().map_or(Ok(true), cpus::pin);
        let mut pinned = pin(&settings.server_cpus)?;
        let server = Server::start_with(&settings.models.server_flags())?;
        let split = match &settings.models.target {
            Target::Checkpoint(target) if settings.splits => Some(SplitSide::start(&target.folder_text())?),
            _ => None,
        };
        pinned &= pin(&settings.edge_cpus)?;
        let target = CloudClient::connect(server.address())?.model;
        let client = ClientSettings {
            edge: Arc::new(Edge::start(&settings.models.edge.folder)?),
            judged: settings.models.judged(&target.name)?.map(Arc::new),
            timeout: settings.timeout,
            replays: settings.replays,
        };
        Ok(Self { client, split, server, target, pinned })
    }

    /// What answers under a policy, and the network before it. The set is there to be measured on where something is
    /// chosen by measuring.
    ///
    /// # Errors
    /// If the network cannot be emulated, or the server is away.
    pub(crate) fn open(
        &mut self,
        policy: BenchPolicy,
        scenario: Scenario,
        set: &mut RequestSet<'_>,
    ) -> Result<(Arc<Link>, Box<dyn PolicyRunner>)> {
        if policy == BenchPolicy::LayerSplit {
            let split = self.split.as_mut().context("the split server was not started")?;
            let link = Arc::new(Link::start(split.address(), scenario.trace())?);
            let runner = split.lane(scenario, Arc::clone(&link), self.client.timeout, set)?;
            return Ok((link, Box::new(runner)));
        }
        let link = Arc::new(Link::start(self.server.address(), scenario.trace())?);
        let name = scenario.to_string();
        let client = Client::new(policy, &name, Arc::clone(&link), self.client.clone(), seed(&name, policy))?;
        Ok((link, Box::new(client)))
    }
}

/// The same in every run, another for each policy and network (FNV-1a).
fn seed(network: &str, policy: BenchPolicy) -> u64 {
    let name = format!("{network} {policy}");
    name.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_policy_and_network_draws_numbers_of_its_own() {
        let seeds = [
            seed("a", BenchPolicy::Msao),
            seed("b", BenchPolicy::Msao),
            seed("a", BenchPolicy::MsaoRisk),
            seed("b", BenchPolicy::MsaoRisk),
        ];
        let different: std::collections::HashSet<u64> = seeds.into();
        assert_eq!((different.len(), seeds[0]), (4, seed("a", BenchPolicy::Msao)));
    }
}

//! Both sides of a run: the real server as a process of its own, and the edge in this one.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use msao_planner::confidence::JudgedPair;
use msao_protocol::ModelInfo;
use msao_tests::{cloud::CloudClient, places, server::Server};

use super::{
    client::{Client, ClientSettings},
    cpus,
    edge::Edge,
    policy::BenchPolicy,
    request::RequestSet,
    runner::PolicyRunner,
    split_side::SplitSide,
};
use crate::link::{Link, Scenario};

/// Judged answers of the shipped pair, within the folder of weights.
pub(crate) const CONFIDENCE: &str = "pocket-edge/confidence.json";
/// A file of many thousand judged answers has some hundred kilobytes.
const MOST_CONFIDENCE_BYTES: u64 = 16 << 20;

/// How both sides are run.
#[derive(Debug, Clone, Default)]
pub(super) struct SideSettings {
    /// Processors of the server, and those of everything else.
    pub(super) server_cpus: Option<String>,
    pub(super) edge_cpus: Option<String>,
    /// After so long a request has failed.
    pub(super) timeout: Duration,
    /// Whether each verified answer is held to the target's own on the same kept inputs.
    pub(super) replays: bool,
    /// Whether the layer-wise split is asked for.
    pub(super) splits: bool,
}

/// Both sides, running.
pub(super) struct Sides {
    client: ClientSettings,
    split: Option<SplitSide>,
    server: Server,
    /// What the server says it runs.
    pub(super) target: ModelInfo,
    /// Whether processes were held to their processors.
    pub(super) pinned: bool,
}

impl Sides {
    /// Starts the server, then loads the edge.
    ///
    /// # Errors
    /// If a program or a checkpoint is missing, or there are no such processors.
    pub(super) fn start(settings: &SideSettings) -> Result<Self> {
        // What is started inherits the processors of who starts it: first the server's, then the edge's.
        let pin = |processors: &Option<String>| processors.as_deref().map_or(Ok(true), cpus::pin);
        let mut pinned = pin(&settings.server_cpus)?;
        let server = Server::start()?;
        let split = settings.splits.then(SplitSide::start).transpose()?;
        pinned &= pin(&settings.edge_cpus)?;
        let target = CloudClient::connect(server.address())?.model;
        let client = ClientSettings {
            edge: Arc::new(Edge::start()?),
            judged: read_judged(&places::weights().join(CONFIDENCE), &target.name)?.map(Arc::new),
            timeout: settings.timeout,
            replays: settings.replays,
        };
        Ok(Self { client, split, server, target, pinned })
    }

    /// Whether there are judged answers of this pair, without which nothing may stand.
    pub(super) fn are_judged(&self) -> bool {
        self.client.judged.is_some()
    }

    /// What answers under a policy, and the network before it. The set is there to be measured on where something is
    /// chosen by measuring.
    ///
    /// # Errors
    /// If the network cannot be emulated, or the server is away.
    pub(super) fn open(
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

/// Judged answers for a target; `None` if there are none.
pub(crate) fn read_judged(file: &Path, target: &str) -> Result<Option<JudgedPair>> {
    let Ok(metadata) = file.metadata() else { return Ok(None) };
    let bytes = metadata.len();
    ensure!(
        bytes <= MOST_CONFIDENCE_BYTES,
        "{} has {bytes} bytes, at most {MOST_CONFIDENCE_BYTES} are read",
        file.display()
    );
    let json = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let judged: JudgedPair =
        serde_json::from_slice(&json).with_context(|| format!("{} has another form", file.display()))?;
    Ok(Some(judged).filter(|judged| judged.target == target))
}

#[cfg(test)]
mod tests {
    use msao_planner::confidence::Judged;

    use super::*;

    #[test]
    fn judged_answers_of_another_target_are_none() {
        let file = std::env::temp_dir().join(format!("msao-judged-{}", std::process::id()));
        assert!(read_judged(&file, "big").unwrap().is_none());
        let samples = [Judged { confidence: 0.5, agreed: true }];
        let judged = JudgedPair::new(["big", "", ""].map(str::to_owned), &samples);
        std::fs::write(&file, serde_json::to_string(&judged).unwrap()).unwrap();
        assert_eq!(read_judged(&file, "big").unwrap(), Some(judged));
        assert!(read_judged(&file, "other").unwrap().is_none());
        std::fs::write(&file, "{}").unwrap();
        let error = format!("{:#}", read_judged(&file, "big").unwrap_err());
        assert!(error.contains("another form"), "{error}");
        std::fs::remove_file(&file).unwrap();
    }

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

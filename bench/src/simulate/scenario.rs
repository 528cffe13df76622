//! What is simulated: who asks how often, over which network, under which policy.

use anyhow::{Result, ensure};
use msao_planner::cost::{TokenFlops, WireSizes};
use msao_protocol::Policy;
use serde::{Deserialize, Serialize};

use super::pace::Paces;
use super::times::StepTimes;
use super::workload::Workload;
use crate::link::{Direction, Shape};

/// Most clients of a simulation: each holds two links and a request.
pub(crate) const MAX_CLIENTS: usize = 100_000;
/// Most requests of a simulation: some 300 bytes each.
pub(crate) const MAX_REQUESTS: usize = 1_000_000;

/// When risk-controlled mode lets the edge finish its answer before anything is sent. Waiting saves the bytes and the
/// target's work of answers that stand, and costs time where one does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum EdgeFirst {
    /// For every question.
    Always,
    /// Where the expected cost is no higher than that of sending at once: the latency, and the server's if it is priced.
    WhenCheaper,
}

/// Who answers, by which rules.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Contender {
    /// The edge model alone.
    EdgeOnly,
    /// The target alone, on everything.
    CloudOnly,
    /// Speculation on the server, on everything, with this draft length.
    CoLocated {
        /// Tokens proposed in each pass.
        draft_tokens: u8,
    },
    /// Speculation across the network, on everything.
    Distributed {
        /// Tokens proposed in each round.
        draft_tokens: u8,
        /// Whether the edge drafts on while a round is under way.
        pipelined: bool,
    },
    /// The first layers of the target on the edge, activations over the wire for the prompt and for every token: the
    /// PerLLM-like baseline.
    LayerSplit,
    /// MSAO, every token the target's.
    MsaoVerified {
        /// Whether plans count the time they take from others, as [`decide`](super::decide) has it.
        prices_server: bool,
    },
    /// MSAO, a confident edge answer stands.
    MsaoRiskControlled {
        /// Bound on the share of requests whose edge answer stands and differs.
        epsilon: f64,
        /// When the edge answers before anything is sent.
        edge_first: EdgeFirst,
        /// As in verified mode.
        prices_server: bool,
    },
    /// MSAO, verified, but everything is sent.
    MsaoWithoutMas,
    /// MSAO, verified, but nothing is drafted.
    MsaoWithoutSpeculation,
}

impl Contender {
    /// Everything that the tables compare.
    pub(crate) const ALL: [Self; 13] = [
        Self::EdgeOnly,
        Self::CloudOnly,
        Self::CoLocated { draft_tokens: 4 },
        Self::Distributed { draft_tokens: 4, pipelined: false },
        Self::Distributed { draft_tokens: 4, pipelined: true },
        Self::LayerSplit,
        Self::MsaoVerified { prices_server: false },
        Self::MsaoVerified { prices_server: true },
        Self::risk_controlled(EdgeFirst::WhenCheaper, false),
        Self::risk_controlled(EdgeFirst::WhenCheaper, true),
        Self::risk_controlled(EdgeFirst::Always, true),
        Self::MsaoWithoutMas,
        Self::MsaoWithoutSpeculation,
    ];

    /// Risk-controlled at the bench's epsilon of 1 %.
    const fn risk_controlled(edge_first: EdgeFirst, prices_server: bool) -> Self {
        Self::MsaoRiskControlled { epsilon: 0.01, edge_first, prices_server }
    }

    /// As tables show it.
    pub(crate) fn name(self) -> String {
        let priced = |prices_server| if prices_server { ", priced" } else { "" };
        match self {
            Self::EdgeOnly => "edge-only".to_owned(),
            Self::CloudOnly => "cloud-only".to_owned(),
            Self::CoLocated { draft_tokens } => format!("co-located, {draft_tokens} drafts"),
            Self::Distributed { draft_tokens, pipelined: false } => {
                format!("distributed, {draft_tokens} drafts")
            }
            Self::Distributed { draft_tokens, pipelined: true } => {
                format!("pipelined, {draft_tokens} drafts")
            }
            Self::LayerSplit => "layer-wise split".to_owned(),
            Self::MsaoVerified { prices_server } => format!("MSAO verified{}", priced(prices_server)),
            Self::MsaoRiskControlled { epsilon, edge_first, prices_server } => {
                let edge_first = if edge_first == EdgeFirst::Always { ", edge first" } else { "" };
                format!("MSAO risk {} %{edge_first}{}", 100.0 * epsilon, priced(prices_server))
            }
            Self::MsaoWithoutMas => "MSAO without MAS".to_owned(),
            Self::MsaoWithoutSpeculation => "MSAO without speculation".to_owned(),
        }
    }

    /// Whether plans count the time they take from others.
    pub(crate) fn prices_server(self) -> bool {
        match self {
            Self::MsaoVerified { prices_server } | Self::MsaoRiskControlled { prices_server, .. } => {
                prices_server
            }
            _ => false,
        }
    }

    /// Whether an edge answer may stand.
    pub(crate) fn may_stand(self) -> bool {
        matches!(self, Self::MsaoRiskControlled { .. })
    }

    /// Whether who writes is decided again as the answer goes, for which the edge writes whoever else does.
    pub(crate) fn decides_again(self) -> bool {
        self.policy().is_some_and(|policy| policy.is_adaptive() && policy != Policy::MsaoWithoutSpeculation)
    }

    /// The policy that the planner is asked with; `None` where there is nothing to plan.
    pub(crate) fn policy(self) -> Option<Policy> {
        match self {
            Self::EdgeOnly
            | Self::CloudOnly
            | Self::CoLocated { .. }
            | Self::Distributed { .. }
            | Self::LayerSplit => None,
            Self::MsaoVerified { .. } | Self::MsaoRiskControlled { .. } => Some(Policy::Msao),
            Self::MsaoWithoutMas => Some(Policy::MsaoWithoutMas),
            Self::MsaoWithoutSpeculation => Some(Policy::MsaoWithoutSpeculation),
        }
    }
}

/// The link of each client; every client has one of its own.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Network {
    /// Round trip of a small message.
    pub(crate) rtt_ms: f64,
    /// From the client.
    pub(crate) uplink_bytes_per_s: f64,
    /// To the client.
    pub(crate) downlink_bytes_per_s: f64,
    /// What all uplinks together bring to the server; `None`: more than they have.
    pub(crate) ingress_bytes_per_s: Option<f64>,
}

impl Network {
    /// One that the bench emulates.
    pub(crate) fn of(shape: &Shape) -> Self {
        let bytes_per_s = |direction: &Direction| direction.rate_bits_per_s / 8.0;
        Self {
            rtt_ms: shape.rtt_ms(),
            uplink_bytes_per_s: bytes_per_s(&shape.up),
            downlink_bytes_per_s: bytes_per_s(&shape.down),
            ingress_bytes_per_s: None,
        }
    }

    /// The same rate in both directions.
    pub(crate) fn symmetric(mbit_per_s: f64, rtt_ms: f64) -> Self {
        let rate = mbit_per_s * 125_000.0;
        Self { rtt_ms, uplink_bytes_per_s: rate, downlink_bytes_per_s: rate, ingress_bytes_per_s: None }
    }
}

/// When questions are asked.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Load {
    /// Each client asks, waits for the answer, thinks for a time (exponential, this mean) and asks again.
    Closed {
        /// Mean time between an answer and the next question.
        think_ms: f64,
    },
    /// Questions come as a Poisson process, whoever is being served; clients take turns.
    Open {
        /// Of all clients together.
        requests_per_s: f64,
    },
}

/// The server's side, as its configuration has it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct ServerSettings {
    /// Most requests that share a pass.
    pub(crate) max_batch: usize,
    /// Whether the server holds a draft model beside the target.
    pub(crate) holds_draft_model: bool,
    /// Longest draft that the planner considers.
    pub(crate) max_draft_tokens: u8,
}

/// All that a simulation depends on. The same scenario has the same outcome, bit for bit.
#[derive(Debug, Clone)]
pub(crate) struct Scenario<'a> {
    pub(crate) contender: Contender,
    pub(crate) workload: &'a Workload,
    pub(crate) times: StepTimes,
    pub(crate) paces: &'a Paces,
    /// Operations of one token of each model.
    pub(crate) token_flops: TokenFlops,
    pub(crate) wire: WireSizes,
    pub(crate) network: Network,
    pub(crate) load: Load,
    pub(crate) server: ServerSettings,
    /// Whether the edge looks at media before every question, and not only where that is expected to save time.
    pub(crate) always_looks: bool,
    pub(crate) clients: usize,
    /// Questions in all; the first third of the answers are not counted, so that a queue has found its length.
    pub(crate) requests: usize,
    pub(crate) seed: u64,
}

impl Scenario<'_> {
    /// Holds the scenario to what can be simulated.
    ///
    /// # Errors
    /// What is out of range, and which range that is.
    pub(crate) fn validate(&self) -> Result<()> {
        let (clients, requests, network) = (self.clients, self.requests, &self.network);
        ensure!(
            (1..=MAX_CLIENTS).contains(&clients),
            "{clients} clients: simulate between 1 and {MAX_CLIENTS}"
        );
        ensure!(
            (1..=MAX_REQUESTS).contains(&requests),
            "{requests} requests: simulate between 1 and {MAX_REQUESTS}"
        );
        ensure!(self.server.max_batch > 0, "a batch of 0 requests: give at least 1");
        let rates = [
            network.uplink_bytes_per_s,
            network.downlink_bytes_per_s,
            network.ingress_bytes_per_s.unwrap_or(1.0),
        ];
        ensure!(
            rates.iter().all(|rate| *rate > 0.0) && network.rtt_ms.is_finite() && network.rtt_ms >= 0.0,
            "a link without a rate above 0 or a delay of at least 0"
        );
        let load = match self.load {
            Load::Closed { think_ms } => think_ms.is_finite() && think_ms >= 0.0,
            Load::Open { requests_per_s } => requests_per_s.is_finite() && requests_per_s > 0.0,
        };
        ensure!(load, "a load without a think time of at least 0 or a rate above 0");
        if let Contender::MsaoRiskControlled { epsilon, .. } = self.contender {
            ensure!(epsilon > 0.0 && epsilon < 1.0, "epsilon is {epsilon}: give a share in (0, 1)");
        }
        if self.contender == Contender::LayerSplit {
            ensure!(
                self.times.split.is_some(),
                "no step times of the layer-wise split: give `split`, or leave that baseline out"
            );
        }
        self.times.validate()
    }
}

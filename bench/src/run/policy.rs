//! The policies that are compared: MSAO in its two modes, the baselines and the ablations.

use std::fmt;

use clap::ValueEnum;
use msao_protocol::{AnswerMode, Policy};

/// Bound on disagreement in risk-controlled mode.
pub(crate) const EPSILON: f32 = 0.01;

/// A way to answer requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum BenchPolicy {
    /// The edge model alone
    EdgeOnly,
    /// The target alone on everything that was given
    CloudOnly,
    /// A draft model beside the target
    CoLocated,
    /// The first layers of the target on the edge, activations over the wire
    LayerSplit,
    /// Drafts of the edge for the target, on everything that was given
    Distributed,
    /// MSAO, verified
    Msao,
    /// MSAO, risk-controlled at 1 %
    MsaoRisk,
    /// MSAO, verified, with nothing dropped or pruned
    MsaoWithoutMas,
    /// MSAO, verified, with nothing drafted
    MsaoWithoutSpeculation,
}

impl BenchPolicy {
    /// What a request may use and what its answer is held to; `None` for the layer-wise split, which is no policy of
    /// the product.
    pub(crate) fn terms(self) -> Option<(Policy, AnswerMode)> {
        let policy = match self {
            Self::EdgeOnly => Policy::EdgeOnly,
            Self::CloudOnly => Policy::CloudOnly,
            Self::CoLocated => Policy::CoLocated,
            Self::LayerSplit => return None,
            Self::Distributed => Policy::Distributed,
            Self::Msao | Self::MsaoRisk => Policy::Msao,
            Self::MsaoWithoutMas => Policy::MsaoWithoutMas,
            Self::MsaoWithoutSpeculation => Policy::MsaoWithoutSpeculation,
        };
        let mode = match self {
            Self::MsaoRisk => AnswerMode::RiskControlled { epsilon: EPSILON },
            _ => AnswerMode::Verified,
        };
        Some((policy, mode))
    }

    /// Whether the edge's tokens are drafts for the target, or held against its own.
    pub(crate) fn drafts_on_edge(self) -> bool {
        matches!(self, Self::Distributed | Self::Msao | Self::MsaoRisk | Self::MsaoWithoutMas)
    }

    /// Whether its answers are the target's own on what is kept of the media, token for token.
    pub(crate) fn is_lossless(self) -> bool {
        matches!(self, Self::Msao | Self::MsaoWithoutMas | Self::Distributed | Self::CoLocated)
    }
}

impl fmt::Display for BenchPolicy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value().expect("every policy is one to choose");
        formatter.write_str(value.get_name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_journal() {
        let names: Vec<String> = BenchPolicy::value_variants().iter().map(ToString::to_string).collect();
        let expected = "edge_only cloud_only co_located layer_split distributed msao msao_risk msao_without_mas \
                        msao_without_speculation";
        assert_eq!(names.join(" "), expected);
        assert_eq!(BenchPolicy::from_str("msao_risk", false), Ok(BenchPolicy::MsaoRisk));
    }
}

//! The names that journals and tables use.

/// The target alone, on everything.
pub(super) const CLOUD_ONLY: &str = "cloud_only";
/// First layers of the target on the edge.
pub(super) const LAYER_SPLIT: &str = "layer_split";
/// MSAO, verified.
pub(super) const MSAO: &str = "msao";
/// MSAO under a risk bound.
pub(super) const MSAO_RISK: &str = "msao_risk";
/// MSAO that drops and prunes nothing.
pub(super) const WITHOUT_MAS: &str = "msao_without_mas";
/// MSAO that drafts nothing.
pub(super) const WITHOUT_SPECULATION: &str = "msao_without_speculation";

/// What does the same on every network and answers as the target does. The edge alone does not: no risk bound allows it.
pub(super) const STATIC: [&str; 4] = [CLOUD_ONLY, "co_located", "distributed", LAYER_SPLIT];

/// The paper's networks.
pub(super) const PAPER_NETWORKS: [&str; 3] = ["20ms-200mbit", "20ms-300mbit", "20ms-400mbit"];

/// Order of tables and plots; others follow by name.
const ORDER: [&str; 9] = [
    "edge_only",
    CLOUD_ONLY,
    "co_located",
    "distributed",
    LAYER_SPLIT,
    MSAO,
    MSAO_RISK,
    WITHOUT_MAS,
    WITHOUT_SPECULATION,
];

/// Sorts policies for tables.
pub(super) fn place(policy: &str) -> (usize, &str) {
    (ORDER.iter().position(|known| *known == policy).unwrap_or(ORDER.len()), policy)
}

/// Sorts networks: the paper's first, then by their numbers, then recorded ones.
pub(super) fn network_place(network: &str) -> (bool, bool, Vec<u32>, &str) {
    let numbers =
        network.split(|letter: char| !letter.is_ascii_digit()).filter_map(|digits| digits.parse().ok());
    let is_steady = network.ends_with("mbit");
    (!PAPER_NETWORKS.contains(&network), !is_steady, numbers.collect(), network)
}

/// The name for people.
pub(super) fn title(policy: &str) -> String {
    match policy {
        MSAO => "MSAO, verified".to_owned(),
        MSAO_RISK => "MSAO, risk-controlled".to_owned(),
        WITHOUT_MAS => "MSAO without MAS".to_owned(),
        WITHOUT_SPECULATION => "MSAO without speculation".to_owned(),
        other => other.replace('_', " "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_go_from_baselines_to_ablations_and_from_the_papers_networks_on() {
        let mut policies = ["zzz", WITHOUT_MAS, MSAO, "edge_only", CLOUD_ONLY];
        policies.sort_by_key(|policy| place(policy));
        assert_eq!(policies, ["edge_only", CLOUD_ONLY, MSAO, WITHOUT_MAS, "zzz"]);
        let mut networks =
            ["lte:1", "100ms-5mbit", "40ms-50mbit", "40ms-5mbit", "20ms-300mbit", "20ms-200mbit"];
        networks.sort_by_key(|network| network_place(network));
        assert_eq!(
            networks,
            ["20ms-200mbit", "20ms-300mbit", "40ms-5mbit", "40ms-50mbit", "100ms-5mbit", "lte:1"]
        );
    }
}

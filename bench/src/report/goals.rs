//! The goals, and what was measured of each.
//!
//! A goal over several networks is held to the worst of them, by the figure itself; its interval stands beside it. A
//! goal that needs a policy or a network which was not run says so, and is not met.

use serde::Serialize;

use super::{
    figures::{Against, PolicyFigures, WANTED_POINTS},
    journal::Measured,
    policies::{
        CLOUD_ONLY, LAYER_SPLIT, MSAO, MSAO_RISK, PAPER_NETWORKS, STATIC, WITHOUT_MAS, WITHOUT_SPECULATION,
        title,
    },
    statistics::Estimate,
    throughput,
};

/// One goal.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Goal {
    /// What is asked, of whom and where.
    pub(crate) goal: String,
    /// The bound, in words.
    pub(crate) bound: String,
    /// What was measured, in words.
    pub(crate) measured: String,
    /// Whether the figure is within the bound; `None` if it was not measured.
    pub(crate) is_met: Option<bool>,
}

/// A comparison's figure over some networks, the worst of which counts.
struct Held<'a> {
    measured: &'a Measured,
    networks: Vec<&'a str>,
    figure: fn(&Against) -> Option<Estimate>,
}

impl Held<'_> {
    /// The worst network, by the rule of what is worse, with its figure.
    fn worst(
        &self,
        policy: &str,
        baseline: impl Fn(&str) -> Option<String>,
        is_worse: fn(f64, f64) -> bool,
    ) -> Option<(String, Estimate)> {
        let mut worst: Option<(String, Estimate)> = None;
        for network in &self.networks {
            let compared =
                baseline(network).and_then(|baseline| Against::of(self.measured, network, policy, &baseline));
            let Some(compared) = compared else { continue };
            let Some(found) = (self.figure)(&compared) else { continue };
            if worst.as_ref().is_none_or(|(_, worst)| is_worse(found.value, worst.value)) {
                worst = Some((format!("{network} against {}", title(&compared.baseline)), found));
            }
        }
        worst
    }
}

/// All goals, in order.
pub(super) fn all(measured: &Measured, figures: &[PolicyFigures]) -> Vec<Goal> {
    let every: Vec<&str> = measured.networks.keys().map(String::as_str).collect();
    let paper: Vec<&str> = PAPER_NETWORKS.into_iter().filter(|network| every.contains(network)).collect();
    let mut goals = Vec::new();
    for (policy, loss) in [(MSAO, 0.1), (MSAO_RISK, 0.3)] {
        let all = Held { measured, networks: every.clone(), figure: |it| it.accuracy_points };
        let worst = all.worst(policy, |_| Some(CLOUD_ONLY.to_owned()), |one, other| one < other);
        goals.push(Goal {
            goal: format!("{}: accuracy on all inputs, on every network", title(policy)),
            bound: format!("at most {loss} points below cloud only"),
            is_met: worst.as_ref().map(|(_, points)| points.value >= -loss),
            measured: accuracy_words(worst, measured, policy),
        });
    }
    for (baseline, least) in [(CLOUD_ONLY, 50.0), (LAYER_SPLIT, 30.0)] {
        for policy in [MSAO, MSAO_RISK] {
            let paper = Held { measured, networks: paper.clone(), figure: |it| it.p50_ratio };
            goals.push(lower(&paper, policy, baseline, "p50 latency at the paper's networks", least));
        }
    }
    for policy in [MSAO, MSAO_RISK] {
        goals.push(never_above_the_best_static(measured, figures, &every, policy));
    }
    for (policy, flops, bytes, times) in [(MSAO, 30.0, 60.0, 1.5), (MSAO_RISK, 65.0, 80.0, 2.3)] {
        let of_flops = Held { measured, networks: paper.clone(), figure: |it| it.cloud_flops_ratio };
        goals.push(lower(
            &of_flops,
            policy,
            CLOUD_ONLY,
            "operations in the cloud at the paper's networks",
            flops,
        ));
        let of_bytes = Held { measured, networks: paper.clone(), figure: |it| it.up_bytes_ratio };
        goals.push(lower(&of_bytes, policy, CLOUD_ONLY, "uplink bytes at the paper's networks", bytes));
        goals.push(throughput(measured, policy, times));
    }
    goals.push(ablation(measured, &paper, WITHOUT_MAS, "uplink bytes", |it| it.up_bytes_ratio));
    goals.push(ablation(measured, &paper, WITHOUT_SPECULATION, "p50 latency", |it| it.p50_ratio));
    goals
}

/// The difference, and whether there are requests enough to tell.
fn accuracy_words(worst: Option<(String, Estimate)>, measured: &Measured, policy: &str) -> String {
    let needed = measured.networks.keys().filter_map(|network| {
        let found = Against::of(measured, network, policy, CLOUD_ONLY)?;
        Some((found.requests_for_points, found.requests))
    });
    let (needed, asked) = needed.max().unwrap_or_default();
    let words = say(worst, |points| format!("{} points", points.show(2)));
    if needed > asked as u64 {
        return format!(
            "{words}; an interval of +-{WANTED_POINTS} needs {needed} requests, there are {asked}"
        );
    }
    words
}

/// A figure that has to be so many per cent below a baseline's.
fn lower(held: &Held<'_>, policy: &str, baseline: &str, what: &str, least_percent: f64) -> Goal {
    let worst = held.worst(policy, |_| Some(baseline.to_owned()), |one, other| one > other);
    let below = |ratio: Estimate| {
        let Estimate { value, low, high } = ratio.map(|ratio| 100.0 * (1.0 - ratio));
        // What is most of the baseline's is least below it.
        Estimate { value, low: high, high: low }
    };
    Goal {
        goal: format!("{}: {what}", title(policy)),
        bound: format!("at least {least_percent} % below {}", title(baseline)),
        is_met: worst.as_ref().map(|(_, ratio)| below(*ratio).value >= least_percent),
        measured: say(worst, |ratio| format!("{} % below", below(ratio).show(1))),
    }
}

fn never_above_the_best_static(
    measured: &Measured,
    figures: &[PolicyFigures],
    networks: &[&str],
    policy: &str,
) -> Goal {
    const MOST: f64 = 1.05;
    let best = |network: &str| {
        let statics =
            figures.iter().filter(|one| one.network == network && STATIC.contains(&one.policy.as_str()));
        let timed = statics.filter_map(|one| Some((one.p50_ms?.value, &one.policy)));
        timed.min_by(|one, other| one.0.total_cmp(&other.0)).map(|(_, policy)| policy.clone())
    };
    let every = Held { measured, networks: networks.to_vec(), figure: |it| it.p50_ratio };
    let worst = every.worst(policy, best, |one, other| one > other);
    Goal {
        goal: format!("{}: p50 latency on every network", title(policy)),
        bound: "at most 5 % above the best policy that does the same on every network".to_owned(),
        is_met: worst.as_ref().map(|(_, ratio)| ratio.value <= MOST),
        measured: say(worst, |ratio| format!("{} times it", ratio.show(2))),
    }
}

fn throughput(measured: &Measured, policy: &str, least: f64) -> Goal {
    let found = measured.load.iter().flat_map(throughput::all).find(|one| one.policy == policy);
    let times = found.as_ref().and_then(|found| found.against_cloud_only);
    let searches = found.map_or(0, |found| found.searches);
    Goal {
        goal: format!("{}: user requests a second at saturation", title(policy)),
        bound: format!("at least {least} times cloud only"),
        is_met: times.map(|times| times.value >= least),
        measured: times.map_or_else(not_measured, |times| match searches {
            1 => format!("{} times, searched once", times.show(2)),
            _ => format!("{} times, {searches} searches", times.show(2)),
        }),
    }
}

/// Without a part a figure has to be worse, by more than chance.
fn ablation(
    measured: &Measured,
    networks: &[&str],
    policy: &str,
    what: &str,
    figure: fn(&Against) -> Option<Estimate>,
) -> Goal {
    let held = Held { measured, networks: networks.to_vec(), figure };
    let least = held.worst(policy, |_| Some(MSAO.to_owned()), |one, other| one < other);
    Goal {
        goal: format!("{}: {what} at the paper's networks", title(policy)),
        bound: "clearly more than with it: the interval lies above 1".to_owned(),
        is_met: least.as_ref().map(|(_, ratio)| ratio.low > 1.0),
        measured: say(least, |ratio| format!("{} times", ratio.show(2))),
    }
}

fn say(found: Option<(String, Estimate)>, figure: impl Fn(Estimate) -> String) -> String {
    found.map_or_else(not_measured, |(place, estimate)| format!("{} ({place})", figure(estimate)))
}

fn not_measured() -> String {
    "not measured".to_owned()
}

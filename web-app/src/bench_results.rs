//! The bench's results as the dashboard shows them: policies by network, with intervals.
//!
//! The file is that of `msao-bench report` (bench/results.json); what the page does not show of it is not read.

use serde::Deserialize;

use crate::{format, receipt::draw::escaped};

/// Bytes of the file at most.
pub const MOST_BYTES: usize = 2_000_000;

/// The part of the file that is shown.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct BenchResults {
    /// Each policy over each network.
    pub policies: Vec<PolicyResult>,
}

/// A policy over a network.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct PolicyResult {
    /// Name of the network, such as `20ms-200mbit`.
    pub network: String,
    /// Name of the policy, such as `cloud_only`.
    pub policy: String,
    /// Requests that were asked.
    pub requests: u32,
    /// Share of right answers.
    pub accuracy: Option<Interval>,
    /// Median milliseconds to the end.
    pub p50_ms: Option<Interval>,
    /// 95th percentile of the same.
    pub p95_ms: Option<Interval>,
    /// Mean bytes to the server.
    pub up_bytes: Option<Interval>,
    /// Mean operations in the cloud.
    pub cloud_flops: Option<Interval>,
    /// Accepted drafts per proposed draft.
    pub acceptance: Option<Interval>,
}

/// A value with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct Interval {
    /// The value.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl BenchResults {
    /// The networks, in the file's order.
    pub fn networks(&self) -> Vec<&str> {
        let mut networks: Vec<&str> = Vec::new();
        for result in &self.policies {
            if !networks.contains(&result.network.as_str()) {
                networks.push(&result.network);
            }
        }
        networks
    }

    /// The policies over one network, in the file's order.
    pub fn on<'a>(&'a self, network: &'a str) -> impl Iterator<Item = &'a PolicyResult> {
        self.policies.iter().filter(move |result| result.network == network)
    }

    /// The policies over one network as a table in HTML.
    pub fn markup(&self, network: &str) -> String {
        let requests = self.on(network).map(|result| result.requests).max().unwrap_or(0);
        let heads: String =
            COLUMNS.iter().map(|column| format!(r#"<th scope="col">{column}</th>"#)).collect();
        let row = |result: &PolicyResult| {
            let class = if result.is_the_method() { r#" class="own""# } else { "" };
            let cells: String = result.cells().iter().map(|cell| format!("<td>{cell}</td>")).collect();
            let (policy, label) = (escaped(&result.policy), escaped(&result.label()));
            format!(r#"<tr{class} data-policy="{policy}"><th scope="row">{label}</th>{cells}</tr>"#)
        };
        let rows: String = self.on(network).map(row).collect();
        let network = escaped(&network_words(network));
        format!(
            r#"<table class="bench-table" data-testid="bench-table"><caption>{requests} questions over {network}</caption><thead><tr><th scope="col">Policy</th>{heads}</tr></thead><tbody>{rows}</tbody></table>"#
        )
    }
}

impl Interval {
    /// Value and interval, written by `words`; a unit that all three share is said once: `477 ms (466–489)`.
    pub fn words(self, words: impl Fn(f64) -> String) -> String {
        let value = words(self.value);
        if self.low == self.high {
            return value;
        }
        let (low, high) = (words(self.low), words(self.high));
        let unit = |words: &str| words.rsplit_once(' ').map(|(_, unit)| unit.to_owned());
        let number = |words: &str| words.rsplit_once(' ').map_or(words, |(number, _)| number).to_owned();
        let is_one = unit(&low) == unit(&high);
        let low = if is_one { number(&low) } else { low };
        let high = if is_one && unit(&high) == unit(&value) { number(&high) } else { high };
        format!("{value} ({low}–{high})")
    }
}

impl PolicyResult {
    /// The cells of its row, in the order of [`COLUMNS`]; `–` for what was not measured.
    pub fn cells(&self) -> Vec<String> {
        let cell = |value: Option<Interval>, words: &dyn Fn(f64) -> String| {
            value.map_or_else(|| "–".to_owned(), |value| value.words(words))
        };
        let share = |share: f64| format!("{:.0} %", share * 100.0);
        vec![
            cell(self.p50_ms, &format::duration_ms),
            cell(self.p95_ms, &format::duration_ms),
            cell(self.accuracy, &share),
            cell(self.up_bytes, &|bytes| format::bytes(bytes.max(0.0) as u64)),
            cell(self.cloud_flops, &|flops| format::operations(flops.max(0.0) as u64)),
            cell(self.acceptance, &share),
        ]
    }

    /// The policy in words.
    pub fn label(&self) -> String {
        match self.policy.as_str() {
            "edge_only" => "Device only".to_owned(),
            "cloud_only" => "Cloud only".to_owned(),
            "co_located" => "Drafts on the server".to_owned(),
            "distributed" => "Drafts on the device".to_owned(),
            "layer_split" => "Model split by layers".to_owned(),
            "msao" => "MSAO, verified".to_owned(),
            "msao_risk" => "MSAO, risk-controlled".to_owned(),
            "msao_without_mas" => "MSAO without MAS".to_owned(),
            "msao_without_speculation" => "MSAO without drafts".to_owned(),
            other => other.replace('_', " "),
        }
    }

    /// Whether it is the method itself, neither a baseline nor an ablation.
    pub fn is_the_method(&self) -> bool {
        matches!(self.policy.as_str(), "msao" | "msao_risk")
    }
}

/// Heads of the columns after the policy's.
pub const COLUMNS: [&str; 6] =
    ["Median", "95th percentile", "Right answers", "Bytes sent", "Cloud's work", "Drafts accepted"];

/// A network in words: `20 ms, 200 Mbit/s`; its name where it is a recorded one.
pub fn network_words(network: &str) -> String {
    let shaped = network.split_once('-').and_then(|(delay, rate)| {
        let (delay, rate) = (delay.strip_suffix("ms")?, rate.strip_suffix("mbit")?);
        Some(format!("{delay} ms, {rate} Mbit/s"))
    });
    shaped.unwrap_or_else(|| {
        network
            .split_once(':')
            .map_or_else(|| network.to_owned(), |(kind, _)| format!("{kind}, recorded style"))
    })
}

/// Where a network's plots lie beside the page: bytes against accuracy, and the distribution of latencies.
pub fn plots(network: &str) -> [(&'static str, String); 2] {
    let file = network.replace(':', "-");
    [
        ("Bytes against right answers", format!("bench/plots/bytes-accuracy-{file}.svg")),
        ("Share of answers by latency", format!("bench/plots/latency-cdf-{file}.svg")),
    ]
}

/// The plots of all networks together.
const ALL_NETWORKS: [(&str, &str); 2] = [
    ("Latency of each policy over each network", "bench/plots/latency.svg"),
    ("Sessions a second", "bench/plots/throughput.svg"),
];

/// The plots of a network and those of all, in HTML; each is fetched when it comes into view.
pub fn plots_markup(network: &str) -> String {
    let all = ALL_NETWORKS.map(|(title, url)| (title, url.to_owned()));
    let figure = |(title, url): (&str, String)| {
        let url = escaped(&url);
        format!(
            r#"<figure class="plot"><figcaption>{title}</figcaption><img src="{url}" alt="{title}: a plot of the figures in the table" loading="lazy" width="600" height="400"></figure>"#
        )
    };
    plots(network).into_iter().chain(all).map(figure).collect()
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    fn shipped() -> BenchResults {
        let text = include_str!("../../bench/results.json");
        assert!(text.len() <= MOST_BYTES);
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn the_shipped_results_have_each_policy_on_each_network() {
        let results = shipped();
        assert!(results.networks().len() > 3);
        for network in results.networks() {
            let policies: Vec<_> = results.on(network).map(|result| result.policy.as_str()).collect();
            assert!(
                policies.contains(&"msao") && policies.contains(&"cloud_only"),
                "{network}: {policies:?}"
            );
            for (_, plot) in plots(network) {
                let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(&plot);
                assert!(fs::exists(&file).unwrap(), "{plot} is not there");
            }
        }
        let cells = results.policies[0].cells();
        assert_eq!(cells.len(), COLUMNS.len());
        assert!(cells[0].contains(" ms ("), "a median with its interval: {}", cells[0]);
    }

    #[test]
    fn networks_and_policies_are_said_in_words() {
        assert_eq!(network_words("20ms-200mbit"), "20 ms, 200 Mbit/s");
        assert_eq!(network_words("lte:1"), "lte, recorded style");
        assert_eq!(network_words("odd"), "odd");
        let labels: Vec<_> = shipped().on("20ms-200mbit").map(PolicyResult::label).collect();
        assert!(labels.contains(&"MSAO without MAS".to_owned()) && labels.contains(&"Cloud only".to_owned()));
        assert!(labels.iter().all(|label| !label.starts_with(char::is_lowercase)), "{labels:?}");
    }

    #[test]
    fn a_shared_unit_is_said_once() {
        let interval = Interval { value: 477.0, low: 466.0, high: 1_489.0 };
        assert_eq!(interval.words(format::duration_ms), "477 ms (466 ms–1.49 s)");
        assert_eq!(Interval { high: 489.0, ..interval }.words(format::duration_ms), "477 ms (466–489)");
        let certain = Interval { value: 1.0, low: 1.0, high: 1.0 };
        assert_eq!(certain.words(format::duration_ms), "1 ms");
    }
}

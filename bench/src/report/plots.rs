//! Plots as SVG: on no background and in middle tones, so that they read on light and dark pages.

mod bars;
mod cdf;
mod paint;
mod scatter;

use std::{fs, path::Path};

use anyhow::Result;

use self::bars::{Bar, Bars};
use super::{
    figures::PolicyFigures,
    journal::Measured,
    policies::{self, title},
    throughput::{self, Throughput},
};

/// Folder of the plots beside the page.
const FOLDER: &str = "plots";

/// A plot that was written.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plot {
    /// The network it is about, if it is about one.
    pub(super) network: Option<String>,
    /// Its file, relative to the page.
    pub(super) file: String,
    /// What it shows, for those who do not see it.
    pub(super) caption: String,
}

/// Draws all plots that the measurements have data for.
///
/// # Errors
/// If a file cannot be written.
pub(super) fn draw(measured: &Measured, figures: &[PolicyFigures], out: &Path) -> Result<Vec<Plot>> {
    fs::create_dir_all(out.join(FOLDER))?;
    let mut plots = Vec::new();
    let mut write = |name: &str, network: Option<&str>, caption: String, svg: Option<String>| -> Result<()> {
        let Some(svg) = svg else { return Ok(()) };
        let file = format!("{FOLDER}/{name}.svg");
        fs::write(out.join(&file), svg)?;
        plots.push(Plot { network: network.map(str::to_owned), file, caption });
        Ok(())
    };
    let caption = "Median latency of each policy over each network, with 95 % intervals";
    write("latency", None, caption.to_owned(), bars::draw(&latency_bars(figures))?)?;
    if let Some(bars) = throughput_bars(measured) {
        let caption = "User requests a second at saturation of each policy, with 95 % intervals where the search was repeated";
        write("throughput", None, caption.to_owned(), bars::draw(&bars)?)?;
    }
    let mut networks: Vec<&str> = figures.iter().map(|one| one.network.as_str()).collect();
    networks.dedup();
    for network in networks {
        // A recorded network's name has a colon, which not every file system takes.
        let name = network.replace(':', "-");
        let caption = format!("Distribution of the latency of each policy over {network}");
        write(&format!("latency-cdf-{name}"), Some(network), caption, cdf::draw(measured, network)?)?;
        let here: Vec<&PolicyFigures> = figures.iter().filter(|one| one.network == network).collect();
        let caption = format!("Bytes to the cloud against accuracy of each policy over {network}");
        write(&format!("bytes-accuracy-{name}"), Some(network), caption, scatter::draw(&here)?)?;
    }
    Ok(plots)
}

fn latency_bars(figures: &[PolicyFigures]) -> Bars {
    let mut groups: Vec<(String, Vec<Bar>)> = Vec::new();
    for one in figures {
        let Some(p50_ms) = one.p50_ms else { continue };
        if groups.last().is_none_or(|(network, _)| *network != one.network) {
            groups.push((one.network.clone(), Vec::new()));
        }
        if let Some((_, bars)) = groups.last_mut() {
            bars.push(Bar { policy: one.policy.clone(), height: p50_ms });
        }
    }
    Bars { axis: "median latency, ms".to_owned(), groups }
}

fn throughput_bars(measured: &Measured) -> Option<Bars> {
    let mut found = throughput::all(measured.load.as_ref()?);
    found.sort_by(|one, other| policies::place(&one.policy).cmp(&policies::place(&other.policy)));
    let bar = |one: Throughput| {
        let height = one.saturation_per_s?;
        Some((title(&one.policy), vec![Bar { policy: one.policy, height }]))
    };
    let groups: Vec<_> = found.into_iter().filter_map(bar).collect();
    let axis = "user requests a second at saturation".to_owned();
    (!groups.is_empty()).then_some(Bars { axis, groups })
}

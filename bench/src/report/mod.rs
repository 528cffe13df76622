//! From journals to figures with intervals: tables in `bench/RESULTS.md`, `bench/results.json`, and plots.
//!
//! It measures nothing. The same journals give the same files, byte for byte.
//!
//! | module | what it is |
//! |---|---|
//! | [`journal`] | what a run left in its folder |
//! | [`statistics`] | quantiles and the bootstrap |
//! | [`figures`] | each policy over each network, and two policies on the same requests |
//! | [`throughput`] | rates at saturation, over repeated searches |
//! | [`goals`] | what was asked for, and whether it is met |
//! | [`tables`] | the page |
//! | [`load_tables`] | its part on load |
//! | [`plots`] | the pictures on it |
//! | [`policies`] | names and their order |

mod figures;
mod goals;
mod journal;
mod load_tables;
mod plots;
mod policies;
pub(crate) mod statistics;
mod tables;
#[cfg(test)]
mod tests;
mod throughput;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use clap::Args;
use msao_tests::places;
use serde::Serialize;
use serde_json::Value;

pub(crate) use self::journal::{LOAD_FILE, SOAK_FILE};
use self::{
    figures::{Against, PolicyFigures},
    goals::Goal,
    journal::Measured,
    throughput::{Past, Throughput},
};
use crate::load::{LoadReport, SoakReport};

const PAGE: &str = "RESULTS.md";
const BEGIN: &str = "<!-- measured:begin -->";
const END: &str = "<!-- measured:end -->";

/// Where journals are, and where figures go.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Folder of a run: journals (*.jsonl), load.json, machine.json. Several add up, if their models and machines are the
    /// same: runs of parts side by side
    #[arg(long = "in", required = true)]
    folders: Vec<PathBuf>,
    /// Folder for RESULTS.md, results.json and plots; bench/ unless told otherwise
    #[arg(long)]
    out: Option<PathBuf>,
}

/// All figures, for programs.
#[derive(Debug, Serialize)]
struct Results<'a> {
    /// One entry a run.
    runs: &'a [Value],
    goals: &'a [Goal],
    policies: &'a [PolicyFigures],
    against_cloud_only: &'a [Against],
    load: Option<&'a LoadReport>,
    throughput: Vec<Throughput>,
    past_saturation: Vec<Past>,
    soaks: &'a [SoakReport],
}

/// Writes page, JSON and plots.
///
/// # Errors
/// If there is no journal, a file has another form, or the page lacks its markers.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let out = arguments.out.clone().unwrap_or_else(|| places::root().join("bench"));
    write(&arguments.folders, &out)?;
    eprintln!("written to {}", out.join(PAGE).display());
    Ok(())
}

/// From the folders of runs to that of the results.
///
/// # Errors
/// As [`run`].
pub(crate) fn write(folders: &[PathBuf], out: &Path) -> Result<()> {
    let measured = Measured::read(folders)?;
    let figures = PolicyFigures::all(&measured);
    let against: Vec<Against> = figures
        .iter()
        .filter(|one| one.policy != policies::CLOUD_ONLY)
        .filter_map(|one| Against::of(&measured, &one.network, &one.policy, policies::CLOUD_ONLY))
        .collect();
    let goals = goals::all(&measured, &figures);
    fs::create_dir_all(out)?;
    let plots = plots::draw(&measured, &figures, out)?;
    let results = Results {
        runs: &measured.runs,
        goals: &goals,
        policies: &figures,
        against_cloud_only: &against,
        load: measured.load.as_ref(),
        throughput: measured.load.iter().flat_map(throughput::all).collect(),
        past_saturation: measured.load.iter().flat_map(throughput::past).collect(),
        soaks: &measured.soaks,
    };
    fs::write(out.join("results.json"), serde_json::to_string_pretty(&results)? + "\n")?;
    let text = tables::page(&measured, &figures, &against, &goals, &plots)?;
    between_markers(&out.join(PAGE), &text)
}

/// Puts the measured part into the page; what people wrote around it stays. A page that is missing is begun.
fn between_markers(page: &Path, measured: &str) -> Result<()> {
    let text = if page.is_file() {
        fs::read_to_string(page).with_context(|| format!("cannot read {}", page.display()))?
    } else {
        format!("# Results\n\n{BEGIN}\n{END}\n")
    };
    let missing = |marker: &str| format!("{} lacks the line {marker} for the figures", page.display());
    let (before, rest) = text.split_once(BEGIN).with_context(|| missing(BEGIN))?;
    let (_, after) = rest.split_once(END).with_context(|| missing(END))?;
    fs::write(page, format!("{before}{BEGIN}\n{measured}{END}{after}"))?;
    Ok(())
}

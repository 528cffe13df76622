//! The measured part of `bench/RESULTS.md`.

use std::fmt::Write;

use anyhow::Result;

use super::{
    figures::{Against, PolicyFigures, WANTED_POINTS},
    goals::Goal,
    journal::Measured,
    load_tables,
    plots::Plot,
    policies::{CLOUD_ONLY, title},
    statistics::Estimate,
};

/// Everything between the markers.
pub(super) fn page(
    measured: &Measured,
    figures: &[PolicyFigures],
    against: &[Against],
    goals: &[Goal],
    plots: &[Plot],
) -> Result<String> {
    let mut page = String::new();
    let out = &mut page;
    writeln!(out, "## Measured\n")?;
    for sentence in measured.circumstances() {
        writeln!(out, "- {sentence}")?;
    }
    writeln!(
        out,
        "\nFigures have 95 % bootstrap intervals over requests; comparisons are paired by request. A failed request counts as wrong and has no latency. Bytes and operations are means of a request.\n"
    )?;
    goals_table(out, goals)?;
    for plot in plots.iter().filter(|plot| plot.network.is_none()) {
        writeln!(out, "![{}]({})\n", plot.caption, plot.file)?;
    }
    let mut networks: Vec<&str> = figures.iter().map(|one| one.network.as_str()).collect();
    networks.dedup();
    for network in networks {
        let here: Vec<&PolicyFigures> = figures.iter().filter(|one| one.network == network).collect();
        writeln!(out, "### {network}\n")?;
        latency_table(out, &here)?;
        work_table(out, &here)?;
        against_table(out, against.iter().filter(|one| one.network == network))?;
        for plot in plots.iter().filter(|plot| plot.network.as_deref() == Some(network)) {
            writeln!(out, "![{}]({})\n", plot.caption, plot.file)?;
        }
    }
    if let Some(load) = &measured.load {
        load_tables::load(out, load)?;
    }
    load_tables::soaks(out, &measured.soaks)?;
    Ok(page.trim_end().to_owned() + "\n")
}

fn goals_table(out: &mut String, goals: &[Goal]) -> Result<()> {
    writeln!(out, "### Goals\n\n| goal | asked | measured | |\n|---|---|---|---|")?;
    for Goal { goal, bound, measured, is_met } in goals {
        let verdict = match is_met {
            Some(true) => "met",
            Some(false) => "**not met**",
            None => "not measured",
        };
        writeln!(out, "| {goal} | {bound} | {measured} | {verdict} |")?;
    }
    writeln!(out)?;
    Ok(())
}

fn latency_table(out: &mut String, figures: &[&PolicyFigures]) -> Result<()> {
    writeln!(
        out,
        "| policy | accuracy, % | first shown, ms | TTFT, ms | TPOT, ms | p50, ms | p95, ms | p99, ms | tokens/s | requests | failed |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
    )?;
    for one in figures {
        writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            title(&one.policy),
            show(one.accuracy, 100.0, 1),
            show(one.first_shown_ms, 1.0, 0),
            show(one.ttft_ms, 1.0, 0),
            show(one.tpot_ms, 1.0, 1),
            show(one.p50_ms, 1.0, 0),
            show(one.p95_ms, 1.0, 0),
            show(one.p99_ms, 1.0, 0),
            show(one.tokens_per_s, 1.0, 1),
            one.requests,
            one.failures
        )?;
    }
    writeln!(out)?;
    Ok(())
}

fn work_table(out: &mut String, figures: &[&PolicyFigures]) -> Result<()> {
    writeln!(
        out,
        "| policy | up, kB | of it pictures | of it sound | down, kB | edge, GFLOP | cloud, GFLOP | drafts accepted, % | stood on the edge, % |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|"
    )?;
    for one in figures {
        writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            title(&one.policy),
            show(one.up_bytes, 1e-3, 1),
            show(one.vision_bytes, 1e-3, 1),
            show(one.audio_bytes, 1e-3, 1),
            show(one.down_bytes, 1e-3, 2),
            show(one.edge_flops, 1e-9, 2),
            show(one.cloud_flops, 1e-9, 2),
            show(one.acceptance, 100.0, 1),
            show(one.stood, 100.0, 1)
        )?;
    }
    writeln!(out)?;
    Ok(())
}

fn against_table<'a>(out: &mut String, against: impl Iterator<Item = &'a Against>) -> Result<()> {
    let mut against = against.peekable();
    if against.peek().is_none() {
        return Ok(());
    }
    writeln!(
        out,
        "Against {}, request by request:\n\n| policy | accuracy, points | requests for +-{WANTED_POINTS} points | p50 | bytes up | cloud FLOPs | same answer, % |\n|---|---:|---:|---:|---:|---:|---:|",
        title(CLOUD_ONLY)
    )?;
    for one in against {
        writeln!(
            out,
            "| {} | {} | {} of {} | {} | {} | {} | {} |",
            title(&one.policy),
            show(one.accuracy_points, 1.0, 2),
            one.requests,
            one.requests_for_points,
            show(one.p50_ratio, 1.0, 2),
            show(one.up_bytes_ratio, 1.0, 2),
            show(one.cloud_flops_ratio, 1.0, 2),
            show(one.same_answer, 100.0, 1)
        )?;
    }
    writeln!(out)?;
    Ok(())
}

pub(super) fn show(estimate: Option<Estimate>, scale: f64, decimals: usize) -> String {
    estimate.map_or_else(dash, |estimate| estimate.map(|value| value * scale).show(decimals))
}

pub(super) fn dash() -> String {
    "-".to_owned()
}

//! The page's part on load: rates at saturation, what came of more, and memory over time.

use std::fmt::Write;

use anyhow::Result;

use super::{
    policies::title,
    tables::{dash, show},
    throughput::{self, Past, Throughput},
};
use crate::load::{BOUND_OVER_UNLOADED, LoadReport, LoadSettings, SoakReport};

/// Rates at saturation, and what came of more.
pub(super) fn load(out: &mut String, load: &LoadReport) -> Result<()> {
    let LoadSettings { requests, seconds, sessions, server_cpus, .. } = &load.settings;
    let bound_ms = load.bound_ms;
    let pinned = server_cpus.as_ref().map_or(String::new(), |cpus| format!(" on processors {cpus}"));
    writeln!(
        out,
        "### Throughput\n\nOpen-loop load: Poisson arrivals of {requests} requests over {sessions} sessions against the real server{pinned}, {seconds} s at each rate or as long as 40 requests take to reach it. A rate is sustained if the p95 latency of what reaches the server stays below {bound_ms:.0} ms ({BOUND_OVER_UNLOADED} times the unloaded p95 of cloud only, for every policy) and at least 95 % of it is answered; \"busy\" is a failure. Rates are user requests a second: answers that stand on the edge count as served, and cost the server nothing. Each search for the highest sustained rate has arrivals of its own; figures are means over searches with Student's 95 % interval, and a single search has none.\n"
    )?;
    writeln!(
        out,
        "| policy | saturation, requests/s | not sustained from | against cloud only | searches | reach the server, % | unloaded median, ms | server's peak memory, MB |\n|---|---:|---:|---:|---:|---:|---:|---:|"
    )?;
    for (one, found) in load.policies.iter().zip(throughput::all(load)) {
        let Throughput { searches, saturation_per_s, overload_per_s, against_cloud_only, .. } = found;
        writeln!(
            out,
            "| {} | {} | {} | {} | {searches} | {:.1} | {:.0} | {} |",
            title(&one.policy),
            show(saturation_per_s, 1.0, 2),
            overload_per_s.map_or_else(dash, |rate| format!("{rate:.2}")),
            show(against_cloud_only, 1.0, 2),
            100.0 * one.reaching_share,
            one.unloaded_ms,
            one.server_peak_bytes.map_or_else(dash, |bytes| format!("{:.0}", bytes as f64 / 1e6))
        )?;
    }
    writeln!(out)?;
    past(out, load)
}

fn past(out: &mut String, load: &LoadReport) -> Result<()> {
    let found = throughput::past(load);
    if found.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "Past saturation, each search with the arrivals that it had. Goodput is answers of the server a second within the latency bound, while visitors arrive; its peak is the highest of a search's rates here. Refused is \"busy\"; p99 is of what was not refused, and is not bounded where more than 1 % of that had no answer within twice the latency bound. Memory is what the server held when the last visitor had arrived.\n"
    )?;
    writeln!(
        out,
        "| policy | of saturation | goodput, answers/s | of its peak, % | refused, % | without an answer, % | p50, ms | p95, ms | p99, ms | server's memory, MB |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
    )?;
    for one in &found {
        writeln!(
            out,
            "| {} | {} x | {} | {} | {} | {} | {} | {} | {} | {} |",
            title(&one.policy),
            one.times,
            show(one.goodput_per_s, 1.0, 2),
            show(one.of_peak, 100.0, 1),
            show(one.busy_share, 100.0, 1),
            show(one.failed_share, 100.0, 1),
            show(one.p50_ms, 1.0, 0),
            show(one.p95_ms, 1.0, 0),
            one.p99_ms.map_or_else(|| "not bounded".to_owned(), |p99_ms| show(Some(p99_ms), 1.0, 0)),
            show(one.server_resident_bytes, 1e-6, 0)
        )?;
    }
    writeln!(out)?;
    for policy in &load.policies {
        let of_it = found.iter().filter(|one| one.policy == policy.policy);
        let Some(holds) = Past::hold(of_it) else { continue };
        let verdict =
            if holds { "stays within 10 % of its peak" } else { "**falls more than 10 % below its peak**" };
        writeln!(out, "- {}: goodput {verdict} up to twice the rate at saturation.", title(&policy.policy))?;
    }
    writeln!(out)?;
    Ok(())
}

/// What became of servers under steady load.
pub(super) fn soaks(out: &mut String, soaks: &[SoakReport]) -> Result<()> {
    if soaks.is_empty() {
        return Ok(());
    }
    writeln!(out, "### Soak\n")?;
    for soak in soaks {
        writeln!(out, "- {}", soak.sentence())?;
    }
    writeln!(out)?;
    Ok(())
}

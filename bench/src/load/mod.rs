//! Sessions a second at saturation: recorded requests, replayed against the real server as open-loop load.
//!
//! An edge for each of many clients does not fit on one machine, and the server does not know the difference: what the
//! real client says for each request is recorded once a policy on the wire, with its timing, and replayed. Requests
//! arrive as a Poisson process whether or not earlier ones are answered (open loop: a slow server does not slow its
//! visitors down), and latency counts from arrival. Requests that the edge's answer stood for are visitors too: they
//! count as served and cost the server nothing, but for the share of them that is verified afterwards, which is replayed
//! like everything else. That is what risk control is for.
//!
//! Saturation is the highest rate at which the p95 latency of what reaches the server stays below a bound, and at least
//! 95 % of it is answered; "busy" is a failure. The bound is the same for all policies, [`BOUND_OVER_UNLOADED`] times the
//! unloaded p95 of cloud only: none buys throughput with patience, and no long answer is too slow by itself.
//!
//! The search is repeated with other draws of the arrivals; what is reported is the mean over them with its interval. A cut
//! test goes on behind the last search that ended.
//!
//! Past saturation the question is another one: whether the server still gives as many answers in time as it ever does, refuses
//! the rest at once, and keeps its memory. A soak asks the last of it over time.
//!
//! A replayed draft waits as long as it did when it was recorded, and until the correction it goes on from; a session
//! asks one question at a time.
//!
//! | module | what it is |
//! |---|---|
//! | [`script`] | what one request says to the server, and when |
//! | [`recording`] | one pass of the real client, with a listener on its line |
//! | [`arrivals`] | when requests come |
//! | [`session`] | plays a script to the server |
//! | [`trial`] | one rate |
//! | [`saturation`] | the highest rate that is sustained |
//! | [`past`] | rates from there to twice as many |
//! | [`soak`] | a steady rate for half an hour |
//! | [`trend`] | whether memory grows |
//! | [`stage`] | the server and the scripts that all of it needs |
//! | [`outcome`] | what was found, and its file |

mod arrivals;
mod outcome;
mod past;
mod recording;
mod saturation;
mod script;
mod session;
mod soak;
mod stage;
mod trend;
mod trial;

use std::{fs, net::SocketAddr, path::Path};

use anyhow::{Context, Result, ensure};
use clap::Args;

pub(crate) use self::{
    outcome::{LoadReport, LoadSettings, PolicyLoad, Searched, Trial},
    past::TIMES,
    soak::{Arguments as SoakArguments, SoakReport, run as soak},
};
use self::{
    saturation::Search,
    script::Script,
    stage::{SERVER, Stage, StageOptions},
    trial::{Crowd, Unloaded},
};
use crate::{
    report::LOAD_FILE,
    run::{self, BenchPolicy},
};

/// The latency bound over the unloaded 95th percentile of cloud only.
pub(crate) const BOUND_OVER_UNLOADED: f64 = 3.0;

/// Whose load to measure, and how.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Policies; cloud_only is always among them, since it sets the bound
    #[arg(long, value_delimiter = ',', default_value = "cloud_only,co_located,msao,msao_risk")]
    policies: Vec<BenchPolicy>,
    /// Searches of each policy, each with arrivals of its own: intervals come from two on
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    repeats: u32,
    /// After each search go on at 1, 1.5 and 2 times the rate that it found, also where the search was made before
    #[arg(long)]
    past: bool,
    #[command(flatten)]
    options: StageOptions,
}

/// Records, replays, and writes what was found.
///
/// # Errors
/// If a program or a checkpoint is missing, there are no such processors, or the server ends.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let policies = policies(&arguments.policies)?;
    let out = &arguments.options.out;
    fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    let (file, mut stage) = (out.join(LOAD_FILE), Stage::of(&arguments.options)?);
    let mut report = LoadReport::open(&file, stage.settings())?;
    let is_open = |policy: &BenchPolicy| {
        let name = policy.to_string();
        report.repeats(&name) < arguments.repeats || arguments.past && report.lacks_past(&name)
    };
    let policies: Vec<BenchPolicy> = policies.into_iter().filter(is_open).collect();
    if policies.is_empty() {
        eprintln!("{} has all of it already", file.display());
        return Ok(());
    }
    for (policy, scripts) in &stage.record(&policies)? {
        let server = stage.start_server()?;
        measure(arguments, *policy, scripts, server.address(), &file, &mut report)?;
    }
    Ok(())
}

/// Each once, the one that sets the bound first.
fn policies(asked: &[BenchPolicy]) -> Result<Vec<BenchPolicy>> {
    let mut policies = vec![BenchPolicy::CloudOnly];
    for policy in asked {
        ensure_uses_server(*policy)?;
        if !policies.contains(policy) {
            policies.push(*policy);
        }
    }
    Ok(policies)
}

/// A policy without the server is no load on it.
fn ensure_uses_server(policy: BenchPolicy) -> Result<()> {
    ensure!(
        !matches!(policy, BenchPolicy::EdgeOnly | BenchPolicy::LayerSplit),
        "{policy} does not use the server; name others"
    );
    Ok(())
}

/// Searches as often as is asked for and was not done yet, and goes past what was found.
fn measure(
    arguments: &Arguments,
    policy: BenchPolicy,
    scripts: &[Script],
    server: SocketAddr,
    file: &Path,
    report: &mut LoadReport,
) -> Result<()> {
    let name = policy.to_string();
    let reaching_share = reaching_share(policy, scripts)?;
    let Unloaded { median_ms: unloaded_ms, p95_ms } = trial::unloaded(server, scripts)?;
    if report.policies.is_empty() {
        report.bound_ms = BOUND_OVER_UNLOADED * p95_ms;
    }
    let crowd = Crowd {
        server,
        scripts,
        sessions: arguments.options.sessions.into(),
        reaching_share,
        seconds: report.settings.seconds,
        bound_ms: report.bound_ms,
        session_requests: None,
    };
    let repeats = arguments.repeats.max(report.repeats(&name));
    for repeat in 0..repeats {
        let known = report.of(&name).and_then(|known| known.searches.get(repeat as usize)).cloned();
        let mut searched = match known {
            Some(known) if !arguments.past || !known.lacks_past() => continue,
            Some(known) => known,
            None => {
                eprintln!("{policy}: search {} of {repeats}", repeat + 1);
                search(&crowd, repeat, 0.5e3 / unloaded_ms / reaching_share)?
            }
        };
        eprintln!("{policy}: {:.2} requests/s", searched.saturation_per_s);
        if arguments.past && searched.lacks_past() {
            searched.past = past::try_all(&crowd, searched.repeat, searched.saturation_per_s)?;
        }
        let server_peak_bytes = run::child_peak_bytes(SERVER);
        let known = report.of_or_new(&name, reaching_share, unloaded_ms);
        known.server_peak_bytes = known.server_peak_bytes.max(server_peak_bytes);
        known.note(searched);
        // Written after each: a run that is cut keeps what it has.
        report.write(file)?;
    }
    Ok(())
}

/// Share of requests that reach the server.
///
/// # Errors
/// If none does.
fn reaching_share(policy: BenchPolicy, scripts: &[Script]) -> Result<f64> {
    let reaching = scripts.iter().filter(|script| script.reaches_server()).count();
    ensure!(reaching > 0, "no request under {policy} reaches the server: there is no load to measure");
    Ok(reaching as f64 / scripts.len() as f64)
}

/// The highest rate that is sustained with one draw of the arrivals.
fn search(crowd: &Crowd<'_>, repeat: u32, first_per_s: f64) -> Result<Searched> {
    let mut search = Search::from(first_per_s);
    while let Some(rate_per_s) = search.next_rate() {
        let trial = crowd.try_rate(repeat, rate_per_s)?;
        let word = if trial.is_sustained { "sustained" } else { "not sustained" };
        eprintln!(
            "  {rate_per_s:.2}/s {word}: p95 {:.0} ms, {} of {} answered, {} busy",
            trial.p95_ms,
            trial.answered,
            trial.arrivals - trial.stood,
            trial.busy
        );
        search.note(trial);
    }
    Ok(Searched {
        repeat,
        saturation_per_s: search.sustained_per_s().unwrap_or(0.0),
        overload_per_s: search.overload_per_s(),
        trials: search.into_trials(),
        past: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_of_the_bound_is_first_and_none_is_measured_twice() {
        let asked = [BenchPolicy::Msao, BenchPolicy::CloudOnly, BenchPolicy::Msao];
        assert_eq!(policies(&asked).unwrap(), [BenchPolicy::CloudOnly, BenchPolicy::Msao]);
        assert!(policies(&[BenchPolicy::EdgeOnly]).is_err());
    }
}

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
//! | [`outcome`] | what was found |

mod arrivals;
mod outcome;
mod recording;
mod saturation;
mod script;
mod session;
mod trial;

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use clap::Args;
use msao_tests::{places, server::Server};

pub(crate) use self::outcome::{LoadReport, PolicyLoad};
use self::{
    recording::Recorder,
    saturation::Search,
    script::Script,
    trial::{Crowd, Unloaded},
};
use crate::{
    link::Scenario,
    report::LOAD_FILE,
    run::{self, BenchPolicy, ClientSettings, Edge, RequestSet},
};

/// The latency bound over the unloaded 95th percentile of cloud only.
pub(crate) const BOUND_OVER_UNLOADED: f64 = 3.0;
/// Name of the server's program.
const SERVER: &str = "msao-server";
/// After so long a request of the recording has failed.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Whose load to measure, and how.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Policies; cloud_only is always among them, since it sets the bound
    #[arg(long, value_delimiter = ',', default_value = "cloud_only,co_located,msao,msao_risk")]
    policies: Vec<BenchPolicy>,
    /// Folder of the requests, as models/training/make_eval.py writes it; without it the shipped samples are asked
    #[arg(long)]
    set: Option<PathBuf>,
    /// Requests that arrivals are drawn from, at most
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1000))]
    requests: u16,
    /// Network of the recording; load itself comes without one
    #[arg(long, default_value = "20ms-200mbit")]
    network: Scenario,
    /// Seconds of arrivals at each rate; more where fewer than 40 requests would reach the server
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=600))]
    seconds: u16,
    /// Sessions that are open; a server takes 64 and queues 16 unless MSAO_MAX_SESSIONS and MSAO_QUEUE say otherwise
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..=500))]
    sessions: u16,
    /// Processors of the server, such as 0-3
    #[arg(long)]
    server_cpus: Option<String>,
    /// Processors of everything else
    #[arg(long)]
    client_cpus: Option<String>,
    /// Folder for load.json
    #[arg(long, default_value = "target/bench/run")]
    out: PathBuf,
}

/// Records, replays, and writes what was found.
///
/// # Errors
/// If a program or a checkpoint is missing, there are no such processors, or the server ends.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let policies = policies(&arguments.policies)?;
    fs::create_dir_all(&arguments.out).with_context(|| format!("cannot make {}", arguments.out.display()))?;
    let scripts = record(arguments, &policies)?;
    let mut report = LoadReport {
        requests: scripts.first().map_or(0, |(_, scripts)| scripts.len()),
        bound_ms: 0.0,
        seconds: f64::from(arguments.seconds),
        sessions: arguments.sessions.into(),
        server_cpus: arguments.server_cpus.clone(),
        policies: Vec::new(),
    };
    for (policy, scripts) in &scripts {
        let server = start_server(arguments)?;
        let load = measure(*policy, scripts, server.address(), &mut report, arguments)?;
        eprintln!("{policy}: {:.2} requests/s", load.saturation_per_s);
        report.policies.push(load);
        // Written after each: a run that is cut keeps what it has.
        let file = arguments.out.join(LOAD_FILE);
        let json = serde_json::to_string_pretty(&report)? + "\n";
        fs::write(&file, json).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

/// Each once, the one that sets the bound first.
fn policies(asked: &[BenchPolicy]) -> Result<Vec<BenchPolicy>> {
    let mut policies = vec![BenchPolicy::CloudOnly];
    for policy in asked {
        ensure!(
            !matches!(policy, BenchPolicy::EdgeOnly | BenchPolicy::LayerSplit),
            "{policy} does not use the server; leave it out of --policies"
        );
        if !policies.contains(policy) {
            policies.push(*policy);
        }
    }
    Ok(policies)
}

/// Holds this process to processors, where some are named.
fn hold(processors: Option<&String>) -> Result<()> {
    if let Some(processors) = processors {
        ensure!(run::pin(processors)?, "processors cannot be held: there is no `taskset` here");
    }
    Ok(())
}

/// What is started inherits the processors of who starts it: first the server's, then ours.
fn start_server(arguments: &Arguments) -> Result<Server> {
    hold(arguments.server_cpus.as_ref())?;
    let server = Server::start()?;
    hold(arguments.client_cpus.as_ref())?;
    Ok(server)
}

/// The scripts of every policy.
fn record(arguments: &Arguments, policies: &[BenchPolicy]) -> Result<Vec<(BenchPolicy, Vec<Script>)>> {
    let set = arguments.set.as_deref();
    let mut set = set.map_or_else(RequestSet::gallery, |folder: &Path| RequestSet::folder(folder))?;
    let mut requests = Vec::new();
    for index in 0..set.len() {
        if requests.len() == usize::from(arguments.requests) {
            break;
        }
        requests.extend(set.load(index)?);
    }
    ensure!(!requests.is_empty(), "the set is empty; make it with `cargo xtask bench`");
    eprintln!("recording {} requests a policy ...", requests.len());
    let server = start_server(arguments)?;
    let settings =
        ClientSettings { edge: Arc::new(Edge::start()?), judged: None, timeout: TIMEOUT, replays: false };
    let mut recorder = Recorder::start(server.address(), arguments.network, settings)?;
    let mut scripts = Vec::new();
    for policy in policies {
        if *policy == BenchPolicy::MsaoRisk && !recorder.judge(&places::weights().join(run::CONFIDENCE))? {
            eprintln!("{policy} is left out: there are no judged answers of this pair to calibrate on");
            continue;
        }
        scripts.push((*policy, recorder.record(*policy, &requests)?));
    }
    Ok(scripts)
}

fn measure(
    policy: BenchPolicy,
    scripts: &[Script],
    server: SocketAddr,
    report: &mut LoadReport,
    arguments: &Arguments,
) -> Result<PolicyLoad> {
    let reaching = scripts.iter().filter(|script| script.reaches_server()).count();
    ensure!(reaching > 0, "no request under {policy} reaches the server: there is no load to measure");
    let reaching_share = reaching as f64 / scripts.len() as f64;
    let Unloaded { median_ms: unloaded_ms, p95_ms } = trial::unloaded(server, scripts)?;
    if report.policies.is_empty() {
        report.bound_ms = BOUND_OVER_UNLOADED * p95_ms;
    }
    let crowd = Crowd {
        server,
        scripts,
        sessions: arguments.sessions.into(),
        reaching_share,
        seconds: report.seconds,
        bound_ms: report.bound_ms,
    };
    let mut search = Search::from(0.5e3 / unloaded_ms / reaching_share);
    while let Some(rate_per_s) = search.next_rate() {
        let trial = crowd.try_rate(rate_per_s)?;
        let word = if trial.is_sustained { "sustained" } else { "not sustained" };
        eprintln!(
            "  {policy}: {rate_per_s:.2}/s {word}: p95 {:.0} ms, {} of {} answered, {} busy",
            trial.p95_ms,
            trial.answered,
            trial.arrivals - trial.stood,
            trial.busy
        );
        search.note(trial);
    }
    Ok(PolicyLoad {
        policy: policy.to_string(),
        reaching_share,
        unloaded_ms,
        saturation_per_s: search.sustained_per_s().unwrap_or(0.0),
        overload_per_s: search.overload_per_s(),
        server_peak_bytes: run::child_peak_bytes(SERVER),
        trials: search.into_trials(),
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

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
//! | [`outcome`] | what was found, and its file |

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
use msao_tests::{cloud::CloudClient, server::Server};

pub(crate) use self::outcome::{LoadReport, LoadSettings, PolicyLoad, Searched};
use self::{
    recording::Recorder,
    saturation::Search,
    script::Script,
    trial::{Crowd, Unloaded},
};
use crate::{
    link::Scenario,
    report::LOAD_FILE,
    run::{self, BenchPolicy, ClientSettings, Edge, ModelOptions, Models, Request, RequestSet},
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
    /// Searches of each policy, each with arrivals of its own: intervals come from two on
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    repeats: u32,
    #[command(flatten)]
    models: ModelOptions,
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
    /// Folder of load.json; searches that it has already are not made again
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
    let (file, models) = (arguments.out.join(LOAD_FILE), Models::of(&arguments.models)?);
    let requests = requests(arguments)?;
    let settings = LoadSettings {
        models: Some(models.to_string()),
        network: Some(arguments.network.to_string()),
        requests: requests.len(),
        seconds: f64::from(arguments.seconds),
        sessions: arguments.sessions.into(),
        server_cpus: arguments.server_cpus.clone(),
    };
    let mut report = LoadReport::open(&file, settings)?;
    let is_open = |policy: &BenchPolicy| report.repeats(&policy.to_string()) < arguments.repeats;
    let policies: Vec<BenchPolicy> = policies.into_iter().filter(is_open).collect();
    if policies.is_empty() {
        eprintln!("{} has all of it already", file.display());
        return Ok(());
    }
    let stage = Stage { arguments, models, file };
    for (policy, scripts) in &stage.record(&policies, requests)? {
        let server = stage.start_server()?;
        stage.measure(*policy, scripts, server.address(), &mut report)?;
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

/// The requests that arrivals are drawn from.
fn requests(arguments: &Arguments) -> Result<Vec<Request>> {
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
    Ok(requests)
}

/// What all policies of a test share.
struct Stage<'a> {
    arguments: &'a Arguments,
    models: Models,
    file: PathBuf,
}

impl Stage<'_> {
    /// What is started inherits the processors of who starts it: first the server's, then ours.
    fn start_server(&self) -> Result<Server> {
        hold(self.arguments.server_cpus.as_ref())?;
        let server = Server::start_with(&self.models.server_flags())?;
        hold(self.arguments.client_cpus.as_ref())?;
        Ok(server)
    }

    /// The scripts of every policy that can be measured with these models.
    fn record(
        &self,
        policies: &[BenchPolicy],
        mut requests: Vec<Request>,
    ) -> Result<Vec<(BenchPolicy, Vec<Script>)>> {
        let server = self.start_server()?;
        let running = CloudClient::connect(server.address())?.model;
        if running.audio.is_none() {
            requests.retain(|request| request.prompt.audio.is_none());
            eprintln!("requests with a recording are left out: the target cannot hear");
            ensure!(!requests.is_empty(), "no request is left; give a --set with pictures");
        }
        let policies = self.models.able(policies, &running);
        eprintln!("recording {} requests a policy ...", requests.len());
        let settings = ClientSettings {
            edge: Arc::new(Edge::start(&self.models.edge.folder)?),
            judged: self.models.judged(&running.name)?.map(Arc::new),
            timeout: TIMEOUT,
            replays: false,
        };
        let mut recorder = Recorder::start(server.address(), self.arguments.network, settings)?;
        policies.into_iter().map(|policy| Ok((policy, recorder.record(policy, &requests)?))).collect()
    }

    /// Searches as often as is asked for and was not done yet.
    fn measure(
        &self,
        policy: BenchPolicy,
        scripts: &[Script],
        server: SocketAddr,
        report: &mut LoadReport,
    ) -> Result<()> {
        let name = policy.to_string();
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
            sessions: self.arguments.sessions.into(),
            reaching_share,
            seconds: report.settings.seconds,
            bound_ms: report.bound_ms,
        };
        let repeats = self.arguments.repeats;
        for repeat in report.repeats(&name)..repeats {
            eprintln!("{policy}: search {} of {repeats}", repeat + 1);
            let searched = search(&crowd, repeat, 0.5e3 / unloaded_ms / reaching_share)?;
            eprintln!("{policy}: {:.2} requests/s", searched.saturation_per_s);
            let server_peak_bytes = run::child_peak_bytes(SERVER);
            match report.of(&name) {
                Some(known) => {
                    known.server_peak_bytes = known.server_peak_bytes.max(server_peak_bytes);
                    known.searches.push(searched);
                }
                None => report.policies.push(PolicyLoad {
                    policy: name.clone(),
                    reaching_share,
                    unloaded_ms,
                    server_peak_bytes,
                    searches: vec![searched],
                }),
            }
            // Written after each: a run that is cut keeps what it has.
            report.write(&self.file)?;
        }
        Ok(())
    }
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

//! The comparison: every policy over every network on the same requests, through the real server and the real edge engine.
//!
//! Nothing is simulated but the network. The server is the `msao-server` binary as an operator starts it; the client is the
//! page's own session and orchestrator with the native engine; bytes are those that crossed the emulated link. What came of
//! each request is a line of `journal.jsonl`, and a run that was cut goes on where it was.
//!
//! | file | what |
//! |---|---|
//! | `policy` | what is compared |
//! | `request` | questions with their media, as captured and as encoded for the wire |
//! | `matrix` | networks x policies x requests, and in which order |
//! | `network` | the same moment of a changing network for all |
//! | `models`, `judged` | what both sides run, and judged answers of the pair |
//! | `part` | a share of the requests, for runs side by side |
//! | `sides` | the server's process and the edge |
//! | `runner` | what a policy is to the matrix |
//! | `client`, `client/hearing`, `course` | a client under one policy, what it makes of what it hears, one request of it |
//! | `edge`, `steering` | the engine on its thread, and what is said to it |
//! | `online`, `wire`, `inbox` | the session, its connection, and what is heard |
//! | `split_side` | the layer-wise split |
//! | `journal`, `progress` | what is kept, and how far it is |
//! | `circumstances`, `memory`, `cpus` | what was measured on |
//! | `quick` | what a quick run asserts |

mod circumstances;
mod client;
mod course;
mod cpus;
mod edge;
mod inbox;
mod journal;
mod judged;
mod matrix;
mod memory;
mod models;
mod network;
mod online;
mod part;
mod policy;
mod progress;
mod quick;
mod request;
mod runner;
mod sides;
mod split_side;
mod steering;
mod wire;

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};

use self::{circumstances::Circumstances, journal::Journal, matrix::Matrix, part::Part, quick::Findings};
pub(crate) use self::{
    client::{Client, ClientSettings},
    cpus::pin,
    edge::Edge,
    memory::{child_peak_bytes, child_resident_bytes},
    models::{ModelOptions, Models, Target, Upstream},
    policy::BenchPolicy,
    request::{Request, RequestSet},
    runner::PolicyRunner,
    sides::{SideSettings, Sides},
};
use crate::{link::Scenario, machine::Machine};

/// Of the recorded networks of a full run.
const TRACE_SEED: u64 = 1;
/// Requests asked of each policy over each network before the first that is recorded: a page's session is a long one.
const WARM_UP_REQUESTS: usize = 4;

/// What to compare, and on what.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Folder of the requests, as models/training/make_eval.py writes it; without it the shipped samples are asked
    #[arg(long)]
    set: Option<PathBuf>,
    /// At most so many requests of the set
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    requests: Option<u32>,
    /// A share of them, such as 2/4: runs of 1/4 to 4/4 side by side, each with an --out of its own, make one report
    #[arg(long, default_value = "1/1", conflicts_with = "quick")]
    part: Part,
    /// Networks such as 20ms-200mbit,lte:7; without it all of the paper, of access networks, and recorded ones
    #[arg(long, value_delimiter = ',')]
    networks: Vec<Scenario>,
    /// Policies; without it all of them
    #[arg(long, value_delimiter = ',')]
    policies: Vec<BenchPolicy>,
    #[command(flatten)]
    models: ModelOptions,
    /// Folder of journal.jsonl and machine.json; what is there already is not measured again
    #[arg(long, default_value = "target/bench/run")]
    out: PathBuf,
    /// A few shipped samples over two networks, and orderings that have to hold
    #[arg(long, conflicts_with_all = ["set", "networks", "policies", "model", "edge_model", "draft_model"])]
    quick: bool,
    /// Hold each verified answer to the target's own on the same kept inputs; a quick run does
    #[arg(long)]
    replay: bool,
    /// Processors of the server, such as 0-3
    #[arg(long)]
    server_cpus: Option<String>,
    /// Processors of the edge and of everything else here
    #[arg(long)]
    edge_cpus: Option<String>,
    /// Seconds after which a request has failed
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout_s: u64,
}

/// Compares, and writes what came of it.
///
/// # Errors
/// If the run cannot go on, or a quick run finds what must not be.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let set = match &arguments.set {
        Some(folder) => RequestSet::folder(folder)?,
        None => RequestSet::gallery()?,
    };
    let (networks, mut policies, most) = if arguments.quick {
        let networks = quick::NETWORKS.map(str::parse).into_iter().collect::<Result<_, _>>()?;
        (networks, quick::POLICIES.to_vec(), quick::REQUESTS)
    } else {
        (networks(arguments), policies(arguments), usize::MAX)
    };
    let warm_up_requests = if arguments.quick { quick::WARM_UP_REQUESTS } else { WARM_UP_REQUESTS };
    let requests = arguments.requests.map_or(most, |count| count as usize).min(set.len());
    ensure!(requests > 0, "the set is empty; make it with `cargo xtask bench`");
    fs::create_dir_all(&arguments.out).with_context(|| format!("cannot make {}", arguments.out.display()))?;
    let journal_file = arguments.out.join("journal.jsonl");
    let models = Models::of(&arguments.models)?;
    let mut journal = Journal::open(&journal_file, &models.to_string())?;

    let machine = Machine::describe();
    eprintln!("starting the server and loading the edge ...");
    let settings = SideSettings {
        models,
        server_cpus: arguments.server_cpus.clone(),
        edge_cpus: arguments.edge_cpus.clone(),
        timeout: Duration::from_secs(arguments.timeout_s),
        replays: arguments.replay || arguments.quick,
        splits: policies.contains(&BenchPolicy::LayerSplit),
    };
    let mut sides = Sides::start(&settings)?;
    policies = settings.models.able(&policies, &sides.target);
    ensure!(!policies.is_empty(), "no policy is left to measure with these models");
    let cpus = if sides.pinned { [settings.server_cpus, settings.edge_cpus] } else { [None, None] };
    if !sides.pinned {
        eprintln!("server and edge share all processors: there is no `taskset` here");
    } else if cpus.iter().any(Option::is_none) {
        eprintln!("server and edge share processors; name some with --server-cpus and --edge-cpus");
    }
    let mut circumstances =
        Circumstances::now(machine, (settings.models, sides.target.clone()), cpus, warm_up_requests);
    let circumstances_file = arguments.out.join("machine.json");
    // Now as well: a run that is cut leaves records, and they need their machine.
    circumstances.write(&circumstances_file, quick::Replays::default())?;
    let hears = sides.target.audio.is_some();
    if !hears {
        eprintln!("requests with a recording are left out: the target cannot hear");
    }
    let part = arguments.part;
    let mut matrix = Matrix { set, requests, part, hears, networks, policies, warm_up_requests };
    let replays = matrix.run(&mut journal, &mut sides)?;
    circumstances.write(&circumstances_file, replays)?;
    eprintln!("{} records in {}", journal.records().len(), journal_file.display());
    if replays.compared > 0 {
        let quick::Replays { compared, different } = replays;
        eprintln!(
            "of {compared} verified answers {different} differ from the target's own on the same kept inputs"
        );
    }
    if arguments.quick { judge(&Findings::of(journal.records(), replays)) } else { Ok(()) }
}

fn judge(findings: &Findings) -> Result<()> {
    for held in &findings.held {
        eprintln!("holds: {held}");
    }
    ensure!(findings.violated.is_empty(), "does not hold: {}", findings.violated.join("; "));
    Ok(())
}

fn networks(arguments: &Arguments) -> Vec<Scenario> {
    if arguments.networks.is_empty() {
        [Scenario::paper(), Scenario::access(), Scenario::recorded(TRACE_SEED)].concat()
    } else {
        arguments.networks.clone()
    }
}

fn policies(arguments: &Arguments) -> Vec<BenchPolicy> {
    if arguments.policies.is_empty() {
        BenchPolicy::value_variants().to_vec()
    } else {
        arguments.policies.clone()
    }
}

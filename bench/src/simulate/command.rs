//! The `simulate` command.
//!
//! `--times` takes a file of measured step times, in the form of [`PairTimes`]:
//!
//! ```json
//! { "times": { "probe_ms": 1.6, "edge_prefill": { "base_ms": 10, "per_unit_ms": 0.2 }, "edge_decode_ms": 0.2,
//!              "target_prefill": { "base_ms": 20, "per_unit_ms": 1.5 },
//!              "target_pass": { "base_ms": 2.2, "per_row_ms": 0.4 },
//!              "co_located_prefill": { "base_ms": 10, "per_unit_ms": 0.2 },
//!              "co_located_pass": { "base_ms": 0.2, "per_row_ms": 0.05 } },
//!   "token_flops": { "edge": 1.2e6, "target": 2.3e7, "co_located": 1.2e6 }, "max_batch": 8 }
//! ```
//!
//! `--journal` holds the simulator to measured runs: see [`replay`](super::replay).
//!
//! `--records` takes the outcomes of `cargo xtask eval` in place of drawn requests.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};

use super::hardware::{
    A100_40GB, EAGER, GRAPHS, H200, Hardware, LAPTOP_M3, PHONE_8_GEN_3, RTX_3090, Runtime,
};
use super::model_size::{QWEN2_5_VL_7B, QWEN2_VL_2B};
use super::replay::{Compared, Journal};
use super::report::Report;
use super::roofline::Pair;
use super::scenario::Network;
use super::settings::{Base, PairTimes, Setting};
use super::workload::{Drawn, Workload, draw, read_outcomes};
use crate::link;

/// Requests drawn; half of them calibrate.
const DRAWN: usize = 8_000;
/// Requests that share a pass on a GPU.
const GPU_BATCH: usize = 32;
/// Requests that each policy of a measured run is simulated for.
const REPLAYED_REQUESTS: usize = 12_000;
/// What is simulated of a measured run.
const REPLAYED: &str = "Measured runs again: step times and their spread are from the spans of every second request, and \
    the others are simulated and compared; then the halves change places. Of a compared request its work is taken \
    (operations, bytes, tokens, which drafts agree, whether the edge's answer stands) and no time.";
/// Layers of the target that the layer-wise split runs on the edge: as many as its memory and speed suggest.
const SPLIT_LAYERS: f64 = 7.0;
/// Most loads of one command.
const MAX_LOADS: usize = 32;
/// Largest file of step times.
const MAX_TIMES_BYTES: u64 = 1 << 20;
/// Bytes a second in a megabit a second.
const BYTES_PER_S_OF_MBIT: f64 = 125_000.0;
/// The paper's network.
const PAPER_MBIT_PER_S: [f64; 3] = [200.0, 300.0, 400.0];
const PAPER_RTT_MS: f64 = 20.0;

/// What to simulate.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The paper's setting: RTX 3090 and A100, 200 to 400 Mbit/s, 20 ms, short and long answers
    #[arg(long)]
    paper: bool,
    /// Numbers of clients at one server, such as 10,100,1000,10000
    #[arg(long, value_delimiter = ',')]
    clients: Vec<usize>,
    /// The clients' machine
    #[arg(long, value_enum, default_value_t = Edge::Laptop)]
    edge: Edge,
    /// The server's machine
    #[arg(long, value_enum, default_value_t = Cloud::A100)]
    cloud: Cloud,
    /// Length of drawn answers
    #[arg(long, value_enum, default_value_t = Answers::Short)]
    answers: Answers,
    /// Questions a second that come whoever is being served, such as 5,10,20
    #[arg(long, value_delimiter = ',')]
    offered_per_s: Vec<f64>,
    /// Rate of each client's link in Mbit/s; the paper has its own
    #[arg(long, default_value_t = 50.0)]
    mbit_per_s: f64,
    /// Mbit/s that all clients share on their way to the server; without it there is no such limit
    #[arg(long)]
    ingress_mbit_per_s: Option<f64>,
    /// Round trip in ms; the paper has its own
    #[arg(long, default_value_t = 40.0)]
    rtt_ms: f64,
    /// Mean time between an answer and the next question in seconds, for --clients
    #[arg(long, default_value_t = 60.0)]
    think_s: f64,
    /// Measured step times in place of reckoned ones
    #[arg(long)]
    times: Option<PathBuf>,
    /// Outcomes of an evaluation in place of drawn requests
    #[arg(long)]
    records: Option<PathBuf>,
    /// Journals of measured runs that are to be simulated again and compared
    #[arg(long, value_delimiter = ',')]
    journal: Vec<PathBuf>,
    /// Networks of those runs, such as 20ms-200mbit; without it all that do not change
    #[arg(long, value_delimiter = ',', requires = "journal")]
    network: Vec<link::Scenario>,
    /// Of all random choices
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Folder for simulated.json and simulated.md
    #[arg(long, default_value = "target/simulate")]
    out: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Edge {
    Rtx3090,
    Laptop,
    Phone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Cloud {
    A100,
    H200,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Answers {
    /// A word or two
    Short,
    /// A paragraph
    Long,
}

/// Simulates, and writes what came of it.
///
/// # Errors
/// If nothing is asked for, a file cannot be read or written, or a setting is out of range.
pub(crate) fn run(options: &Options) -> Result<()> {
    let (mut settings, mut basis) = (Vec::new(), Vec::new());
    if options.paper {
        basis.push(
            "Paper: Qwen2-VL-2B on an RTX 3090, Qwen2.5-VL-7B on an A100 40 GB, by the roofline.".to_owned(),
        );
        for answers in [Answers::Short, Answers::Long] {
            for runtime in [EAGER, GRAPHS] {
                let base = reckoned(options.seed, (RTX_3090, A100_40GB, runtime), answers)?;
                let title = |what: &str| format!("{answers:?} answers, {} runtime, {what}", runtime.name);
                for rate in PAPER_MBIT_PER_S {
                    let network = Network::symmetric(rate, PAPER_RTT_MS);
                    settings.push(base.unloaded(title(&format!("{rate} Mbit/s, one client")), network)?);
                }
                let network = Network::symmetric(PAPER_MBIT_PER_S[2], PAPER_RTT_MS);
                settings.push(base.saturated(title("400 Mbit/s, 1000 clients without pause"), network)?);
            }
        }
    }
    if !options.clients.is_empty() || !options.offered_per_s.is_empty() {
        basis.push(described(options));
        settings.extend(loads(options)?);
    }
    let compared = replayed(options)?;
    if !compared.is_empty() {
        basis.push(REPLAYED.to_owned());
    }
    if settings.is_empty() && compared.is_empty() {
        bail!(
            "nothing to simulate: give --paper, --journal, --offered-per-s or --clients, such as 10,100,1000"
        );
    }
    let text = Report { basis: basis.join(" "), compared, settings }.write(&options.out)?;
    eprintln!("{text}\nwritten to {}", options.out.display());
    Ok(())
}

/// The measured runs again.
fn replayed(options: &Options) -> Result<Vec<Compared>> {
    let mut compared = Vec::new();
    for file in &options.journal {
        let journal = Journal::read(file)?;
        let names = journal.networks().filter_map(|name| name.parse::<link::Scenario>().ok());
        for scenario in names.filter(|it| options.network.is_empty() || options.network.contains(it)) {
            if let link::Scenario::Steady(steady) = scenario {
                let network = Network::of(&steady.shape());
                compared.extend(journal.replay(
                    &scenario.to_string(),
                    network,
                    REPLAYED_REQUESTS,
                    options.seed,
                )?);
            }
        }
    }
    ensure!(
        compared.is_empty() == options.journal.is_empty(),
        "none of these networks is in the journal, or it changes: name one such as 20ms-200mbit"
    );
    Ok(compared)
}

/// The numbers of clients and the rates that are asked for, and the most that the server can do.
fn loads(options: &Options) -> Result<Vec<Setting>> {
    let asked = options.clients.len() + options.offered_per_s.len();
    ensure!(asked <= MAX_LOADS, "{asked} loads: give at most {MAX_LOADS} in one command");
    let base = chosen(options)?;
    let network = Network {
        ingress_bytes_per_s: options.ingress_mbit_per_s.map(|rate| rate * BYTES_PER_S_OF_MBIT),
        ..Network::symmetric(options.mbit_per_s, options.rtt_ms)
    };
    let think_ms = 1000.0 * options.think_s;
    let of_clients = options
        .clients
        .iter()
        .map(|&clients| base.with_clients(format!("{clients} clients"), network, clients, think_ms));
    let of_rates = options
        .offered_per_s
        .iter()
        .map(|&rate| base.offered(format!("{rate} questions a second"), network, rate));
    let saturated = base.saturated("1000 clients without pause".to_owned(), network);
    of_clients.chain(of_rates).chain([saturated]).collect()
}

/// Step times and requests as the options say.
fn chosen(options: &Options) -> Result<Base> {
    let edge = match options.edge {
        Edge::Rtx3090 => RTX_3090,
        Edge::Laptop => LAPTOP_M3,
        Edge::Phone => PHONE_8_GEN_3,
    };
    let cloud = match options.cloud {
        Cloud::A100 => A100_40GB,
        Cloud::H200 => H200,
    };
    let mut base = reckoned(options.seed, (edge, cloud, GRAPHS), options.answers)?;
    if let Some(file) = &options.times {
        let bytes = fs::metadata(file).with_context(|| format!("cannot read {}", file.display()))?.len();
        ensure!(
            bytes <= MAX_TIMES_BYTES,
            "{} has {bytes} bytes: step times take no more than {MAX_TIMES_BYTES}",
            file.display()
        );
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        base.pair = serde_json::from_str(&text).with_context(|| format!("in {}", file.display()))?;
    }
    if let Some(file) = &options.records {
        base.workload = Workload::new(read_outcomes(file)?)?;
    }
    Ok(base)
}

fn described(options: &Options) -> String {
    let times = match &options.times {
        Some(_) => "measured step times".to_owned(),
        None => format!("2B on {:?} and 7B on {:?} by the roofline", options.edge, options.cloud),
    };
    let requests = match &options.records {
        Some(_) => "requests of an evaluation".to_owned(),
        None => format!("drawn requests with {:?} answers", options.answers),
    };
    format!(
        "Load: {times}, {requests}; links of {} Mbit/s with a round trip of {} ms; clients think for {} s.",
        options.mbit_per_s, options.rtt_ms, options.think_s
    )
}

/// The published pair on named machines.
fn reckoned(
    seed: u64,
    (edge, cloud, runtime): (Hardware, Hardware, Runtime),
    answers: Answers,
) -> Result<Base> {
    let drawn = match answers {
        Answers::Short => Drawn::VQA,
        Answers::Long => Drawn::VQA_LONG,
    };
    let sizes = (&QWEN2_VL_2B, &QWEN2_5_VL_7B);
    let pair = Pair {
        edge,
        cloud,
        draft: QWEN2_VL_2B,
        target: QWEN2_5_VL_7B,
        runtime,
        prompt_tokens: drawn.image_tokens,
        split_layers: SPLIT_LAYERS,
    };
    Ok(Base {
        pair: PairTimes { times: pair.step_times(), token_flops: pair.token_flops(), max_batch: GPU_BATCH },
        workload: Workload::new(draw(&drawn, sizes, DRAWN, seed))?,
        seed,
    })
}

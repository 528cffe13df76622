//! `msao-bench link`: the proxy alone, for trying things by hand.

use std::{
    fs,
    io::BufRead,
    net::{SocketAddr, ToSocketAddrs},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use clap::Args;

use super::{Link, Scenario, error::LinkError, shape::Shape, trace::Trace};

/// A trace of a day in small steps.
const MOST_FILE_BYTES: u64 = 64 << 20;

const REPORT_EVERY: Duration = Duration::from_secs(1);

/// What to emulate, and between whom.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Where clients connect, such as 127.0.0.1:8081; without, a free port of this machine
    #[arg(long)]
    listen: Option<String>,
    /// The server
    #[arg(long, default_value = "127.0.0.1:8080")]
    to: String,
    /// Rate from client to server
    #[arg(long, default_value_t = 20.0)]
    up_mbit: f64,
    /// Rate from server to client
    #[arg(long, default_value_t = 80.0)]
    down_mbit: f64,
    /// Delay there and back
    #[arg(long, default_value_t = 40.0)]
    rtt_ms: f64,
    /// A network by name instead: 20ms-200mbit, lte:SEED, wifi:SEED, train:SEED; `list` names those of the bench
    #[arg(long)]
    network: Option<String>,
    /// A trace in a JSON file instead
    #[arg(long, conflicts_with = "network")]
    trace: Option<PathBuf>,
}

/// Runs until it is interrupted. A line on standard input names another network; an empty one begins the trace anew.
///
/// # Errors
/// If the network cannot be emulated or the address is taken.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let network = match (&arguments.trace, arguments.network.as_deref()) {
        (Some(file), _) => read(file)?,
        (None, Some("list")) => {
            for scenario in [Scenario::paper(), Scenario::access(), Scenario::recorded(1)].concat() {
                eprintln!("{scenario}");
            }
            return Ok(());
        }
        (None, Some(name)) => name.parse::<Scenario>()?.trace(),
        (None, None) => {
            Shape::new(arguments.up_mbit * 1e6, arguments.down_mbit * 1e6, arguments.rtt_ms).into()
        }
    };
    let to = resolve(&arguments.to)?;
    let link = Arc::new(match &arguments.listen {
        Some(listen) => Link::start_on(resolve(listen)?, to, network)?,
        None => Link::start(to, network)?,
    });
    eprintln!(
        "{} -> {}; a network's name changes it, an empty line begins anew",
        link.address(),
        arguments.to
    );
    let heard = Arc::clone(&link);
    thread::spawn(move || listen(&heard));
    let mut last = (0, 0);
    loop {
        thread::sleep(REPORT_EVERY);
        let bytes = link.bytes();
        if bytes != last {
            let rate = |now: u64, last: u64| (now - last) as f64 * 8e-6 / REPORT_EVERY.as_secs_f64();
            let (up, down) = (rate(bytes.0, last.0), rate(bytes.1, last.1));
            eprintln!("up {} bytes ({up:.2} Mbit/s), down {} bytes ({down:.2} Mbit/s)", bytes.0, bytes.1);
            last = bytes;
        }
    }
}

/// Does what the lines on standard input say.
fn listen(link: &Link) {
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        match line.trim() {
            "" => link.restart_clock(),
            name => match name.parse::<Scenario>().and_then(|network| link.set(network.trace())) {
                Ok(()) => eprintln!("now {name}"),
                Err(error) => eprintln!("{error}"),
            },
        }
    }
}

fn resolve(address: &str) -> Result<SocketAddr> {
    let mut found = address.to_socket_addrs().with_context(|| format!("{address:?} is no host:port"))?;
    found.next().with_context(|| format!("{address:?} has no address"))
}

fn read(file: &Path) -> Result<Trace, LinkError> {
    let fail = |reason: String| LinkError::File { file: file.display().to_string(), reason };
    let length = fs::metadata(file).map_err(|error| fail(error.to_string()))?.len();
    if length > MOST_FILE_BYTES {
        return Err(fail(format!("it has {length} bytes, at most {MOST_FILE_BYTES} are read")));
    }
    let json = fs::read(file).map_err(|error| fail(error.to_string()))?;
    let trace: Trace = serde_json::from_slice(&json).map_err(|error| fail(error.to_string()))?;
    trace.check()?;
    Ok(trace)
}

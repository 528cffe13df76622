//! The layer-wise split under the matrix: its server as a process of its own, and its edge behind a link.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use msao_models::{Assistant, Prompt};
use msao_tests::{leash::Leash, native};

use super::{
    edge::MAX_NEW_TOKENS,
    request::{Request, RequestSet},
    runner::{Answered, PolicyRunner},
};
use crate::{
    clock::now_ms,
    link::{Link, Scenario},
    record::Record,
    split::{CutTimes, POLICY, SplitRunner, Uplink},
};

/// Loading it included, on a machine that is busy with other things.
const START_TIMEOUT: Duration = Duration::from_secs(120);
/// After a cut, before the first new attempt; the session of the page pauses as long.
const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// Requests that every cut is measured on.
const MEASURED_REQUESTS: usize = 4;

/// The server's half, running, and what the edge's half needs.
pub(super) struct SplitSide {
    _server: Leash,
    address: SocketAddr,
    target: Assistant,
    times: Option<CutTimes>,
}

impl SplitSide {
    /// Starts the server's half of the checkpoint in a folder and loads the other.
    ///
    /// # Errors
    /// If the checkpoint is missing or the server does not start.
    pub(super) fn start(checkpoint: &str) -> Result<Self> {
        // Bound to port 0 to learn a free one; free again when the listener is dropped.
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let arguments = ["split-server", "--listen", &address.to_string(), "--checkpoint", checkpoint];
        let log = log(address.port());
        let mut server = Leash::start(&std::env::current_exe()?, &arguments.map(str::to_owned), &log)?;
        let deadline = Instant::now() + START_TIMEOUT;
        while TcpStream::connect(address).is_err() {
            let ended = server.ended()?;
            if ended.is_some() || Instant::now() > deadline {
                let words = std::fs::read_to_string(&log).unwrap_or_default();
                bail!("the split server does not start ({ended:?}): {words}");
            }
            thread::sleep(Duration::from_millis(50));
        }
        // Nobody reads it once the server runs; without the name it goes with the process.
        let _ = std::fs::remove_file(log);
        Ok(Self { _server: server, address, target: native::load(checkpoint)?, times: None })
    }

    /// Where its server listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// An edge behind a link, with the best cut for its network.
    ///
    /// # Errors
    /// If measuring the cuts fails.
    pub(super) fn lane(
        &mut self,
        scenario: Scenario,
        link: Arc<Link>,
        timeout: Duration,
        set: &mut RequestSet<'_>,
    ) -> Result<SplitLane> {
        let times = match &mut self.times {
            Some(times) => times,
            None => {
                let prompts = prompts(set)?;
                self.times.insert(CutTimes::measure(&self.target, self.address, &prompts)?)
            }
        };
        let layers = times.best(uplink(scenario));
        let (target, network) = (self.target.clone(), scenario.to_string());
        Ok(SplitLane { target, network, link, layers, timeout, runner: None })
    }
}

/// The last requests of the set, which runs take last.
fn prompts(set: &mut RequestSet<'_>) -> Result<Vec<Prompt>> {
    let mut prompts = Vec::new();
    for index in (0..set.len()).rev() {
        if prompts.len() == MEASURED_REQUESTS {
            break;
        }
        prompts.extend(set.load(index)?.map(|request| Prompt::clone(&request.prompt)));
    }
    Ok(prompts)
}

/// Mean rate and delay of a network.
fn uplink(scenario: Scenario) -> Uplink {
    let trace = scenario.trace();
    let count = trace.segments.len() as f64;
    let mean = |of: &dyn Fn(usize) -> f64| (0..trace.segments.len()).map(of).sum::<f64>() / count;
    Uplink {
        rate_bits_per_s: mean(&|at| trace.segments[at].shape.up.rate_bits_per_s),
        rtt_ms: mean(&|at| trace.segments[at].shape.rtt_ms()),
    }
}

fn log(port: u16) -> PathBuf {
    std::env::temp_dir().join(format!("msao-split-{}-{port}.log", std::process::id()))
}

/// The edge's half over one network.
pub(super) struct SplitLane {
    target: Assistant,
    network: String,
    link: Arc<Link>,
    layers: usize,
    /// After so long a request has failed.
    timeout: Duration,
    /// `None` while there is no connection.
    runner: Option<SplitRunner>,
}

impl PolicyRunner for SplitLane {
    fn prepare(&mut self) {
        if self.runner.is_none() {
            // Without a connection the request fails, and says so.
            self.runner = SplitRunner::start(self.target.clone(), self.link.address(), self.layers).ok();
        }
    }

    fn answer(&mut self, request: &Request) -> Result<Answered> {
        let (before, started_ms) = (self.link.bytes(), now_ms());
        let mut record = loop {
            let begun_ms = now_ms() - started_ms;
            let runner = self.runner.as_mut().context("the split server is away");
            match runner.and_then(|runner| runner.ask(&request.prompt, MAX_NEW_TOKENS as usize)) {
                Ok(answer) => {
                    let is_right = answer.text == request.right_answer;
                    let mut record = answer.record(&request.id, &request.family, &self.network, is_right);
                    for time_ms in [&mut record.first_shown_ms, &mut record.ttft_ms, &mut record.total_ms] {
                        *time_ms += begun_ms;
                    }
                    break record;
                }
                Err(error) if begun_ms >= self.timeout.as_secs_f64() * 1e3 => {
                    break failed(request, &self.network, now_ms() - started_ms, format!("{error:#}"));
                }
                // Asked anew on another connection, as the page asks anew after a cut.
                Err(_) => {
                    self.runner = None;
                    thread::sleep(RETRY_PAUSE);
                    self.prepare();
                }
            }
        };
        let after = self.link.bytes();
        (record.up_bytes, record.down_bytes) = (after.0 - before.0, after.1 - before.1);
        Ok(Answered { record, as_alone: None })
    }
}

fn failed(request: &Request, network: &str, after_ms: f64, reason: String) -> Record {
    Record {
        request: request.id.clone(),
        family: request.family.clone(),
        models: None,
        network: network.to_owned(),
        policy: POLICY.to_owned(),
        answer: String::new(),
        is_right: false,
        first_shown_ms: after_ms,
        ttft_ms: after_ms,
        total_ms: after_ms,
        tokens: 0,
        up_bytes: 0,
        down_bytes: 0,
        vision_bytes: 0,
        audio_bytes: 0,
        edge_flops: 0,
        cloud_flops: 0,
        proposed_drafts: 0,
        accepted_drafts: 0,
        rounds: 0,
        strategy: POLICY.to_owned(),
        stood: false,
        shadow_agreed: None,
        predicted_ms: None,
        spans: Vec::new(),
        failure: Some(reason),
    }
}

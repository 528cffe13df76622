//! A steady rate for half an hour: whether the server's memory and sessions stay what they are.
//!
//! Sessions come and go as visitors do: each is closed after [`SESSION_REQUESTS`] requests, and another opened. Memory and open
//! sessions are sampled all along; the latter are the server's own count, from its `/metrics`.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::{Deserialize, Serialize};
use ureq::Agent;

use super::{
    BOUND_OVER_UNLOADED, ensure_uses_server,
    outcome::{self, LoadReport, LoadSettings, Trial},
    reaching_share, search,
    stage::{SERVER, Stage, StageOptions},
    trend::{Trend, Verdict},
    trial::{self, Crowd},
};
use crate::{
    report::{LOAD_FILE, SOAK_FILE},
    run::{self, BenchPolicy},
};

/// Seconds between two samples, and the least number of them.
const SAMPLE_EVERY_S: f64 = 10.0;
const LEAST_SAMPLES: f64 = 30.0;
/// Requests of one session.
const SESSION_REQUESTS: usize = 50;
/// Share of the rate at saturation, where no rate is named.
const OF_SATURATION: f64 = 0.5;
/// Seconds at each rate of a search that only looks for where to begin.
const QUICK_SECONDS: f64 = 5.0;
/// Samples without an answer of the server, one after the other, after which it is taken for gone.
const MOST_SILENT: usize = 3;
/// A server answers so soon, and has closed what was left of its sessions so soon.
const METRICS_TIMEOUT: Duration = Duration::from_secs(10);
const MOST_METRICS_BYTES: u64 = 4 << 20;

/// Of the log of a server that is gone, so many lines are shown.
const LOG_LINES: usize = 8;

/// How long, and how much.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Minutes of load
    #[arg(long, default_value_t = 30.0, value_parser = minutes)]
    minutes: f64,
    /// User requests a second; half of the rate at saturation in load.json unless named, or of that of a quick search
    #[arg(long, value_parser = rate)]
    rate_per_s: Option<f64>,
    /// Policy whose requests are asked
    #[arg(long, default_value = "msao")]
    policy: BenchPolicy,
    #[command(flatten)]
    options: StageOptions,
}

fn minutes(text: &str) -> Result<f64> {
    within(text, 0.01, 1_440.0)
}

fn rate(text: &str) -> Result<f64> {
    within(text, 0.01, 5_000.0)
}

fn within(text: &str, least: f64, most: f64) -> Result<f64> {
    let value: f64 = text.parse()?;
    ensure!((least..=most).contains(&value), "it is a number from {least} to {most}");
    Ok(value)
}

/// A server under steady load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SoakReport {
    /// How it was measured; `seconds` are those of a search.
    #[serde(flatten)]
    pub(crate) settings: LoadSettings,
    /// Whose requests were asked.
    pub(crate) policy: String,
    /// Latency bound of an answer in time.
    pub(crate) bound_ms: f64,
    /// What came of the load.
    pub(crate) trial: Trial,
    /// Memory over time; `None` where the system does not tell it.
    pub(crate) trend: Option<Trend>,
    /// Sessions that the server still had open some seconds after the last one was closed.
    pub(crate) sessions_left: Option<u64>,
    /// In order.
    pub(crate) samples: Vec<Sample>,
}

/// The server at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sample {
    /// Seconds since the beginning.
    pub(crate) at_s: f64,
    /// Memory that it holds.
    pub(crate) resident_bytes: Option<u64>,
    /// Sessions that are open, by its own count.
    pub(crate) open_sessions: Option<u64>,
}

/// Loads the server, and writes what became of it.
///
/// # Errors
/// If a program or a checkpoint is missing, no rate is sustained, or the server ends.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let Arguments { minutes, policy, options, .. } = arguments;
    ensure_uses_server(*policy)?;
    fs::create_dir_all(&options.out).with_context(|| format!("cannot make {}", options.out.display()))?;
    let mut stage = Stage::of(options)?;
    let settings = stage.settings();
    let known = match arguments.rate_per_s {
        Some(_) => None,
        None => Known::of(&options.out.join(LOAD_FILE), settings.clone(), &policy.to_string())?,
    };
    let recorded = stage.record(&[*policy])?;
    let (_, scripts) = recorded.first().with_context(|| format!("these models cannot do {policy}"))?;
    let reaching_share = reaching_share(*policy, scripts)?;
    let server = stage.start_server()?;
    let unloaded = trial::unloaded(server.address(), scripts)?;
    let bound_ms = known.map_or(BOUND_OVER_UNLOADED * unloaded.p95_ms, |known| known.bound_ms);
    let crowd = Crowd {
        server: server.address(),
        scripts,
        sessions: settings.sessions,
        reaching_share,
        seconds: QUICK_SECONDS,
        bound_ms,
        session_requests: Some(SESSION_REQUESTS),
    };
    let rate_per_s = match (arguments.rate_per_s, known) {
        (Some(named), _) => named,
        (None, Some(known)) => OF_SATURATION * known.saturation_per_s,
        (None, None) => {
            eprintln!("{} has no rate for {policy}: a quick search", options.out.join(LOAD_FILE).display());
            let first_per_s = 0.5e3 / unloaded.median_ms / reaching_share;
            OF_SATURATION * search(&crowd, 0, first_per_s)?.saturation_per_s
        }
    };
    ensure!(rate_per_s > 0.0, "{policy} sustains no rate here; name one with --rate-per-s");
    eprintln!("{policy}: {rate_per_s:.2} requests/s for {minutes} min");
    let (trial, samples) = load(&crowd, rate_per_s, minutes * 60.0)
        .with_context(|| format!("the server's log ends with:\n{}", last_lines(&server.log())))?;
    let memory: Vec<(f64, f64)> =
        samples.iter().filter_map(|one| Some((one.at_s, one.resident_bytes? as f64))).collect();
    let report = SoakReport {
        settings,
        policy: policy.to_string(),
        bound_ms,
        trial,
        trend: Trend::of(&memory),
        sessions_left: sessions_left(&agent(), server.address()),
        samples,
    };
    outcome::write(&report, &options.out.join(SOAK_FILE))?;
    eprintln!("{}", report.sentence());
    Ok(())
}

impl SoakReport {
    /// What was found, in a sentence or two.
    pub(crate) fn sentence(&self) -> String {
        let Trial { rate_per_s, seconds, answered, busy, failed, p50_ms, p95_ms, p99_ms, .. } = self.trial;
        let p99 = p99_ms.map_or_else(|| "not bounded".to_owned(), |ms| format!("{ms:.0}"));
        let memory = self.trend.map_or_else(
            || "Memory over time is not known.".to_owned(),
            |Trend { base_bytes, growth_bytes, low_bytes, high_bytes, allowed_bytes, verdict }| {
                let verdict = match verdict {
                    Verdict::Flat => "memory is flat",
                    Verdict::Grows => "**memory grows**",
                    Verdict::Undecided => "whether memory is flat is **undecided**",
                };
                let [base, growth, low, high, allowed] =
                    [base_bytes, growth_bytes, low_bytes, high_bytes, allowed_bytes]
                        .map(|bytes| format!("{:.1}", bytes / 1e6));
                format!(
                    "The server held {base} MB after the first fifth, and the line through the rest adds {growth} MB ({low} to {high}) over the whole time, where {allowed} are allowed: {verdict}."
                )
            },
        );
        let most = self.samples.iter().filter_map(|sample| sample.open_sessions).max();
        let sessions = most.zip(self.sessions_left).map_or_else(String::new, |(most, left)| {
            format!(" At most {most} sessions were open, and {left} were left when all had gone.")
        });
        format!(
            "{:.1} minutes at {rate_per_s:.2} requests/s under {}: {answered} answers of the server, {busy} refused, {failed} without an answer; p50 {p50_ms:.0} ms, p95 {p95_ms:.0} ms, p99 {p99} ms. {memory}{sessions}",
            seconds / 60.0,
            self.policy
        )
    }
}

/// What a load test has found before.
#[derive(Debug, Clone, Copy)]
struct Known {
    bound_ms: f64,
    saturation_per_s: f64,
}

impl Known {
    fn of(file: &Path, settings: LoadSettings, policy: &str) -> Result<Option<Self>> {
        let report = LoadReport::open(file, settings).context("--rate-per-s names a rate without it")?;
        let rates = report.of(policy).map_or(&[][..], |known| &known.searches);
        let sum: f64 = rates.iter().map(|one| one.saturation_per_s).sum();
        let saturation_per_s = sum / rates.len() as f64;
        Ok((saturation_per_s > 0.0).then_some(Self { bound_ms: report.bound_ms, saturation_per_s }))
    }
}

/// Lets visitors come and samples meanwhile.
fn load(crowd: &Crowd<'_>, rate_per_s: f64, seconds: f64) -> Result<(Trial, Vec<Sample>)> {
    let is_gone = AtomicBool::new(false);
    let (end, ended) = mpsc::channel::<()>();
    let (trial, samples) = thread::scope(|scope| {
        let sampler = scope.spawn(|| watch(crowd.server, seconds, ended, &is_gone));
        let trial = crowd.try_for(0, rate_per_s, seconds, &is_gone);
        drop(end);
        (trial, sampler.join())
    });
    ensure!(!is_gone.into_inner(), "the server does not answer any more");
    Ok((trial?, samples.ok().context("the sampling thread panicked")?))
}

/// Samples until the sender of `ended` is dropped or `seconds` are over; says so in `is_gone` if the server is.
fn watch(server: SocketAddr, seconds: f64, ended: Receiver<()>, is_gone: &AtomicBool) -> Vec<Sample> {
    let (agent, begin) = (agent(), Instant::now());
    let every_s = SAMPLE_EVERY_S.min(seconds / LEAST_SAMPLES);
    let (mut samples, mut silent) = (Vec::new(), 0);
    for place in 0.. {
        let due_s = every_s * f64::from(place);
        if due_s > seconds {
            break;
        }
        let wait = (begin + Duration::from_secs_f64(due_s)).saturating_duration_since(Instant::now());
        if ended.recv_timeout(wait) != Err(RecvTimeoutError::Timeout) {
            break;
        }
        let sample = Sample {
            at_s: begin.elapsed().as_secs_f64(),
            resident_bytes: run::child_resident_bytes(SERVER),
            open_sessions: open_sessions(&agent, server),
        };
        silent = if sample.open_sessions.is_some() { 0 } else { silent + 1 };
        if silent == MOST_SILENT {
            is_gone.store(true, Ordering::Relaxed);
            break;
        }
        tell(&sample, seconds);
        samples.push(sample);
    }
    samples
}

fn last_lines(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}

fn tell(sample: &Sample, seconds: f64) {
    let shown = |value: Option<f64>| value.map_or_else(|| "?".to_owned(), |value| format!("{value:.1}"));
    eprintln!(
        "  {:.0} of {seconds:.0} s: {} MB, {} sessions",
        sample.at_s,
        shown(sample.resident_bytes.map(|bytes| bytes as f64 / 1e6)),
        sample.open_sessions.map_or_else(|| "?".to_owned(), |sessions| sessions.to_string())
    );
}

fn agent() -> Agent {
    Agent::config_builder().timeout_global(Some(METRICS_TIMEOUT)).build().into()
}

/// What the server says in its metrics.
fn open_sessions(agent: &Agent, server: SocketAddr) -> Option<u64> {
    let mut reply = agent.get(format!("http://{server}/metrics")).call().ok()?;
    gauge(&reply.body_mut().with_config().limit(MOST_METRICS_BYTES).read_to_string().ok()?)
}

fn gauge(metrics: &str) -> Option<u64> {
    metrics.lines().find_map(|line| line.strip_prefix("msao_open_sessions ")?.trim().parse().ok())
}

/// Sessions that are open although nobody has one: none, as soon as the server has seen the last one go.
fn sessions_left(agent: &Agent, server: SocketAddr) -> Option<u64> {
    let asked = Instant::now();
    loop {
        let open = open_sessions(agent, server)?;
        if open == 0 || asked.elapsed() > METRICS_TIMEOUT {
            return Some(open);
        }
        thread::sleep(Duration::from_millis(100));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_sessions_are_read_from_metrics() {
        let metrics =
            "# TYPE msao_open_sessions gauge\nmsao_open_sessions_x 3\nmsao_open_sessions 12\n# EOF\n";
        assert_eq!(gauge(metrics), Some(12));
        assert_eq!(gauge("# EOF\n"), None);
    }

    #[test]
    fn a_server_that_is_gone_had_last_words() {
        let log: String = (0..20).map(|line| format!("{line}\n")).collect();
        assert_eq!(last_lines(&log), "12\n13\n14\n15\n16\n17\n18\n19");
        assert_eq!(last_lines("one"), "one");
    }

    #[test]
    fn a_time_and_a_rate_have_bounds() {
        assert_eq!(minutes("0.5").unwrap(), 0.5);
        for text in ["0", "-1", "NaN", "inf", "1e9", "half"] {
            assert!(minutes(text).is_err() && rate(text).is_err(), "{text}");
        }
    }
}

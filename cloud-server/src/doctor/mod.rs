//! `msao-server doctor`: looks at everything the server needs before it serves, and says what is wrong and what helps.
//!
//! It changes nothing and asks nobody but this machine and the upstream engines that are to answer; the hub is not asked, only
//! its cache.

mod files;
mod hub;
mod machine;
mod plan;

use std::fmt::{self, Display, Formatter};
use std::time::Instant;

use crate::config::ServerConfig;
use crate::engine::Readiness;
use crate::startup::prepare;

/// How serious a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// As it should be.
    Good,
    /// The server runs, though not as well as it could.
    Doubtful,
    /// The server does not start, or not with this.
    Bad,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at.
    pub about: &'static str,
    /// What to think of it.
    pub verdict: Verdict,
    /// What was found, and the remedy where one is needed.
    pub says: String,
}

impl Finding {
    fn new(about: &'static str, verdict: Verdict, says: impl Into<String>) -> Self {
        Self { about, verdict, says: says.into() }
    }
}

impl Display for Finding {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let mark = match self.verdict {
            Verdict::Good => "ok",
            Verdict::Doubtful => "warn",
            Verdict::Bad => "FAIL",
        };
        write!(formatter, "{mark:<5}{:<11}{}", self.about, self.says)
    }
}

/// Looks at everything, cheapest first, and hands over each finding as it is made: loading a large model takes its time.
/// Returns the gravest verdict.
pub fn examine(config: &ServerConfig, mut tell: impl FnMut(&Finding)) -> Verdict {
    let mut gravest = Verdict::Good;
    let settled;
    let mut note = |finding: Finding| {
        gravest = gravest.max(finding.verdict);
        tell(&finding);
    };
    note(machine::address(config.listen));
    note(machine::open_files(config.max_sessions));
    note(files::page(&config.page));
    let config = match hub::settled(config, &mut note) {
        Some(found) => {
            settled = found;
            &settled
        }
        // Without its checkpoint there is nothing more to look at.
        None => return Verdict::Bad,
    };
    let checkpoints = files::checkpoints(config);
    for folder in &checkpoints {
        files::as_manifest_says(folder).map(&mut note);
    }
    plan::of_server(config).map(&mut note);
    note(model(config));
    gravest
}

/// Whether what answers can be started: the device opens, the checkpoints load, a first pass runs.
fn model(config: &ServerConfig) -> Finding {
    let started = Instant::now();
    match prepare(config) {
        Ok(state) => {
            if let Readiness::NotReady { reason } = state.engine.readiness() {
                let says = format!("{reason}: start one of them, or look at --upstream");
                return Finding::new("model", Verdict::Doubtful, says);
            }
            let model = &state.engine.info().model;
            if config.upstream.is_used() {
                let says = format!("{} answers at an upstream engine", model.name);
                return Finding::new("model", Verdict::Good, says);
            }
            let says = format!(
                "{} with {:.1} million parameters answers on {}, ready after {:.1} s",
                model.name,
                model.parameters as f64 / 1e6,
                model.device,
                started.elapsed().as_secs_f64()
            );
            Finding::new("model", Verdict::Good, says)
        }
        Err(error) => Finding::new("model", Verdict::Bad, error.to_string()),
    }
}

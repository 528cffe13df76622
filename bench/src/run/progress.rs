//! How far a run is, and how long it will still take.

use std::{io::IsTerminal, time::Duration};

use anyhow::Result;
use indicatif::{HumanDuration, ProgressBar, ProgressStyle};

/// Where there is no terminal: lines in all.
const LINES: u64 = 20;

/// A bar on a terminal, some lines elsewhere.
pub(super) struct Progress {
    bar: ProgressBar,
    is_seen: bool,
}

impl Progress {
    /// Of so many requests.
    ///
    /// # Errors
    /// Never: the form of the bar is fixed.
    pub(super) fn new(requests: usize) -> Result<Self> {
        let bar = ProgressBar::new(requests as u64);
        bar.set_style(ProgressStyle::with_template(
            "{bar:30} {pos}/{len} requests, {elapsed} elapsed, {eta} left  {msg}",
        )?);
        bar.enable_steady_tick(Duration::from_secs(1));
        Ok(Self { bar, is_seen: std::io::stderr().is_terminal() })
    }

    /// Says something that stays to be read.
    pub(super) fn say(&self, line: &str) {
        self.bar.suspend(|| eprintln!("{line}"));
    }

    /// Another request of a policy is done.
    pub(super) fn step(&self, network: &str, policy: &str) {
        self.bar.inc(1);
        self.bar.set_message(format!("{network} {policy}"));
        let (done, all) = (self.bar.position(), self.bar.length().unwrap_or_default());
        let lines = |done: u64| done * LINES / all.max(1);
        if !self.is_seen && lines(done) > lines(done - 1) {
            eprintln!("{done} of {all} requests, {} left", HumanDuration(self.bar.eta()));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

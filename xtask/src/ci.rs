//! `cargo xtask ci`: what has to pass before a change lands, with the times of its parts.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::{check, progress, test, tools::Tools};

/// Formatting, lints and all tests.
///
/// # Errors
/// If anything fails.
pub(crate) fn ci() -> Result<()> {
    let mut timings = Timings::default();
    let result = timings.time("tools", Tools::ensure).and_then(|tools| {
        check::lint(&tools, &mut timings)?;
        test::test_timed(&tools, &mut timings)
    });
    timings.print();
    result
}

/// How long each part took.
#[derive(Debug, Default)]
pub(crate) struct Timings(Vec<(&'static str, Duration)>);

impl Timings {
    /// Does a part and notes its time, also when it fails.
    pub(crate) fn time<T>(&mut self, part: &'static str, work: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        let result = work();
        self.0.push((part, started.elapsed()));
        result
    }

    /// Prints the table.
    pub(crate) fn print(&self) {
        println!("\n{:<24} {:>12}", "part", "time");
        for (part, time) in &self.0 {
            println!("{part:<24} {:>12}", progress::in_words(*time));
        }
        let total = self.0.iter().map(|(_, time)| *time).sum();
        println!("{:<24} {:>12}", "all", progress::in_words(total));
    }
}

//! `cargo xtask ci`: what has to pass before a change lands, with the times of its parts.

use std::{
    fs,
    time::{Duration, Instant},
};

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

/// How long each part took, and how much of the processors it used: on a busy machine only the latter tells.
#[derive(Debug, Default)]
pub(crate) struct Timings(Vec<Part>);

#[derive(Debug)]
struct Part {
    name: &'static str,
    elapsed: Duration,
    processor_time: Duration,
}

impl Timings {
    /// Does a part and notes its time, also when it fails.
    pub(crate) fn time<T>(&mut self, name: &'static str, work: impl FnOnce() -> T) -> T {
        let (started, used) = (Instant::now(), processor_time_of_children());
        let result = work();
        let processor_time = processor_time_of_children().saturating_sub(used);
        self.0.push(Part { name, elapsed: started.elapsed(), processor_time });
        result
    }

    /// Prints the table.
    pub(crate) fn print(&self) {
        println!("\n{:<24} {:>14} {:>16}", "part", "time", "processor time");
        let line = |name: &str, elapsed: Duration, processor_time: Duration| {
            let words = [elapsed, processor_time].map(progress::in_words);
            println!("{name:<24} {:>14} {:>16}", words[0], words[1]);
        };
        for part in &self.0 {
            line(part.name, part.elapsed, part.processor_time);
        }
        let sum = |time: fn(&Part) -> Duration| self.0.iter().map(time).sum();
        line("all", sum(|part| part.elapsed), sum(|part| part.processor_time));
    }
}

/// What all finished child processes have used so far, as Linux tells it; elsewhere zero.
fn processor_time_of_children() -> Duration {
    // Linux counts in hundredths of a second here, whatever its own clock does.
    const TICK: Duration = Duration::from_millis(10);
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The second field is the program's name in parentheses, which may hold spaces.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks: u32 =
        fields.split_whitespace().skip(13).take(2).filter_map(|ticks| ticks.parse::<u32>().ok()).sum();
    TICK * ticks
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn processor_time_of_a_child_is_counted() {
        let mut timings = Timings::default();
        let busy = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done";
        let done = timings.time("counting", || Command::new("sh").args(["-c", busy]).status());
        assert!(done.expect("starts").success());
        assert!(timings.0[0].processor_time > Duration::ZERO);
    }
}

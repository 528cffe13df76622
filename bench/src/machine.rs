//! What was measured on: a figure without its machine says nothing.

use std::{fs, process::Command};

use msao_tests::chromium;
use serde::Serialize;

/// The machine and the browser.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Machine {
    /// The processor's own name.
    pub(crate) processor: String,
    /// Cores of the machine.
    pub(crate) cores: usize,
    /// Those that this process may use: fewer where it is held to some, or by a quota.
    pub(crate) usable_cores: usize,
    /// Memory, where the system tells it.
    pub(crate) memory_gib: Option<u64>,
    /// Operating system and architecture.
    pub(crate) system: String,
    /// Name and version of the browser.
    pub(crate) browser: String,
    /// Processes that wanted to run in the minute before, where the system tells it: far above 0, the figures
    /// were measured on a busy machine.
    pub(crate) load_before: Option<f64>,
}

impl Machine {
    /// Describes this machine.
    pub(crate) fn describe() -> Self {
        let memory_gib = field_of("/proc/meminfo", "MemTotal").and_then(|text| {
            let kib: u64 = text.split_whitespace().next()?.parse().ok()?;
            Some(kib >> 20)
        });
        let browser = chromium::find().ok().and_then(|binary| {
            let output = Command::new(binary).arg("--version").output().ok()?;
            Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        });
        let load = fs::read_to_string("/proc/loadavg").ok();
        let usable_cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            processor: field_of("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".into()),
            cores: fs::read_to_string("/proc/cpuinfo")
                .map_or(usable_cores, |text| cores(&text))
                .max(usable_cores),
            usable_cores,
            memory_gib,
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            browser: browser.unwrap_or_else(|| "unknown".into()),
            load_before: load.and_then(|text| text.split(' ').next()?.parse().ok()),
        }
    }

    /// One line for people.
    pub(crate) fn line(&self) -> String {
        let memory = self.memory_gib.map_or(String::new(), |gib| format!(", {gib} GiB"));
        let load = self.load_before.map_or(String::new(), |load| format!("; load before: {load}"));
        let Self { processor, cores, usable_cores, system, browser, .. } = self;
        let usable = if usable_cores < cores { format!(" ({usable_cores} usable)") } else { String::new() };
        format!("{processor}, {cores} cores{usable}{memory}, {system}; {browser}{load}")
    }
}

/// Processors that Linux lists.
fn cores(cpuinfo: &str) -> usize {
    let is_processor = |line: &&str| line.split_once(':').is_some_and(|(key, _)| key.trim() == "processor");
    cpuinfo.lines().filter(is_processor).count()
}

/// The value of the first `key: value` line of a file.
fn field_of(file: &str, key: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(key))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_processors_of_the_machine_are_counted() {
        assert_eq!(cores("processor\t: 0\nmodel name\t: A processor: fast\n\nprocessor\t: 1\n"), 2);
        let machine = Machine::describe();
        assert!(machine.usable_cores >= 1 && machine.cores >= machine.usable_cores, "{}", machine.line());
    }
}

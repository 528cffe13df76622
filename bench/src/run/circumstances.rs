//! What a run was measured on and with: `machine.json`.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result};
use msao_protocol::ModelInfo;
use msao_tests::places;
use serde::Serialize;

use super::{memory, models::Models, quick::Replays};
use crate::machine::Machine;

/// Name of the server's program.
const SERVER: &str = "msao-server";

/// The circumstances of a run.
#[derive(Debug, Serialize)]
pub(super) struct Circumstances {
    machine: Machine,
    /// As it was started.
    command: Vec<String>,
    version: String,
    /// The commit measured, with `-dirty` behind it where sources differ from it.
    revision: Option<String>,
    /// Names and hashes of what both sides run.
    models: Models,
    /// What the server says that it runs.
    target: ModelInfo,
    /// Processors of server and edge; `None` where they were not held to any.
    server_cpus: Option<String>,
    edge_cpus: Option<String>,
    /// Requests asked of each policy over each network before the first that was recorded.
    warm_up_requests: usize,
    /// The most memory the server had at a time.
    server_peak_bytes: Option<u64>,
    /// The same of this process: the edge's engines, all clients, and the emulated network.
    edge_peak_bytes: Option<u64>,
    /// Verified answers held to the target's own on the same kept inputs.
    replays: Replays,
}

impl Circumstances {
    /// Before the first request; the machine is as it was before anything was held to processors.
    pub(super) fn now(
        machine: Machine,
        (models, target): (Models, ModelInfo),
        [server_cpus, edge_cpus]: [Option<String>; 2],
        warm_up_requests: usize,
    ) -> Self {
        Self {
            machine,
            command: std::env::args().collect(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            revision: revision(),
            models,
            target,
            server_cpus,
            edge_cpus,
            warm_up_requests,
            server_peak_bytes: None,
            edge_peak_bytes: None,
            replays: Replays::default(),
        }
    }

    /// Writes them with what is known by now.
    ///
    /// # Errors
    /// If the disk does not take it.
    pub(super) fn write(&mut self, file: &Path, replays: Replays) -> Result<()> {
        self.server_peak_bytes = memory::child_peak_bytes(SERVER);
        self.edge_peak_bytes = memory::own_peak_bytes();
        self.replays = replays;
        let json = serde_json::to_string_pretty(self)? + "\n";
        fs::write(file, json).with_context(|| format!("cannot write {}", file.display()))
    }
}

/// What runs write, and what people do, is no source that is measured.
const NO_SOURCES: [&str; 4] =
    [":(exclude,glob)**/*.md", ":(exclude)bench/*.json", ":(exclude)bench/plots", ":(exclude)*/results.json"];

fn revision() -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").current_dir(places::root()).args(arguments).output().ok()?;
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        output.status.success().then_some(said)
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changed =
        git(&[&["status", "--porcelain", "--untracked-files=no", "--", "."], &NO_SOURCES[..]].concat())?;
    Some(if changed.is_empty() { commit } else { commit + "-dirty" })
}

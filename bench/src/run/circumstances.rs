//! What a run was measured on and with: `machine.json`.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result};
use msao_protocol::ModelInfo;
use msao_tests::places;
use serde::Serialize;

use super::{memory, quick::Replays};
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
    /// The commit measured, with `-dirty` behind it where files differ from it.
    revision: Option<String>,
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
    /// Before the first request.
    pub(super) fn now(
        target: ModelInfo,
        [server_cpus, edge_cpus]: [Option<String>; 2],
        warm_up_requests: usize,
    ) -> Self {
        Self {
            machine: Machine::describe(),
            command: std::env::args().collect(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            revision: revision(),
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

fn revision() -> Option<String> {
    let mut git = Command::new("git");
    git.current_dir(places::root()).args(["describe", "--always", "--dirty", "--abbrev=12"]);
    let output = git.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

//! What a run left in its folder: journals, the load test, the machine.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{load::LoadReport, record::Record};

/// Most bytes of all journals together.
const MOST_JOURNAL_BYTES: u64 = 4 << 30;
/// Most bytes of a JSON file.
const MOST_JSON_BYTES: u64 = 16 << 20;
/// Results of a load test within a folder.
pub(crate) const LOAD_FILE: &str = "load.json";
/// Description of the machine within a folder.
const MACHINE_FILE: &str = "machine.json";

/// Requests of one policy over one network, by request.
pub(super) type Requests = BTreeMap<String, Record>;

/// All that was measured.
#[derive(Debug, Default)]
pub(super) struct Measured {
    /// By network, then policy.
    pub(super) networks: BTreeMap<String, BTreeMap<String, Requests>>,
    pub(super) load: Option<LoadReport>,
    pub(super) machine: Option<Value>,
}

impl Measured {
    /// Reads all `*.jsonl` of a folder as journals, by name, and `load.json` and `machine.json` where they are. Of two
    /// records of the same request, policy and network the later one counts.
    ///
    /// # Errors
    /// If there is no journal, or a file has another form or is too large.
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
        let mut files: Vec<PathBuf> =
            entries.map(|entry| Ok(entry?.path())).collect::<Result<_, std::io::Error>>()?;
        files.retain(|file| file.extension().is_some_and(|extension| extension == "jsonl"));
        files.sort();
        ensure!(!files.is_empty(), "{} has no journal (*.jsonl); measure first", folder.display());
        let mut measured = Self {
            load: read_json(&folder.join(LOAD_FILE))?,
            machine: read_json(&folder.join(MACHINE_FILE))?,
            ..Self::default()
        };
        let mut left_bytes = MOST_JOURNAL_BYTES;
        for file in files {
            let open = File::open(&file).with_context(|| format!("cannot read {}", file.display()))?;
            let bytes = open.metadata()?.len();
            left_bytes = left_bytes.checked_sub(bytes).with_context(|| {
                format!("the journals exceed {MOST_JOURNAL_BYTES} bytes; report on fewer at a time")
            })?;
            measured.read_journal(open.take(bytes), &file)?;
        }
        Ok(measured)
    }

    fn read_journal(&mut self, journal: impl Read, file: &Path) -> Result<()> {
        let (mut journal, mut line) = (BufReader::new(journal), Vec::new());
        for number in 1.. {
            line.clear();
            if journal.read_until(b'\n', &mut line)? == 0 {
                break;
            }
            match serde_json::from_slice(&line) {
                Ok(record) => self.add(record),
                // Torn when a run was cut.
                Err(_) if !line.ends_with(b"\n") => break,
                Err(error) => {
                    let place = format!("{}, line {number}, is no record", file.display());
                    return Err(error).context(place);
                }
            }
        }
        Ok(())
    }

    /// Takes one record in.
    pub(super) fn add(&mut self, record: Record) {
        let policies = self.networks.entry(record.network.clone()).or_default();
        policies.entry(record.policy.clone()).or_default().insert(record.request.clone(), record);
    }

    /// One policy over one network.
    pub(super) fn of(&self, network: &str, policy: &str) -> Option<&Requests> {
        self.networks.get(network)?.get(policy)
    }

    /// What was measured on and how, a sentence each.
    pub(super) fn circumstances(&self) -> Vec<String> {
        let Some(run) = &self.machine else { return Vec::new() };
        let text = |value: &Value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Null => None,
            other => Some(other.to_string()),
        };
        let machine = &run["machine"];
        let parts = [
            text(&machine["processor"]),
            text(&machine["cores"]).map(|cores| format!("{cores} cores")),
            text(&machine["memory_gib"]).map(|gib| format!("{gib} GiB")),
            text(&machine["system"]),
            text(&machine["load_before"]).map(|load| format!("load before: {load}")),
        ];
        // Where a folder lies on the machine is nobody's business, what it is called says which set was asked.
        let named = |argument: &str| match Path::new(argument) {
            path if path.is_absolute() => {
                path.file_name().map_or_else(String::new, |name| name.display().to_string())
            }
            _ => argument.to_owned(),
        };
        let command = run["command"].as_array().into_iter().flatten().filter_map(Value::as_str).map(named);
        let command: Vec<String> = command.collect();
        let target = text(&run["target"]["name"]).zip(text(&run["target"]["device"]));
        let megabytes = |key: &str| run[key].as_u64().map(|bytes| format!("{} MB", bytes / 1_000_000));
        let sentences = [
            Some(parts.into_iter().flatten().collect::<Vec<_>>().join(", ")),
            target.map(|(name, device)| format!("target: {name} on {device}")),
            text(&run["server_cpus"]).map(|cpus| format!("processors of the server: {cpus}")),
            text(&run["edge_cpus"]).map(|cpus| format!("processors of the edge: {cpus}")),
            megabytes("server_peak_bytes").map(|most| format!("the server's peak memory: {most}")),
            megabytes("edge_peak_bytes")
                .map(|most| format!("peak memory of edge, clients and emulated network: {most}")),
            (!command.is_empty()).then(|| format!("command: `msao-bench {}`", command[1..].join(" "))),
            text(&run["revision"]).map(|revision| format!("revision: {revision}")),
        ];
        sentences.into_iter().flatten().filter(|sentence| !sentence.is_empty()).collect()
    }
}

/// The content of a JSON file; `None` where there is none.
fn read_json<T: for<'de> serde::Deserialize<'de>>(file: &Path) -> Result<Option<T>> {
    let Ok(metadata) = fs::metadata(file) else { return Ok(None) };
    let bytes = metadata.len();
    ensure!(
        bytes <= MOST_JSON_BYTES,
        "{} has {bytes} bytes, at most {MOST_JSON_BYTES} are read",
        file.display()
    );
    let json = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    serde_json::from_slice(&json).map(Some).with_context(|| format!("{} has another form", file.display()))
}

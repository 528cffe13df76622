//! What runs left in their folders: journals, the load test, the machine. Several runs of the same models on the same
//! machine add up; others are kept apart.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::{
    load::{LoadReport, SoakReport},
    record::Record,
};

/// Most bytes of all journals together.
const MOST_JOURNAL_BYTES: u64 = 4 << 30;
/// Most bytes of a JSON file.
const MOST_JSON_BYTES: u64 = 16 << 20;
/// Results of a load test within a folder.
pub(crate) const LOAD_FILE: &str = "load.json";
/// Results of a soak within a folder.
pub(crate) const SOAK_FILE: &str = "soak.json";
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
    /// One for each folder that has one.
    pub(super) soaks: Vec<SoakReport>,
    /// What each run was measured on.
    pub(super) runs: Vec<Value>,
    /// Names and hashes of the models, where a journal has been read.
    models: Option<Option<String>>,
}

impl Measured {
    /// Reads all `*.jsonl` of folders as journals, by name, and `load.json`, `soak.json` and `machine.json` where they are. Of two
    /// records of the same request, policy and network the later one counts.
    ///
    /// # Errors
    /// If a folder has no journal, a file has another form or is too large, or runs do not belong together.
    pub(super) fn read(folders: &[PathBuf]) -> Result<Self> {
        let mut measured = Self::default();
        let mut left_bytes = MOST_JOURNAL_BYTES;
        for folder in folders {
            measured.read_folder(folder, &mut left_bytes)?;
        }
        Ok(measured)
    }

    fn read_folder(&mut self, folder: &Path, left_bytes: &mut u64) -> Result<()> {
        let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
        let mut files: Vec<PathBuf> =
            entries.map(|entry| Ok(entry?.path())).collect::<Result<_, std::io::Error>>()?;
        files.retain(|file| file.extension().is_some_and(|extension| extension == "jsonl"));
        files.sort();
        ensure!(!files.is_empty(), "{} has no journal (*.jsonl); measure first", folder.display());
        if let Some(load) = read_json(&folder.join(LOAD_FILE))? {
            ensure!(
                self.load.replace(load).is_none(),
                "{} has a second {LOAD_FILE}; rates of several tests do not add up: leave all but one out",
                folder.display()
            );
        }
        self.soaks.extend(read_json::<SoakReport>(&folder.join(SOAK_FILE))?);
        if let Some(run) = read_json::<Value>(&folder.join(MACHINE_FILE))? {
            if let Some((what, first, other)) = self.runs.first().and_then(|first| difference(first, &run)) {
                bail!(
                    "{} was measured with {what} {other}, others with {first}; report on them apart",
                    folder.display()
                );
            }
            self.runs.push(run);
        }
        for file in files {
            let open = File::open(&file).with_context(|| format!("cannot read {}", file.display()))?;
            let bytes = open.metadata()?.len();
            *left_bytes = left_bytes.checked_sub(bytes).with_context(|| {
                format!("the journals exceed {MOST_JOURNAL_BYTES} bytes; report on fewer at a time")
            })?;
            self.read_journal(open.take(bytes), &file)?;
        }
        Ok(())
    }

    fn read_journal(&mut self, journal: impl Read, file: &Path) -> Result<()> {
        let (mut journal, mut line) = (BufReader::new(journal), Vec::new());
        for number in 1.. {
            line.clear();
            if journal.read_until(b'\n', &mut line)? == 0 {
                break;
            }
            match serde_json::from_slice(&line) {
                Ok(record) => self.add_of(record, file)?,
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

    /// Takes in a record of a file, if it is of the same models as those before.
    fn add_of(&mut self, record: Record, file: &Path) -> Result<()> {
        let models = self.models.get_or_insert_with(|| record.models.clone());
        if *models != record.models {
            let name =
                |models: &Option<String>| models.clone().unwrap_or_else(|| "models not noted".to_owned());
            let (known, other) = (name(models), name(&record.models));
            bail!("{} has records of {other}, others are of {known}; report on them apart", file.display());
        }
        self.add(record);
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
        let Some(run) = self.runs.first() else { return Vec::new() };
        let text = |value: &Value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Null => None,
            other => Some(other.to_string()),
        };
        let machine = &run["machine"];
        let parts = [
            text(&machine["processor"]),
            text(&machine["cores"]).map(|cores| format!("{cores} cores")),
            text(&machine["usable_cores"])
                .filter(|usable| Some(usable) != text(&machine["cores"]).as_ref())
                .map(|usable| format!("{usable} of them usable")),
            text(&machine["memory_gib"]).map(|gib| format!("{gib} GiB")),
            text(&machine["system"]),
            text(&machine["load_before"]).map(|load| format!("load before: {load}")),
        ];
        let target = text(&run["target"]["name"]).zip(text(&run["target"]["device"]));
        let megabytes = |key: &str| run[key].as_u64().map(|bytes| format!("{} MB", bytes / 1_000_000));
        let sentences = [
            Some(parts.into_iter().flatten().collect::<Vec<_>>().join(", ")),
            target.map(|(name, device)| format!("target: {name} on {device}")),
            self.models.clone().flatten().map(|models| format!("models: {models}")),
            text(&run["server_cpus"]).map(|cpus| format!("processors of the server: {cpus}")),
            text(&run["edge_cpus"]).map(|cpus| format!("processors of the edge: {cpus}")),
            megabytes("server_peak_bytes").map(|most| format!("the server's peak memory: {most}")),
            megabytes("edge_peak_bytes")
                .map(|most| format!("peak memory of edge, clients and emulated network: {most}")),
            text(&run["revision"]).map(|revision| format!("revision: {revision}")),
        ];
        let sentences = sentences.into_iter().flatten().filter(|sentence| !sentence.is_empty());
        sentences.chain(self.runs.iter().filter_map(command)).collect()
    }
}

/// The command of a run, as it can be given again. Where a folder lies on the machine is nobody's business, what it is
/// called says which set was asked.
fn command(run: &Value) -> Option<String> {
    let named = |argument: &str| match Path::new(argument) {
        path if path.is_absolute() => {
            path.file_name().map_or_else(String::new, |name| name.display().to_string())
        }
        _ => argument.to_owned(),
    };
    let arguments = run["command"].as_array()?.iter().skip(1).filter_map(Value::as_str).map(named);
    Some(format!("command: `msao-bench {}`", arguments.collect::<Vec<_>>().join(" ")))
}

/// What keeps two runs from being one: its name, and what it is in each.
fn difference<'a>(one: &'a Value, other: &'a Value) -> Option<(&'static str, &'a Value, &'a Value)> {
    const SAME: [(&str, &str); 4] = [
        ("the processor", "/machine/processor"),
        ("the target", "/target/name"),
        ("the device", "/target/device"),
        ("the version", "/version"),
    ];
    SAME.into_iter().find_map(|(what, place)| {
        let (one, other) = (one.pointer(place)?, other.pointer(place)?);
        (one != other).then_some((what, one, other))
    })
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

//! The journal: a line for each record, so that a run that was cut goes on where it was.

use std::{
    collections::HashSet,
    fs::{File, OpenOptions},
    io::{BufRead, BufReader, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};

use crate::record::Record;

/// Most bytes of a journal that is gone on with.
const MOST_BYTES: u64 = 4 << 30;

/// An open journal.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    /// Names and hashes of the models of this run.
    models: String,
    records: Vec<Record>,
    known: HashSet<[String; 3]>,
}

impl Journal {
    /// Opens or makes a journal of `models`. A last line that was torn when a run was cut is taken away.
    ///
    /// # Errors
    /// If it is of other models, it cannot be written, or a line before the last is no record.
    pub(super) fn open(path: &Path, models: &str) -> Result<Self> {
        let cannot = || format!("cannot use the journal {}", path.display());
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .with_context(cannot)?;
        let bytes = file.metadata().with_context(cannot)?.len();
        ensure!(bytes <= MOST_BYTES, "{} has {bytes} bytes; begin another with --out", path.display());
        let (records, whole_bytes) = read(&file, bytes).with_context(cannot)?;
        if let Some(other) = records.iter().find(|record: &&Record| record.models.as_deref() != Some(models))
        {
            let other = other.models.as_deref().unwrap_or("models that an earlier version did not note");
            bail!(
                "it is of {other}, this run of {models}; choose another folder with --out, or the same models"
            );
        }
        file.set_len(whole_bytes).with_context(cannot)?;
        file.seek(SeekFrom::End(0)).with_context(cannot)?;
        let known = records.iter().map(key).collect();
        Ok(Self { path: path.to_owned(), file, models: models.to_owned(), records, known })
    }

    /// Whether there is a record of a request.
    pub(super) fn has(&self, network: &str, policy: &str, request: &str) -> bool {
        self.known.contains(&[network, policy, request].map(str::to_owned))
    }

    /// Adds a record, with the models of this run.
    ///
    /// # Errors
    /// If the disk does not take it.
    pub(super) fn add(&mut self, record: Record) -> Result<()> {
        let record = Record { models: Some(self.models.clone()), ..record };
        let line = serde_json::to_string(&record)? + "\n";
        // One write a line: what is cut is at most the last one.
        let written = self.file.write_all(line.as_bytes());
        written.with_context(|| format!("cannot write to {}", self.path.display()))?;
        self.known.insert(key(&record));
        self.records.push(record);
        Ok(())
    }

    /// All of them, those of earlier runs first.
    pub(super) fn records(&self) -> &[Record] {
        &self.records
    }
}

fn key(record: &Record) -> [String; 3] {
    [&record.network, &record.policy, &record.request].map(Clone::clone)
}

/// The records, and the bytes of their lines.
fn read(file: &File, bytes: u64) -> Result<(Vec<Record>, u64)> {
    let (mut records, mut whole_bytes) = (Vec::new(), 0);
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        let end = whole_bytes + line.len() as u64;
        match serde_json::from_slice(&line) {
            Ok(record) if line.ends_with(b"\n") => records.push(record),
            _ if end == bytes => break,
            Ok(_) => unreachable!("only the last line has no end"),
            Err(error) => {
                let number = records.len() + 1;
                return Err(error).with_context(|| {
                    format!("line {number} is no record of this version; begin another journal with --out")
                });
            }
        }
        whole_bytes = end;
        line.clear();
    }
    Ok((records, whole_bytes))
}

#[cfg(test)]
pub(super) mod tests {
    use std::fs;

    use super::*;

    /// A record without anything special about it.
    pub(in crate::run) fn record(request: &str, network: &str, policy: &str) -> Record {
        serde_json::from_value(serde_json::json!({
            "request": request, "family": "read", "network": network, "policy": policy, "answer": "red",
            "is_right": true, "first_shown_ms": 1.0, "ttft_ms": 2.0, "total_ms": 3.0, "tokens": 1, "up_bytes": 9,
            "down_bytes": 9, "vision_bytes": 0, "audio_bytes": 0, "edge_flops": 1, "cloud_flops": 1,
            "proposed_drafts": 0, "accepted_drafts": 0, "rounds": 1, "strategy": "cloud", "stood": false,
            "shadow_agreed": null, "predicted_ms": null, "spans": [["edge.prefill", 0.5]], "failure": null
        }))
        .unwrap()
    }

    const MODELS: &str = "big@1 with small@2";

    fn scratch(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("msao-journal-{name}-{}", std::process::id()));
        let _ = fs::remove_file(&path);
        path
    }

    #[test]
    fn a_cut_run_goes_on_where_it_was() {
        let path = scratch("cut");
        let mut journal = Journal::open(&path, MODELS).unwrap();
        journal.add(record("a", "n", "msao")).unwrap();
        journal.add(record("b", "n", "msao")).unwrap();
        drop(journal);
        let whole = fs::read(&path).unwrap();
        // Wherever the second line was cut, the first is kept and the second can be written again.
        let first = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        for length in [first, first + 1, whole.len() / 2 + 30, whole.len() - 1] {
            fs::write(&path, &whole[..length]).unwrap();
            let mut journal = Journal::open(&path, MODELS).unwrap();
            assert!(journal.has("n", "msao", "a") && !journal.has("n", "msao", "b"), "{length}");
            journal.add(record("b", "n", "msao")).unwrap();
            assert_eq!(fs::read(&path).unwrap(), whole, "{length}");
        }
        assert_eq!(Journal::open(&path, MODELS).unwrap().records().len(), 2);
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_journal_of_other_models_is_not_gone_on_with() {
        let path = scratch("models");
        Journal::open(&path, MODELS).unwrap().add(record("b", "n", "msao")).unwrap();
        let before = fs::read(&path).unwrap();
        let error = format!("{:#}", Journal::open(&path, "other@3 with small@2").unwrap_err());
        assert!(error.contains(MODELS) && error.contains("other@3") && error.contains("--out"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), before);
        assert!(Journal::open(&path, MODELS).unwrap().has("n", "msao", "b"));
        fs::write(&path, serde_json::to_string(&record("a", "n", "msao")).unwrap() + "\n").unwrap();
        let error = format!("{:#}", Journal::open(&path, MODELS).unwrap_err());
        assert!(error.contains("earlier version"), "{error}");
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_line_that_is_no_record_is_not_passed_over() {
        let path = scratch("damaged");
        let mut journal = Journal::open(&path, MODELS).unwrap();
        journal.add(record("a", "n", "msao")).unwrap();
        let line = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{line}nonsense\n{line}")).unwrap();
        let error = format!("{:#}", Journal::open(&path, MODELS).unwrap_err());
        assert!(error.contains("line 2") && error.contains("--out"), "{error}");
        fs::remove_file(&path).unwrap();
    }
}

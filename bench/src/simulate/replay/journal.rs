//! The journal of a measured run, by network, policy and request.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
};

use anyhow::{Context, Result, ensure};
use flate2::read::GzDecoder;

use crate::record::Record;

/// Most that is read of a journal, unpacked.
const MAX_BYTES: u64 = 256 << 20;

/// Answers of one network, by policy and request.
pub(super) type Run = BTreeMap<String, BTreeMap<String, Record>>;

/// The answers of a journal; failures are left out.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    /// Of all records.
    models: Option<Option<String>>,
    pub(super) networks: BTreeMap<String, Run>,
}

impl Journal {
    /// Reads a journal, one JSON object a line; packed with gzip if it is called so.
    ///
    /// # Errors
    /// If the file cannot be read, holds more than 256 MiB, or something else.
    pub(crate) fn read(file: &Path) -> Result<Self> {
        let open = File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
        let is_packed = file.extension().is_some_and(|extension| extension == "gz");
        let text: &mut dyn Read = if is_packed { &mut GzDecoder::new(open) } else { &mut { open } };
        Self::of_lines(text).with_context(|| format!("in {}", file.display()))
    }

    fn of_lines(text: &mut dyn Read) -> Result<Self> {
        let mut journal = Self::default();
        let mut left_bytes = MAX_BYTES;
        for (number, line) in BufReader::new(text.take(MAX_BYTES + 1)).lines().enumerate() {
            let line = line?;
            left_bytes = left_bytes
                .checked_sub(line.len() as u64 + 1)
                .with_context(|| format!("more than the {MAX_BYTES} bytes that are read: replay a part"))?;
            let record: Record =
                serde_json::from_str(&line).with_context(|| format!("line {}", number + 1))?;
            journal.add(record)?;
        }
        Ok(journal)
    }

    /// Names of the networks in it.
    pub(crate) fn networks(&self) -> impl Iterator<Item = &str> {
        self.networks.keys().map(String::as_str)
    }

    fn add(&mut self, record: Record) -> Result<()> {
        let models = self.models.get_or_insert_with(|| record.models.clone());
        ensure!(
            *models == record.models,
            "answers of several models: replay a journal of one pair at a time"
        );
        if record.failure.is_none() {
            let run = self.networks.entry(record.network.clone()).or_default();
            run.entry(record.policy.clone()).or_default().insert(record.request.clone(), record);
        }
        Ok(())
    }
}

/// Milliseconds of some spans together.
pub(super) fn ms(record: &Record, names: &[&str]) -> f64 {
    let named = record.spans.iter().filter(|(name, _)| names.contains(&name.as_str()));
    named.map(|(_, ms)| ms).sum()
}

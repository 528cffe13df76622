//! `msao-server convert`: a published checkpoint in another format, as a folder that loads faster, smaller and as it is.
//!
//! The folder is made beside its place and moved there when it is whole, so that what fails or is cancelled leaves nothing.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Args;
use msao_models::{CheckpointFiles, Converter, DeviceKind, ModelConfig, WeightsFormat, device};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::hub::licence_of;
use crate::stop_signals::StopSignals;

/// How often progress is told.
const TELL_EVERY: Duration = Duration::from_secs(2);
/// No small file of a checkpoint is larger.
const MAX_SMALL_FILE_BYTES: u64 = 64 << 20;
/// What is copied beside the weights: configuration, tokenizer, templates, notes and licence; a probe's weights.
const SMALL_FILES: [&str; 5] = ["json", "jinja", "txt", "md", "LICENSE"];
const PROBE: &str = "mas_probe.safetensors";
const MANIFEST: &str = "MANIFEST.json";

/// Converts a published checkpoint's weights to f16, int8 or 4-bit groups
#[derive(Debug, Clone, Args)]
pub struct ConvertCommand {
    /// The format: f16, int8 or q4
    #[arg(long, env = "MSAO_FORMAT")]
    format: WeightsFormat,
    /// Folder of the checkpoint as published
    source: PathBuf,
    /// Folder to make; it must not be there yet
    target: PathBuf,
}

impl ConvertCommand {
    /// Converts, telling `log` how far it is; Ctrl-C cancels.
    ///
    /// # Errors
    /// For a source that is no checkpoint, a target that is there already, and whatever the disk says.
    pub fn run(&self, log: &mut dyn Write) -> anyhow::Result<()> {
        let is_cancelled = cancelled_by_signal()?;
        self.convert(log, &is_cancelled)
    }

    fn convert(&self, log: &mut dyn Write, is_cancelled: &AtomicBool) -> anyhow::Result<()> {
        if matches!(self.format, WeightsFormat::Stored | WeightsFormat::F32) {
            bail!("`{}` is no format to convert to: choose f16, int8 or q4", self.format);
        }
        if self.target.exists() {
            bail!("{} is there already: name a folder that is not, or remove it", self.target.display());
        }
        let files = CheckpointFiles::from_dir(&self.source)
            .with_context(|| format!("{} cannot be converted", self.source.display()))?;
        let device = pollster::block_on(device::open(DeviceKind::Cpu))?;
        let converter = Converter::new(&files, self.format, &device)?;
        let beside = match self.target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let partial = tempfile::Builder::new()
            .prefix(".msao-convert-")
            .tempdir_in(beside)
            .with_context(|| format!("cannot make a folder in {}", beside.display()))?;
        let mut hashes = self.copy_small_files(partial.path())?;
        let config = serde_json::to_vec_pretty(&converter.config_json(&files.config_json)?)?;
        hashes.insert("config.json".to_owned(), write_file(partial.path(), "config.json", &config)?);
        if let Some(index) = converter.index_json() {
            let name = "model.safetensors.index.json";
            hashes.insert(name.to_owned(), write_file(partial.path(), name, index.to_string().as_bytes())?);
        }
        let (mut done, total, mut told) = (0, converter.bytes(), Instant::now());
        for (index, name) in converter.files().into_iter().enumerate() {
            let mut file = Hashed::create(&partial.path().join(&name))?;
            converter.write(index, &mut file, &mut |written| {
                done += written;
                if told.elapsed() >= TELL_EVERY {
                    told = Instant::now();
                    // Whoever closed the output does not want to hear more.
                    let _ = writeln!(log, "{} of {} MB", done >> 20, total >> 20);
                }
                !is_cancelled.load(Ordering::Relaxed)
            })?;
            hashes.insert(name, file.finish()?);
        }
        let manifest = self.manifest(&files, hashes)?;
        write_file(partial.path(), MANIFEST, serde_json::to_vec_pretty(&manifest)?.as_slice())?;
        let permissions = fs::metadata(&self.source)?.permissions();
        fs::set_permissions(partial.path(), permissions)?;
        fs::rename(partial.path(), &self.target)
            .with_context(|| format!("cannot move the result to {}", self.target.display()))?;
        // It stands elsewhere now, so there is nothing left to remove.
        let _ = partial.keep();
        let _ = writeln!(log, "{}: {} MB as {}", self.target.display(), total >> 20, self.format);
        Ok(())
    }

    /// Copies what stands beside the weights; gives the entries of the manifest.
    fn copy_small_files(&self, target: &Path) -> anyhow::Result<BTreeMap<String, Value>> {
        let mut hashes = BTreeMap::new();
        for file in fs::read_dir(&self.source)? {
            let file = file?;
            let Ok(name) = file.file_name().into_string() else { continue };
            let ending = name.rsplit('.').next().unwrap_or_default();
            let is_small = SMALL_FILES.contains(&ending) || name == PROBE;
            let is_ours = ["config.json", "model.safetensors.index.json", MANIFEST].contains(&name.as_str());
            // Through a link, as caches of downloads have them.
            let data = fs::metadata(file.path())?;
            if data.is_file() && is_small && !is_ours && data.len() <= MAX_SMALL_FILE_BYTES {
                let bytes = fs::read(file.path())?;
                hashes.insert(name.clone(), write_file(target, &name, &bytes)?);
            }
        }
        Ok(hashes)
    }

    fn manifest(&self, files: &CheckpointFiles, hashes: BTreeMap<String, Value>) -> anyhow::Result<Value> {
        let text = |path: PathBuf| fs::read_to_string(path).unwrap_or_default();
        let before: Value = serde_json::from_str(&text(self.source.join(MANIFEST))).unwrap_or_default();
        let licence = match &before["licence"] {
            Value::Null => licence_of(&self.source).into(),
            licence => licence.clone(),
        };
        let name = |folder: &Path| folder.file_name().map(|name| name.to_string_lossy().into_owned());
        let parameters: usize = ModelConfig::from_json(&files.config_json)?
            .tensors()
            .iter()
            .map(|(_, shape)| shape.iter().product::<usize>())
            .sum();
        let mut source = Sha256::new();
        source.update(&files.config_json);
        Ok(json!({
            "name": name(&self.target),
            "parameters": parameters,
            "licence": licence,
            "how": {
                "made_by": format!("msao-server convert --format {}", self.format),
                "version": env!("CARGO_PKG_VERSION"),
                "source": name(&self.source),
                "source_config_sha256": hex(source),
                "source_manifest": before["files"],
            },
            "files": hashes,
        }))
    }
}

fn write_file(folder: &Path, name: &str, bytes: &[u8]) -> anyhow::Result<Value> {
    let mut file = Hashed::create(&folder.join(name))?;
    file.write_all(bytes).with_context(|| format!("cannot write {name}"))?;
    file.finish()
}

fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A file that is hashed while it is written.
struct Hashed {
    file: File,
    hash: Sha256,
    bytes: u64,
}

impl Hashed {
    fn create(path: &Path) -> anyhow::Result<Self> {
        let file = File::create_new(path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self { file, hash: Sha256::new(), bytes: 0 })
    }

    /// Waits for the disk; gives the manifest's entry.
    fn finish(self) -> anyhow::Result<Value> {
        self.file.sync_all()?;
        Ok(json!({"bytes": self.bytes, "sha256": hex(self.hash)}))
    }
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Becomes true on the first signal to stop.
fn cancelled_by_signal() -> anyhow::Result<Arc<AtomicBool>> {
    let is_cancelled = Arc::new(AtomicBool::new(false));
    let (heard, runtime) =
        (is_cancelled.clone(), tokio::runtime::Builder::new_current_thread().enable_all().build()?);
    std::thread::spawn(move || {
        runtime.block_on(async {
            if let Ok(mut signals) = StopSignals::new() {
                signals.next().await;
                heard.store(true, Ordering::Relaxed);
            }
        });
    });
    Ok(is_cancelled)
}

#[cfg(test)]
mod tests;

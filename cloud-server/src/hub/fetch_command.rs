//! `msao-server fetch`: puts checkpoints into the hub's cache, so that they are there without a network.

use std::io::{IsTerminal as _, Write};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Args;
use msao_models::speech::WhisperConfig;
use msao_models::{ModelConfig, WeightsFormat};

use super::fetch::{Fetched, Wanted, fetch};
use super::needed::Purpose;
use super::options::HubOptions;
use super::progress::{Event, Progress};
use super::reference::HubReference;

/// Between two lines where nobody sits at a terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// Fetch checkpoints from the hub.
#[derive(Debug, Clone, Args)]
pub struct FetchCommand {
    /// Checkpoints, as hub:OWNER/NAME or hub:OWNER/NAME@REVISION
    #[arg(required = true, value_name = "CHECKPOINT")]
    pub checkpoints: Vec<HubReference>,
    /// Branch, tag or commit of all of them
    #[arg(long, value_name = "REVISION")]
    pub revision: Option<String>,
    /// Hold files that are in the cache to their hashes again
    #[arg(long)]
    pub verify: bool,
    /// The hub.
    #[command(flatten)]
    pub hub: HubOptions,
}

impl FetchCommand {
    /// Fetches; folders, sizes and licences go to `out`, progress to `progress`. Ctrl-C ends it and keeps what came.
    ///
    /// # Errors
    /// When one of them cannot be had, or it was cancelled.
    pub fn run(&self, out: &mut dyn Write, progress: &mut dyn Write) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            tokio::select! {
                done = self.fetch_all(out, progress) => done,
                _ = tokio::signal::ctrl_c() => bail!("cancelled; what came is kept, and the same command goes on with it"),
            }
        })
    }

    async fn fetch_all(&self, out: &mut dyn Write, progress: &mut dyn Write) -> anyhow::Result<()> {
        let settings = self.hub.settings()?;
        for reference in &self.checkpoints {
            let reference = match &self.revision {
                Some(revision) => reference.at(revision)?,
                None => reference.clone(),
            };
            let mut lines = Lines::new(progress, std::io::stderr().is_terminal());
            let wanted = Wanted { purpose: Purpose::Any, verify: self.verify, memory: None };
            let fetched = fetch(&settings, &reference, wanted, &mut |event| lines.tell(event)).await?;
            lines.end();
            write!(out, "{}", describe(&fetched)?).context("cannot write to stdout")?;
        }
        Ok(())
    }
}

/// What is told of a checkpoint that is there.
fn describe(fetched: &Fetched) -> anyhow::Result<String> {
    let Fetched { folder, reference, commit, licence, total_bytes, fetched_bytes } = fetched;
    let config = std::fs::read(folder.join("config.json")).context("cannot read what was fetched")?;
    let speech = WhisperConfig::from_json(&config).ok();
    let model = if speech.is_none() { Some(ModelConfig::from_json(&config)?) } else { None };
    let loaded = |format: WeightsFormat| {
        let speech_bytes = speech.as_ref().map(|speech| speech.weights_bytes(format));
        let bytes = speech_bytes.or_else(|| model.as_ref().map(|model| model.loaded_bytes(format)));
        format!("{} MB as {format}", bytes.unwrap_or_default() >> 20)
    };
    let memory = WeightsFormat::ALL.map(loaded).join(", ");
    Ok(format!(
        "{reference}\n  folder   {}\n  commit   {commit}\n  licence  {}\n  size     {} MB, of which {} MB were fetched\n  memory   of the weights {memory}\n",
        folder.display(),
        licence.as_deref().unwrap_or("not told by its card"),
        total_bytes >> 20,
        fetched_bytes >> 20,
    ))
}

/// One line that is written over at a terminal; a line now and then elsewhere. Whoever closed the output is not told.
struct Lines<'w> {
    to: &'w mut dyn Write,
    is_terminal: bool,
    told: Option<Instant>,
}

impl<'w> Lines<'w> {
    fn new(to: &'w mut dyn Write, is_terminal: bool) -> Self {
        Self { to, is_terminal, told: None }
    }

    fn tell(&mut self, event: &Event<'_>) {
        match event {
            Event::Planned(summary) => {
                let licence = summary.licence.as_deref().unwrap_or("not told");
                let _ = writeln!(
                    self.to,
                    "{}: commit {}, licence {licence}, {} files of {} MB, {} MB to fetch",
                    summary.reference,
                    summary.commit,
                    summary.files,
                    summary.total_bytes >> 20,
                    summary.missing_bytes >> 20
                );
            }
            Event::Moved(progress) if self.is_terminal => {
                let _ = write!(self.to, "\r\x1b[2K{}", line(progress));
                let _ = self.to.flush();
                self.told = Some(Instant::now());
            }
            Event::Moved(progress) => {
                if self.told.is_none_or(|told| told.elapsed() >= LINE_INTERVAL) {
                    let _ = writeln!(self.to, "{}", line(progress));
                    self.told = Some(Instant::now());
                }
            }
        }
    }

    fn end(&mut self) {
        if self.is_terminal && self.told.is_some() {
            let _ = writeln!(self.to);
        }
    }
}

fn line(progress: &Progress) -> String {
    let left = match progress.seconds_left {
        Some(seconds) if seconds >= 90.0 => format!("{} min left", (seconds / 60.0).ceil()),
        Some(seconds) => format!("{} s left", seconds.ceil()),
        None => "waiting".to_owned(),
    };
    let percent = 100.0 * progress.done_bytes as f64 / progress.total_bytes.max(1) as f64;
    format!(
        "{:3.0} %  {} of {} MB  {:.1} MB/s  {left}  {}",
        percent,
        progress.done_bytes >> 20,
        progress.total_bytes >> 20,
        progress.bytes_per_s / 1e6,
        progress.file
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_how_far_it_is_and_how_long_it_takes() {
        let progress = |done_bytes: u64, seconds_left| Progress {
            file: "model.safetensors".to_owned(),
            done_bytes: done_bytes << 20,
            total_bytes: 400 << 20,
            bytes_per_s: 12.34e6,
            seconds_left,
        };
        assert_eq!(
            line(&progress(100, Some(24.2))),
            " 25 %  100 of 400 MB  12.3 MB/s  25 s left  model.safetensors"
        );
        assert!(line(&progress(0, Some(200.0))).contains("4 min left"));
        assert!(line(&progress(0, None)).contains("waiting"));
    }
}

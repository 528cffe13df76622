//! What an operator can set, by flag, environment variable or file.

mod command;
mod effective;
mod file;
mod layers;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use msao_models::{DeviceKind, WeightsFormat};
use msao_protocol::Limits;

use crate::access::AccessOptions;
use crate::api::ImageHost;
use crate::checkpoint_places::DEFAULT_EDGE_MODEL;
use crate::hub::HubOptions;
use crate::telemetry::LogOptions;
use crate::upstream_config::UpstreamOptions;

pub use command::{Cli, Command};
pub use effective::to_toml;
pub use file::FileError;
pub use layers::{LoadError, Loaded, Setting, Source, load};

/// How the server is set up.
#[derive(Debug, Clone, Parser)]
#[command(name = "msao-server", version)]
pub struct ServerConfig {
    /// File with settings: TOML, one key for each flag
    #[arg(long, env = "MSAO_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address and port to listen on
    #[arg(long, env = "MSAO_LISTEN", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Folder of the built page
    #[arg(long, env = "MSAO_PAGE", default_value = "dist")]
    pub page: PathBuf,
    /// Folder that holds the checkpoint folders; or one checkpoint's own folder or its name on the hub, as in
    /// hub:HuggingFaceTB/SmolVLM2-2.2B-Instruct, which then answers
    #[arg(long, env = "MSAO_WEIGHTS", default_value = "models/weights")]
    pub weights: PathBuf,
    /// Checkpoint that answers here
    #[arg(long, env = "MSAO_MODEL", default_value = "pocket-cloud")]
    pub model: String,
    /// Checkpoint that the page may download, by name, folder or name on the hub; may be repeated, the first is its default
    #[arg(long = "edge-model", env = "MSAO_EDGE_MODEL", value_delimiter = ',', default_value = DEFAULT_EDGE_MODEL)]
    pub edge_models: Vec<String>,
    /// Folder of a checkpoint that drafts beside the model, or `none`; pocket-cloud has pocket-edge unless told
    /// otherwise
    #[arg(long, env = "MSAO_DRAFT_MODEL")]
    pub draft_model: Option<PathBuf>,
    /// Folder of a Whisper checkpoint, or its name on the hub, that writes recordings down, on the CPU: for
    /// /v1/audio/transcriptions, and for a model that cannot hear
    #[arg(long, env = "MSAO_SPEECH", value_name = "FOLDER")]
    pub speech: Option<PathBuf>,
    /// Folder of a Whisper checkpoint, or its name on the hub, that the page may download to understand speech on the device
    #[arg(long, env = "MSAO_EDGE_SPEECH", value_name = "FOLDER")]
    pub edge_speech: Option<PathBuf>,
    /// Where the models run: cpu, vulkan or cuda
    #[arg(long, env = "MSAO_DEVICE", default_value = "cpu")]
    pub device: DeviceKind,
    /// Threads that the model may use on the CPU, 0 for one a core
    #[arg(long, env = "MSAO_THREADS", default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=1024))]
    pub threads: u16,
    /// How the model's weights are kept in memory: stored, what the checkpoint was converted to, else f32; f32; f16, which gives
    /// the same answers from checkpoints stored as such; int8 or q4, which round them
    #[arg(long, env = "MSAO_WEIGHTS_FORMAT", default_value = "stored")]
    pub weights_format: WeightsFormat,
    /// Limits that differ from the defaults, as JSON: '{"image_bytes": 1000000, "images": 4}'
    #[arg(long, env = "MSAO_LIMITS", default_value = "{}", value_parser = parse_limits)]
    pub limits: Limits,
    /// Leave tiles of whole pictures unread in which little stands out, where the model sees pictures in tiles, and frames of
    /// videos in which nothing has changed; chat completions may say otherwise by `msao.prune_tiles`
    #[arg(long, env = "MSAO_PRUNE_TILES")]
    pub prune_tiles: bool,
    /// Questions that may wait or be answered at a time
    #[arg(long, env = "MSAO_QUEUE", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    pub queue: u16,
    /// Milliseconds that a question may wait to be read, by how fast others were of late, before it is told to come back; one
    /// may always wait behind another
    #[arg(long, env = "MSAO_MAX_WAIT_MS", default_value_t = 500)]
    pub max_wait_ms: u32,
    /// Answers that share a pass of the model
    #[arg(long, env = "MSAO_MAX_BATCH", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    pub max_batch: u16,
    /// Megabytes that keys and values may take, of running answers and of finished ones that may be gone on from
    #[arg(long, env = "MSAO_KV_BUDGET_MB", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..))]
    pub kv_budget_mb: u32,
    /// Seconds that media which a question announced are waited for
    #[arg(long, env = "MSAO_ATTACH_S", default_value_t = 30)]
    pub attach_s: u16,
    /// Sessions that may be open at a time
    #[arg(long, env = "MSAO_MAX_SESSIONS", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    pub max_sessions: u16,
    /// Origin of another site whose pages may open sessions and use the API, such as https://example.org; may be repeated
    #[arg(long = "allow-origin", env = "MSAO_ALLOW_ORIGIN", value_delimiter = ',')]
    pub allow_origins: Vec<String>,
    /// Host that pictures named by address may be fetched from, such as example.org or http://10.0.0.7:9000; may be
    /// repeated
    #[arg(long = "image-host", env = "MSAO_IMAGE_HOST", value_delimiter = ',')]
    pub image_hosts: Vec<ImageHost>,
    /// Seconds without a question after which a session ends
    #[arg(long, env = "MSAO_IDLE_S", default_value_t = 3600)]
    pub idle_s: u32,
    /// Seconds that running answers get when the server is told to stop
    #[arg(long, env = "MSAO_DRAIN_S", default_value_t = 20)]
    pub drain_s: u32,
    /// Who may do what.
    #[command(flatten)]
    pub access: AccessOptions,
    /// The log.
    #[command(flatten)]
    pub log: LogOptions,
    /// The hub that published checkpoints come from.
    #[command(flatten)]
    pub hub: HubOptions,
    /// Engines elsewhere that answer instead.
    #[command(flatten)]
    pub upstream: UpstreamOptions,
}

/// Reads limits from JSON and refuses those that no message could meet.
fn parse_limits(json: &str) -> Result<Limits, InvalidLimits> {
    let limits: Limits = serde_json::from_str(json)?;
    let largest = limits.image_bytes.max(limits.audio_bytes);
    if largest >= limits.message_bytes {
        return Err(InvalidLimits::MessageBytes { message: limits.message_bytes, largest });
    }
    if limits.requests_in_flight == 0 || limits.max_new_tokens == 0 || limits.question_chars == 0 {
        return Err(InvalidLimits::Zero);
    }
    if !limits.audio_s.is_finite() || limits.audio_s < 0.0 {
        return Err(InvalidLimits::AudioSeconds(limits.audio_s));
    }
    Ok(limits)
}

/// Why limits are of no use.
#[derive(Debug, thiserror::Error)]
enum InvalidLimits {
    #[error("not a JSON object of limits: {0}")]
    Json(#[from] serde_json::Error),
    #[error(
        "message_bytes is {message}; it must be above image_bytes and audio_bytes, of which one is {largest}"
    )]
    MessageBytes { message: u32, largest: u32 },
    #[error("requests_in_flight, max_new_tokens and question_chars must be at least 1")]
    Zero,
    #[error("audio_s is {0}; it must be 0 or more")]
    AudioSeconds(f32),
}

/// How long a session waits for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For the first message.
    pub hello: Duration,
    /// Between two pings.
    pub ping: Duration,
    /// For any byte of the client; it answers pings, so silence means that it is gone.
    pub silence: Duration,
    /// For the next question.
    pub idle: Duration,
    /// For the client to read what is written to it.
    pub write: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            hello: Duration::from_secs(10),
            ping: Duration::from_secs(15),
            silence: Duration::from_secs(45),
            idle: Duration::from_secs(3600),
            write: Duration::from_secs(20),
        }
    }
}

impl Timeouts {
    /// How often the clock is looked at.
    pub(crate) fn tick(&self) -> Duration {
        let shortest = [self.hello, self.ping, self.silence, self.idle].into_iter().min().unwrap_or_default();
        (shortest / 4).clamp(Duration::from_millis(5), Duration::from_secs(1))
    }
}

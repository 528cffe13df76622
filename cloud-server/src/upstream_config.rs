//! What an operator can set about upstream engines, and what is made of it.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use msao_protocol::ImageGrid;

use crate::config::ServerConfig;
use crate::engine::{
    EdgeTokenizer, Inputs, Kind, OpenAiConfig, OpenAiEngine, OpenAiStartError, TokenizerError,
};

/// What `--upstream-tokenizer` says where the upstream's is the edge's.
const EDGE_TOKENIZER: &str = "edge";

/// Engines elsewhere that answer instead of a checkpoint here.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Upstream engines")]
pub struct UpstreamOptions {
    /// Address of an OpenAI-compatible engine that answers instead of a checkpoint here, such as
    /// http://gpu-1:8000/v1; may be repeated
    #[arg(long = "upstream", env = "MSAO_UPSTREAM", value_delimiter = ',', value_parser = parse_address)]
    pub upstreams: Vec<String>,
    /// Model to ask the upstreams for; the first that each of them lists unless told otherwise
    #[arg(long, env = "MSAO_UPSTREAM_MODEL")]
    pub upstream_model: Option<String>,
    /// Name of the environment variable that holds the upstreams' key
    #[arg(long, env = "MSAO_UPSTREAM_KEY_ENV")]
    pub upstream_key_env: Option<String>,
    /// What the upstreams are
    #[arg(long, env = "MSAO_UPSTREAM_KIND", default_value = "auto")]
    pub upstream_kind: Kind,
    /// Folder of the upstream model's tokenizer.json, or `edge` if it is the edge model's: then drafts are verified by the
    /// upstream's scores where it tells them
    #[arg(long, env = "MSAO_UPSTREAM_TOKENIZER")]
    pub upstream_tokenizer: Option<PathBuf>,
    /// What the upstream model takes beside text
    #[arg(long, env = "MSAO_UPSTREAM_INPUTS", value_delimiter = ',', default_value = "image")]
    pub upstream_inputs: Vec<Input>,
    /// Side in pixels of the pictures that pages send for the upstreams
    #[arg(long, env = "MSAO_UPSTREAM_IMAGE_PX", default_value = "512")]
    pub upstream_image_px: NonZeroU32,
    /// Squares along a side of these pictures, each of which a page can leave out; divides the side
    #[arg(long, env = "MSAO_UPSTREAM_IMAGE_GRID", default_value = "8")]
    pub upstream_image_grid: NonZeroU32,
    /// Seconds that an upstream may say nothing
    #[arg(long, env = "MSAO_UPSTREAM_IDLE_S", default_value = "60")]
    pub upstream_idle_s: NonZeroU32,
}

/// A kind of input beside text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Input {
    /// Nothing but text
    None,
    /// Pictures
    Image,
    /// Recordings
    Audio,
}

/// Why the upstreams cannot be used as told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpstreamConfigError {
    /// There is no such variable.
    #[error("the environment has no {0}, which --upstream-key-env names: set it to the upstreams' key")]
    NoKey(String),
    /// The squares do not divide the picture.
    #[error(
        "pictures of {side_px} pixels are not divided by {grid} squares a side: choose --upstream-image-px and --upstream-image-grid so that they are"
    )]
    Grid {
        /// The side in pixels.
        side_px: u32,
        /// Squares along it.
        grid: u32,
    },
    /// A tokenizer is missing or of no use.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The engine cannot start.
    #[error(transparent)]
    Start(#[from] OpenAiStartError),
}

impl UpstreamOptions {
    /// Whether engines elsewhere answer.
    pub fn is_used(&self) -> bool {
        !self.upstreams.is_empty()
    }
}

/// Starts the engine that asks the upstreams; `edge` is the folder of the model that pages draft with.
///
/// # Errors
/// When an option contradicts another or names what is not there.
pub(crate) fn start(config: &ServerConfig, edge: &Path) -> Result<OpenAiEngine, UpstreamConfigError> {
    let options = &config.upstream;
    let key = options.upstream_key_env.as_deref().map(read_key).transpose()?;
    let tokenizer = EdgeTokenizer::from_dir(edge)?;
    let shares_tokenizer = match &options.upstream_tokenizer {
        None => false,
        Some(edge) if edge.as_os_str() == EDGE_TOKENIZER => true,
        Some(folder) => tokenizer.is_same_as(folder)?,
    };
    let (side_px, grid) = (options.upstream_image_px.get(), options.upstream_image_grid.get());
    if side_px % grid != 0 {
        return Err(UpstreamConfigError::Grid { side_px, grid });
    }
    let takes = |input| options.upstream_inputs.contains(&input);
    let engine = OpenAiConfig {
        upstreams: options.upstreams.clone(),
        model: options.upstream_model.clone(),
        key,
        kind: options.upstream_kind,
        tokenizer,
        shares_tokenizer,
        inputs: Inputs { images: takes(Input::Image), audio: takes(Input::Audio) },
        image: ImageGrid { side_px, tokens_per_side: grid },
        limits: config.limits,
        places: config.queue.into(),
        attach_wait: Duration::from_secs(config.attach_s.into()),
        idle: Duration::from_secs(options.upstream_idle_s.get().into()),
    };
    Ok(OpenAiEngine::start(engine)?)
}

fn read_key(variable: &str) -> Result<String, UpstreamConfigError> {
    match std::env::var(variable) {
        Ok(key) if !key.trim().is_empty() => Ok(key.trim().to_owned()),
        _ => Err(UpstreamConfigError::NoKey(variable.to_owned())),
    }
}

/// Why an address is none.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{0}` is no address of an engine: write it as http://host:8000/v1, without user name, query or fragment"
)]
struct InvalidAddress(String);

fn parse_address(address: &str) -> Result<String, InvalidAddress> {
    let invalid = || InvalidAddress(address.to_owned());
    let url = reqwest::Url::parse(address).map_err(|_error| invalid())?;
    let is_plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    match url.scheme() {
        "http" | "https" if is_plain && url.fragment().is_none() && url.has_host() => Ok(address.to_owned()),
        _ => Err(invalid()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn parse(words: &str) -> Result<UpstreamOptions, clap::Error> {
        let words = std::iter::once("msao-server").chain(words.split_whitespace());
        ServerConfig::try_parse_from(words).map(|config| config.upstream)
    }

    #[test]
    fn upstreams_are_repeated_or_listed() {
        let options = parse("--upstream http://a:1/v1 --upstream https://b/v1,http://c/v1").unwrap();
        assert_eq!(options.upstreams, ["http://a:1/v1", "https://b/v1", "http://c/v1"]);
        assert!(options.is_used());
        assert_eq!((options.upstream_kind, options.upstream_inputs), (Kind::Auto, vec![Input::Image]));
        assert!(!parse("").unwrap().is_used());
    }

    #[test]
    fn what_is_no_address_is_refused_and_secrets_do_not_belong_in_one() {
        for address in ["a:1", "ftp://a/v1", "http://user:pass@a/v1", "http://a/v1?key=x", "http://"] {
            assert!(parse(&format!("--upstream {address}")).is_err(), "{address}");
        }
    }
}

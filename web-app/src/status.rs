//! Whether each side can answer, and the words that say so.

use msao_planner::EngineKind;
use msao_protocol::{ModelInfo, Vocabulary};
use msao_runtime::messages::{AdapterInfo, LoadStage, Progress};

use crate::format;

/// The engine on this device.
#[derive(Debug, Clone, PartialEq)]
pub enum EdgeStatus {
    /// Not loaded, because the user wished so.
    Off,
    /// Being fetched and prepared.
    Loading(Progress),
    /// Answers.
    Ready(EdgeReady),
    /// Cannot answer.
    Failed(String),
}

/// The speech model on this device.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum EarsStatus {
    /// Not wanted, or not offered.
    #[default]
    Off,
    /// Being fetched: bytes that are here, and in all.
    Loading(u64, u64),
    /// Writes recordings down.
    Ready,
    /// Cannot be had.
    Failed(String),
}

impl EarsStatus {
    /// What there is to say; nothing while it is off.
    pub fn words(&self) -> String {
        match self {
            Self::Off => String::new(),
            Self::Loading(_, 0) => "The speech model is being loaded.".to_owned(),
            Self::Loading(loaded, total) => {
                format!("{} of {} are here.", format::bytes(*loaded), format::bytes(*total))
            }
            Self::Ready => "Ready to listen.".to_owned(),
            Self::Failed(reason) => format!("It cannot be used: {reason}."),
        }
    }
}

/// An engine that answers.
#[derive(Debug, Clone, PartialEq)]
pub struct EdgeReady {
    /// Which engine.
    pub engine: EngineKind,
    /// On how many threads SIMD runs.
    pub threads: u32,
    /// The GPU, for WebGPU.
    pub adapter: Option<AdapterInfo>,
    /// Name of the checkpoint.
    pub model: String,
    /// Weights in the model.
    pub parameters: u64,
    /// It says how much of picture and sound a question needs.
    pub has_probe: bool,
    /// What its token ids mean.
    pub vocabulary: Vocabulary,
    /// Another engine is being tried in the background.
    pub trying_other: bool,
}

impl EdgeReady {
    /// The folder of its module in the package.
    pub fn module(&self) -> &'static str {
        match (self.engine, self.threads) {
            (EngineKind::Webgpu, _) => "webgpu",
            (EngineKind::Simd, 2..) => "threads",
            (EngineKind::Simd, _) => "simd",
        }
    }
}

impl EdgeStatus {
    /// Whether questions are answered here.
    pub fn is_ready(&self) -> bool {
        matches!(self, Self::Ready(_))
    }

    /// State in a word or two.
    pub fn headline(&self) -> String {
        match self {
            Self::Off => "off".to_owned(),
            Self::Loading(progress) => stage(progress),
            Self::Ready(ready) => format!("ready · {}", threaded(ready.engine, ready.threads)),
            Self::Failed(_) => "not available".to_owned(),
        }
    }

    /// The rest of what there is to say.
    pub fn detail(&self) -> String {
        match self {
            Self::Off => "Questions go to the cloud alone. A download goes on where it stopped.".to_owned(),
            Self::Loading(_) => String::new(),
            Self::Ready(ready) => {
                let mut detail = format!("{}, {} weights", ready.model, format::parameters(ready.parameters));
                if let Some(adapter) = ready.adapter.as_ref().map(adapter) {
                    detail += &format!(", {adapter}");
                }
                if ready.trying_other {
                    detail += match ready.engine {
                        EngineKind::Simd => "; trying WebGPU",
                        EngineKind::Webgpu => "; SIMD is taking over",
                    };
                }
                detail
            }
            Self::Failed(message) => message.clone(),
        }
    }

    /// Share of the download that is here, in 0..=1; `None` while unknown.
    pub fn fraction(&self) -> Option<f64> {
        match self {
            Self::Loading(progress) if progress.total_bytes > 0 => {
                Some((progress.loaded_bytes as f64 / progress.total_bytes as f64).min(1.0))
            }
            _ => None,
        }
    }
}

fn stage(progress: &Progress) -> String {
    match progress.stage {
        LoadStage::Engine => format!("loading {}", engine(progress.engine)),
        LoadStage::Weights => {
            let total = Some(progress.total_bytes).filter(|&total| total > 0);
            let bytes = format::progress(progress.loaded_bytes, total);
            match progress.seconds_left {
                Some(seconds) => format!("downloading {bytes} · {} left", format::rough_seconds(seconds)),
                None => format!("downloading {bytes}"),
            }
        }
        LoadStage::Model => "building the model".to_owned(),
        LoadStage::WarmUp => "warming up".to_owned(),
        LoadStage::Measure => "measuring".to_owned(),
    }
}

/// Name of an engine with its threads, where there are several.
fn threaded(kind: EngineKind, threads: u32) -> String {
    match (kind, threads) {
        (EngineKind::Simd, 2..) => format!("{}, {threads} threads", engine(kind)),
        _ => engine(kind).to_owned(),
    }
}

/// Name of an engine.
pub fn engine(kind: EngineKind) -> &'static str {
    match kind {
        EngineKind::Simd => "SIMD",
        EngineKind::Webgpu => "WebGPU",
    }
}

/// Name of a GPU: the most telling of what the browser says.
pub fn adapter(adapter: &AdapterInfo) -> String {
    let name = if adapter.description.is_empty() {
        [adapter.vendor.as_str(), adapter.architecture.as_str()].join(" ").trim().to_owned()
    } else {
        adapter.description.clone()
    };
    let name = if name.is_empty() { "unnamed GPU".to_owned() } else { name };
    if adapter.is_fallback { format!("{name} (software)") } else { name }
}

/// The session with the cloud.
#[derive(Debug, Clone, PartialEq)]
pub enum CloudStatus {
    /// Being opened for the first time.
    Connecting,
    /// Open.
    Connected(ModelInfo),
    /// Closed, because the user works offline.
    Offline,
    /// The server is away.
    Away {
        /// What happened.
        reason: String,
        /// When it is tried again, in milliseconds of the page's clock; `None` while it is being tried.
        retry_at_ms: Option<f64>,
    },
}

impl CloudStatus {
    /// Whether questions are answered there.
    pub fn is_connected(&self) -> bool {
        matches!(self, Self::Connected(_))
    }

    /// Name of the model that answers there; `None` while nobody does.
    pub fn model_name(&self) -> Option<&str> {
        match self {
            Self::Connected(model) => Some(&model.name),
            _ => None,
        }
    }

    /// State in a word or two, at `now_ms`.
    pub fn headline(&self, now_ms: f64) -> String {
        match self {
            Self::Connecting => "connecting".to_owned(),
            Self::Connected(_) => "connected".to_owned(),
            Self::Offline => "closed".to_owned(),
            Self::Away { retry_at_ms: None, .. } => "away · trying again".to_owned(),
            Self::Away { retry_at_ms: Some(at_ms), .. } => {
                let left_s = ((at_ms - now_ms) / 1_000.0).ceil().max(0.0);
                format!("away · trying again in {left_s:.0} s")
            }
        }
    }

    /// The rest of what there is to say.
    pub fn detail(&self) -> String {
        match self {
            Self::Connecting => String::new(),
            // Nobody here knows how large the model of an engine elsewhere is.
            Self::Connected(model) if model.parameters == 0 => {
                format!("{}, on an upstream engine", model.name)
            }
            Self::Connected(model) => {
                format!(
                    "{}, {} weights, on {}",
                    model.name,
                    format::parameters(model.parameters),
                    model.device
                )
            }
            Self::Offline => "You work offline: nothing leaves this device.".to_owned(),
            Self::Away { reason, .. } => reason.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use msao_protocol::{ImageGrid, PictureSize};

    use super::*;

    #[test]
    fn a_download_shows_bytes_and_once_they_are_known_seconds() {
        let progress = Progress {
            stage: LoadStage::Weights,
            engine: EngineKind::Simd,
            loaded_bytes: 1_200_000,
            total_bytes: 2_400_000,
            seconds_left: None,
        };
        let status = EdgeStatus::Loading(progress.clone());
        assert_eq!(status.headline(), "downloading 1.2 of 2.4 MB");
        assert_eq!(status.fraction(), Some(0.5));
        let status = EdgeStatus::Loading(Progress { seconds_left: Some(3.2), ..progress });
        assert_eq!(status.headline(), "downloading 1.2 of 2.4 MB · 4 s left");
    }

    #[test]
    fn threads_are_told_where_there_are_several() {
        let ready = |engine, threads| EdgeReady {
            engine,
            threads,
            adapter: None,
            model: "edge".into(),
            parameters: 1,
            has_probe: true,
            vocabulary: Vocabulary::default(),
            trying_other: false,
        };
        for (engine, threads, headline, module) in [
            (EngineKind::Simd, 1, "ready · SIMD", "simd"),
            (EngineKind::Simd, 3, "ready · SIMD, 3 threads", "threads"),
            (EngineKind::Webgpu, 1, "ready · WebGPU", "webgpu"),
        ] {
            let ready = ready(engine, threads);
            assert_eq!(ready.module(), module);
            assert_eq!(EdgeStatus::Ready(ready).headline(), headline);
        }
    }

    #[test]
    fn a_software_adapter_is_called_one() {
        let swiftshader = AdapterInfo {
            vendor: "google".into(),
            architecture: "swiftshader".into(),
            is_fallback: true,
            ..Default::default()
        };
        assert_eq!(adapter(&swiftshader), "google swiftshader (software)");
        assert_eq!(adapter(&AdapterInfo::default()), "unnamed GPU");
    }

    #[test]
    fn what_is_not_known_of_a_model_is_not_shown() {
        let mut model = ModelInfo {
            name: "qwen".into(),
            parameters: 0,
            device: "upstream".into(),
            image: ImageGrid::default(),
            audio: None,
            co_located_draft: false,
            vocabulary: Vocabulary::default(),
            pictures: PictureSize::default(),
            clips: None,
        };
        assert_eq!(CloudStatus::Connected(model.clone()).detail(), "qwen, on an upstream engine");
        (model.parameters, model.device) = (14_200_000, "cpu".into());
        assert_eq!(CloudStatus::Connected(model).detail(), "qwen, 14 M weights, on cpu");
    }

    #[test]
    fn the_countdown_never_goes_below_zero() {
        let away = CloudStatus::Away { reason: "refused".into(), retry_at_ms: Some(5_000.0) };
        assert_eq!(away.headline(1_200.0), "away · trying again in 4 s");
        assert_eq!(away.headline(9_000.0), "away · trying again in 0 s");
    }
}

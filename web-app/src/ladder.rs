//! The ladder, in words: WebGPU, Wasm SIMD, the cloud alone, this device alone. Each step that is taken while the page is
//! open is told in one line, with what helps where something does.

use msao_planner::EngineKind;
use msao_runtime::messages::Kept;

use crate::{format, status};

/// Something that changed who answers, or how the page itself stands.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// An engine failed; another one, or the same kind started again, goes on.
    EngineReplaced {
        /// Which one failed.
        from: EngineKind,
        /// Which one goes on.
        to: EngineKind,
        /// What happened, in the engine's words.
        why: String,
    },
    /// WebGPU was measured in the background and is not clearly faster.
    WebgpuSlower,
    /// WebGPU answered, and is slower than SIMD now.
    WebgpuBecameSlow,
    /// WebGPU was tried in the background and cannot be used.
    WebgpuUnusable {
        /// What happened, in the engine's words.
        why: String,
    },
    /// Nothing on this device answers any more.
    EdgeLost {
        /// What happened, in the engine's words.
        why: String,
    },
    /// The session with the cloud was lost, or cannot be had.
    CloudLost {
        /// This device can answer alone.
        edge_answers: bool,
    },
    /// The session with the cloud stands again.
    CloudBack,
    /// The cloud was lost while it answered; this device finishes the answer.
    CutInMidAnswer,
    /// The model was fetched and cannot be kept.
    NotKept {
        /// Why.
        kept: Kept,
        /// Bytes of it.
        bytes: u64,
    },
    /// The server has a newer page.
    NewVersion,
}

/// What a visitor can do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Start the engine again.
    LoadEngine,
    /// Reload the page.
    Reload,
}

impl Remedy {
    /// The words on the button.
    pub fn label(self) -> &'static str {
        match self {
            Self::LoadEngine => "Try again",
            Self::Reload => "Reload",
        }
    }
}

impl Step {
    /// What happened, for people.
    pub fn words(&self) -> String {
        match self {
            Self::EngineReplaced { from, to, why } if from == to => {
                format!(
                    "The model on this device stopped and was started again; nothing is lost. ({})",
                    first_words(why)
                )
            }
            Self::EngineReplaced { from, to, why } => format!(
                "{} stopped on this device; {} answers from here on, and nothing is lost. ({})",
                status::engine(*from),
                status::engine(*to),
                first_words(why)
            ),
            Self::WebgpuSlower => {
                "WebGPU was tried and is not faster on this device; SIMD goes on answering.".to_owned()
            }
            Self::WebgpuBecameSlow => {
                "WebGPU has become slower than SIMD on this device; SIMD answers from here on.".to_owned()
            }
            Self::WebgpuUnusable { why } => {
                format!("WebGPU cannot be used on this device; SIMD goes on answering. ({})", first_words(why))
            }
            Self::EdgeLost { why } => {
                format!("The model on this device cannot answer: {}. Questions go to the cloud alone.", first_words(why))
            }
            Self::CloudLost { edge_answers: true } => {
                "The cloud is away: this device answers alone, unverified, until it is back.".to_owned()
            }
            Self::CloudLost { edge_answers: false } => {
                "The cloud is away, and this device has no model ready: questions wait until one of them is back.".to_owned()
            }
            Self::CloudBack => "The cloud is back: answers are verified again.".to_owned(),
            Self::CutInMidAnswer => {
                "The cloud was lost in the middle of an answer: this device's words stand there, unverified.".to_owned()
            }
            Self::NotKept { kept: Kept::NoRoom, bytes } => format!(
                "There is no room on this device to keep the model ({}): it is in memory, and is fetched again next time.",
                format::bytes(*bytes)
            ),
            Self::NotKept { bytes, .. } => format!(
                "This browser keeps nothing here, as in a private window: the model ({}) is fetched again next time.",
                format::bytes(*bytes)
            ),
            Self::NewVersion => "A new version of this page is there.".to_owned(),
        }
    }

    /// What helps, where something does.
    pub fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::EdgeLost { .. } => Some(Remedy::LoadEngine),
            Self::NewVersion => Some(Remedy::Reload),
            _ => None,
        }
    }

    /// Name for tests and styles.
    pub fn name(&self) -> &'static str {
        match self {
            Self::EngineReplaced { .. } => "engine-replaced",
            Self::WebgpuSlower => "webgpu-slower",
            Self::WebgpuBecameSlow => "webgpu-became-slow",
            Self::WebgpuUnusable { .. } => "webgpu-unusable",
            Self::EdgeLost { .. } => "edge-lost",
            Self::CloudLost { .. } => "cloud-lost",
            Self::CloudBack => "cloud-back",
            Self::CutInMidAnswer => "cut-in-mid-answer",
            Self::NotKept { .. } => "not-kept",
            Self::NewVersion => "new-version",
        }
    }
}

/// What an engine says, up to what the page says itself, without a full stop.
fn first_words(why: &str) -> &str {
    why.split("; ").next().unwrap_or(why).trim_end_matches('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_gpu_is_told_with_what_goes_on_and_why() {
        let step = Step::EngineReplaced {
            from: EngineKind::Webgpu,
            to: EngineKind::Simd,
            why: "the webgpu engine stopped: the GPU was lost; Wasm SIMD has taken over".to_owned(),
        };
        let words = step.words();
        assert!(words.starts_with("WebGPU stopped on this device; SIMD answers from here on"), "{words}");
        assert!(words.ends_with("(the webgpu engine stopped: the GPU was lost)"), "{words}");
        assert_eq!(step.remedy(), None, "nothing need be done");
    }

    #[test]
    fn what_a_visitor_can_mend_has_a_button() {
        let lost = Step::EdgeLost { why: "its script could not be loaded.".to_owned() };
        assert_eq!(lost.remedy().map(Remedy::label), Some("Try again"));
        assert!(lost.words().contains("loaded. Questions go to the cloud alone."), "{}", lost.words());
        assert_eq!(Step::NewVersion.remedy(), Some(Remedy::Reload));
    }

    #[test]
    fn whoever_cannot_keep_the_model_learns_why_and_how_much_it_is() {
        let words = |kept| Step::NotKept { kept, bytes: 2_300_000 }.words();
        assert!(words(Kept::NoRoom).contains("no room") && words(Kept::NoRoom).contains("2.3 MB"));
        assert!(words(Kept::NoStore).contains("private window"));
    }

    #[test]
    fn without_a_model_here_nobody_promises_an_answer() {
        assert!(!Step::CloudLost { edge_answers: false }.words().contains("answers alone"));
    }
}

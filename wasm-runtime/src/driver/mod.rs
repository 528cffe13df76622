//! The whole method over both models, as one state machine: questions go in, what happens at the device's engine and in the
//! session with the cloud goes in, and what is to be done comes out as [`Action`]s.
//!
//! [`orchestrator`](crate::orchestrator) decides about one question; this drives it: it says which message goes to whom, keeps
//! what the session has learnt, holds the locks, and ends each question exactly once. It knows no socket, Worker, clock or
//! browser: the module that other sites embed performs the actions (`session_bindings.rs`), and tests play both models.
//!
//! | file | what happens there |
//! |---|---|
//! | `action` | what is to be done, and what is told of a question |
//! | `asking` | from a question to its plan, and to what leaves the device |
//! | `events` | what both models tell |
//! | `outcome` | how a question ends |
//! | `running` | a question under way |

mod action;
mod asking;
mod events;
mod outcome;
mod running;

use std::collections::BTreeMap;

use msao_planner::confidence::JudgedPair;
use msao_protocol::{
    AnswerMode, Clip, Limits, Media, Modality, ModelInfo, Policy, RequestId, Sampling, Turn, Vocabulary,
};
use serde::Deserialize;

use self::running::Running;
pub use self::{
    action::{Action, AnswerReceipt, Failure, FailureCode, OwnCode, ShownToken, Told, Usage},
    asking::Tiles,
};
use crate::orchestrator::Knowledge;

/// What must not leave the device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Locks {
    /// The words: with them nothing at all leaves it, since no question is asked without.
    pub text: bool,
    /// Pictures.
    pub vision: bool,
    /// Recordings.
    pub audio: bool,
}

impl Locks {
    /// Whether a modality is locked.
    pub fn holds(self, modality: Modality) -> bool {
        match modality {
            Modality::Text => self.text,
            Modality::Vision => self.vision,
            Modality::Audio => self.audio,
        }
    }
}

/// Under which terms questions are asked from now on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// What must not leave the device.
    pub locks: Locks,
    /// What a question may use.
    pub policy: Policy,
    /// What its answer is held to.
    pub mode: AnswerMode,
    /// Whether the device leaves out tiles of pictures that a target looks at in tiles, which may change answers.
    pub prune_tiles: bool,
}

/// A question with its media, encoded for the wire.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Question {
    /// The words for the models.
    pub text: String,
    /// What was asked and answered before, oldest first, in words. The device does not read it.
    pub history: Vec<Turn>,
    /// One picture, or the frames of a clip in order of time.
    pub images: Vec<Media>,
    /// When the frames were, if they are of a video.
    pub clip: Option<Clip>,
    /// A recording.
    pub audio: Option<Media>,
    /// Most tokens of the answer.
    pub max_new_tokens: u32,
    /// How tokens are drawn; `None` takes the most likely one each time.
    pub sampling: Option<Sampling>,
    /// As in [`Settings`], which says it where this is `None`.
    pub prune_tiles: Option<bool>,
    /// Only the plan is wanted: it is told as [`Told::Planned`], and nothing is sent.
    pub only_plan: bool,
}

/// The device's engine, once it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Edge {
    parameters: u64,
    has_probe: bool,
    vocabulary: Vocabulary,
}

/// The state machine. See the module's description.
#[derive(Debug)]
pub struct Driver {
    settings: Settings,
    knowledge: Knowledge,
    edge: Option<Edge>,
    /// The model in the cloud while the session is open.
    target: Option<ModelInfo>,
    limits: Limits,
    judged: Option<JudgedPair>,
    running: BTreeMap<RequestId, Running>,
    last_id: RequestId,
}

impl Driver {
    /// Neither model is there yet. `seed` is of the random numbers that draft lengths and shadow verifications are drawn
    /// with; nobody should be able to foresee it.
    pub fn new(settings: Settings, seed: u64) -> Self {
        let mut driver = Self {
            settings,
            knowledge: Knowledge::new(seed),
            edge: None,
            target: None,
            limits: Limits::default(),
            judged: None,
            running: BTreeMap::new(),
            last_id: 0,
        };
        driver.control_risk();
        driver
    }

    /// Asks under other terms from now on. A lock holds at once, for questions under way too.
    pub fn set(&mut self, settings: Settings) {
        self.settings = settings;
        self.control_risk();
    }

    /// The server's budgets; the protocol's own until it has told them.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Takes the answers that were judged beforehand; they count if they are of this pair of models.
    pub fn learn(&mut self, judged: JudgedPair) {
        self.judged = Some(judged);
        self.control_risk();
    }

    /// Questions under way.
    pub fn under_way(&self) -> usize {
        self.running.len()
    }

    fn control_risk(&mut self) {
        let AnswerMode::RiskControlled { epsilon } = self.settings.mode else { return };
        if let (Some(judged), Some(target)) = (&self.judged, &self.target) {
            self.knowledge.confidence.learn(judged, &target.name);
        }
        self.knowledge.confidence.control_risk(epsilon.into());
    }
}

#[cfg(test)]
mod tests;

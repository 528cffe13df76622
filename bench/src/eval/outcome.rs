//! What the evaluation keeps of one question: one line of JSON, so that a cut run goes on where it was.

use msao_planner::confidence::Judged;
use serde::{Deserialize, Serialize};

/// A question of the evaluation set, as its generator writes it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Question {
    pub(crate) id: String,
    pub(crate) family: String,
    pub(crate) question: String,
    pub(crate) answer: String,
    pub(crate) needs: Needs,
    pub(crate) images: Vec<String>,
    pub(crate) audio: Option<String>,
}

/// Ground truth: which modalities the answer needs.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Needs {
    pub(crate) vision: bool,
    pub(crate) audio: bool,
}

/// Everything measured about one question.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) id: String,
    pub(crate) family: String,
    pub(crate) right_answer: String,
    pub(crate) needs: Needs,
    /// `None` where the modality was not given.
    pub(crate) vision: Option<Modality>,
    pub(crate) audio: Option<Modality>,
    /// Relevance by a probe that was not trained on this family; `None` where each was.
    pub(crate) left_out: Option<LeftOut>,
    pub(crate) kept_frames: usize,
    pub(crate) frames: usize,
    pub(crate) edge: EdgeOutcome,
    /// The target's answer on everything.
    pub(crate) whole_answer: String,
    /// The target's answer on what MAS keeps.
    pub(crate) kept_answer: String,
    pub(crate) speculation: Speculation,
    pub(crate) flops: FlopCounts,
    pub(crate) ms: Times,
}

/// One modality of a question.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Modality {
    pub(crate) relevance: f64,
    /// Tokens of the target.
    pub(crate) tokens: usize,
    pub(crate) kept_tokens: usize,
    /// Bytes on the wire.
    pub(crate) whole_bytes: usize,
    pub(crate) kept_bytes: usize,
}

/// Relevance of each modality that was given.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct LeftOut {
    pub(crate) vision: Option<f64>,
    pub(crate) audio: Option<f64>,
}

/// The edge's own answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct EdgeOutcome {
    pub(crate) answer: String,
    /// Least probability of its tokens.
    pub(crate) confidence: f64,
    pub(crate) tokens: usize,
}

/// Verification of the edge's drafts by the target, on what MAS keeps.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Speculation {
    pub(crate) draft_tokens: usize,
    pub(crate) rounds: usize,
    pub(crate) proposed_drafts: usize,
    pub(crate) accepted_drafts: usize,
    pub(crate) answer_tokens: usize,
    /// Whether the tokens are those of the target alone.
    pub(crate) is_lossless: bool,
    /// Least distance between the two best scores of the target alone, over the answer.
    pub(crate) least_margin: f64,
}

/// Operations, counted from the configurations.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct FlopCounts {
    pub(crate) probe: u64,
    pub(crate) edge: u64,
    pub(crate) whole_target: u64,
    pub(crate) kept_target: u64,
}

/// Milliseconds on this machine.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Times {
    pub(crate) probe: f64,
    pub(crate) edge: f64,
    pub(crate) kept_target: f64,
}

impl Outcome {
    /// The edge's confidence, and whether its answer is the target's.
    pub(crate) fn judged(&self) -> Judged {
        Judged { confidence: self.edge.confidence, agreed: self.edge_agrees() }
    }

    /// Whether the edge's answer is the target's on the same kept inputs: what may stand without it.
    pub(crate) fn edge_agrees(&self) -> bool {
        self.edge.answer == self.kept_answer
    }
}

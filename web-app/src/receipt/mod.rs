//! The receipt of a question, device and cloud together: its figures, what is drawn of them, what is saved as a file.
//!
//! Plain Rust: numbers, words and drawings as text. Components put them on the page.

pub mod authors;
pub mod draw;
pub mod export;
#[cfg(test)]
pub(crate) mod fixtures;
pub mod markup;
pub mod saved;
pub mod squares;
pub mod totals;
pub mod waterfall;
pub mod words;

use msao_protocol::{PlanReceipt, Receipt, TokenFate};

use crate::heard::HeardHere;

/// What is known about a question that was asked.
#[derive(Debug, Clone, PartialEq)]
pub struct TurnReceipt {
    /// What was decided, and what came of it.
    pub plan: PlanReceipt,
    /// Prompt tokens that all of vision and all of audio would be for the cloud.
    pub whole_tokens: [u32; 2],
    /// What the device heard in the recording, where its model cannot hear by itself.
    pub heard: Option<HeardHere>,
    /// The device's own.
    pub edge: Option<Receipt>,
    /// The server's own.
    pub cloud: Option<Receipt>,
    /// For each picture, row by row: the probability that a patch decides the answer. Empty where nothing scored them.
    pub patch_probabilities: Vec<Vec<f32>>,
    /// Weights of the model in the cloud; `None` where there was none.
    pub target_parameters: Option<u64>,
    /// The device's model was there and did not take part: the question goes on from an answer, and it reads single ones.
    pub device_sat_out: bool,
    /// When things happened, as the page saw it.
    pub timing: Timing,
}

/// When things happened, as the page saw it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Timing {
    /// When it was asked, in milliseconds since the page was opened.
    pub asked_at_ms: f64,
    /// When the question was handed to the network, in milliseconds since it was asked.
    pub sent_at_ms: Option<f64>,
    /// The device's answer.
    pub edge: SideTiming,
    /// The cloud's answer.
    pub cloud: SideTiming,
}

/// When one side answered, in milliseconds since the question; `None` for what did not happen.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct SideTiming {
    /// The first token that stands.
    pub first_token_ms: Option<f64>,
    /// The end.
    pub total_ms: Option<f64>,
}

impl TurnReceipt {
    /// Whether the answer is the device's, which nobody has verified.
    pub fn is_of_device_alone(&self) -> bool {
        let tokens = &self.plan.tokens;
        !tokens.is_empty() && tokens.iter().all(|token| token.fate == TokenFate::Unverified)
    }

    /// Milliseconds from the question to the end of the answer that counts.
    pub fn latency_ms(&self) -> Option<f64> {
        let Timing { edge, cloud, .. } = self.timing;
        if self.is_of_device_alone() { edge.total_ms } else { cloud.total_ms.or(edge.total_ms) }
    }
}

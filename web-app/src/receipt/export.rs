//! Receipts as files: JSON of a documented, versioned form (docs/receipt.md).
//!
//! Neither questions nor answers nor media are in them, so that they can be shown around.

use msao_protocol::{PlanReceipt, Receipt, RequestId};
use msao_runtime::frame_log::FrameRecord;
use serde::{Deserialize, Serialize};

use super::{SideTiming, TurnReceipt, totals::Totals};
use crate::network;

/// Names the form of the file.
pub const FORMAT: &str = "msao-receipts";
/// Version of the form: rises when a field goes or changes its meaning; fields may be added without.
pub const VERSION: u32 = 1;

/// A file of receipts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReceiptFile {
    /// [`FORMAT`].
    pub format: String,
    /// [`VERSION`].
    pub version: u32,
    /// Version of the page that wrote it.
    pub page: String,
    /// Sums over the receipts.
    pub totals: Totals,
    /// One for each question, in order.
    pub receipts: Vec<ExportedReceipt>,
}

/// The receipt of one question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExportedReceipt {
    /// Number of the request in the session.
    pub request_id: RequestId,
    /// What was decided, and what came of it.
    pub plan: PlanReceipt,
    /// Prompt tokens that all of the pictures would be for the cloud.
    pub whole_vision_tokens: u32,
    /// The same of sound.
    pub whole_audio_tokens: u32,
    /// For each picture, row by row: the probability that a patch decides the answer.
    pub patch_probabilities: Vec<Vec<f32>>,
    /// The device's own receipt.
    pub edge: Option<Receipt>,
    /// The server's own receipt.
    pub cloud: Option<Receipt>,
    /// The device's model was there and did not take part: the question goes on from an answer, and it reads single ones.
    pub device_sat_out: bool,
    /// Milliseconds from the opening of the page to the question.
    pub asked_at_ms: f64,
    /// Milliseconds from the question to the moment it was handed to the network.
    pub sent_at_ms: Option<f64>,
    /// Milliseconds from the question to the device's first token and end.
    pub edge_timing: ExportedTiming,
    /// The same of the cloud.
    pub cloud_timing: ExportedTiming,
    /// Floating-point operations that the cloud was spared, reckoned low.
    pub spared_flops: Option<i64>,
    /// What crossed the network for it, in order.
    pub frames: Vec<ExportedFrame>,
}

/// When one side answered.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ExportedTiming {
    /// The first token that stands.
    pub first_token_ms: Option<f64>,
    /// The end.
    pub total_ms: Option<f64>,
}

/// A message that crossed the network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExportedFrame {
    /// What it was: `question`, `draft`, `settled` and so on.
    pub kind: String,
    /// Whether it left the device.
    pub sent: bool,
    /// Milliseconds since the page was opened.
    pub at_ms: f64,
    /// Bytes, its header included.
    pub bytes: u64,
    /// Bytes of the user's words in it.
    pub text_bytes: u64,
    /// Bytes of pictures in it.
    pub vision_bytes: u64,
    /// Bytes of sound in it.
    pub audio_bytes: u64,
}

impl From<SideTiming> for ExportedTiming {
    fn from(timing: SideTiming) -> Self {
        Self { first_token_ms: timing.first_token_ms, total_ms: timing.total_ms }
    }
}

impl From<&FrameRecord> for ExportedFrame {
    fn from(frame: &FrameRecord) -> Self {
        Self {
            kind: network::kind_name(frame.kind).to_owned(),
            sent: frame.kind.is_sent(),
            at_ms: frame.at_ms,
            bytes: frame.bytes,
            text_bytes: frame.given_bytes.text,
            vision_bytes: frame.given_bytes.vision,
            audio_bytes: frame.given_bytes.audio,
        }
    }
}

impl ReceiptFile {
    /// The file of some questions: of each its request, its receipt and what crossed the network.
    pub fn of<'a>(
        questions: impl IntoIterator<Item = (RequestId, &'a TurnReceipt, Vec<FrameRecord>)> + Clone,
    ) -> Self {
        let exported = |(request_id, receipt, frames): (_, &TurnReceipt, Vec<FrameRecord>)| ExportedReceipt {
            request_id,
            plan: receipt.plan.clone(),
            whole_vision_tokens: receipt.whole_tokens[0],
            whole_audio_tokens: receipt.whole_tokens[1],
            patch_probabilities: receipt.patch_probabilities.clone(),
            edge: receipt.edge.clone(),
            cloud: receipt.cloud.clone(),
            device_sat_out: receipt.device_sat_out,
            asked_at_ms: receipt.timing.asked_at_ms,
            sent_at_ms: receipt.timing.sent_at_ms,
            edge_timing: receipt.timing.edge.into(),
            cloud_timing: receipt.timing.cloud.into(),
            spared_flops: receipt.spared_flops(),
            frames: frames.iter().map(ExportedFrame::from).collect(),
        };
        Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            page: env!("CARGO_PKG_VERSION").to_owned(),
            totals: Totals::of(questions.clone().into_iter().map(|(_, receipt, _)| receipt)),
            receipts: questions.into_iter().map(exported).collect(),
        }
    }

    /// The file's text.
    ///
    /// # Errors
    /// Never for what this page makes: all of it has a form in JSON.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self)
    }
}

#[cfg(test)]
mod tests {
    use msao_runtime::frame_log::{FrameKind, GivenBytes};
    use serde_json::Value;

    use super::*;
    use crate::receipt::fixtures::receipt;

    fn file() -> ReceiptFile {
        let frame = FrameRecord {
            at_ms: 5_030.0,
            kind: FrameKind::Question,
            request_id: Some(7),
            bytes: 950,
            given_bytes: GivenBytes { text: 20, vision: 900, audio: 0 },
        };
        ReceiptFile::of([(7, &receipt(), vec![frame])])
    }

    #[test]
    fn a_file_reads_back_as_it_was_written() {
        let json = file().to_json().unwrap();
        assert_eq!(serde_json::from_str::<ReceiptFile>(&json).unwrap(), file());
    }

    /// Others read these names: a change of them is a new version, and docs/receipt.md.
    #[test]
    fn names_of_fields_are_those_of_the_documentation() {
        let json: Value = serde_json::from_str(&file().to_json().unwrap()).unwrap();
        let documentation = include_str!("../../../docs/receipt.md");
        let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        let receipt = &json["receipts"][0];
        let all = [
            names(&json),
            names(&json["totals"]),
            names(receipt),
            names(&receipt["plan"]),
            names(&receipt["plan"]["modalities"][0]),
            names(&receipt["plan"]["modalities"][0]["mas"]),
            names(&receipt["edge"]),
            names(&receipt["edge_timing"]),
            names(&receipt["frames"][0]),
        ];
        for name in all.concat() {
            assert!(documentation.contains(&format!("`{name}`")), "docs/receipt.md lacks {name}");
        }
        assert_eq!((&json["format"], &json["version"]), (&"msao-receipts".into(), &1.into()));
    }
}

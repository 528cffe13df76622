//! Judged answers of one edge model against one target, as they are shipped beside the edge's weights.

use serde::{Deserialize, Serialize};

use super::Judged;

/// Confidences of answers that were held against the target's, sorted by what turned out.
///
/// A bound on disagreement holds for the two models that were compared and for no others, so the set names them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct JudgedPair {
    /// Name of the target, as the server tells it.
    pub target: String,
    /// SHA-256 of the edge's weights, in lower-case hexadecimal.
    pub edge_sha256: String,
    /// SHA-256 of the target's weights.
    pub target_sha256: String,
    /// Raw confidences of the answers that equal the target's.
    pub agreed: Vec<f64>,
    /// Raw confidences of those that differ.
    pub differed: Vec<f64>,
}

impl JudgedPair {
    /// Sorts samples by what turned out.
    pub fn new(names: [String; 3], samples: &[Judged]) -> Self {
        let [target, edge_sha256, target_sha256] = names;
        let of = |agreed| {
            let mut confidences: Vec<f64> = samples
                .iter()
                .filter(|sample| sample.agreed == agreed)
                // Six digits tell confidences apart as well as more would.
                .map(|sample| (sample.confidence * 1e6).round() / 1e6)
                .collect();
            confidences.sort_by(f64::total_cmp);
            confidences
        };
        Self { target, edge_sha256, target_sha256, agreed: of(true), differed: of(false) }
    }

    /// The samples. Confidences outside of 0..=1 are left out: a file can say anything.
    pub fn samples(&self) -> Vec<Judged> {
        let judged = |confidences: &[f64], agreed| {
            let is_valid = |confidence: &f64| (0.0..=1.0).contains(confidence);
            confidences
                .iter()
                .copied()
                .filter(is_valid)
                .map(|confidence| Judged { confidence, agreed })
                .collect::<Vec<_>>()
        };
        [judged(&self.agreed, true), judged(&self.differed, false)].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_come_back_and_nonsense_does_not() {
        let samples = [(0.9, true), (0.5, false), (0.25, true)]
            .map(|(confidence, agreed)| Judged { confidence, agreed });
        let mut pair = JudgedPair::new(["target", "1", "2"].map(str::to_owned), &samples);
        assert_eq!((pair.agreed.as_slice(), pair.differed.as_slice()), (&[0.25, 0.9][..], &[0.5][..]));
        assert_eq!(pair.samples().len(), 3);
        pair.differed.extend([f64::NAN, 2.0, -1.0]);
        assert_eq!(pair.samples().len(), 3);
    }
}

//! How good a confidence is: calibration error and discrimination.

use serde::{Deserialize, Serialize};

/// A confidence, and what turned out.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// In 0..=1.
    pub confidence: f64,
    /// The edge's answer equalled the target's.
    pub agreed: bool,
}

/// Samples in order of confidence, split where it changes.
fn by_confidence(samples: &[Judged]) -> Vec<Judged> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(|left, right| left.confidence.total_cmp(&right.confidence));
    sorted
}

/// Expected calibration error over `bins` bins of equal mass, in 0..=1; `None` without samples or bins.
///
/// ```text
/// ECE = sum over bins of (n_b / n) |mean confidence - share agreed|
/// ```
///
/// Equal confidences are never parted, so the figure does not depend on the order of the samples.
pub fn expected_calibration_error(samples: &[Judged], bins: usize) -> Option<f64> {
    if samples.is_empty() || bins == 0 {
        return None;
    }
    let groups = equal_mass(&by_confidence(samples), bins);
    let gap = |group: &[Judged]| {
        let confidence: f64 = group.iter().map(|sample| sample.confidence).sum();
        let agreed: f64 = group.iter().map(|sample| f64::from(u8::from(sample.agreed))).sum();
        (confidence - agreed).abs()
    };
    Some(groups.iter().map(|group| gap(group)).sum::<f64>() / samples.len() as f64)
}

/// Sorted samples in at most `bins` groups of about equal size, equal confidences together.
pub(super) fn equal_mass(sorted: &[Judged], bins: usize) -> Vec<Vec<Judged>> {
    let mut groups: Vec<Vec<Judged>> = Vec::new();
    for (index, ties) in
        sorted.chunk_by(|left, right| left.confidence == right.confidence).scan(0, |index, ties| {
            *index += ties.len();
            Some((*index - ties.len(), ties))
        })
    {
        let begun = groups.len() as f64 * sorted.len() as f64 / bins as f64;
        if groups.is_empty() || index as f64 >= begun {
            groups.push(Vec::new());
        }
        if let Some(group) = groups.last_mut() {
            group.extend_from_slice(ties);
        }
    }
    groups
}

/// Area under the ROC curve: the probability that an answer that agreed has the higher confidence than one
/// that did not, ties counting half (Mann and Whitney). `None` unless there are both.
pub fn auc(samples: &[Judged]) -> Option<f64> {
    let sorted = by_confidence(samples);
    let (mut wins, mut lost_so_far) = (0.0, 0.0);
    for ties in sorted.chunk_by(|left, right| left.confidence == right.confidence) {
        let agreed = ties.iter().filter(|sample| sample.agreed).count() as f64;
        let differed = ties.len() as f64 - agreed;
        wins += agreed * (lost_so_far + differed / 2.0);
        lost_so_far += differed;
    }
    let agreed = samples.len() as f64 - lost_so_far;
    (agreed > 0.0 && lost_so_far > 0.0).then(|| wins / (agreed * lost_so_far))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn judged(samples: &[(f64, bool)]) -> Vec<Judged> {
        samples.iter().map(|&(confidence, agreed)| Judged { confidence, agreed }).collect()
    }

    #[test]
    fn calibration_error_is_the_mean_gap() {
        let samples = judged(&[(0.2, false), (0.2, false), (0.9, true), (0.9, false)]);
        let ece = expected_calibration_error(&samples, 2).unwrap();
        assert!((ece - (0.5 * 0.2 + 0.5 * 0.4)).abs() < 1e-12);
        assert_eq!(expected_calibration_error(&[], 10), None);
    }

    #[test]
    fn auc_counts_pairs() {
        assert_eq!(auc(&judged(&[(0.1, false), (0.9, true)])), Some(1.0));
        assert_eq!(auc(&judged(&[(0.9, false), (0.1, true)])), Some(0.0));
        assert_eq!(auc(&judged(&[(0.5, false), (0.5, true)])), Some(0.5));
        assert_eq!(auc(&judged(&[(0.5, true)])), None);
    }

    proptest! {
        #[test]
        fn neither_figure_depends_on_order_and_auc_is_that_of_all_pairs(
            mut samples in proptest::collection::vec((0..10_u8, any::<bool>()), 1..60), bins in 1..12_usize,
        ) {
            let one = |&(tenths, agreed): &(u8, bool)| Judged { confidence: f64::from(tenths) / 10.0, agreed };
            let of = |samples: &[(u8, bool)]| samples.iter().map(one).collect::<Vec<Judged>>();
            let forward = of(&samples);
            let (mut wins, mut pairs) = (0.0, 0.0);
            for good in forward.iter().filter(|sample| sample.agreed) {
                for bad in forward.iter().filter(|sample| !sample.agreed) {
                    pairs += 1.0;
                    wins += match good.confidence.total_cmp(&bad.confidence) {
                        std::cmp::Ordering::Greater => 1.0,
                        std::cmp::Ordering::Equal => 0.5,
                        std::cmp::Ordering::Less => 0.0,
                    };
                }
            }
            match auc(&forward) {
                Some(area) => prop_assert!((area - wins / pairs).abs() < 1e-12),
                None => prop_assert_eq!(pairs, 0.0),
            }
            let ece = expected_calibration_error(&forward, bins).unwrap();
            prop_assert!((0.0..=1.0).contains(&ece));
            samples.reverse();
            prop_assert!((expected_calibration_error(&of(&samples), bins).unwrap() - ece).abs() < 1e-12);
        }
    }
}

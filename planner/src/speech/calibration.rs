//! From which confidence on a transcript replaces the sound, chosen on recordings whose words are known.

use crate::confidence::Judged;
use crate::risk::{RiskBound, StandThreshold, calibrate_threshold};

/// A recording that was written down, held against its words.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Transcribed {
    /// The transcript's, 0 to 1.
    pub confidence: f64,
    /// As [`word_error_rate`](super::word_error_rate) counts it.
    pub word_error_rate: f64,
}

/// The lowest confidence that may stand, so that the share of recordings whose transcript stands *and* has a word error rate above
/// `most_word_errors` is held to `epsilon` in the sense of `bound`: risk control as for answers, a bad transcript being an
/// answer that differs.
pub fn calibrate(
    samples: &[Transcribed],
    most_word_errors: f64,
    epsilon: f64,
    bound: RiskBound,
) -> StandThreshold {
    let judged = |sample: &Transcribed| Judged {
        confidence: sample.confidence,
        agreed: sample.word_error_rate <= most_word_errors,
    };
    calibrate_threshold(&samples.iter().map(judged).collect::<Vec<_>>(), epsilon, bound)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SplitMix64;
    use crate::risk::NOTHING_STANDS;

    /// Recordings whose transcripts are the worse the less confident they are.
    fn draw(rng: &mut SplitMix64, samples: usize) -> Vec<Transcribed> {
        let one = |_| {
            let confidence = rng.uniform();
            let word_error_rate = if rng.uniform() < confidence { 0.0 } else { 0.6 };
            Transcribed { confidence, word_error_rate }
        };
        (0..samples).map(one).collect()
    }

    #[test]
    fn bad_transcripts_stand_seldom_enough_on_recordings_that_were_not_seen() {
        const EPSILON: f64 = 0.05;
        let bound = RiskBound::HighProbability { delta: 0.1 };
        let kept = (0..20).filter(|seed| {
            let mut rng = SplitMix64::new(*seed);
            let threshold = calibrate(&draw(&mut rng, 500), 0.2, EPSILON, bound).confidence;
            let unseen = draw(&mut rng, 4_000);
            let bad = |one: &&Transcribed| one.confidence >= threshold && one.word_error_rate > 0.2;
            assert!(threshold < 0.9, "{threshold}: nearly nothing stands");
            unseen.iter().filter(bad).count() as f64 <= EPSILON * 4_000.0
        });
        assert!(kept.count() >= 17, "one calibration in ten may be unlucky");
    }

    #[test]
    fn too_few_recordings_let_nothing_stand_and_good_ones_everything() {
        let perfect = |count| vec![Transcribed { confidence: 0.3, word_error_rate: 0.0 }; count];
        let bound = RiskBound::HighProbability { delta: 0.1 };
        assert_eq!(calibrate(&perfect(5), 0.1, 0.05, bound).confidence, NOTHING_STANDS);
        assert_eq!(calibrate(&perfect(200), 0.1, 0.05, bound).confidence, 0.0);
        // The same, were they not quite right.
        let off = vec![Transcribed { confidence: 0.9, word_error_rate: 0.3 }; 200];
        assert_eq!(calibrate(&off, 0.1, 0.05, bound).confidence, NOTHING_STANDS);
    }
}

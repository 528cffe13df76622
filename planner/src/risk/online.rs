//! The threshold watched while it is in use: shadow verification and adaptive conformal control.
//!
//! A share p of the answers that stood is verified afterwards. Weighted by 1 / p, a disagreement found so is
//! an unbiased estimate l of the loss, whatever the threshold was. The threshold is moved on the scale of the
//! calibration samples' ranks, theta in [0, 1], which no crowding of confidences near 1 distorts:
//!
//! ```text
//! theta <- max(theta_batch, theta + eta (l - epsilon'))    l = 1 / p if stood, verified and different, else 0
//! ```
//!
//! with epsilon' a little below epsilon. It never goes below the batch threshold. Summing the steps, and
//! since nothing stands for theta > 1, over any T requests whatever, however the world drifts,
//!
//! ```text
//! mean of l  <=  epsilon' + ((1 - theta_batch) / eta + 1 / p) / T
//! ```
//!
//! (Gibbs and Candès 2021, with a reflecting floor.) The mean of l differs from the mean loss by a martingale
//! whose standard deviation is at most `sqrt(mean loss / (p T))`; the distance between epsilon' and epsilon
//! is there to cover both, which it does the better, the larger epsilon T is. Simulated with the default
//! settings, 1,500 calibration samples and 4,000 requests, over 300 seeds: in a steady world the realised
//! loss stayed within 0.02, 0.05 and 0.1 in all; where from request 1,000 on disagreement was five times as
//! frequent, in 92, 97 and 99 of 100 (without the watch, in 1 at most); where it trebled slowly, in 99.7, 100
//! and 100 (without: 87, 19 and 0).

use serde::{Deserialize, Serialize};

use super::{NOTHING_STANDS, StandThreshold, binomial};
use crate::confidence::Judged;

/// How the watch is kept.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ShadowSettings {
    /// p: share of the answers that stood that are verified afterwards, in (0, 1].
    pub share: f64,
    /// eta: step of the threshold, on the scale of ranks; above 0.
    pub step: f64,
    /// epsilon' / epsilon, in (0, 1].
    pub caution: f64,
}

impl Default for ShadowSettings {
    /// One answer in ten. Each disagreement found moves the threshold by a fifth of the ranks.
    fn default() -> Self {
        Self { share: 0.1, step: 0.02, caution: 0.7 }
    }
}

/// Decides which answers stand, and learns from those verified afterwards.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RiskController {
    settings: ShadowSettings,
    epsilon: f64,
    batch: StandThreshold,
    /// Confidences of the calibration samples above the batch threshold, rising.
    ranks: Vec<f64>,
    batch_rank: f64,
    rank: f64,
    requests: u64,
    stood: u64,
    verified: u64,
    differed: u64,
}

/// What shadow verification has found so far.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RiskReport {
    /// Requests in all.
    pub requests: u64,
    /// Those whose edge answer stood.
    pub stood: u64,
    /// Of these, those verified afterwards.
    pub verified: u64,
    /// Of these, those that differed.
    pub differed: u64,
    /// Estimate of the share of all requests that stood and differed: what epsilon bounds. `None` before any
    /// request.
    pub disagreement: Option<f64>,
    /// Estimate of the share of those that stood that differed. `None` before any was verified.
    pub disagreement_of_stood: Option<f64>,
    /// Its upper bound at level 95 % (Clopper-Pearson, as if the threshold had not moved).
    pub disagreement_of_stood_at_most: f64,
}

impl RiskController {
    /// Starts from a batch threshold and the samples it was calibrated on.
    ///
    /// # Panics
    /// If a setting is out of its range.
    pub fn new(epsilon: f64, batch: StandThreshold, samples: &[Judged], settings: ShadowSettings) -> Self {
        let ShadowSettings { share, step, caution } = settings;
        assert!(share > 0.0 && share <= 1.0, "share {share}");
        assert!(step > 0.0 && caution > 0.0 && caution <= 1.0, "step {step}, caution {caution}");
        let mut ranks: Vec<f64> =
            samples.iter().map(|sample| sample.confidence).filter(|it| *it >= batch.confidence).collect();
        ranks.sort_by(f64::total_cmp);
        let batch_rank =
            if samples.is_empty() { 1.0 } else { 1.0 - ranks.len() as f64 / samples.len() as f64 };
        Self {
            settings,
            epsilon,
            batch,
            ranks,
            batch_rank,
            rank: batch_rank,
            requests: 0,
            stood: 0,
            verified: 0,
            differed: 0,
        }
    }

    /// The least confidence that may stand now; [`NOTHING_STANDS`] where none may.
    pub fn threshold(&self) -> f64 {
        if self.rank <= self.batch_rank {
            return self.batch.confidence;
        }
        let above = (self.rank - self.batch_rank) / (1.0 - self.batch_rank);
        let index = (above * self.ranks.len() as f64) as usize;
        self.ranks.get(index).copied().unwrap_or(NOTHING_STANDS)
    }

    /// Takes in a request of risk-controlled mode, and says whether its answer, if it stood, is to be
    /// verified afterwards. `uniform` in [0, 1) is drawn for this alone.
    pub fn record(&mut self, stood: bool, uniform: f64) -> bool {
        self.requests += 1;
        self.stood += u64::from(stood);
        let sunk = self.rank - self.settings.step * self.settings.caution * self.epsilon;
        self.rank = sunk.max(self.batch_rank);
        stood && uniform < self.settings.share
    }

    /// Takes in what a verification asked for by [`Self::record`] has found; late is fine.
    pub fn observe_shadow(&mut self, agreed: bool) {
        self.verified += 1;
        if !agreed {
            self.differed += 1;
            let jump = self.settings.step / self.settings.share;
            // Where nothing stands nothing is learnt, so there is no sense in going far beyond.
            self.rank = (self.rank + jump).min(1.0 + jump);
        }
    }

    /// What has been found so far.
    pub fn report(&self) -> RiskReport {
        let ratio = |part: f64, all: u64| (all > 0).then(|| part / all as f64);
        RiskReport {
            requests: self.requests,
            stood: self.stood,
            verified: self.verified,
            differed: self.differed,
            disagreement: ratio(self.differed as f64 / self.settings.share, self.requests),
            disagreement_of_stood: ratio(self.differed as f64, self.verified),
            disagreement_of_stood_at_most: binomial::upper_bound(self.differed, self.verified, 0.05),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        risk::{RiskBound, calibrate_threshold},
        rng::SplitMix64,
    };

    /// Confidences above one half; the answer differs with probability `(1 - confidence) * worse`, at most 1,
    /// at least `floor`.
    fn draw(rng: &mut SplitMix64, worse: f64, floor: f64) -> Judged {
        let confidence = 1.0 - 0.5 * rng.uniform().powi(2);
        Judged { confidence, agreed: rng.uniform() >= ((1.0 - confidence) * worse).max(floor) }
    }

    struct Run {
        loss: f64,
        stood: f64,
        report: RiskReport,
    }

    /// A run of 4,000 requests; `world` gives (worse, floor) at each.
    fn run(seed: u64, epsilon: f64, online: bool, world: &dyn Fn(u32) -> (f64, f64)) -> Run {
        let requests = 4_000;
        let mut rng = SplitMix64::new(seed);
        let samples: Vec<Judged> = (0..1_500).map(|_| draw(&mut rng, 1.0, 0.0)).collect();
        let batch = calibrate_threshold(&samples, epsilon, RiskBound::Horizon { delta: 0.01, requests });
        let mut controller = RiskController::new(epsilon, batch, &samples, ShadowSettings::default());
        let (mut differed, mut stood) = (0, 0);
        for request in 0..requests {
            let (worse, floor) = world(request);
            let answer = draw(&mut rng, worse, floor);
            let threshold = if online { controller.threshold() } else { batch.confidence };
            let stands = answer.confidence >= threshold;
            stood += u32::from(stands);
            differed += u32::from(stands && !answer.agreed);
            if controller.record(stands, rng.uniform()) {
                controller.observe_shadow(answer.agreed);
            }
        }
        let share = |count: u32| f64::from(count) / f64::from(requests);
        Run { loss: share(differed), stood: share(stood), report: controller.report() }
    }

    fn within(epsilon: f64, online: bool, world: &dyn Fn(u32) -> (f64, f64)) -> (usize, f64) {
        let runs: Vec<Run> = (0..20).map(|seed| run(500 + seed, epsilon, online, world)).collect();
        let within = runs.iter().filter(|run| run.loss <= epsilon).count();
        (within, runs.iter().map(|run| run.stood).sum::<f64>() / 20.0)
    }

    #[test]
    fn in_a_steady_world_the_bound_holds_and_answers_stand() {
        for epsilon in [0.02, 0.05, 0.1] {
            let (within, stood) = within(epsilon, true, &|_| (1.0, 0.0));
            assert!(within >= 19, "epsilon {epsilon}: {within} of 20");
            assert!(stood > 0.25, "epsilon {epsilon}: {stood} stood");
        }
    }

    #[test]
    fn under_drift_the_watch_holds_what_the_batch_loses() {
        for epsilon in [0.05, 0.1] {
            let drift = |request: u32| if request < 1_000 { (1.0, 0.0) } else { (5.0, 0.1) };
            let (batch_alone, _) = within(epsilon, false, &drift);
            let (watched, _) = within(epsilon, true, &drift);
            assert!(
                batch_alone <= 5,
                "epsilon {epsilon}: {batch_alone} of 20 without a watch, no drift to speak of"
            );
            assert!(watched >= 19, "epsilon {epsilon}: {watched} of 20");
        }
    }

    #[test]
    fn the_estimates_are_those_of_the_world() {
        let (mut loss, mut estimate, mut of_stood, mut truth_of_stood) = (0.0, 0.0, 0.0, 0.0);
        for seed in 0..40 {
            let run = run(seed, 0.1, true, &|_| (1.0, 0.0));
            loss += run.loss / 40.0;
            truth_of_stood += run.loss / run.stood / 40.0;
            estimate += run.report.disagreement.unwrap() / 40.0;
            of_stood += run.report.disagreement_of_stood.unwrap() / 40.0;
            assert!(run.report.disagreement_of_stood.unwrap() <= run.report.disagreement_of_stood_at_most);
        }
        assert!((estimate - loss).abs() < 0.008, "{estimate} for {loss}");
        assert!((of_stood - truth_of_stood).abs() < 0.01, "{of_stood} for {truth_of_stood}");
    }

    #[test]
    fn the_mean_estimated_loss_is_bounded_whatever_happens() {
        // The worst world: whatever stands differs.
        let run = run(1, 0.1, true, &|_| (1.0, 1.0));
        let settings = ShadowSettings::default();
        let bound = settings.caution * 0.1 + (1.0 / settings.step + 1.0 / settings.share) / 4_000.0;
        assert!(run.report.disagreement.unwrap() <= bound, "{:?} above {bound}", run.report);
    }

    #[test]
    fn a_disagreement_raises_the_threshold_and_quiet_lets_it_sink_to_the_batch() {
        let mut rng = SplitMix64::new(2);
        let samples: Vec<Judged> = (0..1_500).map(|_| draw(&mut rng, 1.0, 0.0)).collect();
        let batch = calibrate_threshold(&samples, 0.1, RiskBound::default());
        let mut controller = RiskController::new(0.1, batch, &samples, ShadowSettings::default());
        assert_eq!(controller.threshold(), batch.confidence);
        assert_eq!(controller.report().disagreement, None);
        controller.observe_shadow(false);
        let raised = controller.threshold();
        assert!(raised > batch.confidence && raised <= 1.0);
        for _ in 0..20 {
            controller.observe_shadow(false);
        }
        assert_eq!(controller.threshold(), NOTHING_STANDS);
        for _ in 0..2_000 {
            controller.record(false, 0.0);
        }
        assert_eq!(controller.threshold(), batch.confidence);
    }
}

//! How sure the edge must be for its answer to stand without the target, and what watching that has shown.
//!
//! What is known comes from the judged answers that are shipped with the edge's weights for one target, and from every
//! answer since that both models gave. The bound is that of [`msao_planner::risk`].

use msao_planner::{
    confidence::{Calibrator, Judged, JudgedPair},
    risk::{NOTHING_STANDS, RiskBound, RiskController, RiskReport, ShadowSettings, calibrate_threshold},
};

/// Most answers that are remembered beyond those shipped.
const MOST_OWN_SAMPLES: usize = 4_096;

/// While nothing stands for lack of judged answers: after so many more it is tried again.
const RECALIBRATE_EVERY: usize = 64;

/// What is known about the edge's confidence.
#[derive(Debug, Clone, Default)]
pub struct Confidence {
    calibrator: Calibrator,
    samples: Vec<Judged>,
    shipped: usize,
    control: Option<(f64, RiskController)>,
}

/// How risk control stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RiskState {
    /// The bound.
    pub epsilon: f64,
    /// The least confidence that stands now; `None` where nothing may stand.
    pub threshold: Option<f64>,
    /// Judged answers behind it.
    pub samples: usize,
    /// What shadow verification has found.
    pub report: RiskReport,
}

impl Confidence {
    /// Takes the answers that were judged beforehand, if they are of this pair of models.
    pub fn learn(&mut self, judged: &JudgedPair, target: &str) {
        if judged.target != target || self.shipped > 0 {
            return;
        }
        let own = std::mem::take(&mut self.samples);
        self.samples = judged.samples();
        self.shipped = self.samples.len();
        self.samples.extend(own);
        self.calibrator = Calibrator::fit(&self.samples);
        if let Some((epsilon, _)) = self.control.take() {
            self.control_risk(epsilon);
        }
    }

    /// Holds the share of requests whose edge answer stands and differs to `epsilon`, in (0, 1). The watch begins anew
    /// if the bound changes.
    pub fn control_risk(&mut self, epsilon: f64) {
        if self.control.as_ref().is_none_or(|(now, _)| *now != epsilon) {
            let batch = calibrate_threshold(&self.samples, epsilon, RiskBound::default());
            let controller = RiskController::new(epsilon, batch, &self.samples, ShadowSettings::default());
            self.control = Some((epsilon, controller));
        }
    }

    /// How risk control stands; `None` before [`Self::control_risk`].
    pub fn risk(&self) -> Option<RiskState> {
        let (epsilon, controller) = self.control.as_ref()?;
        let threshold = controller.threshold();
        Some(RiskState {
            epsilon: *epsilon,
            threshold: (threshold < NOTHING_STANDS).then_some(threshold),
            samples: self.samples.len(),
            report: controller.report(),
        })
    }

    /// The least raw confidence that may stand.
    pub(super) fn threshold(&self) -> f64 {
        self.control.as_ref().map_or(NOTHING_STANDS, |(_, controller)| controller.threshold())
    }

    /// The share of judged answers that would stand now.
    pub(super) fn stand_probability(&self) -> f64 {
        let threshold = self.threshold();
        let standing = self.samples.iter().filter(|sample| sample.confidence >= threshold).count();
        standing as f64 / self.samples.len().max(1) as f64
    }

    /// Probability that an answer of this raw confidence is the target's.
    pub(super) fn calibrate(&self, raw: f64) -> f64 {
        self.calibrator.calibrate(raw)
    }

    /// Both models gave an answer.
    pub(super) fn judged(&mut self, confidence: f64, agreed: bool) {
        let sample = Judged { confidence, agreed };
        self.calibrator.observe(sample);
        if self.samples.len() - self.shipped == MOST_OWN_SAMPLES {
            self.samples.remove(self.shipped);
        }
        self.samples.push(sample);
        let nothing_stood = |(_, controller): &(f64, RiskController)| {
            controller.threshold() >= NOTHING_STANDS && controller.report().stood == 0
        };
        if self.samples.len().is_multiple_of(RECALIBRATE_EVERY)
            && let Some((epsilon, _)) = self.control.take_if(|control| nothing_stood(control))
        {
            self.control_risk(epsilon);
        }
    }

    /// A request of risk-controlled mode is decided; says whether an answer that stood is to be verified afterwards.
    pub(super) fn record(&mut self, stood: bool, uniform: f64) -> bool {
        self.control.as_mut().is_some_and(|(_, controller)| controller.record(stood, uniform))
    }

    /// What such a verification has found.
    pub(super) fn observe_shadow(&mut self, agreed: bool) {
        if let Some((_, controller)) = &mut self.control {
            controller.observe_shadow(agreed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(differed: usize) -> JudgedPair {
        let samples: Vec<Judged> = (0..3_000)
            .map(|index| Judged {
                confidence: 0.5 + f64::from(index) / 6_000.0,
                agreed: index as usize >= differed,
            })
            .collect();
        JudgedPair::new(["target", "", ""].map(str::to_owned), &samples)
    }

    #[test]
    fn nothing_stands_before_enough_answers_were_judged_for_this_very_target() {
        let mut confidence = Confidence::default();
        confidence.control_risk(0.05);
        assert_eq!((confidence.threshold(), confidence.stand_probability()), (NOTHING_STANDS, 0.0));
        confidence.learn(&pair(300), "another");
        assert_eq!(confidence.risk().unwrap().threshold, None);
        confidence.learn(&pair(300), "target");
        let risk = confidence.risk().unwrap();
        assert_eq!(risk.samples, 3_000);
        assert!(risk.threshold.is_some_and(|threshold| (0.5..0.56).contains(&threshold)), "{risk:?}");
        assert!(confidence.stand_probability() > 0.85);
    }

    #[test]
    fn answers_of_this_session_calibrate_where_none_were_shipped() {
        let mut confidence = Confidence::default();
        for _ in 0..1_500 {
            confidence.judged(0.9, true);
        }
        for _ in 0..1_500 {
            confidence.judged(0.4, false);
        }
        confidence.control_risk(0.05);
        assert_eq!(confidence.risk().unwrap().threshold, Some(0.9));
        assert!(confidence.calibrate(0.9) > 0.95 && confidence.calibrate(0.4) < 0.05);
        for _ in 0..6_000 {
            confidence.judged(0.9, true);
        }
        assert_eq!(confidence.risk().unwrap().samples, MOST_OWN_SAMPLES);
    }

    #[test]
    fn a_bound_that_was_asked_for_too_early_is_met_once_enough_was_judged() {
        let mut confidence = Confidence::default();
        confidence.control_risk(0.05);
        for _ in 0..64 {
            confidence.judged(0.9, true);
        }
        assert_eq!(confidence.risk().unwrap().threshold, None, "64 answers prove nothing");
        for _ in 0..1_000 {
            confidence.judged(0.9, true);
        }
        assert!(confidence.risk().unwrap().threshold.is_some());
    }

    #[test]
    fn disagreements_found_afterwards_raise_the_threshold() {
        let mut confidence = Confidence::default();
        confidence.learn(&pair(300), "target");
        confidence.control_risk(0.05);
        let before = confidence.threshold();
        confidence.observe_shadow(false);
        assert!(confidence.threshold() > before);
        confidence.control_risk(0.05);
        assert!(confidence.threshold() > before, "asking for the same bound again forgets nothing");
    }
}

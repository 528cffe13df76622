//! How risk control stands, in words.

use msao_protocol::Policy;
use msao_runtime::orchestrator::RiskState;

use crate::{format, mode};

/// Largest file of judged answers that is read, in bytes: some fifty times as many as are shipped.
pub const MAX_JUDGED_BYTES: usize = 1_000_000;

/// What has come of the judged answers that may lie beside the device's weights.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum JudgedAnswers {
    /// Not asked for.
    #[default]
    Unread,
    /// On their way.
    Loading,
    /// Here, for the cloud model of this name.
    Here {
        /// Name of that model.
        target: String,
    },
    /// They did not come, for the reason given.
    Missing(String),
}

/// How far risk control is, for tests and styles.
pub fn state_name(judged: &JudgedAnswers, risk: Option<&RiskState>) -> &'static str {
    match (judged, risk) {
        (JudgedAnswers::Unread | JudgedAnswers::Loading, _) | (_, None) => "loading",
        (_, Some(RiskState { threshold: Some(_), .. })) => "ready",
        (_, Some(_)) => "nothing-stands",
    }
}

/// What stands now and why, what watching it has shown, and what the bound means: a sentence or two each.
pub fn sentences(
    policy: Policy,
    judged: &JudgedAnswers,
    cloud: Option<&str>,
    risk: Option<&RiskState>,
) -> Vec<String> {
    if !policy.is_adaptive() {
        return vec![
            "The choice beside it fixes who answers, so no answer stands by its confidence.".to_owned(),
        ];
    }
    let Some(risk) = risk else { return vec!["Risk control begins with the first question.".to_owned()] };
    vec![threshold(judged, cloud, risk), watch(risk), meaning(risk)]
}

fn threshold(judged: &JudgedAnswers, cloud: Option<&str>, risk: &RiskState) -> String {
    let samples = format::count(risk.samples as u64, "compared answer");
    if let Some(least) = risk.threshold {
        let least = format::probability(least as f32);
        return format!(
            "An answer stands if the device was at least {least} sure of each of its tokens ({samples} behind it)."
        );
    }
    let why = match judged {
        JudgedAnswers::Unread | JudgedAnswers::Loading => {
            "The answers that were compared beforehand are still loading".to_owned()
        }
        JudgedAnswers::Missing(reason) => {
            format!("The answers that were compared beforehand could not be had: {reason}")
        }
        JudgedAnswers::Here { target } if cloud.is_some_and(|cloud| cloud != target) => {
            format!("The answers compared beforehand are of another cloud model, {target}")
        }
        JudgedAnswers::Here { .. } if risk.report.differed > 0 => {
            "Answers that stood turned out to differ".to_owned()
        }
        JudgedAnswers::Here { .. } => "Too few answers were compared for this bound".to_owned(),
    };
    format!("{why}. Until enough were compared nothing stands, and the cloud checks everything ({samples}).")
}

fn watch(risk: &RiskState) -> String {
    let report = &risk.report;
    if report.requests == 0 {
        return "No question was asked under this bound yet.".to_owned();
    }
    let requests = format::count(report.requests, "question");
    let found = match (report.verified, report.differed) {
        (0, _) => "none of these was checked afterwards yet".to_owned(),
        (verified, differed) => {
            format!("{verified} of these checked afterwards, {differed} of them differed")
        }
    };
    match report.stood {
        0 => format!("Of {requests}, no answer stood."),
        stood => format!("Of {requests}, {stood} answered by the device alone; {found}."),
    }
}

fn meaning(risk: &RiskState) -> String {
    format!(
        "In 19 of 20 runs, at most {} of all questions get a standing answer that differs from the cloud's. One standing answer in ten is checked afterwards; a difference makes the device more careful.",
        mode::percent(risk.epsilon as f32)
    )
}

#[cfg(test)]
mod tests {
    use msao_planner::confidence::{Judged, JudgedPair};
    use msao_runtime::orchestrator::Confidence;

    use super::*;

    fn here() -> JudgedAnswers {
        JudgedAnswers::Here { target: "target".to_owned() }
    }

    fn risk(samples: usize) -> RiskState {
        let samples: Vec<Judged> = (0..samples)
            .map(|index| Judged { confidence: index as f64 / samples as f64, agreed: 2 * index > samples })
            .collect();
        let mut confidence = Confidence::default();
        confidence.learn(&JudgedPair::new(["target", "", ""].map(str::to_owned), &samples), "target");
        confidence.control_risk(0.05);
        confidence.risk().unwrap()
    }

    #[test]
    fn what_stands_and_what_the_bound_means_is_said() {
        let risk = risk(4_000);
        let said = sentences(Policy::Msao, &here(), Some("target"), Some(&risk));
        assert!(said[0].contains("at least") && said[0].contains("4000 compared answers"), "{said:?}");
        assert!(said[1].contains("No question") && said[2].contains("at most 5 %"), "{said:?}");
        assert_eq!(state_name(&here(), Some(&risk)), "ready");
    }

    #[test]
    fn why_nothing_stands_is_said() {
        let risk = risk(3);
        let first = |judged: &JudgedAnswers, cloud| {
            sentences(Policy::Msao, judged, Some(cloud), Some(&risk)).swap_remove(0)
        };
        assert!(first(&here(), "target").starts_with("Too few"));
        assert!(first(&here(), "other").contains("another cloud model, target"));
        assert!(
            first(&JudgedAnswers::Missing("the server says 404".to_owned()), "target").contains("says 404")
        );
        assert_eq!(state_name(&here(), Some(&risk)), "nothing-stands");
    }

    #[test]
    fn where_the_policy_fixes_who_answers_the_bound_is_idle() {
        let said = sentences(Policy::CloudOnly, &here(), None, None);
        assert!(said.len() == 1 && said[0].contains("fixes who answers"));
    }

    #[test]
    fn what_was_found_afterwards_is_counted() {
        let mut risk = risk(4_000);
        (risk.report.requests, risk.report.stood) = (7, 5);
        assert_eq!(
            watch(&risk),
            "Of 7 questions, 5 answered by the device alone; none of these was checked afterwards yet."
        );
        (risk.report.verified, risk.report.differed) = (2, 1);
        assert!(watch(&risk).ends_with("2 of these checked afterwards, 1 of them differed."));
    }
}

//! The mode and its bound: chosen, calibrated with the judged answers that are shipped, shown.

use leptos::{prelude::*, task::spawn_local};
use msao_planner::confidence::JudgedPair;
use msao_protocol::AnswerMode;

use super::PageState;
use crate::{
    media::fetch,
    risk::{JudgedAnswers, MAX_JUDGED_BYTES},
};

impl PageState {
    /// What the next answer is held to.
    pub(crate) fn mode(self) -> AnswerMode {
        let epsilon = self.epsilon.get_untracked();
        if self.risk_controlled.get_untracked() {
            AnswerMode::RiskControlled { epsilon }
        } else {
            AnswerMode::Verified
        }
    }

    /// Lets confident answers stand from the next question on, or verifies every token again.
    pub(crate) fn choose_mode(self, risk_controlled: bool) {
        self.risk_controlled.set(risk_controlled);
        self.control_risk();
    }

    /// Holds confident answers to another bound from the next question on.
    pub(crate) fn choose_epsilon(self, epsilon: f32) {
        self.epsilon.set(epsilon);
        self.control_risk();
    }

    /// Brings risk control up to date with what was chosen and what is known; the first time the judged answers are
    /// fetched.
    pub(super) fn control_risk(self) {
        if !self.risk_controlled.get_untracked() {
            return;
        }
        if matches!(self.judged.get_untracked(), JudgedAnswers::Unread | JudgedAnswers::Missing(_)) {
            self.fetch_judged();
        }
        let cloud = self.cloud.with_untracked(|status| status.model_name().map(str::to_owned));
        self.knowledge.update_value(|knowledge| {
            self.judged_pair.with_value(|judged| {
                if let (Some(judged), Some(cloud)) = (judged, &cloud) {
                    knowledge.confidence.learn(judged, cloud);
                }
            });
            knowledge.confidence.control_risk(self.epsilon.get_untracked().into());
        });
        self.note_risk();
    }

    fn fetch_judged(self) {
        self.judged.set(JudgedAnswers::Loading);
        spawn_local(async move {
            let url = format!("{}confidence.json", self.weights_url());
            match fetch::json_within::<JudgedPair>(&url, MAX_JUDGED_BYTES).await {
                Ok(judged) => {
                    self.judged.set(JudgedAnswers::Here { target: judged.target.clone() });
                    self.judged_pair.set_value(Some(judged));
                    self.control_risk();
                }
                Err(error) => self.judged.set(JudgedAnswers::Missing(error.to_string())),
            }
        });
    }

    /// Shows how risk control stands.
    pub(super) fn note_risk(self) {
        let risk = self.knowledge.with_value(|knowledge| knowledge.confidence.risk());
        if self.risk.get_untracked() != risk {
            self.risk.set(risk);
        }
    }
}

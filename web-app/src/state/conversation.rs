//! The conversation as a whole: what a question goes on from, and beginning anew.

use leptos::prelude::*;
use msao_protocol::{Ask, Policy, RequestId};

use super::{Asked, GoesOn, PageState, Turn};
use crate::{context, policy::Held};

impl PageState {
    /// Whether the next question could go on from the last answer: there is one, and a server to read both.
    pub(crate) fn may_go_on(self) -> bool {
        let is_alone = self.policy.get() == Policy::EdgeOnly || self.draft.text_locked.get();
        !is_alone && self.cloud.with(|status| status.is_connected()) && self.last_answer().is_some()
    }

    /// Whether it would, as things are: what the user says of it, else what the settings say.
    pub(crate) fn would_go_on(self) -> bool {
        let choice = self.options.with(|options| options.context);
        let usual = self.cloud.with(|status| choice.goes_on(status.model_name()));
        self.draft.goes_on.get().unwrap_or(usual)
    }

    /// What the next question goes on from.
    pub(super) fn goes_on(self) -> Option<GoesOn> {
        untrack(|| {
            let (turn, answer) = self.last_answer().filter(|_| self.may_go_on() && self.would_go_on())?;
            let mut words = turn.asked.goes_on.as_ref().map_or_else(Vec::new, |before| before.words.clone());
            words.push((turn.asked.words(), answer));
            Some(GoesOn { from: turn.id, words })
        })
    }

    fn last_answer(self) -> Option<(Turn, String)> {
        let turn = self.turns.with(|turns| turns.last().cloned())?;
        let answer = turn.best_text()?;
        Some((turn, answer))
    }

    /// The question with the conversation that it goes on from: by name where the server still has it, which sends nothing
    /// of it again, else its words.
    pub(super) fn with_context(self, turn: &Turn, mut ask: Ask) -> Ask {
        let Asked { goes_on: Some(goes_on), .. } = &*turn.asked else { return ask };
        let before =
            self.turns.with_untracked(|turns| turns.iter().find(|one| one.id == goes_on.from).cloned());
        let session_id = Some(self.session_id.get_value());
        let known = before.filter(|before| before.answered_in.get_value() == session_id);
        match known {
            Some(before) => ask.continues = Some(before.request_id.get_untracked()),
            None => {
                ask.history = self.limits.with_untracked(|limits| context::history(&goes_on.words, limits));
            }
        }
        ask
    }

    /// What the user holds back beside media.
    pub(super) fn held_back(self) -> Option<Held> {
        if self.draft.text_locked.get_untracked() {
            Some(Held::Words)
        } else {
            self.offline.get_untracked().then_some(Held::Session)
        }
    }

    /// Takes all turns off the page; until the next question they can be had back.
    pub(crate) fn begin_anew(self) {
        if untrack(|| self.is_busy()) {
            self.stop();
        }
        let turns = self.turns.try_update(std::mem::take).unwrap_or_default();
        if !turns.is_empty() {
            self.cleared.set(turns);
        }
        self.focus_prompt();
    }

    /// Brings the turns back that were taken off last.
    pub(crate) fn bring_back(self) {
        let turns = self.cleared.try_update(std::mem::take).unwrap_or_default();
        if !turns.is_empty() {
            self.turns.set(turns);
        }
        self.focus_prompt();
    }

    /// They cannot be had back any more.
    pub(super) fn forget_cleared(self) {
        if self.cleared.with_untracked(|cleared| !cleared.is_empty()) {
            self.cleared.set(Vec::new());
        }
    }

    pub(super) fn next_turn_id(self) -> u32 {
        let id = self.last_turn_id.get_value() + 1;
        self.last_turn_id.set_value(id);
        id
    }

    /// One that no question of this visit had: the server may still have those before.
    pub(super) fn next_request_id(self) -> RequestId {
        let id = self.last_request_id.get_value() + 1;
        self.last_request_id.set_value(id);
        id
    }
}

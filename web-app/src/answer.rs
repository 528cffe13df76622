//! One side's answer while it is being written, and what it took. Knows no clock: times come in as arguments.

use msao_protocol::{FinishReason, Receipt, Token, TokenFate, TokenOrigin, TokenSource};
use msao_runtime::orchestrator::{AnswerToken, TokenState};

/// How far an answer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// This side was not asked, for the reason given.
    NotAsked(String),
    /// Asked, nothing written yet.
    Waiting,
    /// Tokens are coming.
    Writing,
    /// The cloud corrected it while it was being written; what there is was written before.
    Overtaken,
    /// The cloud was lost before it was done: what it had not settled are the device's words.
    Unverified,
    /// Complete.
    Finished(FinishReason),
    /// There will be no answer, for the reason given.
    Failed(String),
}

/// An answer of the device or of the cloud.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// How far it is.
    pub phase: Phase,
    /// What is written so far.
    pub tokens: Vec<AnswerToken>,
    /// Milliseconds from the question to the first token that stands.
    pub first_token_ms: Option<f64>,
    /// Milliseconds from the question to the end.
    pub total_ms: Option<f64>,
    /// Decoding speed, from the receipt.
    pub tokens_per_s: Option<f64>,
    /// Bytes that left the device for it.
    pub sent_bytes: u64,
    /// Bytes that came back.
    pub received_bytes: u64,
    asked_at_ms: f64,
}

impl Answer {
    /// A side that takes no part.
    pub fn not_asked(reason: impl Into<String>) -> Self {
        Self { phase: Phase::NotAsked(reason.into()), ..Self::asked(0.0) }
    }

    /// Milliseconds since it was asked.
    pub fn elapsed_ms(&self, now_ms: f64) -> f64 {
        now_ms - self.asked_at_ms
    }

    /// A side that is asked at `now_ms`.
    pub fn asked(now_ms: f64) -> Self {
        Self {
            phase: Phase::Waiting,
            tokens: Vec::new(),
            first_token_ms: None,
            total_ms: None,
            tokens_per_s: None,
            sent_bytes: 0,
            received_bytes: 0,
            asked_at_ms: now_ms,
        }
    }

    /// Whether more is to come.
    pub fn is_pending(&self) -> bool {
        matches!(self.phase, Phase::Waiting | Phase::Writing)
    }

    /// What is written so far.
    pub fn text(&self) -> String {
        let text: String = self.tokens.iter().map(|token| token.text.as_str()).collect();
        text.trim().to_owned()
    }

    /// The part of it that stands, from its beginning: nothing that is only proposed.
    pub fn settled_text(&self) -> String {
        let stands = |token: &&AnswerToken| matches!(token.state, TokenState::Settled { .. });
        let text: String = self.tokens.iter().take_while(stands).map(|token| token.text.as_str()).collect();
        text.trim_start().to_owned()
    }

    /// What is going on, or how it ended, in a few words; `is_cloud` says whose answer it is.
    pub fn headline(&self, is_cloud: bool) -> &'static str {
        match (&self.phase, is_cloud) {
            (Phase::NotAsked(_), _) => "No answer",
            (Phase::Waiting, _) => "Waiting for the first word",
            (Phase::Writing, true) => "The cloud is checking each word",
            (Phase::Writing, false) => "Being written on this device",
            (Phase::Overtaken, _) => "Corrected by the cloud",
            (Phase::Unverified, _) => "Finished on this device, not verified",
            (Phase::Finished(FinishReason::Cancelled), _) => "Stopped",
            (Phase::Finished(_), true) => "Verified by the cloud",
            (Phase::Finished(_), false) => "Answered on this device",
            (Phase::Failed(_), _) => "Not finished",
        }
    }

    /// The text of a complete answer that was not cut short by the user.
    pub fn final_text(&self) -> Option<String> {
        matches!(self.phase, Phase::Finished(FinishReason::Stop | FinishReason::Length)).then(|| self.text())
    }

    /// The text of an answer that the device has finished in the cloud's place.
    pub fn unverified_text(&self) -> Option<String> {
        (self.phase == Phase::Unverified).then(|| self.text())
    }

    /// The device wrote a token. A second token 0 means that the answer began anew; what comes after the end is late.
    pub fn push(&mut self, index: u32, token: Token, now_ms: f64) {
        if !self.is_pending() {
            return;
        }
        self.tokens.truncate(index as usize);
        self.tokens.push(AnswerToken {
            text: token.text,
            probability: token.probability,
            state: TokenState::Settled {
                origin: TokenOrigin { source: TokenSource::EdgeDraft, fate: TokenFate::Unverified },
                replaced: None,
            },
        });
        self.first_token_ms.get_or_insert(now_ms - self.asked_at_ms);
        self.phase = Phase::Writing;
    }

    /// The answer as it stands now, proposals included; what comes after the end is late.
    pub fn show(&mut self, tokens: Vec<AnswerToken>, now_ms: f64) {
        if !self.is_pending() {
            return;
        }
        if tokens.iter().any(|token| matches!(token.state, TokenState::Settled { .. })) {
            self.first_token_ms.get_or_insert(now_ms - self.asked_at_ms);
        }
        self.phase = if tokens.is_empty() { Phase::Waiting } else { Phase::Writing };
        self.tokens = tokens;
    }

    /// This side takes no part after all.
    pub fn excuse(&mut self, reason: impl Into<String>) {
        if self.is_pending() {
            *self = Self::not_asked(reason);
        }
    }

    /// This side need not answer any more, or never had to; says why, and later why else.
    pub fn leave_out(&mut self, reason: impl Into<String>) {
        if self.is_pending() || matches!(self.phase, Phase::NotAsked(_)) {
            *self = Self::not_asked(reason);
        }
    }

    /// The answer is complete.
    pub fn finish(&mut self, reason: FinishReason, receipt: &Receipt, now_ms: f64) {
        if self.is_pending() {
            self.phase = Phase::Finished(reason);
            self.total_ms = Some(now_ms - self.asked_at_ms);
            self.tokens_per_s = receipt.decode_tokens_per_s();
        }
    }

    /// The cloud has corrected the device in the middle of its answer; what it wrote by itself stays.
    pub fn overtake(&mut self, now_ms: f64) {
        if self.is_pending() {
            self.phase = Phase::Overtaken;
            self.total_ms = Some(now_ms - self.asked_at_ms);
        }
    }

    /// The cloud is lost, and the device has written the rest.
    pub fn end_unverified(&mut self, now_ms: f64) {
        if self.is_pending() {
            self.phase = Phase::Unverified;
            self.total_ms = Some(now_ms - self.asked_at_ms);
        }
    }

    /// The user has stopped it; what was written stays.
    pub fn stop(&mut self, now_ms: f64) {
        self.finish(FinishReason::Cancelled, &Receipt::default(), now_ms);
    }

    /// The answer will not be completed; what was written stays.
    pub fn fail(&mut self, message: impl Into<String>, now_ms: f64) {
        if self.is_pending() {
            self.phase = Phase::Failed(message.into());
            self.total_ms = Some(now_ms - self.asked_at_ms);
        }
    }
}

/// Whether the cloud's answer is the one to read: it is, unless the cloud takes no part or has failed where the device
/// has something to say.
pub fn cloud_leads(edge: &Answer, cloud: &Answer) -> bool {
    match cloud.phase {
        Phase::NotAsked(_) => matches!(edge.phase, Phase::NotAsked(_)),
        Phase::Failed(_) => edge.tokens.is_empty() && !edge.is_pending(),
        Phase::Finished(FinishReason::Cancelled) if cloud.tokens.is_empty() => edge.tokens.is_empty(),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use msao_protocol::{Span, SpanKind};

    use super::*;

    fn token(text: &str) -> Token {
        Token { id: 1, text: text.into(), probability: 0.9 }
    }

    #[test]
    fn times_count_from_the_question() {
        let mut answer = Answer::asked(1_000.0);
        answer.push(0, token(" a"), 1_050.0);
        answer.push(1, token(" star"), 1_060.0);
        let receipt = Receipt {
            completion_tokens: 2,
            spans: vec![Span { kind: SpanKind::Decode, ms: 20.0 }],
            ..Receipt::default()
        };
        answer.finish(FinishReason::Stop, &receipt, 1_070.0);
        assert_eq!(answer.final_text().as_deref(), Some("a star"));
        assert_eq!((answer.first_token_ms, answer.total_ms), (Some(50.0), Some(70.0)));
        assert_eq!(answer.tokens_per_s, Some(100.0));
    }

    #[test]
    fn a_second_first_token_begins_anew() {
        let mut answer = Answer::asked(0.0);
        answer.push(0, token(" one"), 1.0);
        answer.push(1, token(" two"), 2.0);
        answer.push(0, token(" three"), 3.0);
        assert_eq!(answer.text(), "three");
        assert_eq!(answer.first_token_ms, Some(1.0));
    }

    #[test]
    fn what_comes_after_the_end_is_ignored() {
        let mut answer = Answer::asked(0.0);
        answer.push(0, token(" red"), 1.0);
        answer.finish(FinishReason::Cancelled, &Receipt::default(), 2.0);
        answer.push(1, token(" star"), 3.0);
        answer.fail("late", 4.0);
        assert_eq!(answer.text(), "red");
        assert_eq!(answer.phase, Phase::Finished(FinishReason::Cancelled));
        assert_eq!(answer.final_text(), None, "a stopped answer is compared with nothing");
    }

    #[test]
    fn proposals_show_but_do_not_count_as_the_first_token() {
        let mut answer = Answer::asked(0.0);
        let shown = |state| AnswerToken { text: " red".into(), probability: 0.9, state };
        answer.show(vec![shown(TokenState::Proposed(TokenSource::EdgeDraft))], 5.0);
        assert_eq!((answer.text().as_str(), answer.first_token_ms), ("red", None));
        let origin = TokenOrigin { source: TokenSource::EdgeDraft, fate: TokenFate::Accepted };
        answer.show(vec![shown(TokenState::Settled { origin, replaced: None })], 9.0);
        assert_eq!(answer.first_token_ms, Some(9.0));
        answer.excuse("late");
        assert!(matches!(answer.phase, Phase::NotAsked(_)));
        answer.excuse("later");
        assert_eq!(answer.phase, Phase::NotAsked("late".into()), "an excuse stays as it was");
        answer.leave_out("asked to check");
        assert_eq!(answer.phase, Phase::NotAsked("asked to check".into()));
    }

    #[test]
    fn what_the_cloud_overtakes_keeps_what_the_device_wrote_by_itself() {
        let mut answer = Answer::asked(0.0);
        answer.push(0, token(" a"), 1.0);
        answer.push(1, token(" red"), 2.0);
        answer.overtake(3.0);
        answer.push(1, token(" blue"), 4.0);
        answer.finish(FinishReason::Stop, &Receipt::default(), 5.0);
        assert_eq!((answer.text().as_str(), answer.total_ms), ("a red", Some(3.0)));
        assert_eq!(answer.final_text(), None, "it is not the device's whole answer");
        let mut done = Answer::asked(0.0);
        done.finish(FinishReason::Stop, &Receipt::default(), 1.0);
        done.overtake(2.0);
        assert_eq!(done.phase, Phase::Finished(FinishReason::Stop));
    }

    #[test]
    fn an_answer_without_its_cloud_counts_as_unverified_and_nothing_else() {
        let mut answer = Answer::asked(0.0);
        answer.push(0, token(" red"), 1.0);
        answer.end_unverified(2.0);
        assert_eq!(answer.unverified_text().as_deref(), Some("red"));
        assert_eq!(answer.final_text(), None, "it is compared with nothing");
        answer.fail("late", 3.0);
        assert_eq!((&answer.phase, answer.total_ms), (&Phase::Unverified, Some(2.0)));
    }

    #[test]
    fn one_answer_leads_at_every_moment() {
        let (mut edge, mut cloud) = (Answer::asked(0.0), Answer::asked(0.0));
        assert!(cloud_leads(&edge, &cloud));
        edge.push(0, token(" red"), 1.0);
        assert!(cloud_leads(&edge, &cloud), "the device's words show there as proposals");
        cloud.fail("the connection was cut", 2.0);
        assert!(!cloud_leads(&edge, &cloud), "what the device says is better than nothing");
        assert!(cloud_leads(&Answer::not_asked("off"), &cloud), "somebody has to say why");
        assert!(!cloud_leads(&edge, &Answer::not_asked("away")));
        let mut stopped = Answer::asked(0.0);
        stopped.stop(1.0);
        assert!(!cloud_leads(&edge, &stopped));
    }

    #[test]
    fn what_is_only_proposed_does_not_stand() {
        let shown = |text: &str, state| AnswerToken { text: text.into(), probability: 0.9, state };
        let origin = TokenOrigin { source: TokenSource::EdgeDraft, fate: TokenFate::Accepted };
        let mut answer = Answer::asked(0.0);
        answer.show(
            vec![
                shown(" a", TokenState::Settled { origin, replaced: None }),
                shown(" red", TokenState::Proposed(TokenSource::EdgeDraft)),
            ],
            1.0,
        );
        assert_eq!((answer.text().as_str(), answer.settled_text().as_str()), ("a red", "a"));
    }

    #[test]
    fn a_failure_keeps_what_was_written() {
        let mut answer = Answer::asked(0.0);
        answer.push(0, token(" red"), 1.0);
        answer.fail("the connection was cut", 2.0);
        assert_eq!(answer.text(), "red");
        assert!(!answer.is_pending());
    }
}

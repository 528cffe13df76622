//! A recording for a model that cannot hear: who writes it down, and how its words take the place of the sound.
//!
//! It comes before the plan: [`Knowledge::who_listens`] says whether the device tries, [`Knowledge::heard`] what its transcript is
//! good for. Words that replace the sound go the way of typed ones, and the sound is then no part of what can be sent: a lock on
//! sound keeps it here, a lock on words keeps its words here. The receipt tells what was saved.

use msao_planner::speech::{Ears, Listener, ListeningCosts, Outcome, after_listening, who_listens};
use msao_protocol::{
    KeptParts, Modality, ModalityAction, ModalityPlanReceipt, ModelInfo, Policy, Receipt, SpanKind,
    SpeechReceipt,
};

use super::{Given, Knowledge, OneRequest};

/// Milliseconds that a second of sound takes before one was heard, here and there.
const USUAL_EDGE_MS_PER_S: f64 = 200.0;
const USUAL_CLOUD_MS_PER_S: f64 = 50.0;
/// Share of transcripts that are enough before there was one.
const USUALLY_ENOUGH: f64 = 0.8;
/// What it is worth to keep sound on the device, in milliseconds: somebody has chosen that it listens.
const SOUND_PRICE_MS: f64 = 2_000.0;
/// Weight of a new observation.
const STEP: f64 = 0.2;
/// What stands before the words of a recording where something was typed as well; as `msao_models::speech::question_of` has it.
const SAID: &str = "Recording: ";

/// What a session has learnt about listening.
#[derive(Debug, Clone)]
pub(super) struct Listening {
    edge_ms_per_s: f64,
    cloud_ms_per_s: f64,
    enough: f64,
}

impl Default for Listening {
    fn default() -> Self {
        Self {
            edge_ms_per_s: USUAL_EDGE_MS_PER_S,
            cloud_ms_per_s: USUAL_CLOUD_MS_PER_S,
            enough: USUALLY_ENOUGH,
        }
    }
}

impl Listening {
    /// A server with a speech model tells what that took.
    pub(super) fn cloud_answered(&mut self, receipt: &Receipt) {
        if let Some(speech) = &receipt.speech
            && speech.seconds > 0.0
        {
            let ms_per_s = receipt.ms(SpanKind::Transcribe) / speech.seconds;
            self.cloud_ms_per_s += STEP * (ms_per_s - self.cloud_ms_per_s);
        }
    }
}

/// A recording, and who may listen to it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Recording {
    /// Its length.
    pub seconds: f64,
    /// Bytes of it, encoded for the wire.
    pub whole_bytes: u64,
    /// Who could listen: see [`ears`].
    pub ears: Ears,
}

/// Who could listen to a recording: the device where it has a speech model, the cloud where it hears, unless the recording is
/// locked or nothing may be sent. A policy that leaves no choice sends the sound wherever somebody there hears it.
pub fn ears(has_speech_model: bool, target: Option<&ModelInfo>, policy: Policy, locked: bool) -> Ears {
    let hears = target.is_some_and(|target| target.audio.is_some());
    let cloud = hears && !locked && policy != Policy::EdgeOnly;
    let sends = cloud && !policy.is_adaptive();
    Ears { edge: has_speech_model && !sends, cloud }
}

/// The question for models that cannot hear: what was typed, what was said, or both, as the server would put it.
pub fn question_with(typed: &str, said: &str) -> String {
    match (typed.trim_end(), said.trim()) {
        ("", said) => said.to_owned(),
        (typed, "") => typed.to_owned(),
        (typed, said) => format!("{typed}\n{SAID}{said}"),
    }
}

impl Knowledge {
    /// Who listens first.
    pub fn who_listens(&self, recording: &Recording) -> Listener {
        let Recording { seconds, whole_bytes, ears } = *recording;
        let (estimates, bytes) = (self.estimates(), whole_bytes as f64);
        let costs = ListeningCosts {
            edge_ms: seconds * self.listening.edge_ms_per_s,
            cloud_ms: seconds * self.listening.cloud_ms_per_s,
            send_ms: estimates.rtt_ms / 2.0 + 1_000.0 * bytes / estimates.uplink_bytes_per_s.max(1.0),
            send_price_ms: SOUND_PRICE_MS + self.preferences.per_uplink_kib() * bytes / 1_024.0,
            enough: self.listening.enough,
        };
        who_listens(ears, &costs)
    }

    /// The device wrote a recording down in `ms`: what that is good for. `threshold` is the confidence from which it stands.
    pub fn heard(
        &mut self,
        recording: &Recording,
        speech: &SpeechReceipt,
        (ms, threshold): (f64, f64),
    ) -> Outcome {
        let confidence = f64::from(speech.confidence);
        let listening = &mut self.listening;
        if recording.seconds > 0.0 {
            listening.edge_ms_per_s += STEP * (ms / recording.seconds - listening.edge_ms_per_s);
        }
        let is_enough = f64::from(u8::from(confidence >= threshold));
        listening.enough += STEP * (is_enough - listening.enough);
        after_listening(confidence, threshold, recording.ears)
    }
}

impl OneRequest {
    /// Lets words of the device stand for the recording, before there is a plan: `question` is what models are asked now. The sound
    /// is none of what is given to the plan any more, so it cannot be sent; the receipt tells what its bytes would have been.
    #[must_use]
    pub fn with_transcript(mut self, question: String) -> Self {
        let is_sound = |given: &Given| given.modality == Modality::Audio;
        self.transcribed = self.terms.given.iter().copied().find(is_sound);
        self.terms.given.retain(|given| !is_sound(given));
        self.terms.question = question;
        self
    }

    pub(super) fn transcribed_receipt(&self) -> Option<ModalityPlanReceipt> {
        self.transcribed.map(|sound| ModalityPlanReceipt {
            modality: Modality::Audio,
            action: ModalityAction::Edge,
            locked: sound.locked,
            mas: None,
            kept: KeptParts::default(),
            sent_bytes: 0,
            cloud_only_bytes: sound.whole_bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::orchestrator::tests::{knowledge, media, present, terms};

    fn speech(confidence: f32) -> SpeechReceipt {
        SpeechReceipt {
            model: "whisper-tiny".into(),
            language: "en".into(),
            confidence,
            seconds: 2.0,
            bytes: 0,
            tokens: 6,
        }
    }

    fn recording(ears: Ears) -> Recording {
        Recording { seconds: 2.0, whole_bytes: 64_000, ears }
    }

    const BOTH: Ears = Ears { edge: true, cloud: true };

    #[test]
    fn locks_and_policies_say_who_may_listen() {
        let target = present(true).target;
        let of = |policy, locked| ears(true, target.as_ref(), policy, locked);
        assert_eq!(of(Policy::Msao, false), BOTH);
        assert_eq!(of(Policy::Msao, true), Ears { edge: true, cloud: false });
        assert_eq!(of(Policy::EdgeOnly, false), Ears { edge: true, cloud: false });
        assert_eq!(of(Policy::CloudOnly, false), Ears { edge: false, cloud: true });
        assert_eq!(of(Policy::CloudOnly, true), Ears { edge: true, cloud: false }, "only words may go");
        let deaf = target.clone().map(|target| ModelInfo { audio: None, ..target });
        assert_eq!(ears(true, deaf.as_ref(), Policy::CloudOnly, false), Ears { edge: true, cloud: false });
        assert_eq!(ears(false, None, Policy::Msao, false), Ears::default());
    }

    #[test]
    fn a_device_that_is_slow_or_never_sure_stops_listening_first() {
        let mut slow = knowledge();
        assert_eq!(slow.who_listens(&recording(BOTH)), Listener::Edge);
        for _ in 0..30 {
            assert_eq!(slow.heard(&recording(BOTH), &speech(0.9), (90_000.0, 0.74)), Outcome::Words);
        }
        assert_eq!(slow.who_listens(&recording(BOTH)), Listener::Cloud);
        let mut unsure = knowledge();
        for _ in 0..60 {
            assert_eq!(unsure.heard(&recording(BOTH), &speech(0.4), (400.0, 0.74)), Outcome::Offload);
        }
        assert_eq!(unsure.who_listens(&recording(BOTH)), Listener::Cloud);
        let locked = Ears { cloud: false, ..BOTH };
        assert_eq!(unsure.who_listens(&recording(locked)), Listener::Edge, "nobody else may");
        assert_eq!(unsure.heard(&recording(locked), &speech(0.4), (400.0, 0.74)), Outcome::Doubtful);
    }

    #[test]
    fn words_are_sent_and_their_sound_cannot_be() {
        let mut knowledge = knowledge();
        let terms = terms([false, true], Policy::CloudOnly);
        let question = question_with(&terms.question, "Is it red?");
        let mut request = OneRequest::new(terms).with_transcript(question);
        // Sound that is needed and locked would leave the question to the device; its words do not.
        request.plan(Vec::new(), present(true), &mut knowledge).unwrap();
        let ask = request.ask(media(), &[]).unwrap();
        assert_eq!(ask.question, "what color is the star?\nRecording: Is it red?");
        assert_eq!((ask.audio, ask.images.len()), (None, 1));
        let receipt = request.receipt().unwrap();
        let sound = receipt.modalities.iter().find(|one| one.modality == Modality::Audio).unwrap();
        assert_eq!((sound.action, sound.locked), (ModalityAction::Edge, true));
        assert_eq!((sound.sent_bytes, sound.cloud_only_bytes), (0, 40_000));
    }

    #[cfg(feature = "engine")]
    proptest! {
        #[test]
        fn questions_are_put_as_the_server_puts_them(typed in ".{0,20}", said in ".{0,20}") {
            prop_assert_eq!(question_with(&typed, &said), msao_models::speech::question_of(&typed, &said));
        }
    }
}

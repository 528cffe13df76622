//! The speech model on this device: when it is loaded, and what becomes of a recording that it writes down.
//!
//! A model that cannot hear is asked in words. What the words are good for is the planner's decision
//! ([`Knowledge::heard`](msao_runtime::orchestrator::Knowledge::heard)); a locked microphone keeps the sound here, whatever comes of it.

use leptos::prelude::*;
use msao_planner::{
    Route,
    speech::{Listener, Outcome},
};
use msao_protocol::{Limits, Policy, RequestId};
use msao_runtime::{
    ears_client::EarsClient,
    ears_messages::{EarsEvent, Heard},
    messages::PcmSamples,
    orchestrator::{Recording, ears, question_with},
};

use super::{PageState, Side, Turn, clients::ENGINE_URL};
use crate::{
    heard::HeardHere,
    input::{pcm, refusal::Refusal},
    offered::OfferedSpeech,
    status::{CloudStatus, EarsStatus},
};

/// A question that waits for the words of its recording.
#[derive(Debug, Clone)]
pub(super) struct Listening {
    turn: Turn,
    recording: Recording,
    route: Route,
    policy: Policy,
}

impl PageState {
    /// Loads the speech model where it is chosen and offered, or gives it up with all its memory.
    pub(super) fn hear_as_chosen(self) {
        let is_chosen = self.options.with_untracked(|options| options.speech);
        let speech = self.offered_speech().filter(|_| is_chosen);
        let is_there = self.clients.with_value(|clients| clients.ears.is_some());
        match speech {
            Some(speech) if !is_there => self.load_ears(&speech),
            None if is_there => {
                self.clients.update_value(|clients| clients.ears = None);
                self.ears.set(EarsStatus::Off);
                self.cannot_listen("the speech model was turned off");
            }
            Some(_) | None => (),
        }
    }

    /// Turns the speech model on or off, from now on and on later visits.
    pub(crate) fn choose_speech(self, wanted: bool) {
        self.choose_option(|options| options.speech = wanted);
        self.keep_setting("speech", if wanted { "on" } else { "" });
        self.hear_as_chosen();
    }

    fn load_ears(self, speech: &OfferedSpeech) {
        self.ears.set(EarsStatus::Loading(0, speech.bytes));
        match EarsClient::spawn(ENGINE_URL, &speech.folder(), move |event| self.on_ears(event)) {
            Ok(client) => self.clients.update_value(|clients| clients.ears = Some(client)),
            Err(error) => self.ears.set(EarsStatus::Failed(error.to_string())),
        }
    }

    fn offered_speech(self) -> Option<OfferedSpeech> {
        self.offered.with_untracked(|offered| offered.speech.clone())
    }

    /// Whether the model on this device cannot hear.
    pub(crate) fn is_deaf(self) -> bool {
        self.offered.with_untracked(|offered| offered.is_deaf(&self.weights_url()))
    }

    /// Seconds of a recording that somebody hears: a model's own window, or what may be given where it is written down.
    pub(crate) fn heard_s(self) -> f64 {
        if self.is_deaf() { f64::from(self.recorded_s()) } else { pcm::WINDOW_S }
    }

    /// Seconds that a recording may last. A server that cannot hear takes none, and this device may listen all the same.
    pub(crate) fn recorded_s(self) -> f32 {
        let there_s = self.limits.with_untracked(|limits| limits.audio_s);
        let may_listen = !self.is_deaf() || self.offered_speech().is_some();
        if may_listen { there_s.max(Limits::default().audio_s) } else { there_s }
    }

    /// Says that nobody listens, where a recording would be in vain.
    pub(crate) fn nobody_hears(self) -> Option<Refusal> {
        let speech_bytes = self.offered_speech().map(|speech| speech.bytes);
        (self.recorded_s() <= 0.0).then_some(Refusal::NobodyHears { speech_bytes })
    }

    /// The same at the rate of recordings.
    pub(crate) fn heard_samples(self) -> usize {
        (self.heard_s() * f64::from(pcm::SAMPLE_RATE_HZ)).round() as usize
    }

    /// Refuses a recording that nobody can listen to, before it is asked.
    pub(super) fn check_somebody_hears(self, policy: Policy) -> Result<(), Refusal> {
        let is_spoken = self.draft.sound.with_untracked(Option::is_some);
        if !is_spoken || !self.is_deaf() || self.has_ears() || self.may_be_heard_there(policy) {
            return Ok(());
        }
        Err(Refusal::NobodyHears { speech_bytes: self.offered_speech().map(|speech| speech.bytes) })
    }

    fn has_ears(self) -> bool {
        self.clients.with_value(|clients| clients.ears.is_some())
    }

    fn may_be_heard_there(self, policy: Policy) -> bool {
        let is_locked = self.draft.audio_locked.get_untracked();
        self.cloud.with_untracked(|status| match status {
            CloudStatus::Connected(model) => ears(false, Some(model), policy, is_locked).cloud,
            _ => false,
        })
    }

    /// Lets this device write the recording of a question down first, where that is what pays; whether it does.
    pub(super) fn listens_first(self, turn: &Turn, route: Route, policy: Policy) -> bool {
        let Some(sound) = turn.asked.sound.as_ref().filter(|_| self.is_deaf()) else { return false };
        let is_locked = self.draft.audio_locked.get_untracked();
        let target = turn.update(|running| running.target.clone()).flatten();
        let recording = Recording {
            seconds: sound.seconds(),
            whole_bytes: sound.encoded.bytes.len() as u64,
            ears: ears(self.has_ears(), target.as_ref(), policy, is_locked),
        };
        if self.knowledge.with_value(|knowledge| knowledge.who_listens(&recording)) != Listener::Edge {
            return false;
        }
        let samples = PcmSamples { sample_rate_hz: pcm::SAMPLE_RATE_HZ, samples: sound.samples.to_vec() };
        self.listening.set_value(Some(Listening { turn: turn.clone(), recording, route, policy }));
        let request_id = turn.request_id.get_untracked();
        let posted = self
            .clients
            .with_value(|clients| clients.ears.as_ref().map(|ears| ears.listen(request_id, &samples)));
        if let Some(Err(error)) = posted {
            self.cannot_listen(&error.to_string());
        }
        true
    }

    fn on_ears(self, event: EarsEvent) {
        match event {
            EarsEvent::Progress { loaded_bytes, total_bytes, .. } => {
                self.ears.set(EarsStatus::Loading(loaded_bytes, total_bytes));
            }
            EarsEvent::Ready { .. } => self.ears.set(EarsStatus::Ready),
            EarsEvent::Listening { .. } => (),
            EarsEvent::Heard { request_id, heard, ms } => self.heard(request_id, heard, ms),
            EarsEvent::Error(failure) => {
                if failure.request_id.is_none() {
                    self.ears.set(EarsStatus::Failed(failure.message.clone()));
                }
                self.cannot_listen(&failure.message);
            }
        }
    }

    /// The question that waits, unless it was stopped or asked again meanwhile.
    fn take_listening(self) -> Option<Listening> {
        let listening = self.listening.try_update_value(Option::take).flatten()?;
        let is_awaited = listening.turn.update(|running| !running.is_over) == Some(true);
        is_awaited.then_some(listening)
    }

    fn heard(self, request_id: RequestId, heard: Heard, ms: f64) {
        let is_due = self.listening.with_value(|listening| {
            listening.as_ref().is_some_and(|one| one.turn.request_id.get_untracked() == request_id)
        });
        let Some(listening) = is_due.then(|| self.take_listening()).flatten() else { return };
        let Listening { turn, recording, route, policy } = listening;
        let threshold = self.offered_speech().unwrap_or_default().threshold();
        let outcome = self
            .knowledge
            .try_update_value(|knowledge| knowledge.heard(&recording, &heard.speech, (ms, threshold)))
            .unwrap_or(Outcome::Doubtful);
        let question = question_with(&turn.asked.question, &heard.text);
        if question.is_empty() && outcome != Outcome::Offload {
            return self.fail_both(&turn, "No words were understood in the recording. Speak up, or type.");
        }
        let Heard { text, speech } = heard;
        let heard = HeardHere { text, speech, outcome, ms, sound_bytes: recording.whole_bytes };
        turn.update(|running| running.hear(question, &heard));
        turn.heard.set(Some(heard));
        self.begin(&turn, route, policy);
    }

    /// The recording cannot be written down here: it is sent where it may be, else the question has failed.
    fn cannot_listen(self, reason: &str) {
        let Some(Listening { turn, recording, route, policy }) = self.take_listening() else { return };
        if recording.ears.cloud {
            self.begin(&turn, route, policy);
        } else {
            self.fail_both(&turn, &format!("The recording could not be written down: {reason}."));
        }
    }

    fn fail_both(self, turn: &Turn, message: &str) {
        let request_id = turn.request_id.get_untracked();
        turn.update(|running| running.is_over = true);
        for side in [Side::Edge, Side::Cloud] {
            self.fail(request_id, side, message);
        }
    }
}

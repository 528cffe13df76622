//! The speech model on this device: when it is loaded, and what becomes of a recording that it writes down.
//!
//! A model that cannot hear is asked in words. What the words are good for is the planner's decision
//! ([`Knowledge::heard`](msao_runtime::orchestrator::Knowledge::heard)); a locked microphone keeps the sound here, whatever comes of it.

use leptos::prelude::*;
use msao_planner::{
    Route,
    fitting::Format,
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
    fit,
    heard::{HeardHere, ListeningHere},
    input::{pcm, refusal::Refusal},
    offered::OfferedSpeech,
    status::{CloudStatus, EarsStatus, EdgeStatus},
};

/// A question that waits for the words of its recording.
#[derive(Debug, Clone)]
pub(super) struct Listening {
    turn: Turn,
    recording: Recording,
    route: Route,
    policy: Policy,
}

impl Listening {
    fn is_of(&self, request_id: RequestId) -> bool {
        self.turn.request_id.get_untracked() == request_id
    }

    /// Nobody has stopped the question meanwhile.
    fn is_awaited(&self) -> bool {
        self.turn.update(|running| !running.is_over) == Some(true)
    }
}

impl PageState {
    /// Loads the speech model where it is chosen and offered, or gives it up with all its memory.
    pub(super) fn hear_as_chosen(self) {
        let is_chosen = self.options.with_untracked(|options| options.speech);
        let speech = self.offered_speech().filter(|_| is_chosen);
        let is_there = self.clients.with_value(|clients| clients.ears.is_some());
        match speech {
            Some(speech) if !is_there => self.load_ears(&speech),
            None => {
                self.clients.update_value(|clients| clients.ears = None);
                self.ears.set(EarsStatus::Off);
                self.cannot_listen(None, "the speech model was turned off");
            }
            Some(_) => (),
        }
    }

    /// Turns the speech model on or off, from now on and on later visits.
    pub(crate) fn choose_speech(self, wanted: bool) {
        self.choose_option(|options| options.speech = wanted);
        self.keep_setting("speech", if wanted { "on" } else { "" });
        self.hear_as_chosen();
    }

    /// As [`Self::hear_as_chosen`], after what the model that answers takes has changed, or the format of weights.
    pub(super) fn hear_anew(self) {
        let format = self.clients.with_value(|clients| clients.ears.as_ref().map(EarsClient::format));
        if format.is_some_and(|format| format != self.ears_format() || !self.has_ears()) {
            self.clients.update_value(|clients| clients.ears = None);
            self.cannot_listen(None, "the speech model is being loaded anew");
        }
        self.hear_as_chosen();
    }

    /// Fetches the speech model, unless it does not fit beside the model that answers here.
    fn load_ears(self, speech: &OfferedSpeech) {
        let is_alone =
            self.edge.with_untracked(|status| matches!(status, EdgeStatus::Off | EdgeStatus::Failed(_)));
        let (folder, format) = (self.weights_url(), self.options.with_untracked(|options| options.format));
        let limits = self.device_limits.get_untracked();
        let misfit = self.offered.with_untracked(|offered| {
            let beside = offered.at(&folder).filter(|_| !is_alone);
            fit::speech_misfit(speech, format, &limits, beside)
        });
        if let Some(misfit) = misfit {
            return self.ears.set(EarsStatus::Failed(misfit));
        }
        self.ears.set(EarsStatus::Loading(0, speech.bytes));
        let format = self.ears_format();
        match EarsClient::spawn(ENGINE_URL, &speech.folder(), format, move |event| self.on_ears(event)) {
            Ok(client) => self.clients.update_value(|clients| clients.ears = Some(client)),
            Err(error) => self.ears.set(EarsStatus::Failed(error.to_string())),
        }
    }

    /// How the speech model's weights are kept: as chosen for all models, where the server tells that it can be.
    fn ears_format(self) -> Option<Format> {
        let chosen = self.options.with_untracked(|options| options.format)?;
        let is_offered = |speech: &OfferedSpeech| speech.memory.iter().any(|needs| needs.format == chosen);
        self.offered_speech().is_some_and(|speech| is_offered(&speech)).then_some(chosen)
    }

    /// What the speech model takes of this tab's memory; 0 while there is none.
    pub(super) fn speech_bytes(self) -> u64 {
        self.ears.track();
        let speech = self.offered_speech().filter(|_| self.has_ears());
        let format = self.options.with_untracked(|options| options.format);
        speech.and_then(|speech| Some(speech.memory_from(format).first()?.peak_bytes)).unwrap_or_default()
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

    pub(super) fn has_ears(self) -> bool {
        let has_failed = self.ears.with_untracked(|status| matches!(status, EarsStatus::Failed(_)));
        !has_failed && self.clients.with_value(|clients| clients.ears.is_some())
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
        turn.listening.set(Some(ListeningHere { seconds_done: None, seconds: recording.seconds }));
        let samples = PcmSamples { sample_rate_hz: pcm::SAMPLE_RATE_HZ, samples: sound.samples.to_vec() };
        self.listening.set_value(Some(Listening { turn: turn.clone(), recording, route, policy }));
        let request_id = turn.request_id.get_untracked();
        let posted = self
            .clients
            .with_value(|clients| clients.ears.as_ref().map(|ears| ears.listen(request_id, &samples)));
        if let Some(Err(error)) = posted {
            self.cannot_listen(Some(request_id), &error.to_string());
        }
        true
    }

    fn on_ears(self, event: EarsEvent) {
        match event {
            EarsEvent::Progress { loaded_bytes, total_bytes, .. } => {
                self.ears.set(EarsStatus::Loading(loaded_bytes, total_bytes));
            }
            EarsEvent::Ready { .. } => self.ears.set(EarsStatus::Ready),
            EarsEvent::Listening { request_id, seconds_done } => self.listened(request_id, seconds_done),
            EarsEvent::Heard { request_id, heard, ms } => self.heard(request_id, heard, ms),
            EarsEvent::Error(failure) => {
                if failure.request_id.is_none() {
                    self.ears.set(EarsStatus::Failed(failure.message.clone()));
                }
                self.cannot_listen(failure.request_id, &failure.message);
            }
        }
    }

    /// Shows how far the recording of a question is, and says so.
    fn listened(self, request_id: RequestId, seconds_done: f64) {
        let Some((turn, seconds)) = self.listening.with_value(|listening| {
            let due = listening.as_ref().filter(|one| one.is_of(request_id));
            due.map(|one| (one.turn.clone(), one.recording.seconds))
        }) else {
            return;
        };
        let listening = ListeningHere { seconds_done: Some(seconds_done), seconds };
        self.announcement(Side::Edge).set(listening.words());
        turn.listening.set(Some(listening));
    }

    /// Lets the recording of a question be, if it is being written down.
    pub(super) fn stop_listening(self, request_id: RequestId) {
        if self.take_listening(|one| one.is_of(request_id)).is_none() {
            return;
        }
        self.clients.with_value(|clients| {
            if let Some(ears) = &clients.ears {
                // A Worker that takes no messages has failed by itself, and says so.
                let _ = ears.cancel(request_id);
            }
        });
    }

    /// The question that waits for its words, if it is the one that is meant; its turn listens no more.
    fn take_listening(self, is_meant: impl Fn(&Listening) -> bool) -> Option<Listening> {
        let take = |listening: &mut Option<Listening>| listening.take_if(|one| is_meant(one));
        let listening = self.listening.try_update_value(take).flatten()?;
        listening.turn.listening.set(None);
        Some(listening)
    }

    fn heard(self, request_id: RequestId, heard: Heard, ms: f64) {
        let listening = self.take_listening(|one| one.is_of(request_id)).filter(Listening::is_awaited);
        let Some(listening) = listening else { return };
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
    /// Without a request it is whichever waits.
    fn cannot_listen(self, request_id: Option<RequestId>, reason: &str) {
        let is_meant = |one: &Listening| request_id.is_none_or(|request_id| one.is_of(request_id));
        let listening = self.take_listening(is_meant).filter(Listening::is_awaited);
        let Some(Listening { turn, recording, route, policy }) = listening else { return };
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

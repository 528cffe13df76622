//! A question under way: its state machine, and what the page knows besides.

use msao_protocol::{AnswerMode, Modality, ModelInfo, Policy, Receipt, RequestId};
use msao_runtime::{
    orchestrator::{Given, OneRequest, RoundTripOfAnswer, Terms},
    scored::Scored,
};

use super::Asked;
use crate::{
    heard::HeardHere,
    receipt::{Timing, TurnReceipt},
    standing::Standing,
};

/// Tokens of the longest answer asked for: the models' descriptions end well below.
pub(super) const MAX_NEW_TOKENS: u32 = 96;
/// Prompt tokens of a picture and of a recording on the device, for the plan.
const EDGE_PICTURE_TOKENS: u32 = 16;
const EDGE_SOUND_TOKENS: u32 = 30;

/// What must not leave the device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Locks {
    /// Pictures, whether of the camera or of files.
    pub(crate) vision: bool,
    /// Recordings.
    pub(crate) audio: bool,
    /// The words of questions, and so the questions.
    pub(crate) text: bool,
}

impl Locks {
    /// Whether a modality is locked.
    pub(crate) fn holds(self, modality: Modality) -> bool {
        match modality {
            Modality::Text => self.text,
            Modality::Vision => self.vision,
            Modality::Audio => self.audio,
        }
    }
}

/// A request and what has become of it so far.
#[derive(Debug, Clone)]
pub(super) struct Running {
    /// What decides.
    pub(super) request: OneRequest,
    /// The model in the cloud when it was asked; `None` where there was none.
    pub(super) target: Option<ModelInfo>,
    /// What was locked when it was asked, of what was given.
    pub(super) locked: Vec<Modality>,
    /// What the device kept of the media, until it is sent.
    pub(super) scored: Scored,
    /// The cloud is being asked, or was.
    pub(super) is_asking: bool,
    /// The question was handed over to the session with the cloud.
    pub(super) was_sent: bool,
    /// The user has stopped it, or the cloud has failed: nothing more is sent.
    pub(super) is_over: bool,
    /// Bytes of the frame that asked, and when it was handed over.
    pub(super) sent: Option<(u64, f64)>,
    /// Some of the time was spent waiting by design or for a second attempt: it says nothing about the network.
    pub(super) is_held_up: bool,
    whole_tokens: [u32; 2],
    /// How much each patch of each picture matters, by the scores.
    pub(super) patch_probabilities: Vec<Vec<f32>>,
    /// The device's model is there and does not take part.
    pub(super) device_sits_out: bool,
    /// What the device heard in the recording.
    heard: Option<HeardHere>,
    /// The device's receipt.
    pub(super) edge: Option<Receipt>,
    /// The server's receipt.
    pub(super) cloud: Option<Receipt>,
}

impl Running {
    pub(super) fn new(
        request_id: RequestId,
        asked: &Asked,
        locks: Locks,
        (policy, mode): (Policy, AnswerMode),
        target: Option<ModelInfo>,
    ) -> Self {
        let pictures = asked.pictures.len() as u32;
        let whole_tokens = [
            pictures * target.as_ref().map_or(0, |target| target.image.tokens()),
            target.as_ref().and_then(|target| target.audio).map_or(0, |audio| audio.tokens),
        ];
        let vision = (pictures > 0).then(|| Given {
            modality: Modality::Vision,
            locked: locks.vision,
            whole_bytes: asked.pictures.iter().map(|picture| picture.encoded.bytes.len() as u64).sum(),
            target_tokens: whole_tokens[0],
            edge_tokens: pictures * EDGE_PICTURE_TOKENS,
        });
        let audio = asked.sound.as_ref().map(|sound| Given {
            modality: Modality::Audio,
            locked: locks.audio,
            whole_bytes: sound.encoded.bytes.len() as u64,
            target_tokens: whole_tokens[1],
            edge_tokens: EDGE_SOUND_TOKENS,
        });
        let given: Vec<_> = vision.into_iter().chain(audio).collect();
        Self {
            locked: given.iter().filter(|given| given.locked).map(|given| given.modality).collect(),
            request: OneRequest::new(Terms {
                request_id,
                question: asked.words(),
                given,
                max_new_tokens: MAX_NEW_TOKENS,
                sampling: None,
                policy,
                mode,
            }),
            target,
            scored: Scored::default(),
            is_asking: false,
            was_sent: false,
            is_over: false,
            sent: None,
            is_held_up: false,
            whole_tokens,
            patch_probabilities: Vec::new(),
            device_sits_out: false,
            heard: None,
            edge: None,
            cloud: None,
        }
    }

    /// The device has written the recording down: `question` has its words beside what was typed.
    pub(super) fn hear(&mut self, question: String, heard: &HeardHere) {
        if heard.replaces_sound() {
            self.request = self.request.clone().with_transcript(question);
            self.locked.retain(|modality| *modality != Modality::Audio);
        }
        self.heard = Some(heard.clone());
    }

    /// How long the answer that ends at `now_ms` took; `None` where some of it was waited by design.
    pub(super) fn trip(&self, now_ms: f64) -> Option<RoundTripOfAnswer> {
        let (asked_bytes, at_ms) = self.sent.filter(|_| !self.is_held_up)?;
        Some(RoundTripOfAnswer { asked_bytes, to_end_ms: now_ms - at_ms })
    }

    /// What there is to say if the device's answer stood.
    pub(super) fn standing(&self) -> Option<Standing> {
        Standing::of(&self.request.receipt()?, self.request.shadow_text(), self.was_sent)
    }

    /// The receipt as it stands; `None` before there is a plan.
    pub(super) fn receipt(&self) -> Option<TurnReceipt> {
        Some(TurnReceipt {
            plan: self.request.receipt()?,
            whole_tokens: self.whole_tokens,
            heard: self.heard.clone(),
            edge: self.edge.clone(),
            cloud: self.cloud.clone(),
            patch_probabilities: self.patch_probabilities.clone(),
            target_parameters: self.target.as_ref().map(|target| target.parameters),
            device_sat_out: self.device_sits_out,
            timing: Timing::default(),
        })
    }
}

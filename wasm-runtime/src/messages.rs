//! What the page and the Worker say to each other.
//!
//! Requests and events are plain JavaScript objects with a `type` field, so that the hand-written Worker and
//! pages without Wasm read them too; these types are their one definition for Rust. Pixels and samples do not
//! pass through here: they travel beside the header of an `ask`, or within a `scored`, as transferred buffers.

use msao_planner::{EngineKind, EngineTimings, fitting::Format};
use msao_protocol::{
    Candidate, Clip, FinishReason, Receipt, RequestId, Sampling, Token, TokenId, Vocabulary,
};
use serde::{Deserialize, Serialize};

use crate::scored::{Scored, TargetGrid};

/// Which engine module the Worker uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EnginePreference {
    /// SIMD answers first; WebGPU takes over once it has been measured to be clearly faster.
    #[default]
    Auto,
    /// Wasm SIMD only.
    Simd,
    /// WebGPU only, software adapters included; an error where there is none.
    Webgpu,
}

/// What the page asks of the Worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum WorkerRequest {
    /// Load the checkpoint and an engine. The first message.
    Load {
        /// Which engine.
        engine: EnginePreference,
        /// Absolute URL of the checkpoint's folder, which holds `MANIFEST.json`.
        weights_url: String,
        /// How weights are kept in memory; `None` as they are stored.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        format: Option<Format>,
    },
    /// Answer a question. The buffers travel in the same object, beside these fields.
    Ask(AskHeader),
    /// From a position of the answer on these tokens stand. The engine keeps its own tokens before them and writes on
    /// behind them; a correction that comes later supersedes this one.
    Correct {
        /// Which request. An unknown one is ignored, since its end may have crossed this message.
        request_id: RequestId,
        /// What the tokens written from then on carry; higher than in any correction before.
        revision: u32,
        /// Position of the first of `tokens`, at most the length of the answer that the page has heard of.
        start: u32,
        /// The tokens that stand, without an end token. Those beyond the bound of the answer are left out.
        tokens: Vec<TokenId>,
    },
    /// Nothing will be corrected any more: a request that waits ends once its answer is written.
    Release {
        /// Which request. An unknown one is ignored.
        request_id: RequestId,
    },
    /// Stop an answer, or forget it if it has not begun.
    Cancel {
        /// Which request.
        request_id: RequestId,
    },
    /// Time the engine in use; answered by [`WorkerEvent::Measured`].
    Measure,
    /// Give up engine and memory; answered by [`WorkerEvent::Unloaded`].
    Unload,
}

/// A question without the bytes of its media.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AskHeader {
    /// Chosen by the page; every event about this question carries it.
    pub request_id: RequestId,
    /// The question; empty when the recording holds a spoken one.
    pub question: String,
    /// Most tokens the answer may have.
    pub max_new_tokens: u32,
    /// When the pictures were, if they are frames of a video. A checkpoint that has not learned about videos sees pictures.
    #[serde(default)]
    pub clip: Option<Clip>,
    /// What the media are cut for; `None` if nothing of them is to be sent.
    pub target: Option<TargetGrid>,
    /// How tokens are drawn; `None` takes the most likely one each time.
    #[serde(default)]
    pub sampling: Option<Sampling>,
    /// Whether the request stays open after its answer, for corrections of a target: see [`WorkerEvent::Released`].
    #[serde(default)]
    pub awaits_target: bool,
}

/// A question with its media, as the page hands it over.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EdgeAsk {
    /// Chosen by the page; every event about this question carries it.
    pub request_id: RequestId,
    /// The question; empty when [`Self::audio`] holds a spoken one.
    pub question: String,
    /// One picture, or the frames of a clip in order of time.
    pub images: Vec<RgbaPixels>,
    /// As in [`AskHeader::clip`].
    pub clip: Option<Clip>,
    /// One recording.
    pub audio: Option<PcmSamples>,
    /// Most tokens the answer may have.
    pub max_new_tokens: u32,
    /// What the media are cut for; `None` if nothing of them is to be sent.
    pub target: Option<TargetGrid>,
    /// How tokens are drawn; `None` takes the most likely one each time.
    pub sampling: Option<Sampling>,
    /// Whether the request stays open after its answer, for corrections of a target: see [`WorkerEvent::Released`].
    pub awaits_target: bool,
}

impl EdgeAsk {
    /// The question without its media.
    ///
    /// JavaScript's numbers hold 53 bits, so a seed is cut to those; the edge's draws are its own, whatever the server
    /// makes of the same seed.
    pub fn header(&self) -> AskHeader {
        const SEED_BITS: u64 = (1 << 53) - 1;
        AskHeader {
            request_id: self.request_id,
            question: self.question.clone(),
            max_new_tokens: self.max_new_tokens,
            clip: self.clip.clone(),
            target: self.target,
            sampling: self.sampling.map(|it| Sampling { seed: it.seed & SEED_BITS, ..it }),
            awaits_target: self.awaits_target,
        }
    }
}

/// A picture as a canvas gives it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RgbaPixels {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Four bytes a pixel, row by row.
    #[serde(skip)]
    pub pixels: Vec<u8>,
}

/// A recording as the audio graph gives it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PcmSamples {
    /// Samples in a second.
    pub sample_rate_hz: u32,
    /// One channel, -1 to 1.
    #[serde(skip)]
    pub samples: Vec<f32>,
}

/// What the Worker tells the page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum WorkerEvent {
    /// Loading goes on.
    Progress(Progress),
    /// The first engine answers from now on.
    Ready(Ready),
    /// Another engine answers from now on; requests in flight carry on there.
    EngineChanged(EngineChange),
    /// Engines were timed.
    Measured(Measured),
    /// What a question needs of its media. It comes once, before the first token, if [`Ready::has_probe`]; a second one
    /// means that the answer began anew on another engine.
    Scored {
        /// The request it is about.
        request_id: RequestId,
        /// Scores and kept parts.
        scored: Scored,
    },
    /// A token of an answer, in order.
    Token {
        /// The request it answers.
        request_id: RequestId,
        /// Corrections that the engine knew when it wrote the token: that of the last one, 0 before any.
        revision: u32,
        /// Position in the answer, from 0. A second token 0 of revision 0 means that the answer began anew on another
        /// engine; under a later revision it goes on there where it was.
        index: u32,
        /// The token.
        token: Token,
        /// Where tokens are drawn: the distribution it was drawn from, most likely first, summing to 1.
        #[serde(default)]
        candidates: Vec<Candidate>,
    },
    /// The engine's answer has ended for the first time, corrections until then included. It comes once.
    Done(EdgeDone),
    /// With [`AskHeader::awaits_target`], after [`Self::Done`]: what follows a correction is written. A superseded
    /// correction has none, and after another engine has taken over the last one can have two.
    Redrafted {
        /// The request it is about.
        request_id: RequestId,
        /// The correction's.
        revision: u32,
    },
    /// With [`AskHeader::awaits_target`], after [`Self::Done`]: the request has ended, since it was released or
    /// cancelled, or since another question was waiting.
    Released {
        /// The request that has ended.
        request_id: RequestId,
        /// As in [`EdgeDone`], with the times and operations of drafting after corrections.
        receipt: Receipt,
    },
    /// A request has failed, or, without a request, the engine.
    Error(EdgeFailure),
    /// Engine and memory are given up.
    Unloaded,
}

/// How far loading has come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// What is going on.
    pub stage: LoadStage,
    /// The engine it is done for.
    pub engine: EngineKind,
    /// Bytes here so far, of the checkpoint; 0 outside [`LoadStage::Weights`].
    pub loaded_bytes: u64,
    /// Bytes in all; 0 while unknown.
    pub total_bytes: u64,
    /// Until the rest is here, at the pace of the last seconds; `None` while nothing tells.
    #[serde(default)]
    pub seconds_left: Option<f64>,
}

/// The stages of loading, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoadStage {
    /// Fetching and compiling the engine module.
    Engine,
    /// Fetching the checkpoint, from the network or the cache.
    Weights,
    /// Building the model.
    Model,
    /// Running every shape once, so that no question waits for compilation.
    WarmUp,
    /// Timing the engine, in the background.
    Measure,
}

/// An engine is ready to answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ready {
    /// The engine.
    pub engine: EngineKind,
    /// On how many threads SIMD runs.
    #[serde(default = "one_thread")]
    pub threads: u32,
    /// The GPU it runs on; `None` for SIMD.
    pub adapter: Option<AdapterInfo>,
    /// Name of the checkpoint.
    pub model: String,
    /// Weights in the model.
    pub parameters: u64,
    /// Whether the checkpoint came with a probe, so that questions are scored.
    pub has_probe: bool,
    /// What its token ids mean.
    #[serde(default)]
    pub vocabulary: Vocabulary,
    /// Bytes of the checkpoint.
    pub weights_bytes: u64,
    /// Whether all of the checkpoint was on this device already.
    pub from_cache: bool,
    /// Where the next visit finds it.
    #[serde(default)]
    pub kept: Kept,
    /// Fetching engine and checkpoint, in milliseconds.
    pub download_ms: f64,
    /// Building the model, in milliseconds.
    pub load_ms: f64,
    /// Warming up, in milliseconds.
    pub warm_up_ms: f64,
}

fn one_thread() -> u32 {
    1
}

/// What has become of a checkpoint that was fetched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kept {
    /// It lies on this device's disk.
    #[default]
    Disk,
    /// In memory only: the browser keeps nothing here, as in a private window.
    NoStore,
    /// In memory only: there was no room on the disk.
    NoRoom,
}

/// A GPU as the browser describes it; fields may be empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdapterInfo {
    /// Such as `nvidia`.
    pub vendor: String,
    /// Such as `hopper`.
    pub architecture: String,
    /// In the driver's words.
    pub description: String,
    /// A software implementation.
    pub is_fallback: bool,
}

/// The engine was changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EngineChange {
    /// The engine until now.
    pub from: EngineKind,
    /// The engine from now on.
    pub to: EngineKind,
    /// On how many threads the new one runs.
    #[serde(default = "one_thread")]
    pub threads: u32,
    /// Why.
    pub reason: EngineChangeReason,
    /// Why, for people.
    pub message: String,
    /// The GPU of the new engine.
    pub adapter: Option<AdapterInfo>,
}

/// Why the engine was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EngineChangeReason {
    /// The new one was measured to be clearly faster.
    Faster,
    /// The old one failed, for example because the GPU was lost. The new one may be of the same kind, started again.
    Failed,
    /// WebGPU was faster when it was measured, and answer after answer is slower now.
    Slower,
}

/// Outcome of timing the engines.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Wasm SIMD; `None` if it was not timed.
    pub simd: Option<EngineTimings>,
    /// WebGPU; `None` if it was not timed.
    pub webgpu: Option<EngineTimings>,
    /// The engine in use from now on.
    pub chosen: EngineKind,
    /// The GPU that was timed, or should have been.
    pub adapter: Option<AdapterInfo>,
    /// Why WebGPU could not be timed, for people.
    pub failure: Option<String>,
}

/// A complete answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EdgeDone {
    /// The request it answers.
    pub request_id: RequestId,
    /// The whole answer.
    pub text: String,
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// What it took on this device; nothing of it crossed the network.
    pub receipt: Receipt,
    /// The engine that wrote it.
    pub engine: EngineKind,
    /// That of the last correction it knows, 0 without any.
    #[serde(default)]
    pub revision: u32,
}

/// Something failed on the device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EdgeFailure {
    /// The request that failed; `None` if it was the engine, and then nothing will be answered before the
    /// engine is loaded again.
    pub request_id: Option<RequestId>,
    /// For programs.
    pub code: EdgeErrorCode,
    /// For people: what is wrong, and the remedy.
    pub message: String,
    /// With [`EdgeErrorCode::TooLarge`]: the largest of the smaller formats that fits, if one does.
    #[serde(default)]
    pub fits_as: Option<Format>,
}

/// Every way the edge can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EdgeErrorCode {
    /// The Worker's script could not be started, or the Worker died.
    WorkerCrashed,
    /// The engine module or the checkpoint could not be fetched.
    DownloadFailed,
    /// What was fetched is not what the manifest announces.
    DownloadCorrupt,
    /// The asked-for engine does not exist here.
    EngineUnavailable,
    /// The checkpoint is not usable.
    CheckpointInvalid,
    /// The model takes more memory than there is here.
    TooLarge,
    /// The question or its media are not usable.
    InvalidInput,
    /// Asked before the engine was ready, or after it was unloaded.
    NotReady,
    /// The engine failed while it worked.
    EngineFailed,
}

#[cfg(test)]
mod tests {
    use msao_protocol::{Span, SpanKind};

    use super::*;

    /// The Worker is written in JavaScript: these strings are what it sends and reads.
    #[test]
    fn messages_have_the_form_the_worker_writes() {
        let cancel = serde_json::to_string(&WorkerRequest::Cancel { request_id: 3 }).unwrap();
        assert_eq!(cancel, r#"{"type":"cancel","request_id":3}"#);

        let load =
            |format| WorkerRequest::Load { engine: EnginePreference::Auto, weights_url: "w/".into(), format };
        assert_eq!(
            serde_json::to_string(&load(None)).unwrap(),
            r#"{"type":"load","engine":"auto","weights_url":"w/"}"#
        );
        let asked = serde_json::to_string(&load(Some(Format::Q4))).unwrap();
        assert!(asked.ends_with(r#","format":"q4"}"#), "{asked}");

        let event: WorkerEvent = serde_json::from_str(
            r#"{"type":"error","request_id":null,"code":"download_failed","message":"away"}"#,
        )
        .unwrap();
        assert!(
            matches!(event, WorkerEvent::Error(failure) if failure.code == EdgeErrorCode::DownloadFailed)
        );
        let event: WorkerEvent = serde_json::from_str(
            r#"{"type":"error","request_id":null,"code":"too_large","message":"so","fits_as":"q4"}"#,
        )
        .unwrap();
        assert!(matches!(event, WorkerEvent::Error(failure) if failure.fits_as == Some(Format::Q4)));

        let event: WorkerEvent = serde_json::from_str(
            r#"{"type":"progress","stage":"warm_up","engine":"webgpu","loaded_bytes":0,"total_bytes":0}"#,
        )
        .unwrap();
        assert!(matches!(event, WorkerEvent::Progress(progress) if progress.stage == LoadStage::WarmUp));
    }

    #[test]
    fn scores_cross_without_their_buffers() {
        let scored: WorkerEvent = serde_json::from_str(
            r#"{"type":"scored","request_id":2,"scored":{"modalities":[],"images":[{"frame":0,
            "mask":{"parts":4,"bits":[5]},"tiles":{"width":8,"height":4,"pixels":{}}}],"audio":null}}"#,
        )
        .unwrap();
        let WorkerEvent::Scored { request_id: 2, scored } = scored else { panic!("{scored:?}") };
        assert_eq!((scored.images[0].mask.kept(), scored.images[0].tiles.width), (2, 8));
        assert!(!serde_json::to_string(&scored).unwrap().contains("pixels"));

        let header: AskHeader =
            serde_json::from_str(r#"{"request_id":1,"question":"what?","max_new_tokens":9}"#).unwrap();
        assert_eq!(header.target, None, "a page may leave the target out");
        assert_eq!((header.sampling, header.awaits_target), (None, false), "and these as well");
    }

    #[test]
    fn corrections_and_what_follows_them_have_the_form_the_worker_writes() {
        let correct = WorkerRequest::Correct { request_id: 3, revision: 2, start: 4, tokens: vec![7, 9] };
        assert_eq!(
            serde_json::to_string(&correct).unwrap(),
            r#"{"type":"correct","request_id":3,"revision":2,"start":4,"tokens":[7,9]}"#
        );
        let release = serde_json::to_string(&WorkerRequest::Release { request_id: 3 }).unwrap();
        assert_eq!(release, r#"{"type":"release","request_id":3}"#);

        let event: WorkerEvent = serde_json::from_str(
            r#"{"type":"token","request_id":3,"revision":2,"index":6,
            "token":{"id":5,"text":" red","probability":0.5},"candidates":[{"id":5,"probability":1}]}"#,
        )
        .unwrap();
        let WorkerEvent::Token { revision: 2, index: 6, candidates, .. } = event else { panic!("{event:?}") };
        assert_eq!(candidates, [Candidate { id: 5, probability: 1.0 }]);

        let event: WorkerEvent =
            serde_json::from_str(r#"{"type":"redrafted","request_id":3,"revision":2}"#).unwrap();
        assert_eq!(event, WorkerEvent::Redrafted { request_id: 3, revision: 2 });

        let receipt = Receipt { flops: 12, ..Receipt::default() };
        let released = WorkerEvent::Released { request_id: 3, receipt };
        let json = serde_json::to_string(&released).unwrap();
        assert!(json.starts_with(r#"{"type":"released","request_id":3,"receipt":{"#), "{json}");
        assert_eq!(serde_json::from_str::<WorkerEvent>(&json).unwrap(), released);
    }

    #[test]
    fn sampling_is_asked_for_by_its_fields() {
        let header: AskHeader = serde_json::from_str(
            r#"{"request_id":1,"question":"what?","max_new_tokens":9,"awaits_target":true,
            "sampling":{"temperature":0.5,"top_p":0.9,"seed":4}}"#,
        )
        .unwrap();
        assert!(header.awaits_target);
        assert_eq!(header.sampling, Some(Sampling { temperature: 0.5, top_p: 0.9, seed: 4 }));

        let ask = EdgeAsk {
            sampling: header.sampling.map(|it| Sampling { seed: u64::MAX, ..it }),
            ..EdgeAsk::default()
        };
        let seed = ask.header().sampling.unwrap().seed;
        assert_eq!(seed as f64 as u64, seed, "a number of JavaScript holds it");
    }

    #[test]
    fn a_receipt_survives_the_way_through_javascript() {
        let done = WorkerEvent::Done(EdgeDone {
            request_id: 1,
            text: "red".into(),
            finish_reason: FinishReason::Stop,
            receipt: Receipt {
                spans: vec![Span { kind: SpanKind::Prefill, ms: 1.25 }],
                ..Receipt::default()
            },
            engine: EngineKind::Simd,
            revision: 2,
        });
        let json = serde_json::to_string(&done).unwrap();
        assert_eq!(serde_json::from_str::<WorkerEvent>(&json).unwrap(), done);
    }
}

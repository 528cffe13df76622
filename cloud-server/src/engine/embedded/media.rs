//! The media thread: from files to pixels and samples, one question ahead of the model.

use std::time::Instant;

use msao_models::Assistant;
use msao_protocol::{Ask, ErrorCode, FinishReason, Limits, Modality, SpanKind, Turn};

use super::content::digests;
use super::pipeline::{Completed, Decoded, Decoding, MediaWork, Pipeline, Queued};
use super::retention::Retention;
use super::{frames, tiles};
use crate::engine::stage::guarded;
use crate::engine::{Answer, EngineError, EngineEvent, EngineInfo, Job};
use crate::intake::{self, Refusal};

const MODALITIES: [Modality; 3] = [Modality::Text, Modality::Vision, Modality::Audio];

/// What the media thread works with.
pub(super) struct MediaStage {
    pub(super) limits: Limits,
    pub(super) info: EngineInfo,
    pub(super) target: Assistant,
    /// As in [`super::EmbeddedConfig`].
    pub(super) prunes_tiles: bool,
}

impl MediaStage {
    /// Works until the pipeline stops.
    pub(super) fn run(&self, pipeline: &Pipeline, retention: &Retention) {
        while let Some(work) = pipeline.next_media() {
            match work {
                MediaWork::Begin(queued) => self.begin(pipeline, retention, *queued),
                MediaWork::Complete(late) => {
                    let began = Instant::now();
                    let media = guarded(|| self.choose(self.decode(&late.ask)?, late.prunes_tiles));
                    // The running request merges nothing any more, but should be the only one to hold the files.
                    drop(late.ask);
                    pipeline.hand_over_late(Completed { key: late.key, media, began, ended: Instant::now() });
                }
            }
        }
    }

    fn begin(&self, pipeline: &Pipeline, retention: &Retention, queued: Queued) {
        let Queued { place, mut job, mut ledger } = queued;
        ledger.lap(SpanKind::Queue);
        if job.is_cancelled() {
            drop(place);
            let (text, finish_reason) = (String::new(), FinishReason::Cancelled);
            let receipt = ledger.close(&job);
            return job.report(EngineEvent::Done(Answer { text, finish_reason, receipt }));
        }
        // Media that were late for the question may be in time for its turn.
        job.complete();
        let media = guarded(|| {
            self.recall(&mut job, retention)?;
            self.decode(&job.ask)
        });
        let media = media.and_then(|media| {
            ledger.lap(SpanKind::DecodeMedia);
            let media = guarded(|| self.choose(media, job.prunes_tiles))?;
            if media.flops > 0 {
                ledger.lap(SpanKind::Score);
                ledger.count_flops(media.flops);
            }
            Ok(media)
        });
        match media {
            Err(error) => {
                drop(place);
                job.report(EngineEvent::Failed(error));
            }
            Ok(media) => {
                pipeline.hand_over(Decoded { place, job, ledger, media });
            }
        }
    }

    fn decode(&self, ask: &Ask) -> Result<Decoding, EngineError> {
        let prompt = intake::decode(ask, &self.limits, &self.info.model)?;
        Ok(Decoding { prompt, digests: digests(ask), left_out_frames: 0, flops: 0 })
    }

    /// Leaves out what is not looked at, where that is wanted.
    fn choose(&self, mut media: Decoding, prunes_tiles: Option<bool>) -> Result<Decoding, EngineError> {
        if prunes_tiles.unwrap_or(self.prunes_tiles) {
            media.flops = frames::prune(&mut media) + tiles::prune(&self.target, &mut media)?;
        }
        Ok(media)
    }

    /// Puts the conversation that a question goes on from before it.
    fn recall(&self, job: &mut Job, retention: &Retention) -> Result<(), EngineError> {
        let Some(before) = job.ask.continues else { return Ok(()) };
        let (ask, tokens) = retention.recall((job.owner(), before)).ok_or_else(|| forgotten(before))?;
        let mut stream = self.target.tokenizer().stream();
        let answer = tokens.iter().map(|&token| stream.push(self.target.tokenizer(), token)).collect();
        let mut history = ask.history.clone();
        history.push(Turn {
            images: ask.images.clone(),
            clip: ask.clip.clone(),
            audio: ask.audio.clone(),
            question: ask.question.clone(),
            answer,
        });
        intake::check_history(&history, &self.limits, &self.info)?;
        job.continue_from(history);
        // As much as could have been sent, so that what is under way stays bounded by places and messages.
        let bytes: u64 = MODALITIES.iter().map(|&modality| job.ask.bytes(modality)).sum();
        let limit = self.limits.message_bytes;
        if bytes > limit.into() {
            let message = format!(
                "the conversation has {bytes} bytes; at most {limit} are accepted: begin a new one, or send only the turns that matter"
            );
            return Err(Refusal::new(ErrorCode::HistoryTooLong, message).into());
        }
        Ok(())
    }
}

/// The refusal of what goes on from a request that is not kept.
pub(super) fn forgotten(request_id: u32) -> Refusal {
    let message = format!(
        "request {request_id} is not one of this session that is over and still kept: send the history again with a new question"
    );
    Refusal::new(ErrorCode::Forgotten, message)
}

//! The media thread: from files to pixels and samples, one question ahead of the model.

use std::time::Instant;

use msao_protocol::{FinishReason, Limits, ModelInfo, SpanKind};

use super::pipeline::{Completed, Decoded, MediaWork, Pipeline, Queued};
use crate::engine::stage::guarded;
use crate::engine::{Answer, EngineEvent};
use crate::intake;

/// Works until the pipeline stops.
pub(super) fn run(pipeline: &Pipeline, limits: &Limits, model: &ModelInfo) {
    while let Some(work) = pipeline.next_media() {
        match work {
            MediaWork::Begin(queued) => begin(pipeline, queued, limits, model),
            MediaWork::Complete(late) => {
                let began = Instant::now();
                let prompt = guarded(|| Ok(intake::decode(&late.ask, limits, model)?));
                // The running request merges nothing any more, but should be the only one to hold the files.
                drop(late.ask);
                pipeline.hand_over_late(Completed { key: late.key, prompt, began, ended: Instant::now() });
            }
        }
    }
}

fn begin(pipeline: &Pipeline, queued: Queued, limits: &Limits, model: &ModelInfo) {
    let Queued { place, mut job, mut ledger } = queued;
    ledger.lap(SpanKind::Queue);
    if job.is_cancelled() {
        drop(place);
        let (text, finish_reason) = (String::new(), FinishReason::Cancelled);
        let receipt = ledger.close(&job.ask);
        return job.report(EngineEvent::Done(Answer { text, finish_reason, receipt }));
    }
    // Media that were late for the question may be in time for its turn.
    job.complete();
    match guarded(|| Ok(intake::decode(&job.ask, limits, model)?)) {
        Err(error) => {
            drop(place);
            job.report(EngineEvent::Failed(error));
        }
        Ok(prompt) => {
            ledger.lap(SpanKind::DecodeMedia);
            pipeline.hand_over(Decoded { place, job, ledger, prompt });
        }
    }
}

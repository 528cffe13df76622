//! The edge: the real engine on a thread of its own, one question at a time, as the page's Worker runs it.

use std::{
    path::Path,
    sync::{
        Arc,
        mpsc::{self, Receiver, SyncSender},
    },
    thread::{self, JoinHandle},
};

use anyhow::{Context, Result};
use msao_models::{CheckpointFiles, ProbeFiles, Prompt};
use msao_planner::EngineKind;
use msao_protocol::{Candidate, Receipt, Token, Vocabulary};
use msao_runtime::{
    engine::{EdgeAnswer, EdgeEngine},
    scored::{Scored, TargetGrid},
    steering::{EdgeQuestion, EdgeStep, Steer},
};
use pollster::block_on;

use super::{inbox::Heard, steering::Steering};
use crate::clock::now_ms;

/// Most tokens of an answer, as on the page.
pub(super) const MAX_NEW_TOKENS: u32 = 96;

/// What the edge says about the question under way.
#[derive(Debug)]
pub(super) enum EdgeEvent {
    /// What the question needs. The edge waits for the plan.
    Scored(Scored),
    /// A token was written.
    Token { revision: u32, index: u32, token: Token, candidates: Vec<Candidate> },
    /// The answer is at its end for now; a correction takes it up again.
    Ended { revision: u32, receipt: Receipt },
    /// Nothing further comes.
    Finished(Result<EdgeAnswer, String>),
}

/// A question for the edge.
pub(super) struct EdgeJob {
    /// The question with its media.
    pub(super) prompt: Arc<Prompt>,
    /// Whether it is scored.
    pub(super) scores: bool,
    /// What media are cut for.
    pub(super) target: Option<TargetGrid>,
    /// What is said to it meanwhile.
    pub(super) steering: Arc<Steering>,
    /// Where it says what it has.
    pub(super) inbox: SyncSender<Heard>,
}

/// The loaded engine, shared by the clients of a run, which ask one after the other.
pub(crate) struct Edge {
    jobs: Option<SyncSender<EdgeJob>>,
    thread: Option<JoinHandle<()>>,
    parameters: u64,
    vocabulary: Vocabulary,
}

impl Edge {
    /// Loads and warms up the edge model in a folder.
    ///
    /// # Errors
    /// If its files are missing or damaged.
    pub(crate) fn start(folder: &Path) -> Result<Self> {
        let files =
            CheckpointFiles::from_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
        let probe = ProbeFiles::from_dir(folder)?.with_context(|| {
            format!("{} has no MAS probe; train one for it (models/training)", folder.display())
        })?;
        let load = |probe| block_on(EdgeEngine::load(&files, probe, EngineKind::Simd, now_ms));
        // Policies that do not look at scores do not pay for them: for those there is an engine without a probe.
        let engines = Engines { scoring: load(Some(&probe))?, plain: load(None)? };
        let (parameters, vocabulary) = (engines.plain.num_parameters() as u64, engines.plain.vocabulary());
        let (jobs, inbox) = mpsc::sync_channel(1);
        let (ready, is_ready) = mpsc::sync_channel(1);
        let thread = thread::Builder::new().name("edge".to_owned()).spawn(move || {
            let warm = block_on(engines.scoring.warm_up()).and_then(|()| block_on(engines.plain.warm_up()));
            if ready.send(warm).is_ok() {
                engines.run(&inbox);
            }
        })?;
        is_ready.recv().context("the edge's thread ended at once")??;
        Ok(Self { jobs: Some(jobs), thread: Some(thread), parameters, vocabulary })
    }

    /// Weights of the model.
    pub(super) fn parameters(&self) -> u64 {
        self.parameters
    }

    /// What its token ids mean.
    pub(super) fn vocabulary(&self) -> Vocabulary {
        self.vocabulary.clone()
    }

    /// Asks. Its inbox hears [`EdgeEvent::Finished`] exactly once, and nothing after it.
    ///
    /// # Errors
    /// If the edge's thread is gone.
    pub(super) fn ask(&self, job: EdgeJob) -> Result<()> {
        let jobs = self.jobs.as_ref().context("the edge is stopped")?;
        jobs.send(job).ok().context("the edge's thread has ended")
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // A panic of that thread was reported when it happened.
            let _ = thread.join();
        }
    }
}

struct Engines {
    scoring: EdgeEngine,
    plain: EdgeEngine,
}

impl Engines {
    fn run(&self, jobs: &Receiver<EdgeJob>) {
        for job in jobs {
            let finished = block_on(self.answer(&job)).map_err(|error| error.to_string());
            job.say(EdgeEvent::Finished(finished));
        }
    }

    async fn answer(&self, job: &EdgeJob) -> Result<EdgeAnswer, msao_models::ModelError> {
        let engine = if job.scores { &self.scoring } else { &self.plain };
        let question = EdgeQuestion {
            prompt: &job.prompt,
            target: job.target.as_ref(),
            max_new_tokens: MAX_NEW_TOKENS as usize,
            sampling: None,
            awaits_target: true,
            wants_scores: true,
        };
        let on_scored = async |scored: Scored| {
            job.say(EdgeEvent::Scored(scored));
            job.steering.wait_for_plan()
        };
        let on_step = async |step: EdgeStep<'_>| job.step(step);
        engine.ask(&question, on_scored, on_step).await
    }
}

impl EdgeJob {
    fn say(&self, event: EdgeEvent) {
        // A client that has gone listens to nothing any more.
        let _ = self.inbox.send(Heard::Edge(event));
    }

    fn step(&self, step: EdgeStep<'_>) -> Steer {
        match step {
            EdgeStep::Token { revision, index, token, candidates } => {
                let (token, candidates) = (token.clone(), candidates.to_vec());
                self.say(EdgeEvent::Token { revision, index, token, candidates });
                self.steering.take()
            }
            EdgeStep::Ended { answer } => {
                let (revision, receipt) = (answer.revision, answer.receipt.clone());
                self.say(EdgeEvent::Ended { revision, receipt });
                self.steering.wait_after_end()
            }
        }
    }
}

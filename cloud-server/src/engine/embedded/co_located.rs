//! The draft model beside the target: it follows what stands and proposes a few tokens more.
//!
//! It is given the same question and the whole of the same media, and keeps its own cache for each answer. Several
//! answers share its passes. What it proposes costs time only, never the answer. It reads a question at most once: a cache
//! that was made stays until the answer ends, so a client that steers to and fro costs no more than one that stays.

use msao_models::{Assistant, Flops, Generation, ModelError, Prompt};

use super::kv_budget::Hold;
use crate::engine::EngineError;
use crate::engine::ledger::LookedAt;

/// Whether the draft model takes part in one answer.
#[derive(Debug)]
pub(super) enum DraftModel {
    /// Nobody has asked for it yet.
    Unasked,
    /// Its prompt is being decoded.
    Awaiting,
    /// It has read the question.
    Ready(Box<Drafter>),
    /// It cannot read the question, cannot follow any further, or has failed; it is not asked again.
    Unable,
}

impl DraftModel {
    /// Its side of the answer, if it has one.
    pub(super) fn drafter(&mut self) -> Option<&mut Drafter> {
        if let Self::Ready(drafter) = self { Some(drafter) } else { None }
    }

    /// What was proposed behind what stands.
    pub(super) fn drafted(&self) -> &[u32] {
        if let Self::Ready(drafter) = self { &drafter.drafted } else { &[] }
    }
}

/// The draft model's side of one answer.
#[derive(Debug)]
pub(super) struct Drafter {
    model: Assistant,
    generation: Generation,
    /// Tokens behind what the generation followed last, an end token included.
    drafted: Vec<u32>,
    wanted: usize,
    /// Operations not reported yet.
    flops: u64,
    /// What its cache takes.
    _hold: Hold,
}

impl Drafter {
    /// Reads the question; `hold` is room for it and the longest answer.
    ///
    /// # Errors
    /// When the prompt does not fit the draft model, or it fails.
    pub(super) fn start(model: &Assistant, prompt: &Prompt, hold: Hold) -> Result<Self, EngineError> {
        let generation = pollster::block_on(model.start(prompt))?;
        let looked_at = LookedAt::new(model, prompt, &model.layout(prompt)?);
        let flops = looked_at.flops(model.config(), generation.prompt_tokens());
        let (model, drafted) = (model.clone(), Vec::new());
        Ok(Self { model, generation, drafted, wanted: 0, flops, _hold: hold })
    }

    /// Forgets the proposal: it was looked at.
    pub(super) fn clear(&mut self) {
        self.drafted.clear();
    }

    /// Operations since the last call.
    pub(super) fn take_flops(&mut self) -> u64 {
        std::mem::take(&mut self.flops)
    }

    /// Goes to where the target is, to write `wanted` tokens.
    ///
    /// # Errors
    /// When the answer has become longer than the draft model can hold.
    pub(super) fn follow(&mut self, standing: &[u32], wanted: usize) -> Result<(), ModelError> {
        let common =
            self.generation.tokens().iter().zip(standing).take_while(|(own, target)| own == target).count();
        self.generation.roll_back(common);
        self.generation.adopt(&standing[common..])?;
        self.drafted.clear();
        self.wanted = wanted;
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.drafted.len() >= self.wanted || self.generation.is_finished()
    }
}

/// Writes the proposals of several answers, a token of each in a pass.
///
/// # Errors
/// When the draft model fails; the passes are shared, and so is the failure.
pub(super) fn propose(drafters: &mut [&mut Drafter]) -> Result<(), EngineError> {
    loop {
        let mut writing: Vec<&mut &mut Drafter> =
            drafters.iter_mut().filter(|drafter| !drafter.is_done()).collect();
        if writing.is_empty() {
            return Ok(());
        }
        for drafter in &mut writing {
            drafter.flops += pass_flops(&drafter.model, &drafter.generation, 0);
        }
        let mut generations: Vec<&mut Generation> =
            writing.iter_mut().map(|drafter| &mut drafter.generation).collect();
        let no_drafts = vec![&[][..]; generations.len()];
        let outcomes = pollster::block_on(Generation::verify_many(&mut generations, &no_drafts))?;
        for (drafter, outcome) in writing.iter_mut().zip(outcomes) {
            let token = outcome.next.map_or(drafter.model.end_of_utterance_id(), |next| next.token_id);
            drafter.drafted.push(token);
        }
    }
}

/// Operations of a generation's part in the next pass.
pub(super) fn pass_flops(model: &Assistant, generation: &Generation, drafts: usize) -> u64 {
    let pending = generation.pending_tokens();
    let (new, held) = (pending + drafts, generation.prompt_tokens() + generation.tokens().len() - pending);
    if new == 0 { 0 } else { Flops::of(model.config()).decoder(new, held, new) }
}

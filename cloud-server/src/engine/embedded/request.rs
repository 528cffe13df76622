//! One running request: what it read, what stands of its answer, and where its drafts come from.
//!
//! While announced media are missing the target writes on what is there; those tokens are proposals. Once all media
//! have come, proposals, the edge's drafts and those of the draft model beside the target are all looked at in the
//! same way: one pass of the target scores them, and the answer's rule accepts what it would have written itself. So the
//! answer, or where tokens are drawn its distribution, never depends on drafts, nor on where they come from in its course.

use std::sync::Arc;
use std::time::{Duration, Instant};

use msao_models::{Assistant, Generation, ModelError, Scores, TokenProposal, VerificationOutcome};
use msao_protocol::{
    FinishReason, SettledToken, SpanKind, Speculation, Token, TokenFate, TokenOrigin, TokenSource,
};

use super::co_located::{DraftModel, pass_flops};
use super::context::{Context, Round, Turn};
use super::logprobs;
use super::pipeline::RequestKey;
use super::retention::{Retention, Sequence};
use super::verification::{Drafts, Rule};
use crate::engine::edge_drafts::EdgeDrafts;
use crate::engine::ledger::Ledger;
use crate::engine::mailbox::Drafting;
use crate::engine::{Answer, EngineError, EngineEvent, Job, Place, TokenLogprobs};

/// Longest that a request waits for one draft, whatever it wishes: its cache holds memory.
const MAX_PATIENCE: Duration = Duration::from_secs(5);

pub(super) struct Request {
    pub(super) key: RequestKey,
    pub(super) job: Job,
    pub(super) ledger: Ledger,
    pub(super) context: Context,
    pub(super) draft_model: DraftModel,
    /// The pass it took part in last; those that waited longest go first.
    pub(super) last_pass: u64,
    /// When announced media must have come.
    pub(super) attach_deadline: Instant,
    place: Place,
    target: Assistant,
    /// What the target wrote on partial context, an end token included.
    proposals: Vec<u32>,
    edge: EdgeDrafts,
    /// Where drafts come from at the moment.
    speculation: Speculation,
    rule: Rule,
    text: String,
    waiting_since: Option<Instant>,
}

impl Request {
    /// Runs a job under `key` on `target`; announced media must come until `attach_deadline`.
    pub(super) fn new(
        (key, target, attach_deadline): (RequestKey, Assistant, Instant),
        (place, job, ledger): (Place, Job, Ledger),
        context: Context,
        draft_model: DraftModel,
    ) -> Self {
        Self {
            key,
            speculation: job.speculation(),
            rule: Rule::new(job.ask.sampling),
            job,
            ledger,
            context,
            draft_model,
            last_pass: 0,
            attach_deadline,
            place,
            target,
            proposals: Vec::new(),
            edge: EdgeDrafts::default(),
            text: String::new(),
            waiting_since: None,
        }
    }

    /// The generation that takes part in passes.
    pub(super) fn generation(&mut self) -> Option<&mut Generation> {
        match &mut self.context {
            Context::Partial { sequence, .. } => sequence.as_mut().map(|sequence| &mut sequence.generation),
            Context::Whole(sequence) => Some(&mut sequence.generation),
            Context::Evicted { .. } => None,
        }
    }

    /// The answer's tokens that stand.
    fn standing(&self) -> &[u32] {
        match &self.context {
            Context::Partial { .. } => &[],
            Context::Whole(sequence) => sequence.generation.tokens(),
            Context::Evicted { tokens, .. } => tokens,
        }
    }

    /// Tokens that the answer may have more.
    fn remaining(&self) -> usize {
        match &self.context {
            Context::Whole(sequence) => sequence.generation.remaining(),
            _ => (self.job.max_new_tokens as usize).saturating_sub(self.standing().len()),
        }
    }

    /// Whether it has something to do, as of its last [`Self::turn`].
    pub(super) fn holds_seat(&self) -> bool {
        self.waiting_since.is_none() && !self.is_parked()
    }

    /// Whether it can do nothing before its media come.
    fn is_parked(&self) -> bool {
        match &self.context {
            Context::Partial { sequence, .. } => {
                sequence.as_ref().is_none_or(|sequence| sequence.generation.is_finished())
            }
            Context::Whole(_) | Context::Evicted { .. } => false,
        }
    }

    /// How the answer ended, if it has.
    pub(super) fn finish_reason(&self) -> Option<FinishReason> {
        match &self.context {
            Context::Whole(sequence) if sequence.generation.is_finished() => {
                Some(if sequence.generation.remaining() > 0 {
                    FinishReason::Stop
                } else {
                    FinishReason::Length
                })
            }
            _ => None,
        }
    }

    /// Where drafts come from at the moment.
    pub(super) fn speculation(&self) -> Speculation {
        self.speculation
    }

    /// Takes what has come about its drafts: where they come from now, and the edge's.
    pub(super) fn take_drafting(&mut self) {
        let Drafting { steered, drafts } = self.job.take_drafting();
        if let Some(speculation) = steered {
            self.speculation = speculation;
            self.edge.reopen();
        }
        let standing = self.standing().to_vec();
        // An end token may follow the longest answer.
        let limit = self.job.max_new_tokens as usize + 1;
        for draft in drafts {
            self.edge.push(draft, &standing, limit);
        }
    }

    /// Whether the draft model has to read what this request has long read; says so once.
    pub(super) fn calls_draft_model(&mut self) -> bool {
        let is_wanted = matches!(self.speculation, Speculation::CoLocated { .. });
        // Before all media have come there is nothing whole to read, and completing looks after it.
        let calls = is_wanted
            && matches!(self.context, Context::Whole(_))
            && matches!(self.draft_model, DraftModel::Unasked);
        if calls {
            self.draft_model = DraftModel::Awaiting;
        }
        calls
    }

    /// What it does next.
    pub(super) fn turn(&mut self, now: Instant) -> Turn {
        let turn = match &self.context {
            Context::Partial { is_completing: true, .. } if self.is_parked() => Turn::Wait(None),
            Context::Partial { .. } if self.is_parked() => Turn::Wait(Some(self.attach_deadline)),
            Context::Partial { .. } => Turn::Pass,
            Context::Whole(_) => self.turn_of_whole(now),
            Context::Evicted { is_reading: true, .. } => Turn::Wait(None),
            Context::Evicted { .. } => match self.turn_of_whole(now) {
                Turn::Pass => Turn::Read,
                waits => waits,
            },
        };
        if turn != Turn::Pass {
            self.waiting_since.get_or_insert(now);
        }
        turn
    }

    fn turn_of_whole(&self, now: Instant) -> Turn {
        let Speculation::Distributed { patience_ms } = self.speculation else { return Turn::Pass };
        if self.edge.is_last() || !self.drafts().tokens.is_empty() {
            return Turn::Pass;
        }
        let patience = Duration::from_millis(patience_ms.into()).min(MAX_PATIENCE);
        let deadline = self.waiting_since.unwrap_or(now) + patience;
        if now < deadline { Turn::Wait(Some(deadline)) } else { Turn::Pass }
    }

    /// The longest run of drafts there is, the edge's before others only where it is longer.
    fn drafts(&self) -> Drafts {
        if let Context::Partial { .. } = &self.context {
            return Drafts::none();
        }
        let standing = self.standing();
        let mut best = (self.proposals_behind(standing), TokenSource::PartialContext);
        let others = [
            (self.edge.behind(standing), TokenSource::EdgeDraft),
            (self.draft_model.drafted(), TokenSource::CoLocatedDraft),
        ];
        for other in others {
            if other.0.len() > best.0.len() {
                best = other;
            }
        }
        let (tokens, source) = best;
        let tokens = self.target.end_tokens().up_to_first(tokens);
        let tokens = tokens[..tokens.len().min(self.remaining())].to_vec();
        let distributions = match source {
            TokenSource::EdgeDraft => self.edge.distributions_behind(standing)[..tokens.len()].to_vec(),
            _ => Vec::new(),
        };
        Drafts { tokens, distributions, source }
    }

    fn proposals_behind(&self, standing: &[u32]) -> &[u32] {
        if self.proposals.starts_with(standing) { &self.proposals[standing.len()..] } else { &[] }
    }

    /// Lets the draft model follow the target where its drafts are wanted; says whether it will write.
    pub(super) fn prepare_drafter(&mut self) -> bool {
        let Speculation::CoLocated { draft_tokens } = self.speculation else { return false };
        let Context::Whole(Sequence { generation, .. }) = &self.context else { return false };
        let standing = generation.tokens();
        // What others have proposed comes first, such as drafts that the edge sent before the request was steered.
        if !self.proposals_behind(standing).is_empty() || !self.edge.behind(standing).is_empty() {
            return false;
        }
        let Some(drafter) = self.draft_model.drafter() else { return false };
        let wanted = usize::from(draft_tokens).min(generation.remaining());
        if let Err(error) = drafter.follow(standing, wanted) {
            tracing::debug!(%error, "the draft model cannot follow any further");
            self.draft_model = DraftModel::Unable;
            return false;
        }
        true
    }

    /// Books what the draft model did.
    pub(super) fn end_proposal(&mut self, succeeded: bool) {
        if let Some(drafter) = self.draft_model.drafter() {
            self.ledger.count_flops(drafter.take_flops());
        }
        self.ledger.lap(SpanKind::Propose);
        if !succeeded {
            // A generation of a failed pass is in no state to go on; the answer does not need it.
            self.draft_model = DraftModel::Unable;
        }
    }

    /// Books time in which others were served.
    pub(super) fn lap_idle(&mut self) {
        self.ledger.lap(if self.waiting_since.is_some() { SpanKind::Wait } else { SpanKind::Queue });
    }

    /// Bytes that [`Self::evict`] would free.
    pub(super) fn evictable_bytes(&self) -> u64 {
        match &self.context {
            Context::Whole(sequence) if self.waiting_since.is_some() => sequence.hold.bytes(),
            _ => 0,
        }
    }

    /// Gives its cache up if it waits; says whether it did.
    pub(super) fn evict(&mut self) -> bool {
        let is_evicted = self.waiting_since.is_some() && matches!(self.context, Context::Whole(_));
        if is_evicted {
            self.context = Context::Evicted { tokens: self.standing().to_vec(), is_reading: false };
            // That of the draft model goes with it, and is made anew if it is still wanted.
            if let DraftModel::Ready(_) | DraftModel::Awaiting = self.draft_model {
                self.draft_model = DraftModel::Unasked;
            }
        }
        is_evicted
    }

    /// Whether it has to be read again now that it goes on; says so once.
    pub(super) fn calls_for_reading(&mut self, now: Instant) -> bool {
        let Context::Evicted { is_reading: false, .. } = self.context else { return false };
        let calls = self.turn(now) == Turn::Read;
        if let Context::Evicted { is_reading, .. } = &mut self.context {
            *is_reading = calls;
        }
        calls
    }

    /// Everything has come and was read; what stood stands.
    ///
    /// # Errors
    /// When what stood does not fit any more.
    pub(super) fn complete(
        &mut self,
        mut sequence: Sequence,
        draft_model: DraftModel,
    ) -> Result<(), ModelError> {
        sequence.generation.adopt(self.standing())?;
        self.context = Context::Whole(sequence);
        self.draft_model = draft_model;
        self.waiting_since = None;
        Ok(())
    }

    /// Says what it wants looked at in the pass that begins now.
    pub(super) fn begin_pass(&mut self) -> Drafts {
        if self.waiting_since.take().is_some() {
            self.ledger.lap(SpanKind::Wait);
        }
        let drafts = self.drafts();
        let target = self.target.clone();
        let flops =
            self.generation().map_or(0, |generation| pass_flops(&target, generation, drafts.tokens.len()));
        self.ledger.count_flops(flops);
        drafts
    }

    /// Takes in what a pass said.
    ///
    /// # Errors
    /// [`ModelError::ReadBack`] for scores that are not finite.
    pub(super) fn end_pass(&mut self, drafts: &Drafts, scores: &Scores) -> Result<Round, ModelError> {
        match &mut self.context {
            // Proposals are certain choices: what is drawn is decided on the whole context.
            Context::Partial { sequence, .. } => {
                let Some(Sequence { generation, .. }) = sequence else { return Ok(Round::default()) };
                let outcome = Rule::Greedy.settle(generation, drafts, scores)?;
                if generation.is_finished() {
                    // What it read is of no use to the whole prompt.
                    *sequence = None;
                }
                self.propose(outcome.next);
                Ok(Round::default())
            }
            Context::Whole(Sequence { generation, .. }) => {
                let outcome = self.rule.settle(generation, drafts, scores)?;
                Ok(self.settle(drafts, outcome, scores))
            }
            Context::Evicted { .. } => Ok(Round::default()),
        }
    }

    fn propose(&mut self, next: Option<TokenProposal>) {
        let start = self.proposals.len() as u32;
        match next {
            Some(proposal) => {
                self.proposals.push(proposal.token_id);
                let tokens = vec![token_of(proposal)];
                self.job.report(EngineEvent::Proposed { start, tokens });
            }
            None => self.proposals.push(self.target.end_of_utterance_id()),
        }
        self.ledger.lap(SpanKind::Propose);
    }

    fn settle(&mut self, drafts: &Drafts, outcome: VerificationOutcome, scores: &Scores) -> Round {
        let proposed = drafts.tokens.len();
        let VerificationOutcome { accepted, accepted_tokens, next } = outcome;
        let is_corrected = accepted < proposed;
        let of_next = match is_corrected {
            true => TokenOrigin { source: TokenSource::Target, fate: TokenFate::Corrected },
            false => TokenOrigin { source: TokenSource::Target, fate: TokenFate::Written },
        };
        let of_draft = TokenOrigin { source: drafts.source, fate: TokenFate::Accepted };
        let accepted_tokens = accepted_tokens.into_iter().map(|token| (token, of_draft));
        let tokens: Vec<SettledToken> = accepted_tokens
            .chain(next.map(|token| (token, of_next)))
            .map(|(token, origin)| SettledToken { token: token_of(token), origin })
            .collect();
        let round = Round { proposed, accepted, settled: tokens.len() };
        let Context::Whole(Sequence { generation, .. }) = &self.context else { return round };
        let standing = generation.tokens();
        self.edge.settle(standing, is_corrected);
        if let Some(drafter) = self.draft_model.drafter() {
            drafter.clear();
        }
        self.ledger.lap(if proposed > 0 { SpanKind::Verify } else { SpanKind::Decode });
        self.ledger.note_round(proposed, accepted, &tokens);
        self.text.extend(tokens.iter().map(|settled| settled.token.text.as_str()));
        if !tokens.is_empty() {
            let start = (standing.len() - tokens.len()) as u32;
            let logprobs = self.logprobs(&tokens, scores);
            let revision = self.edge.revision();
            self.job.report(EngineEvent::Settled { start, tokens, revision, logprobs });
        }
        round
    }

    /// What the scores that tokens stand by say of them, if the job asks for it.
    fn logprobs(&self, tokens: &[SettledToken], scores: &Scores) -> Vec<TokenLogprobs> {
        let Some(top) = self.job.top_logprobs else { return Vec::new() };
        let tokenizer = self.target.tokenizer();
        let of_row = |(settled, row): (&SettledToken, &[f32])| {
            logprobs::of_row(tokenizer, row, settled.token.id, top.into())
        };
        tokens.iter().zip(scores.rows()).map(of_row).collect()
    }

    /// Ends with an answer, as far as it got, which is kept unless nobody wants it; returns the milliseconds that the
    /// model worked for it.
    pub(super) fn finish(self, finish_reason: FinishReason, retention: &Retention) -> f64 {
        let Self { job, ledger, context, draft_model, place, target, text, .. } = self;
        drop(draft_model);
        let service_ms = ledger.service_ms();
        let receipt = ledger.close(&job);
        let ended = match context {
            Context::Partial { .. } => None,
            Context::Whole(sequence) => Some((sequence.generation.tokens().to_vec(), Some(sequence))),
            Context::Evicted { tokens, .. } => Some((tokens, None)),
        };
        if let Some((tokens, sequence)) = ended
            && job.is_kept()
        {
            let key = (job.owner(), job.ask.request_id);
            retention.keep(key, Arc::clone(&job.ask), tokens, sequence, &target, || !job.is_cancelled());
        }
        // The place is free before the client hears of the end, so its next question finds it.
        drop(place);
        job.report(EngineEvent::Done(Answer { text, finish_reason, receipt }));
        service_ms
    }

    /// Ends without an answer.
    pub(super) fn fail(self, error: EngineError) {
        let Self { job, context, draft_model, place, .. } = self;
        // Memory and place are free before the client hears of the end.
        drop((context, draft_model, place));
        job.report(EngineEvent::Failed(error));
    }
}

fn token_of(proposal: TokenProposal) -> Token {
    Token { id: proposal.token_id, text: proposal.text, probability: proposal.probability }
}

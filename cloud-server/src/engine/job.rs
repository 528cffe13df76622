//! A question on its way through an engine, and what the engine says about it.

use std::sync::Arc;
use std::task::Waker;

use msao_protocol::{
    Ask, FinishReason, Modality, Receipt, SettledToken, Span, Speculation, SpeechReceipt, Token, TokenId,
    Turn,
};
use tokio::sync::mpsc;

use super::mailbox::{Drafting, JobHandle, Mailbox};
use super::{EngineError, Owner};
use crate::intake::Refusal;

/// Most tokens that are proposed on partial context.
pub const MAX_PROPOSED_TOKENS: usize = 24;

/// One question to answer, already held against the limits.
#[derive(Debug)]
pub struct Job {
    /// The question and its media; shared with whoever decodes them.
    pub ask: Arc<Ask>,
    /// Most tokens of the answer.
    pub max_new_tokens: u32,
    /// How many of the likeliest tokens are told beside each that stands, with log-probabilities; `None` for none at all.
    pub top_logprobs: Option<u8>,
    /// Whether tiles of its pictures in which little stands out, and frames of its video in which nothing has changed, are left out;
    /// `None` is as the engine has it.
    pub prunes_tiles: Option<bool>,
    owner: Owner,
    /// Whether it may be gone on from when it is over.
    is_kept: bool,
    /// Whether its history was not sent, but had been kept.
    is_continued: bool,
    /// What became of its recordings, where they were written down, and how long that took.
    heard: Option<(SpeechReceipt, [Span; 2])>,
    mailbox: Arc<Mailbox>,
    events: mpsc::Sender<EngineEvent>,
}

/// The reading end of a job.
#[derive(Debug)]
pub struct Events {
    receiver: mpsc::Receiver<EngineEvent>,
}

/// What an engine says about a job, in order.
#[derive(Debug)]
pub enum EngineEvent {
    /// What one pass of the target settled: at least one token.
    Settled {
        /// Position in the answer of the first one.
        start: u32,
        /// The tokens.
        tokens: Vec<SettledToken>,
        /// Corrections so far.
        revision: u32,
        /// One for each token if [`Job::top_logprobs`] asks for them, else none.
        logprobs: Vec<TokenLogprobs>,
    },
    /// What the target proposes on partial context.
    Proposed {
        /// Position in the answer of the first one.
        start: u32,
        /// The tokens.
        tokens: Vec<Token>,
    },
    /// Final: the whole answer.
    Done(Answer),
    /// Final: there is no answer.
    Failed(EngineError),
}

/// How likely a token was that stands, and which others were.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenLogprobs {
    /// The token that stands.
    pub chosen: TokenLogprob,
    /// The likeliest tokens in its place, likeliest first.
    pub top: Vec<TokenLogprob>,
}

/// A token and its log-probability.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenLogprob {
    /// The token.
    pub id: TokenId,
    /// The bytes it stands for, which need not be whole characters; none for a special token.
    pub bytes: Vec<u8>,
    /// Natural logarithm of the target's probability of it, at temperature 1.
    pub logprob: f32,
}

/// A finished answer and what it took.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// All of its text.
    pub text: String,
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// What it took.
    pub receipt: Receipt,
}

/// Makes a job, the session's hold on it, and its reading end. It is nobody's, and forgotten when it is over, unless
/// [`Job::owned_by`] says whose it is.
///
/// The channel of events holds a whole answer. So a model that many share never waits for one slow reader, and yet
/// memory is bounded: by `max_new_tokens`, which is limited, and by the queue's places.
pub fn job(ask: Ask, max_new_tokens: u32) -> (Job, JobHandle, Events) {
    let (events, receiver) = mpsc::channel(max_new_tokens as usize + MAX_PROPOSED_TOKENS + 1);
    // An end token may follow the longest answer.
    let max_draft_tokens = max_new_tokens as usize + 1;
    let mailbox = Arc::new(Mailbox::new(ask.pending.clone(), ask.speculation, max_draft_tokens));
    let handle = JobHandle(Arc::clone(&mailbox));
    let job = Job {
        ask: Arc::new(ask),
        max_new_tokens,
        top_logprobs: None,
        prunes_tiles: None,
        owner: Owner::unique(),
        is_kept: false,
        is_continued: false,
        heard: None,
        mailbox,
        events,
    };
    (job, handle, Events { receiver })
}

impl Job {
    /// Says whose job it is: it shares the model fairly with those of others, may go on from what the owner had
    /// answered before, and is kept to be gone on from itself.
    #[must_use]
    pub fn owned_by(self, owner: Owner) -> Self {
        Self { owner, is_kept: true, ..self }
    }

    /// Whose job it is.
    pub fn owner(&self) -> Owner {
        self.owner
    }

    /// Whether it may be gone on from when it is over.
    pub(super) fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// Puts what came before into the question, which named it only.
    pub(super) fn continue_from(&mut self, history: Vec<Turn>) {
        let ask = Arc::make_mut(&mut self.ask);
        ask.history = history;
        ask.continues = None;
        self.is_continued = true;
    }

    /// Puts what was said in the place of recordings: the texts of all turns in order, the question's last.
    pub(super) fn hear(&mut self, texts: Vec<String>, heard: SpeechReceipt, spans: [Span; 2]) {
        let ask = Arc::make_mut(&mut self.ask);
        let Ask { question, audio, history, .. } = ask;
        let turns = history.iter_mut().map(|turn| (&mut turn.question, &mut turn.audio));
        for ((place, audio), text) in turns.chain([(question, audio)]).zip(texts) {
            (*place, *audio) = (text, None);
        }
        self.heard = Some((heard, spans));
    }

    /// What became of its recordings, where they were written down.
    pub(super) fn heard(&self) -> Option<&(SpeechReceipt, [Span; 2])> {
        self.heard.as_ref()
    }

    /// Bytes of a modality that came with the question or after it.
    pub(super) fn received_bytes(&self, modality: Modality) -> u64 {
        let known: u64 = match self.is_continued {
            true => self.ask.history.iter().map(|turn| turn.bytes(modality)).sum(),
            false => 0,
        };
        self.ask.bytes(modality) - known
    }

    /// Whether nobody wants the answer any more.
    pub fn is_cancelled(&self) -> bool {
        self.mailbox.is_cancelled() || self.events.is_closed()
    }

    /// Whether announced media are still missing.
    pub fn is_partial(&self) -> bool {
        !self.ask.pending.is_empty()
    }

    /// Puts the announced media into the question if they have come; says whether they have.
    pub(super) fn complete(&mut self) -> bool {
        let Some(attach) = self.mailbox.take_attach() else { return false };
        // Whoever decoded the question is done with it, so this is no copy.
        let ask = Arc::make_mut(&mut self.ask);
        ask.images.extend(attach.images);
        ask.clip = ask.clip.take().or(attach.clip);
        ask.audio = ask.audio.take().or(attach.audio);
        ask.pending.clear();
        true
    }

    /// What is new about its drafts since the last look.
    pub(super) fn take_drafting(&self) -> Drafting {
        self.mailbox.take_drafting()
    }

    /// Where its drafts come from, as last wished for.
    pub(super) fn speculation(&self) -> Speculation {
        self.mailbox.speculation()
    }

    /// Whether the job has to fail; see [`Self::take_refusal`].
    pub(super) fn is_refused(&self) -> bool {
        self.mailbox.is_refused()
    }

    /// Why the job has to fail, if something sent for it was refused.
    pub(super) fn take_refusal(&self) -> Option<Refusal> {
        self.mailbox.take_refusal()
    }

    /// Who is woken when something comes for the job.
    pub(super) fn wake_on_news(&self, reader: Waker) {
        self.mailbox.wake_on_news(reader);
    }

    /// Reports an event. When nobody listens it is lost, and [`Self::is_cancelled`] says so.
    pub(super) fn report(&self, event: EngineEvent) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.events.try_send(event) {
            tracing::error!(
                max_new_tokens = self.max_new_tokens,
                "an engine wrote more tokens than asked for"
            );
        }
    }
}

impl Events {
    /// The next event; `None` if the engine went away without a final one.
    pub async fn next(&mut self) -> Option<EngineEvent> {
        self.receiver.recv().await
    }
}

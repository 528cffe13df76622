//! What reaches a job after it was handed in: late media, drafts, where drafts come from, a refusal of these, the wish to
//! stop.
//!
//! The session puts it in through a [`JobHandle`] and the engine takes it out between two steps. Nothing is queued
//! without a bound: one set of media, the latest place that drafts come from, and drafts of at most an answer's length;
//! what is over is dropped, which costs a draft its chance and nothing else.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;

use msao_protocol::{Attach, Draft, ErrorCode, Modality, Speculation};

use crate::intake::Refusal;

/// What has come and was not taken yet.
#[derive(Debug, Default)]
struct News {
    attach: Option<Attach>,
    has_attached: bool,
    drafting: Drafting,
    refusal: Option<Refusal>,
    /// As last wished for, whether it was taken or not.
    speculation: Speculation,
    /// Whether drafts were welcome at any time, so that one may be under way.
    was_distributed: bool,
}

/// What is new about an answer's drafts. Taken at once, so that a draft never overtakes the message before it.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Drafting {
    /// Where they come from, if that was steered.
    pub(super) steered: Option<Speculation>,
    /// Those that came from the edge, in order.
    pub(super) drafts: Vec<Draft>,
}

#[derive(Debug)]
pub(super) struct Mailbox {
    is_cancelled: AtomicBool,
    news: Mutex<News>,
    announced: Vec<Modality>,
    /// Most draft tokens, and most drafts, that wait to be taken.
    max_draft_tokens: usize,
    reader: OnceLock<Waker>,
}

impl Mailbox {
    pub(super) fn new(announced: Vec<Modality>, speculation: Speculation, max_draft_tokens: usize) -> Self {
        let was_distributed = matches!(speculation, Speculation::Distributed { .. });
        let news = News { speculation, was_distributed, ..News::default() };
        Self {
            is_cancelled: AtomicBool::new(false),
            news: Mutex::new(news),
            announced,
            max_draft_tokens,
            reader: OnceLock::new(),
        }
    }

    /// Who is woken by what comes; the first one to ask.
    pub(super) fn wake_on_news(&self, reader: Waker) {
        let _ = self.reader.set(reader);
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.is_cancelled.load(Ordering::Relaxed)
    }

    pub(super) fn take_attach(&self) -> Option<Attach> {
        self.lock().attach.take()
    }

    pub(super) fn take_drafting(&self) -> Drafting {
        std::mem::take(&mut self.lock().drafting)
    }

    pub(super) fn speculation(&self) -> Speculation {
        self.lock().speculation
    }

    pub(super) fn is_refused(&self) -> bool {
        self.lock().refusal.is_some()
    }

    pub(super) fn take_refusal(&self) -> Option<Refusal> {
        self.lock().refusal.take()
    }

    fn lock(&self) -> MutexGuard<'_, News> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        if let Some(reader) = self.reader.get() {
            reader.wake_by_ref();
        }
    }
}

/// The session's hold on a job; clones hold the same one.
#[derive(Debug, Clone)]
pub struct JobHandle(pub(super) Arc<Mailbox>);

impl JobHandle {
    /// Asks the job to stop; it does so before its next step.
    pub fn cancel(&self) {
        self.0.is_cancelled.store(true, Ordering::Relaxed);
        self.0.wake();
    }

    /// What the question announced to follow.
    pub fn announced(&self) -> &[Modality] {
        &self.0.announced
    }

    /// Where the drafts come from, as last wished for.
    pub fn speculation(&self) -> Speculation {
        self.0.speculation()
    }

    /// Whether a draft that comes now was sent in good faith, though none is wanted any more: whoever drafts may not
    /// have heard of the change yet.
    pub fn may_be_crossed(&self) -> bool {
        let news = self.0.lock();
        news.was_distributed && !matches!(news.speculation, Speculation::Distributed { .. })
    }

    /// Lets drafts come from elsewhere, which was checked; the last of several wishes between two steps counts. Whatever
    /// the edge has called its last draft before is so no longer.
    pub fn steer(&self, speculation: Speculation) {
        let mut news = self.0.lock();
        news.speculation = speculation;
        news.was_distributed |= matches!(speculation, Speculation::Distributed { .. });
        news.drafting.steered = Some(speculation);
        for draft in &mut news.drafting.drafts {
            draft.is_last = false;
        }
        drop(news);
        self.0.wake();
    }

    /// Hands in the announced media, which were held against the limits; a second time fails the job.
    pub fn attach(&self, attach: Attach) {
        let mut news = self.0.lock();
        if news.has_attached {
            let message = "media were attached twice: send all that was announced in one message";
            news.refusal = Some(Refusal::new(ErrorCode::OutOfOrder, message));
        } else {
            news.has_attached = true;
            news.attach = Some(attach);
        }
        drop(news);
        self.0.wake();
    }

    /// Hands in drafts, which were held against the limits; cut off where more wait than the answer can have.
    pub fn draft(&self, mut draft: Draft) {
        let most = self.0.max_draft_tokens;
        let mut news = self.0.lock();
        let drafts = &mut news.drafting.drafts;
        let waiting: usize = drafts.iter().map(|draft| draft.tokens.len()).sum();
        draft.tokens.truncate(most.saturating_sub(waiting));
        draft.distributions.truncate(draft.tokens.len());
        if drafts.len() < most {
            drafts.push(draft);
        }
        drop(news);
        self.0.wake();
    }

    /// Fails the job: something that was sent for it cannot be used.
    pub fn refuse(&self, refusal: Refusal) {
        self.0.lock().refusal = Some(refusal);
        self.0.wake();
    }
}

#[cfg(test)]
mod tests {
    use msao_protocol::Candidate;

    use super::*;

    fn mailbox(max_draft_tokens: usize) -> JobHandle {
        let speculation = Speculation::Distributed { patience_ms: 1 };
        JobHandle(Arc::new(Mailbox::new(vec![Modality::Vision], speculation, max_draft_tokens)))
    }

    fn draft(tokens: usize) -> Draft {
        Draft {
            request_id: 1,
            revision: 0,
            start: 0,
            tokens: vec![1; tokens],
            distributions: Vec::new(),
            is_last: false,
        }
    }

    #[test]
    fn drafts_that_nobody_takes_are_bounded() {
        let handle = mailbox(8);
        for _ in 0..100 {
            handle.draft(draft(3));
            handle.draft(draft(0));
        }
        let taken = handle.0.take_drafting().drafts;
        assert_eq!((taken.len(), taken.iter().map(|draft| draft.tokens.len()).sum::<usize>()), (8, 8));
        let candidates = |count| vec![vec![Candidate { id: 1, probability: 1.0 }]; count];
        handle.draft(Draft { distributions: candidates(9), ..draft(9) });
        let cut = Draft { distributions: candidates(8), ..draft(8) };
        assert_eq!(handle.0.take_drafting().drafts, [cut]);
    }

    #[test]
    fn the_last_wish_counts_and_revokes_what_was_the_last_draft_before() {
        let handle = mailbox(8);
        assert!(!handle.may_be_crossed());
        handle.draft(Draft { is_last: true, ..draft(1) });
        handle.steer(Speculation::None);
        assert!(handle.may_be_crossed());
        let distributed = Speculation::Distributed { patience_ms: 2 };
        handle.steer(distributed);
        handle.draft(Draft { is_last: true, ..draft(2) });
        assert_eq!((handle.speculation(), handle.may_be_crossed()), (distributed, false));
        let drafts = vec![draft(1), Draft { is_last: true, ..draft(2) }];
        assert_eq!(handle.0.take_drafting(), Drafting { steered: Some(distributed), drafts });
        assert_eq!(handle.0.take_drafting(), Drafting::default());

        let alone = JobHandle(Arc::new(Mailbox::new(vec![], Speculation::None, 8)));
        alone.steer(Speculation::CoLocated { draft_tokens: 2 });
        assert!(!alone.may_be_crossed(), "nobody was ever asked for drafts");
    }

    #[test]
    fn media_are_taken_once_and_a_second_set_fails_the_job() {
        let handle = mailbox(8);
        let attach = Attach { request_id: 1, images: vec![], clip: None, audio: None };
        handle.attach(attach.clone());
        assert_eq!(handle.0.take_attach(), Some(attach.clone()));
        assert_eq!(handle.0.take_refusal(), None);
        handle.attach(attach);
        assert_eq!(handle.0.take_attach(), None);
        assert_eq!(handle.0.take_refusal().unwrap().code, ErrorCode::OutOfOrder);
    }
}

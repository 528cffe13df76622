//! What reaches a job after it was handed in: late media, drafts, a refusal of either, the wish to stop.
//!
//! The session puts it in through a [`JobHandle`] and the engine takes it out between two steps. Nothing is queued
//! without a bound: one set of media, and drafts of at most an answer's length; what is over is dropped, which costs a
//! draft its chance and nothing else.

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
    drafts: Vec<Draft>,
    refusal: Option<Refusal>,
}

#[derive(Debug)]
pub(super) struct Mailbox {
    is_cancelled: AtomicBool,
    news: Mutex<News>,
    announced: Vec<Modality>,
    speculation: Speculation,
    /// Most draft tokens, and most drafts, that wait to be taken.
    max_draft_tokens: usize,
    reader: OnceLock<Waker>,
}

impl Mailbox {
    pub(super) fn new(announced: Vec<Modality>, speculation: Speculation, max_draft_tokens: usize) -> Self {
        Self {
            is_cancelled: AtomicBool::new(false),
            news: Mutex::default(),
            announced,
            speculation,
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

    pub(super) fn take_drafts(&self) -> Vec<Draft> {
        std::mem::take(&mut self.lock().drafts)
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

    /// Where the question wants its drafts from.
    pub fn speculation(&self) -> Speculation {
        self.0.speculation
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
        let waiting: usize = news.drafts.iter().map(|draft| draft.tokens.len()).sum();
        draft.tokens.truncate(most.saturating_sub(waiting));
        if news.drafts.len() < most {
            news.drafts.push(draft);
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
    use super::*;

    fn mailbox(max_draft_tokens: usize) -> JobHandle {
        let speculation = Speculation::Distributed { patience_ms: 1 };
        JobHandle(Arc::new(Mailbox::new(vec![Modality::Vision], speculation, max_draft_tokens)))
    }

    fn draft(tokens: usize) -> Draft {
        Draft { request_id: 1, revision: 0, start: 0, tokens: vec![1; tokens], is_last: false }
    }

    #[test]
    fn drafts_that_nobody_takes_are_bounded() {
        let handle = mailbox(8);
        for _ in 0..100 {
            handle.draft(draft(3));
            handle.draft(draft(0));
        }
        let taken = handle.0.take_drafts();
        assert_eq!((taken.len(), taken.iter().map(|draft| draft.tokens.len()).sum::<usize>()), (8, 8));
        handle.draft(draft(9));
        assert_eq!(handle.0.take_drafts(), [draft(8)]);
    }

    #[test]
    fn media_are_taken_once_and_a_second_set_fails_the_job() {
        let handle = mailbox(8);
        let attach = Attach { request_id: 1, images: vec![], audio: None };
        handle.attach(attach.clone());
        assert_eq!(handle.0.take_attach(), Some(attach.clone()));
        assert_eq!(handle.0.take_refusal(), None);
        handle.attach(attach);
        assert_eq!(handle.0.take_attach(), None);
        assert_eq!(handle.0.take_refusal().unwrap().code, ErrorCode::OutOfOrder);
    }
}

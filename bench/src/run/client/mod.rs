//! A native client: the page's session and orchestrator on a real connection, with the real edge engine beside it.
//!
//! What is done with a question is not decided here but by [`OneRequest`], as on the page; this carries out its effects,
//! tells it what happens and notes the times. One request at a time, all of it on one thread.

mod hearing;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        mpsc::{self, Receiver, SyncSender},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use msao_planner::confidence::JudgedPair;
use msao_protocol::{AnswerMode, Ask, Modality, ModalityAction, Policy, RequestId, Speculation};
use msao_runtime::{
    cloud_events::CloudEvent,
    orchestrator::{Effect, Knowledge, OneRequest, Present, Terms},
    scored::{Scored, TargetGrid},
    steering,
};

use super::{
    course::Course,
    edge::{Edge, EdgeJob, MAX_NEW_TOKENS},
    inbox::{Heard, INBOX_EVENTS},
    online::Online,
    policy::BenchPolicy,
    request::Request,
    runner::{Answered, PolicyRunner},
};
use crate::{clock::now_ms, link::Link};

/// Longest wait for a session before a request, and for the echo of a ping.
const UPKEEP: Duration = Duration::from_secs(3);
/// How long the end of a request that was given up is waited for.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// Longest time in which an edge that is told to stop comes to its next token.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);

/// What all clients of a run share.
#[derive(Clone)]
pub(crate) struct ClientSettings {
    /// The engine.
    pub(crate) edge: Arc<Edge>,
    /// Judged answers of the shipped pair, where there are some.
    pub(crate) judged: Option<Arc<JudgedPair>>,
    /// After so long a request has failed.
    pub(crate) timeout: Duration,
    /// Whether each verified answer is held to the target's own on the same kept inputs.
    pub(crate) replays: bool,
}

/// A client under one policy, with what its session has learnt.
pub(crate) struct Client {
    name: String,
    network: String,
    policy: Policy,
    mode: AnswerMode,
    is_lossless: bool,
    settings: ClientSettings,
    link: Arc<Link>,
    /// `None` under a policy that never asks the server.
    online: Option<Online>,
    knowledge: Knowledge,
    inbox: Receiver<Heard>,
    heard_by: SyncSender<Heard>,
    last_request_id: RequestId,
}

impl Client {
    /// A client behind a link. `seed` is of the random numbers that draft lengths and shadow verifications are drawn
    /// with.
    ///
    /// # Errors
    /// For the layer-wise split, which this client does not do.
    pub(crate) fn new(
        policy: BenchPolicy,
        network: &str,
        link: Arc<Link>,
        settings: ClientSettings,
        seed: u64,
    ) -> Result<Self> {
        let (terms, mode) = policy.terms().context("the layer-wise split has a runner of its own")?;
        let (heard_by, inbox) = mpsc::sync_channel(INBOX_EVENTS);
        let address: SocketAddr = link.address();
        let online = (terms != Policy::EdgeOnly).then(|| Online::new(address, heard_by.clone()));
        Ok(Self {
            name: policy.to_string(),
            network: network.to_owned(),
            policy: terms,
            mode,
            is_lossless: policy.is_lossless(),
            settings,
            link,
            online,
            knowledge: Knowledge::new(seed),
            inbox,
            heard_by,
            last_request_id: 0,
        })
    }

    fn course<'a>(&mut self, request: &'a Request) -> Course<'a> {
        self.last_request_id += 1;
        let one = OneRequest::new(Terms {
            request_id: self.last_request_id,
            question: request.prompt.question.clone(),
            given: request.given(self.online.as_ref().and_then(Online::model)),
            max_new_tokens: MAX_NEW_TOKENS,
            sampling: None,
            policy: self.policy,
            mode: self.mode,
        });
        Course::new(request, self.last_request_id, one)
    }

    /// From the question to the end of all that follows from it.
    fn run(&mut self, course: &mut Course<'_>) -> Result<()> {
        let deadline = Instant::now() + self.settings.timeout;
        self.begin(course)?;
        while !course.is_over() {
            course.note();
            if Instant::now() >= deadline {
                return self.give_up(course);
            }
            match self.listen(deadline) {
                Some(heard) => self.hear(course, heard),
                None => self.tick(course),
            }
            course.note();
        }
        Ok(())
    }

    fn begin(&mut self, course: &mut Course<'_>) -> Result<()> {
        let present = self.present(true);
        let scores = course.one.looks_first(&present, &mut self.knowledge);
        if !scores {
            self.plan(course, Scored::default(), true);
        }
        if scores || self.edge_is_to_write(course) {
            let target = self.online.as_ref().and_then(Online::model).filter(|_| scores);
            self.settings.edge.ask(EdgeJob {
                prompt: Arc::clone(&course.request.prompt),
                scores,
                target: target.map(TargetGrid::from),
                steering: Arc::clone(&course.steering),
                inbox: self.heard_by.clone(),
            })?;
            course.edge_writes = true;
        }
        Ok(())
    }

    fn present(&self, edge_is_ready: bool) -> Present {
        Present {
            edge_parameters: edge_is_ready.then(|| self.settings.edge.parameters()),
            edge_vocabulary: self.settings.edge.vocabulary(),
            target: self.online.as_ref().and_then(Online::model).cloned(),
        }
    }

    /// Whether the edge's words are of use under the plan.
    fn edge_is_to_write(&self, course: &Course<'_>) -> bool {
        match course.one.strategy() {
            None => false,
            Some(strategy) if strategy.uses_edge() => true,
            Some(_) => self.policy.is_adaptive() && self.policy != Policy::MsaoWithoutSpeculation,
        }
    }

    fn plan(&mut self, course: &mut Course<'_>, scored: Scored, edge_is_ready: bool) {
        let present = self.present(edge_is_ready);
        let scores = scored.modalities.clone();
        course.scored = scored;
        match course.one.plan(scores, present, &mut self.knowledge) {
            Ok(effects) => {
                if self.edge_is_to_write(course) {
                    course.steering.plan();
                } else {
                    course.steering.cancel();
                }
                self.apply(course, effects);
            }
            Err(no_plan) => {
                course.steering.cancel();
                course.fail_without_plan(no_plan);
            }
        }
    }

    fn apply(&mut self, course: &mut Course<'_>, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Ask => self.ask(course),
                // One that the server does not wait for is void: it then writes by itself.
                Effect::Draft(draft) => self.tell(|online| online.session.draft(draft)),
                Effect::Steer(speculation) => {
                    let request_id = course.request_id;
                    self.tell(|online| online.session.steer(request_id, speculation));
                }
                Effect::CancelCloud => {
                    let request_id = course.request_id;
                    let is_known = self.online.as_mut().is_some_and(|one| one.session.cancel(request_id));
                    course.cloud_is_awaited &= is_known;
                }
                Effect::CorrectEdge(correction) => course.steering.correct(steering::Correction {
                    revision: correction.revision,
                    start: correction.start,
                    tokens: correction.tokens,
                }),
                Effect::ReleaseEdge => course.steering.release(),
            }
        }
        let events = self.online.as_mut().map(Online::send).unwrap_or_default();
        self.hear_cloud(course, events);
    }

    fn tell(&mut self, what: impl FnOnce(&mut Online) -> bool) {
        if let Some(online) = &mut self.online {
            what(online);
        }
    }

    /// Encodes what the plan sends, and asks.
    fn ask(&mut self, course: &mut Course<'_>) {
        let actions: [ModalityAction; 2] =
            [Modality::Vision, Modality::Audio].map(|modality| course.one.action(modality));
        let started_ms = now_ms();
        let media = match course.request.prepare(actions, &course.scored) {
            Ok(media) => media,
            Err(error) => return course.fail(format!("what is sent cannot be encoded: {error:#}")),
        };
        course.compress_ms += now_ms() - started_ms;
        let Some(online) = &mut self.online else { return };
        let Some(ask) = course.one.ask(media, &[]) else { return };
        course.asked = self.settings.replays.then(|| ask.clone());
        match online.session.ask(ask) {
            Ok(()) => {
                course.cloud_is_awaited = true;
                let events = online.send();
                self.hear_cloud(course, events);
                let effects = course.one.asked();
                self.apply(course, effects);
            }
            Err(report) => self.lose_cloud(course, report.message),
        }
    }

    /// The next thing that is heard, unless something else is due before.
    fn listen(&self, deadline: Instant) -> Option<Heard> {
        let due_at = self.online.as_ref().and_then(Online::due_at).map_or(deadline, |due| due.min(deadline));
        self.inbox.recv_timeout(due_at.saturating_duration_since(Instant::now())).ok()
    }

    fn tick(&mut self, course: &mut Course<'_>) {
        let events = self.online.as_mut().map(Online::tick).unwrap_or_default();
        self.hear_cloud(course, events);
    }

    /// Ends a request that takes too long; what is still said about it is waited for a moment.
    fn give_up(&mut self, course: &mut Course<'_>) -> Result<()> {
        course.fail(format!("no answer within {} s", self.settings.timeout.as_secs()));
        course.note();
        course.steering.cancel();
        self.apply(course, vec![Effect::CancelCloud]);
        let (said_by, stopped_by) = (Instant::now() + LAST_WORDS, Instant::now() + STOP_TIMEOUT);
        while course.edge_writes || (course.cloud_is_awaited && Instant::now() < said_by) {
            let until = if course.edge_writes { stopped_by } else { said_by };
            if let Ok(heard) = self.inbox.recv_timeout(until.saturating_duration_since(Instant::now())) {
                self.hear(course, heard);
            } else {
                ensure!(!course.edge_writes, "the edge does not stop; free processors or memory");
            }
        }
        Ok(())
    }

    /// Listens with no request under way, until `holds` or `until`.
    fn idle(&mut self, until: Instant, mut holds: impl FnMut(&Online, &CloudEvent) -> bool) {
        while Instant::now() < until {
            let heard = self.listen(until);
            let Some(online) = &mut self.online else { return };
            let events = match heard {
                Some(Heard::Wire(number, event)) => online.hear(number, event),
                Some(Heard::Edge(_)) => Vec::new(),
                None => online.tick(),
            };
            let is_reached = events.iter().any(|event| holds(online, event));
            events.iter().for_each(|event| self.learn(event));
            if is_reached {
                return;
            }
        }
    }

    /// Whether the target alone, asked the very same, answers the same; `None` if it does not answer.
    fn replay(&mut self, course: &Course<'_>) -> Option<bool> {
        let ask = course.asked.clone()?;
        self.last_request_id += 1;
        let asked = self.last_request_id;
        let ask = Ask { request_id: asked, speculation: Speculation::None, ..ask };
        let online = self.online.as_mut()?;
        online.session.ask(ask).ok()?;
        online.send();
        let mut alone = None;
        self.idle(Instant::now() + self.settings.timeout, |_, event| match event {
            CloudEvent::Done { request_id, text, .. } if *request_id == asked => {
                alone = Some(text.trim().to_owned());
                true
            }
            CloudEvent::Failed(failure) => failure.request_id == Some(asked),
            _ => false,
        });
        Some(alone? == course.text())
    }
}

impl PolicyRunner for Client {
    fn prepare(&mut self) {
        let until = Instant::now() + UPKEEP;
        if self.online.as_ref().is_some_and(|online| online.model().is_none()) {
            self.idle(until, |_, event| matches!(event, CloudEvent::Connected { .. }));
        }
        let Some(online) = self.online.as_mut().filter(|online| online.model().is_some()) else { return };
        let events = online.ping();
        events.iter().for_each(|event| self.learn(event));
        self.idle(until, |_, event| matches!(event, CloudEvent::RoundTrip { .. }));
    }

    fn answer(&mut self, request: &Request) -> Result<Answered> {
        let before = self.link.bytes();
        let mut course = self.course(request);
        self.run(&mut course)?;
        let after = self.link.bytes();
        let crossed_bytes = (after.0 - before.0, after.1 - before.1);
        let record = course.record(&self.network, &self.name, crossed_bytes);
        let is_replayed = self.is_lossless && record.failure.is_none();
        let as_alone = if is_replayed { self.replay(&course) } else { None };
        Ok(Answered { record, as_alone })
    }
}

//! The server's half: one model, continuous batching, as the real scheduler does it.
//!
//! What a question brings is decoded beside the model, one question after the other. By turns the model reads one prompt, if one waits and a seat in the batch is free, and runs one pass for all that have
//! something to write or to verify, those that waited longest first. Requests that wait for drafts hold no seat. Nobody
//! is refused: where the real server would say that it is busy, the simulated client waits in line.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
};

use super::decide::Waits;
use super::events::{Event, Message, RequestIndex};
use super::request::Writer;
use super::times::{PassMs, PassWork};
use super::world::World;

/// What the model is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Job {
    Read(RequestIndex),
    Pass,
}

#[derive(Debug, Default)]
pub(super) struct Server {
    prompts: VecDeque<RequestIndex>,
    /// By the pass they took part in last, then by when they became ready.
    ready: BinaryHeap<Reverse<(u64, u64, RequestIndex)>>,
    members: Vec<RequestIndex>,
    job: Option<Job>,
    has_just_read: bool,
    order: u64,
    /// When the thread that decodes is free.
    media_free_ms: f64,
    pub(super) waits: Waits,
}

impl World<'_> {
    /// A message has come.
    pub(super) fn receive(&mut self, index: RequestIndex, message: Message) {
        let now_ms = self.now_ms();
        let record = self.record(index);
        let request = &mut self.requests[index];
        match message {
            Message::Prompt => {
                request.cloud.received_ms = now_ms;
                request.tell_cloud();
                self.decode_media(index);
            }
            Message::Steer => {
                request.tell_cloud();
                // Whoever writes now may want to wait for nothing.
                if request.cloud.has_read && request.cloud.wait_began_ms.is_some() {
                    self.go_on(index);
                }
            }
            Message::Cancel => request.cloud.is_cancelled = true,
            Message::Drafts { known, end, is_last, .. } => {
                // The edge went on from its own drafts; what contradicts what stands is ignored.
                let salt = request.salt;
                let holds = (known..request.cloud.standing).all(|position| record.agrees_at(position, salt));
                if holds {
                    request.cloud.drafted = request.cloud.drafted.max(end);
                    request.cloud.is_last = is_last;
                }
                if request.cloud.has_read && (request.drafts() > 0 || request.cloud.is_last) {
                    self.make_ready(index);
                }
            }
            Message::Activations => self.make_ready(index),
        }
        self.serve();
    }

    /// Decodes what a question brought, once what came before it is decoded.
    fn decode_media(&mut self, index: RequestIndex) {
        let now_ms = self.now_ms();
        let request = &self.requests[index];
        let bytes = self.message_bytes(index, Message::Prompt);
        let is_decoded_elsewhere = request.writer == Writer::Split;
        let ms = if is_decoded_elsewhere { 0.0 } else { self.scenario.times.decode_media.ms(bytes) };
        let begin_ms = self.server.media_free_ms.max(now_ms);
        self.server.media_free_ms = begin_ms + request.pace.server * ms;
        self.events.at(self.server.media_free_ms, Event::Decoded { request: index });
    }

    /// A question waits for the model.
    pub(super) fn decoded(&mut self, index: RequestIndex) {
        self.server.prompts.push_back(index);
        self.serve();
    }

    /// A request has waited long enough.
    pub(super) fn patience_ended(&mut self, index: RequestIndex, wait: u32) {
        let cloud = &self.requests[index].cloud;
        if cloud.wait == wait && !cloud.is_ready {
            self.make_ready(index);
            self.serve();
        }
    }

    fn make_ready(&mut self, index: RequestIndex) {
        let now_ms = self.now_ms();
        let request = &mut self.requests[index];
        let cloud = &mut request.cloud;
        // What comes during a pass is seen to behind it.
        if !cloud.is_ready
            && !cloud.is_cancelled
            && cloud.in_pass.is_none()
            && cloud.standing < request.tokens
        {
            cloud.is_ready = true;
            cloud.ready_ms = now_ms;
            cloud.wait += 1;
            cloud.wait_began_ms = None;
            self.server.order += 1;
            self.server.ready.push(Reverse((cloud.last_pass, self.server.order, index)));
        }
    }

    /// Begins the next job of an idle server.
    fn serve(&mut self) {
        if self.server.job.is_some() {
            return;
        }
        let may_read = self.server.ready.len() < self.scenario.server.max_batch;
        let must_pass = self.server.has_just_read && !self.server.ready.is_empty();
        let prompt = if may_read && !must_pass { self.next_prompt() } else { None };
        let (job, ms) = match prompt {
            Some(index) => (Job::Read(index), self.begin_read(index)),
            None if self.server.ready.is_empty() => return,
            None => (Job::Pass, self.begin_pass()),
        };
        self.server.has_just_read = matches!(job, Job::Read(_));
        self.server.job = Some(job);
        self.tally.busy_ms += ms;
        let at_ms = self.now_ms() + ms;
        self.events.at(at_ms, Event::ServerWorked);
    }

    fn next_prompt(&mut self) -> Option<RequestIndex> {
        let requests = &self.requests;
        std::iter::from_fn(|| self.server.prompts.pop_front())
            .find(|index| !requests[*index].cloud.is_cancelled)
    }

    /// The model has done its job.
    pub(super) fn server_worked(&mut self) {
        match self.server.job.take() {
            Some(Job::Read(index)) => self.end_read(index),
            Some(Job::Pass) => self.end_pass(),
            None => {}
        }
        self.serve();
    }

    /// Reading a prompt; returns how long it takes.
    fn begin_read(&mut self, index: RequestIndex) -> f64 {
        let (now_ms, times) = (self.now_ms(), &self.scenario.times);
        let request = &mut self.requests[index];
        Waits::observe(&mut self.server.waits.prompt_ms, now_ms - request.cloud.received_ms);
        let (tokens, mut share) = (request.parcel.target_tokens, 1.0);
        let ms = match (request.cloud_writer(), &times.split) {
            (Writer::Split, Some(split)) => {
                share -= split.edge_prompt_share;
                split.target_prefill.ms(tokens)
            }
            (Writer::CoLocated { .. }, _) => {
                request.cloud.drafter_has_read = true;
                self.tally.cloud_flops += tokens * self.scenario.token_flops.co_located;
                times.target_prefill.ms(tokens) + times.co_located_prefill.ms(tokens)
            }
            _ => times.target_prefill.ms(tokens),
        };
        self.tally.prompts += 1;
        self.tally.cloud_flops += share * request.parcel.target_flops;
        ms * request.pace.server
    }

    fn end_read(&mut self, index: RequestIndex) {
        self.requests[index].cloud.has_read = true;
        self.go_on(index);
    }

    /// Puts a request into the next pass, or lets it wait for the edge.
    fn go_on(&mut self, index: RequestIndex) {
        let request = &self.requests[index];
        match request.cloud_writer() {
            Writer::Distributed { .. } if request.drafts() == 0 && !request.cloud.is_last => {
                let now_ms = self.now_ms();
                let cloud = &mut self.requests[index].cloud;
                let began_ms = *cloud.wait_began_ms.get_or_insert(now_ms);
                let event = Event::PatienceEnded { request: index, wait: cloud.wait };
                let at_ms = began_ms + cloud.patience_ms;
                self.events.at(at_ms, event);
            }
            Writer::Split if request.cloud.standing > 0 => {}
            _ => self.make_ready(index),
        }
    }

    /// A pass for those that waited longest; returns how long it takes.
    fn begin_pass(&mut self) -> f64 {
        let (now_ms, times, flops) = (self.now_ms(), &self.scenario.times, self.scenario.token_flops);
        let (mut work, mut proposing, mut drafters_ms, mut pace) =
            (PassWork::default(), Vec::new(), 0.0, 0.0);
        let (mut pass, mut share) = (&times.target_pass, 1.0);
        self.server.members.clear();
        while self.server.members.len() < self.scenario.server.max_batch
            && let Some(Reverse((.., index))) = self.server.ready.pop()
        {
            self.server.members.push(index);
            let request = &mut self.requests[index];
            request.cloud.is_ready = false;
            request.cloud.in_pass = Some(request.drafts());
            pace += request.pace.server;
            Waits::observe(&mut self.server.waits.pass_ms, now_ms - request.cloud.ready_ms);
            let context_tokens = request.parcel.target_tokens + f64::from(request.cloud.standing);
            let rows = request.rows();
            if rows > 0 {
                work.requests += 1.0;
                work.rows += f64::from(rows);
                work.context_tokens += context_tokens;
            }
            if let Writer::CoLocated { .. } = request.cloud_writer() {
                proposing.push((request.drafts(), context_tokens));
                if !std::mem::replace(&mut request.cloud.drafter_has_read, true) {
                    drafters_ms += times.co_located_prefill.ms(request.parcel.target_tokens);
                }
            }
            if let (Writer::Split, Some(split)) = (request.writer, &times.split) {
                (pass, share) = (&split.target_pass, 1.0 - split.edge_token_share);
            }
        }
        self.tally.passes += 1;
        self.tally.seats += self.server.members.len() as u64;
        let drafts: u32 = proposing.iter().map(|(drafts, _)| drafts).sum();
        self.tally.cloud_flops += work.rows * share * flops.target + f64::from(drafts) * flops.co_located;
        let pass_ms = pass.ms(work);
        if work.requests > 0.0 {
            let alone = PassWork {
                requests: 1.0,
                rows: work.rows / work.requests,
                context_tokens: work.context_tokens / work.requests,
            };
            Waits::observe(&mut self.server.waits.stretch, pass_ms / pass.ms(alone).max(f64::MIN_POSITIVE));
        }
        // Steps that are shared take as long as those of a request take on average.
        pace /= self.server.members.len().max(1) as f64;
        pace * (pass_ms + drafters_ms + proposing_ms(&times.co_located_pass, &proposing))
    }

    fn end_pass(&mut self) {
        let members = std::mem::take(&mut self.server.members);
        self.server.order += 1;
        for &index in &members {
            self.settle(index);
        }
        self.server.members = members;
    }

    /// Takes in what a pass said of one request.
    fn settle(&mut self, index: RequestIndex) {
        let record = self.record(index);
        let request = &mut self.requests[index];
        let (standing, salt) = (request.cloud.standing, request.salt);
        let drafts = request.cloud.in_pass.take().unwrap_or_default();
        let accepted = (standing..standing + drafts)
            .take_while(|&position| record.agrees_at(position, salt))
            .count() as u32;
        self.tally.proposed_drafts += u64::from(drafts);
        self.tally.accepted_drafts += u64::from(accepted);
        let settled = (standing + accepted + 1).min(request.tokens);
        request.cloud.standing = settled;
        request.cloud.last_pass = self.tally.passes;
        if accepted < drafts {
            request.cloud.drafted = settled;
            // The edge is heard of again: what it called its last is void.
            request.cloud.is_last = false;
        } else {
            request.cloud.drafted = request.cloud.drafted.max(settled);
        }
        if request.writer == Writer::Shadow {
            // One pass looks at the whole answer.
            if let Some(risk) = &mut self.risk {
                risk.observe_shadow(record.edge_agrees());
            }
            request.cloud.standing = request.tokens;
            return;
        }
        let is_over = settled == request.tokens;
        let is_awaited = matches!(request.writer, Writer::Distributed { .. } | Writer::Split)
            || self.scenario.contender.decides_again();
        self.tally.downlink_bytes += self.scenario.wire.settled_bytes;
        // Tokens in the middle that nobody waits for need no event of their own.
        if is_over || is_awaited || standing == 0 {
            let (client, now_ms) = (request.client, self.events.now_ms());
            let at_ms = self.clients[client].down.send(now_ms, self.scenario.wire.settled_bytes);
            self.events.at(at_ms, Event::Settled { request: index, standing: settled });
        }
        if !is_over {
            self.go_on(index);
        }
    }
}

/// Milliseconds of the draft model's steps: each is shared by those that still want a draft.
fn proposing_ms(pass: &PassMs, proposing: &[(u32, f64)]) -> f64 {
    let longest = proposing.iter().map(|(drafts, _)| *drafts).max().unwrap_or(0);
    (0..longest)
        .map(|step| {
            let writing = proposing.iter().filter(|(drafts, _)| *drafts > step);
            let work = writing.fold(PassWork::default(), |sum, (_, context_tokens)| PassWork {
                requests: sum.requests + 1.0,
                rows: sum.rows + 1.0,
                context_tokens: sum.context_tokens + context_tokens,
            });
            pass.ms(work)
        })
        .sum()
}

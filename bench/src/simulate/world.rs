//! The simulation itself: clients, links and the server, moved from event to event.
//!
//! ```text
//! Asked ─ Scored ─ plan ─┬─ prompt ──► Received ─ read ─┐
//!                        └─ EdgeWorked ─ drafts ──► ... ├─ pass ──► Settled ─ next question
//!                                 ▲                     │             │
//!                                 └─────────────────────┴─────────────┘
//! ```
//!
//! The edge's half of the events is handled in [`edge`](super::edge), the server's in [`server`](super::server).

use anyhow::Result;
use msao_planner::{
    SplitMix64,
    risk::{RiskBound, RiskController, ShadowSettings, calibrate_threshold},
};

use super::decide::{self, Left};
use super::events::{Event, Events, Message, RequestIndex};
use super::link::Link;
use super::outcome::{Answered, Outcome, Tally};
use super::request::{CloudSide, EdgeSide, Parcel, Request, Writer};
use super::scenario::{Contender, Load, Scenario};
use super::server::Server;
use super::workload::Record;

/// Share of runs in which the risk bound may fail.
const DELTA: f64 = 0.05;

/// A client's device and links.
#[derive(Debug, Clone, Copy)]
pub(super) struct Client {
    pub(super) up: Link,
    pub(super) down: Link,
    /// When its edge model is free: one piece of work after another.
    pub(super) edge_free_ms: f64,
}

pub(super) struct World<'a> {
    pub(super) scenario: &'a Scenario<'a>,
    pub(super) events: Events,
    pub(super) clients: Vec<Client>,
    pub(super) requests: Vec<Request>,
    pub(super) server: Server,
    pub(super) tally: Tally,
    pub(super) risk: Option<RiskController>,
    /// Share of edge answers that stood when risk control was calibrated.
    pub(super) standing_share: f64,
    /// What looking leaves to be sent.
    left: Left,
    pub(super) rng: SplitMix64,
    ingress: Option<Link>,
    asked: usize,
}

/// Simulates a scenario to the last answer.
///
/// # Errors
/// If the scenario is out of what can be simulated.
pub(crate) fn simulate(scenario: &Scenario<'_>) -> Result<Outcome> {
    let tally = simulate_answers(scenario)?;
    Ok(tally.outcome(scenario.contender.name(), scenario.clients))
}

/// The same, with every answer.
///
/// # Errors
/// As for [`simulate`].
pub(super) fn simulate_answers(scenario: &Scenario<'_>) -> Result<Tally> {
    scenario.validate()?;
    let mut world = World::new(scenario);
    world.open();
    while let Some(event) = world.events.next() {
        world.handle(event)?;
    }
    Ok(world.tally)
}

impl<'a> World<'a> {
    fn new(scenario: &'a Scenario<'a>) -> Self {
        let network = &scenario.network;
        let client = Client {
            up: Link::new(network.uplink_bytes_per_s, network.rtt_ms / 2.0),
            down: Link::new(network.downlink_bytes_per_s, network.rtt_ms / 2.0),
            edge_free_ms: 0.0,
        };
        let (risk, standing_share) = risk_controller(scenario);
        Self {
            scenario,
            events: Events::default(),
            clients: vec![client; scenario.clients],
            requests: Vec::with_capacity(scenario.requests),
            server: Server::default(),
            tally: Tally::default(),
            risk,
            standing_share,
            left: Left::of(&scenario.workload.records),
            rng: SplitMix64::new(scenario.seed),
            ingress: network.ingress_bytes_per_s.map(|rate| Link::new(rate, 0.0)),
            asked: 0,
        }
    }

    /// Plans the first questions.
    fn open(&mut self) {
        match self.scenario.load {
            Load::Open { .. } => self.ask_later(0, 0.0),
            Load::Closed { think_ms } => {
                for client in 0..self.scenario.clients {
                    let thought_ms = self.exponential(think_ms);
                    self.ask_later(client, thought_ms);
                }
            }
        }
    }

    fn handle(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Asked { client } => self.ask(client)?,
            Event::Scored { request } => self.decide(request)?,
            Event::EdgeWorked { request, work } => self.edge_worked(request, work)?,
            Event::Uploaded { request, message } => {
                let bytes = self.message_bytes(request, message);
                let now_ms = self.now_ms();
                let at_ms = self.ingress.as_mut().map_or(now_ms, |ingress| ingress.send(now_ms, bytes));
                self.events.at(at_ms, Event::Received { request, message });
            }
            Event::Received { request, message } => self.receive(request, message),
            Event::Decoded { request } => self.decoded(request),
            Event::ServerWorked => self.server_worked(),
            Event::PatienceEnded { request, wait } => self.patience_ended(request, wait),
            Event::Settled { request, standing } => self.hear(request, standing),
        }
        Ok(())
    }

    pub(super) fn now_ms(&self) -> f64 {
        self.events.now_ms()
    }

    pub(super) fn record(&self, request: RequestIndex) -> &'a Record {
        &self.scenario.workload.records[self.requests[request].record]
    }

    fn exponential(&mut self, mean: f64) -> f64 {
        -(1.0 - self.rng.uniform()).ln() * mean
    }

    fn ask_later(&mut self, client: usize, after_ms: f64) {
        if self.asked < self.scenario.requests {
            self.asked += 1;
            let at_ms = self.now_ms() + after_ms;
            self.events.at(at_ms, Event::Asked { client });
        }
    }

    fn ask(&mut self, client: usize) -> Result<()> {
        if let Load::Open { requests_per_s } = self.scenario.load {
            let after_ms = self.exponential(1000.0 / requests_per_s);
            self.ask_later((client + 1) % self.scenario.clients, after_ms);
        }
        let records = &self.scenario.workload.records;
        let record = (self.rng.uniform() * records.len() as f64) as usize;
        let request = self.requests.len();
        let salt = self.rng.next_u64();
        let pace = self.scenario.paces.draw(&mut self.rng);
        self.requests.push(Request {
            client,
            record,
            salt,
            asked_ms: self.now_ms(),
            writer: Writer::Cloud,
            parcel: Parcel::default(),
            tokens: records[record].answer_tokens,
            patience_ms: 0.0,
            is_unlooked: false,
            was_asked: false,
            has_ended: false,
            was_recorded: false,
            pace,
            edge: EdgeSide::default(),
            cloud: CloudSide::default(),
            first_ms: None,
            shown_ms: None,
        });
        if self.looks(request)? {
            let times = &self.scenario.times;
            let edge_tokens = decide::whole_parcel(&records[record]).edge_tokens;
            let score_ms = times.edge_encode.ms(edge_tokens) + times.probe_ms;
            self.requests[request].edge.has_encoded = true;
            let done_ms = self.occupy_edge(client, pace.edge * score_ms);
            self.events.at(done_ms, Event::Scored { request });
            Ok(())
        } else {
            self.decide(request)
        }
    }

    /// Whether the edge looks at the media of a question before it is asked.
    fn looks(&mut self, request: RequestIndex) -> Result<bool> {
        if !self.scenario.contender.policy().is_some_and(msao_protocol::Policy::uses_mas) {
            return Ok(false);
        }
        if self.scenario.always_looks {
            return Ok(true);
        }
        self.server.waits.answer_gflop = self.tally.cloud_gflop_per_answer();
        let (record, waits) = (self.record(request), &self.server.waits);
        let looks = decide::looks_first(self.scenario, record, waits, &self.left, self.standing_share)?;
        self.requests[request].is_unlooked = !looks;
        Ok(looks)
    }

    /// Takes the client's edge for so long, after what it is at; returns when that is done.
    pub(super) fn occupy_edge(&mut self, client: usize, ms: f64) -> f64 {
        let now_ms = self.now_ms();
        let client = &mut self.clients[client];
        client.edge_free_ms = client.edge_free_ms.max(now_ms) + ms;
        client.edge_free_ms
    }

    /// Hands a message to the client's uplink.
    pub(super) fn send(&mut self, request: RequestIndex, message: Message) {
        let bytes = self.message_bytes(request, message);
        self.tally.uplink_bytes += bytes;
        let now_ms = self.now_ms();
        let one = &mut self.requests[request];
        one.was_asked = true;
        // Media are compressed first; what follows the question waits behind it on the link.
        let compress_ms = match message {
            Message::Prompt if one.writer != Writer::Split => {
                one.pace.edge * self.scenario.times.compress.ms(bytes)
            }
            _ => 0.0,
        };
        let at_ms = self.clients[one.client].up.send(now_ms + compress_ms, bytes);
        let event = if self.ingress.is_some() {
            Event::Uploaded { request, message }
        } else {
            Event::Received { request, message }
        };
        self.events.at(at_ms, event);
    }

    pub(super) fn message_bytes(&self, request: RequestIndex, message: Message) -> f64 {
        let activation_bytes = self.scenario.times.split.map_or(0.0, |split| split.activation_bytes);
        let request = &self.requests[request];
        match message {
            Message::Prompt if request.writer == Writer::Split => {
                activation_bytes * request.parcel.target_tokens
            }
            Message::Prompt => request.parcel.upload_bytes,
            Message::Drafts { start, end, .. } => {
                let wire = &self.scenario.wire;
                wire.empty_proposal_bytes + f64::from(end - start) * wire.draft_token_bytes
            }
            Message::Steer | Message::Cancel => self.scenario.wire.empty_proposal_bytes,
            Message::Activations => activation_bytes,
        }
    }

    /// The answer is complete at the client, who goes on to the next question.
    pub(super) fn finish(&mut self, index: RequestIndex, by_edge: bool) {
        let (record, now_ms) = (self.record(index), self.now_ms());
        let request = &mut self.requests[index];
        // What is still on its way is void.
        request.edge.work += 1;
        request.has_ended = true;
        if !std::mem::replace(&mut request.was_recorded, true)
            && let Some(risk) = &mut self.risk
        {
            risk.record(false, 0.0);
        }
        let right = record.right;
        let first_ms = request.first_ms.unwrap_or(now_ms);
        self.tally.answered.push(Answered {
            asked_ms: request.asked_ms,
            shown_ms: request.shown_ms.unwrap_or(first_ms),
            first_ms,
            ended_ms: now_ms,
            tokens: if by_edge { record.edge_answer_tokens } else { record.answer_tokens },
            is_right: match (by_edge, request.parcel.is_pruned) {
                (true, _) => right.edge,
                (false, true) => right.kept,
                (false, false) => right.whole,
            },
            by_edge,
            differs: by_edge && !record.edge_agrees(),
            busy_ms: self.tally.busy_ms,
        });
        let client = request.client;
        if let Load::Closed { think_ms } = self.scenario.load {
            let thought_ms = self.exponential(think_ms);
            self.ask_later(client, thought_ms);
        }
    }
}

fn risk_controller(scenario: &Scenario<'_>) -> (Option<RiskController>, f64) {
    let Contender::MsaoRiskControlled { epsilon, .. } = scenario.contender else { return (None, 0.0) };
    let samples = &scenario.workload.calibration;
    if let Some(threshold) = scenario.workload.stand_threshold {
        let stood = samples.iter().filter(|sample| sample.confidence >= threshold).count();
        return (None, stood as f64 / samples.len().max(1) as f64);
    }
    let requests = u32::try_from(scenario.requests).unwrap_or(u32::MAX);
    let threshold = calibrate_threshold(samples, epsilon, RiskBound::Horizon { delta: DELTA, requests });
    let share = threshold.stood as f64 / samples.len().max(1) as f64;
    (Some(RiskController::new(epsilon, threshold, samples, ShadowSettings::default())), share)
}

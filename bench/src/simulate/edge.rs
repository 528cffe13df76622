//! The edge's half: plans, drafts block by block, answers that stand, and what it makes of settled tokens.
//!
//! A synchronous edge drafts a block, sends it and waits. A pipelined one drafts the next block meanwhile and holds it
//! until it has heard of the one before: the order that [`cost`](msao_planner::cost) reckons with. When what stands
//! contradicts its drafts it drops them, the block it is at included, and begins behind what stands.

use anyhow::Result;
use msao_protocol::Policy;

use super::decide;
use super::events::{Event, Message, RequestIndex};
use super::request::{CloudSide, Request, Writer};
use super::scenario::{Contender, EdgeFirst};
use super::world::World;

impl World<'_> {
    /// Decides who answers, and begins.
    pub(super) fn decide(&mut self, index: RequestIndex) -> Result<()> {
        let record = self.record(index);
        let writer = match self.scenario.contender {
            Contender::EdgeOnly => Writer::Edge,
            Contender::CloudOnly => Writer::Cloud,
            Contender::CoLocated { draft_tokens } => Writer::CoLocated { draft_tokens: draft_tokens.into() },
            Contender::Distributed { draft_tokens, pipelined } => {
                Writer::Distributed { draft_tokens: draft_tokens.into(), pipelined }
            }
            Contender::LayerSplit => Writer::Split,
            Contender::MsaoVerified { .. }
            | Contender::MsaoRiskControlled { .. }
            | Contender::MsaoWithoutMas
            | Contender::MsaoWithoutSpeculation => return self.decide_by_plan(index),
        };
        self.requests[index].writer = writer;
        self.requests[index].parcel = decide::whole_parcel(record);
        self.begin(index);
        Ok(())
    }

    fn decide_by_plan(&mut self, index: RequestIndex) -> Result<()> {
        let (scenario, record) = (self.scenario, self.record(index));
        let policy = scenario.contender.policy().unwrap_or_default();
        let drafted = self.requests[index].edge.drafted;
        self.server.waits.answer_gflop = self.tally.cloud_gflop_per_answer();
        let plan = decide::plan(scenario, policy, record, &self.server.waits, f64::from(drafted))?;
        self.requests[index].parcel = decide::planned_parcel(record, &plan);
        if let Contender::MsaoRiskControlled { edge_first, .. } = scenario.contender
            && drafted == 0
        {
            if edge_first == EdgeFirst::Always || self.edge_first_is_cheaper(index, plan.total)? {
                self.answer_first(index);
                return Ok(());
            }
            if let Some(risk) = &mut self.risk {
                risk.record(false, 0.0);
            }
        }
        self.requests[index].writer = decide::writer(plan.strategy);
        self.begin(index);
        Ok(())
    }

    /// Whether trying the edge first is expected to cost no more than `direct`.
    fn edge_first_is_cheaper(&self, index: RequestIndex, direct: f64) -> Result<bool> {
        let (scenario, record) = (self.scenario, self.record(index));
        let tokens = scenario.workload.answer_tokens;
        let edge_tokens = self.requests[index].parcel.edge_tokens;
        let edge_ms = self.unloaded.edge_prefill.ms(edge_tokens)
            + (tokens - 1.0).max(0.0) * self.unloaded.edge_decode_ms;
        let rest = decide::plan(scenario, Policy::Msao, record, &self.server.waits, tokens)?;
        let falls = 1.0 - self.standing_share;
        Ok(edge_ms + falls * rest.total <= direct)
    }

    /// The edge writes its whole answer before anything is sent.
    fn answer_first(&mut self, index: RequestIndex) {
        let tokens = self.record(index).edge_answer_tokens;
        self.requests[index].edge.answers_first = true;
        self.write(index, tokens);
    }

    fn begin(&mut self, index: RequestIndex) {
        match self.requests[index].writer {
            Writer::Edge => self.answer_first(index),
            Writer::Cloud | Writer::CoLocated { .. } | Writer::Shadow => self.send(index, Message::Prompt),
            Writer::Distributed { .. } => {
                self.send(index, Message::Prompt);
                if self.requests[index].edge.drafted > 0 {
                    self.send_drafts(index);
                }
                self.draft_on(index);
            }
            Writer::Split => self.split_work(index),
        }
    }

    /// The edge writes so many tokens; the first comes with reading the prompt.
    fn write(&mut self, index: RequestIndex, tokens: u32) {
        let times = &self.scenario.times;
        let request = &mut self.requests[index];
        let read_ms = times.edge_prefill.ms(request.parcel.edge_tokens);
        let (first_ms, steps) =
            if request.edge.has_read { (0.0, tokens) } else { (read_ms, tokens.saturating_sub(1)) };
        if !request.edge.has_read {
            self.tally.edge_flops += request.parcel.edge_flops;
        }
        self.tally.edge_flops += f64::from(steps) * self.scenario.token_flops.edge;
        request.edge.has_read = true;
        request.edge.writing = tokens;
        request.edge.work += 1;
        let (client, work) = (request.client, request.edge.work);
        let begin_ms = self.occupy_edge(client, first_ms);
        self.requests[index].shown_ms.get_or_insert(begin_ms);
        let done_ms = self.occupy_edge(client, f64::from(steps) * times.edge_decode_ms);
        self.events.at(done_ms, Event::EdgeWorked { request: index, work });
    }

    /// The edge's half of the target for the prompt, or for one token.
    fn split_work(&mut self, index: RequestIndex) {
        let Some(split) = &self.scenario.times.split else { return };
        let request = &mut self.requests[index];
        let (ms, flops) = if request.edge.has_read {
            (split.edge_step_ms, split.edge_token_share * self.scenario.token_flops.target)
        } else {
            let ms = split.edge_prefill.ms(request.parcel.target_tokens);
            (ms, split.edge_prompt_share * request.parcel.target_flops)
        };
        self.tally.edge_flops += flops;
        request.edge.work += 1;
        let (client, work) = (request.client, request.edge.work);
        let done_ms = self.occupy_edge(client, ms);
        self.events.at(done_ms, Event::EdgeWorked { request: index, work });
    }

    /// The edge has done what it was at.
    pub(super) fn edge_worked(&mut self, index: RequestIndex, work: u32) -> Result<()> {
        let request = &mut self.requests[index];
        if request.edge.work != work {
            return Ok(());
        }
        if request.writer == Writer::Split {
            let message = if request.edge.has_read { Message::Activations } else { Message::Prompt };
            request.edge.has_read = true;
            self.send(index, message);
            return Ok(());
        }
        let edge = &mut request.edge;
        edge.drafted += std::mem::take(&mut edge.writing);
        if edge.answers_first {
            return self.edge_answered(index);
        }
        if edge.in_flight {
            edge.holds_block = true;
        } else {
            self.send_drafts(index);
        }
        self.draft_on(index);
        Ok(())
    }

    /// The edge has its whole answer: it stands, or it is a draft.
    fn edge_answered(&mut self, index: RequestIndex) -> Result<()> {
        let record = self.record(index);
        let request = &mut self.requests[index];
        if request.writer == Writer::Edge {
            request.first_ms = request.shown_ms;
            self.finish(index, true);
            return Ok(());
        }
        let Some(risk) = &mut self.risk else { return Ok(()) };
        let stands = record.edge_confidence >= risk.threshold();
        let is_watched = risk.record(stands, self.rng.uniform());
        if stands {
            request.first_ms = request.shown_ms;
            let request = Request { writer: Writer::Shadow, ..self.requests[index].clone() };
            self.finish(index, true);
            if is_watched {
                self.verify_afterwards(request);
            }
            return Ok(());
        }
        request.edge.answers_first = false;
        request.edge.drafted = request.edge.drafted.min(request.tokens);
        self.decide_by_plan(index)
    }

    /// Sends an answer that stood to the target, beside what the client asks next.
    fn verify_afterwards(&mut self, mut request: Request) {
        request.cloud = CloudSide { drafted: request.tokens, ..CloudSide::default() };
        let index = self.requests.len();
        self.requests.push(request);
        self.begin(index);
    }

    fn send_drafts(&mut self, index: RequestIndex) {
        let edge = &mut self.requests[index].edge;
        if edge.drafted > edge.known {
            edge.in_flight = true;
            let message = Message::Drafts { known: edge.known, end: edge.drafted };
            self.send(index, message);
        }
    }

    /// Begins the next block, if it is time for one.
    fn draft_on(&mut self, index: RequestIndex) {
        let request = &self.requests[index];
        let Writer::Distributed { draft_tokens, pipelined } = request.writer else { return };
        let edge = &request.edge;
        let may_draft = edge.writing == 0 && !edge.holds_block && (pipelined || !edge.in_flight);
        let block = draft_tokens.min(request.tokens.saturating_sub(edge.drafted));
        if may_draft && block > 0 {
            self.write(index, block);
        }
    }

    /// The client hears that `standing` tokens stand.
    pub(super) fn hear(&mut self, index: RequestIndex, standing: u32) {
        let (record, now_ms) = (self.record(index), self.now_ms());
        let request = &mut self.requests[index];
        request.first_ms.get_or_insert(now_ms);
        if standing >= request.tokens {
            self.finish(index, false);
            return;
        }
        match request.writer {
            Writer::Split => self.split_work(index),
            Writer::Distributed { .. } => {
                let salt = request.salt;
                let edge = &mut request.edge;
                let known = edge.known;
                edge.known = standing;
                edge.in_flight = false;
                let drafted = known..standing.min(edge.drafted);
                if drafted.clone().any(|position| !record.agrees_at(position, salt)) {
                    edge.drafted = standing;
                    edge.holds_block = false;
                    if std::mem::take(&mut edge.writing) > 0 {
                        edge.work += 1;
                        self.clients[request.client].edge_free_ms = now_ms;
                    }
                } else {
                    edge.drafted = edge.drafted.max(standing);
                }
                if std::mem::take(&mut edge.holds_block) {
                    self.send_drafts(index);
                }
                self.draft_on(index);
            }
            Writer::Edge | Writer::Cloud | Writer::CoLocated { .. } | Writer::Shadow => {}
        }
    }
}

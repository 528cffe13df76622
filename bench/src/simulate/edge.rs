//! The edge's half: plans, what it writes, drafts that are due, answers that stand, and what it makes of settled tokens.
//!
//! The edge writes on whatever is under way. A synchronous one sends what it has once a block is there and what it sent
//! before is settled, a pipelined one without waiting for that, and either all of it when it has ended. When what stands
//! contradicts its text it drops that, and begins behind what stands. An adaptive policy decides again when the edge has
//! ended before anything is settled, and after every round.

use anyhow::Result;
use msao_planner::plan::{Plan, PlanRequest, holds_for_edge};

use super::decide::{self, Rest};
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
        self.requests[index].parcel = decide::whole_parcel(record);
        self.go_over_to(index, writer);
        self.begin(index)
    }

    /// What the planner is asked now.
    fn plan_request(&mut self, index: RequestIndex) -> PlanRequest {
        let policy = self.scenario.contender.policy().unwrap_or_default();
        self.server.waits.answer_gflop = self.tally.cloud_gflop_per_answer();
        let Request { edge, is_unlooked, .. } = &self.requests[index];
        let written = (edge.drafted, edge.has_ended);
        let request = decide::request(self.scenario, policy, self.record(index), &self.server.waits, written);
        if *is_unlooked { decide::unlooked(request) } else { request }
    }

    fn decide_by_plan(&mut self, index: RequestIndex) -> Result<()> {
        let request = self.plan_request(index);
        let plan = decide::plan(&request)?;
        self.requests[index].parcel = decide::planned_parcel(self.record(index), &plan);
        if let Contender::MsaoRiskControlled { edge_first, .. } = self.scenario.contender
            && !self.requests[index].edge.has_ended
            && (edge_first == EdgeFirst::Always || self.holds(&plan, &request))
        {
            self.answer_first(index);
            return Ok(());
        }
        self.go_over_to(index, decide::writer(plan.strategy));
        self.begin(index)
    }

    /// Whether trying the edge first is expected to cost no more than asking at once.
    fn holds(&self, plan: &Plan, request: &PlanRequest) -> bool {
        holds_for_edge(plan, request, self.standing_share).unwrap_or(false)
    }

    fn go_over_to(&mut self, index: RequestIndex, writer: Writer) {
        let patience_ms = decide::strategy(writer)
            .map_or(0.0, |strategy| decide::patience_ms(self.scenario, &self.server.waits, strategy));
        let request = &mut self.requests[index];
        (request.writer, request.patience_ms) = (writer, patience_ms);
    }

    /// The edge writes its whole answer before anything is sent.
    fn answer_first(&mut self, index: RequestIndex) {
        let tokens = self.record(index).edge_answer_tokens;
        self.requests[index].edge.answers_first = true;
        self.write(index, tokens);
    }

    fn begin(&mut self, index: RequestIndex) -> Result<()> {
        match self.requests[index].writer {
            Writer::Edge => self.answer_first(index),
            Writer::Split => self.split_work(index),
            Writer::Shadow => self.send(index, Message::Prompt),
            Writer::Cloud | Writer::CoLocated { .. } | Writer::Distributed { .. } => {
                self.send(index, Message::Prompt);
                if self.requests[index].edge.has_ended {
                    return self.edge_has_ended(index);
                }
                self.draft_on(index);
            }
        }
        Ok(())
    }

    /// The edge writes so many tokens; the first comes with reading the prompt.
    fn write(&mut self, index: RequestIndex, tokens: u32) {
        let times = &self.scenario.times;
        let request = &mut self.requests[index];
        let (edge_tokens, pace) = (request.parcel.edge_tokens, request.pace.edge);
        let encode_ms = if request.edge.has_encoded { 0.0 } else { times.edge_encode.ms(edge_tokens) };
        let (first_ms, steps) = if request.edge.has_read {
            (0.0, tokens)
        } else {
            (encode_ms + times.edge_prefill.ms(edge_tokens), tokens.saturating_sub(1))
        };
        if !request.edge.has_read {
            self.tally.edge_flops += request.parcel.edge_flops;
        }
        self.tally.edge_flops += f64::from(steps) * self.scenario.token_flops.edge;
        (request.edge.has_encoded, request.edge.has_read) = (true, true);
        request.edge.writing = tokens;
        request.edge.work += 1;
        let (client, work) = (request.client, request.edge.work);
        let begin_ms = self.occupy_edge(client, pace * first_ms);
        self.requests[index].shown_ms.get_or_insert(begin_ms);
        let done_ms = self.occupy_edge(client, pace * f64::from(steps) * times.edge_decode_ms);
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
        let (client, work, pace) = (request.client, request.edge.work, request.pace.edge);
        let done_ms = self.occupy_edge(client, pace * ms);
        self.events.at(done_ms, Event::EdgeWorked { request: index, work });
    }

    /// The edge has done what it was at.
    pub(super) fn edge_worked(&mut self, index: RequestIndex, work: u32) -> Result<()> {
        let own_tokens = self.record(index).edge_answer_tokens;
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
        let words = request.edge_words(own_tokens);
        let edge = &mut request.edge;
        let written = edge.drafted + std::mem::take(&mut edge.writing);
        edge.has_ended = written > words;
        edge.drafted = written.min(words.max(edge.known));
        if edge.answers_first {
            return self.edge_answered(index);
        }
        if edge.has_ended {
            return self.edge_has_ended(index);
        }
        self.send_due(index);
        self.draft_on(index);
        Ok(())
    }

    /// The edge has its whole answer: it stands, or it is a draft.
    fn edge_answered(&mut self, index: RequestIndex) -> Result<()> {
        let request = &mut self.requests[index];
        if request.writer == Writer::Edge {
            request.first_ms = request.shown_ms;
            self.finish(index, true);
            return Ok(());
        }
        if self.stands(index) {
            return Ok(());
        }
        self.requests[index].edge.answers_first = false;
        self.decide_by_plan(index)
    }

    /// Lets the edge's own answer stand if it is sure enough, whether the server was asked meanwhile or not.
    fn stands(&mut self, index: RequestIndex) -> bool {
        let record = self.record(index);
        let request = &mut self.requests[index];
        if request.edge.is_corrected || request.edge.is_contradicted {
            return false;
        }
        let (stands, is_watched) = match (&mut self.risk, self.scenario.workload.stand_threshold) {
            (Some(risk), _) if record.edge_confidence >= risk.threshold() => {
                (true, risk.record(true, self.rng.uniform()))
            }
            (None, Some(threshold)) if self.scenario.contender.may_stand() => {
                (record.edge_confidence >= threshold, false)
            }
            _ => (false, false),
        };
        if !stands {
            return false;
        }
        request.was_recorded = true;
        request.first_ms = request.shown_ms;
        let request = Request { writer: Writer::Shadow, ..self.requests[index].clone() };
        self.finish(index, true);
        match (request.was_asked, is_watched) {
            (false, true) => self.verify_afterwards(request),
            (true, false) => self.send(index, Message::Cancel),
            (true, true) => {
                if let Some(risk) = &mut self.risk {
                    risk.observe_shadow(record.edge_agrees());
                }
            }
            (false, false) => {}
        }
        true
    }

    /// Sends an answer that stood to the target, beside what the client asks next.
    fn verify_afterwards(&mut self, mut request: Request) {
        request.cloud = CloudSide { drafted: request.tokens, is_last: true, ..CloudSide::default() };
        let index = self.requests.len();
        self.requests.push(request);
        self.send(index, Message::Prompt);
    }

    /// The edge has ended: what it wrote is one draft.
    fn edge_has_ended(&mut self, index: RequestIndex) -> Result<()> {
        if !self.requests[index].was_recorded && self.stands(index) {
            return Ok(());
        }
        let edge = &self.requests[index].edge;
        if self.scenario.contender.decides_again() && edge.known == 0 && !edge.is_corrected {
            let request = self.plan_request(index);
            let writer = decide::writer(decide::with_a_whole_draft(&request)?);
            self.steer(index, writer);
        }
        self.send_due(index);
        Ok(())
    }

    /// Changes who writes, and tells the server if that is another kind of writing.
    fn steer(&mut self, index: RequestIndex, writer: Writer) {
        let before = std::mem::discriminant(&self.requests[index].writer);
        self.go_over_to(index, writer);
        if before != std::mem::discriminant(&writer) {
            self.send(index, Message::Steer);
        }
    }

    /// Sends the drafts that are due, if the edge drafts for the server.
    fn send_due(&mut self, index: RequestIndex) {
        let request = &mut self.requests[index];
        let Writer::Distributed { draft_tokens, pipelined } = request.writer else { return };
        let edge = &mut request.edge;
        if edge.told > edge.known && !pipelined && !edge.has_ended {
            return;
        }
        let fresh = edge.drafted.saturating_sub(edge.told);
        if (fresh > 0 && fresh >= draft_tokens) || (edge.has_ended && !edge.told_end) {
            let (known, start, end) = (edge.known, edge.told.min(edge.drafted), edge.drafted);
            let is_last = edge.has_ended;
            (edge.told, edge.told_end) = (edge.told.max(end), is_last);
            self.send(index, Message::Drafts { known, start, end, is_last });
        }
    }

    /// Begins the next token, unless the edge has ended or nobody wants it.
    fn draft_on(&mut self, index: RequestIndex) {
        let request = &self.requests[index];
        let is_wanted =
            matches!(request.writer, Writer::Distributed { .. }) || self.scenario.contender.decides_again();
        if is_wanted && request.edge.writing == 0 && !request.edge.has_ended {
            self.write(index, 1);
        }
    }

    /// The client hears that `standing` tokens stand.
    pub(super) fn hear(&mut self, index: RequestIndex, standing: u32) {
        let now_ms = self.now_ms();
        let request = &mut self.requests[index];
        if request.has_ended {
            return;
        }
        request.first_ms.get_or_insert(now_ms);
        if standing >= request.tokens {
            self.finish(index, false);
            return;
        }
        match request.writer {
            Writer::Split => self.split_work(index),
            Writer::Cloud | Writer::CoLocated { .. } | Writer::Distributed { .. } => {
                self.hear_of_a_round(index, standing);
            }
            Writer::Edge | Writer::Shadow => {}
        }
    }

    fn hear_of_a_round(&mut self, index: RequestIndex, standing: u32) {
        let (record, now_ms) = (self.record(index), self.now_ms());
        let request = &mut self.requests[index];
        let (salt, known) = (request.salt, request.edge.known);
        request.edge.known = standing;
        request.edge.told = request.edge.told.max(standing);
        let drafted = request.edge.drafted;
        request.edge.is_contradicted |= (known..standing.min(drafted))
            .any(|position| !record.agrees_at(position, salt))
            || (request.edge.has_ended && standing > drafted);
        let edge = request.edge;
        let agrees = !edge.is_contradicted;
        if self.scenario.contender.decides_again()
            && let Some(current) = decide::strategy(self.requests[index].writer)
        {
            let rest = Rest {
                current,
                settled: standing,
                context_tokens: self.requests[index].parcel.target_tokens,
                drafted: if agrees { edge.drafted.saturating_sub(standing) } else { 0 },
                is_whole: agrees && edge.has_ended,
            };
            if let Some(strategy) = decide::again(self.scenario, &self.server.waits, &rest) {
                self.steer(index, decide::writer(strategy));
            }
        }
        let request = &mut self.requests[index];
        if let Writer::Distributed { .. } = request.writer {
            let edge = &mut request.edge;
            if agrees {
                edge.drafted = edge.drafted.max(standing);
            } else {
                (edge.drafted, edge.told) = (standing, standing);
                (edge.has_ended, edge.told_end) = (false, false);
                (edge.is_corrected, edge.is_contradicted) = (true, false);
                if std::mem::take(&mut edge.writing) > 0 {
                    edge.work += 1;
                    self.clients[request.client].edge_free_ms = now_ms;
                }
            }
            self.send_due(index);
            self.draft_on(index);
        }
    }
}

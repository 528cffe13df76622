//! Networks x policies x requests, in an order in which all policies meet the machine in the same state.
//!
//! One network after the other; in each the requests in order, and each request under all policies at once, beginning
//! with another policy each time. Every policy has a session of its own, which learns from request to request as a page
//! does that stays open, and which was warmed by some requests that are not recorded.

use std::sync::Arc;

use anyhow::{Context, Result};

use super::{
    journal::Journal,
    network,
    part::Part,
    policy::BenchPolicy,
    progress::Progress,
    quick::Replays,
    request::{Request, RequestSet},
    runner::{Answered, PolicyRunner},
    sides::Sides,
};
use crate::link::{Link, Scenario};

/// What is to be measured.
pub(super) struct Matrix<'a> {
    pub(super) set: RequestSet<'a>,
    /// So many of the set are recorded.
    pub(super) requests: usize,
    /// Those of them that are this run's.
    pub(super) part: Part,
    /// Whether the target takes recordings; those that have one are left out otherwise.
    pub(super) hears: bool,
    pub(super) networks: Vec<Scenario>,
    pub(super) policies: Vec<BenchPolicy>,
    /// So many are asked of each policy over each network before the first that is recorded.
    pub(super) warm_up_requests: usize,
}

/// A policy over a network.
struct Lane {
    policy: BenchPolicy,
    link: Arc<Link>,
    runner: Box<dyn PolicyRunner>,
}

impl Matrix<'_> {
    /// Measures what the journal does not have yet.
    ///
    /// # Errors
    /// If the run cannot go on; what was recorded stays.
    pub(super) fn run(&mut self, journal: &mut Journal, sides: &mut Sides) -> Result<Replays> {
        let progress =
            Progress::new(self.networks.len() * self.policies.len() * self.part.of(self.requests).len())?;
        let mut replays = Replays::default();
        for scenario in self.networks.clone() {
            self.over(scenario, journal, sides, &progress, &mut replays)
                .with_context(|| format!("over {scenario}"))?;
        }
        Ok(replays)
    }

    fn over(
        &mut self,
        scenario: Scenario,
        journal: &mut Journal,
        sides: &mut Sides,
        progress: &Progress,
        replays: &mut Replays,
    ) -> Result<()> {
        let name = scenario.to_string();
        let mut lanes: Option<Vec<Lane>> = None;
        for (nth, index) in self.part.of(self.requests).enumerate() {
            let Some(request) = self.load(index)? else {
                self.policies.iter().for_each(|policy| progress.step(&name, &policy.to_string()));
                continue;
            };
            for place in 0..self.policies.len() {
                let turn = (nth + place) % self.policies.len();
                let policy = self.policies[turn].to_string();
                if !journal.has(&name, &policy, &request.id) {
                    let lanes = match &mut lanes {
                        Some(lanes) => lanes,
                        // Only now: a network whose records are complete is not warmed up for.
                        None => lanes.insert(self.lanes(scenario, sides, progress)?),
                    };
                    let Answered { record, as_alone } = lanes[turn].answer(scenario, index, &request)?;
                    if let Some(is_same) = as_alone {
                        replays.count(is_same);
                    }
                    journal.add(record)?;
                }
                progress.step(&name, &policy);
            }
        }
        Ok(())
    }

    /// A request; `None` where it is one that is left out.
    fn load(&mut self, index: usize) -> Result<Option<Request>> {
        Ok(self.set.load(index)?.filter(|request| self.hears || request.prompt.audio.is_none()))
    }

    /// All policies over a network, warmed up.
    fn lanes(&mut self, scenario: Scenario, sides: &mut Sides, progress: &Progress) -> Result<Vec<Lane>> {
        let mut lanes = Vec::new();
        for &policy in &self.policies {
            let opened = sides.open(policy, scenario, &mut self.set);
            let (link, runner) = opened.with_context(|| format!("policy {policy}"))?;
            lanes.push(Lane { policy, link, runner });
        }
        let len = self.set.len();
        let (first, count) = (self.requests, self.warm_up_requests);
        progress.say(&format!("{scenario}: warming up with {count} requests that are not recorded"));
        // Those behind the recorded ones where there are enough, so that no session has seen a recorded question.
        for index in (0..count).map(|nth| (first + nth) % len.max(1)) {
            let Some(request) = self.load(index)? else { continue };
            for lane in &mut lanes {
                lane.answer(scenario, index, &request)?;
            }
        }
        Ok(lanes)
    }
}

impl Lane {
    fn answer(&mut self, scenario: Scenario, index: usize, request: &Request) -> Result<Answered> {
        network::begin(&self.link, scenario, index)?;
        self.runner.prepare();
        // The network went on meanwhile.
        network::begin(&self.link, scenario, index)?;
        let answered = self.runner.answer(request);
        answered.with_context(|| format!("request {} under {}", request.id, self.policy))
    }
}

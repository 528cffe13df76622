//! A policy of the bench answers: the real server, the real edge engine and the page's orchestrator over an emulated network.
//!
//! Pictures are cut and encoded as the page does it, for all policies alike: the centre square, at most 256 pixels a side.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use msao_models::preprocess::decode::{ImageBudget, decode_image};

use super::{
    cost::Cost,
    run::{Answer, Answerer, NoAnswer},
};
use crate::{
    link::{Link, Scenario},
    run::{BenchPolicy, PolicyRunner, Request, RequestSet, SideSettings, Sides, Target},
};

/// Shipped samples asked before the first question, as in the comparison: a page's session is a long one.
const WARM_UP_REQUESTS: usize = 4;

/// Both sides under one policy.
pub(super) struct PolicyAnswerer {
    runner: Box<dyn PolicyRunner>,
    name: String,
    asked: u64,
    /// Whether the target says what it computed.
    counts_flops: bool,
    // What the runner talks to, and so behind it: fields are dropped in order.
    _link: Arc<Link>,
    _sides: Sides,
}

impl PolicyAnswerer {
    /// Starts both sides and warms them up.
    ///
    /// # Errors
    /// If a side does not start, or the policy cannot be measured with these models.
    pub(super) fn start(policy: BenchPolicy, network: Scenario, settings: &SideSettings) -> Result<Self> {
        eprintln!("starting the server and loading the edge ...");
        let mut sides = Sides::start(settings)?;
        if let Some(reason) = settings.models.bar(policy, &sides.target) {
            bail!("{policy} cannot answer: {reason}");
        }
        let mut set = RequestSet::gallery()?;
        let (link, mut runner) = sides.open(policy, network, &mut set)?;
        let mut warm = 0;
        for index in 0..set.len() {
            let hears = sides.target.audio.is_some();
            let request = set.load(index)?.filter(|request| hears || request.prompt.audio.is_none());
            let Some(request) = request else { continue };
            runner.prepare();
            let reason = runner.answer(&request)?.record.failure;
            if let Some(reason) = reason {
                bail!("{policy} does not answer the shipped sample {}: {reason}", request.id);
            }
            warm += 1;
            if warm == WARM_UP_REQUESTS {
                break;
            }
        }
        let name = format!("{}, {policy} over {network}", settings.models);
        let counts_flops = matches!(settings.models.target, Target::Checkpoint(_));
        Ok(Self { runner, name, asked: 0, counts_flops, _link: link, _sides: sides })
    }

    fn request(&mut self, question: &str, image: &[u8]) -> Result<Request, NoAnswer> {
        let refused = |reason: String| NoAnswer::Refused(reason);
        let picture =
            decode_image(image, &ImageBudget::default()).map_err(|error| refused(error.to_string()))?;
        self.asked += 1;
        let names = [self.asked.to_string(), "dataset".to_owned(), String::new()];
        let request = Request::new(names, question.to_owned(), &[picture], None);
        request.context("its picture cannot be encoded").map_err(|error| refused(format!("{error:#}")))
    }
}

impl Answerer for PolicyAnswerer {
    fn model(&self) -> String {
        self.name.clone()
    }

    fn answer(&mut self, question: &str, image: &[u8]) -> Result<Answer, NoAnswer> {
        let request = self.request(question, image)?;
        self.runner.prepare();
        let record = self.runner.answer(&request).map_err(NoAnswer::Lost)?.record;
        if let Some(reason) = record.failure {
            return Err(NoAnswer::Refused(reason));
        }
        let cost = Cost {
            total_ms: record.total_ms,
            ttft_ms: Some(record.ttft_ms),
            up_bytes: Some(record.up_bytes),
            down_bytes: Some(record.down_bytes),
            edge_flops: Some(record.edge_flops),
            cloud_flops: self.counts_flops.then_some(record.cloud_flops),
            stood: Some(record.stood),
        };
        Ok(Answer { text: record.answer, cost: Some(cost) })
    }
}

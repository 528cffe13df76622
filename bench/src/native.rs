//! Speed of a shipped model natively, on the CPU: the same code that serves the page, without network and queue.

use std::time::Instant;

use anyhow::{Context, Result};
use msao_models::{Assistant, Prompt};
use msao_tests::{evaluation, native};
use pollster::block_on;
use serde::Serialize;

use crate::summary::Summary;

/// How fast a model is.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Speed {
    /// From the question to the first token: preprocessing, towers, prefill.
    pub(crate) time_to_first_token_ms: Summary,
    /// Tokens a second after the first one.
    pub(crate) decode_tokens_per_s: Summary,
}

impl Speed {
    /// The medians of many answers; `None` unless some have two tokens or more.
    pub(crate) fn of(answers: &[Answer]) -> Option<Self> {
        Some(Self {
            time_to_first_token_ms: Summary::of(answers.iter().map(|answer| answer.first_token_ms))?,
            decode_tokens_per_s: Summary::of(answers.iter().filter_map(Answer::decode_tokens_per_s))?,
        })
    }
}

/// When the tokens of one answer came.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer {
    /// From the question to the first token.
    pub(crate) first_token_ms: f64,
    /// From the first token to the end.
    pub(crate) rest_ms: f64,
    /// Steps of decoding after the first token, that of the end token included.
    pub(crate) steps: usize,
}

impl Answer {
    /// Short answers say little about a rate and are left out.
    pub(crate) fn decode_tokens_per_s(&self) -> Option<f64> {
        (self.steps >= 4 && self.rest_ms > 0.0).then(|| self.steps as f64 / self.rest_ms * 1000.0)
    }
}

/// Measures a checkpoint on the samples of the gallery, each after one unmeasured answer.
pub(crate) fn measure(checkpoint: &str) -> Result<Speed> {
    let assistant = native::load(checkpoint)?;
    let mut answers = Vec::new();
    for sample in evaluation::gallery()? {
        let prompt = native::prompt(&sample)?;
        block_on(answer(&assistant, &prompt))?;
        answers.push(block_on(answer(&assistant, &prompt))?);
    }
    Speed::of(&answers).with_context(|| format!("{checkpoint} gave no answer long enough to measure"))
}

async fn answer(assistant: &Assistant, prompt: &Prompt) -> Result<Answer> {
    let start = Instant::now();
    let mut generation = assistant.start(prompt).await?;
    let mut token = generation.next_token().await?;
    let first_token_ms = start.elapsed().as_secs_f64() * 1000.0;
    let start = Instant::now();
    let mut steps = 0;
    while token.is_some() {
        token = generation.next_token().await?;
        steps += 1;
    }
    Ok(Answer { first_token_ms, rest_ms: start.elapsed().as_secs_f64() * 1000.0, steps })
}

//! An OpenAI-compatible server answers, over HTTP: vLLM, SGLang, llama.cpp, `transformers serve`, or a hosted one.
//!
//! The picture goes as it is, in a data URL. Replies have a budget and a time limit; a busy server is asked again after a
//! pause, and a redirect is not followed: the key is for the server that was named.

mod document;
mod error;
mod patience;

use std::time::{Duration, Instant};

use msao_planner::SplitMix64;
use ureq::Agent;

use self::document::{Listed, Reply};
pub(super) use self::{error::OpenAiError, patience::Patience};
use super::{
    cost::Cost,
    run::{Answer, Answerer, NoAnswer},
};
use crate::{clock::ms_since, run::Upstream};

/// Bytes of a reply: an answer is some hundred, a list of models some thousand.
const MOST_REPLY_BYTES: u64 = 4 << 20;

/// A client of the server.
#[derive(Clone)]
pub(super) struct OpenAiAnswerer {
    agent: Agent,
    upstream: Upstream,
    /// Which of its models.
    model: String,
    patience: Patience,
    rng: SplitMix64,
}

impl OpenAiAnswerer {
    /// A client; asks the server for its models where none is named.
    ///
    /// # Errors
    /// If the server is away or lists no model.
    pub(super) fn connect(
        upstream: Upstream,
        timeout: Duration,
        patience: Patience,
    ) -> Result<Self, OpenAiError> {
        let agent = Agent::config_builder()
            .timeout_global(Some(timeout))
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .user_agent(concat!("msao-bench/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        let model = upstream.model.clone().unwrap_or_default();
        let mut client = Self { agent, upstream, model, patience, rng: SplitMix64::new(0) };
        if client.model.is_empty() {
            let unnamed = |error| OpenAiError::NoModel(Some(Box::new(error)));
            let (listed, _) = client.ask("/models", None).map_err(unnamed)?;
            let listed: Listed =
                serde_json::from_slice(&listed).map_err(|error| unnamed(OpenAiError::Form(error)))?;
            client.model = listed.first().ok_or(OpenAiError::NoModel(None))?;
        }
        Ok(client)
    }

    /// As many clients as questions are to be under way.
    pub(super) fn several(self, count: usize) -> Vec<Self> {
        let one = |seed| Self { rng: SplitMix64::new(seed), ..self.clone() };
        (0..count as u64).map(one).collect()
    }

    /// The reply's body, and when the request that got it was sent; tries again where that can help.
    fn ask(&mut self, path: &str, body: Option<&[u8]>) -> Result<(Vec<u8>, Instant), OpenAiError> {
        let mut tries = 0;
        loop {
            let sent = Instant::now();
            let error = match self.ask_once(path, body) {
                Ok(reply) => return Ok((reply, sent)),
                Err(error) => error,
            };
            tries += 1;
            let Some(pause) = self.patience.pause(tries, &error, self.rng.uniform()) else {
                return Err(if tries > 1 { error.after(tries) } else { error });
            };
            std::thread::sleep(pause);
        }
    }

    fn ask_once(&self, path: &str, body: Option<&[u8]>) -> Result<Vec<u8>, OpenAiError> {
        let url = format!("{}{path}", self.upstream.url);
        let authorization = self.upstream.key().map(|key| format!("Bearer {key}"));
        let reply = match body {
            None => {
                let mut request = self.agent.get(&url);
                if let Some(value) = &authorization {
                    request = request.header("authorization", value);
                }
                request.call()
            }
            Some(body) => {
                let mut request = self.agent.post(&url).header("content-type", "application/json");
                if let Some(value) = &authorization {
                    request = request.header("authorization", value);
                }
                request.send(body)
            }
        };
        let away = |error: ureq::Error| OpenAiError::away(&self.upstream.url, error);
        let mut reply = reply.map_err(away)?;
        let status = reply.status().as_u16();
        let retry_after = reply.headers().get("retry-after").and_then(|value| value.to_str().ok());
        let retry_after = retry_after.and_then(|value| value.trim().parse().ok()).map(Duration::from_secs);
        let body = reply.body_mut().with_config().limit(MOST_REPLY_BYTES).read_to_vec().map_err(away)?;
        if (200..300).contains(&status) {
            return Ok(body);
        }
        let message = document::error_message(&body, self.upstream.key());
        Err(OpenAiError::Status { status, message, retry_after })
    }
}

impl Answerer for OpenAiAnswerer {
    fn model(&self) -> String {
        format!("{} at {}, chat completions", self.model, self.upstream.url)
    }

    fn answer(&mut self, question: &str, image: &[u8]) -> Result<Answer, NoAnswer> {
        let no_answer = |error: OpenAiError| {
            if error.is_of_the_question() {
                NoAnswer::Refused(error.to_string())
            } else {
                NoAnswer::Lost(error.into())
            }
        };
        let kind = super::cloud::kind(image)?;
        let body = document::question(&self.model, question, kind, image);
        let (reply, sent) = self.ask("/chat/completions", Some(&body)).map_err(no_answer)?;
        let total_ms = ms_since(sent);
        let read: Reply =
            serde_json::from_slice(&reply).map_err(|error| no_answer(OpenAiError::Form(error)))?;
        let text = read.text().ok_or_else(|| no_answer(OpenAiError::NoChoice))?;
        let cost = Cost {
            total_ms,
            up_bytes: Some(body.len() as u64),
            down_bytes: Some(reply.len() as u64),
            ..Cost::default()
        };
        Ok(Answer { text, cost: Some(cost) })
    }
}

#[cfg(test)]
mod tests;

//! SGLang's scores: `return_logprob` with `logprob_start_len` at its native `/generate`.
//!
//! That endpoint takes the prompt as tokens. SGLang makes them of the chat message itself and tells them on request
//! (`return_prompt_token_ids`), so no chat template is needed here and what stands is scored token for token. Pictures would have to
//! come as placeholders that only SGLang can count, so only questions without media are scored.
//!
//! Forms as in `docs/basic_usage/sampling_params.md`, `io_struct.py` and `test_srt_endpoint.py` of sgl-project/sglang.

use serde::{Deserialize, Serialize};

use super::{Next, Scored};
use crate::engine::openai::edge_tokenizer::EdgeTokenizer;
use crate::engine::openai::error::UpstreamError;
use crate::engine::openai::wire::{Usage, finish_reason};

/// Asks how likely the drafts at the end of a prompt are.
#[derive(Debug, Serialize)]
pub(crate) struct GenerateRequest {
    input_ids: Vec<u32>,
    sampling_params: SamplingParams,
    return_logprob: bool,
    /// The place before the first draft: SGLang tells no score for the place it begins at.
    logprob_start_len: usize,
    top_logprobs_num: u32,
}

#[derive(Debug, Serialize)]
struct SamplingParams {
    temperature: f32,
    max_new_tokens: u32,
}

impl GenerateRequest {
    /// `context` is the prompt and what stands, at least one token.
    pub(crate) fn score(context: Vec<u32>, drafts: &[u32]) -> Self {
        let logprob_start_len = context.len().saturating_sub(1);
        let mut input_ids = context;
        input_ids.extend(drafts);
        Self {
            input_ids,
            sampling_params: SamplingParams { temperature: 0.0, max_new_tokens: 1 },
            return_logprob: true,
            logprob_start_len,
            top_logprobs_num: 1,
        }
    }
}

/// The prompt's tokens in a chat answer that was asked for them.
#[derive(Debug, Deserialize)]
struct PromptResponse {
    #[serde(default)]
    choices: Vec<PromptChoice>,
}

#[derive(Debug, Deserialize)]
struct PromptChoice {
    #[serde(default)]
    prompt_token_ids: Option<Vec<u32>>,
}

/// Log-probability, token, and its text if that was asked for.
type TokenScore = (Option<f64>, u32, Option<String>);

#[derive(Debug, Deserialize)]
struct Response {
    meta_info: MetaInfo,
}

#[derive(Debug, Deserialize)]
struct MetaInfo {
    #[serde(default)]
    prompt_tokens: u32,
    #[serde(default)]
    completion_tokens: u32,
    finish_reason: Option<Finish>,
    #[serde(default)]
    input_token_logprobs: Vec<TokenScore>,
    #[serde(default)]
    input_top_logprobs: Vec<Option<Vec<TokenScore>>>,
    #[serde(default)]
    output_token_logprobs: Vec<TokenScore>,
}

#[derive(Debug, Deserialize)]
struct Finish {
    #[serde(rename = "type")]
    kind: String,
}

/// Reads the tokens that SGLang made of a chat message; `None` where it does not tell.
///
/// # Errors
/// When it is no such answer.
pub(crate) fn read_prompt(body: &[u8]) -> Result<Option<Vec<u32>>, UpstreamError> {
    let response: PromptResponse = serde_json::from_slice(body)
        .map_err(|error| UpstreamError::Malformed(format!("its prompt is damaged: {error}")))?;
    let choice = response.choices.into_iter().next();
    Ok(choice.and_then(|choice| choice.prompt_token_ids).filter(|ids| !ids.is_empty()))
}

/// Reads what SGLang says about `drafts` at the end of a prompt.
///
/// # Errors
/// When it is no such answer.
pub(crate) fn read(body: &[u8], drafts: &[u32], tokenizer: &EdgeTokenizer) -> Result<Scored, UpstreamError> {
    let Response { meta_info: told } = serde_json::from_slice(body)
        .map_err(|error| UpstreamError::Malformed(format!("its scores are damaged: {error}")))?;
    let usage = Some(Usage { prompt_tokens: told.prompt_tokens, completion_tokens: told.completion_tokens });
    let nothing = Scored { accepted: 0, next: Next::Unknown, usage };
    let places = told.input_token_logprobs.len();
    // One place more than drafts, and the most likely token of each.
    if places != drafts.len() + 1 || told.input_top_logprobs.len() != places {
        return Ok(nothing);
    }
    let scored = told.input_token_logprobs.iter().zip(&told.input_top_logprobs).skip(1);
    for (index, (&draft, ((_, token, _), best))) in drafts.iter().zip(scored).enumerate() {
        let best = best.as_ref().and_then(|best| best.first()).map(|&(_, token, _)| token);
        match best {
            Some(best) if *token == draft && best == draft => {}
            Some(best) if *token == draft => {
                return Ok(Scored { accepted: index, next: Next::of_token(best, tokenizer), usage });
            }
            _ => return Ok(Scored { accepted: index, ..nothing }),
        }
    }
    let has_stopped = told.finish_reason.is_some_and(|finish| finish.kind == "stop");
    let next = match told.output_token_logprobs.first() {
        Some(&(_, token, _)) => Next::of_token(token, tokenizer),
        None if has_stopped => Next::End(finish_reason("stop")),
        None => Next::Unknown,
    };
    Ok(Scored { accepted: drafts.len(), next, usage })
}

#[cfg(test)]
mod tests {
    use msao_protocol::FinishReason;
    use serde_json::{Value, json};

    use super::super::tests::tokenizer;
    use super::*;

    /// An answer of `/generate`: `[logprob, token id, text or null]`, the first place without a score.
    fn document(places: &[(u32, u32)], output: &[u32], finish: &str) -> Vec<u8> {
        let tokens = places.iter().map(|&(token, _)| json!([-0.7, token, null]));
        let best = places.iter().map(|&(_, best)| json!([[-0.1, best, null]]));
        let tokens: Vec<Value> = std::iter::once(json!([null, 3, null])).chain(tokens).collect();
        let best: Vec<Value> = std::iter::once(Value::Null).chain(best).collect();
        let output: Vec<Value> = output.iter().map(|token| json!([-0.2, token, null])).collect();
        json!({
            "text": " x", "output_ids": [1],
            "meta_info": {
                "id": "1", "finish_reason": {"type": finish, "length": 1}, "prompt_tokens": 6, "weight_version": "default",
                "input_token_logprobs": tokens, "input_top_logprobs": best,
                "output_token_logprobs": output, "output_top_logprobs": [],
                "completion_tokens": 1, "cached_tokens": 4, "e2e_latency": 0.02,
            },
        })
        .to_string()
        .into_bytes()
    }

    #[test]
    fn drafts_stand_while_each_is_the_most_likely_token() {
        let tokenizer = tokenizer();
        let [red, star] = tokenizer.encode(" red star")[..] else { panic!("two tokens") };
        let (moon, end) = (tokenizer.encode(" moon")[0], tokenizer.end().unwrap());
        let scored = |places: &[(u32, u32)], output: &[u32], finish| {
            let scored = read(&document(places, output, finish), &[red, star], &tokenizer).unwrap();
            assert_eq!(scored.usage, Some(Usage { prompt_tokens: 6, completion_tokens: 1 }));
            (scored.accepted, scored.next)
        };
        let stop = Next::End(FinishReason::Stop);
        assert_eq!(scored(&[(red, red), (star, star)], &[moon], "length"), (2, Next::Text(" moon".into())));
        assert_eq!(scored(&[(red, red), (star, star)], &[end], "stop"), (2, Next::End(FinishReason::Stop)));
        assert_eq!(scored(&[(red, red), (star, star)], &[], "stop"), (2, Next::End(FinishReason::Stop)));
        assert_eq!(scored(&[(red, red), (star, moon)], &[moon], "length"), (1, Next::Text(" moon".into())));
        assert_eq!(scored(&[(red, end), (star, star)], &[moon], "length"), (0, stop));
        // Other tokens than were asked for, and other counts.
        assert_eq!(scored(&[(moon, red), (star, star)], &[moon], "length"), (0, Next::Unknown));
        assert_eq!(scored(&[(red, red)], &[moon], "length"), (0, Next::Unknown));
        assert!(read(b"{}", &[red], &tokenizer).is_err());
    }

    #[test]
    fn the_prompt_is_scored_from_the_place_before_the_first_draft() {
        let request = serde_json::to_value(GenerateRequest::score(vec![1, 2, 3], &[7, 8])).unwrap();
        let expected = json!({
            "input_ids": [1, 2, 3, 7, 8],
            "sampling_params": {"temperature": 0.0, "max_new_tokens": 1},
            "return_logprob": true, "logprob_start_len": 2, "top_logprobs_num": 1,
        });
        assert_eq!(request, expected);
    }

    #[test]
    fn a_prompt_is_told_or_not() {
        let told = br#"{"choices": [{"index": 0, "message": {"content": "x"}, "prompt_token_ids": [1, 5]}]}"#;
        assert_eq!(read_prompt(told).unwrap(), Some(vec![1, 5]));
        assert_eq!(read_prompt(br#"{"choices": [{"index": 0}]}"#).unwrap(), None);
        assert!(read_prompt(b"[").is_err());
    }
}

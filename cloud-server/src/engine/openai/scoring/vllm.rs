//! vLLM's scores: `prompt_logprobs` of a chat message that the engine is to go on with.
//!
//! Forms as in `vllm/logprobs.py` and `vllm/entrypoints/openai/chat_completion/protocol.py` of vllm-project/vllm.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Next, Scored};
use crate::engine::openai::edge_tokenizer::EdgeTokenizer;
use crate::engine::openai::error::UpstreamError;
use crate::engine::openai::wire::{Usage, finish_reason};

#[derive(Debug, Deserialize)]
struct Response {
    #[serde(default)]
    choices: Vec<Choice>,
    /// For each token of the prompt: nothing for the first, else itself and the most likely one by their ids.
    prompt_logprobs: Option<Vec<Option<BTreeMap<u32, Logprob>>>>,
    usage: Option<Usage>,
}

#[derive(Debug, Deserialize)]
struct Choice {
    #[serde(default)]
    message: Message,
    finish_reason: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Message {
    content: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Logprob {
    /// 1 for the most likely token.
    rank: Option<u32>,
}

/// How a draft fares at its place.
enum Place {
    MostLikely,
    /// Another token is the most likely one.
    Beaten(u32),
    /// The prompt has another token there.
    Mismatch,
}

/// Reads what vLLM says about `drafts` at the end of a prompt.
///
/// # Errors
/// When it is no such answer.
pub(crate) fn read(body: &[u8], drafts: &[u32], tokenizer: &EdgeTokenizer) -> Result<Scored, UpstreamError> {
    let response: Response = serde_json::from_slice(body)
        .map_err(|error| UpstreamError::Malformed(format!("its scores are damaged: {error}")))?;
    let usage = response.usage;
    let nothing = |accepted| Scored { accepted, next: Next::Unknown, usage };
    let Some(places) = response.prompt_logprobs.as_deref() else { return Ok(nothing(0)) };
    let Some(tail) = places.len().checked_sub(drafts.len()).map(|begin| &places[begin..]) else {
        return Ok(nothing(0));
    };
    for (index, (&draft, place)) in drafts.iter().zip(tail).enumerate() {
        match judge(draft, place.as_ref()) {
            Place::MostLikely => {}
            Place::Mismatch => return Ok(nothing(index)),
            Place::Beaten(best) => {
                return Ok(Scored { accepted: index, next: Next::of_token(best, tokenizer), usage });
            }
        }
    }
    let next = match response.choices.into_iter().next() {
        None => Next::Unknown,
        Some(choice) => match (choice.message.content, choice.finish_reason.as_deref()) {
            (Some(text), _) if !text.is_empty() => Next::Text(text),
            (_, Some("length") | None) => Next::Unknown,
            (_, Some(reason)) => Next::End(finish_reason(reason)),
        },
    };
    Ok(Scored { accepted: drafts.len(), next, usage })
}

/// The token of the prompt is told together with the most likely one; if it is that itself, it stands alone.
fn judge(draft: u32, place: Option<&BTreeMap<u32, Logprob>>) -> Place {
    let Some(place) = place else { return Place::Mismatch };
    let best = place.iter().find(|(_, score)| score.rank == Some(1)).map(|(&id, _)| id);
    match (place.contains_key(&draft), best) {
        (true, Some(best)) if best != draft => Place::Beaten(best),
        (true, Some(_)) if place.len() == 1 => Place::MostLikely,
        // The most likely token, and another one that stands in the prompt.
        _ => Place::Mismatch,
    }
}

#[cfg(test)]
mod tests {
    use msao_protocol::FinishReason;
    use serde_json::{Value, json};

    use super::super::tests::tokenizer;
    use super::*;

    /// A token of a prompt as vLLM tells it: `list[dict[int, Logprob] | None]` with
    /// `Logprob(logprob: float, rank: int | None, decoded_token: str | None)`, keys as strings in JSON.
    fn place(token: u32, rank: u32, best: u32) -> Value {
        let mut place = json!({token.to_string(): {"logprob": -0.5, "rank": rank, "decoded_token": "x"}});
        place[best.to_string()] = json!({"logprob": -0.1, "rank": 1, "decoded_token": "y"});
        place
    }

    fn read_document(tail: &[Value], content: &str, finish: &str, drafts: &[u32]) -> Scored {
        let prompt: Vec<Value> =
            [Value::Null, place(1, 1, 1), place(9, 44, 8)].into_iter().chain(tail.iter().cloned()).collect();
        let document = json!({
            "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": content}, "logprobs": null, "finish_reason": finish}],
            "usage": {"prompt_tokens": 5, "total_tokens": 6, "completion_tokens": 1, "prompt_tokens_details": null},
            "prompt_logprobs": prompt,
            "kv_transfer_params": null,
        });
        read(document.to_string().as_bytes(), drafts, &tokenizer()).unwrap()
    }

    #[test]
    fn drafts_stand_while_each_is_the_most_likely_token() {
        let tokenizer = tokenizer();
        let [red, star] = tokenizer.encode(" red star")[..] else { panic!("two tokens") };
        let moon = tokenizer.encode(" moon")[0];
        let usage = Some(Usage { prompt_tokens: 5, completion_tokens: 1 });
        let both = read_document(&[place(red, 1, red), place(star, 1, star)], " and", "length", &[red, star]);
        assert_eq!(both, Scored { accepted: 2, next: Next::Text(" and".into()), usage });
        let first =
            read_document(&[place(red, 1, red), place(star, 3, moon)], " and", "length", &[red, star]);
        assert_eq!(first, Scored { accepted: 1, next: Next::Text(" moon".into()), usage });
        let none = read_document(&[place(red, 2, moon), place(star, 1, star)], "", "stop", &[red, star]);
        assert_eq!(none, Scored { accepted: 0, next: Next::Text(" moon".into()), usage });
    }

    #[test]
    fn the_end_is_told_behind_the_drafts_or_in_place_of_one() {
        let tokenizer = tokenizer();
        let (red, end) = (tokenizer.encode(" red")[0], tokenizer.end().unwrap());
        let stop = Next::End(FinishReason::Stop);
        assert_eq!(read_document(&[place(red, 1, red)], "", "stop", &[red]).next, stop);
        assert_eq!(read_document(&[place(red, 2, end)], "x", "length", &[red]).next, stop);
    }

    #[test]
    fn nothing_is_concluded_from_other_tokens_than_the_drafts() {
        let tokenizer = tokenizer();
        let [red, star] = tokenizer.encode(" red star")[..] else { panic!("two tokens") };
        // The prompt has 77 there, and the draft is what would have been likely.
        let scored = read_document(&[place(77, 5, red), place(star, 1, star)], "x", "length", &[red, star]);
        assert_eq!((scored.accepted, scored.next), (0, Next::Unknown));
        let scored = read_document(&[place(77, 1, 77)], "x", "length", &[red]);
        assert_eq!((scored.accepted, scored.next), (0, Next::Unknown));
        let body = br#"{"choices": [], "prompt_logprobs": null}"#;
        assert_eq!(read(body, &[red], &tokenizer).unwrap().next, Next::Unknown);
        let body = br#"{"choices": [], "prompt_logprobs": [null]}"#;
        assert_eq!(read(body, &[red, star], &tokenizer).unwrap().accepted, 0);
        assert!(read(b"{", &[red], &tokenizer).is_err());
    }
}
